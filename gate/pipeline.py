"""`ftgate check`, stage by stage: read -> plan -> train -> measure -> judge -> report."""

from __future__ import annotations

import hashlib
import math
import resource
import shutil
from contextlib import AbstractContextManager, chdir, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.configs import load_config
from gate.environment import describe_environment, find_device, provenance
from gate.errors import ConfigErrors, GateError, UsageError, as_gate_error, together
from gate.inputs import doubts, find_base, find_data, find_tuned, key_of_training, order_inputs, prove
from gate.judging import judge_measurements
from gate.plan import build_plan
from gate.policy import load_policy
from gate.records import ConfigRef, Cost, ModelRef, Plan, Policy, RunFacts, TrainingConfig, TunedModel
from gate.report import render
from gate.runfolder import ENVIRONMENT, MEASUREMENTS, PLAN, RUN, RunFolder
from gate.scoring import ModelSession
from gate.shell import Shell
from gate.store import Store, store_root
from gate.training import planned_overrides, train
from gate.verdict import Failure, Result, judge_what_there_is

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

    def at_policy(self) -> AbstractContextManager[None]:
        """Where the policy is read and models are measured: its relative paths start there."""
        return nullcontext() if self.policy_root is None else chdir(self.policy_root)

    @classmethod
    def of(cls, *, train_timeout: float | None = None, **options: Any) -> CheckOptions:
        """From the command line, where the time limit is in minutes."""
        if train_timeout is not None and not math.isfinite(train_timeout):
            raise UsageError(f"--train-timeout: expected a number of minutes, got {train_timeout:g}")
        seconds = None if train_timeout is None else train_timeout * MINUTE
        return cls(train_timeout=seconds, **options)


@dataclass(frozen=True, slots=True)
class Run:
    """A check under way: what was asked, its policy and config, its folder and its store."""

    options: CheckOptions
    policy: Policy
    config: TrainingConfig | None
    folder: RunFolder
    store: Store
    started: float


def check_config(options: CheckOptions, shell: Shell) -> Result:
    """Train, measure, judge and report one fine-tune; the run's folder holds whatever was computed.

    Raises `GateError` where there can be no verdict; `verdict.json` then says why.
    """
    run = begin(options, shell)
    stage = "plan"
    try:
        plan, tasks = make_plan(run, shell)
        stage = "train"
        tuned = tune(run, plan, shell)
        stage = "measure"
        facts = measure_models(run, plan, tasks, tuned, shell)
        stage = "judge"
        return judge_measurements(run.folder, run.policy, facts, shell)
    except (Exception, KeyboardInterrupt) as error:
        raise fail(run, stage, error, shell) from error


def begin(options: CheckOptions, shell: Shell) -> Run:
    """Read policy and config, every error at once, and open the run's folder.

    An older verdict in that folder is taken away first: it was about other inputs.
    """
    if options.config is None and not (options.tuned and options.base):
        raise UsageError("no training config given", hint="name one, or a model with --tuned and its --base")
    place = options.run_dir or default_run_dir(options)
    try:
        policy, config = together(lambda: read_policy(options), lambda: read_config(options))
    except ConfigErrors:
        RunFolder.forget(place)
        raise
    folder = RunFolder.begin(place)
    with options.at_policy():
        folder.write_policy(policy)
    folder.write_config(config)
    own_store = folder.path / "store"
    shutil.rmtree(own_store, ignore_errors=True)  # an earlier run's, made with --no-cache
    root = own_store if options.no_cache else store_root(shell.environ)
    store = Store(root, pull=options.pull, judged=options.judged, warn=shell.warn)
    return Run(options, policy, config, folder, store, shell.clock())


def read_policy(options: CheckOptions) -> Policy:
    """The policy; raises `ConfigErrors`."""
    with options.at_policy():
        return load_policy(options.thresholds)


def read_config(options: CheckOptions) -> TrainingConfig | None:
    """The training config, if there is one; its data need not be here where nothing is trained."""
    if options.config is None:
        return None
    return load_config(options.config, base=options.base, trains=options.tuned is None)


def default_run_dir(options: CheckOptions) -> Path:
    """`ftgate-runs/NAME-DIGEST`: the same inputs meet again in the same folder, to resume."""
    try:
        digest = hashlib.sha256(options.config.read_bytes()).hexdigest() if options.config else ""
    except OSError:
        digest = ""  # reading the config says what is wrong with it
    inputs = "\0".join((digest, options.base or "", str(options.tuned or "")))
    name = (options.config or options.tuned or Path("run")).stem
    return Path("ftgate-runs") / f"{name}-{hashlib.sha256(inputs.encode()).hexdigest()[:8]}"


def make_plan(run: Run, shell: Shell) -> tuple[Plan, tuple[OpenTask, ...]]:
    """Find base, tuned model, data and tasks before anything is trained; every error at once."""
    asked, code = run.options, run.policy.trust.remote_code
    given = asked.tuned
    base, tasks, config = together(
        lambda: find_base(asked.base, run.config, shell.environ, remote_code=code, folder=asked.base_folder),
        lambda: find_tasks(run),
        lambda: find_data(run.config, shell.environ) if run.config and not given else run.config,
    )
    tuned = None if given is None else find_tuned(given, base, remote_code=code)
    check_measurable(run, base, tuned or base)
    infos = tuple(task.info for task in tasks)
    plan = build_plan(run.policy, base, infos, config, tuned, doubts(base, tuned))
    for warning in plan.warnings:
        shell.warn(warning)
    run.folder.write_record(PLAN, plan)
    return plan, tasks


def find_tasks(run: Run) -> tuple[OpenTask, ...]:
    """The policy's tasks with their data; raises `ConfigErrors`."""
    from checks import open_tasks  # late: an error in a config or policy is told before lm-eval is loaded

    with run.options.at_policy():
        return open_tasks(run.policy.tasks, run.policy, index_folder=run.store.root / "tasks")


def check_measurable(run: Run, base: ModelRef, tuned: ModelRef) -> None:
    """Raise, before anything is trained, where the policy's `evaluation` cannot be done here."""
    find_device(run.policy.evaluation.device)
    with ModelSession(base, tuned, run.policy.evaluation, run.policy.trust) as session:
        assert session.settings.dtype
        if any(spec.chat_template == "base" for spec in run.policy.tasks):
            session.chat_template_for("base")


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


def measure_models(
    run: Run, plan: Plan, tasks: tuple[OpenTask, ...], tuned: TunedModel, shell: Shell
) -> RunFacts:
    """Measure both models; keep the raw measurements, and how they were made, in the run's folder."""
    from gate.measure import measure

    bits = plan.config.quantization_bits if plan.config else None
    evaluation = run.policy.evaluation
    heard: list[str] = []

    def warn(text: str) -> None:
        heard.append(text)
        shell.warn(text)

    inputs = order_inputs(plan, tuned.model)
    session = ModelSession(plan.base, tuned.model, evaluation, run.policy.trust, bits)
    with run.options.at_policy(), session:
        aside = replace(shell, warn=warn)
        measured = measure(tasks, session, run.store, evaluation, aside, run.policy, inputs)
        settings = session.settings
    run.folder.write_measurements(measured.measurements)
    run.folder.write_record(ENVIRONMENT, describe_environment(find_device(evaluation.device)))
    made = provenance(
        run.policy,
        device=settings.device_name,
        dtype=settings.dtype,
        scorer="lm-eval HF model",
        quantization=settings.quantization,
        batch_size=evaluation.batch_size,
        salt=run.store.salt,
        created=shell.now(),
        warnings=(*plan.warnings, *heard),
        order_digest=measured.order_digest,
    )
    total = shell.clock() - run.started
    cost = cost_of(tuned, measured, total)
    facts = RunFacts(config_ref(run, plan), cost, made, tuned.model.path, plan.base.digest)
    run.folder.write_record(RUN, facts)
    return facts


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


def fail(run: Run, stage: str, error: BaseException, shell: Shell) -> GateError:
    """Leave a `Failure` with what was computed in the run's folder, never a pass; the error to raise."""
    known = as_gate_error(error)
    failure = Failure.of(known, stage, Cost(total_seconds=shell.clock() - run.started))
    try:
        # First without findings: reading them may fail too, and an older pass must be gone by then.
        run.folder.write_report(render(failure, (), (), folder=run.folder.path))
        if (run.folder.path / MEASUREMENTS).is_file():
            measured = run.folder.read_measurements()
            findings = judge_what_there_is(measured, run.policy)
            failure = replace(failure, findings=findings, base=measured.base, tuned=measured.tuned)
            run.folder.write_report(render(failure, (), (), folder=run.folder.path))
    except GateError as second:
        shell.warn(f"the run's folder could not be written or read: {second.message}")
    return known
