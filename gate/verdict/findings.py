"""Rules held against measurements: one finding a rule, in the policy's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gate.errors import ConfigErrors, GateError, MeasurementError, Problem, UsageError
from gate.records import (
    ConfigRef,
    Cost,
    Finding,
    Measurements,
    Policy,
    Provenance,
    Rule,
    TaskInfo,
    TaskSpec,
)
from gate.verdict.arrange import MeasuredMetric, MeasuredTask, arrange_task
from gate.verdict.estimate import Estimate, Quantity, average, estimate_metric
from gate.verdict.result import Verdict, bound_holds, check_models


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a rule is about: one metric, or for the average several."""

    rule: Rule
    metrics: tuple[MeasuredMetric, ...]


def judge(
    measurements: Measurements,
    policy: Policy,
    config: ConfigRef | None,
    cost: Cost,
    provenance: Provenance,
    *,
    expected_base: str | None = None,
) -> Verdict:
    """Judge what was measured by `policy`, which need not be the policy it was measured for.

    `expected_base` is the digest that the base model must have. Raises UsageError, with all
    problems at once, where a rule asks for what this run did not measure; MeasurementError where
    what should have been measured is missing, not finite, unequal, or of another base.
    """
    check_models(measurements.base, measurements.tuned)
    if expected_base is not None and measurements.base.digest != expected_base:
        raise MeasurementError(f"{measurements.base.name} is not the base that was to be measured against")
    subjects = _subjects(policy, _arrange(measurements))
    findings = tuple(_finding(subject, policy) for subject in subjects)
    return Verdict(findings, measurements.base, measurements.tuned, config, cost, provenance)


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
        try:
            findings.append(_finding(_subject(rule, policy, tasks), policy))
        except GateError:
            continue
    return tuple(findings)


def _arrange(measurements: Measurements) -> dict[str, MeasuredTask]:
    planned = [info.task for info in measurements.tasks]
    if not planned or len(set(planned)) != len(planned):
        raise MeasurementError("no tasks were planned, or one of them twice")
    stray = {m.task for m in measurements.measurements} - set(planned)
    if stray:
        raise MeasurementError(f"measured, but not planned: {', '.join(sorted(stray))}")
    return {info.task: _arranged(info, measurements) for info in measurements.tasks}


def _arranged(info: TaskInfo, measurements: Measurements) -> MeasuredTask:
    return arrange_task(info, (m for m in measurements.measurements if m.task == info.task))


# ── What a rule is about ─────────────────────────────────────────────────────────────────────────


def _subjects(policy: Policy, tasks: Mapping[str, MeasuredTask]) -> list[_Subject]:
    if not 0 < policy.confidence < 1:
        raise UsageError(f"confidence lies between 0 and 1, not {policy.confidence}")
    if all(rule.margin is None for rule in policy.rules):
        raise UsageError(
            f"{policy.path or 'the policy'} judges nothing: no rule has a margin",
            hint="add one, such as general: {defaults: {max_drop: 0.02}}",
        )
    subjects: list[_Subject] = []
    problems: list[Problem] = []
    for rule in policy.rules:
        try:
            if any(rule.id == other.rule.id for other in subjects):
                raise UsageError("the policy has this rule twice")
            subjects.append(_subject(rule, policy, tasks))
        except UsageError as error:
            file = rule.place.file or policy.path
            problems.append(Problem(file, error.message, rule.place.line or None, rule.id, error.hint))
    if problems:
        raise ConfigErrors(problems)
    return subjects


def _subject(rule: Rule, policy: Policy, tasks: Mapping[str, MeasuredTask]) -> _Subject:
    if (rule.margin is None) != (rule.bound == "report"):
        raise UsageError("a rule has a margin if, and only if, it judges")
    if rule.kind == "average":
        return _Subject(rule, _averaged(policy, tasks))
    specs = {spec.id: spec for spec in policy.tasks}
    metric = _metric(f"{rule.kind}/{rule.task}", rule, specs, tasks)
    if rule.bound == "min_score" and not metric.higher_is_better:
        raise UsageError(f"min_score needs a metric where higher is better; {metric.name} is not")
    if rule.bound == "max_rise" and metric.higher_is_better:
        raise UsageError(f"max_rise needs a metric where lower is better; {metric.name} is not")
    return _Subject(rule, (metric,))


def _averaged(policy: Policy, tasks: Mapping[str, MeasuredTask]) -> tuple[MeasuredMetric, ...]:
    """The general tasks' metrics; they must be fractions that may be averaged."""
    specs = {spec.id: spec for spec in policy.tasks if spec.kind == "general"}
    if not specs:
        raise UsageError("the policy has no general tasks to average")
    metrics = tuple(_metric(task, None, specs, tasks) for task in specs)
    odd = [f"{m.task} ({m.name}, {m.unit})" for m in metrics if not (m.is_fraction and m.higher_is_better)]
    if odd:
        raise UsageError(
            f"only fractions where higher is better can be averaged, and not {', '.join(odd)}",
            hint="name another metric for the task, or leave out the average",
        )
    return metrics


def _metric(
    task: str, rule: Rule | None, specs: Mapping[str, TaskSpec], tasks: Mapping[str, MeasuredTask]
) -> MeasuredMetric:
    """The metric that the rule names, else the policy's task, else the task's own."""
    if task not in tasks:
        raise UsageError(f"this run did not measure {task}", hint=f"it measured {', '.join(tasks)}")
    measured, spec = tasks[task], specs.get(task)
    if spec is not None:
        _check_measured_as_asked(spec, measured.info)
    named = next((s for s in (rule, spec) if s is not None and (s.metric or s.filter)), None)
    if named is None:
        return measured.metrics[measured.info.metric, measured.info.filter]
    name = named.metric or measured.info.metric
    own = measured.info.filter if name == measured.info.metric else None
    wanted = named.filter or own
    fits = [m for m in measured.metrics.values() if m.metric == name and wanted in (None, m.filter)]
    if len(fits) != 1:
        fault = "more than one filter of" if fits else "no"
        stored = "; ".join(m.name for m in measured.metrics.values())
        raise UsageError(f"this run has {fault} {name} of {task}", hint=f"it has {stored}")
    return fits[0]


def _check_measured_as_asked(spec: TaskSpec, info: TaskInfo) -> None:
    """A later policy must not judge what was measured in another way than it asks."""
    asked = min(spec.limit or info.documents_total, info.documents_total)
    if info.documents_planned < asked:
        raise UsageError(
            f"the policy asks for {asked} documents of {spec.task}, this run scored {info.documents_planned}",
            hint="run ftgate check again",
        )
    for key, wants, has in (
        ("num_fewshot", spec.num_fewshot, info.num_fewshot),
        ("chat_template", None if spec.chat_template == "auto" else spec.chat_template, info.chat_template),
    ):
        if wants is not None and wants != has:
            raise UsageError(
                f"the policy asks for {key} {wants} on {spec.task}, this run was measured with {has}",
                hint="run ftgate check again",
            )


# ── Findings ─────────────────────────────────────────────────────────────────────────────────────


def _finding(subject: _Subject, policy: Policy) -> Finding:
    rule, metrics = subject.rule, subject.metrics
    of: Quantity = "tuned" if rule.bound == "min_score" else "difference"
    estimates = [estimate_metric(m, of, policy.confidence) for m in metrics]
    averaged = rule.kind == "average"
    estimate = average(estimates, policy.confidence) if averaged else estimates[0]
    first = metrics[0]
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
        outcome=_outcome(rule, estimate, first.higher_is_better),
        documents_scored=estimate.scored,
        documents_total=estimate.total,
        higher_is_better=first.higher_is_better,
        remaining=estimate.remaining,
        fell=estimate.changes.fell,
        rose=estimate.changes.rose,
        unchanged=estimate.changes.unchanged,
        note=_note(rule, estimate, first.higher_is_better),
        place=rule.place,
    )


def _outcome(rule: Rule, estimate: Estimate, higher_is_better: bool) -> Literal["pass", "fail", "reported"]:
    if rule.margin is None:
        return "reported"
    held = bound_holds(
        rule.bound,
        base=estimate.base,
        tuned=estimate.tuned,
        difference=estimate.difference,
        margin=rule.margin,
        higher_is_better=higher_is_better,
    )
    return "pass" if held else "fail"


def _note(rule: Rule, estimate: Estimate, higher_is_better: bool) -> str:
    """What a reader must know beside the numbers: noise, exact test, documents left out."""
    parts = [_noise(rule, estimate, higher_is_better)]
    if estimate.p_value is not None and estimate.changes.fell + estimate.changes.rose > 0:
        parts.append(f"exact McNemar p = {estimate.p_value:.2g}")
    if estimate.scored < estimate.total:
        parts.append(f"judged on {estimate.scored:,} of {estimate.total:,} documents")
    return "; ".join(part for part in parts if part)


def _noise(rule: Rule, estimate: Estimate, higher_is_better: bool) -> str:
    interval = estimate.interval
    if rule.margin is not None and rule.bound == "min_score":
        near = interval.low <= rule.margin <= interval.high
        return "the margin is within noise of the score" if near else ""
    if estimate.difference == 0:
        return "no difference"
    if not interval.low <= 0 <= interval.high:
        return ""
    if (estimate.difference > 0) == higher_is_better:
        return "the gain is within noise"
    return f"the {'drop' if higher_is_better else 'rise'} is within noise"
