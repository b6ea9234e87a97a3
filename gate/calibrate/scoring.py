"""The base model scored under one setting, from the store where that has the blocks; settings compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from checks import PreparedTask, pair
from gate.bench import Bench, StoredOrAsked, Work
from gate.calibrate.changes import EXAMPLES, Setting
from gate.errors import MeasurementError
from gate.foresight.noise import Noise
from gate.measure import exactly, plan_blocks, prepare
from gate.records import BlockResult, Measurement, ModelRef, TaskInfo, Trust
from gate.scoring import ModelSession
from gate.shell import Shell
from gate.stats import DegenerateData, Moments, mean_moments, ratio_moments
from gate.store import Store


@dataclass(frozen=True)
class Answers:
    """The base model's answers under one setting, by leaf; how many blocks had to be scored."""

    tasks: tuple[PreparedTask, ...]
    of_leaf: dict[tuple[str, str], list[BlockResult]]
    scored: int


def build(setting: Setting, base: ModelRef, trust: Trust, shell: Shell) -> tuple[PreparedTask, ...]:
    """The setting's tasks with all their requests. Raises `DataError`."""
    with ModelSession(base, base, setting.evaluation, trust) as session:
        prepared = tuple(prepare(task, session, shell) for task in setting.tasks)
    shell.progress.done("preparing")
    return prepared


def score(
    setting: Setting, prepared: tuple[PreparedTask, ...], what: str, store: Store, trust: Trust, shell: Shell
) -> Answers:
    """Score every planned block of the setting's tasks. Raises `OutOfMemory` where a block does not fit."""
    with (
        setting.model() as model,
        ModelSession(model, model, setting.evaluation, trust, believed=store.self_tests) as session,
    ):
        work = [item for task in prepared for item in plan_blocks(task, setting.salt)]

        def ask() -> Bench:
            way = setting.sized(session.way)
            bench = Bench(StoredOrAsked(session, store, shell.clock), way, shell, shrinks=False)
            bench.add_base(work, what)
            return bench

        bench = exactly(ask, [session], shell)
        shell.progress.done(what)
    found: dict[tuple[str, str], list[BlockResult]] = {}
    for item in work:
        found.setdefault(_name(item), []).append(bench.results["base", item.block].result)
    scored = sum(not each.from_store for each in bench.results.values())
    return Answers(prepared, found, scored)


def _name(item: Work) -> tuple[str, str]:
    return item.info.task, item.leaf.name


def compare(change: str, plain: Answers, other: Answers) -> Iterator[Noise]:
    """The noise of every task that was asked both ways; one that was asked the very same has none."""
    asked = {task.info.task: task for task in plain.tasks}
    for task in other.tasks:
        name = task.info.task
        if change == EXAMPLES and task.info.digest == asked[name].info.digest:
            continue  # its examples are not drawn
        measured = [
            pair(
                asked[name].info,
                leaf,
                plain.of_leaf[name, leaf.name],
                other.of_leaf[name, leaf.name],
            )
            for leaf in asked[name].leaves
        ]
        yield noise_of(change, asked[name].info, measured)


def noise_of(change: str, info: TaskInfo, measured: Sequence[Measurement]) -> Noise:
    """A task's difference and its standard error, leaves weighted as the task's own value weights them."""
    weights = [next(leaf.weight for leaf in info.leaves if leaf.name == each.leaf) for each in measured]
    moments = [_moments(each) for each in measured]
    binary = all(each.unit == "accuracy" and each.aggregation == "mean" for each in measured)
    changed = sum(one != other for each in measured for one, other in zip(each.base, each.tuned, strict=True))
    return Noise(
        change,
        info.task,
        sum(len(each.numbers) for each in measured),
        changed if binary else None,
        math.fsum(w * m.estimate for w, m in zip(weights, moments, strict=True)),
        math.sqrt(math.fsum(w * w * m.variance for w, m in zip(weights, moments, strict=True))),
    )


def _moments(measured: Measurement) -> Moments:
    if measured.corpus is not None:
        drawn = np.array([tuned - base for base, tuned in measured.replicates])
        spread = float(drawn.var(ddof=1)) if drawn.size > 1 else 0.0
        return Moments(measured.corpus[1] - measured.corpus[0], spread, max(1, drawn.size - 1))
    values = np.array(measured.tuned) - np.array(measured.base)
    try:
        if measured.weights is not None:
            return ratio_moments(values, np.array(measured.weights))
        return mean_moments(values)
    except DegenerateData as error:
        raise MeasurementError(
            f"{measured.task}, {measured.leaf}: {error}", hint="score at least two documents of every leaf"
        ) from error
