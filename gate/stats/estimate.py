"""What an estimator returns, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class DegenerateData(ValueError):
    """Too few data for the interval that was asked for."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate and its interval, in the estimate's unit."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Moments:
    """An estimate, the variance of that estimate, and the variance's degrees of freedom."""

    estimate: float
    variance: float
    degrees: int

    def of_finite_population(self, n: int, total: int) -> Moments:
        """The same about a population of `total` of which `n` were drawn without replacement:
        variance times 1 - n / total (Cochran 1977, Sampling Techniques, 3rd ed., theorem 2.2)."""
        check_sample(n, total)
        return Moments(self.estimate, self.variance * (1 - n / total), self.degrees)


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, not {level}")


def check_counts(n: int, *counts: int) -> None:
    if n < 1 or min(counts, default=0) < 0 or sum(counts) > n:
        raise ValueError(f"counts {counts} of {n} make no sense")


def check_sample(n: int, total: int) -> None:
    if not 1 <= n <= total:
        raise ValueError(f"a sample of {n} from {total} makes no sense")
