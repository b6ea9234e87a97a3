"""What one scorer took for one mix of requests, and a mix's row of the table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from benchmarks.mixes import Mix


@dataclass(slots=True)
class Scored:
    """Log-likelihoods in the requests' order, seconds of building and of all, peak device memory in bytes."""

    values: list[float]
    building: float
    total: float
    memory: int
    how: str = ""
    nodes: int = 0


@dataclass(slots=True)
class Row:
    """One mix: ours, HF at its best, HF's others."""

    mix: Mix
    ours: Scored
    best: Scored
    bound: float
    others: list[Scored] = field(default_factory=list)
    alone: float = math.nan

    @property
    def ratio(self) -> float:
        return self.best.total / self.ours.total
