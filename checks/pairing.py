"""Pairing: two models' answers to the same documents become one Measurement, or nothing does."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from checks.protocol import PreparedLeaf
from gate.errors import MeasurementError, NotLikeForLike
from gate.records import BlockResult, Document, Measurement, Response, TaskInfo


@dataclass(frozen=True, slots=True)
class Scored:
    """One document's results by one model."""

    hash: str
    responses: tuple[Response, ...]
    value: float | None
    item: str | None


@dataclass(frozen=True, slots=True)
class Paired:
    """The planned documents, by number, with both models' results in the same order."""

    numbers: tuple[int, ...]
    base: tuple[Scored, ...]
    tuned: tuple[Scored, ...]


def pair(
    info: TaskInfo,
    leaf: PreparedLeaf,
    base: Sequence[BlockResult],
    tuned: Sequence[BlockResult],
    rounds: Mapping[int, int] | None = None,
) -> Measurement:
    """One leaf's paired raw data. `rounds` says in which round each document was drawn, where that ended
    before all that was planned. Raises MeasurementError where a document lacks its partner, a hash
    differs, documents are fewer than planned, or a number is missing or not finite."""
    paired = pair_documents(info, leaf, base, tuned, rounds)
    clusters = tuple(leaf.documents[number].cluster for number in paired.numbers)
    parts = tuple(leaf.documents[number].part for number in paired.numbers)
    values: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    corpus: tuple[float, float] | None = None
    replicates: tuple[tuple[float, float], ...] = ()
    if leaf.aggregation == "corpus":
        corpus, replicates = _corpus(info, leaf, paired)
    else:
        values = _values(info, leaf, "base", paired), _values(info, leaf, "tuned", paired)
    weights = leaf.weights
    return Measurement(
        task=info.task,
        leaf=leaf.name,
        check=info.check,
        metric=info.metric,
        filter=info.filter,
        unit=info.unit,
        higher_is_better=info.higher_is_better,
        aggregation=leaf.aggregation,
        numbers=paired.numbers,
        hashes=tuple(scored.hash for scored in paired.base),
        base=values[0],
        tuned=values[1],
        documents_total=len(leaf.documents),
        weights=None if weights is None else tuple(weights[number] for number in paired.numbers),
        corpus=corpus,
        replicates=replicates,
        rounds=None if rounds is None else tuple(rounds[number] for number in paired.numbers),
        clusters=None if None in clusters else tuple(str(cluster) for cluster in clusters),
        parts=None if None in parts else tuple(str(part) for part in parts),
    )


def pair_documents(
    info: TaskInfo,
    leaf: PreparedLeaf,
    base: Sequence[BlockResult],
    tuned: Sequence[BlockResult],
    rounds: Mapping[int, int] | None = None,
) -> Paired:
    """Match both models' documents by number, each against the document that was asked."""
    key, where = f"{info.metric},{info.filter}", f"{info.task}, {leaf.name}"
    planned = next((part for part in info.leaves if part.name == leaf.name), None)
    if planned is None or planned.documents_total != len(leaf.documents):
        raise MeasurementError(
            f"{where}: {len(leaf.documents)} documents were built, not as many as were counted"
        )
    sides = {"base": _by_number(where, key, base), "tuned": _by_number(where, key, tuned)}
    for one, other in (("base", "tuned"), ("tuned", "base")):
        alone = sorted(sides[one].keys() - sides[other].keys())
        if alone:
            raise MeasurementError(f"{where}: document {alone[0]} was scored by the {one} model alone")
    numbers = tuple(sorted(sides["base"]))
    wanted = planned.documents_planned if rounds is None else len(rounds)
    if len(numbers) != wanted or (rounds is not None and set(numbers) != rounds.keys()):
        raise MeasurementError(f"{where}: {len(numbers)} documents were scored, {wanted} planned")
    for number in numbers:
        asked = leaf.documents[number].hash if number < len(leaf.documents) else "no document"
        if not sides["base"][number].hash == sides["tuned"][number].hash == asked:
            raise MeasurementError(
                f"{where}: document {number} is not the same for both models (hashes differ)"
            )
    return Paired(numbers, *(tuple(sides[side][number] for number in numbers) for side in ("base", "tuned")))


def _by_number(where: str, key: str, results: Sequence[BlockResult]) -> dict[int, Scored]:
    """One model's documents by number; refuses one that comes twice and blocks of unequal parts."""
    found: dict[int, Scored] = {}
    for result in results:
        size = len(result.numbers)
        values, items = result.values.get(key), result.items.get(key)
        parts = [part for part in (result.hashes, result.responses, values, items) if part is not None]
        if any(len(part) != size for part in parts):
            raise MeasurementError(f"{where}: a block of {size} documents has a part of another length")
        for at, number in enumerate(result.numbers):
            if number in found:
                raise MeasurementError(f"{where}: document {number} was scored twice")
            found[number] = Scored(
                result.hashes[at],
                result.responses[at],
                values[at] if values else None,
                items[at] if items else None,
            )
    return found


def _values(info: TaskInfo, leaf: PreparedLeaf, side: str, paired: Paired) -> tuple[float, ...]:
    scored: tuple[Scored, ...] = getattr(paired, side)
    found = []
    for number, one in zip(paired.numbers, scored, strict=True):
        if one.value is None or not math.isfinite(one.value):
            raise MeasurementError(
                f"{info.task}, {leaf.name}: document {number} has no finite {info.metric},{info.filter} "
                f"from the {side} model (it is {one.value})"
            )
        found.append(float(one.value))
    return tuple(found)


def _corpus(
    info: TaskInfo, leaf: PreparedLeaf, paired: Paired
) -> tuple[tuple[float, float], tuple[tuple[float, float], ...]]:
    """The corpus-level metric of both models, and paired bootstrap replicates over documents.

    Efron and Tibshirani 1993, chapter 6; the same documents are drawn for both models, and the seed
    depends on the task alone. A replicate for which the metric is not defined is drawn again.
    """
    base, tuned = _items(info, leaf, paired.base), _items(info, leaf, paired.tuned)
    whole = leaf.aggregate(base), leaf.aggregate(tuned)
    if not all(map(math.isfinite, whole)):
        raise MeasurementError(f"{info.task}, {leaf.name}: {info.metric} is {whole[0]} and {whole[1]}")
    generator = np.random.default_rng(
        int(hashlib.sha256(f"{info.task}/{leaf.name}".encode()).hexdigest()[:16], 16)
    )
    replicates: list[tuple[float, float]] = []
    for _ in range(2 * leaf.replicates):
        drawn = generator.integers(len(base), size=len(base)).tolist()
        one = _replicate(leaf, [base[at] for at in drawn]), _replicate(leaf, [tuned[at] for at in drawn])
        if all(map(math.isfinite, one)):
            replicates.append(one)
        if len(replicates) == leaf.replicates:
            return whole, tuple(replicates)
    raise MeasurementError(
        f"{info.task}, {leaf.name}: {info.metric} is not defined on most resamples of its documents"
    )


def _replicate(leaf: PreparedLeaf, items: Sequence[str]) -> float:
    try:
        return leaf.aggregate(items)
    except MeasurementError:
        return math.nan  # e.g. a class that the resample does not hold


def _items(info: TaskInfo, leaf: PreparedLeaf, scored: Sequence[Scored]) -> list[str]:
    items = [one.item for one in scored if one.item is not None]
    if len(items) != len(scored):
        raise MeasurementError(f"{info.task}, {leaf.name}: a document has no {info.metric},{info.filter}")
    return items


def check_like_for_like(base: Sequence[Document], tuned: Sequence[Document]) -> None:
    """Refuse two sides that are not asked the very same; raises NotLikeForLike with the first difference."""
    for one, other in zip(base, tuned, strict=False):
        if one.number != other.number or one.hash != other.hash:
            raise NotLikeForLike(
                f"document {one.number} of the base model is document {other.number} of the tuned one"
            )
        if len(one.requests) != len(other.requests):
            raise NotLikeForLike(
                f"document {one.number}: {len(one.requests)} requests to the base model, "
                f"{len(other.requests)} to the tuned one"
            )
        for at, (asked, also) in enumerate(zip(one.requests, other.requests, strict=True)):
            for part in ("kind", "context", "continuation", "generation"):
                left, right = getattr(asked, part), getattr(also, part)
                if left != right:
                    where = f"document {one.number}, request {at}: the {part} differs"
                    raise NotLikeForLike(f"{where}: {_first_difference(left, right)}")
    if len(base) != len(tuned):
        raise NotLikeForLike(f"{len(base)} documents for the base model, {len(tuned)} for the tuned one")


def _first_difference(left: str, right: str) -> str:
    """Where two texts part, with a few characters of each from there."""
    at = next(
        (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
    )
    return f"at character {at}, {left[at : at + 40]!r} (base) against {right[at : at + 40]!r} (tuned)"
