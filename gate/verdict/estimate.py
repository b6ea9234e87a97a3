"""What a metric of a task came to: the numbers, both intervals, and what happened to each document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gate import stats
from gate.errors import MeasurementError
from gate.records import Interval
from gate.stats import Bounds, Moments
from gate.verdict.arrange import MeasuredMetric, PairedLeaf
from gate.verdict.result import ROUNDING

Quantity = Literal["difference", "tuned"]


@dataclass(frozen=True, slots=True)
class Changes:
    """Documents that got worse, got better, stayed; none where a metric has no value a document."""

    fell: int
    rose: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value for both models and the intervals of one quantity of it."""

    base: float
    tuned: float
    difference: float
    interval: Interval
    remaining: Interval | None
    scored: int
    total: int
    changes: Changes
    p_value: float | None  # exact McNemar, where every document is right or wrong


@dataclass(frozen=True, slots=True)
class _Part:
    """One leaf's contribution: bounds that stand for themselves, or moments to be pooled."""

    weight: float
    value: Bounds | Moments
    method: str


def estimate_metric(metric: MeasuredMetric, quantity: Quantity, level: float) -> Estimate:
    """Estimate one metric; the intervals are of `quantity`.

    Raises MeasurementError where the data cannot carry an interval (a single unbounded value).
    """
    base, tuned, difference = _values(metric.leaves)
    changes = _changes(metric)
    scored = sum(leaf.scored for leaf in metric.leaves)
    total = sum(leaf.total for leaf in metric.leaves)
    binary = metric.aggregation == "mean" and all(leaf.binary for leaf in metric.leaves)
    try:
        interval = _interval(metric, quantity, level, "population")
        remaining = _interval(metric, quantity, level, "benchmark") if scored < total else None
    except stats.DegenerateData as error:
        raise MeasurementError(
            f"{metric.task}, {metric.metric}: {error}", hint="score at least two documents of every leaf"
        ) from error
    return Estimate(
        base=base,
        tuned=tuned,
        difference=difference,
        interval=interval,
        remaining=remaining,
        scored=scored,
        total=total,
        changes=changes,
        p_value=stats.mcnemar_exact(changes.fell, changes.rose) if binary else None,
    )


def average(estimates: Sequence[Estimate], level: float) -> Estimate:
    """The unweighted mean of several tasks' values and differences; their intervals by MOVER."""
    share = [1 / len(estimates)] * len(estimates)
    interval = stats.mover([_bounds(e.difference, e.interval) for e in estimates], share)
    remaining = stats.mover([_bounds(e.difference, e.remaining) for e in estimates], share)
    limited = any(e.remaining is not None for e in estimates)
    method = f"MOVER over {len(estimates)} tasks"
    return Estimate(
        base=math.fsum(e.base for e in estimates) / len(estimates),
        tuned=math.fsum(e.tuned for e in estimates) / len(estimates),
        difference=math.fsum(e.difference for e in estimates) / len(estimates),
        interval=Interval(interval.low, interval.high, level, "population", method),
        remaining=Interval(remaining.low, remaining.high, level, "benchmark", method) if limited else None,
        scored=sum(e.scored for e in estimates),
        total=sum(e.total for e in estimates),
        changes=Changes(
            fell=sum(e.changes.fell for e in estimates),
            rose=sum(e.changes.rose for e in estimates),
            unchanged=sum(e.changes.unchanged for e in estimates),
        ),
        p_value=None,
    )


def _bounds(estimate: float, interval: Interval | None) -> Bounds:
    if interval is None:
        return Bounds(estimate, estimate, estimate)
    return Bounds(estimate, interval.low, interval.high)


def numbers(metrics: Sequence[MeasuredMetric]) -> tuple[float, float, float]:
    """(base, tuned, difference) of a metric, or the means over several."""
    rows = [_values(metric.leaves) for metric in metrics]
    base, tuned, difference = (math.fsum(column) / len(rows) for column in zip(*rows, strict=True))
    return base, tuned, difference


def _values(leaves: Sequence[PairedLeaf]) -> tuple[float, float, float]:
    """(base, tuned, difference), the leaves weighted. Differences are summed and not subtracted
    afterwards, so that twenty lost of a thousand are -0.02 and not a rounding more."""
    rows = [_leaf_values(leaf) for leaf in leaves]
    base, tuned, difference = (
        math.fsum(leaf.weight * row[k] for leaf, row in zip(leaves, rows, strict=True)) for k in range(3)
    )
    return base, tuned, difference


def _leaf_values(leaf: PairedLeaf) -> tuple[float, float, float]:
    if leaf.corpus is not None:
        base, tuned = leaf.corpus
        return base, tuned, tuned - base
    over = leaf.scored if leaf.denominators is None else math.fsum(leaf.denominators.tolist())
    base, tuned, difference = (
        math.fsum(v.tolist()) / over for v in (leaf.base, leaf.tuned, leaf.tuned - leaf.base)
    )
    return base, tuned, difference


def _changes(metric: MeasuredMetric) -> Changes:
    better = np.concatenate([leaf.tuned - leaf.base for leaf in metric.leaves])
    if not metric.higher_is_better:
        better = -better
    fell, rose = int((better < 0).sum()), int((better > 0).sum())
    return Changes(fell, rose, int(better.size) - fell - rose)


def _interval(
    metric: MeasuredMetric, quantity: Quantity, level: float, about: Literal["population", "benchmark"]
) -> Interval:
    if metric.aggregation == "corpus":
        bounds, method = _corpus_bounds(metric.leaves, quantity, level, finite=about == "benchmark")
    else:
        part = _population_part if about == "population" else _benchmark_part
        limits = _limits(metric, quantity)
        bounds, method = _combine([part(leaf, quantity, limits, level) for leaf in metric.leaves], level)
        if limits is not None:
            bounds = Bounds(bounds.estimate, max(bounds.low, limits[0]), min(bounds.high, limits[1]))
    return Interval(bounds.low, bounds.high, level, about, method)


def _limits(metric: MeasuredMetric, quantity: Quantity) -> tuple[float, float] | None:
    if not metric.is_fraction or metric.aggregation != "mean":
        return None
    return (-1.0, 1.0) if quantity == "difference" else (0.0, 1.0)


def _population_part(
    leaf: PairedLeaf, quantity: Quantity, limits: tuple[float, float] | None, level: float
) -> _Part:
    n = leaf.scored
    if leaf.denominators is None and leaf.binary:
        if quantity == "tuned":
            return _Part(leaf.weight, stats.wilson(int(leaf.tuned.sum()), n, level), "Wilson score")
        lost, won = _flips(leaf)
        return _Part(leaf.weight, stats.tango(lost, won, n, level), "Tango score")
    return _spread_part(leaf, quantity, limits, level)


def _benchmark_part(
    leaf: PairedLeaf, quantity: Quantity, limits: tuple[float, float] | None, level: float
) -> _Part:
    n, total = leaf.scored, leaf.total
    if n == total:
        value = _leaf_values(leaf)[2 if quantity == "difference" else 1]
        return _Part(leaf.weight, Bounds(value, value, value), "complete")
    if leaf.denominators is None and leaf.binary:
        if quantity == "tuned":
            bounds = stats.hypergeometric(int(leaf.tuned.sum()), n, total, level)
        else:
            bounds = stats.finite_difference(*_flips(leaf), n, total, level)
        return _Part(leaf.weight, bounds, "exact hypergeometric")
    part = _spread_part(leaf, quantity, limits, level, total=total)
    if isinstance(part.value, Bounds):
        return part
    finite = part.value.of_finite_population(n, total)
    return _Part(part.weight, finite, f"{part.method} for a finite population")


def _spread_part(
    leaf: PairedLeaf,
    quantity: Quantity,
    limits: tuple[float, float] | None,
    level: float,
    *,
    total: int | None = None,
) -> _Part:
    """Moments of values that vary; exact bounds where no spread was seen but limits are known."""
    values = leaf.tuned if quantity == "tuned" else leaf.tuned - leaf.base
    if leaf.denominators is not None:
        return _Part(leaf.weight, stats.ratio_moments(values, leaf.denominators), "linearised ratio, t")
    if limits is not None and np.ptp(values) <= ROUNDING:
        bounds = stats.unvarying(float(values[0]), leaf.scored, limits, level, total=total)
        return _Part(leaf.weight, bounds, "exact, no spread seen")
    return _Part(leaf.weight, stats.mean_moments(values), "paired t" if quantity == "difference" else "t")


def _combine(parts: Sequence[_Part], level: float) -> tuple[Bounds, str]:
    """Moments are pooled by the stratified t interval; that and all bounds are joined by MOVER."""
    pooled = [(p.weight, p.value) for p in parts if isinstance(p.value, Moments)]
    bounds = [(p.weight, p.value) for p in parts if isinstance(p.value, Bounds)]
    if pooled:
        weights, moments = zip(*pooled, strict=True)
        bounds.append((1.0, stats.stratified_t(moments, weights, level)))
    method = ", ".join(dict.fromkeys(part.method for part in parts))
    if len(bounds) == 1 and len(parts) in (1, len(pooled)):
        return bounds[0][1], method
    joined = stats.mover([b for _, b in bounds], [w for w, _ in bounds])
    return joined, f"MOVER of {len(parts)} leaves: {method}"


def _flips(leaf: PairedLeaf) -> tuple[int, int]:
    """(lost, won): documents that went from 1 to 0 and from 0 to 1."""
    return int((leaf.base > leaf.tuned).sum()), int((leaf.base < leaf.tuned).sum())


def _corpus_bounds(
    leaves: Sequence[PairedLeaf], quantity: Quantity, level: float, *, finite: bool
) -> tuple[Bounds, str]:
    """Percentiles of the weighted replicates. About a finite benchmark, each leaf's deviations shrink
    by sqrt(1 - n / N) (the rescaled bootstrap: Rao & Wu 1988, J. Am. Stat. Assoc. 83, 231)."""
    if len({len(leaf.replicates) for leaf in leaves}) != 1:
        raise MeasurementError("the leaves of a corpus metric have different numbers of bootstrap replicates")
    if any(leaf.scored < 2 for leaf in leaves):
        raise stats.DegenerateData("one document cannot be resampled")
    estimate, replicates = 0.0, np.zeros(len(leaves[0].replicates))
    for leaf in leaves:
        value = _leaf_values(leaf)[2 if quantity == "difference" else 1]
        drawn = leaf.replicates[:, 1] - (leaf.replicates[:, 0] if quantity == "difference" else 0.0)
        shrink = math.sqrt(1 - leaf.scored / leaf.total) if finite else 1.0
        estimate += leaf.weight * value
        replicates += leaf.weight * (value + (drawn - value) * shrink)
    try:
        return stats.percentile(estimate, replicates, level), "bootstrap percentile"
    except stats.DegenerateData:
        return stats.standard_bootstrap(estimate, replicates, level), "standard bootstrap"
