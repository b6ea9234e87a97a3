"""Whether another policy may judge a run: what it wants measured must be what the run measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from gate.digests import source_digest
from gate.errors import Problem
from gate.records import Champion, Evaluation, Plan, Policy, TaskSpec
from gate.sealed import disk_errors
from gate.verdict.champion import champion_tasks

AGAIN = "run the check again"


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
    if plan.tuned is None and asked.seeds > was.seeds:
        problems.append(_problem(asked, "seeds", asked.seeds, was.seeds, 0))
    if champion_tasks(asked):
        problems += _differs(asked, {"champion": "champion"}, asked, was)
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
    if isinstance(value, Champion):
        return value.name
    return "the default" if value is None else str(value)
