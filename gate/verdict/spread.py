"""What several trainings add to a rule's number: each one's own, and a wider interval. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gate.records import Interval, SeedSpread
from gate.stats import Bounds
from gate.stats.trainings import deviation, over_trainings
from gate.verdict.arrange import Subject
from gate.verdict.estimate import Estimate, Quantity, numbers


@dataclass(frozen=True, slots=True)
class Own:
    """The trainings' own numbers for one rule, in the seeds' order."""

    tuned: tuple[float, ...]
    differences: tuple[float, ...]


def own_numbers(trainings: Sequence[Subject], last: int | None) -> Own:
    """Of what had been drawn by the end of round `last`, or of all that was measured."""
    drawn = (
        each.metrics if last is None else tuple(metric.until(last) for metric in each.metrics)
        for each in trainings
    )
    rows = [numbers(metrics) for metrics in drawn]
    return Own(tuple(tuned for _, tuned, _ in rows), tuple(difference for *_, difference in rows))


def with_spread(
    estimate: Estimate, of: Quantity, own: Own, *, bounded: bool
) -> tuple[Estimate, SeedSpread | None]:
    """The estimate with its interval about the population widened by the spread between trainings, where
    there are any; `bounded` for fractions."""
    values = own.tuned if of == "tuned" else own.differences
    if not values:
        return estimate, None
    measuring, centre = estimate.interval, estimate.tuned if of == "tuned" else estimate.difference
    found = over_trainings(Bounds(centre, measuring.low, measuring.high), values, measuring.level)
    low, high = found.low, found.high
    if bounded:
        low, high = max(low, 0.0 if of == "tuned" else -1.0), min(high, 1.0)
    method = f"{measuring.method}; with {len(values)} trainings by MOVER"
    interval = Interval(low, high, measuring.level, measuring.about, method)
    return replace(estimate, interval=interval), SeedSpread(values, deviation(values), measuring)
