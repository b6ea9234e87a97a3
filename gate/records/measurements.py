"""Paired raw data of base and tuned model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gate.records.plan import TaskInfo
from gate.records.training import ModelRef


@dataclass(frozen=True, slots=True)
class Measurement:
    """Paired raw data of one leaf: the same documents, in the same order, for both models.

    `aggregation` says how documents become the metric's value: `mean` of the values; `ratio`, the
    sum of the values over the sum of `weights` (bits over bytes); `corpus`, a number that lm-eval
    computes over all documents, with paired bootstrap `replicates` of (base, tuned).
    """

    task: str  # TaskSpec.id
    leaf: str
    check: str
    metric: str
    filter: str
    unit: str
    higher_is_better: bool
    aggregation: Literal["mean", "ratio", "corpus"]
    numbers: tuple[int, ...]
    hashes: tuple[str, ...]
    base: tuple[float, ...]
    tuned: tuple[float, ...]
    documents_total: int
    weights: tuple[float, ...] | None = None
    corpus: tuple[float, float] | None = None
    replicates: tuple[tuple[float, float], ...] = ()
    # Per document the round in which it was drawn, where documents were drawn until rules were settled:
    # then there may be fewer than planned. None: all that was planned, in no order.
    rounds: tuple[int, ...] | None = None
    clusters: tuple[str, ...] | None = None  # per document, by the policy's `cluster_by`
    parts: tuple[str, ...] | None = None  # per document `Document.part`, as `TaskInfo.slice_by` names it


@dataclass(frozen=True, slots=True)
class Flip:
    """A document that one model had right and the other wrong, for the report."""

    task: str
    leaf: str
    number: int
    prompt: str
    target: str
    base_answer: str
    tuned_answer: str
    fell: bool  # base right, tuned wrong


@dataclass(frozen=True, slots=True)
class Measurements:
    """All that was measured of a tuned model against its base, and what had been planned."""

    base: ModelRef
    tuned: ModelRef
    tasks: tuple[TaskInfo, ...]
    measurements: tuple[Measurement, ...]
    flips: tuple[Flip, ...] = ()
