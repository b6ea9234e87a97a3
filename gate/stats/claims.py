"""What the evidence of `gate.stats.sequential` says about a limit of the full benchmark.

All guarantees and their proof are there. `decide` and `remaining` ask the same martingale: at the same
one-sided error, `remaining` ends on the near side of the limit exactly when `decide` has settled it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gate.stats.distributions import edge
from gate.stats.estimate import Array, Bounds
from gate.stats.sequential import BREAKS, KEEPS, ROUNDING, SIGNS, Evidence, offset, weights


@dataclass(frozen=True, slots=True)
class Limit:
    """A rule of the full benchmark: a mean of at most `kept` keeps it, of at least `broken` breaks it. With a
    `lattice` the mean is a whole number over it."""

    kept: float
    broken: float
    lattice: int | None = None

    @classmethod
    def at(cls, margin: float, lattice: int | None = None) -> Limit:
        """`mean <= margin`, equality kept. `lattice` is the number of documents where the mean can only be
        a whole number of documents over it (values 0 and 1, or differences of such; one stratum)."""
        if lattice is None:
            return cls(margin, margin)
        # A margin of exactly k documents is kept by k documents, whatever binary makes of their product.
        most = math.floor(lattice * margin + 1e-9)
        return cls(most / lattice, (most + 1) / lattice, lattice)

    def rounded(self, low: float, high: float) -> tuple[float, float]:
        """Bounds of the full benchmark's mean, moved inwards to what it can be."""
        if self.lattice is None:
            return low, high
        n = self.lattice
        return math.ceil(low * n - 1e-6) / n, math.floor(high * n + 1e-6) / n


def log_evidence(evidence: Evidence, limit: Limit) -> Array:
    """(..., 2): the logarithm of the evidence that the full benchmark KEEPS the limit, and that it BREAKS it.

    Infinite where the documents left cannot change it.
    """
    keeps = _log_wealth(evidence, limit.broken)[..., KEEPS]
    breaks = _log_wealth(evidence, limit.kept)[..., BREAKS]
    return np.stack([keeps, breaks], axis=-1)


def mean_so_far(evidence: Evidence) -> Array:
    """(...): the weighted mean of the strata's means; of the full benchmark when `complete`.

    Not defined before every stratum was seen (ValueError).
    """
    if not all(evidence.seen):
        raise ValueError("a stratum of which nothing was seen")
    means = evidence.sums / np.array(evidence.seen)
    return np.asarray(means @ weights(evidence) + offset(evidence))


def decide(
    evidence: Evidence, limit: Limit, *, keep_error: float, break_error: float
) -> Literal["keeps", "breaks"] | None:
    """What the full benchmark certainly says, each claim at its own error; None: go on.

    A claim stands from the first look on at which it was made: ask at every look, and keep the answer.
    """
    if evidence.complete:
        slack = ROUNDING * max(1.0, abs(limit.kept))
        return "keeps" if float(mean_so_far(evidence)) <= limit.kept + slack else "breaks"
    found = log_evidence(evidence, limit)
    if found[KEEPS] >= -math.log(keep_error):
        return "keeps"
    return "breaks" if found[BREAKS] >= -math.log(break_error) else None


def remaining(evidence: Evidence, error: float) -> Bounds:
    """Where the full benchmark's own weighted mean lies, but for `error` at all looks together: all limits
    that neither claim refutes at half the error (a confidence sequence; Waudby-Smith & Ramdas 2020).

    No width at the end. The estimate is the mean so far; a stratum of which nothing was seen counts with the
    middle of its range. Of one run, without leading axes.
    """
    seen = np.array(evidence.seen)
    means = np.where(seen > 0, evidence.sums / np.maximum(seen, 1), 0.5)
    estimate = float(means @ weights(evidence) + offset(evidence))
    if evidence.complete:
        return Bounds(estimate, estimate, estimate)
    half = -math.log(error / 2)
    low, high = _possible(evidence)
    # Both are monotone in the limit, as every factor is.
    above = edge(lambda m: bool(_log_wealth(evidence, m)[KEEPS] >= half), low, high)
    below = edge(lambda m: bool(_log_wealth(evidence, m)[BREAKS] >= half), high, low)
    return Bounds(estimate, min(below, estimate), max(above, estimate))


def band(evidence: Evidence, keep_error: float, break_error: float) -> Bounds:
    """`remaining` for a drawing, each end at its own error: (low, high) to a ten-thousandth of the range."""
    seen = np.array(evidence.seen)
    means = np.where(seen > 0, evidence.sums / np.maximum(seen, 1), 0.5)
    estimate = float(means @ weights(evidence) + offset(evidence))
    if evidence.complete:
        return Bounds(estimate, estimate, estimate)
    low, high = _possible(evidence)
    above = _first(evidence, KEEPS, -math.log(keep_error), low, high)
    below = _first(evidence, BREAKS, -math.log(break_error), high, low)
    return Bounds(estimate, min(below, estimate), max(above, estimate))


def _first(evidence: Evidence, claim: int, needed: float, inside: float, outside: float) -> float:
    """The first limit from `inside` on that the claim refutes, by three grids of 32 steps each."""
    for _ in range(3):
        grid = np.linspace(inside, outside, 33)
        refuted = np.flatnonzero(_log_wealth(evidence, grid)[:, claim] >= needed)
        at = int(refuted[0]) if refuted.size else 32
        inside, outside = float(grid[max(0, at - 1)]), float(grid[at])
    return outside


def _possible(evidence: Evidence) -> tuple[float, float]:
    """The full benchmark's least and greatest mean, whatever the documents left are worth."""
    sizes, scale = _sizes(evidence), weights(evidence)
    least = float((evidence.sums / sizes) @ scale + offset(evidence))
    return least, least + float((1 - np.array(evidence.seen) / sizes) @ scale)


def _log_wealth(evidence: Evidence, mean: float | Array) -> Array:
    """(..., 2): against "the full mean is at least `mean`" and against "at most", for the worst split. Of one
    run, several means give (means, 2).

    Every bet gets its own worst split, so their average is at most what it is at the worst common one.
    """
    sizes, scale = _sizes(evidence), weights(evidence)
    least = evidence.sums / sizes
    room = scale * (1 - np.array(evidence.seen) / sizes)  # what each stratum may still add
    above = np.asarray(mean - offset(evidence) - least @ scale)  # what they must add together
    cost = -SIGNS * (evidence.slopes * least[..., :, None, None]).sum(-3)
    # From `least` up a split is filled where a unit costs least: where it adds least evidence.
    prices = -SIGNS * evidence.slopes / scale[:, None, None]
    fill = np.broadcast_to(room[:, None, None], prices.shape)
    if len(sizes) > 1:
        order = np.argsort(prices, axis=-3)
        prices, fill = (np.take_along_axis(part, order, axis=-3) for part in (prices, fill))
    before = np.cumsum(fill, axis=-3) - fill
    filled = np.clip(above[..., None, None, None] - before, 0, fill)
    wealth = _log_mean_exp(evidence.gains + cost + (prices * filled).sum(-3))
    slack = ROUNDING * float(scale.sum())
    impossible = np.stack([above > room.sum() + slack, above < -slack], axis=-1)
    return np.where(impossible, np.inf, wealth)


def _sizes(evidence: Evidence) -> Array:
    return np.array([s.size for s in evidence.strata], dtype=np.float64)


def _log_mean_exp(logs: Array) -> Array:
    top = logs.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(logs - top).mean(axis=-1)) + top[..., 0])
