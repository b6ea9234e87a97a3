"""What a rule over the parts of a task comes to, from the numbers of its slices alone. Pure.

A `Verdict` asks it again of every finding, so that none can be built that its own slices contradict.
"""

from __future__ import annotations

from collections.abc import Sequence

from gate.records import Finding, FindingOutcome, Interval, Slice

LEAST_SLICES = 2  # one is the whole task, which is no rule over its parts
ROUNDING = 1e-12


def slice_loss(found: Slice, *, higher_is_better: bool) -> float:
    """The change for the worse, in the metric's unit."""
    return -found.difference if higher_is_better else found.difference


def drops_beyond(found: Slice, margin: float, *, higher_is_better: bool) -> bool:
    """Whether the slice's own drop exceeds the margin; one that equals it does not."""
    slack = ROUNDING * max(abs(found.base), abs(found.tuned), abs(margin))
    return slice_loss(found, higher_is_better=higher_is_better) > margin + slack


def beyond_noise(interval: Interval, *, higher_is_better: bool) -> bool:
    """Whether the whole interval of a difference is a loss."""
    return interval.high < 0 if higher_is_better else interval.low > 0


def slice_outcome(found: Slice, margin: float, *, higher_is_better: bool) -> FindingOutcome:
    """fail: it lost more than the margin, and more than noise. Else undecided where a proof is asked for and
    there is none, else pass."""
    beyond = drops_beyond(found, margin, higher_is_better=higher_is_better)
    if beyond and beyond_noise(found.interval, higher_is_better=higher_is_better):
        return "fail"
    return "undecided" if found.proven is False else "pass"


def outcome_of_slices(outcomes: Sequence[FindingOutcome]) -> FindingOutcome:
    """fail if any slice fails, else undecided if one is or there are no two, else pass."""
    if "fail" in outcomes and len(outcomes) >= LEAST_SLICES:
        return "fail"
    return "undecided" if "undecided" in outcomes or len(outcomes) < LEAST_SLICES else "pass"


def rule_outcome(finding: Finding, margin: float) -> FindingOutcome:
    """What a finding's slices come to under `margin`."""
    better = finding.higher_is_better
    return outcome_of_slices(
        [slice_outcome(each, margin, higher_is_better=better) for each in finding.slices]
    )


def fault_of(finding: Finding) -> str:
    """What is wrong with a finding's slices; nothing where all is as it must be."""
    if bool(finding.sliced_by) != bool(finding.slices):
        return "is about slices and has none, or the other way round"
    if not finding.slices:
        return ""
    worst = finding.slices[0]
    own = (finding.base, finding.tuned, finding.difference, finding.interval, finding.documents_scored)
    if own != (worst.base, worst.tuned, worst.difference, worst.interval, worst.documents):
        return "has other numbers than its worst slice"
    if len({(each.name, each.pooled) for each in finding.slices}) != len(finding.slices):
        return "has a slice twice"
    return ""
