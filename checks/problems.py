"""What is wrong with a task, in the user's words: the border where lm-eval's own errors are renamed."""

from __future__ import annotations

import yaml

from checks.benchmark_tasks import TaskNames
from gate.errors import Problem
from gate.records import Policy, TaskSpec


class BadTask(Exception):
    """One task cannot be measured: why, and what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def problem_of(spec: TaskSpec, policy: Policy, bad: BadTask) -> Problem:
    """The problem at the line of the policy that asks for the task."""
    return Problem(spec.place.file or policy.path, bad.message, spec.place.line or None, spec.id, bad.hint)


def unknown_task(name: str, names: TaskNames) -> BadTask:
    """A name that neither the included folders nor lm-eval know, with the nearest ones."""
    near = names.nearest(name)
    broken = [f"{path} could not be read: {why}" for path, why in names.broken.items()]
    hint = "; ".join([f"did you mean {', '.join(near)}?"] * bool(near) + broken)
    return BadTask(
        f"there is no task {name!r}", hint=hint or "lm-eval's own tasks and `include:` were searched"
    )


def loading_problem(name: str, error: Exception) -> BadTask:
    """What lm-eval, `datasets`, a task's YAML or its Python raised while the task was loaded."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, yaml.YAMLError):
        return BadTask(f"{name}: its YAML is broken: {text}")
    if isinstance(error, ImportError):
        return BadTask(f"{name}: its Python needs something that is not installed: {text}")
    if isinstance(error, ConnectionError | FileNotFoundError) or kind in (
        "OfflineModeIsEnabled",
        "DataFilesNotFoundError",
    ):
        return BadTask(
            f"{name}: its data cannot be found: {text}",
            hint="fetch it once while online, or give a local data file",
        )
    if isinstance(error, IndexError | StopIteration) or "corresponds to no data" in text:
        return BadTask(f"{name}: its data is empty")
    return BadTask(f"{name} cannot be loaded: {kind}: {text}")
