"""Rules held against measurements: one finding a rule, in the policy's order."""

from __future__ import annotations

from dataclasses import replace

from gate.errors import GateError, MeasurementError
from gate.records import (
    ConfigRef,
    Cost,
    Finding,
    FindingOutcome,
    Interval,
    Measurements,
    Policy,
    Provenance,
    Rule,
    TaskInfo,
)
from gate.verdict.arrange import MeasuredTask, Subject, arrange_task
from gate.verdict.estimate import Estimate, Quantity, average, estimate_metric
from gate.verdict.playing import Settlement, order_digest, require_complete, require_settled, settle
from gate.verdict.proving import Proof, prove
from gate.verdict.result import Verdict, bound_holds, check_models
from gate.verdict.slicing import sliced_finding
from gate.verdict.subjects import find_subject, find_subjects
from gate.verdict.waive import unneeded


def judge(
    measurements: Measurements,
    policy: Policy,
    config: ConfigRef | None,
    cost: Cost,
    provenance: Provenance,
    *,
    expected_base: str | None = None,
    champion: Measurements | None = None,
) -> Verdict:
    """Judge what was measured by `policy`, which need not be the policy it was measured for.

    `expected_base` is the digest that the base model must have; `champion` has the pairs of the champion and
    the tuned model. Raises UsageError, with all problems at once, where a rule asks for what this run did not
    measure; MeasurementError where what should have been measured is missing, not finite, unequal, or of
    another base.
    """
    check_models(measurements.base, measurements.tuned)
    if expected_base is not None and measurements.base.digest != expected_base:
        raise MeasurementError(f"{measurements.base.name} is not the base that was to be measured against")
    if provenance.order_digest != order_digest(measurements):
        raise MeasurementError("these are not the documents that were drawn, in the order that was published")
    if champion is not None and champion.tuned.digest != measurements.tuned.digest:
        raise MeasurementError(f"the champion was not measured against {measurements.tuned.name}")
    pairs = None if champion is None else arrange(champion)
    subjects = find_subjects(policy, arrange(measurements), pairs)
    settled = settle(subjects, policy)
    findings = tuple(_finding(subject, policy, settled.get(subject.rule.id)) for subject in subjects)
    if policy.decide == "score" and not any(finding.outcome == "fail" for finding in findings):
        require_settled(findings, policy)
    provenance = replace(provenance, warnings=(*provenance.warnings, *unneeded(findings, policy.decide)))
    reference = None if champion is None else champion.base
    models = measurements.base, measurements.tuned
    return Verdict(findings, *models, config, cost, provenance, champion=reference)


def judge_what_there_is(measurements: Measurements, policy: Policy) -> tuple[Finding, ...]:
    """The findings of those rules whose measurements are complete, for a `Failure` to keep.

    Never a verdict: rules that cannot be judged are left out.
    """
    findings = []
    tasks: dict[str, MeasuredTask] = {}
    for info in measurements.tasks:
        try:
            tasks[info.task] = _arranged(info, measurements)
        except MeasurementError:
            continue
    for rule in policy.rules:
        if rule.reference != "base":
            continue  # the champion's pairs are written last
        try:
            subject = find_subject(rule, policy, tasks)
            require_complete(subject)
            findings.append(_finding(subject, policy, None))
        except GateError:
            continue
    return tuple(findings)


def arrange(measurements: Measurements) -> dict[str, MeasuredTask]:
    """What was measured, by task. Raises MeasurementError where it is not what was planned."""
    planned = [info.task for info in measurements.tasks]
    if not planned or len(set(planned)) != len(planned):
        raise MeasurementError("no tasks were planned, or one of them twice")
    stray = {m.task for m in measurements.measurements} - set(planned)
    if stray:
        raise MeasurementError(f"measured, but not planned: {', '.join(sorted(stray))}")
    return {info.task: _arranged(info, measurements) for info in measurements.tasks}


def _arranged(info: TaskInfo, measurements: Measurements) -> MeasuredTask:
    return arrange_task(info, (m for m in measurements.measurements if m.task == info.task))


# ── Findings ─────────────────────────────────────────────────────────────────────────────────────


def _finding(subject: Subject, policy: Policy, settlement: Settlement | None) -> Finding:
    """`settlement` where documents were left out: the numbers are then of what had been drawn when the rule
    was settled."""
    rule, metrics = subject.rule, subject.metrics
    if rule.slices is not None:
        return sliced_finding(subject, policy)
    if settlement is not None:
        metrics = tuple(metric.until(settlement.claim.round) for metric in metrics)
    of: Quantity = "tuned" if rule.bound == "min_score" else "difference"
    estimates = [estimate_metric(m, of, policy.confidence) for m in metrics]
    averaged = rule.kind == "average"
    estimate = average(estimates, policy.confidence) if averaged else estimates[0]
    first = metrics[0]
    proof = _proof(subject, policy)
    return Finding(
        rule=rule.id,
        kind=rule.kind,
        check=", ".join(dict.fromkeys(m.check for m in metrics)),
        task=rule.task,
        metric="average" if averaged else first.metric,
        filter="" if averaged else first.filter,
        unit=first.unit,
        bound=rule.bound,
        base=estimate.base,
        tuned=estimate.tuned,
        difference=estimate.difference,
        interval=estimate.interval,
        margin=rule.margin,
        outcome=_outcome(rule, estimate, first.higher_is_better, settlement, proof),
        documents_scored=estimate.scored,
        documents_total=estimate.total,
        higher_is_better=first.higher_is_better,
        remaining=estimate.remaining if settlement is None else _remaining(settlement),
        fell=estimate.changes.fell,
        rose=estimate.changes.rose,
        unchanged=estimate.changes.unchanged,
        note=_note(rule, estimate, first.higher_is_better, settlement, proof),
        place=rule.place,
        waiver=rule.waiver,
        documents_planned=sum(leaf.planned for metric in metrics for leaf in metric.leaves),
        proven=None if proof is None else proof.proven,
        reference=rule.reference,
    )


def _proof(subject: Subject, policy: Policy) -> Proof | None:
    """Under `decide: proven`, of what must not be forgotten."""
    rule = subject.rule
    if policy.decide != "proven" or rule.bound != "max_drop" or not rule.judges:
        return None
    return prove(subject, 1 - policy.confidence)


def _remaining(settlement: Settlement) -> Interval:
    low, high = settlement.bounds
    return Interval(low, high, settlement.claim.level, "benchmark", "betting martingale, at all looks")


def _outcome(
    rule: Rule,
    estimate: Estimate,
    higher_is_better: bool,
    settlement: Settlement | None,
    proof: Proof | None,
) -> FindingOutcome:
    if rule.margin is None or rule.skipped:
        return "reported"
    if settlement is not None:
        if not settlement.certain:
            return "undecided"
        return "pass" if settlement.claim.says == "keeps" else "fail"
    held = bound_holds(
        rule.bound,
        base=estimate.base,
        tuned=estimate.tuned,
        difference=estimate.difference,
        margin=rule.margin,
        higher_is_better=higher_is_better,
    )
    if held and proof is not None and not proof.proven:
        return "undecided"
    return "pass" if held else "fail"


def _note(
    rule: Rule,
    estimate: Estimate,
    higher_is_better: bool,
    settlement: Settlement | None,
    proof: Proof | None,
) -> str:
    """What a reader must know beside the numbers: noise, exact test, proof, documents left out."""
    if settlement is not None:
        # No more: noise and tests are of the documents drawn, and would be read as the benchmark's.
        return "" if settlement.certain else "not settled: another rule fails for certain"
    parts = [noise_note(rule, estimate.interval, estimate.difference, higher_is_better)]
    if estimate.p_value is not None and estimate.changes.fell + estimate.changes.rose > 0:
        parts.append(f"exact McNemar p = {estimate.p_value:.2g}")
    if proof is not None:
        parts.append(proof.note)
    if estimate.scored < estimate.total:
        parts.append(f"judged on {estimate.scored:,} of {estimate.total:,} documents")
    return "; ".join(part for part in parts if part)


def noise_note(rule: Rule, interval: Interval, difference: float, higher_is_better: bool) -> str:
    """What a rule's interval about the population says: that the change, or the margin, is within noise."""
    if rule.margin is not None and rule.bound == "min_score":
        near = interval.low <= rule.margin <= interval.high
        return "the margin is within noise of the score" if near else ""
    if difference == 0:
        return "no difference"
    if not interval.low <= 0 <= interval.high:
        return ""
    if (difference > 0) == higher_is_better:
        return "the gain is within noise"
    return f"the {'drop' if higher_is_better else 'rise'} is within noise"
