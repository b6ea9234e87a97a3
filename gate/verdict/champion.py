"""The champion: a second reference, measured on the same documents as the tuned model. Pure.

Both were measured against a base model. Here their tuned sides are put beside each other, document by
document: the pairs have the champion where else the base stands, and are judged by the same estimators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gate.errors import ConfigErrors, MeasurementError, Problem
from gate.records import Measurement, Measurements, Policy, TaskInfo

MODEL_INSTEAD = "name the champion as a model, which is then measured here: `champion: {model: DIGEST}`"


def champion_tasks(policy: Policy) -> tuple[str, ...]:
    """The ids of the tasks that rules against the champion are about."""
    held = [rule for rule in policy.rules if rule.reference == "champion"]
    wanted = {f"{rule.kind}/{rule.task}" for rule in held}
    if any(rule.kind == "average" for rule in held):
        wanted |= {spec.id for spec in policy.tasks if spec.kind == "general"}
    return tuple(spec.id for spec in policy.tasks if spec.id in wanted)


def pair_with_champion(ours: Measurements, theirs: Measurements, policy: Policy) -> Measurements:
    """The champion's answers beside the tuned model's, for the tasks that champion rules are about.

    `theirs` is what was measured of the champion; its tuned side counts. Raises ConfigErrors with all that
    differs where the two were not measured on the same documents in the same way.
    """
    wanted = champion_tasks(policy)
    problems = [*_differences(ours, theirs, policy)]
    if problems:
        raise ConfigErrors(problems)
    known = {(each.task, each.leaf, each.metric, each.filter): each for each in theirs.measurements}
    found = [
        _pair(each, known[each.task, each.leaf, each.metric, each.filter])
        for each in ours.measurements
        if each.task in wanted
    ]
    infos = tuple(info for info in ours.tasks if info.task in wanted)
    return Measurements(theirs.tuned, ours.tuned, infos, tuple(found))


def task_differences(ours: TaskInfo, theirs: TaskInfo | None) -> Iterator[str]:
    """What makes two looks at a task incomparable, in words; nothing where they are the same."""
    if theirs is None:
        yield "it was not measured of the champion"
        return
    for what, mine, other in (
        ("metric", f"{ours.metric},{ours.filter}", f"{theirs.metric},{theirs.filter}"),
        ("number of few-shot examples", ours.num_fewshot, theirs.num_fewshot),
        ("documents", _sizes(ours), _sizes(theirs)),
    ):
        if mine != other:
            yield f"its {what}: {other} for the champion, {mine} here"


def _sizes(info: TaskInfo) -> str:
    leaves = sorted((leaf.name, leaf.documents_planned, leaf.documents_total) for leaf in info.leaves)
    planned, total = info.documents_planned, info.documents_total
    said = f"{planned:,} of {total:,}" if planned < total else f"{total:,}"
    return said if len(leaves) == 1 else f"{said} in {', '.join(str(leaf) for leaf in leaves)}"


def _differences(ours: Measurements, theirs: Measurements, policy: Policy) -> Iterator[Problem]:
    infos = {info.task: info for info in ours.tasks}
    others = {info.task: info for info in theirs.tasks}
    for task in champion_tasks(policy):
        if task not in infos:
            raise MeasurementError(f"{task} was planned, and not measured")
        said = [*task_differences(infos[task], others.get(task))]
        if not said:
            said = [*_measured_otherwise(task, infos[task], others[task], ours, theirs)]
        place = next((spec.place for spec in policy.tasks if spec.id == task), None)
        line = place.line if place else None
        for text in said:
            message = f"cannot be compared with the champion {theirs.tuned.name}: {text}"
            yield Problem(policy.path, message, line or None, task, MODEL_INSTEAD)


def _measured_otherwise(
    task: str, info: TaskInfo, other: TaskInfo, ours: Measurements, theirs: Measurements
) -> Iterator[str]:
    """What only the measurements themselves tell: prompts, and the documents one by one."""
    if info.digest != other.digest:
        templates = f"chat template {other.chat_template} for the champion, {info.chat_template} here"
        yield f"its prompts or its code ({templates})"
    known = {_name(each): each for each in theirs.measurements if each.task == task}
    for each in ours.measurements:
        if each.task != task:
            continue
        there = known.get(_name(each))
        if there is None:
            yield f"{each.leaf} with {each.metric} was not measured of the champion"
        elif len(there.numbers) != len(each.numbers):
            n, m = len(there.numbers), len(each.numbers)
            early = ", settled early: `ftgate audit` scores the rest" if there.rounds else ""
            yield f"the champion's run scored {n:,} documents of {each.leaf}, this one {m:,}{early}"
        elif _documents(there) != _documents(each):
            yield f"other documents of {each.leaf} were drawn, or they say something else"


def _name(each: Measurement) -> tuple[str, str, str]:
    return each.leaf, each.metric, each.filter


def _documents(each: Measurement) -> Mapping[int, str]:
    return dict(zip(each.numbers, each.hashes, strict=True))


def _pair(ours: Measurement, theirs: Measurement) -> Measurement:
    """One leaf with the champion where the base stands."""
    at = {number: index for index, number in enumerate(theirs.numbers)}
    order = [at[number] for number in ours.numbers]
    paired = replace(ours, rounds=None, base=tuple(theirs.tuned[index] for index in order if theirs.tuned))
    if ours.aggregation != "corpus":
        return paired
    if ours.corpus is None or theirs.corpus is None:
        raise MeasurementError(f"{ours.task}, {ours.leaf}: a corpus metric without its number")
    # Replicates are paired where both resampled the same documents: then the base's are the same numbers.
    if [one for one, _ in ours.replicates] != [one for one, _ in theirs.replicates]:
        raise MeasurementError(
            f"{ours.task}, {ours.leaf}: {ours.metric} of the champion was resampled over other documents",
            hint=MODEL_INSTEAD,
        )
    drawn = zip(theirs.replicates, ours.replicates, strict=True)
    return replace(
        paired,
        corpus=(theirs.corpus[1], ours.corpus[1]),
        replicates=tuple((one[1], other[1]) for one, other in drawn),
    )
