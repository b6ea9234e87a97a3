"""Raw measurements, proven complete and arranged by task and metric. What is left out is an error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gate.errors import MeasurementError
from gate.records import Leaf, Measurement, Rule, TaskInfo
from gate.stats import Array

HUGE = 1e100  # no score is as large, and squares of what is smaller do not overflow
FRACTIONS = frozenset({"accuracy", "fraction"})  # units of values that lie between 0 and 1


@dataclass(frozen=True, slots=True, eq=False)
class PairedLeaf:
    """One leaf's values: `base` and `tuned` per document (empty where only a corpus number exists)."""

    name: str
    weight: float
    scored: int
    total: int
    base: Array
    tuned: Array
    binary: bool
    denominators: Array | None
    corpus: tuple[float, float] | None
    replicates: Array  # rows of (base, tuned)
    planned: int
    rounds: NDArray[np.int_] | None = None  # in which each document was drawn
    clusters: tuple[str, ...] | None = None
    parts: tuple[str, ...] | None = None

    @property
    def complete(self) -> bool:
        """Whether all that was planned was scored."""
        return self.scored == self.planned

    def until(self, last: int) -> PairedLeaf:
        """What had been drawn by the end of round `last`."""
        if self.rounds is None:
            return self
        kept = self.rounds <= last
        return replace(
            self,
            scored=int(kept.sum()),
            base=self.base[kept],
            tuned=self.tuned[kept],
            rounds=self.rounds[kept],
            clusters=None,
            parts=None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredMetric:
    """One metric of one task, on all of its leaves."""

    task: str
    check: str
    metric: str
    filter: str
    unit: str
    higher_is_better: bool
    aggregation: Literal["mean", "ratio", "corpus"]
    leaves: tuple[PairedLeaf, ...]
    right_or_wrong: bool = False  # every document is one of both, by its metric's own code

    @property
    def name(self) -> str:
        """`metric,filter` as a person reads it."""
        return ",".join(part for part in (self.metric, self.filter) if part)

    @property
    def is_fraction(self) -> bool:
        return self.unit in FRACTIONS

    @property
    def complete(self) -> bool:
        """Whether all that was planned was scored."""
        return all(leaf.complete for leaf in self.leaves)

    def until(self, last: int) -> MeasuredMetric:
        """The same metric of what had been drawn by the end of round `last`."""
        return replace(self, leaves=tuple(leaf.until(last) for leaf in self.leaves))


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTask:
    """One task and all of its metrics that were stored, by (metric, filter)."""

    info: TaskInfo
    metrics: Mapping[tuple[str, str], MeasuredMetric]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule is about: one metric, or for the average several."""

    rule: Rule
    metrics: tuple[MeasuredMetric, ...]

    @property
    def complete(self) -> bool:
        """Whether all that was planned was scored."""
        return all(metric.complete for metric in self.metrics)


def arrange_task(info: TaskInfo, measurements: Iterable[Measurement]) -> MeasuredTask:
    """Arrange the measurements of one task.

    Raises MeasurementError unless every planned document of every leaf is there for every metric,
    once, finite, with the same hashes, and the task's own metric is among them.
    """
    leaves = _leaves(info)
    grouped: dict[tuple[str, str], dict[str, Measurement]] = {}
    for measurement in measurements:
        where = f"{info.task}, {measurement.leaf or 'no leaf'}, {measurement.metric}"
        if measurement.leaf not in leaves:
            raise MeasurementError(f"{where}: measured, but not planned")
        of_metric = grouped.setdefault((measurement.metric, measurement.filter), {})
        if measurement.leaf in of_metric:
            raise MeasurementError(f"{where}: measured twice")
        of_metric[measurement.leaf] = measurement
    if (info.metric, info.filter) not in grouped:
        raise MeasurementError(f"{info.task}: its metric {info.metric} was not measured")
    _check_same_documents(info, grouped.values())
    metrics = {name: _arrange_metric(info, leaves, of_metric) for name, of_metric in grouped.items()}
    own = metrics[info.metric, info.filter]
    if (own.check, own.unit, own.higher_is_better) != (info.check, info.unit, info.higher_is_better):
        raise MeasurementError(f"{info.task}: {info.metric} was measured as another quantity than planned")
    return MeasuredTask(info, metrics)


def _leaves(info: TaskInfo) -> dict[str, Leaf]:
    leaves = {leaf.name: leaf for leaf in info.leaves}
    if not leaves or len(leaves) != len(info.leaves):
        raise MeasurementError(f"{info.task}: no leaves were planned, or one twice")
    for leaf in info.leaves:
        if not 1 <= leaf.documents_planned <= leaf.documents_total:
            raise MeasurementError(f"{info.task}, {leaf.name}: no sound number of documents was planned")
    weights = [leaf.weight for leaf in info.leaves]
    if not (all(0 <= w <= 1 for w in weights) and math.isclose(math.fsum(weights), 1, rel_tol=1e-9)):
        raise MeasurementError(f"{info.task}: the weights of its leaves do not add up to 1")
    return leaves


def _check_same_documents(info: TaskInfo, metrics: Iterable[Mapping[str, Measurement]]) -> None:
    """Two metrics of a leaf come from the same documents in the same order."""
    first: dict[str, Measurement] = {}
    for of_metric in metrics:
        for leaf, measurement in of_metric.items():
            known = first.setdefault(leaf, measurement)
            if (known.numbers, known.hashes) != (measurement.numbers, measurement.hashes):
                raise MeasurementError(f"{info.task}, {leaf}: metrics were measured on different documents")


def _arrange_metric(
    info: TaskInfo, leaves: Mapping[str, Leaf], of_metric: Mapping[str, Measurement]
) -> MeasuredMetric:
    first = next(iter(of_metric.values()))
    missing = [name for name in leaves if name not in of_metric]
    if missing:
        raise MeasurementError(f"{info.task}: {first.metric} was not measured on {', '.join(missing)}")
    if len({(m.check, m.unit, m.higher_is_better, m.aggregation) for m in of_metric.values()}) != 1:
        raise MeasurementError(f"{info.task}: {first.metric} is not the same quantity on all of its leaves")
    return MeasuredMetric(
        task=info.task,
        check=first.check,
        metric=first.metric,
        filter=first.filter,
        unit=first.unit,
        higher_is_better=first.higher_is_better,
        aggregation=first.aggregation,
        leaves=tuple(_arrange_leaf(leaf, of_metric[name]) for name, leaf in leaves.items()),
        right_or_wrong=info.right_or_wrong and (first.metric, first.filter) == (info.metric, info.filter),
    )


def _arrange_leaf(leaf: Leaf, measurement: Measurement) -> PairedLeaf:
    where = f"{measurement.task}, {leaf.name}, {measurement.metric}"
    _check_documents(where, leaf, measurement)
    n = len(measurement.numbers)
    per_document = measurement.aggregation != "corpus" or bool(measurement.base or measurement.tuned)
    base = _numbers(where, measurement.base, n if per_document else 0)
    tuned = _numbers(where, measurement.tuned, n if per_document else 0)
    corpus, replicates = _corpus(where, measurement)
    shown = [base, tuned, np.array(corpus or (), dtype=np.float64)]
    if measurement.unit in FRACTIONS and any(((v < 0) | (v > 1)).any() for v in shown):
        raise MeasurementError(f"{where}: {measurement.unit} that does not lie between 0 and 1")
    return PairedLeaf(
        name=leaf.name,
        weight=leaf.weight,
        scored=n,
        total=leaf.documents_total,
        base=base,
        tuned=tuned,
        binary=bool(((base == 0) | (base == 1)).all() and ((tuned == 0) | (tuned == 1)).all()),
        denominators=_denominators(where, measurement, n),
        corpus=corpus,
        replicates=replicates,
        planned=leaf.documents_planned,
        rounds=_rounds(where, measurement, n),
        clusters=measurement.clusters,
        parts=measurement.parts,
    )


def _check_documents(where: str, leaf: Leaf, measurement: Measurement) -> None:
    numbers, hashes = measurement.numbers, measurement.hashes
    stopped = measurement.rounds is not None and measurement.aggregation == "mean"
    enough = (
        1 <= len(numbers) <= leaf.documents_planned if stopped else len(numbers) == leaf.documents_planned
    )
    if measurement.documents_total != leaf.documents_total or not enough:
        raise MeasurementError(
            f"{where}: {len(numbers)} of {measurement.documents_total} documents, planned were "
            f"{leaf.documents_planned} of {leaf.documents_total}"
        )
    if len(hashes) != len(numbers) or not all(hashes):
        raise MeasurementError(f"{where}: a document without its hash")
    if np.array(numbers).dtype.kind != "i" or min(numbers) < 0 or len(set(numbers)) != len(numbers):
        raise MeasurementError(f"{where}: document numbers that are no numbers, or one twice")


def _numbers(where: str, values: Sequence[float], n: int) -> Array:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MeasurementError(f"{where}: a value that is no number") from error
    if array.shape != (n,):
        raise MeasurementError(f"{where}: {len(values)} values for {n} documents")
    finite = np.abs(array) < HUGE
    if not finite.all():
        raise MeasurementError(f"{where}: value {int(np.argmin(finite)) + 1} of {n} is not a finite number")
    return array


def _denominators(where: str, measurement: Measurement, n: int) -> Array | None:
    if measurement.aggregation != "ratio":
        return None
    weights = _numbers(where, measurement.weights or (), n)
    if (weights < 0).any() or weights.sum() < 1 / HUGE:
        raise MeasurementError(f"{where}: a ratio over nothing")
    return weights


def _rounds(where: str, measurement: Measurement, n: int) -> NDArray[np.int_] | None:
    for what, named in (("clusters", measurement.clusters), ("parts", measurement.parts)):
        if named is not None and len(named) != n:
            raise MeasurementError(f"{where}: {len(named)} {what} for {n} documents")
    if measurement.rounds is None:
        return None
    rounds = np.array(measurement.rounds)
    if rounds.shape != (n,) or rounds.dtype.kind != "i" or (rounds < 0).any():
        raise MeasurementError(f"{where}: a document without the round in which it was drawn")
    return rounds


def _corpus(where: str, measurement: Measurement) -> tuple[tuple[float, float] | None, Array]:
    if measurement.aggregation != "corpus":
        return None, np.empty((0, 2))
    base, tuned = _numbers(where, measurement.corpus or (), 2)
    columns = list(zip(*measurement.replicates, strict=True)) if measurement.replicates else []
    if len(columns) != 2:
        raise MeasurementError(f"{where}: a corpus metric without its bootstrap replicates")
    n = len(measurement.replicates)
    replicates = np.stack([_numbers(where, column, n) for column in columns], axis=1)
    return (float(base), float(tuned)), replicates
