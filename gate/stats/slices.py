"""The parts of a task: whether what one of them lost is more than noise.

With many parts some drop by far without any cause. So a part's interval is *simultaneous*: each of its two
ends is wrong in at most `error / parts` of samples (Bonferroni), which makes a false end among all of them as
rare as `error`, under any dependence. Random are the documents, or their clusters, as draws of the population
behind them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gate.stats.betting import betting_bounds
from gate.stats.binary import tango
from gate.stats.distributions import binomial_half_cdf, normal_quantile
from gate.stats.estimate import Array, Bounds, DegenerateData, Moments, check_level
from gate.stats.means import ratio_moments, stratified_t
from gate.stats.proportions import noninferior_p, range_bounds
from gate.stats.trainings import over_trainings

QUARTERS = 4
_REACH = 8  # standard deviations, beyond which a binomial weighs less than 1e-14


def quarters(values: Sequence[int]) -> NDArray[np.int_]:
    """The quarter (0 to 3) of each value by its rank; equal values rank in the order given, so that quarters
    differ by one value at most."""
    of = np.empty(len(values), np.int_)
    of[np.argsort(np.asarray(values), kind="stable")] = np.arange(len(values)) * QUARTERS // len(values)
    return of


def part_bounds(
    losses: Array, clusters: Sequence[str] | None, error: float, limits: tuple[float, float] | None
) -> tuple[Bounds, str]:
    """(mean loss with its interval, method): each end is wrong in at most `error` of samples.

    Losses of -1, 0 and 1 of independent documents: Tango's score interval (1998). Else, between `limits`
    that no document's loss can leave, the cluster-robust interval with a further cluster or a bettor's
    (`_in_range`), each document a cluster of its own where no clusters are given. Without limits the further
    cluster is as far out as any that was seen, which does not hold the error where a rare change is larger;
    and where that is not to be had (few clusters, few changes) a plain t. Tango's and the plain t are too
    bold in small parts, so an end on the far side of 0 is moved to 0 unless the exact sign test (Dixon & Mood
    1946, J. Am. Stat. Assoc. 41, 557; for 0/1 data it is McNemar's) finds at `error` that more fell than
    rose, or the other way round.
    """
    check_level(1 - 2 * error)
    names = list(clusters) if clusters is not None else [str(at) for at in range(losses.size)]
    found, method = _interval(losses, names, error, limits, independent=clusters is None)
    if method in (_TANGO, _PLAIN):
        down, up = _signs(losses, names)
        low = found.low if binomial_half_cdf(up, down + up) <= error else min(found.low, 0.0)
        high = found.high if binomial_half_cdf(down, down + up) <= error else max(found.high, 0.0)
        found = Bounds(found.estimate, low, high)
    if limits is not None:
        found = Bounds(found.estimate, max(found.low, limits[0]), min(found.high, limits[1]))
    return found, method


_TANGO, _RANGE, _ROBUST, _PLAIN = "Tango score, sign test", "t or betting", "cluster-robust t", "t, sign test"


def _interval(
    losses: Array, names: list[str], error: float, limits: tuple[float, float] | None, *, independent: bool
) -> tuple[Bounds, str]:
    level = 1 - 2 * error
    if independent and is_flips(losses):
        lost, won = int((losses > 0).sum()), int((losses < 0).sum())
        return tango(won, lost, losses.size, level), _TANGO
    if limits is not None:
        return _in_range(losses, names, error, limits), _RANGE
    try:
        return _robust(losses, names, error, None), _ROBUST
    except DegenerateData:
        sums, sizes = _sums(losses, names)
    moments = ratio_moments(sums, sizes) if sizes.size > 1 else Moments(float(losses.mean()), 0.0, 1)
    return stratified_t([moments], [1.0], level), _PLAIN


def _in_range(losses: Array, names: list[str], error: float, limits: tuple[float, float]) -> Bounds:
    """The nearer of two ends with half of the error each: t sees more in large parts, betting in small ones
    and where t says nothing (few clusters, few changes)."""
    sure = betting_bounds(*_sums(losses, names), error / 2, limits)
    try:
        found = _robust(losses, names, error / 2, limits)
    except DegenerateData:
        return sure
    return Bounds(sure.estimate, max(sure.low, found.low), min(sure.high, found.high))


def _robust(losses: Array, names: list[str], error: float, limits: tuple[float, float] | None) -> Bounds:
    """The cluster-robust bounds, each as if one more cluster had been drawn that changed as far as can be,
    or as far as any did: t is too bold where changes are skewed, as a rare large one is often not in it."""
    if limits is None:
        sums, sizes = _sums(losses, names)
        most = float(np.abs(sums / sizes).max())
        limits = -most, most
    found = range_bounds(losses, names, error, limits)
    return Bounds(found.estimate, min(found.low, found.estimate), max(found.high, found.estimate))


def part_proven(
    losses: Array,
    clusters: Sequence[str] | None,
    margin: float,
    error: float,
    limits: tuple[float, float] | None,
    trainings: Sequence[float] = (),
) -> bool:
    """Whether the population's mean loss is proven to be at most `margin`, wrongly in at most `error`.

    `limits` is what no document's loss can leave; without it nothing is proven (`range_bounds`). `trainings`
    are a recipe's own mean losses, `losses` the documents' means over them: then it is the nearer of t and
    betting, widened by the spread between trainings.
    """
    if limits is None:
        return False
    if not trainings and clusters is None and is_flips(losses) and margin < 1:
        lost, won = int((losses > 0).sum()), int((losses < 0).sum())
        return noninferior_p(lost, won, losses.size, margin) <= error
    names = list(clusters) if clusters is not None else [str(at) for at in range(losses.size)]
    if trainings:
        found = _in_range(losses, names, error, limits)
        return over_trainings(found, trainings, 1 - 2 * error).high <= margin
    try:
        return range_bounds(losses, names, error, limits).high <= margin
    except DegenerateData:
        return False


def is_flips(losses: Array) -> bool:
    """Whether these are losses of documents that are right or wrong."""
    return bool(np.isin(losses, (-1.0, 0.0, 1.0)).all())


@lru_cache(maxsize=4096)
def part_blocked(documents: int, flips: float, drop: float, margin: float, error: float) -> float:
    """The chance that a part of right-or-wrong documents is found to have lost more than `margin`, and more
    than noise at `error`, where the population drops by `drop` and a share `flips` of documents changes (at
    least as many as the drop needs). Exact, but for the far tails of the binomials."""
    flips = min(1.0, max(flips, abs(drop)))
    lose, win = (flips + drop) / 2, (flips - drop) / 2
    changed = _window(documents, flips)
    chance = np.exp(_log_binomial(changed, documents, flips))
    z = normal_quantile(1 - 2 * error)
    total = 0.0
    for k, weight in zip(changed.tolist(), chance.tolist(), strict=True):
        if k == 0:
            continue
        lost = np.arange(k + 1)
        net = 2 * lost - k
        tails = np.cumsum(np.exp(_log_binomial(lost, k, 0.5)))[::-1]  # P(at least so many lost)
        beyond = net > margin * documents + 1e-9
        fails = beyond & (tails <= error) & (net > z * math.sqrt(k))
        if fails.any():
            total += weight * float(np.exp(_log_binomial(lost, k, lose / (lose + win)))[fails].sum())
    return min(1.0, total)


def part_caught(documents: int, flips: float, margin: float, error: float, chance: float) -> float:
    """The smallest true drop of a part that is blocked with `chance`, to a thousandth; 1 where none is."""
    low, high = 0.0, 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        if part_blocked(documents, flips, middle, margin, error) >= chance:
            high = middle
        else:
            low = middle
    return high


def _signs(losses: Array, names: list[str]) -> tuple[int, int]:
    """(down, up): clusters with a net loss and with a net gain."""
    sums, _ = _sums(losses, names)
    return int((sums > 1e-12).sum()), int((sums < -1e-12).sum())


def _sums(losses: Array, names: list[str]) -> tuple[Array, Array]:
    _, of = np.unique(np.asarray(names), return_inverse=True)
    sums = np.bincount(of, weights=losses)
    return np.asarray(sums, np.float64), np.asarray(np.bincount(of), np.float64)


def _window(n: int, p: float) -> NDArray[np.int_]:
    reach = _REACH * math.sqrt(n * p * (1 - p)) + _REACH
    return np.arange(max(0, math.floor(n * p - reach)), min(n, math.ceil(n * p + reach)) + 1)


def _log_binomial(k: NDArray[np.int_], n: int, p: float) -> Array:
    table = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(k > 0, k * np.log(p), 0.0)
        misses = np.where(n > k, (n - k) * np.log1p(-p), 0.0)
    return np.asarray(table[n] - table[k] - table[n - k] + hits + misses, np.float64)
