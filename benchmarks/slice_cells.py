"""Soundness cells of rules over slices: how often a harmless model is blocked, and a collapse is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from benchmarks.trials import ERROR, Found, Values
from gate.stats.slices import part_blocked, part_bounds, part_proven

# 57 subjects as uneven as those of a known benchmark; after pooling none has fewer than 50 documents.
SIZES = tuple([50] * 8 + [60] * 8 + [100] * 20 + [150] * 8 + [250] * 8 + [400] * 3 + [800, 1500])
FLIPS = 0.1
LIMITS = (-1.0, 1.0)


@lru_cache(maxsize=1_000_000)
def beyond_noise(lost: int, won: int, n: int, error: float) -> bool:
    """Whether a slice of right-or-wrong documents lost more than noise."""
    if lost <= won:
        return False
    losses = np.array([1.0] * lost + [-1.0] * won + [0.0] * (n - lost - won))
    return part_bounds(losses, None, error, LIMITS)[0].low > 0


def blocked(flips: float, drops: Values, margin: float, error: float, trials: int, seed: int) -> int:
    """In how many trials some slice lost more than `margin` and more than noise; each has its true drop."""
    rng = np.random.default_rng([20, seed])
    fails = np.zeros(trials, bool)
    for n, drop in zip(SIZES, drops.tolist(), strict=True):
        share = max(flips, abs(drop))
        drawn = rng.multinomial(n, [(share + drop) / 2, (share - drop) / 2, 1 - share], trials)
        seen, of = np.unique(drawn[:, :2], axis=0, return_inverse=True)
        found = [
            lost - won > margin * n + 1e-9 and beyond_noise(lost, won, n, error)
            for lost, won in seen.tolist()
        ]  # fmt: skip
        fails |= np.array(found)[of]
    return int(fails.sum())


def harmless(trials: int) -> Iterator[Found]:
    """No slice drops: at the margin of a policy, and at none, where only the test against noise is left."""
    none = np.zeros(len(SIZES))
    for flips in (0.02, 0.1, 0.3):
        for margin in (0.1, 0.0):
            wrong = blocked(flips, none, margin, ERROR / len(SIZES), trials, round(1000 * flips))
            yield Found(
                f"57 slices, flips {flips:.0%}, limit {100 * margin:.0f} points: blocked", wrong, trials
            )


def collapsed(trials: int) -> Iterator[Found]:
    """One slice of 100 collapses by 30 points, all others gain so that the mean over documents holds: how
    often that is missed. Beside it what is caught of smaller drops, and what `plan` says of each."""
    error, victim, notes, missed = ERROR / len(SIZES), SIZES.index(100), [], 0
    for drop in (0.10, 0.15, 0.20, 0.30):
        drops = np.full(len(SIZES), -drop * 100 / (sum(SIZES) - 100))
        drops[victim] = drop
        missed = trials - blocked(FLIPS, drops, 0.1, error, trials, 7)
        said = part_blocked(100, FLIPS, drop, 0.1, error)
        notes.append(f"{100 * drop:.0f} points {1 - missed / trials:.1%} ({said:.1%})")
    name = "57 slices, limit 10 points, one of 100 drops by 30, the mean by 0: missed"
    yield Found(name, missed, trials, f"caught (plan says): {', '.join(notes)}")


def other_data(trials: int) -> Iterator[Found]:
    """20 harmless slices of 60 to 200: graded values, skewed ones, and documents that move in clusters. All
    lie between -1 and 1, but for one that has no range."""
    makers: dict[str, Callable[[np.random.Generator, int], tuple[Values, list[str] | None]]] = {
        "graded": lambda rng, n: (rng.beta(0.4, 0.4, n) - rng.beta(0.4, 0.4, n), None),
        "rare and large": _rare,
        "mostly small losses": lambda rng, n: (1.0 - rng.gamma(0.5, 2.0, n), None),
        "clusters of 5": _clusters,
    }
    sizes = [60] * 6 + [100] * 8 + [200] * 6
    for number, (name, make) in enumerate(makers.items()):
        rng = np.random.default_rng([21, number])
        wrong = 0
        for _ in range(trials):
            limits = None if name == "mostly small losses" else LIMITS
            wrong += any(_lost(*make(rng, n), ERROR / len(sizes), limits) for n in sizes)
        yield Found(f"20 slices, {name}, limit 0 points: blocked", wrong, trials)


def _lost(
    losses: Values, clusters: list[str] | None, error: float, limits: tuple[float, float] | None = LIMITS
) -> bool:
    return part_bounds(losses, clusters, error, limits)[0].low > 0


def skewed(n: int, small: float, rare: float, share: float, rng: np.random.Generator) -> Values:
    """Half of the documents change by `small`, a `share` of them by `rare` instead."""
    drawn = rng.random(n)
    return np.where(drawn < share, rare, np.where(drawn < share + 0.5, small, 0.0))


def rare_gains(trials: int) -> Iterator[Found]:
    """20 slices that lose a little often and gain all rarely, so that none drops: a small one often shows no
    gain at all. Beside it what is seen of a collapse: every document drops by so much, give or take 15."""
    for n, small, share, margin, drops in (
        (50, 0.1, 0.05, 0.05, (0.2, 0.3)),
        (200, 0.02, 0.01, 0.0, (0.05, 0.1)),
    ):
        rng = np.random.default_rng([24, n])
        wrong = 0
        for _ in range(trials):
            parts = (skewed(n, small, -1.0, share, rng) for _ in range(20))
            wrong += any(each.mean() > margin and _lost(each, None, ERROR / 20) for each in parts)
        seen = []
        for drop in drops:
            parts = (rng.normal(drop, 0.15, n).clip(-1, 1) for _ in range(trials))
            caught = sum(_lost(each, None, ERROR / 20) for each in parts)
            seen.append(f"{100 * drop:.0f} points {caught / trials:.1%}")
        name = f"20 slices of {n}, rare whole gains, limit {100 * margin:.0f} points: blocked"
        yield Found(name, wrong, trials, f"caught of one: {', '.join(seen)}")


def _rare(rng: np.random.Generator, n: int) -> tuple[Values, None]:
    """One document in ten changes, by any amount."""
    return np.where(rng.random(n) < FLIPS, rng.uniform(-1, 1, n), 0.0), None


def _clusters(rng: np.random.Generator, n: int) -> tuple[Values, list[str]]:
    """A cluster in five is lost or won as one."""
    of = np.arange(n) // 5
    moved = rng.choice([-1.0, 0.0, 1.0], of.max() + 1, p=[0.1, 0.8, 0.1])
    return moved[of], [str(name) for name in of]


def proven(trials: int) -> Iterator[Found]:
    """Slices of 100 and 200 at no drop, one whose drop is the margin: how often all are proven below it."""
    sizes, margin = [100] * 6 + [200] * 6, 0.1
    for where in (0, 11):
        rng = np.random.default_rng([22, where])
        passes = np.ones(trials, bool)
        for at, n in enumerate(sizes):
            drop = margin if at == where else 0.0
            flips = max(FLIPS, drop)
            drawn = rng.multinomial(n, [(flips + drop) / 2, (flips - drop) / 2, 1 - flips], trials)
            passes &= np.array([_proven(lost, won, n, margin) for lost, won, _ in drawn.tolist()])
        name = f"proven: 12 slices, one of {sizes[where]} drops by the limit: passed"
        yield Found(name, int(passes.sum()), trials)


@lru_cache(maxsize=1_000_000)
def _proven(lost: int, won: int, n: int, margin: float) -> bool:
    losses = np.array([1.0] * lost + [-1.0] * won + [0.0] * (n - lost - won))
    return part_proven(losses, None, margin, ERROR, LIMITS)


def cells(trials: int) -> Iterator[Found]:
    """All of them."""
    for section in (harmless, collapsed, other_data, rare_gains, proven):
        yield from section(trials)


def faults(trials: int) -> Iterator[Found]:
    """Every slice at the whole error, and documents of clusters taken for independent ones."""
    none = np.zeros(len(SIZES))
    yield Found(
        "57 slices without a correction: blocked", blocked(0.1, none, 0.0, ERROR, trials, 100), trials
    )
    rng = np.random.default_rng([23])
    wrong = sum(any(_lost(_clusters(rng, n)[0], None, ERROR / 20) for n in [100] * 20) for _ in range(trials))
    yield Found("20 slices, clusters taken for documents: blocked", wrong, trials)
