"""What each rule of a policy is about, among what was measured. What it cannot be about is an error."""

from __future__ import annotations

from collections.abc import Mapping

from gate.errors import ConfigErrors, Problem, UsageError
from gate.records import Policy, Rule, TaskInfo, TaskSpec
from gate.verdict.arrange import MeasuredMetric, MeasuredTask, Subject
from gate.verdict.slicing import require_parts


def find_subjects(
    policy: Policy, tasks: Mapping[str, MeasuredTask], champion: Mapping[str, MeasuredTask] | None = None
) -> list[Subject]:
    """What each rule is about; `champion` has the pairs of champion and tuned model, where there are such."""
    if not 0 < policy.confidence < 1:
        raise UsageError(f"confidence lies between 0 and 1, not {policy.confidence}")
    if all(rule.margin is None for rule in policy.rules):
        raise UsageError(
            f"{policy.path or 'the policy'} judges nothing: no rule has a margin",
            hint="add one, such as general: {defaults: {max_drop: 0.02}}",
        )
    subjects: list[Subject] = []
    problems: list[Problem] = []
    for rule in policy.rules:
        try:
            if any(rule.id == other.rule.id for other in subjects):
                raise UsageError("the policy has this rule twice")
            subjects.append(find_subject(rule, policy, _compared(rule, tasks, champion)))
        except UsageError as error:
            file = rule.place.file or policy.path
            problems.append(Problem(file, error.message, rule.place.line or None, rule.id, error.hint))
    if problems:
        raise ConfigErrors(problems)
    return subjects


def _compared(
    rule: Rule, tasks: Mapping[str, MeasuredTask], champion: Mapping[str, MeasuredTask] | None
) -> Mapping[str, MeasuredTask]:
    """The measurements against what the rule compares with."""
    if rule.reference == "base":
        return tasks
    if champion is None:
        raise UsageError("this run measured no champion", hint="run ftgate check again")
    return champion


def find_subject(rule: Rule, policy: Policy, tasks: Mapping[str, MeasuredTask]) -> Subject:
    if (rule.margin is None) != (rule.bound == "report"):
        raise UsageError("a rule has a margin if, and only if, it judges")
    if rule.kind == "average":
        return Subject(rule, _averaged(policy, tasks))
    specs = {spec.id: spec for spec in policy.tasks}
    metric = _metric(f"{rule.kind}/{rule.task}", rule, specs, tasks)
    if rule.bound == "min_score" and not metric.higher_is_better:
        raise UsageError(f"min_score needs a metric where higher is better; {metric.name} is not")
    if rule.bound == "max_rise" and metric.higher_is_better:
        raise UsageError(f"max_rise needs a metric where lower is better; {metric.name} is not")
    if rule.slices is not None:
        require_parts(rule, metric, tasks[f"{rule.kind}/{rule.task}"].info.slice_by)
    return Subject(rule, (metric,))


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
