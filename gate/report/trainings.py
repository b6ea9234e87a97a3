"""What a report says of training noise: the seeds of a recipe, or that one training says nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gate.records import SeedRun
from gate.report.quantities import scale_of
from gate.report.rows import MARKS, Row
from gate.verdict import Failure, Verdict

ONE = (
    "One training was measured, so training variance was not: another seed may land elsewhere; a policy "
    "with seeds measures it."
)

UNSETTLED = (
    " A seed that is undecided alone is not settled by these documents and cannot ship; `ftgate audit` "
    "scores the rest of all."
)


@dataclass(frozen=True, slots=True)
class SeedLine:
    """One training: whether it passed alone, and where its own report lies."""

    run: SeedRun

    @property
    def mark(self) -> str:
        return MARKS.get(self.run.outcome, "?")


@dataclass(frozen=True, slots=True)
class SpreadLine:
    """One rule's number in each training, and the standard deviation between them."""

    row: Row
    values: tuple[str, ...]
    deviation: str
    measuring: str  # half the width of benchmark noise alone

    @property
    def name(self) -> str:
        """The rule; of one over slices with the worst one, whose numbers these are. Raw: it holds data."""
        finding = self.row.finding
        return f"{finding.rule}: {finding.slices[0].name or '(empty)'}" if finding.slices else finding.rule


@dataclass(frozen=True, slots=True)
class Trainings:
    """`said` in one line; the rest is empty unless a recipe was judged."""

    said: str = ""
    seeds: tuple[SeedLine, ...] = ()
    rules: tuple[SpreadLine, ...] = ()


NO_TRAININGS = Trainings()


def trainings_of(result: Verdict | Failure, rows: Sequence[Row]) -> Trainings:
    """What there is to say of the trainings behind a result; nothing of a failure."""
    if isinstance(result, Failure):
        return NO_TRAININGS
    if result.seed is not None:
        return Trainings(f"This is seed {result.seed} alone; the recipe's verdict lies in the folder above.")
    if not result.seeds:
        return Trainings(ONE)
    listed = ", ".join(str(one.seed) for one in result.seeds)
    said = (
        f"The mean of {len(result.seeds)} trainings was judged (seeds {listed}); ± holds two noises, "
        "of the documents and between trainings."
    )
    if any(finding.early for finding in result.findings):
        said += " Behind ≈ all trainings are compared on the documents that settled their mean."
        if any(one.outcome == "undecided" for one in result.seeds):
            said += UNSETTLED
    lines = tuple(SeedLine(one) for one in result.seeds)
    return Trainings(said, lines, tuple(_spread(row) for row in rows if row.finding.seeds))


def _spread(row: Row) -> SpreadLine:
    finding = row.finding
    assert finding.seeds is not None
    scale, spread = scale_of(finding.unit), finding.seeds
    places = scale.apart(spread.values[0], finding.margin)
    show = scale.level if finding.bound == "min_score" else scale.change
    half = (spread.measuring.high - spread.measuring.low) / 2
    return SpreadLine(
        row,
        tuple(show(value, places) for value in spread.values),
        scale.size(spread.deviation, places),
        scale.size(half, places),
    )
