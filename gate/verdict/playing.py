"""What stored measurements settle under `decide: score`: their rounds, played again. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gate.errors import ConfigErrors, Problem, UsageError
from gate.records import Finding, Measurements, Policy, Rule
from gate.verdict.arrange import MeasuredMetric, Subject
from gate.verdict.settling import (
    Claim,
    Drawn,
    Key,
    Question,
    Series,
    Standing,
    advance,
    ask,
    begin,
    bounds_now,
)

AGAIN = "run ftgate check again: it goes on from the stored blocks"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a rule stands whose documents were not all scored: its claim, or (not `certain`) its bounds."""

    claim: Claim
    certain: bool
    sign: int  # from harm to the finding's quantity

    @property
    def bounds(self) -> tuple[float, float]:
        """Where the full benchmark's own number lies."""
        low, high = self.claim.low, self.claim.high
        return (low, high) if self.sign > 0 else (-high, -low)


def settle(subjects: Sequence[Subject], policy: Policy, trainings: int = 1) -> dict[str, Settlement]:
    """By rule id, for the rules of which documents were left out; `trainings` as `judge` takes it. Raises
    ConfigErrors where such a rule needs all documents under `policy`."""
    partial = [subject for subject in subjects if not subject.complete]
    if not partial:
        return {}
    asked = {subject.rule.id: ask(subject.rule, series_of(subject)) for subject in subjects}
    unanswered = [
        subject for subject in partial if policy.decide != "score" or asked[subject.rule.id] is None
    ]
    if unanswered:
        raise ConfigErrors(_too_few(policy, subject.rule, *_documents(subject)) for subject in unanswered)
    rounds = rounds_of(subjects)
    questions = [asked[subject.rule.id] for subject in subjects if subject.rule.judges]
    judged = [question for question in questions if question is not None]
    judging = sum(subject.rule.judges for subject in subjects)
    found = _settled(_play(begin(judged, judging, policy.confidence, trainings), rounds))
    for subject in partial:
        question = asked[subject.rule.id]
        if question is not None and question.rule not in found:  # waived: shown, and not judged
            found |= _settled(_play(begin([question], judging, policy.confidence), rounds))
    return {subject.rule.id: found[subject.rule.id] for subject in partial}


def order_digest(measurements: Measurements) -> str:
    """Of the documents of each leaf, round by round; "" where all were scored and in no order.

    It is published with the verdict: a re-run is held against it, and measurements that lost a document.
    """
    drawn = [
        [each.task, each.leaf, each.metric, each.filter, sorted(zip(each.rounds, each.numbers, strict=False))]
        for each in measurements.measurements
        if each.rounds is not None
    ]
    return f"sha256:{hashlib.sha256(json.dumps(drawn).encode()).hexdigest()}" if drawn else ""


def require_settled(findings: Sequence[Finding], policy: Policy) -> None:
    """Raise ConfigErrors where `score` left a rule unsettled although none fails: more must be scored."""
    if policy.decide != "score" or any(finding.outcome == "fail" for finding in findings):
        return
    open_ = [finding for finding in findings if finding.early and finding.outcome == "undecided"]
    if open_:
        raise ConfigErrors(
            Problem(
                each.place.file or policy.path,
                f"is not settled by the {each.documents_scored:,} of {each.documents_planned:,} documents "
                "that this run scored",
                each.place.line or None,
                each.rule,
                AGAIN,
            )
            for each in open_
        )


def require_complete(subject: Subject) -> None:
    """Raise UsageError where documents were left out."""
    if not subject.complete:
        scored, planned = _documents(subject)
        raise UsageError(f"{scored:,} of {planned:,} documents were scored", hint=AGAIN)


def _documents(subject: Subject) -> tuple[int, int]:
    leaves = [leaf for metric in subject.metrics for leaf in metric.leaves]
    return sum(leaf.scored for leaf in leaves), sum(leaf.planned for leaf in leaves)


def _too_few(policy: Policy, rule: Rule, scored: int, planned: int) -> Problem:
    message = f"needs all {planned:,} documents under this policy, this run was settled after {scored:,}"
    return Problem(rule.place.file or policy.path, message, rule.place.line or None, rule.id, AGAIN)


def _key(metric: MeasuredMetric, leaf: str) -> Key:
    return metric.task, leaf, metric.metric, metric.filter


def series_of(subject: Subject) -> list[Series]:
    """The leaves that a rule's number is made of."""
    return [
        Series(
            _key(metric, leaf.name),
            leaf.planned,
            leaf.weight / len(subject.metrics),
            metric.unit,
            metric.higher_is_better,
            metric.aggregation,
        )
        for metric in subject.metrics
        for leaf in metric.leaves
    ]


def rounds_of(subjects: Sequence[Subject]) -> list[Drawn]:
    """The values of each round. What was scored in no order counts as the first round's."""
    leaves = {
        _key(metric, leaf.name): leaf
        for subject in subjects
        if subject.rule.reference == "base"  # the champion's pairs go by the same names, and are complete
        for metric in subject.metrics
        if metric.aggregation == "mean"
        for leaf in metric.leaves
    }
    of = {
        key: np.zeros(leaf.scored, np.int_) if leaf.rounds is None else leaf.rounds
        for key, leaf in leaves.items()
    }
    last = max(int(rounds.max()) for rounds in of.values())
    return [
        {
            key: (leaf.base[of[key] == number], leaf.tuned[of[key] == number])
            for key, leaf in leaves.items()
            if (of[key] == number).any()
        }
        for number in range(last + 1)
    ]


def _play(standing: Standing, rounds: Sequence[Drawn]) -> Standing:
    for drawn in rounds:
        standing = advance(standing, drawn)
    return standing


def _settled(standing: Standing) -> dict[str, Settlement]:
    found: dict[str, Settlement] = {}
    for state in standing.rules:
        question: Question = state.question
        claim = state.claim or bounds_now(state, standing)
        found[question.rule] = Settlement(claim, state.claim is not None, question.sign)
    return found
