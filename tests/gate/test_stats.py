"""The estimators against theory, published examples, brute force, scipy.stats and simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gate import stats
from gate.stats import Bounds, Moments
from gate.stats.distributions import hypergeometric_cdf, normal_quantile, t_quantile

LEVELS = (0.5, 0.9, 0.95, 0.99, 0.999)


def counts(most: int = 60) -> st.SearchStrategy[tuple[int, int, int]]:
    """(lost, won, n) with lost + won <= n."""
    return st.integers(1, most).flatmap(
        lambda n: st.integers(0, n).flatmap(
            lambda a: st.tuples(st.just(a), st.integers(0, n - a), st.just(n))
        )
    )


def covered_at_least(level: float, hits: int, runs: int) -> bool:
    """Whether `hits` of `runs` are compatible with a coverage of at least `level` (binomial, 1e-4)."""
    return bool(scipy.stats.binomtest(hits, runs, level, alternative="less").pvalue > 1e-4)


# ── Distributions ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("level", LEVELS)
def test_quantiles_equal_scipys(level: float) -> None:
    """Normal and t quantiles are scipy's to eight digits, from 1 to a million degrees."""
    assert normal_quantile(level) == pytest.approx(scipy.stats.norm.ppf((1 + level) / 2), rel=1e-12)
    for degrees in (1, 1.3, 2, 3.7, 10, 57.2, 999, 9_999, 10_001, 1e6):
        assert t_quantile(level, degrees) == pytest.approx(
            scipy.stats.t.ppf((1 + level) / 2, degrees), rel=1e-8
        )


def test_hypergeometric_cdf_equals_scipys() -> None:
    """Also where the support does not start at 0, and for thousands of documents."""
    for x, n, successes, total in ((0, 5, 3, 9), (4, 8, 7, 9), (8, 8, 8, 9), (130, 1000, 1500, 14_042)):
        expected = scipy.stats.hypergeom.cdf(x, total, successes, n)
        assert hypergeometric_cdf(x, n, successes, total) == pytest.approx(expected, rel=1e-9)


# ── Tango ────────────────────────────────────────────────────────────────────────────────────────


def tango_by_likelihood(lost: int, won: int, n: int, level: float) -> tuple[float, float]:
    """Tango's interval from its definition alone: the restricted likelihood maximised numerically."""

    def score(d: float) -> float:
        def minus_log_likelihood(q: float) -> float:
            logs = ((won, q + d), (lost, q), (n - won - lost, 1 - 2 * q - d))
            return -sum(k * math.log(max(p, 1e-300)) for k, p in logs if k)

        low, high = max(0.0, -d), (1 - d) / 2
        q = scipy.optimize.minimize_scalar(
            minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-13}
        ).x
        return (won - lost - n * d) / math.sqrt(n * (2 * q + d - d * d))

    z, estimate = scipy.stats.norm.ppf((1 + level) / 2), (won - lost) / n
    low = scipy.optimize.brentq(lambda d: score(d) - z, -1 + 1e-9, estimate)
    return low, scipy.optimize.brentq(lambda d: score(d) + z, estimate, 1 - 1e-9)


def tango_by_quartic(lost: int, won: int, n: int, level: float) -> tuple[float, float]:
    """The closed form: real roots of a quartic (Yang, Sun & Hardin 2013, Statistics in Medicine 32)."""
    g, b, c = scipy.stats.norm.ppf((1 + level) / 2) ** 2, won, lost
    terms = [
        n**2 * (n / g + 1) ** 2,
        -n * (b - c) * (n / g + 1) * (4 * n / g + 1),
        2 * n * (b - c) ** 2 * (3 * n / g + 2) / g - n**2 * ((b + c) / g + 1),
        n * (b - c) * (2 * (b + c) / g + 1) - (b - c) ** 3 * (4 * n / g + 1) / g,
        (b - c) ** 2 * ((b - c) ** 2 / g - (b + c)) / g,
    ]
    roots = np.roots(terms)
    real = np.sort(roots[np.abs(roots.imag) < 1e-6].real)
    return float(real[0]), float(real[-1])


@pytest.mark.parametrize(
    ("lost", "won", "n"), [(22, 7, 220), (7, 1, 21), (40, 20, 160), (3, 9, 35), (1, 1, 2)]
)
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_tango_equals_two_independent_ways(lost: int, won: int, n: int, level: float) -> None:
    """Brute-force maximum likelihood with root finding, and the closed form, give the same bounds."""
    found = stats.tango(lost, won, n, level)
    assert (found.low, found.high) == pytest.approx(tango_by_likelihood(lost, won, n, level), abs=1e-6)
    assert (found.low, found.high) == pytest.approx(tango_by_quartic(lost, won, n, level), abs=1e-7)


def test_tango_on_a_published_table() -> None:
    """Airway reactivity (Fagerland, Lydersen & Laake 2014): 7 against 1 of 21, -0.517 to -0.026."""
    found = stats.tango(7, 1, 21, 0.95)
    assert (round(found.low, 3), round(found.high, 3)) == (-0.517, -0.026)


def test_the_case_of_220_documents() -> None:
    """22 lost, 7 won of 220: a drop of 6.8 points whose interval leaves out 0; McNemar says p = .008."""
    found = stats.tango(22, 7, 220, 0.95)
    assert found.estimate == -15 / 220
    assert (found.low, found.high) == pytest.approx((-0.11960, -0.02160), abs=5e-6)
    assert round(stats.mcnemar_exact(22, 7), 3) == 0.008


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_tango_without_flips_is_known(n: int) -> None:
    """Nothing flipped: the bounds are z^2 / (n + z^2) to both sides, never zero width."""
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    found = stats.tango(0, 0, n, 0.95)
    assert (found.low, found.high) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)), rel=1e-9)


def test_tango_at_the_ends() -> None:
    """All lost: the lower bound is -1 and the upper is the score bound of a proportion."""
    found = stats.tango(8, 0, 8, 0.95)
    assert found.low == -1
    assert -1 < found.high < 1


@given(counts(), st.sampled_from(LEVELS))
def test_tango_holds_its_estimate_and_is_antisymmetric(case: tuple[int, int, int], level: float) -> None:
    """Swapping base and tuned mirrors the interval; it lies in [-1, 1] and has width."""
    lost, won, n = case
    found, mirrored = stats.tango(lost, won, n, level), stats.tango(won, lost, n, level)
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert found.high > found.low
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-12)


# ── One proportion, and exact tests ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_on_published_examples(successes: int, n: int, low: float, high: float) -> None:
    """The four examples of Newcombe 1998 (Statistics in Medicine 17, 857), method 3."""
    found = stats.wilson(successes, n, 0.95)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from(LEVELS)
)
def test_wilson_equals_scipys(case: tuple[int, int], level: float) -> None:
    """For every count, ends included."""
    expected = scipy.stats.binomtest(*case).proportion_ci(level, method="wilson")
    found = stats.wilson(*case, level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.low <= found.estimate <= found.high


@given(st.integers(0, 500), st.integers(0, 500))
def test_mcnemar_equals_scipys_binomial_test(lost: int, won: int) -> None:
    """The exact two-sided p value; 1 where nothing changed."""
    expected = scipy.stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert stats.mcnemar_exact(lost, won) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_flips_stays_finite() -> None:
    """Ten thousand flips neither overflow nor round to a false "no change"."""
    expected = scipy.stats.binomtest(4_800, 10_000).pvalue
    assert stats.mcnemar_exact(5_200, 4_800) == pytest.approx(expected, rel=1e-8)


# ── Finite populations ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("n", "total"), [(1, 1), (1, 7), (3, 8), (9, 12), (12, 12)])
def test_hypergeometric_bounds_are_the_inverted_tests(n: int, total: int) -> None:
    """The bounds are the outermost populations that neither tail test refuses, found by trying all."""
    for x in range(n + 1):
        fits = [
            k
            for k in range(x, total - (n - x) + 1)
            if scipy.stats.hypergeom.cdf(x, total, k, n) > 0.025
            and scipy.stats.hypergeom.sf(x - 1, total, k, n) > 0.025
        ]
        found = stats.hypergeometric(x, n, total, 0.95)
        assert (found.low * total, found.high * total) == pytest.approx(
            (min(fits[0], x * total / n), max(fits[-1], x * total / n))
        )


def test_finite_difference_covers_by_enumeration() -> None:
    """Every population of 9 documents, every sample of it: at least 90 % covered, for each n."""
    total = 9
    for lost_all, won_all, n in itertools.product(range(4), range(4), range(1, total + 1)):
        truth, covered = (won_all - lost_all) / total, 0.0
        for lost, won in itertools.product(range(lost_all + 1), range(won_all + 1)):
            rest = total - lost_all - won_all
            if 0 <= n - lost - won <= rest:
                ways = math.comb(lost_all, lost) * math.comb(won_all, won) * math.comb(rest, n - lost - won)
                found = stats.finite_difference(lost, won, n, total, 0.9)
                covered += ways * (found.low - 1e-9 <= truth <= found.high + 1e-9)
        assert covered / math.comb(total, n) >= 0.9


@given(counts(), st.integers(0, 80), st.sampled_from(LEVELS))
def test_finite_difference_is_sound(case: tuple[int, int, int], unseen: int, level: float) -> None:
    """Holds its estimate, is antisymmetric, zero width at n = N, and no wider than what is unseen allows."""
    lost, won, n = case
    total = n + unseen
    found, mirrored = (stats.finite_difference(*c, n, total, level) for c in ((lost, won), (won, lost)))
    assert found.low <= found.estimate <= found.high
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-12)
    seen = won - lost
    assert found.low >= min((seen - 2 * unseen) / total, found.estimate) - 1e-12
    if unseen == 0:
        assert found.high - found.low == pytest.approx(0, abs=1e-12)


def test_finite_difference_is_bonferronis_box() -> None:
    """At 95 %, the lost and the won share each get exact bounds at 97.5 %: the error is shared."""
    down, up = (stats.hypergeometric(k, 100, 500, 0.975) for k in (12, 5))
    found = stats.finite_difference(12, 5, 100, 500, 0.95)
    assert (found.low, found.high) == (up.low - down.high, up.high - down.low)


def test_finite_correction_of_moments() -> None:
    """Variance shrinks by 1 - n / N, to nothing at n = N."""
    moments = Moments(0.1, 0.04, 9)
    assert moments.of_finite_population(10, 40).variance == pytest.approx(0.03)
    assert moments.of_finite_population(10, 10).variance == 0


# ── Means, ratios, strata ────────────────────────────────────────────────────────────────────────


def test_paired_t_equals_scipys() -> None:
    """One stratum is scipy's paired t interval."""
    rng = np.random.default_rng(1)
    base, tuned = rng.random(40), rng.random(40)
    found = stats.stratified_t([stats.mean_moments(tuned - base)], [1.0], 0.95)
    expected = scipy.stats.ttest_rel(tuned, base).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_two_strata_equal_welch() -> None:
    """Two strata of equal weight are half of Welch's interval, Satterthwaite's degrees included."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 1, 12), rng.normal(0, 3, 7)
    found = stats.stratified_t([stats.mean_moments(a), stats.mean_moments(-b)], [0.5, 0.5], 0.95)
    welch = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (2 * found.low, 2 * found.high) == pytest.approx((welch.low, welch.high), rel=1e-9)


def test_ratio_with_equal_denominators_is_the_mean() -> None:
    """Bits over bytes of documents of one length is the paired t interval of bits per byte."""
    rng = np.random.default_rng(3)
    bits = rng.normal(0, 5, 30)
    ratio = stats.ratio_moments(bits, np.full(30, 8.0))
    mean = stats.mean_moments(bits / 8)
    assert (ratio.estimate, ratio.variance) == pytest.approx((mean.estimate, mean.variance))


def test_ratio_variance_is_near_the_jackknife() -> None:
    """Linearisation and the delete-one jackknife agree to a few percent on 400 documents."""
    rng = np.random.default_rng(4)
    sizes = rng.integers(20, 2000, 400).astype(float)
    bits = sizes * rng.normal(0.05, 0.02, 400)
    without = np.array([(bits.sum() - y) / (sizes.sum() - x) for y, x in zip(bits, sizes, strict=True)])
    jackknife = 399 / 400 * ((without - without.mean()) ** 2).sum()
    assert stats.ratio_moments(bits, sizes).variance == pytest.approx(jackknife, rel=0.05)


def test_mover_on_a_published_example() -> None:
    """56/70 against 48/80 (Newcombe 1998, Statistics in Medicine 17, 873, method 10): .0524 to .3339."""
    p, q = stats.wilson(56, 70, 0.95), stats.wilson(48, 80, 0.95)
    found = stats.mover([p, Bounds(-q.estimate, -q.high, -q.low)], [1.0, 1.0])
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


def test_mover_of_symmetric_intervals_adds_variances() -> None:
    """With symmetric parts MOVER is the root of the weighted sum of squares."""
    found = stats.mover([Bounds(0.1, 0.0, 0.2), Bounds(0.3, 0.1, 0.5)], [0.25, 0.75])
    assert found.high - found.estimate == pytest.approx(math.hypot(0.25 * 0.1, 0.75 * 0.2))
    assert found.estimate == pytest.approx(0.25)


def test_percentile_is_the_quantiles_and_holds_its_estimate() -> None:
    """Quantiles of the replicates; an estimate that bias left outside is taken in."""
    replicates = np.arange(1001, dtype=float)
    inside, outside = stats.percentile(500, replicates, 0.9), stats.percentile(2000, replicates, 0.9)
    assert (inside.low, inside.high) == pytest.approx((50, 950))
    assert (outside.low, outside.high) == pytest.approx((50, 2000))


def test_standard_bootstrap_is_the_t_interval_of_its_replicates() -> None:
    """Estimate and standard deviation of the replicates, at scipy's t quantile."""
    replicates = np.random.default_rng(9).normal(3, 2, 100)
    found = stats.standard_bootstrap(3.5, replicates, 0.99)
    half = scipy.stats.t.ppf(0.995, 99) * replicates.std(ddof=1)
    assert (found.low, found.high) == pytest.approx((3.5 - half, 3.5 + half))


# ── Data that cannot carry an interval ───────────────────────────────────────────────────────────


def test_too_few_data_are_refused() -> None:
    """One value has no spread, 39 replicates no 97.5 % quantile: DegenerateData, never zero width."""
    one = np.array([0.5])
    for attempt in (
        lambda: stats.mean_moments(one),
        lambda: stats.ratio_moments(one, one),
        lambda: stats.percentile(0.0, np.zeros(39), 0.95),
        lambda: stats.standard_bootstrap(0.0, np.zeros(19), 0.95),
    ):
        with pytest.raises(stats.DegenerateData):
            attempt()


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: stats.tango(3, 3, 5, 0.95),
        lambda: stats.tango(0, 0, 0, 0.95),
        lambda: stats.tango(-1, 0, 5, 0.95),
        lambda: stats.wilson(6, 5, 0.95),
        lambda: stats.wilson(1, 5, 1.0),
        lambda: stats.tango(1, 1, 5, math.nan),
        lambda: stats.hypergeometric(1, 5, 4, 0.95),
        lambda: stats.mean_moments(np.array([0.1, math.nan])),
        lambda: stats.mean_moments(np.array([])),
        lambda: stats.ratio_moments(np.ones(2), np.array([1.0, -1.0])),
        lambda: stats.ratio_moments(np.ones(2), np.zeros(2)),
        lambda: stats.ratio_moments(np.ones(2), np.ones(3)),
        lambda: stats.stratified_t([], [], 0.95),
        lambda: stats.mover([Bounds(0, 0, 0)], [math.nan]),
        lambda: stats.unvarying(2.0, 5, (0.0, 1.0), 0.95),
    ],
)
def test_nonsense_is_refused(attempt: Callable[[], object]) -> None:
    """Impossible counts, levels, weights and values raise ValueError; none becomes an interval."""
    with pytest.raises(ValueError, match=r"makes? no sense|between 0 and 1|outside|must be"):
        attempt()


def test_unvarying_values_keep_a_width() -> None:
    """No spread seen is not certainty: one value in [-1, 1] says almost nothing, a hundred say more."""
    one = stats.unvarying(0.0, 1, (-1, 1), 0.95)
    assert (one.low, one.high) == pytest.approx((-0.975, 0.975))
    hundred = stats.unvarying(0.0, 100, (-1, 1), 0.95)
    exact = scipy.stats.binomtest(0, 100).proportion_ci(0.95, method="exact").high
    assert (hundred.low, hundred.high) == pytest.approx((-exact, exact))
    assert stats.unvarying(0.3, 8, (-1, 1), 0.95, total=8) == Bounds(0.3, 0.3, 0.3)


# ── Properties of all intervals ──────────────────────────────────────────────────────────────────


@given(counts(), st.integers(0, 50))
def test_intervals_widen_with_the_level(case: tuple[int, int, int], unseen: int) -> None:
    """A higher level never gives a bound further inside."""
    lost, won, n = case
    for interval in (
        lambda level: stats.tango(lost, won, n, level),
        lambda level: stats.wilson(won, n, level),
        lambda level: stats.hypergeometric(won, n, n + unseen, level),
        lambda level: stats.finite_difference(lost, won, n, n + unseen, level),
        lambda level: stats.unvarying(0.2, n, (-1, 1), level),
        lambda level: stats.stratified_t([Moments(0.1, 0.01, n)], [1.0], level),
        lambda level: stats.percentile(lost, np.linspace(-1, won, 3000), level),
    ):
        found = [interval(level) for level in LEVELS]
        for narrow, wide in itertools.pairwise(found):
            assert wide.low <= narrow.low + 1e-12
            assert wide.high >= narrow.high - 1e-12


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.sampled_from(LEVELS))
def test_t_interval_holds_its_mean_and_is_antisymmetric(values: list[float], level: float) -> None:
    """Swapping base and tuned mirrors the interval."""
    array = np.array(values)
    found, mirrored = (stats.stratified_t([stats.mean_moments(v)], [1.0], level) for v in (array, -array))
    assert found.low <= found.estimate <= found.high
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-12)


@given(st.lists(counts(20), min_size=1, max_size=6), st.data())
def test_mover_holds_its_estimate(cases: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """For any weights; and a part of weight 0 changes nothing."""
    weights = data.draw(st.lists(st.floats(0, 1), min_size=len(cases), max_size=len(cases)))
    parts = [stats.tango(*case, 0.95) for case in cases]
    found = stats.mover(parts, weights)
    assert found.low <= found.estimate <= found.high
    assert stats.mover([*parts, stats.tango(1, 0, 1, 0.95)], [*weights, 0.0]) == found


@settings(max_examples=30)
@given(st.lists(st.floats(1e-200, 1e-150), min_size=2, max_size=5), st.sampled_from(LEVELS))
def test_tiny_spread_does_not_underflow(values: list[float], level: float) -> None:
    """Variances near the smallest float give finite bounds, not a division by zero."""
    assume(len(set(values)) > 1)
    found = stats.stratified_t([stats.mean_moments(np.array(values) * 1e100)], [1.0], level)
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)


# ── Coverage, by seeded simulation ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("n", "p_lost", "p_won"), [(50, 0.1, 0.1), (200, 0.08, 0.02), (200, 0.01, 0.01), (400, 0.06, 0.04)]
)
def test_tango_covers(n: int, p_lost: float, p_won: float) -> None:
    """Weighed exactly over all likely outcomes, coverage at 95 % lies between 93 and 99.9 %.

    A score interval is of its level on average and not everywhere: it may fall a little short.
    """
    covered = mass = 0.0
    for lost, won in itertools.product(range(int(n * p_lost * 3 + 12)), range(int(n * p_won * 3 + 12))):
        if lost + won > n:
            continue
        p = scipy.stats.multinomial.pmf([lost, won, n - lost - won], n, [p_lost, p_won, 1 - p_lost - p_won])
        if p < 1e-7:
            continue
        found = stats.tango(lost, won, n, 0.95)
        mass += p
        covered += p * (found.low <= p_won - p_lost <= found.high)
    assert mass > 0.999
    assert 0.93 < covered / mass < 0.999


def test_stratified_tango_covers() -> None:
    """MOVER of Tango intervals over 12 leaves of 5 to 60 documents covers at least 95 %."""
    rng, runs = np.random.default_rng(5), 400
    sizes = np.linspace(5, 60, 12).astype(int)
    weights = (sizes / sizes.sum()).tolist()
    p_lost, p_won = np.linspace(0.0, 0.2, 12), np.linspace(0.05, 0.0, 12)
    truth, hits = float(weights @ (p_won - p_lost)), 0
    for _ in range(runs):
        drawn = [rng.multinomial(n, [a, b, 1 - a - b]) for n, a, b in zip(sizes, p_lost, p_won, strict=True)]
        parts = [stats.tango(int(d[0]), int(d[1]), int(n), 0.95) for d, n in zip(drawn, sizes, strict=True)]
        found = stats.mover(parts, weights)
        hits += found.low <= truth <= found.high
    assert covered_at_least(0.95, hits, runs)


def test_ratio_interval_covers() -> None:
    """Bits per byte over 60 documents of very unequal length: at least 93 % at a level of 95 %."""
    rng, runs, hits = np.random.default_rng(6), 1000, 0
    for _ in range(runs):
        sizes = rng.lognormal(6, 0.6, 60)
        bits = sizes * 0.05 + rng.normal(0, 1, 60) * np.sqrt(sizes)
        found = stats.stratified_t([stats.ratio_moments(bits, sizes)], [1.0], 0.95)
        hits += found.low <= 0.05 <= found.high
    assert covered_at_least(0.93, hits, runs)


def test_finite_t_interval_covers_the_benchmark() -> None:
    """60 of 100 bounded values: the corrected interval holds the full mean at least 93 % of the time,
    and is narrower than the one about the population."""
    rng, runs, hits = np.random.default_rng(7), 1000, 0
    full = rng.beta(0.4, 0.6, 100) - rng.beta(0.5, 0.5, 100)
    for _ in range(runs):
        moments = stats.mean_moments(rng.choice(full, 60, replace=False))
        found = stats.stratified_t([moments.of_finite_population(60, 100)], [1.0], 0.95)
        assert found.high - found.low < 4 * math.sqrt(moments.variance)
        hits += found.low <= full.mean() <= found.high
    assert covered_at_least(0.93, hits, runs)


def test_a_wrong_interval_would_be_noticed() -> None:
    """The coverage test has teeth: a 90 % interval does not pass as a 95 % one."""
    rng, runs, hits = np.random.default_rng(8), 1000, 0
    for _ in range(runs):
        moments = stats.mean_moments(rng.normal(0, 1, 20))
        found = stats.stratified_t([moments], [1.0], 0.90)
        hits += found.low <= 0 <= found.high
    assert covered_at_least(0.90, hits, runs)
    assert not covered_at_least(0.95, hits, runs)
