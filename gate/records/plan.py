"""What will run: tasks with their documents and requests, blocks, answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gate.records.policy import Policy
from gate.records.training import ModelRef, TrainingConfig


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model, text only. Kinds and their fields are lm-eval's.

    loglikelihood: `context`, `continuation`; loglikelihood_rolling: `context` alone;
    generate_until: `context` and `generation` (JSON of lm-eval's generation arguments).
    """

    kind: Literal["loglikelihood", "loglikelihood_rolling", "generate_until"]
    context: str
    continuation: str = ""
    generation: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A model's answer: `logprob` in nats (and `greedy`), or generated `text`."""

    logprob: float | None = None
    greedy: bool | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a task: its number there, its hash, and the requests it asks."""

    number: int
    hash: str
    requests: tuple[Request, ...]
    prompt: str = ""  # for the report
    target: str = ""
    choices: tuple[str, ...] = ()
    cluster: str | None = None  # its value of the policy's `cluster_by`
    part: str | None = None  # its value of the field that slices are by, or its length in characters


@dataclass(frozen=True, slots=True)
class Block:
    """The unit of scoring and storing: some documents of one task, put together at random."""

    task: str  # TaskSpec.id
    leaf: str
    index: int
    documents: tuple[int, ...]  # positions in the leaf's documents


@dataclass(frozen=True, slots=True)
class BlockResult:
    """One model's answers to one block: per document its responses and its metric values.

    `values` maps "metric,filter" to a number per document (in the block's order); `items` does so
    for corpus-level metrics, each item a JSON text as lm-eval aggregates it.
    """

    numbers: tuple[int, ...]
    hashes: tuple[str, ...]
    responses: tuple[tuple[Response, ...], ...]
    values: Mapping[str, tuple[float, ...]]
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Leaf:
    """One lm-eval task without subtasks: what it has and what of it is scored."""

    name: str
    documents_total: int
    documents_planned: int
    weight: float = 1.0  # share of this leaf in its group's value; they add up to 1
    # By the policy's `cluster_by`: (documents, how many clusters of so many), of what is planned; under a
    # limit as one random draw has them. Empty where it names none.
    clusters: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A `TaskSpec` after its metric was resolved and its documents were counted."""

    task: str  # TaskSpec.id
    check: str
    metric: str
    filter: str
    unit: str
    higher_is_better: bool
    leaves: tuple[Leaf, ...]
    num_fewshot: int | None = None
    chat_template: str = "none"  # what was applied: none, base, tuned
    metric_reason: str = ""  # named by the rule, shipped table, the only one
    digest: str = ""  # of the task's config, code and requests
    # (path from the policy's folder, digest) of the team's own files and folders that it was read from
    sources: tuple[tuple[str, str], ...] = ()
    cluster_by: str = ""  # the field that says which documents belong together; "" for none
    slice_by: str = ""  # what `Document.part` is; "" where no rule asks for one
    parts: tuple[tuple[str, int], ...] = ()  # documents of each value of the field that slices are by
    right_or_wrong: bool = False  # lm-eval's own code gives every document a 1 or a 0 in `metric`

    def sizes(self, by: str) -> dict[str, int]:
        """The documents that will be scored of each part; of a field under a `limit` about so many."""
        if by == "subtask":
            return {leaf.name: leaf.documents_planned for leaf in self.leaves}
        if by == "length":
            return {f"quarter {k + 1}": (self.documents_planned + k) // 4 for k in range(4)}
        share = self.documents_planned / self.documents_total
        return {name: max(1, round(share * count)) for name, count in self.parts}

    @property
    def documents_total(self) -> int:
        return sum(leaf.documents_total for leaf in self.leaves)

    @property
    def documents_planned(self) -> int:
        return sum(leaf.documents_planned for leaf in self.leaves)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run: the policy resolved against tasks, base and training config."""

    policy: Policy
    base: ModelRef
    tasks: tuple[TaskInfo, ...]
    config: TrainingConfig | None = None
    tuned: ModelRef | None = None  # `--tuned`
    warnings: tuple[str, ...] = ()
    champion: ModelRef | None = None  # what the champion rules compare with; of a run, its tuned model
