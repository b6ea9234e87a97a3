"""`decide: proven`: is the drop *on the population behind the benchmark* at most the margin? Fixed samples.

Random are the documents: independent draws of the population (`noninferior_p`), or of its clusters
(`range_bounds`). The error is that of claiming "the drop is below the margin" when it is at least the
margin: one-sided. All rules must be proven for a pass, so none is corrected (`gate.stats.multiple`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gate.stats.distributions import edge, t_quantile
from gate.stats.estimate import Array, DegenerateData, check_counts, check_level
from gate.stats.means import ratio_moments

LEAST_CLUSTERS, LEAST_CHANGED = 20, 10
NUISANCE = 0.02  # Berger & Boos' beta, as a share of the error
_REACH = 8  # standard deviations, beyond which a binomial weighs less than 1e-14


def tango_z(lost: Array | float, won: Array | float, n: int, margin: float) -> Array:
    """Tango's score statistic of "the drop is `margin`": negative where the drop looks smaller.

    Tango 1998, Statistics in Medicine 17, 891. Without variance (margin 0, no flips) it is 0.
    """
    lost, won = np.asarray(lost, np.float64), np.asarray(won, np.float64)
    b = -(2 * n + lost - won) * margin - lost - won
    p_lost = (np.sqrt(np.maximum(0.0, b * b - 8 * n * lost * margin * (1 + margin))) - b) / (4 * n)
    variance = n * np.maximum(0.0, 2 * p_lost - margin * (1 + margin))
    excess = lost - won - n * margin
    return np.asarray(np.divide(excess, np.sqrt(variance), out=np.zeros_like(excess), where=variance > 0))


def tango_p(lost: int, won: int, n: int, margin: float) -> float:
    """The asymptotic one-sided p value of "the drop is at least `margin`". With few flips the true error
    exceeds the nominal one (docs/soundness.md): `noninferior_p` is what proves."""
    _check(n, lost, won, margin)
    return NormalDist().cdf(float(tango_z(float(lost), float(won), n, margin)))


def noninferior_p(lost: int, won: int, n: int, margin: float, error: float = 0.05) -> float:
    """The exact one-sided p value of "the drop is at least `margin`" for `n` independent pairs, to be held
    against `error`.

    The chance of a Tango statistic as small as the one seen, for the worst probability of a win that the wins
    allow at a fiftieth of `error`, which is added (Hsueh, Liu & Chen 2001, Biometrics 57, 478; Berger & Boos
    1994, J. Am. Stat. Assoc. 89, 1012): so it can be below any `error`. Holds for any number of flips.
    """
    _check(n, lost, won, margin)
    nuisance = NUISANCE * error
    seen = float(tango_z(float(lost), float(won), n, margin))
    if seen >= 0:
        return 1.0  # the estimate itself is at the margin or above
    low, high = _proportion(won, n, nuisance)
    high = min(high, (1 - margin) / 2)
    low = min(low, high)
    worst, step = 0.0, (high - low) / 12
    for _ in range(2):
        grid = np.linspace(low, high, 13)
        tails = [_tail(seen, n, margin, float(q)) for q in grid]
        best = int(np.argmax(tails))
        worst = max(worst, tails[best])
        low, high = max(low, float(grid[best]) - step), min(high, float(grid[best]) + step)
    return min(1.0, worst + nuisance)


@dataclass(frozen=True, slots=True)
class OneSided:
    """An estimate and its two bounds, each at its own full error."""

    estimate: float
    low: float
    high: float


def cluster_bounds(values: Array, clusters: Sequence[str] | NDArray[np.int_], error: float) -> OneSided:
    """The mean of documents in clusters: above `high`, or below `low`, in at most `error` of samples.

    The ratio of cluster sums to cluster sizes with a cluster-robust variance and a t quantile of
    (clusters - 1) degrees (Cochran 1977, section 6.4; Cameron & Miller 2015, Journal of Human Resources 50,
    317; Miller 2024, arXiv 2411.00640, for evaluations). Losses in a few clusters make t too narrow, so each
    bound is moved out to where Hall's correction for skewness puts it (1992, J. R. Statist. Soc. B 54, 221).

    Raises DegenerateData, which is "undecided" and never "fine", where that does not hold: fewer than 20
    clusters, or worth fewer because of unequal sizes (Kish 1965), or fewer than 10 in which anything changed.
    """
    check_level(1 - 2 * error)
    sums, sizes = _cluster_sums(values, clusters)
    moments = ratio_moments(sums, sizes)
    if moments.variance <= 1e-24 * moments.estimate**2:
        raise DegenerateData("all clusters changed alike, so their spread is unknown")
    spread, t = math.sqrt(moments.variance), t_quantile(1 - 2 * error, moments.degrees)
    residuals = sums - moments.estimate * sizes
    skew = float((residuals**3).mean() / max((residuals**2).mean(), 1e-300) ** 1.5)
    below, above = (_hall(side * t, skew, sizes.size) for side in (1, -1))
    mean = moments.estimate
    return OneSided(mean, mean - spread * max(t, below), mean - spread * min(-t, above))


def range_bounds(
    values: Array, clusters: Sequence[str] | NDArray[np.int_], error: float, limits: tuple[float, float]
) -> OneSided:
    """`cluster_bounds`, each bound as if one more cluster had been drawn, of mean size and with all of it at
    that end of `limits`, which no document's value can leave.

    A large change that one document in n has is absent from a third of samples of n, which then show neither
    a loss nor a spread. What was seen cannot bound it: the range must (Bahadur & Savage 1956, Annals of
    Mathematical Statistics 27, 1115: without one no test about a mean holds its error). Raises
    DegenerateData as `cluster_bounds` does; the further cluster is not counted there.
    """
    plain = cluster_bounds(values, clusters, error)
    _, of = np.unique(np.asarray(clusters), return_inverse=True)
    extra = max(1, round(values.size / (int(of.max()) + 1)))
    more = np.append(of, np.full(extra, of.max() + 1))
    below, above = (cluster_bounds(np.append(values, np.full(extra, end)), more, error) for end in limits)
    return OneSided(plain.estimate, min(plain.low, below.low), max(plain.high, above.high))


def _cluster_sums(values: Array, clusters: Sequence[str] | NDArray[np.int_]) -> tuple[Array, Array]:
    if len(clusters) != values.size:
        raise ValueError("one cluster a value")
    _, of = np.unique(np.asarray(clusters), return_inverse=True)
    sizes = np.asarray(np.bincount(of), dtype=np.float64)
    worth = float(sizes.sum() ** 2 / (sizes**2).sum())
    if worth < LEAST_CLUSTERS - 1e-9:
        raise DegenerateData(
            f"{sizes.size} clusters, worth {worth:.1f} of one size; {LEAST_CLUSTERS} are needed"
        )
    changed = int((np.bincount(of, weights=np.abs(values)) > 0).sum())
    if changed < LEAST_CHANGED:
        raise DegenerateData(f"changes in {changed} of {sizes.size} clusters; {LEAST_CHANGED} are needed")
    return np.asarray(np.bincount(of, weights=values), dtype=np.float64), sizes


def _hall(t: float, skew: float, n: int) -> float:
    """The quantile of Hall's transformed statistic: the inverse of his monotone cubic."""
    bend = skew / (3 * math.sqrt(n))
    if abs(bend) < 1e-9:
        return t
    return float(np.cbrt(1 + 3 * bend * (t - bend / 2)) - 1) / bend


def _check(n: int, lost: int, won: int, margin: float) -> None:
    check_counts(n, lost, won)
    if not 0 <= margin < 1:
        raise ValueError(f"a margin lies in [0, 1), not {margin}")


def _tail(seen: float, n: int, margin: float, q: float) -> float:
    """P(statistic <= seen) where a win has probability `q` and a loss `q + margin`."""
    wins = _window(n, q)
    # Given the wins, losses are binomial among the rest. The statistic grows with the losses.
    lose = min(1.0, (q + margin) / (1 - q))
    most = _most_lost(seen, n, margin, wins)
    losses = _window(n, q + margin, among=wins)
    log_lost = _log_binomial(losses[None, :], (n - wins)[:, None], lose)
    kept = np.where(losses[None, :] <= most[:, None], np.exp(log_lost), 0.0).sum(axis=1)
    return float(np.exp(_log_binomial(wins, np.array(n), q)) @ kept)


def _window(n: int, p: float, among: NDArray[np.int_] | None = None) -> NDArray[np.int_]:
    reach = _REACH * math.sqrt(n * p * (1 - p)) + _REACH
    if among is not None:  # their mean shifts with the wins
        reach *= 1.5
    return np.arange(max(0, math.floor(n * p - reach)), min(n, math.ceil(n * p + reach)) + 1)


def _most_lost(seen: float, n: int, margin: float, wins: NDArray[np.int_]) -> NDArray[np.int_]:
    """For each number of wins the largest number of losses whose statistic is at most `seen`; -1: none."""
    fits, over = np.full(wins.shape, -1), n - wins + 1
    while ((over - fits) > 1).any():
        middle = (fits + over) // 2
        small = tango_z(middle.astype(float), wins.astype(float), n, margin) <= seen + 1e-9
        fits, over = np.where(small & (middle >= 0), middle, fits), np.where(small, over, middle)
    return fits


def _log_binomial(k: NDArray[np.int_], n: NDArray[np.int_], p: float) -> Array:
    """Minus infinity where k > n."""
    size = int(n.max())
    table = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size + 1)))])
    inside = np.minimum(k, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(inside > 0, inside * np.log(p), 0.0)
        misses = np.where(n > inside, (n - inside) * np.log1p(-p), 0.0)
    logs = table[n] - table[inside] - table[n - inside] + hits + misses
    return np.where(k <= n, logs, -np.inf)


def _proportion(successes: int, n: int, error: float) -> tuple[float, float]:
    """Clopper & Pearson 1934, Biometrika 26, 404."""

    def at_most(k: int, p: float) -> float:
        return float(np.exp(_log_binomial(np.arange(k + 1), np.array(n), p)).sum()) if k >= 0 else 0.0

    share = successes / n
    low = edge(lambda p: 1 - at_most(successes - 1, p) < error / 2, share, 0.0) if successes else 0.0
    high = edge(lambda p: at_most(successes, p) < error / 2, share, 1.0) if successes < n else 1.0
    return low, high
