"""Distribution functions and quantiles, as far as the estimators need them. numpy only: importing
scipy.special takes twice as long as all the rest of judging, so scipy is the tests' oracle."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gate.stats.estimate import Array, check_level

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(64)


def normal_quantile(level: float) -> float:
    """The size that a standard normal variable stays below with probability `level`."""
    check_level(level)
    return NormalDist().inv_cdf((1 + level) / 2)


@lru_cache(maxsize=256)
def t_quantile(level: float, degrees: float) -> float:
    """The size that a Student t variable stays below with probability `level`.

    With t = sqrt(degrees) tan(a) the density becomes cos(a)^(degrees - 1) (Abramowitz & Stegun 1964,
    26.7), which 64 Gauss-Legendre nodes integrate; the angle is found by halving. Beyond 10,000
    degrees that peak is too narrow, and the expansion 26.7.5 about the normal quantile is as good.
    """
    z = normal_quantile(level)
    if degrees > 1e4:
        return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(math.pi) / 2

    def beyond(angle: float) -> bool:
        at = angle * (_NODES + 1) / 2
        density = np.exp(log_scale + (degrees - 1) * np.log(np.cos(at)))
        return angle * float(_NODE_WEIGHTS @ density) > level

    return math.sqrt(degrees) * math.tan(edge(beyond, 0.0, math.pi / 2))


def binomial_half_cdf(x: int, n: int) -> float:
    """P(X <= x) for `n` fair coins."""
    return float(np.exp(_log_choose(n, np.arange(x + 1)) - n * math.log(2)).sum())


def hypergeometric_cdf(x: int, n: int, successes: int, total: int) -> float:
    """P(X <= x) for `n` drawn without replacement from `total` that hold `successes`."""
    k = np.arange(max(0, n - (total - successes)), min(x, successes, n) + 1)
    ways = _log_choose(successes, k) + _log_choose(total - successes, n - k)
    return float(np.exp(ways - _log_choose(total, np.array([n]))).sum())


def edge(rejected: Callable[[float], bool], inside: float, outside: float, halvings: int = 60) -> float:
    """Where the accepted region that holds `inside` ends towards `outside`, by halving."""
    for _ in range(halvings):
        middle = (inside + outside) / 2
        if rejected(middle):
            outside = middle
        else:
            inside = middle
    return inside


def _log_choose(n: int, k: NDArray[np.int_]) -> Array:
    table = _log_factorials(1 << n.bit_length())
    return np.asarray(table[n] - table[k] - table[n - k], dtype=np.float64)


@lru_cache(maxsize=32)
def _log_factorials(size: int) -> Array:
    return np.array([math.lgamma(k + 1) for k in range(size)])
