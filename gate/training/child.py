"""The child process of a training: `python -P -m gate.training.child JOB.json`.

TRL's own parser reads the team's config, TRL's own script trains; the trainer in it is watched. One process
runs here directly: a launcher would import torch once more (six seconds of a short training) to set nothing
that the trainer reads. Several start through torch's launcher, the one under `accelerate launch`, which by
itself starts no second process on a CPU without MPI; a config that asks more of accelerate gets its launcher.
"""

from __future__ import annotations

import fcntl
import functools
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gate.training.job import STOPPED, Event, Failed, Job, append_event, forget_config

WORKER = "FTGATE_TRAINING_WORKER"
"""Set for the processes that a launcher starts: they train."""


def main(path: str) -> int:
    """Run the job in `path`; the exit status."""
    job = Job.read(Path(path))
    _hold(job.lock)
    end_with_parent(lambda: forget_config(Path(job.config)))
    if WORKER in os.environ or (job.processes == 1 and not job.launcher):
        return _train(job)
    os.environ[WORKER] = "1"
    return _launch(job, path)


def _hold(lock: str) -> None:
    """Share the lock until this process is gone: while anyone holds it, nobody else trains here."""
    fcntl.flock(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_SH)


def end_with_parent(last: Callable[[], None]) -> None:
    """Die when the parent is gone: it may have been killed before it could end this process group.

    `last` is done before, in the parent's place.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        last()
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _launch(job: Job, path: str) -> int:
    worker = ["--module", "gate.training.child", path]
    if job.launcher:
        accelerate: Any = importlib.import_module("accelerate.commands.launch")
        from trl.cli.accelerate_config import resolve_accelerate_config_argument

        arguments = resolve_accelerate_config_argument(list(job.launcher))
        accelerate.launch_command(accelerate.launch_command_parser().parse_args([*arguments, *worker]))
    else:
        from torch.distributed.run import main as launch

        launch(["--standalone", "--nproc-per-node", str(job.processes), *worker])
    return 0


def _train(job: Job) -> int:
    began = time.monotonic()
    first = os.environ.get("RANK", "0") == "0"
    stage = "reading the config"
    watch = None

    def tell(event: Event) -> None:
        append_event(Path(job.events), event)

    try:
        trl: Any = importlib.import_module("trl")
        sft: Any = importlib.import_module("trl.scripts.sft")
        # Keys that are left over are arguments of the launcher (as under `trl sft`), not of the trainer.
        arguments = sft.make_parser().parse_args_and_config(
            ["--config", job.config, *job.arguments], fail_with_unknown_args=False
        )
        arguments[1].resume_from_checkpoint = job.resume
        name_folders(arguments[0], arguments[3], job.data)

        from gate.training.watch import TimeIsUp, Watch, WatchedTrainer

        watch = Watch(job, tell, began)
        trl.SFTTrainer = functools.partial(WatchedTrainer, watch=watch)  # what the script imports
        try:
            sft.main(*arguments)
        except TimeIsUp as stop:
            print(stop, file=sys.stderr)
            return STOPPED
    except BaseException as error:
        tell(failed(error, watch.stage if watch else stage))
        raise
    if first and watch.report:
        tell(watch.report)
    return 0


def name_folders(script: Any, mixture: Any, folders: Mapping[str, str]) -> None:
    """Put the folders in place of the hub names that were fetched into them: offline, names are not found."""
    script.dataset_name = folders.get(script.dataset_name, script.dataset_name)
    for entry in mixture.datasets:
        entry.path = folders.get(entry.path, entry.path)


def failed(error: BaseException, stage: str) -> Failed:
    """An exception with what caused it, as an event."""
    types: list[str] = []
    words: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        types += [f"{kind.__module__}.{kind.__qualname__}" for kind in type(cause).__mro__]
        words += [str(cause).strip()] if str(cause).strip() not in words else []
        cause = cause.__cause__
    return Failed(types=tuple(types), message=": ".join(words)[:2000], stage=stage)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
