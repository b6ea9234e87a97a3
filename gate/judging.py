"""The stages after measuring: judge, report, verify, promote. None needs a model in memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from gate.errors import FAIL, PASS, ConfigErrors, ModelError, Problem, UsageError
from gate.models import digest_model, model_files
from gate.policy import load_policy
from gate.records import Evaluation, Flip, Plan, Policy, RunFacts, TaskInfo
from gate.report import read_document, render
from gate.runfolder import PLAN, RESOLVED_POLICY, RUN, VERDICT, RunFolder
from gate.sealed import disk_errors
from gate.shell import Shell
from gate.store import Store, store_root
from gate.verdict import Result, judge
from gate.yamlfile import load_yaml


def judge_run(run: Path, thresholds: Path | None, shell: Shell) -> Result:
    """Judge a run's stored measurements, under its own policy or under another.

    Raises `UsageError` where the policy has a rule about something that was not measured, or not so.
    """
    folder = RunFolder.open(run)
    facts = _facts(folder)
    if thresholds is None:
        policy = folder.read_record(RESOLVED_POLICY, Policy)
    else:
        policy = load_policy(thresholds)
        # The plan's policy is what was measured for; the resolved one may be of a later `judge`.
        problems = measured_otherwise(policy, folder.read_record(PLAN, Plan).policy)
        if problems:
            file = load_yaml(thresholds)
            raise ConfigErrors(
                replace(each, line=each.line or file.line(*each.key.split("."))) for each in problems
            )
    return judge_measurements(folder, policy, facts, shell, another_policy=thresholds is not None)


def measured_otherwise(asked: Policy, measured: Policy) -> list[Problem]:
    """Where `asked` wants other data than a run for the policy `measured` has: its measurements say nothing.

    Metric, filter, limit and bounds are the verdict's affair. Paths are compared with links followed.
    """
    problems: list[Problem] = []

    def compare(key: str, wants: object, has: object, line: int = 0) -> None:
        if wants != has:
            message = f"asks for {_said(wants)}, this run was measured with {_said(has)}"
            problems.append(Problem(asked.path, message, line or None, key, "run the check again"))

    for field in fields(Evaluation):
        name = field.name
        compare(f"evaluation.{name}", getattr(asked.evaluation, name), getattr(measured.evaluation, name))
    compare("include", _real(asked.include), _real(measured.include))
    before = {spec.id: spec for spec in measured.tasks}
    for spec in asked.tasks:
        was, line = before.get(spec.id), spec.place.line
        if was is None:
            compare(spec.id, spec.task, (), line)
            continue
        compare(f"{spec.id} path", _real((spec.path,)), _real((was.path,)), line)
        compare(f"{spec.id} field", spec.text_field, was.text_field, line)
        compare(f"{spec.id} system_instruction", spec.system_instruction, was.system_instruction, line)
        if spec.num_fewshot is None:  # else the verdict compares it with what was measured
            compare(f"{spec.id} num_fewshot", None, was.num_fewshot, line)
        if spec.chat_template == "auto":
            compare(f"{spec.id} chat_template", "auto", was.chat_template, line)
    return problems


def _real(paths: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(os.path.realpath(path) for path in paths if path)


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "nothing"
    return "the default" if value is None else str(value)


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
    if not digest:
        raise UsageError(f"the run in {run} judged no model", hint="look at its report.html for the reason")
    store = _store_of(run, shell)
    if not release:
        store.keep(digest)
        shell.say(f"{digest} is kept")
        return
    store.release(digest)
    store.collect()
    shell.say(f"{digest} was let go")


def _facts(folder: RunFolder) -> RunFacts:
    """The run's facts. Raises `UsageError` with the run's own error where it ended before there were any."""
    if not (folder.path / RUN).is_file() and (folder.path / VERDICT).is_file():
        error = read_document(folder.path / VERDICT).document.get("error")
        if isinstance(error, dict):
            raise UsageError(
                f"the run in {folder.path} ended with an error: {error.get('message')}",
                hint=str(error.get("hint") or "run the same `ftgate check` again"),
            )
    return folder.read_record(RUN, RunFacts)


def _judged_model(run: Path, digest: str, shell: Shell) -> Path:
    facts = RunFolder.open(run).read_record(RUN, RunFacts)
    stored = _store_of(run, shell).model_path(digest)
    for path in (stored, Path(facts.tuned_path)):
        if path.is_dir() and digest_model(path) == digest:
            return path
    raise UsageError(f"the judged model {digest} is no longer kept", hint="run the check again")


def _store_of(run: Path, shell: Shell) -> Store:
    own = run / "store"
    return Store(own if own.is_dir() else store_root(shell.environ), warn=shell.warn)


def _verdict_file(path: Path) -> Path:
    return path / VERDICT if path.is_dir() else path
