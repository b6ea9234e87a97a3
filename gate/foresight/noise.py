"""Margins from measured noise: what a base model's own scores do under things that do not matter. Pure.

The rule, which `docs/thresholds.md` states: a suggested margin is the smallest one at which a fine-tune that
loses nothing, and flips as many documents as the worst of the changes did, is blocked at most 1 - confidence
of the time by all rules together; and it is never below the largest difference that was seen. Noise flips
fewer documents than fine-tunes do, so what these need stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from gate.foresight import FRACTION, measured_tasks
from gate.foresight.rule import ASSUMED, Sight
from gate.records import Policy, Rule, TaskInfo
from gate.stats.distributions import edge
from gate.stats.power import blocked

DIGITS = 3  # of a suggested margin, after the point
LARGEST = 0.999  # the largest margin that is looked at, of an accuracy


@dataclass(frozen=True, slots=True)
class Noise:
    """One task of the base model, scored again under one change: new minus old, in the metric's unit.

    `changed` is how many documents have another value; None of a text corpus, where all of them do.
    """

    change: str
    task: str  # TaskSpec.id
    documents: int
    changed: int | None
    difference: float
    error: float  # standard error of `difference`, the documents a sample


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A margin for one rule; `now` is the policy's own, None of what is only shown. `tuned` is what a
    fine-tune needs that changes 10 % of the answers, where that is more than the noise does."""

    rule: str
    kind: str
    task: str
    bound: str
    now: float | None
    margin: float
    why: str
    tuned: float | None = None


def suggest(policy: Policy, tasks: Sequence[TaskInfo], noise: Sequence[Noise]) -> tuple[Suggestion, ...]:
    """A margin for every rule about a drop, a rise or a gain against the base, in the policy's order; slices
    get none. A `min_gain` is only raised: how much a fine-tune should gain is not a question of noise."""
    infos = {info.task: info for info in tasks}
    sharing = sum(rule.judges and rule.bound in ("max_drop", "max_rise") for rule in policy.rules)
    found = []
    for rule in policy.rules:
        other = rule.slices is not None or rule.reference != "base"
        if other or rule.bound == "min_score" or (rule.bound == "report" and rule.kind != "text"):
            continue
        measured = measured_tasks(rule, policy, infos)
        per_change = _by_change(measured, noise)
        if measured and per_change:
            error = 1 - policy.confidence
            share = error if rule.bound == "min_gain" else error / max(1, sharing)
            found.append(_suggestion(rule, policy, measured, per_change, share))
    return tuple(found)


def _by_change(measured: Sequence[TaskInfo], noise: Sequence[Noise]) -> dict[str, Noise]:
    """The mean over a rule's tasks of each change's noise; a task that a change leaves alone has none."""
    names = {info.task for info in measured}
    mine = [each for each in noise if each.task in names]
    return {
        change: _mean([each for each in mine if each.change == change], len(measured))
        for change in dict.fromkeys(each.change for each in mine)
    }


def _mean(parts: Sequence[Noise], tasks: int) -> Noise:
    if tasks == 1:
        return parts[0]
    counts = [each.changed for each in parts if each.changed is not None]
    return replace(
        parts[0],
        documents=sum(each.documents for each in parts),
        changed=sum(counts) if len(counts) == len(parts) else None,
        difference=math.fsum(each.difference for each in parts) / tasks,
        error=math.sqrt(math.fsum(each.error**2 for each in parts)) / tasks,
    )


def _suggestion(
    rule: Rule, policy: Policy, measured: Sequence[TaskInfo], noise: Mapping[str, Noise], share: float
) -> Suggestion:
    seen = max(abs(each.difference) for each in noise.values())
    tuned = None
    if all(info.unit == FRACTION for info in measured):
        worst = max(noise.values(), key=lambda each: (each.changed or 0) / each.documents)
        rate = (worst.changed or 0) / worst.documents
        flips = max(rate, 1 / worst.documents)  # nothing seen to flip is not proof that nothing does
        margin = _of_flips(rule, policy, measured, flips, share)
        tuned = _of_flips(rule, policy, measured, ASSUMED, share) if rate < ASSUMED else None
        why = f"{worst.change}: {100 * rate:.1f} % of answers changed"
    else:
        quantile = NormalDist().inv_cdf(1 - share)
        widest = max(noise.values(), key=lambda each: abs(each.difference) + quantile * each.error)
        margin = abs(widest.difference) + quantile * widest.error
        why = f"{widest.change}: {widest.difference:+.2g}, standard error {widest.error:.2g}"
    if seen > margin:
        margin, why = seen, f"the largest difference seen, {seen:.2g}"
    margin = rounded_up(margin)
    if rule.bound == "min_gain" and rule.margin is not None and rule.margin >= margin:
        margin, why = rule.margin, f"above the noise of {margin:g}"
    bound = "max_rise" if rule.kind == "text" else rule.bound
    tuned = None if tuned is None or tuned <= margin else tuned
    return Suggestion(rule.id, rule.kind, rule.task, bound, rule.margin, margin, why, tuned)


def _of_flips(rule: Rule, policy: Policy, measured: Sequence[TaskInfo], flips: float, share: float) -> float:
    """The smallest margin that blocks at most a `share` of harmless fine-tunes that flip as many."""
    sight = Sight.of(replace(rule, margin=1.0), policy, measured, judging=1)

    def too_fine(margin: float) -> bool:
        design = replace(sight, margin=margin).design(flips)
        return (1 - blocked(design, 0.0) if sight.gains else blocked(design, 0.0)) > share

    # `edge` wants what it holds first: the largest margin works, the smallest does not.
    margin = rounded_up(edge(too_fine, LARGEST, 0.0, sight.design(flips).halvings))
    if too_fine(margin):  # of a gain the whole document itself is not enough
        margin = rounded_up(margin + 10.0**-DIGITS)
    return margin


def rounded_up(margin: float) -> float:
    """A margin to `DIGITS` digits, never below it."""
    return math.ceil(margin * 10.0**DIGITS - 1e-6) / 10.0**DIGITS


def rates_by_task(noise: Sequence[Noise]) -> Iterator[tuple[str, Noise]]:
    """For every task that is right or wrong a document the change that flipped most of it."""
    for task in dict.fromkeys(each.task for each in noise if each.changed is not None):
        mine = [each for each in noise if each.task == task and each.changed is not None]
        yield task, max(mine, key=lambda each: (each.changed or 0) / each.documents)
