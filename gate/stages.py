"""What `ftgate check` does to one config: train, measure both models, and say what it took."""

from __future__ import annotations

import math
import resource
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, chdir, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.champion import measure_champion
from gate.environment import describe_environment, find_device, provenance
from gate.errors import UsageError
from gate.flip_rates import compare_rates, flips_on
from gate.foresight import Flips
from gate.history import FOLDER
from gate.inputs import key_of_training, order_of, prove
from gate.records import ConfigRef, Cost, Plan, Policy, Provenance, RunFacts, TrainingConfig, TunedModel
from gate.runfolder import ENVIRONMENT, RUN, RunFolder
from gate.scoring import ModelSession, Way
from gate.scoring.settings import Settings
from gate.scoring.team import gathered
from gate.shell import Shell
from gate.store import Store
from gate.training import planned_overrides, train

if TYPE_CHECKING:
    from checks import OpenTask
    from gate.measure import Measured

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What `ftgate check` was asked. `train_timeout` in seconds.

    For a pull request `policy_root` holds the base ref's files: policy, tasks and their data. `base_folder`
    is the base model that the config names by a path.
    """

    config: Path | None
    thresholds: Path
    tuned: Path | None = None
    run_dir: Path | None = None
    base: str | None = None
    train_timeout: float | None = None
    no_cache: bool = False
    pull: int | str = 0  # whose place of the store this run uses: see `gate.store.Store`
    judged: bool = False
    policy_root: Path | None = None
    base_folder: Path | None = None
    seeds: int | None = None  # trainings of the config; None: as many as the policy says
    history: Path | None = None  # earlier verdicts; None: the repository's own `.ftgate/history`
    audit: Path | None = None  # the folder that keeps the audit of an early verdict; None: no audit

    def at_policy(self) -> AbstractContextManager[None]:
        """Where the policy is read and models are measured: its relative paths start there."""
        return nullcontext() if self.policy_root is None else chdir(self.policy_root)

    @classmethod
    def of(cls, *, train_timeout: float | None = None, audit: bool = False, **options: Any) -> CheckOptions:
        """From the command line, where the time limit is in minutes."""
        if train_timeout is not None and not math.isfinite(train_timeout):
            raise UsageError(f"--train-timeout: expected a number of minutes, got {train_timeout:g}")
        seconds = None if train_timeout is None else train_timeout * MINUTE
        return cls(train_timeout=seconds, audit=FOLDER if audit else None, **options)


@dataclass(frozen=True, slots=True)
class Run:
    """A check under way: what was asked, its policy and config, its folder and its store."""

    options: CheckOptions
    policy: Policy
    config: TrainingConfig | None
    folder: RunFolder
    store: Store
    started: float
    seed: int | None = None  # of one training of a recipe


@dataclass(slots=True)
class Stage:
    """Where a check is, for the error that may end it."""

    name: str


def tune(run: Run, plan: Plan, shell: Shell) -> TunedModel:
    """The tuned model: given, from the store, or trained now and then proven; the store keeps it."""
    if plan.tuned is not None:
        return TunedModel(run.store.put_model(plan.tuned))
    assert plan.config is not None
    key = key_of_training(plan.config, plan.base, run.policy.trust.env, shell.environ)
    stored = run.store.get_training(key)
    if stored is not None:
        shell.progress.done("training")
        return stored
    run.store.require_writable()
    trained = train(
        plan.config,
        plan.base,
        run.folder.training,
        progress=shell.progress,
        environ=shell.environ,
        env_names=run.policy.trust.env,
        timeout=run.options.train_timeout,
        key=key,
    )
    prove(plan.base, trained.model)
    kept = replace(trained, model=run.store.put_model(trained.model, move=True))
    run.store.put_training(key, kept)
    return kept


@dataclass(frozen=True, slots=True)
class Trained:
    """A training of a check, ready to be measured: its own folder and plan, and the model that came of it."""

    run: Run
    plan: Plan
    tuned: TunedModel


def measure_models(
    run: Run, plan: Plan, tasks: tuple[OpenTask, ...], tuned: TunedModel, shell: Shell
) -> RunFacts:
    """Measure both models; keep the raw measurements, and how they were made, in the run's folder."""
    inputs = order_of(plan, tuned.model, run.store)
    return measure_trained([Trained(run, plan, tuned)], tasks, inputs, shell)[0]


def measure_trained(
    trained: Sequence[Trained], tasks: tuple[OpenTask, ...], inputs: str, shell: Shell
) -> list[RunFacts]:
    """The same of several trainings of one config under one policy, each into its own run's folder; `inputs`
    is the digest that orders the documents of all of them."""
    run = trained[0].run
    with gathered(run.policy.evaluation, shell.environ, shell.team) as team:
        return _measure(trained, tasks, inputs, replace(shell, team=team))


def _measure(
    trained: Sequence[Trained], tasks: tuple[OpenTask, ...], inputs: str, shell: Shell
) -> list[RunFacts]:
    from gate.measure import measure_together

    run, plan = trained[0].run, trained[0].plan
    heard: list[str] = []

    def warn(text: str) -> None:
        heard.append(text)
        shell.warn(text)

    aside = replace(shell, warn=warn)
    with run.options.at_policy(), ExitStack() as open_:
        sessions = [open_.enter_context(_session(each, shell)) for each in trained]
        measured = measure_together(tasks, sessions, run.store, aside, run.policy, inputs)
        ways = [(each.settings, each.way, each.note, each.company) for each in sessions]
        known = flips_on(run.store, plan.base, plan.tasks, run.options.history or FOLDER)
    return [
        _keep(each, tasks, found, way, known, heard, aside)
        for each, found, way in zip(trained, measured, ways, strict=True)
    ]


def _session(trained: Trained, shell: Shell) -> ModelSession:
    run, plan = trained.run, trained.plan
    bits = plan.config.quantization_bits if plan.config else None
    models, policy = (plan.base, trained.tuned.model), run.policy
    return ModelSession(*models, policy.evaluation, policy.trust, bits, run.store.self_tests, shell.team)


def _keep(
    trained: Trained,
    tasks: tuple[OpenTask, ...],
    measured: Measured,
    how: tuple[Settings, Way, str, str],
    known: Mapping[str, Flips],
    heard: list[str],
    shell: Shell,
) -> RunFacts:
    """Keep what was measured of one training, with its champion's part, in its run's folder."""
    run, plan, tuned = trained.run, trained.plan, trained.tuned
    evaluation, (settings, way, note, company) = run.policy.evaluation, how
    run.folder.write_measurements(measured.measurements)
    run.folder.write_record(ENVIRONMENT, describe_environment(find_device(evaluation.device)))
    made = provenance(
        run.policy,
        device=settings.device_name,
        dtype=settings.dtype,
        scorer="; ".join(filter(None, (way.name, company))),
        scorer_reason=note,
        quantization=settings.quantization,
        batch_size=evaluation.batch_size,
        salt=run.store.salt,
        salt_made=run.store.found_salt.made,
        created=shell.now(),
        warnings=(*plan.warnings, *heard),
        order_digest=measured.order_digest,
        flip_rates=compare_rates(known, measured.measurements),
    )
    if plan.champion is not None:
        measured = with_champion(run, plan, tasks, measured, made, shell)
        made = replace(made, warnings=(*plan.warnings, *heard))
    cost = cost_of(tuned, measured, shell.clock() - run.started)
    config, seeds = config_ref(run, plan), run.policy.seeds
    facts = RunFacts(config, cost, made, tuned.model.path, plan.base.digest, run.seed, seeds)
    run.folder.write_record(RUN, facts)
    return facts


def with_champion(
    run: Run, plan: Plan, tasks: tuple[OpenTask, ...], measured: Measured, made: Provenance, shell: Shell
) -> Measured:
    """Measure the champion too, into the run's folder; what measuring took, with its part in it."""
    with run.options.at_policy():
        took = measure_champion(run.folder, plan, tasks, measured.measurements, made, run.store, shell)
    return replace(
        measured,
        seconds=measured.seconds + took.seconds,
        blocks_scored=measured.blocks_scored + took.blocks_scored,
        blocks_from_store=measured.blocks_from_store + took.blocks_from_store,
    )


def config_ref(run: Run, plan: Plan) -> ConfigRef | None:
    """The training config as the verdict names it, with what the gate changed."""
    config = plan.config
    if config is None:
        return None
    changed = () if plan.tuned else planned_overrides(config, plan.base, run.folder.training)
    method: str = config.method
    if plan.tuned is not None and (plan.tuned.kind == "full") != (config.method == "full"):
        method = plan.tuned.kind  # what was given is not what the config would make
    return ConfigRef(config.path, config.digest, method, config.trainer, config.base_model, changed)


def cost_of(tuned: TunedModel, measured: Measured, total_seconds: float) -> Cost:
    """Time and memory of the run; a stored training's own time stays known, and is marked as such."""
    training = tuned.training
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(
        training_seconds=training.seconds if training else 0.0,
        measuring_seconds=measured.seconds,
        total_seconds=total_seconds,
        peak_resident_bytes=training.peak_resident_bytes if training else here,
        peak_gpu_bytes=training.peak_gpu_bytes if training else None,
        blocks_scored=measured.blocks_scored,
        blocks_from_store=measured.blocks_from_store,
        training_from_store=bool(training and training.from_store),
        trainable_parameters=training.trainable_parameters if training else None,
        total_parameters=training.total_parameters if training else None,
        training_steps=training.steps if training else None,
        tokens_per_second=training.tokens_per_second if training else None,
    )
