"""Opened and built lm-eval tasks: what the block loop works with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task

from checks.benchmark_documents import (
    FEWSHOT_SEED,
    build_instances,
    make_document,
    task_digest,
)
from checks.benchmark_tasks import Loaded
from checks.benchmark_values import (
    affordable_replicates,
    aggregate,
    answer_text,
    answered,
    document_values,
    is_mean,
    raw_response,
)
from checks.benchmark_ways import RandomState, lm_eval_ways, templates_compiled_once
from checks.generated_code import CodeJudge
from checks.metrics import Choice
from checks.protocol import DocumentValues, PreparedTask
from gate.errors import DataError, GateError, MeasurementError
from gate.records import Document, Leaf, Policy, Response, TaskInfo, TaskSpec
from gate.scoring import ChatTemplate


@dataclass(frozen=True)
class OpenBenchmark:
    """A task or group that was found, loaded and counted."""

    info: TaskInfo
    spec: TaskSpec
    policy: Policy
    loaded: Loaded
    choice: Choice
    state: RandomState  # of the generators when lm-eval had loaded the task
    index_folder: Path | None
    fewshot_seed: int = FEWSHOT_SEED

    def with_examples(self, seed: int) -> OpenBenchmark | None:
        """The same task with its few-shot examples drawn by another seed; None where it has none."""
        shots = [task.get_config("num_fewshot") for task in self.loaded.leaves.values()]
        return replace(self, fewshot_seed=seed) if any(shots) else None

    def build(self, chat: ChatTemplate | None) -> PreparedTask:
        """Every prompt and request that `simple_evaluate` makes; raises DataError."""
        leaves = []
        with lm_eval_ways(self.state):
            for leaf, task in zip(self.info.leaves, self.loaded.leaves.values(), strict=True):
                leaves.append(self._build_leaf(leaf, task, chat))
        parts = json.dumps([self.choice.key, [[leaf.name, leaf.digest] for leaf in leaves]])
        info = replace(
            self.info,
            chat_template=chat.name if chat else "none",
            digest=hashlib.sha256(parts.encode()).hexdigest(),
        )
        return PreparedTask(info, tuple(leaves))

    def _build_leaf(self, leaf: Leaf, task: Task, chat: ChatTemplate | None) -> BenchmarkLeaf:
        try:
            instances = build_instances(
                task, self.spec.system_instruction, chat, leaf.documents_total, self.fewshot_seed
            )
            documents = tuple(
                make_document(task, number, group, self.spec.cluster_by, self.spec.slice_by)
                for number, group in enumerate(instances)
            )
        except GateError:
            raise
        except Exception as error:
            raise DataError(
                f"{leaf.name}: its prompts cannot be built: {type(error).__name__}: {error}"
            ) from error
        digest = task_digest(task, documents, version("lm_eval"))
        judge = (
            CodeJudge(self.spec, self.policy, self.index_folder, leaf.name, self.choice)
            if self.loaded.unsafe
            else None
        )
        return BenchmarkLeaf(leaf.name, digest, documents, task, tuple(instances), self.choice, judge)


@dataclass(frozen=True)
class BenchmarkLeaf:
    """One lm-eval task with its documents and requests; `judge` evaluates where that runs foreign code."""

    name: str
    digest: str
    documents: tuple[Document, ...]
    task: Task
    instances: tuple[list[Instance], ...]
    choice: Choice
    judge: CodeJudge | None = None
    weights: tuple[float, ...] | None = None

    @cached_property
    def aggregation(self) -> Literal["mean", "corpus"]:
        return "mean" if is_mean(self.task, self.choice.metric) else "corpus"

    @property
    def replicates(self) -> int:
        return affordable_replicates(self.task, self.choice.metric)

    def evaluate(self, position: int, responses: Sequence[Response]) -> DocumentValues:
        """lm-eval's filters and metrics on one document's answers; raises MeasurementError."""
        document = self.documents[position]
        kinds = [request.kind for request in document.requests]
        if len(kinds) != len(responses):
            raise MeasurementError(
                f"{self.name} document {document.number}: {len(responses)} of {len(kinds)} answers"
            )
        raw = [raw_response(kind, response) for kind, response in zip(kinds, responses, strict=True)]
        if self.judge is not None:
            return self.judge.evaluate(document, raw)
        try:
            with templates_compiled_once():
                return document_values(self.task, answered(self.instances[position], raw))
        except GateError:
            raise
        except Exception as error:
            raise self._failed(f"document {document.number}", error) from error

    def aggregate(self, items: Sequence[str]) -> float:
        """A corpus-level metric as lm-eval computes it over these documents."""
        try:
            return aggregate(self.task, self.choice.metric, items)
        except GateError:
            raise
        except Exception as error:
            raise self._failed(self.choice.metric, error) from error

    def answer(self, position: int, responses: Sequence[Response]) -> str:
        """The chosen option, the generated text, or that the greedy answer was another."""
        document = self.documents[position]
        kind = document.requests[0].kind
        return answer_text(self.choice.metric, kind, document.choices, document.target, responses)

    def _failed(self, what: str, error: Exception) -> MeasurementError:
        return MeasurementError(f"{self.name}: {what} cannot be evaluated: {type(error).__name__}: {error}")
