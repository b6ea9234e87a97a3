"""Fixed samples against a margin: by enumeration, scipy and published cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from gate import stats
from gate.stats import DegenerateData
from gate.stats.proportions import cluster_bounds, noninferior_p, tango_p, tango_z


def test_tango_p_is_the_inverse_of_tangos_interval() -> None:
    """At the bound of the interval at 90 % the one-sided p value is 5 %."""
    for lost, won, n in ((22, 7, 220), (3, 5, 90), (1, 0, 40), (60, 55, 1319)):
        bound = -stats.tango(lost, won, n, 0.9).low
        assert tango_p(lost, won, n, bound) == pytest.approx(0.05, abs=1e-6)


def test_the_known_case_needs_pairs() -> None:
    """220 documents, 181 and 166 right, 22 lost, 7 won: unpaired p = .080, exact McNemar p = .008."""
    pooled = (181 + 166) / 440
    z = (181 - 166) / 220 / math.sqrt(pooled * (1 - pooled) * 2 / 220)
    assert round(2 * scipy.stats.norm.sf(z), 3) == 0.080
    assert round(stats.mcnemar_exact(22, 7), 3) == 0.008
    assert tango_z(22.0, 7.0, 220, 0.0) == pytest.approx(15 / math.sqrt(29))  # McNemar's own statistic


@pytest.mark.parametrize(("n", "margin"), [(12, 0.1), (16, 0.08)])
def test_a_proof_is_wrong_in_at_most_its_error(n: int, margin: float) -> None:
    """Every sample of n pairs, for many chances of a win: "proven" at the margin in 5 % or less."""
    cases = [(lost, won) for lost in range(n + 1) for won in range(n + 1 - lost)]
    proofs = np.array([noninferior_p(lost, won, n, margin) <= 0.05 for lost, won in cases])
    counts = np.array([(lost, won, n - lost - won) for lost, won in cases])
    for win in np.linspace(0, (1 - margin) / 2 - 1e-9, 40):
        chances = scipy.stats.multinomial.pmf(counts, n, [win + margin, win, 1 - 2 * win - margin])
        assert chances[proofs].sum() <= 0.05 + 1e-9


@pytest.mark.parametrize(("n", "margin", "error"), [(16, 0.5, 1e-3), (16, 0.6, 1e-4)])
def test_a_proof_holds_its_error_at_any_confidence(n: int, margin: float, error: float) -> None:
    """Beyond a confidence of 0.999 too there are samples that prove it, and at the margin hardly ever."""
    cases = [(lost, won) for lost in range(n + 1) for won in range(n + 1 - lost)]
    proofs = np.array([noninferior_p(lost, won, n, margin, error) <= error for lost, won in cases])
    assert proofs.any()
    counts = np.array([(lost, won, n - lost - won) for lost, won in cases])
    for win in np.linspace(0, (1 - margin) / 2 - 1e-9, 40):
        chances = scipy.stats.multinomial.pmf(counts, n, [win + margin, win, 1 - 2 * win - margin])
        assert chances[proofs].sum() <= error * (1 + 1e-9)


def test_no_flips_prove_what_the_rule_of_three_allows() -> None:
    """0 of 100: the chance at a drop of 3 % is .97^100, plus the 0.001 for the unknown wins."""
    assert noninferior_p(0, 0, 100, 0.03) == pytest.approx(0.97**100 + 0.001, abs=1e-4)
    assert tango_p(0, 0, 100, 0.03) < 0.04  # what the asymptotic test would say


def test_exact_and_asymptotic_agree_on_large_samples() -> None:
    """Thousands of documents: a few parts in a hundred."""
    for lost, won, n, margin in ((150, 145, 3000, 0.01), (400, 380, 8000, 0.008)):
        exact, tango = noninferior_p(lost, won, n, margin), tango_p(lost, won, n, margin)
        assert exact - 0.001 == pytest.approx(tango, rel=0.1)


def test_an_estimate_at_the_margin_proves_nothing() -> None:
    """And impossible counts and margins are errors."""
    assert noninferior_p(10, 0, 100, 0.1) == 1.0
    assert tango_p(0, 0, 50, 0.0) == 0.5
    for arguments in ((5, 6, 10, 0.1), (1, 1, 0, 0.1), (1, 1, 10, -0.1), (1, 1, 10, 1.0)):
        with pytest.raises(ValueError, match=r"no sense|margin"):
            noninferior_p(*arguments)


def test_clusters_of_one_without_skew_are_the_t_interval() -> None:
    """Symmetric values, each its own cluster: scipy's one-sided t bounds."""
    half = np.random.default_rng(1).normal(0, 1, 40)
    values = np.concatenate([half, -half]) + 0.3
    found = cluster_bounds(values, np.arange(80), 0.05)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_clusters_that_move_together_widen_the_bounds() -> None:
    """Ten copies of each document are worth one: the bounds are those of the means of clusters."""
    values = np.random.default_rng(2).normal(0, 1, 50)
    alone = cluster_bounds(values, np.arange(50), 0.05)
    copied = cluster_bounds(
        np.repeat(values, 10), [f"passage {k}" for k in np.repeat(np.arange(50), 10)], 0.05
    )
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))


def test_skew_moves_a_bound_out_and_never_in() -> None:
    """Twelve of 60 clusters lost: above, beyond t; below, no nearer than t. Twelve won: the mirror image."""
    values = np.repeat((np.arange(60) < 12).astype(float), 5)
    clusters = np.repeat(np.arange(60), 5)
    lost, won = cluster_bounds(values, clusters, 0.05), cluster_bounds(-values, clusters, 0.05)
    t = scipy.stats.ttest_1samp(values[::5], 0).confidence_interval(0.9)
    assert lost.high > t.high + 0.005
    assert lost.low <= t.low + 1e-12
    assert (won.low, won.high) == pytest.approx((-lost.high, -lost.low))


def test_hall_inverts_his_cubic() -> None:
    """T + a T^2 + a^2 T^3 / 3 + skew / 6 sqrt(n), with a = skew / 3 sqrt(n), gives the quantile back."""
    n, values = 40, np.random.default_rng(3).gamma(0.7, 1, 40)
    found = cluster_bounds(values, np.arange(n), 0.05)
    spread = values.std(ddof=1) / math.sqrt(n)
    skew = float(((values - values.mean()) ** 3).mean() / values.var() ** 1.5)
    a, t = skew / (3 * math.sqrt(n)), (found.estimate - found.high) / spread
    expected = -scipy.stats.t.ppf(0.95, n - 1)
    assert t + a * t**2 + a**2 * t**3 / 3 + skew / (6 * math.sqrt(n)) == pytest.approx(expected)


def test_too_few_clusters_are_undecided() -> None:
    """19 clusters; 30 of which one holds most documents; 40 with changes in 9: DegenerateData, never fine."""
    rng = np.random.default_rng(4)
    for clusters in (np.arange(190) % 19, np.concatenate([np.zeros(200, int), np.arange(1, 30)])):
        with pytest.raises(DegenerateData, match="of one size; 20 are needed"):
            cluster_bounds(rng.normal(0, 1, clusters.size), clusters, 0.05)
    with pytest.raises(DegenerateData, match="9 of 40"):
        cluster_bounds((np.arange(40) < 9).astype(float), np.arange(40), 0.05)
    with pytest.raises(ValueError, match="one cluster a value"):
        cluster_bounds(np.zeros(3), np.arange(2), 0.05)
