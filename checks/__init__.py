"""The instruments: each measures base and tuned model on the same documents, and judges nothing.

A new instrument is a module with `NAME`, `measures(spec)` and `open_tasks(...)` (see `protocol.Check`)
and a line in `CHECKS`, which stands in report order. The first one that measures a spec gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from checks import benchmarks, bits_per_byte
from checks.flips import flips
from checks.pairing import check_like_for_like, pair
from checks.protocol import (
    Check,
    DocumentValues,
    OpenTask,
    PreparedLeaf,
    PreparedTask,
    block_result,
)
from gate.errors import ConfigErrors, Problem
from gate.records import Policy, TaskSpec
from gate.scoring import ChatTemplate

CHECKS: tuple[Check, ...] = (benchmarks, bits_per_byte)


def open_tasks(
    specs: Sequence[TaskSpec], policy: Policy, *, index_folder: Path | None = None
) -> tuple[OpenTask, ...]:
    """Find every task with its data and metric, in the order of `specs`, before anything is trained.

    `index_folder` keeps lm-eval's own list of tasks, which takes long to make, between runs.
    Raises ConfigErrors with every problem of every task at once.
    """
    problems: list[Problem] = []
    opened: dict[int, OpenTask] = {}
    remaining = list(enumerate(specs))
    for check in CHECKS:
        mine = [(at, spec) for at, spec in remaining if check.measures(spec)]
        remaining = [(at, spec) for at, spec in remaining if not check.measures(spec)]
        try:
            tasks = check.open_tasks([spec for _, spec in mine], policy, index_folder=index_folder)
        except ConfigErrors as errors:
            problems.extend(errors.problems)
        else:
            opened.update({at: task for (at, _), task in zip(mine, tasks, strict=True)})
    problems += [
        Problem(spec.place.file or policy.path, f"no check measures {spec.id}", spec.place.line or None)
        for _, spec in remaining
    ]
    if problems:
        raise ConfigErrors(problems)
    return tuple(opened[at] for at in range(len(specs)))


__all__ = [
    "CHECKS",
    "ChatTemplate",
    "Check",
    "DocumentValues",
    "OpenTask",
    "PreparedLeaf",
    "PreparedTask",
    "block_result",
    "check_like_for_like",
    "flips",
    "open_tasks",
    "pair",
]
