"""What a rule can see, before anything is measured: the figures of `plan`.

A rule looks at `documents` documents of a benchmark that were drawn from a population. There the tuned
model drops by some true amount, and a share `flips` of documents changes either way. All figures are over
the draw of the documents, and for `score` over their order too. Documents are right or wrong, and
independent, or in `clusters`; a drop cannot exceed the flips, so where more is asked flips grow to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gate.stats.claims import Limit, log_evidence
from gate.stats.distributions import edge
from gate.stats.estimate import Array
from gate.stats.proof_power import Clusters, above, unproven
from gate.stats.proportions import NUISANCE, tango_z
from gate.stats.sequential import KEEPS, Block, Stratum, observe, start

Decide = Literal["full", "score", "proven"]
_NORMAL = NormalDist()
_VALUES = np.array([-1.0, 0.0, 1.0])
_LOOKS = 64  # a simulation looks at most this often: coarser than blocks, so it stops a little later
CAUGHT = 0.8


@dataclass(frozen=True, slots=True)
class Design:
    """One rule `drop <= margin` on 0/1 documents: how many are scored, and how it decides.

    `min_gain` of m is a margin of -m: a gain is a drop below 0. Of a mean over `leaves` (a group, `average`),
    `documents` are as many of one task as are as precise.
    """

    documents: int
    flips: float  # share of documents whose answer changes, either way
    margin: float
    decide: Decide = "score"
    error: float = 0.05  # of "keeps", and of a proof
    rules: int = 1  # that share the error of "breaks"
    leaves: tuple[Stratum, ...] = ()
    # What the chances are simulated from, where no formula has them: a proof from several leaves, or
    # documents in clusters that change `alike` (`gate.stats.proof_power`).
    clusters: tuple[Clusters, ...] = ()
    alike: float = 0.0
    whole: bool = True  # one leaf whose mean is known to be a whole number of documents

    def __post_init__(self) -> None:
        least = 0.0 if self.decide == "proven" else -1.0 + 1e-12
        sound = 0 <= self.flips <= 1 and least <= self.margin < 1 and 0 < self.error < 0.5
        if self.documents < 1 or self.rules < 1 or not sound or not 0 <= self.alike <= 1:
            raise ValueError(f"{self} makes no sense")

    @property
    def halvings(self) -> int:
        """To which the edges of its chances are known."""
        return 12 if self.clusters else 30

    @classmethod
    def of_mean(
        cls,
        leaves: Sequence[Stratum],
        flips: float,
        margin: float,
        decide: Decide = "score",
        error: float = 0.05,
        rules: int = 1,
    ) -> Design:
        """A weighted mean over leaves that flip alike."""
        return cls(effective_documents(leaves), flips, margin, decide, error, rules, tuple(leaves))


@dataclass(frozen=True, slots=True)
class Sight:
    """What the rule sees. Shares of runs; drops in the metric's unit."""

    caught: float  # the smallest true drop that is not passed with a chance of 80 %
    harmless_blocked: float  # the chance that a true drop of 0 is not passed
    workable_margin: float  # the smallest margin that tells itself from no drop
    documents_needed: int  # for this margin to be one


@dataclass(frozen=True, slots=True)
class Course:
    """How a rule under `score` goes, over simulated runs."""

    documents: float  # mean until it is settled
    settled_early: float  # share of runs
    blocked: float  # share of runs; includes `wrong` ones
    wrong: float  # share of runs settled otherwise than the full benchmark says
    runs: int


def sight(design: Design) -> Sight:
    """All but the expected documents, in closed form.

    Under `score` the chances are the full benchmark's; early stopping changes at most `error` of them.
    """
    return Sight(
        caught(design),
        blocked(design, 0.0),
        workable_margin(design.documents, design.flips, design.error, design.rules),
        documents_needed(design.margin, design.flips, design.error, design.rules),
    )


def caught(design: Design) -> float:
    """The smallest true drop that is not passed with a chance of `CAUGHT`."""
    return edge(lambda drop: blocked(design, drop) >= CAUGHT, 0.0, 1.0, design.halvings)


def blocked(design: Design, drop: float) -> float:
    """The chance that the rule does not pass at a true drop of `drop`.

    `full` and `score`: that the benchmark's own drop exceeds the margin, exactly. `proven`: that Tango's test
    does not prove it below, by the normal approximation. Both simulated where the design has `clusters`.
    """
    n, flips = design.documents, max(design.flips, abs(drop))
    if design.clusters and design.decide == "proven":
        return unproven(design.clusters, flips, drop, design.margin, design.error, design.alike)
    if design.clusters:
        return above(design.clusters, flips, drop, design.margin, design.alike)
    if design.decide != "proven":
        most = math.floor(n * design.margin + 1e-9)
        return _net_above(most, n, (flips + drop) / 2, (flips - drop) / 2)
    lost, won = (np.asarray(n * (flips + sign * drop) / 2) for sign in (1, -1))
    at_limit = float(tango_z(lost, won, n, design.margin))
    if n * (design.margin - drop) == 0 or at_limit == 0:
        return 1 - design.error
    restricted = n * (drop - design.margin) / at_limit  # standard deviation that the test assumes
    true = math.sqrt(max(n * (flips - drop * drop), 1e-12))
    highest = n * design.margin + _NORMAL.inv_cdf(design.error * (1 - NUISANCE)) * restricted
    return 1 - _NORMAL.cdf((highest - n * drop) / true)


def documents_needed(margin: float, flips: float, error: float = 0.05, rules: int = 1) -> int:
    """The fixed sample on which a drop of `margin` is told from none: one-sided `error` shared by `rules`,
    power 80 %. (z_error + z_power)^2 flips / margin^2, as for McNemar's test (Connor 1987, Biometrics 43,
    207). Raises ValueError for a margin of 0, for which no sample is enough."""
    if margin <= 0:
        raise ValueError("no sample tells a margin of 0 from no drop")
    return math.ceil(_reach(error, rules) ** 2 * flips / margin**2)


def workable_margin(documents: int, flips: float, error: float = 0.05, rules: int = 1) -> float:
    """The margin for which `documents` are just enough, rounded up to a whole document."""
    return min(1.0, math.ceil(_reach(error, rules) * math.sqrt(flips * documents) - 1e-9) / documents)


def effective_documents(leaves: Sequence[Stratum]) -> int:
    """For a weighted mean over leaves of equal flips: how many documents of one task are as precise."""
    whole = math.fsum(leaf.weight for leaf in leaves)
    return max(1, round(whole**2 / math.fsum(leaf.weight**2 / leaf.size for leaf in leaves)))


def family(chances: Array) -> tuple[float, float]:
    """The chance that at least one of several happens: if they are independent, and at most."""
    return float(1 - np.prod(1 - chances)), float(min(1.0, chances.sum()))


def course(design: Design, drop: float, *, runs: int = 300, seed: int = 0, block: int = 32) -> Course:
    """Simulate `score` at a true drop of `drop`: benchmarks drawn from the population, in random order; each
    round takes a block of every leaf that has one left.

    Standard error of the mean documents: under 3 % of all documents at 300 runs.
    """
    (found,) = courses(design, [(design.flips, drop)], runs=runs, seed=seed, block=block)
    return found


def courses(
    design: Design, cases: Sequence[tuple[float, float]], *, runs: int = 300, seed: int = 0, block: int = 32
) -> tuple[Course, ...]:
    """`course` for several (flips, drop), which together take little longer than one."""
    strata = design.leaves or (Stratum(design.documents),)
    wide = [(max(flips, abs(drop)), drop) for flips, drop in cases]
    chances = [[(flips - drop) / 2, 1 - flips, (flips + drop) / 2] for flips, drop in wide]
    return _play(design, strata, _draw(strata, chances, runs, seed, block), _VALUES, len(cases))


def score_courses(
    design: Design, scores: Sequence[float], *, runs: int = 300, seed: int = 0, block: int = 32
) -> tuple[Course, ...]:
    """The same of `min_score`, whose margin is minus the least score, at several true ones."""
    leaves = design.leaves or (Stratum(design.documents),)
    strata = [Stratum(leaf.size, leaf.weight, -1.0, 0.0) for leaf in leaves]
    rounds = _draw(strata, [[score, 1 - score] for score in scores], runs, seed, block)
    return _play(design, strata, rounds, _VALUES[:2], len(scores))


def _play(
    design: Design, strata: Sequence[Stratum], rounds: list[list[Array | None]], values: Array, cases: int
) -> tuple[Course, ...]:
    """Of as many runs for each of the cases, one after the other."""
    runs = next(len(block) for block in rounds[0] if block is not None)
    limit = Limit.at(design.margin, design.documents if design.whole and not design.leaves else None)
    breaks = _full_breaks(strata, rounds, values, limit)
    needed = -np.log([design.error, design.error / design.rules])  # KEEPS, BREAKS
    every = sum(leaf.size for leaf in strata)
    documents, verdict, still, evidence = (
        np.full(runs, every),
        breaks.copy(),
        np.arange(runs),
        start(strata, (runs,)),
    )
    for blocks in rounds[:-1]:
        evidence = observe(evidence, [None if b is None else Block(values, b[still]) for b in blocks])
        found = log_evidence(evidence, limit) >= needed
        done = np.asarray(found.any(axis=1))
        documents[still[done]], verdict[still[done]] = sum(evidence.seen), ~found[done, KEEPS]
        still, evidence = still[~done], evidence.of_runs(~done)
        if not still.size:
            break
    columns = np.stack([documents, documents < every, verdict, verdict != breaks]).reshape(4, cases, -1)
    shares = columns.mean(axis=2).T.tolist()
    return tuple(Course(used, early, broke, wrong, runs // cases) for used, early, broke, wrong in shares)


def _draw(
    strata: Sequence[Stratum], cases: Sequence[Sequence[float]], runs: int, seed: int, block: int
) -> list[list[Array | None]]:
    """For every round and leaf (cases x runs, values): how many documents of its block have each value, whose
    chances each case has."""
    step = block * max(1, math.ceil(max(leaf.size for leaf in strata) / block / _LOOKS))
    rounds = math.ceil(max(leaf.size for leaf in strata) / step)
    left = [[min(step, leaf.size - at * step) for leaf in strata] for at in range(rounds)]
    random = [np.random.default_rng(seed) for _ in cases]

    def drawn(n: int) -> Array:
        found = [rng.multinomial(n, chances, runs) for rng, chances in zip(random, cases, strict=True)]
        return np.concatenate(found).astype(float)

    return [[drawn(n) if n > 0 else None for n in sizes] for sizes in left]


def _full_breaks(
    strata: Sequence[Stratum], rounds: list[list[Array | None]], values: Array, limit: Limit
) -> NDArray[np.bool_]:
    """(runs,): whether the full benchmark breaks the limit."""
    mean = np.zeros(())
    for blocks in rounds:
        for leaf, block in zip(strata, blocks, strict=True):
            if block is not None:
                mean = mean + leaf.weight / leaf.size * (block @ values)
    return np.asarray(mean > limit.kept + 1e-12)


def _reach(error: float, rules: int) -> float:
    return _NORMAL.inv_cdf(1 - error / rules) + _NORMAL.inv_cdf(CAUGHT)


def _net_above(most: int, n: int, lost: float, won: float) -> float:
    """P(losses - wins > most) for `n` documents, by the characteristic function of their sum, in a window of
    12 standard deviations to each side."""
    drop = lost - won
    reach = 12 * math.sqrt(n * max(lost + won - drop * drop, 0.0)) + 32
    size = 1 << math.ceil(math.log2(2 * reach))
    turn = np.exp(2j * np.pi * np.arange(size) / size)
    chances = np.fft.fft((1 - lost - won + lost * turn + won / turn) ** n).real / size
    first = round(n * drop) - size // 2
    net = first + (np.arange(size) - first) % size
    return float(min(1.0, max(0.0, chances[net > most].sum())))
