"""lm-eval tasks: tasks -> documents and requests; answers -> the values that `simple_evaluate` computes.

Only this module and its own parts (`benchmark_*`) know lm-eval's result keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lm_eval.api.task import Task

from checks.benchmark_documents import count_clusters, one_document
from checks.benchmark_leaves import OpenBenchmark
from checks.benchmark_sources import task_sources
from checks.benchmark_tasks import GateFactory, Loaded, TaskNames, UnsafeTask, load
from checks.benchmark_values import declared, is_mean, probe, right_or_wrong
from checks.benchmark_ways import fresh_random_state, lm_eval_ways
from checks.metrics import Choice, NoChoice, choose, unit_of
from checks.parts import BUILT_IN, count_parts
from checks.problems import BadTask, loading_problem, problem_of, unknown_task
from checks.protocol import OpenTask
from gate.errors import ConfigErrors, Problem
from gate.plan import allocate_limit
from gate.records import Leaf, Policy, TaskInfo, TaskSpec

NAME = "benchmarks"
PROBED = 4  # documents on which a task's metrics and filters are tried before anything is trained


def measures(spec: TaskSpec) -> bool:
    """Whether the policy asks for an lm-eval task or group."""
    return spec.kind in ("target", "general")


def open_tasks(
    specs: Sequence[TaskSpec], policy: Policy, *, index_folder: Path | None
) -> tuple[OpenTask, ...]:
    """Find each task, its data and its metric; raises ConfigErrors with the problems of all of them."""
    names, problems = TaskNames(index_folder), []
    for folder in map(Path, policy.include):
        if folder.is_dir():
            names.add_folder(folder)
        else:
            problems.append(Problem(policy.path, f"there is no folder {folder}", key="include"))
    opened: list[OpenTask] = []
    for spec in specs:
        try:
            opened.append(_open(spec, policy, names))
        except BadTask as bad:
            problems.append(problem_of(spec, policy, bad))
    if problems:
        raise ConfigErrors(problems)
    return tuple(opened)


def _open(spec: TaskSpec, policy: Policy, names: TaskNames) -> OpenBenchmark:
    with lm_eval_ways(fresh_random_state()) as state:
        loaded = find(spec, policy, names)
    for task in loaded.leaves.values():
        _set_examples(task, spec)
    choice = _choose(spec, loaded)
    return OpenBenchmark(
        _info(spec, policy, loaded, choice), spec, policy, loaded, choice, state[0], names.index_folder
    )


def find(spec: TaskSpec, policy: Policy, names: TaskNames) -> Loaded:
    """lm-eval's task objects for what the policy names; raises BadTask."""
    path = Path(spec.path) if spec.path else None
    if path is not None and not path.is_file():
        raise BadTask(f"there is no task file {path}")
    if path is None and spec.task not in names:
        raise unknown_task(spec.task, names)
    factory = GateFactory(generated_code=policy.trust.generated_code, folders=[Path(policy.path).parent])
    try:
        return load(spec.task, path, names, factory)
    except UnsafeTask as error:
        raise BadTask(
            f"task {error} runs code that the model wrote",
            hint="allow it with `trust: {generated_code: true}`",
        ) from error
    except Exception as error:  # whatever a task's YAML, Python or data can raise is renamed here, once
        raise loading_problem(spec.task, error) from error


def _set_examples(task: Task, spec: TaskSpec) -> None:
    """`num_fewshot` as `simple_evaluate` sets it, but where lm-eval would ignore it, say so."""
    own = task.get_config("num_fewshot")
    if spec.num_fewshot is not None and own == 0 != spec.num_fewshot:
        raise BadTask(
            f"{task.task_name} is a task without examples, which lm-eval keeps so", hint="drop num_fewshot"
        )
    task.set_config(key="num_fewshot", value=own or 0 if spec.num_fewshot is None else spec.num_fewshot)
    shots, sampler = task.get_config("num_fewshot"), getattr(task, "sampler", None)
    if shots and sampler is not None and shots > len(sampler.df):
        raise BadTask(f"{task.task_name} has {len(sampler.df)} examples, fewer than num_fewshot {shots}")


def _choose(spec: TaskSpec, loaded: Loaded) -> Choice:
    """The metric and filter that every leaf has."""
    offered = [_offers(task, loaded.unsafe) for task in loaded.leaves.values()]
    common = [pair for pair in offered[0] if all(pair in other for other in offered)]
    if not common:
        raise BadTask(f"the tasks of {spec.task} have no metric in common")
    aggregated = (
        [config.metric for config in (loaded.group.aggregate_metric_list or [])] if loaded.group else []
    )
    preferred = aggregated[0] if len(set(aggregated)) == 1 else None
    try:
        return choose((spec.task, *loaded.leaves), common, spec.metric, spec.filter, preferred=preferred)
    except NoChoice as error:
        raise BadTask(f"{spec.task}: {error}") from error


def _offers(task: Task, unsafe: bool) -> list[tuple[str, str]]:
    """(metric, filter) pairs of a task: tried on a few documents, unless that would run foreign code."""
    if getattr(task, "MULTIMODAL", False):
        raise BadTask(f"{task.task_name} needs pictures or sound; ftgate measures text")
    if _samples(task):
        raise BadTask(
            f"{task.task_name} samples its answers, so no two runs agree", hint="set do_sample: false"
        )
    documents = task_documents(task)
    if unsafe or not len(documents):
        return declared(task)
    with lm_eval_ways(fresh_random_state()):
        try:
            tried = [one_document(task, documents[at], at) for at in range(min(PROBED, len(documents)))]
            return probe(task, tried)
        except Exception as error:
            raise BadTask(f"{task.task_name} cannot be evaluated: {type(error).__name__}: {error}") from error


def _samples(task: Task) -> bool:
    generation = task.get_config("generation_kwargs") or {}
    return bool(generation.get("do_sample")) and generation.get("temperature", 1.0) > 0


def task_documents(task: Task) -> Sequence[object]:
    """The documents as the task held them when it was made: asking again may draw random numbers."""
    documents = getattr(task, "task_docs", None)
    found: Sequence[object] = documents if documents is not None else list(task.eval_docs)
    return found


def _info(spec: TaskSpec, policy: Policy, loaded: Loaded, choice: Choice) -> TaskInfo:
    sizes = [len(task_documents(task)) for task in loaded.leaves.values()]
    if not all(sizes):
        raise BadTask(f"{spec.task} has no documents")
    if spec.cluster_by is not None:
        _require_field(spec.task, spec.cluster_by, loaded)
    parts = _parts(spec, loaded, choice)
    directions = {bool(task.higher_is_better().get(choice.metric, True)) for task in loaded.leaves.values()}
    if len(directions) != 1:
        raise BadTask(f"the tasks of {spec.task} disagree whether a higher {choice.metric} is better")
    shots = {task.get_config("num_fewshot") for task in loaded.leaves.values()}
    planned = allocate_limit(spec.limit, sizes)
    weights = _weights(loaded, choice, sizes)
    return TaskInfo(
        task=spec.id,
        check=NAME,
        metric=choice.metric,
        filter=choice.filter,
        unit=unit_of(choice.metric),
        higher_is_better=directions.pop(),
        leaves=tuple(map(Leaf, loaded.leaves, sizes, planned, weights, _clusters(spec, loaded, planned))),
        num_fewshot=shots.pop() if len(shots) == 1 else None,
        chat_template=spec.chat_template if spec.chat_template != "auto" else policy.evaluation.chat_template,
        metric_reason=choice.reason,
        sources=task_sources(loaded.yamls, loaded.leaves.values(), policy),
        cluster_by=spec.cluster_by or "",
        slice_by=spec.slice_by or "",
        parts=parts,
        right_or_wrong=all(right_or_wrong(task, choice.metric) for task in loaded.leaves.values()),
    )


def _clusters(spec: TaskSpec, loaded: Loaded, planned: Sequence[int]) -> list[tuple[tuple[int, int], ...]]:
    """Of each leaf how many clusters there are of how many documents."""
    leaves = loaded.leaves.values()
    if spec.cluster_by is None:
        return [()] * len(planned)
    return [
        count_clusters(task, task_documents(task), spec.cluster_by, count)
        for task, count in zip(leaves, planned, strict=True)
    ]


def _require_field(name: str, field: str, loaded: Loaded, key: str = "cluster_by") -> None:
    """Raise BadTask where the first document of a task does not have the field that `key` names."""
    for task in loaded.leaves.values():
        first = task_documents(task)[0]
        fields = list(map(str, first)) if isinstance(first, Mapping) else []
        if field not in fields:
            raise BadTask(
                f"the documents of {name} have no field {field!r}, which `{key}` names",
                hint=f"their fields are {', '.join(fields) or 'none'}",
            )


def _parts(spec: TaskSpec, loaded: Loaded, choice: Choice) -> tuple[tuple[str, int], ...]:
    """How many documents each value has of the field that slices are by; raises BadTask where there can be no
    slices of this task."""
    if spec.slice_by is None:
        return ()
    if not all(is_mean(task, choice.metric) for task in loaded.leaves.values()):
        raise BadTask(
            f"{choice.metric} of {spec.task} is one number over all documents, and has no slices",
            hint="name a metric that is a mean over documents, or leave `slices` out",
        )
    if spec.slice_by in BUILT_IN:
        return ()
    _require_field(spec.task, spec.slice_by, loaded, "slices: {by}")
    return count_parts(loaded.leaves, task_documents, spec.slice_by)


def _weights(loaded: Loaded, choice: Choice, sizes: Sequence[int]) -> list[float]:
    """A leaf's share as lm-eval's group aggregates it: by its documents, or every task the same.

    Tags, and groups that aggregate nothing, have no value in lm-eval: their tasks count the same.
    """
    configs = (loaded.group.aggregate_metric_list or []) if loaded.group else []
    by_size = any(config.metric == choice.metric and config.weight_by_size for config in configs)
    raw = [
        share * (size if by_size else 1) for share, size in zip(loaded.shares.values(), sizes, strict=True)
    ]
    return [value / sum(raw) for value in raw]
