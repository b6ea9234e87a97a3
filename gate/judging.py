"""The stages after measuring: judge, report, verify, promote. None needs a model in memory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gate.errors import FAIL, PASS, ModelError, UsageError
from gate.models import digest_model, model_files
from gate.policy import load_policy
from gate.records import Flip, Policy, RunFacts, TaskInfo
from gate.report import read_document, render
from gate.runfolder import RunFolder
from gate.sealed import disk_errors
from gate.shell import Shell
from gate.store import Store, store_root
from gate.verdict import Result, judge


def judge_run(run: Path, thresholds: Path | None, shell: Shell) -> Result:
    """Judge a run's stored measurements, under its own policy or under another.

    Raises `UsageError` where the policy has a rule about something that was not measured.
    """
    folder = RunFolder.open(run)
    policy = load_policy(thresholds) if thresholds else folder.read_record("policy.resolved.json", Policy)
    facts = folder.read_record("run.json", RunFacts)
    return judge_measurements(folder, policy, facts, shell, another_policy=thresholds is not None)


def judge_measurements(
    folder: RunFolder, policy: Policy, facts: RunFacts, shell: Shell, *, another_policy: bool = False
) -> Result:
    """Judge what lies in a run's folder and write the report there.

    `another_policy` takes the place of the folder's own once it is known that it can be judged.
    """
    measurements = folder.read_measurements()
    provenance = replace(facts.provenance, policy_path=policy.path, policy_digest=policy.digest)
    base = facts.base_digest or None
    verdict = judge(measurements, policy, facts.config, facts.cost, provenance, expected_base=base)
    if another_policy:
        folder.write_policy(policy)
    return conclude(verdict, measurements.flips, measurements.tasks, folder, shell)


def conclude(
    result: Result, flips: Sequence[Flip], tasks: Sequence[TaskInfo], folder: RunFolder, shell: Shell
) -> Result:
    """Render a result into its run's folder and say it on the terminal."""
    report = render(result, flips, tasks, folder=folder.path, colour=shell.colour)
    folder.write_report(report)
    shell.say(report.terminal)
    return result


def render_run(run: Path, shell: Shell) -> Result:
    """Render the stored verdict again, from the stored measurements and the stored policy."""
    return judge_run(run, None, shell)


def verify_model(verdict: Path, model: Path, shell: Shell) -> int:
    """Whether `model` is, file by file, the one that `verdict` passed: exit code 0 or 1.

    Raises `UsageError` where the verdict cannot be read, `ModelError` where there is no model.
    """
    document = read_document(_verdict_file(verdict))
    if not model.is_dir():
        raise ModelError(f"{model} is not a model folder")
    digest = digest_model(model)
    if document.outcome != "pass":
        shell.say(f"no: the verdict is {document.outcome}, not a pass")
        return FAIL
    if digest != document.tuned_digest:
        shell.say(
            f"no: {model} is not the model that passed\n  judged {document.tuned_digest}\n  found  {digest}"
        )
        return FAIL
    shell.say(f"yes: {model} is the model that passed ({digest})")
    return PASS


def promote_run(run: Path, dest: Path, shell: Shell) -> None:
    """Copy the run's judged model to `dest`, if it passed. Raises `UsageError` where it did not."""
    document = read_document(_verdict_file(run))
    if document.outcome != "pass":
        raise UsageError(f"the verdict of {run} is {document.outcome}; only a model that passed is promoted")
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise UsageError(f"{dest} exists already", hint="name a folder that does not exist yet")
    source = _judged_model(run, document.tuned_digest, shell)
    with disk_errors(f"copy the model to {dest}"):
        _copy_model(source, dest, document.tuned_digest)
    shell.say(f"{dest} holds the model that passed ({document.tuned_digest})")


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
    digest = read_document(_verdict_file(run)).tuned_digest
    store = _store_of(run, shell)
    if not release:
        store.keep(digest)
        shell.say(f"{digest} is kept")
        return
    store.release(digest)
    store.collect()
    shell.say(f"{digest} was let go")


def _judged_model(run: Path, digest: str, shell: Shell) -> Path:
    facts = RunFolder.open(run).read_record("run.json", RunFacts)
    stored = _store_of(run, shell).model_path(digest)
    for path in (stored, Path(facts.tuned_path)):
        if path.is_dir() and digest_model(path) == digest:
            return path
    raise UsageError(f"the judged model {digest} is no longer kept", hint="run the check again")


def _store_of(run: Path, shell: Shell) -> Store:
    own = run / "store"
    return Store(own if own.is_dir() else store_root(shell.environ), warn=shell.warn)


def _verdict_file(path: Path) -> Path:
    return path / "verdict.json" if path.is_dir() else path
