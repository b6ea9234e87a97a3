"""Bounds of a mean that hold for every distribution inside a known range, however skewed, on any sample.

A gambler who stakes a fixed share of his wealth on each draw against "the mean is at most m" cannot expect to
gain while that is true, so his wealth exceeds 1 / error in at most `error` of samples (Ville 1939; for means
of bounded draws Waudby-Smith & Ramdas 2024, J. R. Statist. Soc. B 86, 1). He splits his wealth over a few
stakes, none of which looks at the data. The lower bound is the largest m that makes him so rich.
"""

from __future__ import annotations

import math

import numpy as np

from gate.stats.estimate import Array, Bounds

# Shares of the largest stake that a single draw cannot turn into debts; the best one depends on the spread.
_STAKES = np.array([0.9, 0.5, 0.25, 0.12])
_HALVINGS = 20  # of the way from the end of the range to the mean; the bound is on the safe side of the rest


def betting_bounds(sums: Array, sizes: Array, error: float, limits: tuple[float, float]) -> Bounds:
    """The mean of documents in independent clusters of these sums and sizes: each end wrong in at most
    `error` of samples. `limits` is what no document's value can leave.

    Exact for clusters of one size; sizes that go with the values are taken as they are.
    """
    low = _low(sums, sizes, error, limits)
    mirrored = _low(-sums, sizes, error, (-limits[1], -limits[0]))
    return Bounds(math.fsum(sums) / math.fsum(sizes), low, -mirrored)


def _low(sums: Array, sizes: Array, error: float, limits: tuple[float, float]) -> float:
    end = limits[0]
    above, shares = sums - end * sizes, sizes / sizes.max()
    low, high = end, math.fsum(sums) / math.fsum(sizes)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle <= end:
            return end
        gains = above / sizes.max() / (middle - end) - shares
        logs = np.log1p(_STAKES[:, None] * gains[None, :]).sum(axis=1)
        if np.logaddexp.reduce(logs) - math.log(_STAKES.size) >= -math.log(error):
            low = middle
        else:
            high = middle
    return low
