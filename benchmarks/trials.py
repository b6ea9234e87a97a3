"""What the soundness cells share: benchmarks, random orders, and rules played over their blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.stats import wilson
from gate.stats.claims import Limit, log_evidence
from gate.stats.sequential import KEEPS, Block, Evidence, Stratum, observe, start

ERROR, BLOCK = 0.05, 32
TERNARY = np.array([-1.0, 0.0, 1.0])
Ints = NDArray[np.int_]
Bools = NDArray[np.bool_]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """One line of the table: how often the answer was wrong, and what is shown beside it."""

    name: str
    wrong: int
    trials: int
    notes: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        bounds = wilson(self.wrong, self.trials, 0.999)
        return bounds.low, bounds.high

    @property
    def bad(self) -> bool:
        return self.interval[0] > ERROR

    def line(self) -> str:
        low, high = self.interval
        share = self.wrong / self.trials
        return f"{self.name:<68} {share:7.2%} [{low:6.2%}, {high:6.2%}]  {self.notes}"


# ── Benchmarks and orders ────────────────────────────────────────────────────────────────────────


def benchmark(n: int, flips: float, net: int) -> NDArray[np.int8]:
    """Differences of `n` documents of which `flips` change, `net` more lost than won."""
    changed = max(round(n * flips), abs(net))
    lost = (changed + net) // 2
    values = np.zeros(n, np.int8)
    values[:lost], values[lost : 2 * lost - net] = 1, -1
    return values


def orders(values: NDArray[np.int8], trials: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """(trials, n): the documents in random orders."""
    return rng.permuted(np.broadcast_to(values, (trials, values.size)), axis=1)


def counted(ordered: NDArray[np.int8], block: int = BLOCK, most: int = 1) -> list[Values]:
    """For every block (trials, 2 `most` + 1): how many documents are -`most`, ..., 0, ..., `most`."""
    parts = (ordered[:, at : at + block] for at in range(0, ordered.shape[1], block))
    values = range(-most, most + 1)
    return [np.stack([(part == v).sum(axis=1) for v in values], axis=1).astype(float) for part in parts]


# ── Playing a rule over its blocks ───────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Played:
    """Of every trial: documents until it was settled (all: never early), and on what."""

    documents: Ints
    breaks: Bools


Test = Callable[[Evidence, Limit], Values]  # log evidence at a look; the planted faults are other ones


def play(
    blocks: Sequence[Values],
    limit: Limit,
    errors: tuple[float, float] = (ERROR, ERROR),
    test: Test = log_evidence,
    values: Values = TERNARY,
) -> Played:
    """One task: all trials at once, those that are settled leave. `values` are what is counted."""
    trials, sizes = len(blocks[0]), [int(block[0].sum()) for block in blocks]
    n = sum(sizes)
    lost = sum(block @ values for block in blocks)
    breaks = np.asarray(lost / n > limit.kept + 1e-12)
    documents, still, evidence = np.full(trials, n), np.arange(trials), start([Stratum(n)], (trials,))
    for look, block in enumerate(blocks[:-1]):
        evidence = observe(evidence, [Block(values, block[still])])
        found = test(evidence, limit) >= -np.log(errors)
        done = np.asarray(found.any(axis=1))
        documents[still[done]] = sum(sizes[: look + 1])
        breaks[still[done]] = ~found[done, KEEPS]
        still, evidence = still[~done], evidence.of_runs(~done)
        if not still.size:
            break
    return Played(documents, breaks)


def one_rule(n: int, flips: float, margin: float, net: int, trials: int, seed: int) -> tuple[Played, bool]:
    """Many orders of one benchmark, and whether its full drop breaks the margin."""
    limit = Limit.at(margin, n)
    rng = np.random.default_rng([seed, n, round(1000 * flips), net + n])
    played = play(counted(orders(benchmark(n, flips, net), trials, rng)), limit)
    return played, net > round(limit.kept * n)


def verdicts(
    rules: Sequence[tuple[int, float, float, int]],
    trials: int,
    seed: int,
    *,
    correct: bool = True,
    one_order: bool = False,
) -> tuple[Bools, Bools, Values]:
    """Policies of several rules (documents, flips, margin, net): what was claimed (trials,), the truth, and
    the share of documents used. Breaks are corrected for the number of rules unless told otherwise."""
    errors = (ERROR, ERROR / len(rules) if correct else ERROR)
    fails, truth = np.zeros(trials, bool), False
    used = np.zeros(trials)
    for number, (n, flips, margin, net) in enumerate(rules):
        rng = np.random.default_rng([seed, 0 if one_order else number])
        limit = Limit.at(margin, n)
        played = play(counted(orders(benchmark(n, flips, net), trials, rng)), limit, errors)
        fails |= played.breaks
        truth |= net > round(limit.kept * n)
        used += played.documents
    return fails, np.full(trials, truth), used / sum(n for n, *_ in rules)


def false_passes(blocks: Sequence[Values], limit: Limit, test: Test = log_evidence) -> int:
    """False passes of a benchmark that breaks the limit, asking `test` at every look of all trials."""
    trials, evidence = (
        len(blocks[0]),
        start([Stratum(sum(int(b[0].sum()) for b in blocks))], (len(blocks[0]),)),
    )
    hit = np.zeros((trials, 2), bool)
    for block in blocks[:-1]:
        evidence = observe(evidence, [Block(TERNARY, block)])
        hit |= test(evidence, limit) >= -math.log(ERROR)
    return int((hit[:, KEEPS]).sum())
