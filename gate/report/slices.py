"""Tables of slices: what each part of a task came to, the worst first. Names of slices are data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gate.records import Finding, Slice
from gate.report.quantities import Scale, count, many, scale_of
from gate.report.rows import MARKS, WORDS, Row
from gate.verdict.slice_outcome import drops_beyond

_BUILT_IN = {"subtask": "subtasks", "length": "length of the prompt"}


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One slice, ready to be shown. `name` is raw; templates escape it."""

    mark: str
    word: str
    name: str
    pooled: str  # what is judged together as this slice, or ""
    documents: str
    lost: str  # `12 of 60 lost, 2 won`
    base: str
    tuned: str
    change: str
    interval: str
    deviation: str  # between the trainings of a recipe, or ""


@dataclass(frozen=True, slots=True)
class SliceTable:
    """The slices of one rule. `rule` and `by` are raw."""

    rule: str
    by: str
    title: str  # `57 slices: 1 does not hold`
    limit: str
    level: str  # of each interval, so that all hold together
    failing: bool
    rows: tuple[SliceRow, ...]

    @property
    def spread(self) -> bool:
        """Whether several trainings stand behind each slice."""
        return any(row.deviation for row in self.rows)


def slice_tables(rows: Iterable[Row]) -> tuple[SliceTable, ...]:
    """A table for each rule over slices, in the rows' order."""
    return tuple(_table(row) for row in rows if row.finding.slices)


def _table(row: Row) -> SliceTable:
    finding = row.finding
    outcomes = [each.outcome for each in finding.slices]
    broken, open_ = outcomes.count("fail"), outcomes.count("undecided")
    said = [f"{count(broken)} {'does' if broken == 1 else 'do'} not hold"] if broken else []
    said += [f"{count(open_)} undecided"] if open_ else []
    return SliceTable(
        rule=finding.rule,
        by=_BUILT_IN.get(finding.sliced_by, finding.sliced_by),
        title=f"{many(len(outcomes), 'slice')}: {', '.join(said) or 'all hold'}",
        limit=row.bound,
        level=f"{100 * finding.interval.level:.6g} %",
        failing=bool(broken),
        rows=tuple(_row(each, finding, scale_of(finding.unit)) for each in finding.slices),
    )


def _row(each: Slice, finding: Finding, scale: Scale) -> SliceRow:
    beyond = drops_beyond(each, finding.margin or 0.0, higher_is_better=finding.higher_is_better)
    return SliceRow(
        mark=MARKS[each.outcome],
        word="no more than noise" if beyond and each.outcome == "pass" else WORDS[each.outcome],
        name=each.name or "(empty)",
        pooled=f"{many(each.pooled, 'small slice')} together" if each.pooled else "",
        documents=count(each.documents),
        lost=f"{count(each.fell)} of {count(each.documents)} lost, {count(each.rose)} won",
        base=scale.level(each.base),
        tuned=scale.level(each.tuned),
        change=scale.change(each.difference),
        interval=f"{scale.change(each.interval.low)} to {scale.change(each.interval.high)}",
        deviation="" if each.seeds is None else scale.size(each.seeds.deviation),
    )
