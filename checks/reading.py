"""How much text a task has a model read, from a few of its documents: for estimates of time alone."""

from __future__ import annotations

from dataclasses import dataclass

from lm_eval.api.task import Task

from checks.benchmark_documents import one_document
from checks.benchmark_leaves import OpenBenchmark
from checks.benchmark_ways import fresh_random_state, lm_eval_ways
from checks.benchmarks import PROBED, task_documents
from checks.bits_per_byte import OpenCorpus
from checks.protocol import OpenTask


@dataclass(frozen=True, slots=True)
class Reading:
    """`characters` of all requests of a document, on average; None where it cannot be told cheaply.

    `generates` says that the answers are written, which takes longer than reading.
    """

    characters: float | None = None
    generates: bool = False


def reading(task: OpenTask) -> Reading:
    """What one model reads for a document of a task that was found."""
    if isinstance(task, OpenCorpus):
        return Reading(sum(map(len, task.texts)) / len(task.texts))
    if not isinstance(task, OpenBenchmark) or task.loaded.unsafe:
        return Reading()  # trying an unsafe task's documents may run its code
    with lm_eval_ways(fresh_random_state()):
        leaves = [_leaf(leaf) for leaf in task.loaded.leaves.values()]
    planned = [leaf.documents_planned for leaf in task.info.leaves]
    characters = sum(n * leaf[0] for n, leaf in zip(planned, leaves, strict=True)) / max(1, sum(planned))
    return Reading(characters, any(leaf[1] for leaf in leaves))


def _leaf(task: Task) -> tuple[float, bool]:
    """(characters a document, whether it generates), from those documents that were tried already.

    An example is taken to be as long as the question that it precedes.
    """
    documents, shots = task_documents(task), task.get_config("num_fewshot") or 0
    tried = range(min(PROBED, len(documents)))
    requests = [one for at in tried for one in one_document(task, documents[at], at)]
    texts = [[part for part in request.args if isinstance(part, str)] for request in requests]
    read = sum(len(parts[0]) * (1 + shots) + sum(map(len, parts[1:])) for parts in texts if parts)
    return read / len(tried), any(request.request_type == "generate_until" for request in requests)
