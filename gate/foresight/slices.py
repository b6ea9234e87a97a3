"""A rule over the parts of a task: what it can see of its smallest slice, and how often it is mistaken."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gate.foresight.rule import Sharpness
from gate.records import Policy, Rule, TaskInfo
from gate.stats.power import CAUGHT, Design, blocked
from gate.stats.slices import part_blocked, part_caught


def slices_sight(
    rule: Rule, policy: Policy, info: TaskInfo, rates: Sequence[float]
) -> tuple[tuple[Sharpness, ...], str]:
    """(what it sees at each of these flip rates, in words), for right-or-wrong documents.

    `seen` is of the smallest slice. `mistaken`: the chance that a model that lost nothing does not pass; its
    slices' documents are independent of each other.
    """
    assert rule.slices is not None
    assert rule.margin is not None
    sizes = info.sizes(rule.slices.by)
    found = [sum(sizes[name] for name in group) for group in rule.slices.pooled(sizes)]
    if len(found) < 2:
        return (), "there are no two slices"
    sharing = max(1, sum(each.judges and each.slices is not None for each in policy.rules))
    error = (1 - policy.confidence) / sharing / len(found)
    sight = tuple(_at(rate, found, min(rule.margin, 1.0), error, policy) for rate in rates)
    return sight, f"{len(found):,} slices by {rule.slices.by}, the smallest of {min(found):,} documents"


def _at(flips: float, sizes: list[int], margin: float, error: float, policy: Policy) -> Sharpness:
    passed = 0.0  # log of the chance that all slices pass at no drop
    for size in sizes:
        fails = part_blocked(size, flips, 0.0, margin, error)
        if policy.decide == "proven" and margin < 1:
            fails = max(fails, blocked(Design(size, flips, margin, "proven", 1 - policy.confidence), 0.0))
        passed += math.log1p(-min(fails, 1 - 1e-12))
    return Sharpness(flips, part_caught(min(sizes), flips, margin, error, CAUGHT), -math.expm1(passed))
