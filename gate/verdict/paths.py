"""How a rule came to be settled: where the full benchmark's number could lie, after each round. Pure.

The rounds are played again from the measurements, so a path is never stored; it is drawn and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gate.records import Measurements, Policy
from gate.stats.claims import band
from gate.verdict.findings import arrange
from gate.verdict.playing import rounds_of, series_of
from gate.verdict.settling import RuleState, Standing, advance, ask, begin
from gate.verdict.subjects import find_subjects

MOST_LOOKS = 40  # of a rule that are drawn


@dataclass(frozen=True, slots=True)
class Look:
    """After some documents: the estimate of the rule's own number (the difference, tuned's value for
    min_score), and where the full benchmark's lies at all looks together."""

    documents: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RulePath:
    """The looks at one rule until it was settled or the run ended; `planned` documents are the benchmark."""

    rule: str
    looks: tuple[Look, ...]
    planned: int
    settled: bool


def paths_of(
    measurements: Measurements, policy: Policy, rules: Sequence[str], trainings: int = 1
) -> tuple[RulePath, ...]:
    """The paths of those of `rules` that `decide: score` asked; none where it did not decide.

    `trainings` as `judge` takes it; raises as that does.
    """
    judging = [rule for rule in policy.rules if rule.judges]
    against_base = tuple(rule for rule in judging if rule.reference == "base")
    if policy.decide != "score" or not rules or not against_base:
        return ()
    subjects = find_subjects(replace(policy, rules=against_base), arrange(measurements))
    asked = (ask(subject.rule, series_of(subject)) for subject in subjects)
    questions = [question for question in asked if question is not None]
    standing = begin(questions, len(judging), policy.confidence, trainings)
    seen: dict[str, list[RuleState]] = {question.rule: [] for question in questions if question.rule in rules}
    for drawn in rounds_of(subjects):
        before, standing = standing, advance(standing, drawn)
        for was, state in zip(before.rules, standing.rules, strict=True):
            new = state.evidence.seen != was.evidence.seen and all(state.evidence.seen)
            if state.question.rule in seen and was.claim is None and new:
                seen[state.question.rule].append(state)
    return tuple(_path(rule, states, standing) for rule, states in seen.items() if states)


def _path(rule: str, states: Sequence[RuleState], standing: Standing) -> RulePath:
    step = max(1, -(-len(states) // MOST_LOOKS))
    last = len(states) - 1
    kept = [state for at, state in enumerate(states) if (last - at) % step == 0]
    planned = sum(stratum.size for stratum in states[0].evidence.strata)
    looks = tuple(_look(state, standing) for state in kept)
    return RulePath(rule, looks, planned, states[-1].claim is not None)


def _look(state: RuleState, standing: Standing) -> Look:
    found = band(state.evidence, standing.keep_error, standing.break_error)
    low, high = found.low, found.high
    if state.claim is not None:
        low, high = min(state.claim.low, found.estimate), max(state.claim.high, found.estimate)
    sign = state.question.sign
    ends = sorted((sign * low, sign * high))
    return Look(sum(state.evidence.seen), sign * found.estimate, ends[0], ends[1])
