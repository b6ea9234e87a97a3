"""Where things stand in the report's pictures: numbers only, the template draws them.

A picture is a row of pixels high and as wide as its place: every x is a share of the width in
percent, so lines and text keep their size from a phone to a page of paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gate.records import Finding
from gate.report.quantities import FRACTIONS, Scale, scale_of
from gate.report.rows import Row, edge, forbidden_below, shown_interval


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis from `low` to `high` with ticks at round numbers."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]  # percent, label

    def at(self, value: float) -> float:
        """`value`'s place in percent of the width, kept within the picture."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


@dataclass(frozen=True, slots=True)
class Mark:
    """One finding in a forest plot: estimate, interval, and what its rule forbids."""

    row: Row
    low: float
    point: float
    high: float
    edge: float | None
    forbidden: tuple[float, float] | None  # from, width
    base: float | None = None  # where a score is shown: the base's own


@dataclass(frozen=True, slots=True)
class Panel:
    """Findings that share one axis."""

    title: str
    unit: str
    axis: Axis
    zero: float | None
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A task's two scores."""

    row: Row
    base: float
    tuned: float
    better: bool | None  # None: no change


@dataclass(frozen=True, slots=True)
class Pairs:
    """Tasks whose scores share one axis, base against tuned."""

    unit: str
    axis: Axis
    pairs: tuple[Pair, ...]


TITLES = {
    "target": "Gain on the target",
    "general": "Change in general ability",
    "average": "Change in general ability",
    "text": "Change on text",
}
SCORES, CHAMPION, OTHERS = "Score reached", "Change against the champion", "Other changes"
SLICES = "Change of the worst slice"  # its interval is far wider than that of a whole task
ORDER = [TITLES["target"], SCORES, TITLES["general"], SLICES, TITLES["text"], CHAMPION, OTHERS]


def forest(rows: Sequence[Row]) -> tuple[Panel, ...]:
    """One panel for each group of findings that can share an axis, in `ORDER`."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault(_panel_of(row.finding), []).append(row)
    order = sorted(groups, key=lambda group: ORDER.index(group[0]))
    return tuple(_panel(title, unit, groups[title, unit]) for title, unit in order)


def against(rows: Sequence[Row]) -> tuple[Pairs, ...]:
    """Base against tuned: each task once, grouped by unit; every axis holds 0, accuracy's ends at 100 %."""
    groups: dict[str, dict[str, Row]] = {}
    for row in rows:
        whole = not row.finding.slices and row.finding.reference == "base"
        if row.finding.kind != "average" and whole:
            groups.setdefault(_family(row.finding), {}).setdefault(f"{row.finding.kind}/{row.name}", row)
    return tuple(_pairs(unit, list(members.values())) for unit, members in groups.items())


def _panel_of(finding: Finding) -> tuple[str, str]:
    unit = _family(finding)
    if finding.reference == "champion":
        return CHAMPION, unit
    if finding.slices:
        return SLICES, unit
    return SCORES if finding.bound == "min_score" else TITLES.get(finding.kind, OTHERS), unit


def _family(finding: Finding) -> str:
    return "accuracy" if finding.unit in FRACTIONS else finding.unit


def _panel(title: str, unit: str, rows: list[Row]) -> Panel:
    scale, scores = scale_of(unit), rows[0].finding.bound == "min_score"
    findings = [row.finding for row in rows]
    span = [value for finding in findings for value in _values(finding)]
    axis = make_axis(span if scores else [0.0, *span], scale, signed=not scores)
    label = scale.suffix.strip() or scale.noun if scores else scale.noun
    marks = tuple(_mark(row, axis) for row in rows)
    return Panel(title, label, axis, None if scores else axis.at(0.0), marks)


def _values(finding: Finding) -> Iterable[float]:
    yield shown_interval(finding).low
    yield shown_interval(finding).high
    if finding.margin is not None:
        yield edge(finding)
    if finding.bound == "min_score":
        yield finding.base


def _mark(row: Row, axis: Axis) -> Mark:
    finding = row.finding
    scored = finding.bound == "min_score"
    place = None if finding.margin is None else axis.at(edge(finding))
    forbidden = None
    if place is not None:
        forbidden = (0.0, place) if forbidden_below(finding) else (place, round(100 - place, 2))
    return Mark(
        row=row,
        low=axis.at(shown_interval(finding).low),
        point=axis.at(finding.tuned if scored else finding.difference),
        high=axis.at(shown_interval(finding).high),
        edge=place,
        forbidden=forbidden,
        base=axis.at(finding.base) if scored else None,
    )


def _pairs(unit: str, rows: list[Row]) -> Pairs:
    scale = scale_of(unit)
    values = [value for row in rows for value in (row.finding.base, row.finding.tuned)]
    fractions = unit in FRACTIONS and min(values) >= 0 and max(values) <= 1
    span = [0.0, 1.0] if fractions else [0.0, *values]
    axis = make_axis(span, scale, signed=False, room=0.0 if fractions else 0.03)
    label = "score in %" if unit in FRACTIONS else scale.noun
    return Pairs(label, axis, tuple(_pair(row, axis) for row in rows))


def _pair(row: Row, axis: Axis) -> Pair:
    finding = row.finding
    better = None if not finding.difference else (finding.difference > 0) == finding.higher_is_better
    return Pair(row, axis.at(finding.base), axis.at(finding.tuned), better)


def make_axis(values: Sequence[float], scale: Scale, *, signed: bool, room: float = 0.08) -> Axis:
    """An axis that holds `values` with some `room` at both ends and three to six round ticks."""
    low, high = min(values), max(values)
    width = (high - low) or abs(high) or 1.0
    low, high = low - room * width, high + room * width
    step = _step((high - low) * scale.factor) / scale.factor
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    places = max(0, -math.floor(math.log10(step * scale.factor) + 1e-9))
    show = scale.change if signed else scale.level
    bare = Axis(low, high, ())
    ticks = (
        (bare.at(n * step), show(n * step, places).removesuffix(scale.suffix)) for n in range(first, last + 1)
    )
    return Axis(low, high, tuple(ticks))


def _step(width: float) -> float:
    rough = width / 5
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= rough * 0.999), 10 * power)


def bar(mark: Mark, panel: Panel, width: int) -> str:
    """The forest plot's row in characters: `··┃··━●━···┊···`: limit ┃, noise ━, change ●, zero ┊."""
    cells = ["·"] * width

    def at(percent: float) -> int:
        return min(width - 1, int(percent / 100 * width))

    if panel.zero is not None:
        cells[at(panel.zero)] = "┊"
    for index in range(at(mark.low), at(mark.high) + 1):
        cells[index] = "━"
    if mark.edge is not None:
        cells[at(mark.edge)] = "┃"
    cells[at(mark.point)] = "●"
    return "".join(cells)
