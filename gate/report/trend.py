"""Each rule over the last verdicts on the default branch, and now: numbers only, the template draws them.

Across: verdicts, the oldest left, this one right. Up: the rule's own number, in percent of the height, with
the margin that holds now. A rule without a past is not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gate.records.history import PastRule, PastVerdict
from gate.report.quantities import many, scale_of
from gate.report.rows import Row, edge, forbidden_below
from gate.report.svg import make_axis

LAST = 20  # verdicts before this one
MOST = 24  # rules that are drawn, the worst first
CELLS = "▁▂▃▄▅▆▇█"
SAME = 1e-4  # relative: a history keeps six digits
LEFT, RIGHT = 2.0, 11.0  # percent of the width that are kept free; the labels stand at the right
RULED = frozenset({"pass", "fail", "undecided"})


@dataclass(frozen=True, slots=True)
class Spot:
    """One verdict's number: percent from the left and from the top, and how the rule came out."""

    x: float
    y: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Trend:
    """One rule's past and present, ready to be drawn."""

    row: Row
    spots: tuple[Spot, ...]  # the last is this verdict
    line: str  # points of a polyline
    edge: float | None  # the margin's height
    forbidden: tuple[float, float] | None  # from the top, height
    zero: float | None
    ticks: tuple[tuple[float, str], ...]  # heights and their labels
    first: str  # the oldest verdict's day
    before: str  # the number of the verdict before this one
    cells: str  # all of it in characters, a higher one a larger number
    said: str  # all of it in words


def make_trends(rows: Sequence[Row], history: Sequence[PastVerdict]) -> tuple[Trend, ...]:
    """The trend of each judged rule that one of the latest verdicts of `history` had too, in the rows' order.

    `history` is of this config, the oldest first, without this verdict and without audits.
    """
    recent = history[-LAST:]
    found = []
    for row in rows:
        past = [(verdict, rule) for verdict in recent if (rule := _same(row, verdict)) is not None]
        if past and row.outcome in RULED:
            found.append(_trend(row, past))
    return tuple(found[:MOST])


def _same(row: Row, past: PastVerdict) -> PastRule | None:
    """The same rule in an earlier verdict, about the same quantity."""
    named = (rule for rule in past.rules if rule.rule == row.finding.rule)
    return next((rule for rule in named if rule.unit == row.finding.unit), None)


def _trend(row: Row, past: Sequence[tuple[PastVerdict, PastRule]]) -> Trend:
    finding, scale = row.finding, scale_of(row.finding.unit)
    scored = finding.bound == "min_score"
    now, margin = finding.tuned if scored else finding.difference, edge(finding)
    values = [rule.value for _, rule in past] + [now]
    span = values if math.isnan(margin) else [*values, margin]
    axis = make_axis(span if scored else [0.0, *span], scale, signed=not scored)
    across = [LEFT + (100 - LEFT - RIGHT) * k / (len(values) - 1) for k in range(len(values))]
    outcomes = [rule.outcome for _, rule in past] + [finding.outcome]
    spots = tuple(
        Spot(round(x, 2), round(100 - axis.at(value), 2), outcome)
        for x, value, outcome in zip(across, values, outcomes, strict=True)
    )
    place = None if math.isnan(margin) else round(100 - axis.at(margin), 2)
    show = scale.level if scored else scale.change
    first = past[0][0].created[:10]
    early = [rule.early for _, rule in past] + [finding.early]
    shown = [f"{'≈ ' if near else ''}{show(value)}" for value, near in zip(values, early, strict=True)]
    said = f"{many(len(past), 'earlier verdict')} since {first}: {', '.join(shown)}"
    return Trend(
        row=row,
        spots=spots,
        line=" ".join(f"{spot.x:g},{spot.y:g}" for spot in spots),
        edge=place,
        forbidden=None if place is None else _shaded(place, below=forbidden_below(finding)),
        zero=None if scored else round(100 - axis.at(0.0), 2),
        ticks=tuple((round(100 - at, 2), label) for at, label in axis.ticks if 4 < at < 86),
        first=first,
        before=shown[-2],
        cells=sparkline(values),
        said=f"{said}; {row.bound}",
    )


def _shaded(place: float, *, below: bool) -> tuple[float, float]:
    return (place, round(100 - place, 2)) if below else (0.0, place)


def sparkline(values: Sequence[float]) -> str:
    """Numbers as a row of bars, the largest a full one; a middle one each where all are the same."""
    low, high = min(values), max(values)
    if high - low <= SAME * max(abs(low), abs(high)):
        return CELLS[3] * len(values)
    top = len(CELLS) - 1
    return "".join(CELLS[round(top * (value - low) / (high - low))] for value in values)
