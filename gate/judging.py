"""The stages after measuring: judge, report, verify, promote. None needs a model in memory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gate.errors import FAIL, PASS, ConfigErrors, GateError, ModelError, UsageError
from gate.history import Past
from gate.measured import measured_otherwise
from gate.models import digest_model, model_files
from gate.policy import load_policy
from gate.records import Flip, Measurements, Plan, Policy, RunFacts, TaskInfo
from gate.records.history import PastVerdict
from gate.report import MOST_PATHS, read_document, render, worst_first
from gate.runfolder import CHAMPION, HISTORY, MEASUREMENTS, PLAN, RESOLVED_POLICY, RUN, VERDICT, RunFolder
from gate.sealed import disk_errors
from gate.seeds import is_recipe, judge_model, judge_seeds, to_promote, why_not_shipped
from gate.shell import Shell
from gate.signature import Ask, Signer, ask_gh, why_unsigned
from gate.store import Store, store_root
from gate.verdict import Result, Verdict
from gate.verdict.paths import RulePath, paths_of
from gate.yamlfile import load_yaml


def judge_run(run: Path, thresholds: Path | None, shell: Shell) -> Result:
    """Judge a run's stored measurements, under its own policy or under another.

    Raises `UsageError` where the policy has a rule about something that was not measured, or not so.
    """
    folder = RunFolder.open(run)
    facts = facts_of(folder)
    if thresholds is None:
        policy = folder.read_record(RESOLVED_POLICY, Policy)
    else:
        policy = load_policy(thresholds)
        # The plan's policy is what was measured for; the resolved one may be of a later `judge`.
        problems = measured_otherwise(policy, folder.read_record(PLAN, Plan))
        if problems:
            file = load_yaml(thresholds)
            raise ConfigErrors(
                replace(each, line=each.line or file.line(*each.key.split("."))) for each in problems
            )
    if is_recipe(folder):
        return conclude_recipe(folder, policy, facts, shell, another_policy=thresholds is not None)
    return judge_measurements(folder, policy, facts, shell, another_policy=thresholds is not None)


def read_champion(folder: RunFolder) -> Measurements | None:
    """The pairs of champion and tuned model of a run; None where it had no champion."""
    kept = RunFolder(folder.path / CHAMPION)
    return kept.read_measurements() if (kept.path / MEASUREMENTS).is_file() else None


def judge_measurements(
    folder: RunFolder, policy: Policy, facts: RunFacts, shell: Shell, *, another_policy: bool = False
) -> Result:
    """Judge what lies in a run's folder and write the report there.

    `another_policy` takes the place of the folder's own once it is known that it can be judged.
    """
    measurements, base = folder.read_measurements(), facts.base_digest or None
    verdict = judge_model(measurements, policy, facts, read_champion(folder), base)
    if another_policy:
        folder.write_policy(policy)
    return conclude_judged(verdict, measurements, policy, folder, shell, facts.trainings)


def conclude_recipe(
    folder: RunFolder, policy: Policy, facts: RunFacts, shell: Shell, *, another_policy: bool = False
) -> Result:
    """The same of a run of several trainings: each in its own folder, the recipe here, under one policy."""
    judged = judge_seeds(folder, policy, facts, read_champion)
    if another_policy:
        folder.write_policy(policy)
    quiet = replace(shell, say=_nothing)
    for own, verdict, found in judged.trained:
        own.take_policy(folder)
        conclude_judged(verdict, found, policy, own, quiet, len(judged.trained))
    folder.write_measurements(judged.mean)
    return conclude_judged(judged.verdict, judged.mean, policy, folder, shell)


def _nothing(_text: str) -> None:
    """A training's own report is in its folder; the recipe's is said."""


def conclude_judged(
    verdict: Verdict,
    measurements: Measurements,
    policy: Policy,
    folder: RunFolder,
    shell: Shell,
    trainings: int = 1,
) -> Result:
    """`conclude` with how the worst rules came to be settled early; `trainings` as `judge` takes it."""
    early = [row.rule for row in worst_first(verdict.findings) if row.early][:MOST_PATHS]
    paths = paths_of(measurements, policy, early, trainings)
    return conclude(verdict, measurements.flips, measurements.tasks, folder, shell, paths)


def conclude(
    result: Result,
    flips: Sequence[Flip],
    tasks: Sequence[TaskInfo],
    folder: RunFolder,
    shell: Shell,
    paths: Sequence[RulePath] = (),
) -> Result:
    """Render a result into its run's folder and say it on the terminal."""
    history = read_past(folder)
    report = render(
        result, flips, tasks, folder=folder.path, colour=shell.colour, paths=paths, history=history
    )
    folder.write_report(report)
    shell.say(report.terminal)
    return result


def read_past(folder: RunFolder) -> tuple[PastVerdict, ...]:
    """Earlier verdicts on a run's config, for its report; none where they are gone: they decide nothing."""
    try:
        return folder.read_record(HISTORY, Past).verdicts
    except GateError:
        return ()


def render_run(run: Path, shell: Shell) -> Result:
    """Render the stored verdict again, from the stored measurements and the stored policy."""
    return judge_run(run, None, shell)


def verify_model(
    verdict: Path, model: Path, shell: Shell, *, signer: Signer | None, ask: Ask | None = None
) -> int:
    """Whether `model` is, file by file, the one that `verdict` passed: exit code 0 or 1.

    `signer` must have attested the verdict; None asks for no signature. Raises `UsageError` where the
    verdict cannot be read, `ModelError` where there is no model, `InfrastructureError` where the
    signature could not be asked for.
    """
    document = read_document(_verdict_file(verdict))
    if not model.is_dir():
        raise ModelError(f"{model} is not a model folder")
    if signer is not None:
        reason = why_unsigned(_verdict_file(verdict), signer, ask or ask_gh(shell.environ))
        if reason:
            shell.say(f"no: {verdict} is not signed as it must be: {reason}")
            return FAIL
    digest = digest_model(model)
    reason = why_not_shipped(document, digest)
    if reason:
        shell.say(f"no: {reason}\n  found {digest} in {model}")
        return FAIL
    by = f", signed by {signer}" if signer else ", unsigned"
    shell.say(f"yes: {model} is the model that passed ({digest}{by})")
    return PASS


def promote_run(run: Path, dest: Path, shell: Shell, seed: int | None = None) -> None:
    """Copy the run's judged model to `dest`, if it passed; of a recipe that of `seed`, or else the first.

    Raises `UsageError` where it did not pass, or its recipe did not.
    """
    digest, own = to_promote(read_document(_verdict_file(run)), run, seed)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise UsageError(f"{dest} exists already", hint="name a folder that does not exist yet")
    store = store_of(run, shell)  # in use until the copy is made
    source = judged_model(own, digest, store)
    with disk_errors(f"copy the model to {dest}"):
        _copy_model(source, dest, digest)
    shell.say(f"{dest} holds the model that passed ({digest})")


def _copy_model(source: Path, dest: Path, digest: str) -> None:
    """Copy a model's files so that `dest` holds all of them, proven, or does not exist."""
    staging = dest.with_name(f".{dest.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for name in model_files(source):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, staging / name)
        if digest_model(staging) != digest:
            raise ModelError(f"the copy of {source} differs from the model that was judged", hint="try again")
        if dest.exists():
            dest.rmdir()
        staging.rename(dest)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def keep_run(run: Path, release: bool, shell: Shell) -> None:
    """Mark the run's judged model as kept, or let it go and delete its files."""
    document = read_document(_verdict_file(run))
    digests = [one.digest for one in document.seeds] or [document.tuned_digest]
    if not all(digests):
        raise UsageError(f"the run in {run} judged no model", hint="look at its report.html for the reason")
    store = store_of(run, shell)
    for digest in digests:
        if release:
            store.release(digest)
        else:
            store.keep(digest)
        shell.say(f"{digest} {'was let go' if release else 'is kept'}")
    if release:
        store.collect()
        for gone in store.collect_unused():
            shell.say(f"removed from the store: {gone}")


def facts_of(folder: RunFolder) -> RunFacts:
    """The run's facts. Raises `UsageError` with the run's own error where it ended before there were any."""
    if not (folder.path / RUN).is_file() and (folder.path / VERDICT).is_file():
        error = read_document(folder.path / VERDICT).document.get("error")
        if isinstance(error, dict):
            raise UsageError(
                f"the run in {folder.path} ended with an error: {error.get('message')}",
                hint=str(error.get("hint") or "run the same `ftgate check` again"),
            )
    return folder.read_record(RUN, RunFacts)


def judged_model(run: Path, digest: str, store: Store) -> Path:
    """The files of a run's judged model. Raises `UsageError` where they are gone."""
    facts = RunFolder.open(run).read_record(RUN, RunFacts)
    stored = store.model_path(digest)
    for path in (stored, Path(facts.tuned_path)):
        if path.is_dir() and digest_model(path) == digest:
            return path
    raise UsageError(f"the judged model {digest} is no longer kept", hint="run the check again")


def store_of(run: Path, shell: Shell) -> Store:
    """The store that a run used, in its place, which is in use again for as long as this store is."""
    own = run / "store"
    root = own if own.is_dir() else store_root(shell.environ)
    if not (run / RUN).is_file():
        return Store(root, warn=shell.warn, salt=shell.salt)
    facts = RunFolder.open(run).read_record(RUN, RunFacts)
    store = Store.holding(root, Path(facts.tuned_path), warn=shell.warn, salt=shell.salt)
    store.use()
    return store


def _verdict_file(path: Path) -> Path:
    return path / VERDICT if path.is_dir() else path
