"""The first thing a report says: one sentence about merging.

A sentence is a tuple of our own words and of `Name`s, which are data; each rendering escapes the
names in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gate.records import Finding
from gate.report.quantities import BITS, many, scale_of
from gate.report.rows import Row, about, loss, make_row, worst_first
from gate.verdict import Failure, Verdict


@dataclass(frozen=True, slots=True)
class Name:
    """A word of the sentence that is data: a task, a file, another program's message."""

    text: str
    limit: int = 80


Sentence = tuple[str | Name, ...]
LABELS = {"pass": "may merge", "fail": "blocked", "undecided": "undecided", "error": "could not measure"}
_STAGES = {"plan": "planning", "train": "training", "measure": "measuring", "judge": "judging"}


def headline(result: Verdict | Failure) -> Sentence:
    """The sentence about merging, with its first words: `blocked: gained 12.4 points on ...`."""
    return (f"{LABELS[result.outcome]}: ", *claim(result))


def claim(result: Verdict | Failure) -> Sentence:
    """The sentence about merging without its first words."""
    if isinstance(result, Failure):
        return _failed(result)
    said = _passed(result.findings) if result.outcome == "pass" else _blocked(result.findings, result.outcome)
    waived = sum(finding.waiver is not None for finding in result.findings)
    return (*said, f"; {many(waived, 'rule')} waived") if waived else said


def stage_name(stage: str) -> str:
    """`training` for `train`; a stage that is not known is called as it is."""
    return _STAGES.get(stage, stage)


def main_target(findings: Sequence[Finding]) -> Finding | None:
    """The finding that says how the target did: one that does not hold, else one about its gain."""
    targets = [finding for finding in findings if finding.kind == "target"]
    targets.sort(key=lambda finding: finding.reference != "base")
    broken = [finding for finding in worst_first(targets) if finding.outcome in ("fail", "undecided")]
    gains = [finding for finding in targets if finding.bound == "min_gain"]
    return next(iter(broken + gains + targets), None)


def worst_general(findings: Sequence[Finding]) -> Finding | None:
    """The worst finding about what must not be forgotten: general tasks, their mean; slices and text if they
    broke: of a slice that holds, its drop may exceed the limit within noise."""
    whole = [f for f in findings if f.kind in ("general", "average") and not f.slices]
    general = whole + [f for f in findings if f.kind != "target" and _broken(f) and f not in whole]
    return next(iter(worst_first(finding for finding in general if not _skipped(finding))), None)


def _skipped(finding: Finding) -> bool:
    """Whether a waiver takes the rule out, so that nothing may be said of it as if it had been judged."""
    return finding.waiver is not None and finding.waiver.skips


def _broken(finding: Finding) -> bool:
    return finding.outcome in ("fail", "undecided")


def _failed(failure: Failure) -> Sentence:
    kind = failure.error.code.replace("_", " ")
    return (
        Name(kind),
        " while ",
        Name(stage_name(failure.error.stage)),
        "; nothing was judged, so it may not merge",
    )


def _passed(findings: Sequence[Finding]) -> Sentence:
    target, worst = main_target(findings), worst_general(findings)
    first: Sentence = () if target is None else _target_clause(target)
    if worst is None:
        return first or (f"all {many(len(findings), 'rule')} hold",)
    joint = (" and ",) if first else ()
    tasks = {f.task for f in findings if f.kind == "general" and not _skipped(f)}
    if any(finding.early for finding in findings if finding.kind != "target"):
        return (*first, *joint, f"kept every limit on {many(len(tasks), 'general task')}")
    if loss(worst) <= 0 and worst.margin is not None:
        return (*first, *joint, f"lost nothing on {many(len(tasks), 'general task')}")
    return (*first, *joint, *_general_clause(worst, first, "at worst lost "))


def _blocked(findings: Sequence[Finding], outcome: str) -> Sentence:
    target, worst = main_target(findings), worst_general(findings)
    broken = sum(finding.outcome == outcome for finding in findings)
    said: Sentence = () if target is None else _target_clause(target)
    named = int(target is not None and target.outcome == outcome)
    if worst is not None and worst.outcome == outcome:
        joint = "" if not said else " and " if named else " but "
        lead, verb = ("", "lost ") if outcome == "fail" else ("the loss is not settled: ", "")
        said = (*said, joint, lead, *_general_clause(worst, said, verb))
        named += 1
    rest = broken - named
    if rest > 0:
        more = f"{many(rest, 'more rule')} {'does' if rest == 1 else 'do'} not hold"
        said = (*said, f"; {more if outcome == 'fail' else many(rest, 'more rule') + ' undecided'}")
    return said


def _target_clause(finding: Finding) -> Sentence:
    scale, row = scale_of(finding.unit), make_row(finding)
    on: Sentence = (" on ", Name(row.name), row.against) if row.against else (" on ", Name(row.name))
    needs = f", {row.bound.replace('+', '')}" if _broken(finding) else ""
    if finding.bound == "min_score":
        seen = row.change.removeprefix(about(finding))
        said = f"estimated at {seen} {row.spread}" if finding.early else f"scored {seen}"
        return (said, *on, needs) if needs else (said, *on)
    places = scale.apart(-loss(finding), finding.margin)
    size = f"{_about(finding)}{scale.size(finding.difference, places)} {scale.noun}"
    verb = (
        "did not change"
        if not finding.difference
        else "gained " + size
        if loss(finding) < 0
        else "lost " + size
    )
    return (verb, *on, needs) if needs else (verb, *on)


def _general_clause(finding: Finding, before: Sentence, verb: str) -> Sentence:
    row, scale = make_row(finding), scale_of(finding.unit)
    if finding.unit == BITS or finding.bound == "max_rise":
        return _rise_clause(finding, row)
    places = scale.apart(loss(finding), finding.margin)
    said_unit = any(isinstance(part, str) and scale.noun in part for part in before)
    size = f"{_about(finding)}{scale.size(finding.difference, places)}"
    amount = f"{size} {row.spread}{'' if said_unit else ' ' + scale.noun}"
    on: Sentence = (
        (" on the mean of the general tasks",) if finding.kind == "average" else (" on ", Name(row.name))
    )
    share = "" if finding.remaining is None else f" ({row.documents} documents)"
    if finding.slices:
        share = f" ({finding.fell:,} of {finding.documents_scored:,} lost)"
    allowed = "" if finding.margin is None else f", allowed {scale.size(finding.margin, places)}"
    share = row.against + share
    return (verb if loss(finding) > 0 else "gained ", amount, *on, share + allowed + _noise_words(row))


def _rise_clause(finding: Finding, row: Row) -> Sentence:
    scale = scale_of(finding.unit)
    moved = "rose" if finding.difference > 0 else "fell"
    places = scale.apart(finding.difference, finding.margin)
    size = f"{_about(finding)}{scale.size(finding.difference, places)} {row.spread}"
    share = f" ({row.relative})" if row.relative else ""
    allowed = "" if finding.margin is None else f", allowed {scale.size(finding.margin, places)}"
    unit: str | Name = scale.noun if finding.unit == BITS else Name(scale.noun)
    how = f" {moved} by {size}{share}{row.against}{allowed}{_noise_words(row)}"
    return (unit, " on ", Name(row.name), how)


def _about(finding: Finding) -> str:
    """An estimate is never called a score."""
    return "about " if finding.early else ""


def _noise_words(row: Row) -> str:
    return " (within noise)" if row.within_noise else ""


def said_with(sentence: Sentence, harmless: Callable[[str, int], str]) -> str:
    """The sentence with each name made harmless."""
    return "".join(part if isinstance(part, str) else harmless(part.text, part.limit) for part in sentence)


def plain(sentence: Sentence) -> str:
    """The sentence with its names as they are: still to be made harmless."""
    return "".join(part if isinstance(part, str) else part.text for part in sentence)
