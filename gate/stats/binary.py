"""Estimators for documents that are right or wrong: 0/1 data, paired and not."""

from __future__ import annotations

import math

from gate.stats.distributions import binomial_half_cdf, edge, hypergeometric_cdf, normal_quantile
from gate.stats.estimate import Bounds, check_counts, check_level, check_sample


def wilson(successes: int, n: int, level: float) -> Bounds:
    """A proportion. Wilson 1927, J. Am. Stat. Assoc. 22, 209."""
    check_counts(n, successes)
    z = normal_quantile(level)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At 0 and n the formula's limit is exactly p; rounding must not leave p outside.
    return Bounds(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


def tango(lost: int, won: int, n: int, level: float) -> Bounds:
    """The difference of two paired proportions, (won - lost) / n, of `n` pairs of which `lost`
    went from 1 to 0 and `won` from 0 to 1.

    Tango 1998, Statistics in Medicine 17, 891: all differences that the score test with the
    restricted maximum-likelihood estimate of the discordant probability does not reject.
    """
    check_counts(n, lost, won)
    z = normal_quantile(level)
    estimate = (won - lost) / n

    def rejected(d: float) -> bool:
        b = (2 * n + lost - won) * d - won - lost
        p_lost = (math.sqrt(max(0.0, b * b + 8 * n * lost * d * (1 - d))) - b) / (4 * n)
        variance = n * max(0.0, 2 * p_lost + d * (1 - d))
        return (won - lost - n * d) ** 2 > z * z * variance

    return Bounds(estimate, edge(rejected, estimate, -1.0), edge(rejected, estimate, 1.0))


def mcnemar_exact(lost: int, won: int) -> float:
    """Two-sided exact p value of "no change": twice the smaller binomial tail at 1/2.

    McNemar 1947, Psychometrika 12, 153, in the exact form. 1.0 where nothing changed.
    """
    check_counts(max(1, lost + won), lost, won)
    return min(1.0, 2 * binomial_half_cdf(min(lost, won), lost + won))


def hypergeometric(successes: int, n: int, total: int, level: float) -> Bounds:
    """The proportion in a finite population of `total` of which `n` were drawn at random.

    Exact, so at least `level` is covered, and zero width at n = total. The two tail tests inverted:
    Konijn 1973, Statistical Theory of Sample Survey Design and Analysis; Wright 1991, Exact
    Confidence Bounds when Sampling from Small Finite Universes.
    """
    check_counts(n, successes)
    check_sample(n, total)
    check_level(level)
    tail = (1 - level) / 2
    high = _most_successes(successes, n, total, tail)
    low = total - _most_successes(n - successes, n, total, tail)
    return Bounds(successes / n, min(low / total, successes / n), max(high / total, successes / n))


def finite_difference(lost: int, won: int, n: int, total: int, level: float) -> Bounds:
    """(won - lost) / total over a finite population of pairs of which `n` were drawn at random.

    Exact hypergeometric bounds of the lost and of the won share, each at half the error, so that
    both hold together (Bonferroni). At least `level` is covered; zero width at n = total.
    """
    check_counts(n, lost, won)
    each = (1 + level) / 2
    down = hypergeometric(lost, n, total, each)
    up = hypergeometric(won, n, total, each)
    estimate = (won - lost) / n
    return Bounds(estimate, min(estimate, up.low - down.high), max(estimate, up.high - down.low))


def unvarying(
    value: float, n: int, limits: tuple[float, float], level: float, *, total: int | None = None
) -> Bounds:
    """The mean of values within `limits` when all `n` that were seen equal `value` (n = 1 included).

    With no spread seen, t would say "certain". Instead: the share of other values is at most its
    exact upper bound at 0 of n (Clopper & Pearson 1934, Biometrika 26, 404; hypergeometric when
    drawn from `total`), and those may lie at either limit.
    """
    check_counts(n)
    check_level(level)
    low, high = limits
    if not low <= value <= high:
        raise ValueError(f"{value} is outside of {limits}")
    clopper_pearson = 1 - ((1 - level) / 2) ** (1 / n)
    others = clopper_pearson if total is None else hypergeometric(0, n, total, level).high
    return Bounds(value, value - others * (value - low), value + others * (high - value))


def _most_successes(successes: int, n: int, total: int, tail: float) -> int:
    """The largest number of successes in the population that has P(X <= successes) > tail."""
    accepted, refused = successes, total - (n - successes) + 1
    while refused - accepted > 1:
        middle = (accepted + refused) // 2
        if hypergeometric_cdf(successes, n, middle, total) > tail:
            accepted = middle
        else:
            refused = middle
    return accepted
