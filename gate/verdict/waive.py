"""Waivers that nothing needs: the rule keeps its own margin too."""

from __future__ import annotations

from collections.abc import Iterable

from gate.records import Decide, Finding
from gate.verdict.result import bound_holds
from gate.verdict.slice_outcome import rule_outcome


def unneeded(findings: Iterable[Finding], decide: Decide) -> tuple[str, ...]:
    """A warning for each waiver that could go.

    Where scoring stopped early, all that the full benchmark's number can still be must keep the rule's own
    margin. Not where a drop must be proven: that the number keeps that margin is no proof of it.
    """
    return tuple(
        _said(finding)
        for finding in findings
        if not (decide == "proven" and finding.bound == "max_drop") and _keeps_own(finding)
    )


def _keeps_own(finding: Finding) -> bool:
    if finding.waiver is not None and finding.slices:
        return rule_outcome(finding, finding.waiver.own_margin) == "pass"
    difference, tuned = finding.difference, finding.tuned
    if finding.early and finding.remaining is not None:
        worse_below = finding.higher_is_better and finding.bound != "max_rise"
        difference = tuned = finding.remaining.low if worse_below else finding.remaining.high
    return finding.waiver is not None and bound_holds(
        finding.bound,
        base=finding.base,
        tuned=tuned,
        difference=difference,
        margin=finding.waiver.own_margin,
        higher_is_better=finding.higher_is_better,
    )


def _said(finding: Finding) -> str:
    assert finding.waiver is not None
    own, until = finding.waiver.own_margin, finding.waiver.until
    return f"the waiver of {finding.rule} until {until} is not needed: the rule's own {own:g} is kept"
