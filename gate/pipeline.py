"""`ftgate check`, stage by stage: read -> plan -> train -> measure -> judge -> report."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gate.champion import find_champion
from gate.configs import load_config
from gate.environment import find_device
from gate.errors import GateError, UsageError, as_gate_error, together
from gate.flip_rates import flips_on, remember
from gate.foresight import warnings_of
from gate.history import FOLDER, Past, of_config, read_history
from gate.inputs import doubts, find_base, find_data, find_tuned
from gate.judging import judge_measurements
from gate.plan import build_plan
from gate.policy import load_policy
from gate.recipe import check_seeds, policy_with_seeds
from gate.records import Cost, ModelRef, Plan, Policy, TrainingConfig
from gate.report import render
from gate.runfolder import HISTORY, MEASUREMENTS, PLAN, RunFolder
from gate.scoring import ModelSession
from gate.shell import Shell
from gate.stages import CheckOptions, Run, Stage, measure_models, tune
from gate.store import Store, store_root
from gate.verdict import Failure, Result, judge_what_there_is

if TYPE_CHECKING:
    from checks import OpenTask

KEPT = 20  # earlier verdicts that a run's folder holds

__all__ = ["CheckOptions", "Run", "begin", "check_config", "default_run_dir", "fail", "make_plan", "tune"]


def check_config(options: CheckOptions, shell: Shell) -> Result:
    """Train, measure, judge and report one fine-tune; the run's folder holds whatever was computed.

    Raises `GateError` where there can be no verdict; `verdict.json` then says why.
    """
    run = begin(options, shell)
    stage = Stage("plan")
    try:
        plan, tasks = make_plan(run, shell)
        stage.name = "train"
        if run.policy.seeds > 1:
            return check_seeds(run, plan, tasks, stage, shell)
        tuned = tune(run, plan, shell)
        stage.name = "measure"
        facts = measure_models(run, plan, tasks, tuned, shell)
        stage.name = "judge"
        result = judge_measurements(run.folder, run.policy, facts, shell)
        if result.outcome == "pass":
            remember(run.store, run.folder.read_measurements(), shell.now())
        return result
    except (Exception, KeyboardInterrupt) as error:
        raise fail(run, stage.name, error, shell) from error


def begin(options: CheckOptions, shell: Shell) -> Run:
    """Read policy and config, every error at once, and open the run's folder.

    An older verdict in that folder is taken away first: it was about other inputs.
    """
    if options.config is None and not (options.tuned and options.base):
        raise UsageError("no training config given", hint="name one, or a model with --tuned and its --base")
    place = options.run_dir or default_run_dir(options)
    try:
        policy, config = together(lambda: read_policy(options), lambda: read_config(options))
        policy = policy_with_seeds(policy, options.seeds, given=options.tuned is not None)
    except UsageError:
        RunFolder.forget(place)
        raise
    folder = RunFolder.begin(place)
    with options.at_policy():
        folder.write_policy(policy)
    folder.write_config(config)
    keep_history(options, folder, config, shell)
    own_store = folder.path / "store"
    shutil.rmtree(own_store, ignore_errors=True)  # an earlier run's, made with --no-cache
    root = own_store if options.no_cache else store_root(shell.environ)
    store = Store(root, pull=options.pull, judged=options.judged, warn=shell.warn, salt=shell.salt)
    store.use()
    return Run(options, policy, config, folder, store, shell.clock())


def keep_history(
    options: CheckOptions, folder: RunFolder, config: TrainingConfig | None, shell: Shell
) -> None:
    """Put the latest verdicts on this config into the run's folder: the report draws them."""
    with options.at_policy():
        past = read_history(options.history or FOLDER, shell.warn)
    own = of_config(past, config.path if config else str(options.tuned))
    if own:
        folder.write_record(HISTORY, Past(own[-KEPT:]))


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
    with run.options.at_policy():
        known = flips_on(run.store, base, infos, run.options.history or FOLDER)
        foreseen = warnings_of(run.policy, infos, known)
        plan = replace(plan, warnings=(*plan.warnings, *foreseen))
        plan = replace(plan, champion=find_champion(run.policy, base, infos, shell))
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
