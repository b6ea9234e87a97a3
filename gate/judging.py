"""The stages after measuring: judge, report, verify, promote. None needs a model in memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from gate.digests import source_digest
from gate.errors import FAIL, PASS, ConfigErrors, ModelError, Problem, UsageError
from gate.models import digest_model, model_files
from gate.policy import load_policy
from gate.records import Evaluation, Flip, Plan, Policy, RunFacts, TaskInfo, TaskSpec
from gate.report import read_document, render
from gate.runfolder import PLAN, RESOLVED_POLICY, RUN, VERDICT, RunFolder
from gate.sealed import disk_errors
from gate.shell import Shell
from gate.signature import Ask, Signer, ask_gh, why_unsigned
from gate.store import Store, store_root
from gate.verdict import Result, judge
from gate.yamlfile import load_yaml

AGAIN = "run the check again"


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
        problems = measured_otherwise(policy, folder.read_record(PLAN, Plan))
        if problems:
            file = load_yaml(thresholds)
            raise ConfigErrors(
                replace(each, line=each.line or file.line(*each.key.split("."))) for each in problems
            )
    return judge_measurements(folder, policy, facts, shell, another_policy=thresholds is not None)


def measured_otherwise(asked: Policy, plan: Plan) -> list[Problem]:
    """Where `asked` wants other data than a run of `plan` has: its measurements say nothing about that.

    Metric, filter, limit and bounds are the verdict's affair. A policy that was moved with what it names
    wants the same: names count from its folder, and the files that were read must have the same bytes.
    """
    was, keys = plan.policy, {f"evaluation.{each.name}": each.name for each in fields(Evaluation)}
    problems = [*_differs(asked, keys, asked.evaluation, was.evaluation)]
    problems += _differs_in_paths(asked, was, "include", asked.include, was.include)
    measured = {spec.id: spec for spec in was.tasks}
    sources = {info.task: info.sources for info in plan.tasks}
    for spec in asked.tasks:
        if spec.id in measured:
            problems += _task_differs(asked, was, spec, measured[spec.id])
            problems += _changed(spec, asked, sources.get(spec.id, ()))
        else:
            problems.append(_problem(asked, spec.id, spec.task, (), spec.place.line))
    return problems


def _task_differs(asked: Policy, measured: Policy, spec: TaskSpec, was: TaskSpec) -> Iterator[Problem]:
    line, keys = spec.place.line, {"field": "text_field", "system_instruction": "system_instruction"}
    if asked.decide == "proven":
        keys["cluster_by"] = "cluster_by"
    if spec.num_fewshot is None:  # else the verdict compares it with what was measured
        keys["num_fewshot"] = "num_fewshot"
    if spec.chat_template == "auto":
        keys["chat_template"] = "chat_template"
    yield from _differs_in_paths(asked, measured, f"{spec.id} path", (spec.path,), (was.path,), line)
    yield from _differs(asked, {f"{spec.id} {key}": name for key, name in keys.items()}, spec, was, line)


def _differs(
    asked: Policy, keys: Mapping[str, str], wants: object, has: object, line: int = 0
) -> Iterator[Problem]:
    """A problem for each key whose attribute differs between the two."""
    for key, name in keys.items():
        if getattr(wants, name) != getattr(has, name):
            yield _problem(asked, key, getattr(wants, name), getattr(has, name), line)


def _differs_in_paths(
    asked: Policy,
    measured: Policy,
    key: str,
    wants: Sequence[str | None],
    has: Sequence[str | None],
    line: int = 0,
) -> Iterator[Problem]:
    if _names(wants, asked) != _names(has, measured) and _real(wants) != _real(has):
        yield _problem(asked, key, _real(wants), _real(has), line)


def _problem(asked: Policy, key: str, wants: object, has: object, line: int) -> Problem:
    message = f"asks for {_said(wants)}, this run was measured with {_said(has)}"
    return Problem(asked.path, message, line or None, key, AGAIN)


def _changed(spec: TaskSpec, asked: Policy, sources: Sequence[tuple[str, str]]) -> Iterator[Problem]:
    """A problem for each file or folder of a task that has other bytes now than when it was measured."""
    for name, digest in sources:
        path = Path(asked.path).parent / name
        with disk_errors(f"read {path}"):
            now = source_digest(path)
        if now != digest:
            how = "is not here" if now is None else "is not what it was when this run was measured"
            yield Problem(asked.path, f"{path} {how}", spec.place.line or None, spec.id, AGAIN)


def _names(paths: Sequence[str | None], policy: Policy) -> tuple[str, ...]:
    """Paths from the policy's folder as far as they lie in it, else with links followed."""
    folder = Path(policy.path).parent
    return tuple(
        os.path.normpath(Path(path).relative_to(folder))
        if Path(path).is_relative_to(folder)
        else os.path.realpath(path)
        for path in paths
        if path
    )


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
    if document.outcome != "pass":
        shell.say(f"no: the verdict is {document.outcome}, not a pass")
        return FAIL
    if digest != document.tuned_digest:
        shell.say(
            f"no: {model} is not the model that passed\n  judged {document.tuned_digest}\n  found  {digest}"
        )
        return FAIL
    by = f", signed by {signer}" if signer else ", unsigned"
    shell.say(f"yes: {model} is the model that passed ({digest}{by})")
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
    root = own if own.is_dir() else store_root(shell.environ)
    if not (run / RUN).is_file():
        return Store(root, warn=shell.warn)
    facts = RunFolder.open(run).read_record(RUN, RunFacts)
    return Store.holding(root, Path(facts.tuned_path), warn=shell.warn)


def _verdict_file(path: Path) -> Path:
    return path / VERDICT if path.is_dir() else path
