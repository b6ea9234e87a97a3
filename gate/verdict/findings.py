"""Rules held against measurements: one finding a rule, in the policy's order."""

from __future__ import annotations

from collections.abc import Sequence
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
    SeedRun,
    TaskInfo,
)
from gate.verdict.arrange import MeasuredMetric, MeasuredTask, Subject, arrange_task
from gate.verdict.estimate import Estimate, Quantity, average, estimate_metric
from gate.verdict.playing import Settlement, order_digest, require_complete, require_settled, settle
from gate.verdict.proving import Proof, prove, prove_recipe
from gate.verdict.result import Verdict, bound_holds, check_models
from gate.verdict.slicing import sliced_finding
from gate.verdict.spread import own_numbers, with_spread
from gate.verdict.subjects import find_subject, find_subjects
from gate.verdict.waive import unneeded

ALONE = "not settled by this training alone: no more was scored of it than its recipe needed"


def judge(
    measurements: Measurements,
    policy: Policy,
    config: ConfigRef | None,
    cost: Cost,
    provenance: Provenance,
    *,
    expected_base: str | None = None,
    champion: Measurements | None = None,
    trainings: int = 1,
) -> Verdict:
    """Judge what was measured by `policy`, which need not be the policy it was measured for.

    `expected_base` is the digest that the base model must have; `champion` has the pairs of the champion and
    the tuned model. `trainings` of more than one: the model is one of so many of a recipe. Somebody may pick
    it among them, so each claim that it keeps a rule has its share of the error; and what was not settled
    when the recipe was is undecided.

    Raises UsageError, with all problems at once, where a rule asks for what this run did not measure;
    MeasurementError where what should have been measured is missing, not finite, unequal, or of another base.
    """
    subjects = subjects_of(measurements, policy, provenance, expected_base, champion)
    settled = settle(subjects, policy, trainings)
    findings = tuple(finding_of(subject, policy, settled.get(subject.rule.id)) for subject in subjects)
    if trainings > 1:
        findings = tuple(_alone(finding) for finding in findings)
    else:
        require_settled(findings, policy)
    return verdict_of(findings, measurements, policy, config, cost, provenance, champion)


def subjects_of(
    measurements: Measurements,
    policy: Policy,
    provenance: Provenance,
    expected_base: str | None,
    champion: Measurements | None,
) -> list[Subject]:
    """What each rule is about, in measurements that are those of a run. Raises as `judge` does."""
    check_models(measurements.base, measurements.tuned)
    if expected_base is not None and measurements.base.digest != expected_base:
        raise MeasurementError(f"{measurements.base.name} is not the base that was to be measured against")
    if provenance.order_digest != order_digest(measurements):
        raise MeasurementError("these are not the documents that were drawn, in the order that was published")
    if champion is not None and champion.tuned.digest != measurements.tuned.digest:
        raise MeasurementError(f"the champion was not measured against {measurements.tuned.name}")
    return compared(measurements, policy, champion)


def compared(measurements: Measurements, policy: Policy, champion: Measurements | None) -> list[Subject]:
    """What each rule is about, in measurements that are known to be a run's."""
    return find_subjects(policy, arrange(measurements), None if champion is None else arrange(champion))


def verdict_of(
    findings: tuple[Finding, ...],
    measurements: Measurements,
    policy: Policy,
    config: ConfigRef | None,
    cost: Cost,
    provenance: Provenance,
    champion: Measurements | None,
    seeds: tuple[SeedRun, ...] = (),
) -> Verdict:
    """The verdict that holds these findings, with a warning for each waiver that nothing needs."""
    provenance = replace(provenance, warnings=(*provenance.warnings, *unneeded(findings, policy.decide)))
    reference = None if champion is None else champion.base
    models = measurements.base, measurements.tuned
    return Verdict(findings, *models, config, cost, provenance, seeds, champion=reference)


def _alone(finding: Finding) -> Finding:
    return replace(finding, note=ALONE) if finding.early and finding.outcome == "undecided" else finding


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
            findings.append(finding_of(subject, policy, None))
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


def finding_of(
    subject: Subject,
    policy: Policy,
    settlement: Settlement | None,
    trainings: Sequence[Subject] = (),
) -> Finding:
    """What one rule came to. Raises as `judge` does.

    `settlement` where documents were left out: the numbers are then of what had been drawn when the rule was
    settled. Of a recipe `subject` is the mean over `trainings`, whose spread widens the interval about the
    population.
    """
    rule, metrics = subject.rule, subject.metrics
    if rule.slices is not None:
        return sliced_finding(subject, policy, trainings)
    last = None if settlement is None else settlement.claim.round
    if last is not None:
        metrics = tuple(metric.until(last) for metric in metrics)
    of: Quantity = "tuned" if rule.bound == "min_score" else "difference"
    estimates = [estimate_metric(m, of, policy.confidence) for m in metrics]
    estimate = average(estimates, policy.confidence) if rule.kind == "average" else estimates[0]
    own, better = own_numbers(trainings, last), metrics[0].higher_is_better
    estimate, seeds = with_spread(estimate, of, own, bounded=metrics[0].is_fraction)
    proof = _proof(subject, policy, own.differences)
    found = _measured(rule, metrics, estimate, settlement)
    return replace(
        found,
        outcome=_outcome(rule, estimate, better, settlement, proof),
        note=_note(rule, estimate, better, settlement, proof),
        proven=None if proof is None else proof.proven,
        seeds=seeds,
    )


def _measured(
    rule: Rule, metrics: Sequence[MeasuredMetric], estimate: Estimate, settlement: Settlement | None
) -> Finding:
    """A finding's numbers, not judged yet."""
    averaged, first = rule.kind == "average", metrics[0]
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
        outcome="reported",
        documents_scored=estimate.scored,
        documents_total=estimate.total,
        higher_is_better=first.higher_is_better,
        remaining=estimate.remaining if settlement is None else _remaining(settlement),
        fell=estimate.changes.fell,
        rose=estimate.changes.rose,
        unchanged=estimate.changes.unchanged,
        place=rule.place,
        waiver=rule.waiver,
        documents_planned=sum(leaf.planned for metric in metrics for leaf in metric.leaves),
        reference=rule.reference,
    )


def _proof(subject: Subject, policy: Policy, trainings: Sequence[float]) -> Proof | None:
    """Under `decide: proven`, of what must not be forgotten; `trainings` are a recipe's own differences."""
    rule = subject.rule
    if policy.decide != "proven" or rule.bound != "max_drop" or not rule.judges:
        return None
    error = 1 - policy.confidence
    return prove_recipe(subject, trainings, error) if trainings else prove(subject, error)


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
    parts = [_noise_note(rule, estimate.interval, estimate.difference, higher_is_better)]
    if estimate.p_value is not None and estimate.changes.fell + estimate.changes.rose > 0:
        parts.append(f"exact McNemar p = {estimate.p_value:.2g}")
    if proof is not None:
        parts.append(proof.note)
    if estimate.scored < estimate.total:
        parts.append(f"judged on {estimate.scored:,} of {estimate.total:,} documents")
    return "; ".join(part for part in parts if part)


def _noise_note(rule: Rule, interval: Interval, difference: float, higher_is_better: bool) -> str:
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
