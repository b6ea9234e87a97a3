"""The figures of `plan` against exact sums, known sample sizes and the simulator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from gate.stats.power import (
    Design,
    blocked,
    course,
    documents_needed,
    effective_documents,
    family,
    sight,
    workable_margin,
)
from gate.stats.proportions import tango_p
from gate.stats.sequential import Stratum


@pytest.mark.parametrize(("margin", "needed"), [(0.05, 248), (0.03, 687), (0.02, 1546), (0.01, 6183)])
def test_documents_for_ten_percent_flips(margin: float, needed: int) -> None:
    """One-sided 5 %, power 80 %: the known sizes; and the margin that goes back with them."""
    assert documents_needed(margin, 0.1) == needed
    assert workable_margin(needed, 0.1) == pytest.approx(margin, abs=1 / needed)


def test_a_hundred_documents_see_eight_points() -> None:
    """max_drop 0.01 on 100 documents at 10 % flips cannot be told from noise; 0.08 can."""
    seen = sight(Design(100, 0.1, 0.01, "full"))
    assert seen.workable_margin == 0.08
    assert seen.documents_needed == 6183
    assert seen.harmless_blocked > 0.25


@pytest.mark.parametrize(
    ("n", "lost", "won"), [(1, 0.3, 0.1), (9, 0.05, 0.05), (60, 0.2, 0.02), (400, 0.004, 0.0)]
)
def test_a_block_is_the_exact_tail(n: int, lost: float, won: float) -> None:
    """P(losses - wins > margin) equals the convolution, document by document."""
    chances = np.array([1.0])
    for _ in range(n):
        chances = np.convolve(chances, [won, 1 - won - lost, lost])
    for most in range(0, n, max(1, n // 7)):
        expected = chances[n + most + 1 :].sum()
        found = blocked(Design(n, lost + won, most / n, "full"), lost - won)
        assert found == pytest.approx(expected, abs=1e-12)


def test_block_if_it_fell_at_200() -> None:
    """Harmless, 10 % flips, 2 points, 200 documents: one task in six is blocked, three runs in four."""
    one = blocked(Design(200, 0.1, 0.02, "full"), 0.0)
    independent, most = family(np.full(8, one))
    assert one == pytest.approx(0.156, abs=0.001)
    assert independent == pytest.approx(1 - (1 - one) ** 8)
    assert most == 1.0


@pytest.mark.parametrize("drop", [0.0, 0.01, 0.02, 0.04])
def test_score_blocks_what_plan_says(drop: float) -> None:
    """Simulated early stopping against the full benchmark's chance, within four standard errors."""
    design = Design(800, 0.1, 0.02, "score", rules=8)
    expected, found = blocked(design, drop), course(design, drop, runs=600, seed=1)
    assert found.blocked == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 600) + 0.01)
    assert found.wrong <= 0.05
    assert found.documents < 800


def test_proven_blocks_what_plan_says() -> None:
    """The normal approximation against Tango's test on 1,500 samples, over drops: two points."""
    rng = np.random.default_rng(2)
    for n, flips, margin, drop in ((400, 0.1, 0.03, 0.0), (400, 0.1, 0.06, 0.01), (1500, 0.05, 0.02, 0.005)):
        draws = rng.multinomial(n, [(flips + drop) / 2, (flips - drop) / 2, 1 - flips], 1500)
        refused = np.mean([tango_p(int(lost), int(won), n, margin) > 0.05 for lost, won, _ in draws])
        assert blocked(Design(n, flips, margin, "proven"), drop) == pytest.approx(refused, abs=0.04)


def test_what_is_caught_is_blocked_four_times_in_five() -> None:
    """And the drop lies beyond the margin under `full`, within it under `proven`."""
    full, proven = Design(1319, 0.1, 0.02, "full"), Design(1319, 0.1, 0.02, "proven")
    assert blocked(full, sight(full).caught) == pytest.approx(0.8, abs=0.001)
    assert sight(full).caught > 0.02 > sight(proven).caught
    assert blocked(proven, 0.02) == pytest.approx(0.95, abs=0.01)


def test_documents_used_fall_with_the_distance_from_the_margin() -> None:
    """Fewest far from it, nearly all at it; the same figures for the same seed."""
    gone = [course(Design(5000, 0.1, 0.02), drop, runs=150) for drop in (0.0, 0.01, 0.02, 0.04)]
    assert gone[0].documents < gone[1].documents < gone[2].documents
    assert gone[3].documents < gone[1].documents
    assert gone[0] == course(Design(5000, 0.1, 0.02), 0.0, runs=150)


def test_a_mean_over_tasks_is_worth_its_documents() -> None:
    """Equal tasks add up; under equal weights the smallest counts most; weights by size give the sum."""
    assert effective_documents([Stratum(500, 1 / 8)] * 8) == 4000
    assert effective_documents([Stratum(100), Stratum(10_000)]) == pytest.approx(4 / 0.0101, abs=1)
    assert effective_documents([Stratum(100, 0.25), Stratum(300, 0.75)]) == 400


def test_many_rules_pay_for_a_fail_and_not_for_a_pass() -> None:
    """57 rules that share the error of a fail: more documents at twice the margin, as many without a drop."""
    for drop, least in ((0.0, 0.98), (0.04, 1.2)):
        one, many = (course(Design(3000, 0.1, 0.02, rules=k), drop, runs=200) for k in (1, 57))
        assert many.documents >= least * one.documents
        assert drop or many.documents <= 1.02 * one.documents


@pytest.mark.parametrize("drop", [0.0, 0.015])
def test_a_mean_blocks_what_plan_says(drop: float) -> None:
    """Simulated rounds over three tasks of unequal sizes, against the chance for as precise a single one."""
    design = Design.of_mean([Stratum(300, 1 / 3), Stratum(500, 1 / 3), Stratum(800, 1 / 3)], 0.1, 0.015)
    found, expected = course(design, drop, runs=500, seed=3), blocked(design, drop)
    assert found.blocked == pytest.approx(expected, abs=0.07)
    assert found.wrong <= 0.05
    assert found.documents < 1600


def test_a_drop_larger_than_the_flips_is_all_loss() -> None:
    """Flips of 2 % and a drop of 10 %: a binomial of losses alone."""
    found = blocked(Design(200, 0.02, 0.05, "full"), 0.1)
    assert found == pytest.approx(scipy.stats.binom.sf(10, 200, 0.1), abs=1e-9)


def test_a_negative_margin_asks_for_a_gain() -> None:
    """Where all flips are wins: fewer than five of 200 are too few, exactly; `score` agrees with `full`."""
    design = Design(200, 0.03, -0.025)
    assert blocked(design, -0.03) == pytest.approx(scipy.stats.binom.cdf(4, 200, 0.03), abs=1e-9)
    found = course(Design(800, 0.1, -0.025), -0.025, runs=500, seed=5)
    assert found.wrong <= 0.05
    assert found.blocked == pytest.approx(blocked(Design(800, 0.1, -0.025), -0.025), abs=0.07)


def test_designs_make_sense() -> None:
    """Wrong numbers are errors, a gain that is to be proven too; so is the sample for a margin of 0."""
    for wrong in ((0, 0.1, 0.02), (10, 1.2, 0.02), (10, 0.1, -1.0), (10, 0.1, -0.01, "proven")):
        with pytest.raises(ValueError, match="no sense"):
            Design(*wrong)
    with pytest.raises(ValueError, match="margin of 0"):
        documents_needed(0.0, 0.1)
