"""Policy + tasks + training config -> Plan: can every rule be judged by what will be measured? Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from gate.errors import ConfigErrors, Problem
from gate.records import ModelRef, Plan, Policy, Rule, Slices, TaskInfo, TrainingConfig

FRACTION = "accuracy"  # the unit of metrics that are 0 or 1 a document
ROUNDING = 1e-9  # 0.01 is meant to be as fine as one document of a hundred


def build_plan(
    policy: Policy,
    base: ModelRef,
    tasks: tuple[TaskInfo, ...],
    config: TrainingConfig | None = None,
    tuned: ModelRef | None = None,
    doubts: tuple[str, ...] = (),
) -> Plan:
    """Resolve a policy against its tasks, its base and what is to be judged; `doubts` become warnings.

    Raises `ConfigErrors` with every rule that these tasks cannot judge: a margin finer than one
    document, a score that the metric cannot have, a task without documents; and where both models cannot be
    measured as the training quantised its base.
    """
    infos = {info.task: info for info in tasks}
    problems = [*_missing(policy, infos), *_trust(policy, config), *_quantization(policy, config)]
    for rule in policy.rules:
        measured = _measured(rule, policy, infos)
        problems.extend(_rule_problem(policy, rule, text) for text in _doubts(rule, measured))
    if problems:
        raise ConfigErrors(problems)
    return Plan(policy, base, tasks, config, tuned, (*doubts, *_warnings(tasks)))


def allocate_limit(limit: int | None, sizes: Sequence[int]) -> tuple[int, ...]:
    """Share `limit` documents over leaves of these sizes, in proportion (largest remainder).

    Every leaf with documents gets at least one where `limit` allows it. Ties go to the earlier leaf.
    Raises ValueError for a limit below 1 or a negative size.
    """
    if any(size < 0 for size in sizes) or (limit is not None and limit < 1):
        raise ValueError("sizes must not be negative, a limit must be at least 1")
    total = sum(sizes)
    if limit is None or limit >= total:
        return tuple(sizes)
    # In 1/total of a document, so that remainders are compared exactly.
    quotas = [limit * size for size in sizes]
    least = 1 if limit >= sum(size > 0 for size in sizes) else 0
    counts = [max(quota // total, least if quota else 0) for quota in quotas]

    def owed(index: int) -> tuple[int, int]:
        return quotas[index] - counts[index] * total, -index

    while sum(counts) > limit:
        counts[min((i for i, count in enumerate(counts) if count > least), key=owed)] -= 1
    while sum(counts) < limit:
        counts[max((i for i, count in enumerate(counts) if count < sizes[i]), key=owed)] += 1
    return tuple(counts)


def finest_step(info: TaskInfo) -> float:
    """How much one document can move the task's value, at least: a leaf's weight over its documents."""
    scored = [leaf for leaf in info.leaves if leaf.documents_planned]
    return min((leaf.weight / leaf.documents_planned for leaf in scored), default=1.0)


def _missing(policy: Policy, infos: Mapping[str, TaskInfo]) -> Iterator[Problem]:
    for spec in policy.tasks:
        info = infos.get(spec.id)
        file, line = spec.place.file or policy.path, spec.place.line or None
        if info is None:
            yield Problem(file, "this task was not found", line, spec.id)
        elif not info.documents_planned:
            yield Problem(file, "this task has no documents", line, spec.id)
        elif left_out := sum(leaf.documents_planned == 0 for leaf in info.leaves):
            text = f"the limit leaves {left_out} of its {len(info.leaves)} subtasks without a document"
            yield Problem(file, text, line, spec.id, f"at least {len(info.leaves)}")


def _trust(policy: Policy, config: TrainingConfig | None) -> Iterator[Problem]:
    if config is not None and config.trust_remote_code and not policy.trust.remote_code:
        line = next((n for key, n in config.lines.items() if key.endswith("trust_remote_code")), None)
        hint = "set `trust: {remote_code: true}` in the policy, or leave it out here"
        yield Problem(config.path, "the policy does not allow remote code", line, "trust_remote_code", hint)


def _quantization(policy: Policy, config: TrainingConfig | None) -> Iterator[Problem]:
    if policy.evaluation.quantization != "match_training":
        return
    if config is None:
        hint = "name the config beside --tuned, or leave `quantization` out"
        message = "`match_training` needs the training config, and none was given"
        yield Problem(policy.path, message, None, "evaluation.quantization", hint)
    elif config.quantization_bits == 4:
        plain = {"bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": False}
        for key, value in plain.items():
            if (asked := config.settings.get(key, value)) != value:
                message = f"{asked} cannot be matched: only plain NF4 and int8 are measured in this version"
                hint = "leave `evaluation: {quantization: match_training}` out of the policy"
                yield Problem(config.path, message, config.lines.get(key), key, hint)


def _measured(rule: Rule, policy: Policy, infos: Mapping[str, TaskInfo]) -> tuple[TaskInfo, ...]:
    """The tasks that a rule is about, as far as they were found and have documents."""
    if rule.kind == "average":
        names = [spec.id for spec in policy.tasks if spec.kind == "general"]
    else:
        names = [f"{rule.kind}/{rule.task}"]
    return tuple(infos[name] for name in names if name in infos and infos[name].documents_planned)


def _rule_problem(policy: Policy, rule: Rule, text: tuple[str, str]) -> Problem:
    message, hint = text
    return Problem(rule.place.file or policy.path, message, rule.place.line or None, rule.id, hint)


def _doubts(rule: Rule, measured: tuple[TaskInfo, ...]) -> Iterator[tuple[str, str]]:
    """(message, hint) for each reason why these tasks cannot judge the rule."""
    if rule.kind == "average":
        odd = [f"{info.task} ({info.unit})" for info in measured if not _is_fraction(info)]
        if odd:
            yield (
                f"only accuracies can be averaged, and not {', '.join(odd)}",
                "name another metric for the task, or leave out the average",
            )
            return
    if rule.bound == "min_score" and any(not info.higher_is_better for info in measured):
        yield "`min_score` needs a metric where higher is better", "name another metric, or use `min_gain`"
    if rule.slices is not None and measured:
        yield from _sliced(rule.slices, measured[0])
    if rule.margin is None or not measured or any(info.unit != FRACTION for info in measured):
        return
    if rule.margin > 1:
        yield f"{rule.margin:g} is out of range: an accuracy is a fraction from 0 to 1", "2 points are 0.02"
    elif rule.bound != "min_score":
        yield from _too_fine(rule.margin, measured)


def _sliced(slices: Slices, info: TaskInfo) -> Iterator[tuple[str, str]]:
    sizes = info.sizes(slices.by)
    if len(slices.pooled(sizes)) < 2:
        count = f"{len(sizes):,} {'value' if len(sizes) == 1 else 'values'} of {slices.by}"
        yield (
            f"slices by {slices.by} are no two of {slices.min_documents:,} documents: "
            f"{sum(sizes.values()):,} documents in {count}",
            "name another field, or a smaller `min_documents`",
        )


def _is_fraction(info: TaskInfo) -> bool:
    return info.unit == FRACTION and info.higher_is_better


def _too_fine(margin: float, measured: tuple[TaskInfo, ...]) -> Iterator[tuple[str, str]]:
    step = min(finest_step(info) for info in measured) / len(measured)
    if 0 < margin < step * (1 - ROUNDING):
        documents = sum(info.documents_planned for info in measured)
        yield (
            f"{margin:g} is finer than one document: {documents} documents move in steps of {step:.2g}",
            f"use at least {_rounded_up(step):g}, or 0 for no loss at all, or more documents",
        )


def _rounded_up(step: float) -> float:
    """`step` to two digits, never below it."""
    digits = 1 - math.floor(math.log10(step))
    return math.ceil(round(step * 10.0**digits, 6)) / 10.0**digits


def _warnings(tasks: tuple[TaskInfo, ...]) -> Iterator[str]:
    for info in tasks:
        if info.documents_planned < info.documents_total:
            yield (
                f"{info.task}: {info.documents_planned} of {info.documents_total} documents (limit), "
                "a random sample; the verdict is about these alone"
            )
