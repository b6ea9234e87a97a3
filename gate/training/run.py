"""TrainingConfig -> TunedModel, in a child process; nothing it says is believed without proof."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gate.configs import trl
from gate.errors import ConfigErrors, Problem, StoreError, TrainingError, UsageError
from gate.progress import Progress, duration
from gate.records import ModelRef, Override, TrainingConfig, TrainingCost, TunedModel
from gate.training.checkpoints import last_complete
from gate.training.failures import renamed, unexplained
from gate.training.job import Event, Failed, Job, Started, Step, Stopped, forget_config
from gate.training.launch import (
    CHILD_LOCK,
    Ended,
    alone,
    child_command,
    child_environment,
    ending_signals,
    launcher_arguments,
    run_child,
)
from gate.training.output import RECORD, collect_model, read_record, write_record
from gate.training.proof import prove

WHAT = "training"
JOB, OUTPUT, MODEL, LOG = "job.json", "trainer", "model", "train.log"
GRACE = 600.0
"""Seconds that a child may overrun its time limit, to end its step and write a checkpoint."""

Command = Callable[[Path], Sequence[str]]
"""The command that runs the job in a file."""


def train(
    config: TrainingConfig,
    base: ModelRef,
    folder: Path,
    *,
    progress: Progress,
    environ: Mapping[str, str],
    env_names: Sequence[str] = (),
    timeout: float | None = None,
    key: str = "",
    command: Command = child_command,
) -> TunedModel:
    """The model that `config` makes of `base`, proven complete, finite and of every step asked for.

    The log, the model and what a later try resumes lie in `folder`. Only a try with the same config, base
    and `key` (the digest of all else that changes the weights: data, versions, device) goes on from it; a
    finished training is returned and not repeated. `env_names` are the policy's `trust.env`, `timeout` is
    in seconds.

    Raises ConfigErrors (the file changed since it was read), UsageError and DataError (what the trainer
    refused), OutOfMemory, NonFiniteLoss, TrainingError, StoreError and Interrupted.
    """
    if config.trainer != trl.NAME:
        raise UsageError(f"training with {config.trainer} is not supported", hint="judge its model: --tuned")
    fingerprint = _fingerprint(config, base, key)
    with ending_signals(), _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder, waiting=lambda: progress.update(WHAT, 0, 0, "waiting for another run of it")):
            found = read_record(folder, fingerprint, remote_code=config.trust_remote_code)
            if found is not None:
                return found
            with _private_copy(config) as copy:
                job = _prepare(config, base, copy, folder, fingerprint, timeout)
                allowed = child_environment(environ, env_names, processes=config.processes)
                ended = _follow(command(folder / JOB), allowed, job, folder, timeout, progress)
            _check_ending(ended, config, folder / LOG, timeout)
            return _accept(ended, job, config, base, folder)


def planned_overrides(config: TrainingConfig, base: ModelRef, folder: Path) -> tuple[Override, ...]:
    """What `train` will change of the config's settings, for the report: only what differs."""
    changed = (*config.overrides, *trl.overrides(config.settings, str(folder / OUTPUT)))
    was = config.settings.get("model_name_or_path")
    if was is not None and was != base.name:
        reason = "--base names another base model"
        changed = (*changed, Override("model_name_or_path", str(was), base.name, reason))
    fetched = fetched_data(config)
    reason = "fetched before; training is offline"
    named = ((key, name) for key, name in _data_named(config.settings) if name in fetched)
    return (*changed, *(Override(key, name, fetched[name], reason) for key, name in named))


def fetched_data(config: TrainingConfig) -> dict[str, str]:
    """Hub name -> the folder that it was fetched to."""
    return {data.hub: data.name for data in config.datasets if data.hub}


def _data_named(settings: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """(key, name) of each dataset that the config names; a list goes before `dataset_name`, as with TRL."""
    listed = settings.get("datasets")
    if not isinstance(listed, list) or not listed:
        yield "dataset_name", str(settings.get("dataset_name"))
        return
    for index, entry in enumerate(listed):
        yield f"datasets[{index}].path", str(entry["path"])


def _prepare(
    config: TrainingConfig,
    base: ModelRef,
    copy: Path,
    folder: Path,
    fingerprint: str,
    timeout: float | None,
) -> Job:
    """Clear away what is not whole and write the job down."""
    (folder / RECORD).unlink(missing_ok=True)
    resumed = last_complete(folder / OUTPUT, fingerprint)
    changed = (*config.overrides, *trl.overrides(config.settings, str(folder / OUTPUT)))
    overrides = [(each.key, each.now) for each in changed]
    overrides.append(("model_name_or_path", base.path))
    job = Job(
        config=str(copy),
        arguments=tuple(word for key, now in overrides for word in (f"--{key}", str(now))),
        events=str(folder / "events.jsonl"),
        lock=str(folder / CHILD_LOCK),
        fingerprint=fingerprint,
        processes=config.processes,
        launcher=launcher_arguments(config),
        data=fetched_data(config),
        resume=str(resumed.path) if resumed else None,
        seconds_before=resumed.seconds if resumed else 0.0,
        deadline=None if timeout is None else time.time() + timeout,
    )
    job.write(folder / JOB)
    return job


def _follow(
    command: Sequence[str],
    environment: Mapping[str, str],
    job: Job,
    folder: Path,
    timeout: float | None,
    progress: Progress,
) -> Ended:
    progress.update(WHAT, 0, 0, "starting")
    try:
        return run_child(
            command,
            environ=environment,
            events=Path(job.events),
            log=folder / LOG,
            tell=lambda event: _show(event, progress),
            kill_after=None if timeout is None else timeout + GRACE,
        )
    finally:
        progress.done(WHAT)


def _accept(ended: Ended, job: Job, config: TrainingConfig, base: ModelRef, folder: Path) -> TunedModel:
    """Prove the training, take its model out of the trainer's output and record it, the record last."""
    started, last, finished = prove(ended.events, config)
    model = collect_model(
        folder / OUTPUT, folder / MODEL, base=base, name=config.path, remote_code=config.trust_remote_code
    )
    cost = TrainingCost(
        seconds=job.seconds_before + ended.seconds,
        steps=finished.steps,
        peak_resident_bytes=finished.peak_resident_bytes,
        peak_gpu_bytes=finished.peak_gpu_bytes,
        tokens_per_second=finished.tokens_per_second,
        final_loss=last.loss,
        trainable_parameters=started.trainable_parameters,
        total_parameters=started.total_parameters,
    )
    tuned = TunedModel(model, cost)
    write_record(folder, job.fingerprint, tuned)
    shutil.rmtree(folder / OUTPUT)
    return tuned


@contextmanager
def _private_copy(config: TrainingConfig) -> Iterator[Path]:
    """A copy of the config's very bytes: what was read, checked and digested is what is trained.

    It may hold tokens: only its owner can read it, it lies outside of the run's folder, which is handed
    around, and it goes with the training, however that ends (a killed parent: `child.end_with_parent`).
    """
    try:
        content = Path(config.path).read_bytes()
    except OSError as error:
        raise ConfigErrors([Problem(config.path, f"cannot be read: {error.strerror}")]) from error
    if hashlib.sha256(content).hexdigest() != config.digest:
        raise ConfigErrors([Problem(config.path, "has changed since it was read", hint="run again")])
    copy = Path(tempfile.mkdtemp(prefix="ftgate-")) / "config.yaml"
    try:
        copy.write_bytes(content)
        yield copy
    finally:
        forget_config(copy)


def _fingerprint(config: TrainingConfig, base: ModelRef, key: str) -> str:
    parts = [config.digest, base.digest, config.processes, config.method, key]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _show(event: Event, progress: Progress) -> None:
    if isinstance(event, Started):
        note = f"resumed after step {event.step}" if event.step else ""
        progress.update(WHAT, event.step, event.max_steps, note)
    elif isinstance(event, Step):
        progress.update(WHAT, event.step, event.max_steps, f"loss {event.loss:.3g}")


def _check_ending(ended: Ended, config: TrainingConfig, log: Path, timeout: float | None) -> None:
    """Raise what went wrong, if anything did."""
    limit = f"the time limit of {duration(timeout or 0)}"
    for event in ended.events:
        if isinstance(event, Stopped):
            raise TrainingError(
                f"{limit} came after step {event.step} of {event.max_steps}",
                hint="run the same command again: it resumes from there",
            )
    if ended.killed_by_us:
        last = max((event.step for event in ended.events if isinstance(event, Step)), default=0)
        raise TrainingError(
            f"{limit} came after step {last}, and what came next did not end",
            hint="run the same command again: it resumes from the last complete checkpoint, if there is one",
        )
    batch, accumulation = config.batch_size or 8, config.gradient_accumulation or 1
    failures = [event for event in ended.events if isinstance(event, Failed)]
    if failures and failures[0].types[0] != "builtins.SystemExit":
        raise renamed(failures, log=log, batch=batch, accumulation=accumulation)
    if ended.status != 0:
        raise unexplained(ended.status, ended.log, log=log, batch=batch, accumulation=accumulation)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """A full or read-only disk, or a folder that cannot be one, is a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write to {error.filename or folder}: {error.strerror}",
            hint="free some space, or name another place with --run-dir",
        ) from error
