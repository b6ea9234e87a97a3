"""One rule: what it sees, how often it is mistaken, how many documents it needs, whether it can work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from gate.records import Policy, Rule
from gate.records.rates import RateSource
from gate.stats import wilson
from gate.stats.distributions import edge
from gate.stats.power import CAUGHT, Design, blocked, course, documents_needed, workable_margin
from gate.stats.sequential import Stratum

ASSUMED, BESIDE = 0.10, (0.05, 0.20)
STEPS = (0.0, 0.5, 1.0, 2.0)  # of the margin: the true changes for which documents are foreseen
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
    An `endless` rule is about a metric without a known range, of which all documents are scored whatever
    `decide` says, and no drop is ever proven.
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


@dataclass(frozen=True, slots=True)
class Sight:
    """A rule with what its figures are computed from."""

    rule: Rule
    margin: float
    decide: Decides
    error: float
    judging: int
    strata: tuple[Stratum, ...]

    @classmethod
    def of(cls, rule: Rule, policy: Policy, strata: tuple[Stratum, ...], judging: int) -> Sight:
        """Only what must not be lost has to be proven; a target is judged by its benchmark's own number."""
        proves = policy.decide == "proven" and rule.bound == "max_drop"
        decide: Decides = "full" if policy.decide == "proven" and not proves else policy.decide
        if decide == "score" and rule.reference != "base":
            decide = "full"  # of these, every document is scored
        assert rule.margin is not None
        return cls(rule, rule.margin, decide, 1 - policy.confidence, judging, strata)

    @property
    def gains(self) -> bool:
        return self.rule.bound == "min_gain"

    def design(self, flips: float) -> Design:
        margin = min(self.margin, 1 - 1e-9) * (-1 if self.gains else 1)
        if len(self.strata) == 1:
            size = self.strata[0].size
            return Design(size, flips, margin, self.decide, self.error, self.judging)
        return Design.of_mean(self.strata, flips, margin, self.decide, self.error, self.judging)

    def at(self, flips: float) -> Sharpness:
        """What the rule sees where this share of documents flips."""
        design = self.design(flips)
        if self.rule.bound == "min_score":
            n = design.documents
            sure = wilson(math.ceil(min(self.margin, 1.0) * n - 1e-9), n, 2 * CAUGHT - 1)
            return Sharpness(flips, sure.high, None)
        if self.gains:
            sure_gain = edge(lambda gain: 1 - blocked(design, -gain) >= CAUGHT, 0.0, 1.0)
            return Sharpness(flips, sure_gain, 1 - blocked(design, 0.0))
        caught = edge(lambda drop: blocked(design, drop) >= CAUGHT, 0.0, 1.0)
        return Sharpness(flips, caught, blocked(design, 0.0))

    def expected(self, flips: float) -> tuple[float, ...] | None:
        """Documents until a decision at each of `STEPS`; None where all are scored."""
        if self.decide != "score" or self.rule.bound == "min_score":
            return None
        design, sign = self.design(flips), -1 if self.gains else 1
        runs = FEW_RUNS if max(len(self.strata), self.judging) > MANY else RUNS
        return tuple(_documents(design, sign * min(step * self.margin, 1.0), runs) for step in STEPS)

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
        worth = self.design(flips.rate).documents
        of_one = f" (worth {worth:,} of one task)" if worth < 0.95 * planned else ""
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
        workable = workable_margin(self.design(flips).documents, flips, self.error)
        said = f"use at least {math.ceil(1000 * workable - 1e-6) / 1000:g}"
        if self.rule.kind == "average":
            return f"{said}, or average over more tasks or larger ones"
        if self.margin > 0:
            said += f", or {documents_needed(self.margin, flips, self.error):,} documents"
        return (
            f"{said}, or judge the mean of several tasks: `average`" if self.rule.kind == "general" else said
        )


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
def _documents(design: Design, drop: float, runs: int) -> float:
    return course(design, drop, runs=runs).documents
