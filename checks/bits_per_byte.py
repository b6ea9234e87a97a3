"""Text loss in bits per byte: comparable across tokenizers, and the most sensitive gauge of forgetting.

A document's value is its rolling log-likelihood in bits; the corpus' is the sum over the sum of UTF-8
bytes, as lm-eval's `bits_per_byte` (-sum of log-likelihoods / sum of bytes / ln 2).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from checks.protocol import DocumentValues, OpenTask, PreparedTask
from gate.digests import named_sources
from gate.errors import ConfigErrors, DataError, MeasurementError, Problem
from gate.plan import allocate_limit
from gate.records import Document, Leaf, Policy, Request, Response, TaskInfo, TaskSpec
from gate.scoring import ChatTemplate

NAME = "bits_per_byte"
KEY = "bits_per_byte,none"
SHOWN = 2000  # characters of a document that a report could show


def measures(spec: TaskSpec) -> bool:
    """Whether the policy asks for a text corpus."""
    return spec.kind == "text"


def open_tasks(
    specs: Sequence[TaskSpec], policy: Policy, *, index_folder: Path | None
) -> tuple[OpenTask, ...]:
    """Read each corpus; raises ConfigErrors with the problems of all of them."""
    problems, opened = [], []
    for spec in specs:
        try:
            opened.append(_open(spec, policy))
        except DataError as error:
            place = spec.place
            problems.append(
                Problem(place.file or policy.path, error.message, place.line or None, spec.id, error.hint)
            )
    if problems:
        raise ConfigErrors(problems)
    return tuple(opened)


def _open(spec: TaskSpec, policy: Policy) -> OpenCorpus:
    path = Path(spec.path or spec.task)
    texts = read_corpus(path, spec.text_field)
    planned = allocate_limit(spec.limit, [len(texts)])[0]
    info = TaskInfo(
        task=spec.id,
        check=NAME,
        metric="bits_per_byte",
        filter="none",
        unit="bits per byte",
        higher_is_better=False,
        leaves=(Leaf(spec.task, len(texts), planned),),
        metric_reason="the only one",
        sources=named_sources((path,), policy.path),
    )
    return OpenCorpus(info, texts)


def read_corpus(path: Path, field: str = "text") -> tuple[str, ...]:
    """The documents of a .jsonl file (`field` of each line), a .txt file, or a folder of .txt files.

    Raises DataError when it is missing, empty, not UTF-8, broken, or lacks the field.
    """
    if not path.exists():
        raise DataError(f"there is no corpus {path}")
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"the folder {path} holds no .txt file")
    if path.suffix.lower() in (".jsonl", ".json", ".ndjson"):
        documents = [(f"{path}:{line}", text) for line, text in _json_lines(path, field)]
    else:
        documents = [(str(file), _decoded(file)) for file in files]
    empty = [place for place, text in documents if not text.strip()]
    if empty and len(empty) < len(documents):
        raise DataError(
            f"{empty[0]}: an empty document, one of {len(empty)}", hint="a document needs text: drop it"
        )
    if not documents or empty:
        raise DataError(f"the corpus {path} is empty")
    return tuple(text for _, text in documents)


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _json_lines(path: Path, field: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_decoded(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number} is not a line of JSON") from error
        if not isinstance(row, dict) or not isinstance(row.get(field), str):
            has = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise DataError(f"{path}:{number} has no text in the field {field!r}", hint=f"it has {has}")
        try:
            row[field].encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"{path}:{number} holds half of a surrogate pair, which is no text") from error
        yield number, row[field]


@dataclass(frozen=True, slots=True)
class OpenCorpus:
    """A corpus that was read."""

    info: TaskInfo
    texts: tuple[str, ...]

    def with_examples(self, seed: int) -> None:
        """Running text has no examples."""
        return

    def build(self, chat: ChatTemplate | None) -> PreparedTask:
        """One rolling request a document. Running text has no turns, so no chat template is applied."""
        documents = tuple(
            Document(
                number,
                hashlib.sha256(text.encode()).hexdigest(),
                (Request("loglikelihood_rolling", text),),
                text[:SHOWN],
            )
            for number, text in enumerate(self.texts)
        )
        digest = hashlib.sha256(
            "\n".join([KEY, *(document.hash for document in documents)]).encode()
        ).hexdigest()
        leaf = CorpusLeaf(self.info.leaves[0].name, digest, documents)
        return PreparedTask(replace(self.info, digest=digest), (leaf,))


@dataclass(frozen=True, slots=True)
class CorpusLeaf:
    """The corpus as pairs: a document is one rolling log-likelihood."""

    name: str
    digest: str
    documents: tuple[Document, ...]
    aggregation: Literal["ratio"] = "ratio"
    replicates: int = 0

    @property
    def weights(self) -> tuple[float, ...]:
        """UTF-8 bytes of each document."""
        return tuple(float(len(document.requests[0].context.encode())) for document in self.documents)

    def evaluate(self, position: int, responses: Sequence[Response]) -> DocumentValues:
        """The document's bits: minus its log-likelihood in nats, over ln 2."""
        if len(responses) != 1 or responses[0].logprob is None:
            raise MeasurementError(f"{self.name} document {position}: no log-likelihood of the text")
        return DocumentValues({KEY: -float(responses[0].logprob) / math.log(2)})

    def aggregate(self, items: Sequence[str]) -> float:
        """A ratio has no items."""
        raise MeasurementError(f"{self.name}: bits per byte is a ratio of sums and not computed from items")

    def answer(self, position: int, responses: Sequence[Response]) -> str:
        """The document's bits per byte, in words."""
        bits = self.evaluate(position, responses).values[KEY]
        return f"{bits / self.weights[position]:.3f} bits per byte"
