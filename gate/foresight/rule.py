"""One rule: what it sees, how often it is mistaken, how many documents it needs, whether it can work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from gate.foresight.clusters import ALIKE, simulated, strata_of
from gate.records import Policy, Rule, TaskInfo
from gate.records.rates import RateSource
from gate.stats import wilson
from gate.stats.distributions import edge
from gate.stats.power import (
    CAUGHT,
    Design,
    blocked,
    caught,
    courses,
    documents_needed,
    effective_documents,
    score_courses,
    workable_margin,
)
from gate.stats.proof_power import Clusters, independent
from gate.stats.sequential import Stratum

ASSUMED, BESIDE = 0.10, (0.05, 0.20)
STEPS = (0.0, 0.5, 1.0, 2.0)  # of the margin: the true changes for which documents are foreseen
SCORES = (0.1, 0.05, 0.0, -0.05)  # above the least score: the true scores for which they are
RUNS, FEW_RUNS, MANY = 300, 100, 8  # simulated runs a figure; few where there are many rules or leaves
Decides = Literal["full", "score", "proven"]


@dataclass(frozen=True, slots=True)
class Flips:
    """The share of documents whose answer a fine-tune changes either way, whether it was measured, and
    where: in `runs` checks, or in a calibration that changed so many things; and how many `changed` of how
    many `documents` these saw, 0 of a mean over tasks."""

    rate: float = ASSUMED
    known: bool = False
    source: RateSource = "assumed"
    runs: int = 0
    changed: int = 0
    documents: int = 0

    @classmethod
    def mean(cls, several: Sequence[Flips]) -> Flips:
        """The rate of a mean over tasks: measured where that of each is; the assumed one else."""
        if len(several) == 1:
            return several[0]
        if not several or not all(each.known for each in several):
            return cls()
        calibrated = any(each.source == "calibrate" for each in several)
        rate = math.fsum(each.rate for each in several) / len(several)
        return cls(rate, True, "calibrate" if calibrated else "history", min(each.runs for each in several))


@dataclass(frozen=True, slots=True)
class Sharpness:
    """A rule's sight if this share flips. Drops, gains and scores in the metric's unit, chances as shares.

    `seen`: the smallest true drop that is blocked with a chance of 80 %; of a target the smallest true gain
    (of `min_score`, the smallest true score) that passes with it. `mistaken`: the chance that a true drop of
    0 is blocked; of `min_gain`, that a true gain of 0 passes; None for `min_score`.
    """

    flips: float
    seen: float
    mistaken: float | None


@dataclass(frozen=True, slots=True)
class RuleForesight:
    """One rule: its documents, what it sees, how many documents it needs, and whether it can work.

    `sharpness` begins with the rate in `flips`; it is empty where there are no figures, and `note` says why.
    `expected` are documents until a decision at true changes of `STEPS` times the margin; None: all of them.
    `expected_beside` has the same at the other rates of `sharpness`; `expected_score`, of a `min_score`, has
    them at true scores that lie by `SCORES` above it. An `endless` rule is about a metric without a known
    range, of which all documents are scored whatever `decide` says, and no drop is ever proven. A `firm`
    problem is one that nothing assumed makes.
    """

    rule: str
    bound: str
    margin: float | None
    unit: str
    documents: int
    documents_total: int
    flips: Flips = Flips()
    sharpness: tuple[Sharpness, ...] = ()
    expected: tuple[float, ...] | None = None
    note: str = ""
    problem: str = ""
    hint: str = ""
    endless: bool = False
    firm: bool = False
    expected_beside: tuple[tuple[float, ...], ...] = ()
    expected_score: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """A rule with what its figures are computed from."""

    rule: Rule
    margin: float
    decide: Decides
    error: float
    judging: int
    strata: tuple[Stratum, ...]
    clusters: tuple[Clusters, ...] = ()
    alike: float = 0.0
    whole: bool = True

    @classmethod
    def of(cls, rule: Rule, policy: Policy, measured: Sequence[TaskInfo], judging: int) -> Sight:
        """Only what must not be lost has to be proven; a target is judged by its benchmark's own number."""
        proves = policy.decide == "proven" and rule.bound == "max_drop"
        decide: Decides = "full" if policy.decide == "proven" and not proves else policy.decide
        if decide == "score" and rule.reference != "base":
            decide = "full"  # of these, every document is scored
        assert rule.margin is not None
        return cls(
            rule,
            rule.margin,
            decide,
            1 - policy.confidence,
            judging,
            strata_of(measured),
            simulated(rule, policy, measured),
            ALIKE,
            all(info.right_or_wrong for info in measured),
        )

    @property
    def gains(self) -> bool:
        return self.rule.bound == "min_gain"

    def design(self, flips: float) -> Design:
        up = self.gains or self.rule.bound == "min_score"
        margin = min(self.margin, 1 - 1e-9) * (-1 if up else 1)
        one = len(self.strata) == 1
        return Design(
            self.strata[0].size if one else effective_documents(self.strata),
            flips,
            margin,
            self.decide,
            self.error,
            self.judging,
            () if one else self.strata,
            self.clusters,
            self.alike,
            self.whole,
        )

    @property
    def clustered(self) -> bool:
        """Whether documents belong together."""
        return any(each.size > 1 for each in self.clusters)

    @property
    def worth(self) -> int:
        """How many independent documents of one task are as precise."""
        if self.clusters:
            return max(1, round(independent(self.clusters, self.alike)))
        return effective_documents(self.strata)

    def at(self, flips: float) -> Sharpness:
        """What the rule sees where this share of documents flips."""
        design = self.design(flips)
        if self.rule.bound == "min_score":
            n = design.documents
            sure = wilson(math.ceil(min(self.margin, 1.0) * n - 1e-9), n, 2 * CAUGHT - 1)
            return Sharpness(flips, sure.high, None)
        if self.gains:
            sure_gain = edge(lambda gain: 1 - blocked(design, -gain) >= CAUGHT, 0.0, 1.0, design.halvings)
            return Sharpness(flips, sure_gain, 1 - blocked(design, 0.0))
        return Sharpness(flips, caught(design), blocked(design, 0.0))

    def mistaken(self, flips: float, alike: float) -> float:
        """How often it is mistaken if the documents of a cluster change `alike`."""
        chance = blocked(replace(self, alike=alike).design(flips), 0.0)
        return 1 - chance if self.gains else chance

    def expected(self, rates: Sequence[float]) -> tuple[tuple[float, ...], ...]:
        """For each flip rate documents until a decision at each of `STEPS`; empty where all are scored."""
        if self.decide != "score" or self.rule.bound == "min_score":
            return ()
        sign = -1 if self.gains else 1
        drops = [sign * min(step * self.margin, 1.0) for step in STEPS]
        cases = tuple((rate, drop) for rate in rates for drop in drops)
        found = _documents(self.design(0.0), cases, self._runs)
        return tuple(found[at : at + len(drops)] for at in range(0, len(found), len(drops)))

    def expected_score(self) -> tuple[float, ...] | None:
        """Of a `min_score`, documents until a decision at each of `SCORES`; None where all are scored."""
        if self.decide != "score" or self.rule.bound != "min_score":
            return None
        scores = [min(1.0, max(0.0, self.margin + step)) for step in SCORES]
        return tuple(each.documents for each in score_courses(self.design(0.0), scores, runs=self._runs))

    @property
    def _runs(self) -> int:
        return FEW_RUNS if max(len(self.strata), self.judging) > MANY else RUNS

    def cannot_work(self, flips: Flips, sharpness: Sharpness, planned: int) -> tuple[str, str]:
        """(problem, what would work); empty for a rule whose decisions are not mostly noise."""
        mistaken = sharpness.mistaken
        proves = self.decide == "proven"
        if (
            mistaken is None
            or mistaken <= (0.5 if proves else self.error)
            or (self.gains and not self.margin)
        ):
            return "", ""
        how = said_source(flips)
        worth, of = self.worth, "independent ones" if self.clustered else "of one task"
        of_one = f" (worth {worth:,} {of})" if worth < 0.95 * planned else ""
        named = f"{self.rule.bound_name} {self.margin:g}"
        problem = (
            f"{named} on {planned:,} documents{of_one} cannot be told from noise: "
            f"with {_percent(flips.rate)} of answers changing ({how}) it {self._does(_percent(mistaken))}"
        )
        return problem, self._works(flips.rate)

    def _does(self, share: str) -> str:
        if self.gains:
            return f"passes {share} of fine-tunes that gained nothing"
        if self.decide == "proven":
            return f"leaves {share} of harmless fine-tunes unproven"
        return f"blocks {share} of harmless fine-tunes"

    def _works(self, flips: float) -> str:
        """The margin that would work, and what else would."""
        workable = self._workable(flips)
        if workable is None:
            return "no margin would be proven: too few documents or clusters change; take more documents"
        said = f"use at least {math.ceil(1000 * workable - 1e-6) / 1000:g}"
        if self.rule.kind == "average":
            return f"{said}, or average over more tasks or larger ones"
        if self.margin > 0 and not self.clusters:
            said += f", or {documents_needed(self.margin, flips, self.error):,} documents"
        return (
            f"{said}, or judge the mean of several tasks: `average`" if self.rule.kind == "general" else said
        )

    def _workable(self, flips: float) -> float | None:
        """The margin that tells itself from no drop with 80 % power; None where no margin is proven."""
        if not self.clusters or self.decide != "proven":
            return workable_margin(self.worth, flips, self.error)

        def unproven(margin: float) -> bool:
            return blocked(replace(self, margin=margin).design(flips), 0.0) > 1 - CAUGHT

        return None if unproven(1.0) else edge(lambda margin: not unproven(margin), self.margin, 1.0, 12)


def said_source(flips: Flips) -> str:
    """Where a flip rate comes from, in words."""
    counted = f"{flips.changed:,} of {flips.documents:,}" if flips.documents else ""
    checks = f"{flips.runs} check{'' if flips.runs == 1 else 's'}"
    if flips.source == "history":
        return f"seen in {checks}: {counted}" if counted else f"seen in {checks}"
    if flips.source == "calibrate":
        return f"calibrated: {counted}" if counted else "calibrated"
    return f"assumed: {counted} in {checks} is too little to tell" if counted else "assumed"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


@lru_cache(maxsize=4096)
def _documents(design: Design, cases: tuple[tuple[float, float], ...], runs: int) -> tuple[float, ...]:
    return tuple(each.documents for each in courses(design, cases, runs=runs))
