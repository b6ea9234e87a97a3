"""Findings in the words of a report: what a rule asked, what was seen, how bad it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gate.records import Finding, Interval
from gate.report.quantities import BITS, Scale, count, percent, scale_of

MARKS = {"pass": "✓", "fail": "✗", "undecided": "?", "reported": "·"}
WORDS = {"pass": "holds", "fail": "does not hold", "undecided": "undecided", "reported": "shown, not judged"}


@dataclass(frozen=True, slots=True)
class Row:
    """One finding, ready to be shown. Every string that is data is raw; templates escape it."""

    finding: Finding
    name: str  # the task's own name, or "mean of the general tasks"
    base: str
    tuned: str
    change: str  # signed, in the metric's own direction; a score for min_score
    noise: str  # half the width of `shown_interval`
    spread: str  # "± 0.6"; of an estimate where the full benchmark's number can lie, in brackets
    interval: str
    left: str  # half the width of what remains uncertain about the full benchmark, or ""
    bound: str
    noun: str
    relative: str
    documents: str
    within_noise: bool
    own_bound: str = ""  # of a waived rule: what it asks without the waiver

    @property
    def waived(self) -> str:
        """What a waiver made of the rule, and until when; nothing where there is none."""
        waiver = self.finding.waiver
        return f"{self.bound} until {waiver.until}, own limit: {self.own_bound}" if waiver else ""

    @property
    def against(self) -> str:
        """What the rule compares with, where that is not the base model; begins with a space."""
        return " against the champion" if self.finding.reference == "champion" else ""

    @property
    def estimate(self) -> str:
        """From where to where the full benchmark's number can lie, marked as such; "" where it is known."""
        return f"{about(self.finding)}{self.spread.strip('()')}" if self.finding.early else ""

    @property
    def outcome(self) -> str:
        return self.finding.outcome

    @property
    def mark(self) -> str:
        return MARKS[self.finding.outcome]

    @property
    def settled(self) -> str:
        """How many documents a rule took that did not need all; nothing where all were scored."""
        finding = self.finding
        if not finding.early:
            return ""
        of = f"{count(finding.documents_scored)} of {count(finding.documents_planned)}"
        words = {"undecided": "not settled after", "reported": "seen on"}
        return f"{words.get(finding.outcome, 'settled after')} {of}"

    @property
    def word(self) -> str:
        return WORDS[self.finding.outcome]

    @property
    def aside(self) -> str:
        """What the finding's note says that the row does not say already."""
        said = ("is within noise", "judged on ")
        return "; ".join(
            part for part in self.finding.note.split("; ") if not any(word in part for word in said)
        )


def task_key(finding: Finding) -> str:
    """The `TaskSpec.id` that a finding is about."""
    prefix = f"{finding.kind}/"
    return finding.task if finding.task.startswith(prefix) else prefix + finding.task


def task_name(kind: str, task: str) -> str:
    """A task's own name, without its kind."""
    if kind == "average":
        return "mean of the general tasks"
    return task.removeprefix(f"{kind}/") or task


def loss(finding: Finding) -> float:
    """The change for the worse, in the metric's unit; negative where it became better."""
    return -finding.difference if finding.higher_is_better else finding.difference


def within_noise(finding: Finding) -> bool:
    """Whether the interval about the population holds "no change"."""
    interval = finding.interval
    if finding.early or finding.bound == "min_score" or interval.about != "population":
        return False
    return interval.low <= 0 <= interval.high and finding.difference != 0


def severity(finding: Finding) -> tuple[int, float, float]:
    """Sorts the worst first: by outcome, then by how much of its margin is used up, then by loss."""
    rank = {"fail": 0, "undecided": 1, "pass": 2, "reported": 3}[finding.outcome]
    lost, margin = loss(finding), finding.margin
    if margin is None:
        used = 0.0
    elif finding.bound == "min_score":
        used = margin - finding.tuned
    elif finding.bound == "min_gain":
        used = margin + lost
    else:
        used = lost / margin if margin > 0 else math.copysign(math.inf, lost) if lost else 0.0
    return rank, -used, -lost


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=severity)


def shown_interval(finding: Finding) -> Interval:
    """Benchmark noise; where not every document was scored, what is left uncertain about the benchmark."""
    return finding.remaining if finding.early and finding.remaining else finding.interval


def about(finding: Finding) -> str:
    """What stands before a number that is an estimate, and not the benchmark's own."""
    return "≈ " if finding.early else ""


def half_width(interval: Interval) -> float:
    return (interval.high - interval.low) / 2


def spread(finding: Finding, places: int | None = None, *, of_loss: bool = False) -> str:
    """`± 0.6`, or `(−1.5 to +0.4)` where not every document was scored: what is then left uncertain lies to
    no equal parts beside the estimate. `of_loss` turns it about, a positive number is worse."""
    scale, interval = scale_of(finding.unit), shown_interval(finding)
    if not finding.early:
        return f"± {scale.size(half_width(interval), places)}"
    low, high = interval.low, interval.high
    if of_loss and finding.higher_is_better:
        low, high = -high, -low
    show = scale.level if finding.bound == "min_score" else scale.change
    return f"({show(low, places).removesuffix(scale.suffix)} to {show(high, places)})"


def make_row(finding: Finding) -> Row:
    """One finding in numbers for people, with as many decimals as tell it from its margin."""
    scale = scale_of(finding.unit)
    scored = finding.bound == "min_score"
    places = scale.apart(_judged(finding), finding.margin)
    interval, near = shown_interval(finding), about(finding)
    reference = "champion " if finding.reference == "champion" else ""
    show = scale.level if scored else scale.change
    return Row(
        finding=finding,
        name=_name(finding),
        base=reference + near + scale.level(finding.base, places),
        tuned=near + scale.level(finding.tuned, places),
        change=near + show(finding.tuned if scored else finding.difference, places),
        noise=scale.size(half_width(interval), places),
        spread=spread(finding, places),
        interval=f"{show(interval.low, places)} to {show(interval.high, places)}",
        left=""
        if finding.remaining is None or finding.early
        else scale.size(half_width(finding.remaining), places),
        bound=_bound(finding, scale, places),
        noun="" if scored else scale.noun,
        relative=_relative(finding),
        documents=_documents(finding),
        within_noise=within_noise(finding),
        own_bound=_own_bound(finding, scale, places),
    )


def _name(finding: Finding) -> str:
    """The task's own name; of a rule over slices with that of the worst one, whose numbers are shown."""
    name = task_name(finding.kind, finding.task)
    if not finding.slices:
        return name
    worst = finding.slices[0]
    return f"{name}, {worst.name or '(empty)'}{f' ({worst.pooled} slices)' if worst.pooled else ''}"


def _judged(finding: Finding) -> float:
    """The number that stands against the margin, in the margin's direction."""
    if finding.bound == "min_score":
        return finding.tuned
    return -loss(finding) if finding.bound == "min_gain" else loss(finding)


def _bound(finding: Finding, scale: Scale, places: int) -> str:
    margin = finding.margin
    if margin is None or (finding.waiver and finding.waiver.skips):
        return "not judged"
    if finding.bound == "min_score":
        return f"needs {scale.level(margin, places)}"
    better = 1 if finding.higher_is_better else -1
    if finding.bound == "min_gain":
        return f"needs {scale.change(better * margin, places)}"
    return f"allowed {scale.change(edge(finding), places)}"


def _own_bound(finding: Finding, scale: Scale, places: int) -> str:
    if finding.waiver is None:
        return ""
    return _bound(replace(finding, margin=finding.waiver.own_margin, waiver=None), scale, places)


def edge(finding: Finding) -> float:
    """The margin on the axis of `difference` (of `tuned` for min_score); nan where none is."""
    if finding.margin is None:
        return math.nan
    if finding.bound in ("min_score", "max_rise"):
        return finding.margin
    better = 1 if finding.higher_is_better else -1
    return better * finding.margin if finding.bound == "min_gain" else -better * finding.margin


def forbidden_below(finding: Finding) -> bool:
    """Whether what the rule forbids lies below its edge (else above it)."""
    if finding.bound == "min_score":
        return True
    return finding.bound != "max_rise" and finding.higher_is_better


def _relative(finding: Finding) -> str:
    if finding.unit != BITS or not finding.base:
        return ""
    return percent(finding.difference / finding.base)


def _documents(finding: Finding) -> str:
    if finding.documents_scored == finding.documents_total:
        return count(finding.documents_total)
    return f"{count(finding.documents_scored)} of {count(finding.documents_total)}"
