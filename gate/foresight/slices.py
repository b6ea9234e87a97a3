"""A rule over the parts of a task: what it sees of its smallest slice, how often it is mistaken, and whether
it can work."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gate.foresight.rule import Flips, Sharpness, said_source
from gate.records import Policy, Rule, TaskInfo
from gate.stats.distributions import edge
from gate.stats.power import CAUGHT, Design, blocked
from gate.stats.slices import part_blocked, part_caught

_FINEST = 1e-3  # of a margin that would work


@dataclass(frozen=True, slots=True)
class SlicesSight:
    """A rule over slices with what its figures are computed from: of right-or-wrong documents.

    `sizes` are the documents of each slice, `error` is one end's of one interval, `confidence` the policy's.
    """

    margin: float
    by: str
    sizes: tuple[int, ...]
    error: float
    confidence: float
    proves: bool

    @classmethod
    def of(cls, rule: Rule, policy: Policy, info: TaskInfo) -> SlicesSight:
        """Of the slices that the task's own counts make."""
        assert rule.slices is not None
        assert rule.margin is not None
        counts = info.sizes(rule.slices.by)
        sizes = tuple(sum(counts[name] for name in group) for group in rule.slices.pooled(counts))
        sharing = max(1, sum(each.judges and each.slices is not None for each in policy.rules))
        error = (1 - policy.confidence) / sharing / max(1, len(sizes))
        proves = policy.decide == "proven"
        return cls(min(rule.margin, 1.0), rule.slices.by, sizes, error, policy.confidence, proves)

    @property
    def note(self) -> str:
        """The slices in words."""
        if len(self.sizes) < 2:
            return "there are no two slices"
        return f"{len(self.sizes):,} slices by {self.by}, the smallest of {min(self.sizes):,} documents"

    def at(self, rates: Sequence[float]) -> tuple[Sharpness, ...]:
        """What the rule sees at each of these flip rates: nothing without two slices.

        `seen` is of the smallest slice. `mistaken`: the chance that a model that lost nothing does not pass;
        its slices' documents are independent of each other.
        """
        if len(self.sizes) < 2:
            return ()
        return tuple(Sharpness(rate, self._caught(rate), self._mistaken(rate, self.margin)) for rate in rates)

    def cannot_work(self, flips: Flips, sharpness: Sequence[Sharpness]) -> tuple[str, str]:
        """(problem, what would work); empty for a rule whose decisions are not mostly noise."""
        mistaken = sharpness[0].mistaken if sharpness else None
        if mistaken is None or mistaken <= self._allowed:
            return "", ""
        share = f"{100 * mistaken:.0f} % of harmless fine-tunes"
        problem = (
            f"max_drop {self.margin:g} of {self.note}, cannot be told from noise: "
            f"with {100 * flips.rate:.0f} % of answers changing ({said_source(flips)}) it "
            + (f"leaves {share} unproven" if self.proves else f"blocks {share}")
        )
        workable = edge(lambda margin: self._mistaken(flips.rate, margin) <= self._allowed, self.margin, 1.0)
        rounded = math.ceil(workable / _FINEST - 1e-6) * _FINEST
        return problem, f"use a max_drop of at least {rounded:g}, or larger slices (`min_documents`)"

    @property
    def _allowed(self) -> float:
        return 0.5 if self.proves else 1 - self.confidence

    def _caught(self, flips: float) -> float:
        return part_caught(min(self.sizes), flips, self.margin, self.error, CAUGHT)

    def _mistaken(self, flips: float, margin: float) -> float:
        passed = 0.0  # log of the chance that all slices pass at no drop
        for size, times in Counter(self.sizes).items():
            fails = part_blocked(size, flips, 0.0, margin, self.error)
            if self.proves and margin < 1:
                design = Design(size, flips, margin, "proven", 1 - self.confidence)
                fails = max(fails, blocked(design, 0.0))
            passed += times * math.log1p(-min(fails, 1 - 1e-12))
        return -math.expm1(passed)
