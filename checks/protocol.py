"""What a check is, and what it hands to the block loop. A check measures and never sees a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from gate.errors import MeasurementError
from gate.records import BlockResult, Document, Policy, Response, TaskInfo, TaskSpec
from gate.scoring import ChatTemplate


@dataclass(frozen=True, slots=True)
class DocumentValues:
    """One document's metrics, by "metric,filter": numbers, and JSON items of corpus-level metrics."""

    values: Mapping[str, float]
    items: Mapping[str, str] = field(default_factory=dict)


class PreparedLeaf(Protocol):
    """One lm-eval task without subtasks (or one corpus), with all its documents and requests."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str:
        """Of everything in the task that can change a document's values."""

    @property
    def documents(self) -> tuple[Document, ...]: ...

    @property
    def aggregation(self) -> Literal["mean", "ratio", "corpus"]: ...

    @property
    def weights(self) -> tuple[float, ...] | None:
        """Per document, for `ratio`: UTF-8 bytes."""

    @property
    def replicates(self) -> int:
        """Paired bootstrap replicates that a corpus-level metric can afford."""

    def evaluate(self, position: int, responses: Sequence[Response]) -> DocumentValues:
        """The metric values of the document at `position`; raises MeasurementError."""

    def aggregate(self, items: Sequence[str]) -> float:
        """A corpus-level metric over JSON items, as lm-eval computes it."""

    def answer(self, position: int, responses: Sequence[Response]) -> str:
        """What the model chose or wrote, for a person."""


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A task with its requests built once, for base and tuned model alike."""

    info: TaskInfo
    leaves: tuple[PreparedLeaf, ...]


class OpenTask(Protocol):
    """A task that was found, with its data there and its metric resolved; nothing is built yet."""

    @property
    def info(self) -> TaskInfo: ...

    def build(self, chat: ChatTemplate | None) -> PreparedTask:
        """All documents and requests; raises DataError."""

    def with_examples(self, seed: int) -> OpenTask | None:
        """The same task with its few-shot examples drawn by another seed; None where it has none."""


class Check(Protocol):
    """An instrument: a module of `checks` that stands in the table `CHECKS`."""

    NAME: str

    def measures(self, spec: TaskSpec) -> bool:
        """Whether this instrument is the one for what the policy asks."""

    def open_tasks(
        self, specs: Sequence[TaskSpec], policy: Policy, *, index_folder: Path | None
    ) -> tuple[OpenTask, ...]:
        """In the order of `specs`; raises ConfigErrors with every problem at once."""


def block_result(
    leaf: PreparedLeaf, positions: Sequence[int], responses: Sequence[Sequence[Response]], seconds: float
) -> BlockResult:
    """One model's answers to a block, evaluated: `responses[i]` are of document `positions[i]`.

    A metric that some document of the block lacks is left out, so that each one kept has a number
    per document; pairing refuses when it is the rule's own.
    """
    if len(positions) != len(responses):
        raise MeasurementError(f"{leaf.name}: {len(responses)} answers for {len(positions)} documents")
    documents = [leaf.documents[position] for position in positions]
    found = [leaf.evaluate(at, answers) for at, answers in zip(positions, responses, strict=True)]
    return BlockResult(
        numbers=tuple(document.number for document in documents),
        hashes=tuple(document.hash for document in documents),
        responses=tuple(tuple(answers) for answers in responses),
        values={
            key: tuple(one.values[key] for one in found) for key in _shared([one.values for one in found])
        },
        items={key: tuple(one.items[key] for one in found) for key in _shared([one.items for one in found])},
        seconds=seconds,
    )


def _shared(mappings: Sequence[Mapping[str, object]]) -> list[str]:
    """Keys that all mappings have, in the first one's order."""
    return [key for key in mappings[0] if all(key in other for other in mappings)] if mappings else []
