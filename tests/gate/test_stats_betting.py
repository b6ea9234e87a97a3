"""The bettor's bounds: an oracle of the wealth, every sample of a small population, their mirror image."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from gate.stats.betting import betting_bounds

STAKES = (0.9, 0.5, 0.25, 0.12)


def test_at_the_bound_the_wealth_is_one_in_the_error() -> None:
    """The mean over the stakes of the products of what each draw pays."""
    values = np.random.default_rng(1).uniform(-0.2, 0.8, 40)
    low = betting_bounds(values, np.ones(40), 0.01, (-1.0, 1.0)).low
    wealth = np.mean([np.prod(1 + stake * (values - low) / (low + 1)) for stake in STAKES])
    assert wealth == pytest.approx(100, rel=1e-3)


def test_the_error_holds_exactly_over_all_samples() -> None:
    """Eight draws of -1, 0.2 and 0.4 with the mean 0: added up over all 6,561 samples, each end errs in at
    most a quarter."""
    chance = {-1.0: 0.25, 0.2: 0.25, 0.4: 0.5}
    assert sum(value * share for value, share in chance.items()) == pytest.approx(0)
    below = above = 0.0
    for sample in {tuple(sorted(each)) for each in product(chance, repeat=8)}:
        times = [sample.count(value) for value in chance]
        weight = _orders(times) * math.prod(share**k for share, k in zip(chance.values(), times, strict=True))
        found = betting_bounds(np.array(sample), np.ones(8), 0.25, (-1.0, 1.0))
        below += weight * (found.low > 0)
        above += weight * (found.high < 0)
    assert 0.01 < below <= 0.25
    assert above <= 0.25


def _orders(times: list[int]) -> int:
    rest, found = sum(times), 1
    for k in times:
        for at in range(k):
            found = found * (rest - at) // (at + 1)
        rest -= k
    return found


def test_ends_are_mirror_images_around_the_mean() -> None:
    """And clusters of five that move as one are worth what their means are."""
    values = np.random.default_rng(2).uniform(-0.5, 0.9, 30)
    found = betting_bounds(values, np.ones(30), 0.05, (-1.0, 1.0))
    mirrored = betting_bounds(-values, np.ones(30), 0.05, (-1.0, 1.0))
    assert found.low < found.estimate < found.high
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-5)
    grouped = betting_bounds(5 * values, np.full(30, 5.0), 0.05, (-1.0, 1.0))
    assert (grouped.low, grouped.high) == pytest.approx((found.low, found.high), abs=1e-5)
