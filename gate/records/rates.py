"""How many documents changed their value between two measurements of a task, and where that was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RateSource = Literal["assumed", "history", "calibrate"]


@dataclass(frozen=True, slots=True)
class TaskRate:
    """One task of one comparison. `form` is the digest of how the task is asked (`form_of`)."""

    task: str  # TaskSpec.id
    form: str
    documents: int
    changed: int

    @property
    def rate(self) -> float:
        """The share of documents that changed."""
        return self.changed / self.documents


@dataclass(frozen=True, slots=True)
class SeenRates:
    """What one check of a model that passed (`history`), or one calibration, saw on a base model."""

    base: str  # `base_key`
    source: RateSource
    what: str  # the tuned model's digest; of a calibration, what was changed
    created: str  # ISO 8601, UTC
    rates: tuple[TaskRate, ...]


@dataclass(frozen=True, slots=True)
class FlipRate:
    """A task's flip rate before a check and in it: shares of documents."""

    task: str
    expected: float
    source: RateSource
    seen: float
    documents: int
