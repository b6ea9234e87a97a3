"""Estimators for means, ratios and corpus metrics, and for weighted sums of estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gate.stats.distributions import t_quantile
from gate.stats.estimate import Array, Bounds, DegenerateData, Moments, check_level


def mean_moments(values: Array) -> Moments:
    """The mean of independent values (of paired differences: the paired t test's estimate) with
    variance s^2 / n and n - 1 degrees. Student 1908, Biometrika 6, 1. Raises DegenerateData for n < 2."""
    n = _check_values(values)
    if n < 2:
        raise DegenerateData("the spread of one value is unknown")
    return Moments(float(values.mean()), float(values.var(ddof=1)) / n, n - 1)


def ratio_moments(numerators: Array, denominators: Array) -> Moments:
    """R = sum(numerators) / sum(denominators), as bits over bytes, by its linearised variance
    sum((y - R x)^2) / (n - 1) / n / mean(x)^2. Cochran 1977, section 6.4, equation 6.13 (without the finite
    population correction). For a paired difference of two ratios with the same denominators, give
    the differences of the numerators. Raises DegenerateData for n < 2."""
    n = _check_values(numerators)
    if denominators.shape != numerators.shape or not (denominators >= 0).all() or denominators.sum() <= 0:
        raise ValueError("denominators must be one a numerator, not negative, and not all zero")
    if n < 2:
        raise DegenerateData("the spread of one document is unknown")
    total = math.fsum(denominators)
    ratio = math.fsum(numerators) / total
    residuals = numerators - ratio * denominators
    return Moments(ratio, float(residuals @ residuals) / (n - 1) * n / total**2, n - 1)


def stratified_t(strata: Sequence[Moments], weights: Sequence[float], level: float) -> Bounds:
    """sum(w d) with variance sum(w^2 v) and a t quantile (one stratum: the paired t interval).

    Cochran 1977, sections 5.3 and 5.4: the effective degrees of freedom are Satterthwaite's 1946
    (Biometrics Bulletin 2, 110). Zero variance in all strata gives zero width.
    """
    _check_weights(weights, len(strata))
    check_level(level)
    estimate = math.fsum(w * s.estimate for w, s in zip(weights, strata, strict=True))
    parts = [w * w * s.variance for w, s in zip(weights, strata, strict=True)]
    variance = math.fsum(parts)
    if variance <= 0:
        return Bounds(estimate, estimate, estimate)
    # Shares of the variance, not variances: their squares do not underflow.
    spread = math.fsum((p / variance) ** 2 / s.degrees for p, s in zip(parts, strata, strict=True))
    half = t_quantile(level, 1 / spread) * math.sqrt(variance)
    return Bounds(estimate, estimate - half, estimate + half)


def mover(parts: Sequence[Bounds], weights: Sequence[float]) -> Bounds:
    """sum(w d) of independent estimates from the intervals of each, at their common level.

    Zou & Donner 2008, Statistics in Medicine 27, 1693 (method of variance estimates recovery;
    with score intervals it is Newcombe's 1998 method, Statistics in Medicine 17, 873): distances from
    estimate to bound are combined as roots of sums of squares. Keeps each part's asymmetry near 0 and 1.
    """
    _check_weights(weights, len(parts))
    pairs = list(zip(weights, parts, strict=True))
    estimate = math.fsum(w * p.estimate for w, p in pairs)
    below = math.sqrt(math.fsum((w * (p.estimate - p.low)) ** 2 for w, p in pairs))
    above = math.sqrt(math.fsum((w * (p.high - p.estimate)) ** 2 for w, p in pairs))
    return Bounds(estimate, estimate - below, estimate + above)


def comonotone(parts: Sequence[Bounds], weights: Sequence[float]) -> Bounds:
    """sum(w d) of estimates that may depend on each other in any way, from the intervals of each.

    Distances from estimate to bound are added: a sum's standard deviation is at most the sum of its parts'
    (Minkowski's inequality), which it is where all move together.
    """
    _check_weights(weights, len(parts))
    pairs = list(zip(weights, parts, strict=True))
    estimate = math.fsum(w * p.estimate for w, p in pairs)
    below = math.fsum(abs(w) * (p.estimate - p.low) for w, p in pairs)
    above = math.fsum(abs(w) * (p.high - p.estimate) for w, p in pairs)
    return Bounds(estimate, estimate - below, estimate + above)


def percentile(estimate: float, replicates: Array, level: float) -> Bounds:
    """The percentile interval of bootstrap replicates, widened to hold the estimate where bias has
    moved it out. Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.

    Raises DegenerateData when there are too few replicates for the quantile: fewer than 2 / (1 - level).
    """
    n = _check_values(replicates)
    check_level(level)
    if n < 2 / (1 - level) * (1 - 1e-9):
        raise DegenerateData(f"{n} bootstrap replicates are too few for a level of {level}")
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Bounds(estimate, min(float(low), estimate), max(float(high), estimate))


def standard_bootstrap(estimate: float, replicates: Array, level: float) -> Bounds:
    """The estimate and a t quantile times the replicates' standard deviation: for levels that have
    too few replicates for `percentile`. Efron & Tibshirani 1993, chapter 12. Raises DegenerateData
    for fewer than 20 replicates."""
    n = _check_values(replicates)
    if n < 20:
        raise DegenerateData(f"{n} bootstrap replicates are too few")
    half = t_quantile(level, n - 1) * float(replicates.std(ddof=1))
    return Bounds(estimate, estimate - half, estimate + half)


def _check_weights(weights: Sequence[float], n: int) -> None:
    if n < 1 or len(weights) != n or not all(math.isfinite(w) and w >= 0 for w in weights):
        raise ValueError("weights must be one an estimate, finite and not negative")


def _check_values(values: Array) -> int:
    if values.ndim != 1 or values.size < 1 or not np.isfinite(values).all():
        raise ValueError("values must be a row of finite numbers")
    return int(values.size)
