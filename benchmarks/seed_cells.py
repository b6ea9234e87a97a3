"""Soundness cells of recipes: documents and trainings drawn from populations, the drop just on the margin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.trials import ERROR, Found
from gate.stats import Bounds, DegenerateData
from gate.stats.means import mean_moments, stratified_t
from gate.stats.proportions import range_bounds
from gate.stats.trainings import over_trainings

# documents, trainings, standard deviation between recipes' trainings in points
CASES = ((500, 2, 0.0), (500, 2, 2.0), (500, 3, 1.0), (1319, 3, 2.0), (1319, 5, 1.0), (5000, 4, 1.0))
DROP, FLIPS = 0.02, 0.1


def draw(n: int, k: int, between: float, rng: np.random.Generator) -> np.ndarray:
    """(trainings, documents) of losses: each training has a drop of its own, about DROP; some documents are
    lost after most trainings, most of them after some."""
    drops = DROP + rng.normal(0, between / 100, k)
    prone = rng.permutation(np.repeat([2.0, 2 / 3], [n // 4, n - n // 4]))  # on average 1
    lost, won = (FLIPS + drops[:, None]) / 2 * prone, (FLIPS - drops[:, None]) / 2 * prone
    chance = rng.random((k, n))
    return np.where(chance < lost, 1.0, np.where(chance > 1 - won, -1.0, 0.0))


def seeds(trials: int) -> Iterator[Found]:
    """A "proven" that is false, the interval's misses, and both where training noise is forgotten."""
    for n, k, between in CASES:
        rng = np.random.default_rng([21, n, k, round(10 * between)])
        proven = alone = missed = 0
        for _ in range(trials):
            losses = draw(n, k, between, rng)
            mean, each = losses.mean(axis=0), losses.mean(axis=1)
            try:
                bound = range_bounds(mean, np.arange(n), ERROR, (-1.0, 1.0))
            except DegenerateData:
                continue
            over = Bounds(bound.estimate, bound.low, bound.high)
            proven += over_trainings(over, each.tolist(), 1 - 2 * ERROR).high < DROP
            alone += bound.high < DROP
            interval = stratified_t([mean_moments(mean)], [1.0], 1 - ERROR)
            both = over_trainings(interval, each.tolist(), 1 - ERROR)
            missed += not both.low <= DROP <= both.high
        name = f"{k} trainings, N {n}, {between:g} points between them"
        forgotten = f"without the trainings' noise {alone / trials:.1%}"
        yield Found(f"{name}: false proof", proven, trials, forgotten)
        yield Found(f"{name}: the interval misses", missed, trials)
