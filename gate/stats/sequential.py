"""Early stopping: what the full benchmark would say, from the documents scored so far. The evidence.

The question is always `sum(weight_k * mean_k) <= limit`, where `mean_k` is the mean of all `size`
documents of stratum k (a task, or a leaf of a group; mostly there is one) and a document's value is its
harm, in a range known beforehand: base - tuned for `max_drop` and `min_gain`, -tuned for `min_score`.
`gate.stats.claims` asks the evidence; it does not depend on the limit, so one serves many rules.

**Guarantee.** The documents' values are fixed numbers of which nothing is assumed; clusters do not
matter. Random is only the order: the blocks of each stratum are made and ordered by a uniformly random
permutation of its documents, independent between strata. Which strata come next, and with how many
blocks, may depend on all that was seen before. Then, for any `limit` and error e,

    P(at some look, log_evidence[KEEPS] >= log(1 / e)) <= e   if the full benchmark breaks the limit,
    P(at some look, log_evidence[BREAKS] >= log(1 / e)) <= e  if it keeps it,

for looks as many and whenever one likes. Only one of the two can go wrong for one benchmark, so each may
use the whole error. When all documents were seen the answer is exact. Over several rules see
`gate.stats.multiple`.

**Why.** Scale values to z in [0, 1]. Of R documents left, with mean v, a block of n is drawn; c and b were
chosen before, with 1 + s b (z - c) > 0 for all z, where s = 1 or -1. Let the block's documents be shown one
by one in random order: before the j-th (from 0), what is left has the mean v_j = (R v - those shown) /
(R - j). Let u and u_j be the same if the mean were just at the limit. The j-th factor

    (1 + s b (z_j - c)) exp(-s b (u_j - c))

has the conditional mean (1 + s b (v_j - c)) exp(-s b (u_j - c)) <= exp(s b (v_j - u_j)), by
1 + t <= exp(t), and that is at most 1 for s = -1 if the true mean is at the limit or above it, for s = 1 if
at or below. So the product is a test supermartingale under sampling without replacement (Waudby-Smith &
Ramdas 2020, arXiv 2006.04347 and 2010.09686; ALPHA, Stark 2022, arXiv 2201.02707; those bet on z - u_j,
here the logarithm becomes linear in u). In it only sum(u_j) depends on the order within the block. Its mean
over orders put in its place makes the product no larger on average (Jensen), so **the order within a
block is of no consequence**: a scorer may sort a block by length. The average of several such products, for
several bets b, is a supermartingale too (no bet needs to be right), and Ville's inequality (1939) gives the
guarantee.

**Several strata.** "The weighted mean is at least m" is refuted if the product over strata is large for
every split of m over the strata: a union of intersections (Spertus & Stark 2022, arXiv 2207.03379). As the
logarithm is linear, the least favourable split is a linear program with one constraint, solved by
sorting. Bets are scaled so that a round pulls its strata in proportion to their weights: then all splits
are equally unfavourable, and the minimum costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gate.stats.estimate import Array

KEEPS, BREAKS = 0, 1  # the claims, in the order of their axis
SIGNS = np.array([[-1.0], [1.0]])  # KEEPS bets on small values, BREAKS on large ones
# Bets are best for a full benchmark that lies this many standard errors (of a sample as large as the
# benchmark) from the limit: below 2 hardly anything can be saved, above 16 the cap binds.
_SIGNALS = np.array([2.0, 4.0, 8.0, 16.0])
_CAP = 0.7  # no document takes more than this share of what was won
# What is assumed before anything was seen, worth 10 documents: no harm, and a spread between those of
# differences where one document in ten flips (0.025) and of scores (up to 0.25).
_PRIOR_DOCUMENTS, _PRIOR_CENTRE, _PRIOR_VARIANCE = 10.0, 0.5, 0.05
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Stratum:
    """Documents that are drawn at random among themselves: how many, their mean's weight in the whole,
    and the range that their values cannot leave."""

    size: int
    weight: float = 1.0
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        numbers = (self.weight, self.low, self.high)
        if self.size < 1 or not all(map(math.isfinite, numbers)) or self.weight <= 0 or self.low >= self.high:
            raise ValueError(f"{self} makes no sense")


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Newly scored documents of one stratum: (..., n) values; with `counts`, how many have each value."""

    values: Array
    counts: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All that has been learned; never changed, `observe` gives the next one. Independent of any limit.

    Leading axes, if any, are independent runs with equal numbers of documents (simulations).
    """

    strata: tuple[Stratum, ...]
    seen: tuple[int, ...]
    sums: Array  # (..., strata): of the scaled values
    squares: Array  # (..., strata)
    gains: Array  # (..., 2, bets): the logarithm's constant part
    slopes: Array  # (..., strata, 2, bets): its size per unit of the stratum's scaled mean

    @property
    def complete(self) -> bool:
        """Whether every document was seen."""
        return all(n == s.size for n, s in zip(self.seen, self.strata, strict=True))

    def of_runs(self, chosen: NDArray[np.bool_]) -> Evidence:
        """Some of the independent runs of a simulation."""
        parts = (part[chosen] for part in (self.sums, self.squares, self.gains, self.slopes))
        return Evidence(self.strata, self.seen, *parts)


def start(strata: Sequence[Stratum], runs: tuple[int, ...] = ()) -> Evidence:
    """Nothing seen yet."""
    if not strata:
        raise ValueError("a mean over no strata")
    k, bets = len(strata), len(_SIGNALS)
    nothing = np.zeros((*runs, k))
    return Evidence(
        tuple(strata),
        (0,) * k,
        nothing,
        nothing,
        np.zeros((*runs, 2, bets)),
        np.zeros((*runs, k, 2, bets)),
    )


def observe(evidence: Evidence, blocks: Sequence[Block | None]) -> Evidence:
    """A round: at most one block of every stratum, in the strata's order (None: none of this one).

    Raises ValueError for values outside of their range and for more documents than there are.
    """
    if len(blocks) != len(evidence.strata):
        raise ValueError("one block, or None, a stratum")
    drawn = [(k, *_scaled(evidence, k, block)) for k, block in enumerate(blocks) if block is not None]
    bets = _bets(evidence, [(k, n) for k, _, _, n in drawn])
    centres = _centres(evidence)[..., None, None]
    seen, sums, squares = list(evidence.seen), evidence.sums.copy(), evidence.squares.copy()
    gains, slopes = evidence.gains.copy(), evidence.slopes.copy()
    for (k, z, counts, n), bet in zip(drawn, bets, strict=True):
        size, centre, total = evidence.strata[k].size, centres[..., k, :, :], (counts * z).sum(-1)
        pull, lag = _harmonic(size - seen[k], n)
        won = np.log1p(SIGNS[..., None] * bet[..., None] * (z[..., None, None, :] - centre[..., None]))
        # sum(c - u_j) in the mean over orders; its part that is linear in the stratum's mean is in `slopes`.
        known = evidence.sums[..., k] * pull + total / n * lag
        gains += (counts[..., None, None, :] * won).sum(-1) + SIGNS * bet * (
            n * centre + known[..., None, None]
        )
        slopes[..., k, :, :] += bet * size * pull
        seen[k] += n
        sums[..., k] += total
        squares[..., k] += (counts * z * z).sum(-1)
    return Evidence(evidence.strata, tuple(seen), sums, squares, gains, slopes)


def tally(evidence: Evidence, blocks: Sequence[Block | None]) -> Evidence:
    """A round that is counted and not bet on: no more can be claimed until every document was seen.

    It costs a fraction of `observe`, and raises what that does.
    """
    seen, sums = list(evidence.seen), evidence.sums.copy()
    for k, block in enumerate(blocks):
        if block is not None:
            z, counts, n = _scaled(evidence, k, block)
            seen[k] += n
            sums[..., k] += (counts * z).sum(-1)
    return replace(evidence, seen=tuple(seen), sums=sums)


def weights(evidence: Evidence) -> Array:
    """Of the strata's means of scaled values."""
    return np.array([s.weight * (s.high - s.low) for s in evidence.strata])


def offset(evidence: Evidence) -> float:
    """What is added to the weighted sum of scaled means."""
    return math.fsum(s.weight * s.low for s in evidence.strata)


def deviations(evidence: Evidence) -> Array:
    """(..., strata): how far a document of each stratum moves the weighted mean of scaled values, one among
    all: its weight times the standard deviation that was seen, drawn towards the prior's."""
    return weights(evidence) * np.sqrt(_variances(evidence, _centres(evidence)))


def _scaled(evidence: Evidence, k: int, block: Block) -> tuple[Array, Array, int]:
    """Values in [0, 1], how many of each, and how many in all."""
    stratum = evidence.strata[k]
    values = np.asarray(block.values, dtype=np.float64)
    z = (values - stratum.low) / (stratum.high - stratum.low)
    if not ((z >= -ROUNDING) & (z <= 1 + ROUNDING)).all():
        raise ValueError(f"a value outside of {stratum.low} to {stratum.high}")
    counts = np.ones(values.shape[-1:]) if block.counts is None else np.asarray(block.counts, np.float64)
    sizes = np.unique(counts.sum(-1))
    if sizes.size != 1 or not 1 <= sizes[0] <= stratum.size - evidence.seen[k] or sizes[0] % 1:
        raise ValueError(f"{sizes} more documents of {stratum.size}, {evidence.seen[k]} seen")
    return np.clip(z, 0, 1), counts, int(sizes[0])


def _centres(evidence: Evidence) -> Array:
    """(..., strata): the mean of what was seen, drawn towards no harm."""
    seen = np.array(evidence.seen)
    return np.asarray((_PRIOR_DOCUMENTS * _PRIOR_CENTRE + evidence.sums) / (_PRIOR_DOCUMENTS + seen))


def _variances(evidence: Evidence, centres: Array) -> Array:
    """(..., strata): about the centres, drawn towards the prior's."""
    seen = np.array(evidence.seen)
    spread = evidence.squares - 2 * centres * evidence.sums + seen * centres**2
    return np.asarray(
        (_PRIOR_DOCUMENTS * _PRIOR_VARIANCE + np.maximum(spread, 0)) / (_PRIOR_DOCUMENTS + seen)
    )


def _bets(evidence: Evidence, drawn: Sequence[tuple[int, int]]) -> list[Array]:
    """(..., 2, bets) for every stratum of the round, from what was seen before the round alone.

    A round that pulls the weighted mean by P has the variance P^2 V; the best P against an effect e is e / V
    (Kelly 1956, to second order).
    """
    sizes, scale, centres = np.array([s.size for s in evidence.strata]), weights(evidence), _centres(evidence)
    variances = _variances(evidence, centres)
    error = np.sqrt((scale**2 * variances / sizes).sum(-1))
    shares: list[float] = []  # the bet of each stratum for a pull of 1
    variance, most = np.zeros_like(error), np.full((*error.shape, 2), np.inf)
    for k, n in drawn:
        share = scale[k] / (sizes[k] * _harmonic(sizes[k] - evidence.seen[k], n)[0])
        variance = variance + n * share**2 * variances[..., k]
        worst = np.stack([1 - centres[..., k], centres[..., k]], axis=-1)
        most = np.minimum(most, _CAP / (worst * share))
        shares.append(share)
    effects = error[..., None] * _SIGNALS
    pulls = effects / (variance[..., None] + effects**2 / max(1, sum(n for _, n in drawn)))
    limited = np.minimum(pulls[..., None, :], most[..., :, None])
    return [limited * share for share in shares]


def _harmonic(left: int, n: int) -> tuple[float, float]:
    """sum(1 / (left - j)) and sum(j / (left - j)) over j = 0 .. n - 1."""
    places = np.arange(n)
    return float((1 / (left - places)).sum()), float((places / (left - places)).sum())
