"""The path of a rule that was settled early: numbers only, the template draws them.

Across: documents, from none to the whole benchmark, in percent of the width. Up: the rule's own number, in
percent of the height, about the margin and where the path ended; what lies beyond is cut off at the edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gate.report.quantities import Scale, count, scale_of
from gate.report.rows import Row, edge, forbidden_below
from gate.report.svg import Axis, make_axis
from gate.verdict.paths import Look, RulePath

MOST_PATHS = 24  # drawn in a report, the worst rules first
WIDE = 3.0  # how many last half-widths are shown about the end
CELLS = "▁▂▃▄▅▆▇█"
NARROW = 12  # cells of the compact form


@dataclass(frozen=True, slots=True)
class PathPlot:
    """One rule's path, ready to be drawn: places are percent from the left and from the top."""

    row: Row
    band: str  # points of a polygon
    line: str  # points of a polyline
    end: tuple[float, float]
    edge: float  # the margin's height
    forbidden: tuple[float, float]  # from the top, height
    zero: float | None
    ticks: tuple[tuple[float, str], ...]  # heights and their labels
    across: tuple[tuple[float, str], ...]  # documents
    said: str  # all of it in words
    cells: str  # what was uncertain, look by look, in characters
    widths: str  # "−30.0 to +18.0 → −1.9 to +0.2"


def path_plots(rows: Sequence[Row], paths: Sequence[RulePath]) -> tuple[PathPlot, ...]:
    """The paths of the rows that have one, in the rows' order."""
    known: Mapping[str, RulePath] = {path.rule: path for path in paths}
    found = (_plot(row, known[row.finding.rule]) for row in rows if row.finding.rule in known)
    return tuple(found)


def _plot(row: Row, path: RulePath) -> PathPlot:
    finding, scale = row.finding, scale_of(row.finding.unit)
    axis, margin = _axis(path, row, scale), edge(finding)
    looks = [
        (_across(look, path), axis.at(look.low), axis.at(look.estimate), axis.at(look.high))
        for look in path.looks
    ]
    upper = [(x, 100 - high) for x, _, _, high in looks]
    lower = [(x, 100 - low) for x, low, _, _ in looks]
    middle = [(x, 100 - estimate) for x, _, estimate, _ in looks]
    place = round(100 - axis.at(margin), 2)
    shaded = (place, round(100 - place, 2)) if forbidden_below(finding) else (0.0, place)
    zero = None if finding.bound == "min_score" else round(100 - axis.at(0.0), 2)
    return PathPlot(
        row=row,
        band=_points([*upper, *reversed(lower)]),
        line=_points(middle),
        end=(middle[-1][0], round(middle[-1][1], 2)),
        edge=place,
        forbidden=shaded,
        zero=zero,
        ticks=tuple((round(100 - at, 2), label) for at, label in axis.ticks if 6 < at < 94),
        across=tuple((25.0 * part, count(round(path.planned * part / 4))) for part in range(5)),
        said=_said(row, path, scale),
        cells=_cells(path),
        widths=f"{_range(path.looks[0], row, scale)} → {_range(path.looks[-1], row, scale)}",
    )


def _axis(path: RulePath, row: Row, scale: Scale) -> Axis:
    last, margin = path.looks[-1], edge(row.finding)
    scored = row.finding.bound == "min_score"
    reach = WIDE * max(_half(last), 1e-6)
    values = [margin, last.low, last.high, last.estimate - reach, last.estimate + reach]
    return make_axis(values if scored else [0.0, *values], scale, signed=not scored)


def _across(look: Look, path: RulePath) -> float:
    return round(100 * look.documents / path.planned, 2)


def _half(look: Look) -> float:
    return (look.high - look.low) / 2


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{round(y, 2):g}" for x, y in places)


def _range(look: Look, row: Row, scale: Scale) -> str:
    show = scale.level if row.finding.bound == "min_score" else scale.change
    return f"{show(look.low)} to {show(look.high)}"


def _said(row: Row, path: RulePath, scale: Scale) -> str:
    show = scale.level if row.finding.bound == "min_score" else scale.change
    chosen = [path.looks[0], path.looks[len(path.looks) // 2], path.looks[-1]]
    told = "; ".join(
        f"after {count(look.documents)} documents between {show(look.low)} and {show(look.high)}"
        for look in dict.fromkeys(chosen)
    )
    end = row.settled if path.settled else "not settled"
    return f"Where the full benchmark’s number could lie: {told}. {end}; {row.bound}."


def _cells(path: RulePath) -> str:
    """The width of the band at evenly spaced numbers of documents up to the last, the widest a full cell;
    heights are roots, so that a narrow band still shows how it narrows."""
    last = path.looks[-1].documents
    widest = max(_half(look) for look in path.looks) or 1.0
    cells = []
    for number in range(1, NARROW + 1):
        at = max(
            (k for k, look in enumerate(path.looks) if look.documents <= last * number / NARROW), default=0
        )
        cells.append(CELLS[min(len(CELLS) - 1, int(math.sqrt(_half(path.looks[at]) / widest) * len(CELLS)))])
    return "".join(cells)
