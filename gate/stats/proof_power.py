"""How often documents prove a drop to be small, before anything is measured: by simulation.

Where `decide: proven` takes the cluster-robust bound (`gate.stats.proportions.range_bounds`: several
subtasks, an average, clusters) no formula gives its power: it is undecided where fewer than ten clusters
changed, takes a further cluster into account, and bends with the skew. So samples are drawn and put to it.

Documents are right or wrong, and a share `flips` changes. Those of one cluster change alike with an
intraclass correlation of `alike`: each takes part, with a chance of sqrt(alike), in what its cluster as a
whole does, and goes its own way otherwise. 0 is independent documents, 1 clusters that change as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gate.stats.distributions import t_quantile
from gate.stats.estimate import Array
from gate.stats.proportions import LEAST_CHANGED, LEAST_CLUSTERS

RUNS = 2000  # samples a figure: a share is known to two standard errors of 1.1 % each, at most


@dataclass(frozen=True, slots=True)
class Clusters:
    """So many clusters of `size` documents each, of which each counts `scale` times in the mean of all."""

    number: int
    size: int = 1
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums over a sample's clusters, (runs,) each; S is a cluster's sum of values, m its documents."""

    number: int
    sizes: tuple[float, float, float]  # of m, m^2, m^3
    s: Array
    s2: Array
    s3: Array
    sm: Array
    s2m: Array
    sm2: Array

    def with_one(self, value: float, size: int) -> _Moments:
        """As if one more cluster had been drawn."""
        m1, m2, m3 = self.sizes
        return _Moments(
            self.number + 1,
            (m1 + size, m2 + size**2, m3 + size**3),
            self.s + value,
            self.s2 + value**2,
            self.s3 + value**3,
            self.sm + value * size,
            self.s2m + value**2 * size,
            self.sm2 + value * size**2,
        )

    @property
    def mean(self) -> Array:
        return self.s / self.sizes[0]

    def high(self, error: float) -> tuple[Array, NDArray[np.bool_]]:
        """(runs,) each: the upper end of `cluster_bounds`, and whether it is known."""
        k, r, (m1, m2, m3) = self.number, self.mean, self.sizes
        squares = np.maximum(self.s2 - 2 * r * self.sm + r**2 * m2, 0.0)
        cubes = self.s3 - 3 * r * self.s2m + 3 * r**2 * self.sm2 - r**3 * m3
        variance = squares / (k - 1) * k / m1**2
        skew = cubes / k / np.maximum(squares / k, 1e-30) ** 1.5
        t = t_quantile(1 - 2 * error, k - 1)
        known = np.asarray(variance > 1e-24 * r**2)
        return r - np.sqrt(variance) * np.minimum(-t, _hall(-t, skew, k)), known


def worth(clusters: Sequence[Clusters]) -> float:
    """How many clusters of one size they are worth (Kish 1965, Survey Sampling, section 8.2)."""
    documents = sum(each.number * each.size for each in clusters)
    return documents**2 / sum(each.number * each.size**2 for each in clusters)


def independent(clusters: Sequence[Clusters], alike: float) -> float:
    """How many independent documents of one task are as precise: of equal clusters their documents over the
    design effect, 1 + (size - 1) `alike` (Kish 1965, section 5.4)."""
    documents = sum(each.number * each.size for each in clusters)
    effects = (each.number * each.size * each.scale**2 * (1 + (each.size - 1) * alike) for each in clusters)
    return documents**2 / math.fsum(effects)


@lru_cache(maxsize=4096)
def unproven(
    clusters: tuple[Clusters, ...], flips: float, drop: float, margin: float, error: float, alike: float
) -> float:
    """The chance that a drop of at most `margin` is not proven where the true one is `drop`."""
    if worth(clusters) < LEAST_CLUSTERS - 1e-9:
        return 1.0
    found, changed = _drawn(clusters, flips, drop, alike)
    extra = max(1, round(found.sizes[0] / found.number))
    most = max(each.scale for each in clusters)
    plain, known = found.high(error)
    wider, _ = found.with_one(most * extra, extra).high(error)
    proven = known & (changed >= LEAST_CHANGED) & (np.maximum(plain, wider) <= margin)
    return 1 - float(proven.mean())


@lru_cache(maxsize=4096)
def above(clusters: tuple[Clusters, ...], flips: float, drop: float, margin: float, alike: float) -> float:
    """The chance that the benchmark's own drop is larger than `margin` where the population's is `drop`."""
    found, _ = _drawn(clusters, flips, drop, alike)
    return float((found.mean > margin + 1e-9).mean())


def _drawn(clusters: Sequence[Clusters], flips: float, drop: float, alike: float) -> tuple[_Moments, Array]:
    """Samples, and how many of their clusters have any change, (runs,)."""
    rng = np.random.default_rng(0)
    flips = max(flips, abs(drop))
    lost, won = (flips + drop) / 2, (flips - drop) / 2
    sums, changed = np.zeros((6, RUNS)), np.zeros(RUNS)
    for each in clusters:
        counts = rng.multinomial(each.number, _chances(each.size, lost, won, alike), RUNS).astype(float)
        s, m = each.scale * np.append(np.arange(-each.size, each.size + 1), 0), each.size
        powers = np.stack([s, s**2, s**3])
        found = powers @ counts.T
        sums += np.concatenate([found, m * found[:2], m**2 * found[:1]])
        changed += each.number - counts[:, -1]
    sizes = [float(sum(each.number * each.size**power for each in clusters)) for power in (1, 2, 3)]
    number = sum(each.number for each in clusters)
    return _Moments(number, (sizes[0], sizes[1], sizes[2]), *sums), changed


@lru_cache(maxsize=1024)
def _chances(size: int, lost: float, won: float, alike: float) -> Array:
    """Of a cluster's net loss, from -size to size, where anything changed; and, last, that nothing did."""
    joins, stay = math.sqrt(alike), 1 - lost - won
    own = np.zeros(
        (size + 1, 2 * size + 1)
    )  # net loss of the documents that go their own way, by their number
    own[0, size] = 1.0
    for k in range(size):
        own[k + 1] = stay * own[k] + lost * np.roll(own[k], 1) + won * np.roll(own[k], -1)
    joining = np.array([1.0])
    for _ in range(size):
        joining = np.convolve(joining, [1 - joins, joins])
    net, nothing = np.zeros(2 * size + 1), 0.0
    for joined, chance in enumerate(joining.tolist()):
        alone = own[size - joined]
        for share, by in ((lost, joined), (stay, 0), (won, -joined)):
            net += chance * share * np.roll(alone, by)
        nothing += chance * stay ** (size - joined) * (stay if joined else 1.0)
    net[size] -= nothing
    found = np.append(np.maximum(net, 0.0), nothing)
    return np.asarray(found / found.sum())


def _hall(t: float, skew: Array, n: int) -> Array:
    """The quantile of Hall's transformed statistic, as `cluster_bounds` takes it."""
    bend = skew / (3 * math.sqrt(n))
    flat = np.abs(bend) < 1e-9
    safe = np.where(flat, 1.0, bend)
    return np.where(flat, t, (np.cbrt(1 + 3 * safe * (t - safe / 2)) - 1) / safe)
