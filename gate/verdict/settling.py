"""`decide: score`: which rules are settled by the documents drawn so far, and by how sure a claim. Pure.

The scheduler asks after every round of blocks, `judge` plays the same rounds again from the stored
measurements: both come to the same claims. A claim that was made stands, whatever comes later, until all
documents of its rule are scored; then the benchmark's own number decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gate.errors import MeasurementError
from gate.records import Rule
from gate.stats import Array
from gate.stats.claims import Limit, decide, log_evidence, remaining
from gate.stats.multiple import holm
from gate.stats.sequential import BREAKS, KEEPS, Block, Evidence, Stratum, observe, start, tally
from gate.verdict.arrange import FRACTIONS

Key = tuple[str, str, str, str]  # task, leaf, metric, filter
Drawn = Mapping[Key, tuple[Array, Array]]  # a round's values, base and tuned


@dataclass(frozen=True, slots=True)
class Series:
    """One leaf's values of one metric, as far as they are known before anything is scored."""

    key: Key
    size: int  # documents that the rule is about
    weight: float  # of the leaf's mean in the rule's number
    unit: str
    higher_is_better: bool
    aggregation: str


@dataclass(frozen=True, slots=True)
class Question:
    """A rule as the sequential test asks it: is the mean harm of all documents at most `limit`?"""

    rule: str
    keys: tuple[Key, ...]
    strata: tuple[Stratum, ...]
    limit: Limit
    of_score: bool  # harm is minus the tuned value, else the loss
    higher_is_better: bool

    def harm(self, base: Array, tuned: Array) -> Array:
        """Per document; larger is worse."""
        if self.of_score:
            return -tuned
        return base - tuned if self.higher_is_better else tuned - base

    @property
    def sign(self) -> int:
        """What makes a harm of the finding's own quantity, and the other way round."""
        return -1 if self.of_score or self.higher_is_better else 1


def ask(rule: Rule, series: Sequence[Series]) -> Question | None:
    """The question that a rule asks of these leaves; None where only all documents can answer it.

    That is so for text loss, ratios and corpus metrics, for values without a known range, for rules over
    slices or against the champion, and where a leaf stands twice in a mean: its documents would come in one
    order for both, and orders must be independent.
    """
    drawn = [each for each in series if each.weight > 0]
    names = {each.key[1] for each in drawn}
    first = drawn[0]
    known = all(each.unit in FRACTIONS and each.aggregation == "mean" for each in drawn)
    if rule.margin is None or rule.slices or rule.reference != "base" or not known or len(names) < len(drawn):
        return None
    of_score = rule.bound == "min_score"
    low, high = (-1.0, 0.0) if of_score else (-1.0, 1.0)
    margin = rule.margin if rule.bound in ("max_drop", "max_rise") else -rule.margin
    return Question(
        rule.id,
        tuple(each.key for each in drawn),
        tuple(Stratum(each.size, each.weight, low, high) for each in drawn),
        Limit.at(margin),
        of_score,
        first.higher_is_better,
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """What the full benchmark says about a rule, when that was sure, and where its mean harm lies.

    `low` is sure but for `break_error`, `high` but for `keep_error`, at all looks together. An `exact` one
    comes from all documents.
    """

    says: Literal["keeps", "breaks"]
    round: int
    low: float
    high: float
    keep_error: float
    break_error: float
    exact: bool = False

    @property
    def level(self) -> float:
        """At which the two bounds hold together."""
        return 1 - self.keep_error - self.break_error


@dataclass(frozen=True, slots=True)
class RuleState:
    """One rule's question, its evidence until it was settled, and the claim that settled it."""

    question: Question
    evidence: Evidence
    p_breaks: float = 1.0
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """All rules after some rounds. `judging` is the number of rules that can fail, asked here or not, and
    `choices` that of the models among which somebody may pick one that keeps its rules."""

    rules: tuple[RuleState, ...]
    judging: int
    error: float
    choices: int = 1
    rounds: int = 0

    @property
    def keep_error(self) -> float:
        """Of one rule's claim to keep: a false pass needs it, and any of the choices may be the false one."""
        return self.error / self.choices

    @property
    def break_error(self) -> float:
        """Of one rule's claim to break, before Holm's steps: any of the rules may be the false one."""
        return self.error / self.judging

    @property
    def open(self) -> tuple[Question, ...]:
        """What is not settled."""
        return tuple(state.question for state in self.rules if state.claim is None)

    @property
    def broken(self) -> bool:
        """Whether a rule fails for certain."""
        return any(state.claim is not None and state.claim.says == "breaks" for state in self.rules)


def begin(questions: Iterable[Question], judging: int, confidence: float, choices: int = 1) -> Standing:
    """Nothing drawn yet."""
    states = tuple(RuleState(question, start(question.strata)) for question in questions)
    return Standing(states, max(judging, len(states)), 1 - confidence, choices)


def advance(standing: Standing, drawn: Drawn) -> Standing:
    """The next round: what was newly drawn is observed, then every open rule is asked.

    Raises MeasurementError for a value outside of its metric's range.
    """
    seen = [_observe(state, drawn) for state in standing.rules]
    levels = _break_levels(seen, standing)
    rules = (
        state if state.claim else replace(state, claim=_claim(state, level, standing))
        for state, level in zip(seen, levels, strict=True)
    )
    return replace(standing, rules=tuple(rules), rounds=standing.rounds + 1)


def bounds_now(state: RuleState, standing: Standing) -> Claim:
    """Where an open rule's mean harm lies after the last round, in a claim's form; what it says is where
    its mean so far lies, and claims nothing."""
    return _bounds(state, "keeps", standing.rounds - 1, standing.keep_error, standing.break_error)


def _observe(state: RuleState, drawn: Drawn) -> RuleState:
    """With what was drawn of the rule. One that was claimed is only counted on, and open again once all of
    its documents are there: what they say takes the claim's place."""
    if state.claim is not None and state.claim.exact:
        return state
    question = state.question
    # Sorted, so that sums are the same to the last bit in whatever order a round's documents come.
    harms = [np.sort(question.harm(*drawn[key])) if key in drawn else None for key in question.keys]
    blocks = [None if harm is None else Block(harm) for harm in harms]
    if all(block is None for block in blocks):
        return state
    try:
        evidence = (observe if state.claim is None else tally)(state.evidence, blocks)
    except ValueError as error:
        raise MeasurementError(f"{question.rule}: {error}") from error
    if evidence.complete:
        says = decide(evidence, question.limit, keep_error=0.5, break_error=0.5)
        return replace(state, evidence=evidence, p_breaks=0.0 if says == "breaks" else 1.0, claim=None)
    if state.claim is not None:
        return replace(state, evidence=evidence)
    logs = log_evidence(evidence, question.limit)
    return replace(state, evidence=evidence, p_breaks=float(np.exp(-max(0.0, float(logs[BREAKS])))))


def _break_levels(states: Sequence[RuleState], standing: Standing) -> list[float]:
    """The error at which each rule may be claimed to break now, by Holm's steps; 0 where it may not."""
    unasked = standing.judging - len(states)
    p = np.array([state.p_breaks for state in states] + [1.0] * unasked)
    claimed = holm(p) <= standing.error
    rank = np.empty(p.size, dtype=np.int_)
    rank[np.argsort(p)] = np.arange(p.size)
    return [standing.error / (p.size - int(rank[at])) if claimed[at] else 0.0 for at in range(len(states))]


def _claim(state: RuleState, level: float, standing: Standing) -> Claim | None:
    evidence, limit = state.evidence, state.question.limit
    keep, bonferroni = standing.keep_error, standing.break_error
    if evidence.complete:
        says = decide(evidence, limit, keep_error=keep, break_error=bonferroni)
        mean = remaining(evidence, keep).estimate
        assert says is not None
        return Claim(says, standing.rounds, mean, mean, 0.0, 0.0, exact=True)
    if not all(evidence.seen):
        return None
    if float(log_evidence(evidence, limit)[KEEPS]) >= -math.log(keep):
        found = _bounds(state, "keeps", standing.rounds, keep, bonferroni)
        return found if found.high <= limit.kept + 1e-9 else None
    if level > 0:
        found = _bounds(state, "breaks", standing.rounds, keep, level)
        return found if found.low >= limit.kept - 1e-9 else None
    return None


def _bounds(
    state: RuleState, says: Literal["keeps", "breaks"], number: int, keep: float, break_: float
) -> Claim:
    high = remaining(state.evidence, 2 * keep).high
    low = remaining(state.evidence, 2 * break_).low
    return Claim(says, number, low, high, keep, break_)
