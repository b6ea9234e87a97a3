"""Early stopping: by enumerating every order, against a linear program, and by seeded simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from numpy.typing import NDArray

from gate.stats.claims import Limit, decide, log_evidence, mean_so_far, remaining
from gate.stats.multiple import anytime_p, holm
from gate.stats.sequential import BREAKS, KEEPS, SIGNS, Block, Evidence, Stratum, observe, start

TERNARY = (-1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0)
GRADED = (-0.9, -0.35, 0.0, 0.1, 0.25, 0.8, 1.0)
LOSSES = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def orders(values: Sequence[float]) -> NDArray[np.float64]:
    """Every order of the documents, one a row."""
    return np.array(list(itertools.permutations(values)))


def shuffled(values: NDArray[np.float64], runs: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).permuted(np.broadcast_to(values, (runs, values.size)), axis=1)


def differences(n: int, lost: int, won: int) -> NDArray[np.float64]:
    return np.concatenate([np.ones(lost), -np.ones(won), np.zeros(n - lost - won)])


def settled(
    ordered: NDArray[np.float64], limit: Limit, errors: tuple[float, float], block: int = 32
) -> tuple[NDArray[np.bool_], NDArray[np.int_]]:
    """Of each run: whether KEEPS and BREAKS were claimed before the end, and after how many documents."""
    runs, n = ordered.shape
    evidence, hit, used = start([Stratum(n)], (runs,)), np.zeros((runs, 2), bool), np.full(runs, n)
    for at in range(0, n - block, block):
        evidence = observe(evidence, [Block(ordered[:, at : at + block])])
        hit |= log_evidence(evidence, limit) >= -np.log(errors)
        used = np.where(hit.any(axis=1) & (used == n), at + block, used)
    return hit, used


# ── The guarantee ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("values", [TERNARY, GRADED, LOSSES])
@pytest.mark.parametrize("sizes", [(1,) * 6, (2, 3, 1), (4, 2), (3, 3)])
def test_evidence_for_a_false_claim_averages_at_most_one(
    values: tuple[float, ...], sizes: tuple[int, ...]
) -> None:
    """Over all 5,040 orders, after every block, for limits at the truth and on its wrong side."""
    ordered, mean = orders(values), sum(values) / len(values)
    evidence, at = start([Stratum(len(values))], (len(ordered),)), 0
    for size in sizes:
        evidence = observe(evidence, [Block(ordered[:, at : at + size])])
        at += size
        for beyond in (0.0, 0.05, 0.3):
            keeps = np.exp(log_evidence(evidence, Limit.at(mean - beyond))[:, KEEPS]).mean()
            breaks = np.exp(log_evidence(evidence, Limit.at(mean + beyond))[:, BREAKS]).mean()
            assert keeps <= 1 + 1e-9
            assert breaks <= 1 + 1e-9


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (1.0, 0.25)])
def test_evidence_about_a_mean_of_strata_averages_at_most_one(weights: tuple[float, float]) -> None:
    """Over all 576 pairs of orders of two strata with their own ranges, one of them drawn twice as fast."""
    first, second = (1.0, 0.0, 0.0, -1.0), (0.0, -0.2, -1.0, -1.0)
    pairs = list(itertools.product(orders(first), orders(second)))
    one, two = (np.array([pair[k] for pair in pairs]) for k in (0, 1))
    truth = weights[0] * float(np.mean(first)) + weights[1] * float(np.mean(second))
    evidence = start([Stratum(4, weights[0]), Stratum(4, weights[1], -1.0, 0.0)], (len(pairs),))
    for left, right in ((one[:, :2], two[:, :1]), (one[:, 2:3], two[:, 1:2]), (None, two[:, 2:3])):
        evidence = observe(evidence, [None if b is None else Block(b) for b in (left, right)])
        assert (np.exp(log_evidence(evidence, Limit.at(truth))).mean(axis=0) <= 1 + 1e-9).all()


def test_allocation_may_follow_what_was_seen() -> None:
    """Two strata, the next document always of the one that looks worse: still at most one on average."""
    first, second = (1.0, 0.0, 0.0, -1.0), (1.0, 1.0, 0.0, -1.0)
    limit, totals = Limit.at((np.mean(first) + np.mean(second)) / 2), np.zeros((5, 2))
    cases = list(itertools.product(set(itertools.permutations(first)), set(itertools.permutations(second))))
    for rows in cases:
        evidence = start([Stratum(4, 0.5), Stratum(4, 0.5)])
        for look in range(5):
            worse = int(evidence.sums[1] > evidence.sums[0])
            k = worse if evidence.seen[worse] < 4 else 1 - worse
            block = Block(np.array([rows[k][evidence.seen[k]]]))
            evidence = observe(evidence, [block if k == j else None for j in (0, 1)])
            totals[look] += np.exp(log_evidence(evidence, limit))
    assert (totals / len(cases) <= 1 + 1e-9).all()


def test_false_claims_stay_below_the_error() -> None:
    """1,500 orders at the last kept and at the first broken document: at most 5 %, over all looks."""
    n, limit = 400, Limit.at(0.03, 400)
    for net, wrong in ((12, BREAKS), (13, KEEPS)):
        hit, _ = settled(shuffled(differences(n, 20 + net, 20), 1500, net), limit, (0.05, 0.05))
        assert (
            scipy.stats.binomtest(int(hit[:, wrong].sum()), 1500, 0.05, alternative="greater").pvalue > 1e-3
        )


def test_documents_are_saved() -> None:
    """As many documents as GSM8K, 10 % flips, no drop, margin 2 points: settled after 60 % or less."""
    hit, used = settled(shuffled(differences(1319, 66, 66), 200, 1), Limit.at(0.02, 1319), (0.05, 0.05))
    assert used.mean() < 0.6 * 1319
    assert not hit[:, BREAKS].any()


# ── How it is computed ───────────────────────────────────────────────────────────────────────────


def test_order_within_a_block_is_of_no_consequence() -> None:
    """A scorer may sort a block's documents."""
    values = np.array([1.0, 0.0, 0.0, -1.0, 0.25])
    for order in (np.sort(values), values[::-1]):
        one, other = (observe(start([Stratum(9)]), [Block(v)]) for v in (values, order))
        assert log_evidence(one, Limit.at(0.1)) == pytest.approx(
            log_evidence(other, Limit.at(0.1)), rel=1e-12
        )


def test_counts_stand_for_repeated_values() -> None:
    """Three values with their counts give the same as the documents one by one."""
    one = observe(start([Stratum(20)]), [Block(np.array([1.0, 0, 0, 0, -1, 0]))])
    other = observe(start([Stratum(20)]), [Block(np.array([-1.0, 0, 1]), np.array([1.0, 4, 1]))])
    assert log_evidence(one, Limit.at(0.05)) == pytest.approx(log_evidence(other, Limit.at(0.05)), rel=1e-12)


def test_observing_changes_nothing_that_was() -> None:
    """Evidence is frozen: the next one is new, and the same block twice gives the same twice."""
    first = observe(start([Stratum(20)]), [Block(np.array([1.0, 0, 0]))])
    before = log_evidence(first, Limit.at(0.1)).copy()
    again = [log_evidence(observe(first, [Block(np.array([0.0, 1.0]))]), Limit.at(0.1)) for _ in range(2)]
    assert (log_evidence(first, Limit.at(0.1)) == before).all()
    assert (again[0] == again[1]).all()


def test_the_worst_split_is_the_linear_program() -> None:
    """Uneven slopes over five strata: each bet's evidence is what scipy finds for the worst split."""
    rng = np.random.default_rng(3)
    strata = [
        Stratum(int(n), float(w)) for n, w in zip(rng.integers(20, 90, 5), rng.random(5) + 0.1, strict=True)
    ]
    evidence = start(strata)
    for _ in range(3):
        blocks = [Block(rng.choice([-1.0, 0, 1], int(rng.integers(1, 7)))) for _ in strata]
        evidence = observe(evidence, [b if rng.random() < 0.6 else None for b in blocks])
    for mean in (-0.6, 0.0, 0.15, 0.9):
        expected = [by_linear_program(evidence, mean, side) for side in (KEEPS, BREAKS)]
        assert log_evidence(evidence, Limit.at(mean)) == pytest.approx(expected, rel=1e-7)


def by_linear_program(evidence: Evidence, mean: float, side: int) -> float:
    weights = np.array([2 * s.weight for s in evidence.strata])
    sizes, seen = np.array([s.size for s in evidence.strata]), np.array(evidence.seen)
    low = evidence.sums / sizes
    sign = float(SIGNS[side, 0])
    limit = mean + weights.sum() / 2
    logs = []
    for bet in range(evidence.gains.shape[-1]):
        cost = -sign * evidence.slopes[:, side, bet]
        found = scipy.optimize.linprog(
            cost,
            A_ub=sign * weights[None],
            b_ub=[sign * limit],
            bounds=list(zip(low, low + 1 - seen / sizes, strict=True)),
        )
        if found.status == 2:
            return math.inf
        logs.append(evidence.gains[side, bet] + found.fun)
    return float(np.logaddexp.reduce(logs) - math.log(len(logs)))


def test_a_round_pulls_its_strata_by_their_weights() -> None:
    """Unequal sizes and blocks keep slopes in proportion to weights: no split is worse than another."""
    evidence = start([Stratum(300, 0.7), Stratum(90, 0.3)])
    for at in range(2):
        rng = np.random.default_rng(at)
        blocks = [Block(rng.choice([-1.0, 0, 1], n, p=[0.1, 0.8, 0.1])) for n in (48, 16)]
        evidence = observe(evidence, blocks)
    assert evidence.slopes[0] / 0.7 == pytest.approx(evidence.slopes[1] / 0.3)


# ── Limits, decisions, what remains ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("margin", "n", "most"), [(0.02, 50, 1), (0.29, 100, 29), (0.07, 100, 7), (0.0, 9, 0), (-0.05, 200, -10)]
)
def test_a_margin_of_whole_documents_is_kept_by_them(margin: float, n: int, most: int) -> None:
    """Although 0.29 * 100 is 28.999999999999996 in binary."""
    assert Limit.at(margin, n) == Limit(most / n, (most + 1) / n, n)


def test_what_is_left_cannot_change_it() -> None:
    """Counting alone: 12 of 20 lost break any margin below .55, and 18 unchanged keep .1."""
    broken = observe(start([Stratum(20)]), [Block(np.array([1.0] * 16 + [0.0]))])
    kept = observe(start([Stratum(20)]), [Block(np.zeros(18))])
    assert decide(broken, Limit.at(0.6, 20), keep_error=1e-9, break_error=1e-9) == "breaks"
    assert decide(kept, Limit.at(0.1, 20), keep_error=1e-9, break_error=1e-9) == "keeps"
    assert decide(kept, Limit.at(0.05, 20), keep_error=1e-9, break_error=1e-9) is None


@pytest.mark.parametrize(("lost", "outcome"), [(1, "keeps"), (2, "breaks")])
def test_the_whole_benchmark_decides_exactly(lost: int, outcome: str) -> None:
    """At the last document a drop of just the margin keeps it, whatever the evidence was."""
    evidence = observe(start([Stratum(50)]), [Block(differences(50, lost, 0))])
    assert evidence.complete
    assert decide(evidence, Limit.at(0.02, 50), keep_error=0.05, break_error=0.05) == outcome
    assert decide(evidence, Limit.at(0.02), keep_error=0.05, break_error=0.05) == outcome
    assert float(mean_so_far(evidence)) == pytest.approx(lost / 50)


def test_a_gain_and_a_score_are_limits_of_harm() -> None:
    """min_gain .3 is a drop of at most -.3; min_score .8 a mean of -tuned of at most -.8."""
    gain = observe(start([Stratum(400)]), [Block(-np.ones(60))])
    score = observe(start([Stratum(400, 1.0, -1.0, 0.0)]), [Block(np.zeros(60))])
    assert decide(gain, Limit.at(-0.3, 400), keep_error=0.05, break_error=0.05) == "keeps"
    assert decide(score, Limit.at(-0.8, 400), keep_error=0.05, break_error=0.05) == "breaks"


def test_what_remains_agrees_with_what_is_decided() -> None:
    """Settled when the interval, at the same one-sided error, has left the limit; no width at the end."""
    limit, truth = Limit.at(0.03, 600), 0.0
    for row in shuffled(differences(600, 24, 24), 6, 5):
        evidence = start([Stratum(600)])
        for at in range(0, 600, 120):
            evidence = observe(evidence, [Block(row[at : at + 120])])
            found = remaining(evidence, 0.1)
            decided = decide(evidence, limit, keep_error=0.05, break_error=0.05)
            assert (decided == "keeps") == (found.high < limit.broken)
            assert found.low <= found.estimate <= found.high
        assert (found.low, found.high) == pytest.approx((truth, truth))


def test_what_remains_ends_where_the_evidence_does() -> None:
    """At either bound the evidence against it is just 1 / (half the error); also for a mean of strata."""
    rng = np.random.default_rng(6)
    for sizes in ((300,), (200, 90, 400)):
        evidence = start([Stratum(n, 1 / len(sizes)) for n in sizes])
        for _ in range(2):
            evidence = observe(
                evidence, [Block(rng.choice([-1.0, 0, 1], 40, p=[0.1, 0.8, 0.1])) for _ in sizes]
            )
        found = remaining(evidence, 0.1)
        assert log_evidence(evidence, Limit.at(found.high))[KEEPS] == pytest.approx(math.log(20), abs=1e-6)
        assert log_evidence(evidence, Limit.at(found.low))[BREAKS] == pytest.approx(math.log(20), abs=1e-6)


def test_the_truth_is_seldom_refuted() -> None:
    """Over 1,000 orders and all looks, intervals at 80 % miss the truth in at most a fifth."""
    hit, _ = settled(shuffled(differences(240, 24, 12), 1000, 6), Limit(0.05, 0.05), (0.1, 0.1), block=40)
    missed = int(hit.any(axis=1).sum())
    assert missed > 0
    assert scipy.stats.binomtest(missed, 1000, 0.2, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize(
    "blocks",
    [[Block(np.array([1.5]))], [Block(np.zeros(11))], [Block(np.zeros(1))] * 2, [Block(np.array([np.nan]))]],
)
def test_nonsense_is_refused(blocks: list[Block]) -> None:
    """Values out of range or not a number, more documents than there are, a block too many."""
    with pytest.raises(ValueError, match=r"outside|more documents|one block"):
        observe(start([Stratum(10)]), blocks)


def test_strata_make_sense() -> None:
    """No documents, no weight, no range, no strata: errors."""
    for numbers in ((0, 1.0), (5, 0.0), (5, 1.0, 1.0, 1.0), (5, math.nan)):
        with pytest.raises(ValueError, match="no sense"):
            Stratum(*numbers)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no strata"):
        start([])


# ── Several rules ────────────────────────────────────────────────────────────────────────────────


def test_holm_is_the_closed_bonferroni_test() -> None:
    """Claimed just when every set of rules that holds it has a p value of at most error / its size."""
    rng = np.random.default_rng(7)
    for p in [rng.random(5) ** 4 for _ in range(50)]:
        subsets = [s for r in range(1, 6) for s in itertools.combinations(range(5), r)]
        closed = [all(p[list(s)].min() <= 0.05 / len(s) for s in subsets if k in s) for k in range(5)]
        assert ((holm(p) <= 0.05) == closed).all()


def test_holm_on_a_known_example() -> None:
    """.01, .04, .03, .005 become .03, .06, .06, .02; a rule known for certain relaxes the others."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.0, 0.04]) == pytest.approx([0.0, 0.04])
    assert anytime_p(np.array([math.log(20), -3.0, math.inf])) == pytest.approx([0.05, 1.0, 0.0])
