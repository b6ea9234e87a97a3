"""From a model's answers to a document's metric values, with lm-eval's own filters and metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import bleu, chrf, chrfpp, exact_match_fn, mean, ter
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.filters.custom import CustomFilter

from checks.protocol import DocumentValues
from gate.errors import MeasurementError
from gate.records import Response

Raw = Any  # what lm-eval's models return: (log-probability, greedy), a log-probability, or text
CHOSEN = frozenset(("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"))  # by options
SLOW = (bleu, chrf, chrfpp, ter)


def raw_response(kind: str, response: Response) -> Raw:
    """A response in the form that lm-eval's model class returns; raises MeasurementError when incomplete."""
    if kind == "loglikelihood" and response.logprob is not None and response.greedy is not None:
        return (response.logprob, response.greedy)
    if kind == "loglikelihood_rolling" and response.logprob is not None:
        return response.logprob
    if kind == "generate_until" and response.text is not None:
        return response.text
    raise MeasurementError(f"an answer to a {kind} request is incomplete: {response}")


def answered(instances: Sequence[Instance], raw: Sequence[Raw]) -> list[Instance]:
    """Copies of one document's instances with their answers, `repeats` of them each, in order."""
    expected = sum(instance.repeats or 1 for instance in instances)
    if len(raw) != expected:
        raise MeasurementError(f"{len(raw)} answers to {expected} requests of one document")
    answers = iter(raw)
    return [
        Instance(
            request_type=instance.request_type,
            doc=instance.doc,
            arguments=instance.arguments,
            idx=instance.idx,
            metadata=instance.metadata,
            resps=[next(answers) for _ in range(instance.repeats or 1)],
        )
        for instance in instances
    ]


def metrics_of(task: Task, instances: list[Instance]) -> dict[tuple[str, str], Any]:
    """lm-eval's value for each (metric, filter) of one document, as `evaluate` computes it."""
    for ensemble in task._filters:
        ensemble.apply(instances)
    ordered = sorted(instances, key=lambda instance: instance.idx)
    found: dict[tuple[str, str], Any] = {}
    for name in ordered[0].filtered_resps:
        result = task.process_results(ordered[0].doc, [instance.filtered_resps[name] for instance in ordered])
        found.update({(metric, name): value for metric, value in result.items()})
    return found


def is_mean(task: Task, metric: str) -> bool:
    """Whether the task's value is the mean over documents; lm-eval takes that where a task says nothing."""
    return task.aggregation().get(metric, mean) in (mean, np.mean)


def right_or_wrong(task: Task, metric: str) -> bool:
    """Whether lm-eval's own code gives every document a 1 or a 0 in `metric`, whatever a model answers. Names
    do not tell: `acc` of truthfulqa_mc2 is a probability, an exact match over several answers a mean."""
    own = (
        type(task).process_results is ConfigurableTask.process_results and task.config.process_results is None
    )
    if not own or not is_mean(task, metric):
        return False
    if task.OUTPUT_TYPE == "generate_until":
        scorer = getattr(task, "_metric_fn_list", {}).get(metric)
        return metric == "exact_match" and scorer is exact_match_fn and (task.config.repeats or 1) == 1
    return task.OUTPUT_TYPE in ("multiple_choice", "loglikelihood") and metric in CHOSEN


def document_values(task: Task, instances: list[Instance]) -> DocumentValues:
    """Split a document's metrics into numbers and the items that lm-eval aggregates over the corpus."""
    values: dict[str, float] = {}
    items: dict[str, str] = {}
    for (metric, name), value in metrics_of(task, instances).items():
        if not is_mean(task, metric):
            items[f"{metric},{name}"] = item_text(value)
        elif isinstance(value, Real | np.number | np.bool_):
            values[f"{metric},{name}"] = float(value)
        else:
            raise MeasurementError(
                f"metric {metric!r} gave {type(value).__name__} where a number is expected"
            )
    return DocumentValues(values, items)


def item_text(value: object) -> str:
    """A corpus-level item as JSON; arrays and tuples become lists, floats keep every bit."""
    try:
        return json.dumps(value, default=_plain, ensure_ascii=False)
    except TypeError as error:
        raise MeasurementError(
            f"a corpus-level metric keeps a {type(value).__name__} that cannot be stored"
        ) from error


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def aggregate(task: Task, metric: str, items: Sequence[str]) -> float:
    """A corpus-level metric over items, by lm-eval's own aggregation."""
    decoded = [json.loads(item) for item in items]
    value = task.aggregation()[metric]([tuple(item) if isinstance(item, list) else item for item in decoded])
    if not isinstance(value, Real | np.number):
        raise MeasurementError(f"the aggregation of {metric!r} gave {type(value).__name__}, not a number")
    return float(value)


def affordable_replicates(task: Task, metric: str) -> int:
    """Bootstrap replicates: lm-eval allows 100 for metrics over texts; 200 where the cost is unknown."""
    function = task.aggregation().get(metric, mean)
    if function in SLOW:
        return 100
    return 1000 if getattr(function, "__module__", "") == "lm_eval.api.metrics" else 200


def probe(task: Task, groups: Sequence[list[Instance]]) -> list[tuple[str, str]]:
    """The (metric, filter) pairs that the task gives, tried on made-up answers to some documents.

    Raises ValueError when a filter of the task's own gives a document other values alone than among
    others: block by block it could not be applied as lm-eval does.
    """
    raws = [_made_up(instances, salt) for salt, instances in enumerate(groups)]
    _check_filters(task, groups, raws)
    return list(metrics_of(task, answered(groups[0], raws[0])))


def declared(task: Task) -> list[tuple[str, str]]:
    """The (metric, filter) pairs that the task's config names; HumanEval's function gives one for each k."""
    metrics: list[str] = []
    for metric in task.aggregation():
        ks = getattr(task, "_metric_fn_kwargs", {}).get(metric, {}).get("k")
        metrics += [f"pass@{k}" for k in ks] if metric == "pass_at_k" and isinstance(ks, list) else [metric]
    return [(metric, ensemble.name) for metric in metrics for ensemble in task._filters]


def _made_up(instances: Iterable[Instance], salt: int) -> list[Raw]:
    texts = ("The answer is (A).\n#### 42", "", "B) 7, 8 and 9", "#### 1,000")
    made: list[Raw] = []
    for instance in instances:
        for _ in range(instance.repeats or 1):
            at = len(made) + salt
            made.append(
                {
                    "loglikelihood": (-1.0 - math.sin(at), at % 2 == 0),
                    "loglikelihood_rolling": -10.0 - at,
                    "generate_until": texts[at % len(texts)],
                }[instance.request_type]
            )
    return made


def _check_filters(task: Task, groups: Sequence[list[Instance]], raws: Sequence[list[Raw]]) -> None:
    """lm-eval's own filters look at one answer list at a time (read in 0.4.13); the task's own are tried."""
    for ensemble in task._filters:
        if not any(_is_foreign(part.func) for part in ensemble.filters):
            continue
        alone = [answered(group, raw) for group, raw in zip(groups, raws, strict=True)]
        for group in alone:
            ensemble.apply(group)
        together = [i for group, raw in zip(groups, raws, strict=True) for i in answered(group, raw)]
        ensemble.apply(together)
        results = [i.filtered_resps.get(ensemble.name) for group in alone for i in group]
        if results != [i.filtered_resps.get(ensemble.name) for i in together]:
            raise ValueError(f"its filter {ensemble.name!r} looks at several documents at once")


def _is_foreign(filter_class: type) -> bool:
    return filter_class is CustomFilter or not filter_class.__module__.startswith("lm_eval.filters.")


def answer_text(
    metric: str, kind: str, choices: Sequence[str], target: str, responses: Sequence[Response]
) -> str:
    """What a model chose or wrote: the option that the metric picks, generated text, or a greedy mismatch."""
    if kind == "generate_until":
        return responses[0].text or ""
    if not choices:
        if kind == "loglikelihood" and responses[0].greedy:
            return target
        return f"not its likeliest continuation (log-probability {responses[0].logprob:.2f})"
    scores = np.array([response.logprob for response in responses], dtype=float)
    if metric == "acc_mutual_info" and len(scores) == 2 * len(choices):
        scores = scores[: len(choices)] - scores[len(choices) :]
    scores = scores[: len(choices)] / np.array(_lengths(metric, choices))
    return choices[int(np.argmax(scores))]


def _lengths(metric: str, choices: Sequence[str]) -> list[float]:
    """What lm-eval divides an option's log-probability by: 1, its characters, or its bytes."""
    measure: Mapping[str, Any] = {"acc_norm": len, "acc_bytes": lambda text: len(text.encode("utf-8"))}
    return [float(measure[metric](choice)) if metric in measure else 1.0 for choice in choices]
