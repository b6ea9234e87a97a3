"""Soundness cells of recipes: documents and trainings drawn from populations, the drop just on the margin;
and `decide: score` of fixed documents in random orders."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.slice_cells import LIMITS, SIZES
from benchmarks.trials import ERROR, TERNARY, Bools, Found, Values, counted, play
from gate.stats import Bounds, DegenerateData
from gate.stats.claims import Limit, log_evidence
from gate.stats.means import mean_moments, stratified_t
from gate.stats.proportions import range_bounds
from gate.stats.sequential import KEEPS, Block, Stratum, observe, start
from gate.stats.slices import part_bounds, part_proven
from gate.stats.trainings import over_trainings

# documents, trainings, standard deviation between recipes' trainings in points
CASES = ((500, 2, 0.0), (500, 2, 2.0), (500, 3, 1.0), (1319, 3, 2.0), (1319, 5, 1.0), (5000, 4, 1.0))
DROP, FLIPS = 0.02, 0.1
Losses = NDArray[np.int8]


def draw(n: int, k: int, between: float, rng: np.random.Generator, drop: float = DROP) -> Values:
    """(trainings, documents) of losses: each training has a drop of its own, about `drop`; some documents are
    lost after most trainings, most of them after some."""
    drops = drop + rng.normal(0, between / 100, k)
    prone = rng.permutation(np.repeat([2.0, 2 / 3], [n // 4, n - n // 4]))  # on average 1
    flips = np.maximum(FLIPS, np.abs(drops[:, None]))
    lost, won = (flips + drops[:, None]) / 2 * prone, (flips - drops[:, None]) / 2 * prone
    chance = rng.random((k, n))
    return np.where(chance < lost, 1.0, np.where(chance > 1 - won, -1.0, 0.0))


def seeds(trials: int) -> Iterator[Found]:
    """A "proven" that is false, the interval's misses, and both where training noise is forgotten."""
    for n, k, between in CASES:
        rng = np.random.default_rng([21, n, k, round(10 * between)])
        proven = alone = missed = 0
        for _ in range(trials):
            losses = draw(n, k, between, rng)
            mean, each = losses.mean(axis=0), losses.mean(axis=1)
            try:
                bound = range_bounds(mean, np.arange(n), ERROR, (-1.0, 1.0))
            except DegenerateData:
                continue
            over = Bounds(bound.estimate, bound.low, bound.high)
            proven += over_trainings(over, each.tolist(), 1 - 2 * ERROR).high < DROP
            alone += bound.high < DROP
            interval = stratified_t([mean_moments(mean)], [1.0], 1 - ERROR)
            both = over_trainings(interval, each.tolist(), 1 - ERROR)
            missed += not both.low <= DROP <= both.high
        name = f"{k} trainings, N {n}, {between:g} points between them"
        forgotten = f"without the trainings' noise {alone / trials:.1%}"
        yield Found(f"{name}: false proof", proven, trials, forgotten)
        yield Found(f"{name}: the interval misses", missed, trials)
    yield from score(trials)
    yield from picked(trials)
    yield from slices(trials)


# ── decide: score ────────────────────────────────────────────────────────────────────────────────


def benchmark(n: int, nets: list[int]) -> Losses:
    """(trainings, documents): each training changes FLIPS of the documents, `net` more lost than won; a
    quarter of the documents is three times as likely to change, after every training."""
    rng = np.random.default_rng([22, n, len(nets)])
    weights = np.repeat([3.0, 1.0], [n // 4, n - n // 4])
    values = np.zeros((len(nets), n), np.int8)
    for training, net in zip(values, nets, strict=True):
        changed = max(round(n * FLIPS), abs(net))
        lost = (changed + net) // 2
        chosen = rng.choice(n, 2 * lost - net, replace=False, p=weights / weights.sum())
        training[chosen[:lost]], training[chosen[lost:]] = 1, -1
    return values


def spread_out(total: int, k: int) -> list[int]:
    """A whole loss over `k` trainings, the first of which loses most."""
    apart = [(k - 1 - 2 * at) * 2 for at in range(k)]  # adds up to nothing
    return [total // k + (at < total % k) + more for at, more in enumerate(apart)]


def score(trials: int) -> Iterator[Found]:
    """The mean of k trainings on the margin, a k-th of a document beyond, and away from it; how many of them
    are settled by themselves when the mean is, each as one choice of k."""
    for n in (500, 1319, 5000):
        for k in (2, 3, 5):
            last = math.floor(n * k * DROP + 1e-9)
            for where, total in (("no drop", 0), ("kept", last), ("broken", last + 1), ("2 x", 2 * last)):
                yield scored(n, k, where, total, total > last, trials)


def scored(n: int, k: int, where: str, total: int, breaks: bool, trials: int) -> Found:
    """One benchmark of a recipe in many orders, the same for all of its trainings."""
    values, limit = benchmark(n, spread_out(total, k)), Limit.at(DROP)
    rng = np.random.default_rng([23, n, k, total])
    order = rng.permuted(np.broadcast_to(np.arange(n), (trials, n)), axis=1)
    mean = counted(values.sum(axis=0, dtype=np.int8)[order], most=k)
    played = play(mean, limit, values=np.arange(-k, k + 1) / k)
    wrong = int((played.breaks != breaks).sum())
    notes = f"documents used {played.documents.mean() / n:.1%}"
    if where == "no drop":
        alone = [play(counted(each[order]), limit, (ERROR / k, ERROR)).documents for each in values]
        settled = np.mean([own <= played.documents for own in alone])
        both = played.documents + np.maximum(alone[0] - played.documents, 0) / k
        notes += f"; a training by itself {np.mean(alone) / n:.1%}, settled by then {settled:.0%}"
        notes += f"; with the first settled too {both.mean() / n:.1%}"
    kind = "false pass" if breaks else "false fail"
    return Found(f"score: {k} trainings, N {n}, {where}: {kind}", wrong, trials, notes)


def falsely_kept(k: int, error: float, trials: int) -> Bools:
    """(trials,): whether any of k trainings, each one document beyond the margin, is claimed to keep it at
    any look: whenever the recipe stops, somebody may pick that one."""
    n = 1319
    limit, hit = Limit.at(DROP), np.zeros(trials, bool)
    values = benchmark(n, [math.floor(n * DROP) + 1] * k)
    order = np.random.default_rng([24, k]).permuted(np.broadcast_to(np.arange(n), (trials, n)), axis=1)
    for each in values:
        evidence = start([Stratum(n)], (trials,))
        for block in counted(each[order])[:-1]:
            evidence = observe(evidence, [Block(TERNARY, block)])
            hit |= log_evidence(evidence, limit)[:, KEEPS] >= -math.log(error)
    return hit


def picked(trials: int) -> Iterator[Found]:
    """A training that breaks its rule is let through, chosen among k that do."""
    for k in (2, 3, 5):
        hit = int(falsely_kept(k, ERROR / k, trials).sum())
        yield Found(
            f"score: the best of {k} trainings, N 1319, all beyond the margin: false pass", hit, trials
        )


# ── Slices ───────────────────────────────────────────────────────────────────────────────────────

PARTS = (60,) * 4 + (100,) * 5 + (200,) * 3
SEEN = (100, 250, 1500)  # sizes of slices of which one collapses


def lost(losses: Values, error: float, *, spread: bool = True) -> bool:
    """Whether a slice lost more than noise of (trainings, documents) of losses."""
    mean, each = losses.mean(axis=0), losses.mean(axis=1).tolist()
    if mean.mean() <= 0 or (spread and over_trainings(_point(mean), each, 1 - 2 * error).low <= 0):
        return False  # which the documents' noise could only confirm
    bounds, _ = part_bounds(mean, None, error, LIMITS)
    return (over_trainings(bounds, each, 1 - 2 * error) if spread else bounds).low > 0


def _point(losses: Values) -> Bounds:
    mean = float(losses.mean())
    return Bounds(mean, mean, mean)


def slices(trials: int) -> Iterator[Found]:
    """12 harmless slices whose trainings differ, with what is seen of a collapse among 57; one slice whose
    drop is the limit, "proven" to be below, with what is proven of slices that lost nothing."""
    for k, between in ((2, 2.0), (3, 5.0), (5, 5.0)):
        wrong = harmless_blocked(k, between, trials, spread=True)
        said = ", ".join(
            f"of {n} by {points} points {caught(n, k, points / 100, trials):.1%}"
            for n in SEEN
            for points in (20, 40)
        )
        name = f"12 slices, {k} trainings, {between:g} points between them, limit 0: blocked"
        yield Found(name, wrong, trials, f"caught of one of 57, 2 points between them: {said}")
    for k, n in ((3, 60), (3, 200), (5, 60), (5, 200), (5, 1500)):
        wrong = at_limit_proven(k, n, trials, spread=True)
        none = harmless_proven(k, n, trials)
        name = f"proven: a slice of {n}, {k} trainings, 5 points between them, drops by the limit"
        yield Found(name, wrong, trials, f"no drop, 2 points between them, limit 10: proven {none:.1%}")


def harmless_blocked(k: int, between: float, trials: int, *, spread: bool) -> int:
    """In how many trials some harmless slice lost more than noise."""
    rng = np.random.default_rng([25, k])
    error = ERROR / len(PARTS)
    return sum(
        any(lost(draw(n, k, between, rng, 0.0), error, spread=spread) for n in PARTS) for _ in range(trials)
    )


def caught(n: int, k: int, drop: float, trials: int) -> float:
    """The share of recipes in which one slice that drops by so much is seen, of as many as SIZES has."""
    rng = np.random.default_rng([26, n, k])
    few = max(1, trials // 3)
    return sum(lost(draw(n, k, 2.0, rng, drop), ERROR / len(SIZES)) for _ in range(few)) / few


def at_limit_proven(k: int, n: int, trials: int, *, spread: bool) -> int:
    """In how many trials a slice whose drop is 10 points is proven to drop by at most so much."""
    rng = np.random.default_rng([27, k, n])
    return sum(_proven(draw(n, k, 5.0, rng, 0.1), spread=spread) for _ in range(trials))


def harmless_proven(k: int, n: int, trials: int) -> float:
    """The share of slices without any drop that are proven to drop by at most 10 points."""
    rng = np.random.default_rng([28, k, n])
    few = max(1, trials // 3)
    return sum(_proven(draw(n, k, 2.0, rng, 0.0), spread=True) for _ in range(few)) / few


def _proven(losses: Values, *, spread: bool) -> bool:
    each = losses.mean(axis=1).tolist() if spread else ()
    return part_proven(losses.mean(axis=0), None, 0.1, ERROR, LIMITS, each)


def faults(trials: int) -> Iterator[Found]:
    """The spread between trainings left out, and the whole error for each training that may be picked."""
    wrong = harmless_blocked(3, 5.0, trials, spread=False)
    yield Found("12 slices, 3 trainings, their spread left out: blocked", wrong, trials)
    wrong = at_limit_proven(3, 200, trials, spread=False)
    yield Found("proven: a slice of 200, 3 trainings, their spread left out", wrong, trials)
    hit = int(falsely_kept(5, ERROR, trials).sum())
    yield Found("the best of 5 trainings, each at the whole error: false pass", hit, trials)
