"""The parts of a task: how they are pooled, where a part's loss lies, and how often that errs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.records import Slices
from gate.stats import mcnemar_exact, tango
from gate.stats.slices import part_blocked, part_bounds, part_caught, part_proven, quarters

LIMITS = (-1.0, 1.0)


def pooled(sizes: dict[str, int], least: int) -> tuple[tuple[str, ...], ...]:
    return Slices("subject", least).pooled(sizes)


def losses(lost: int, won: int, n: int) -> np.ndarray:
    """Of `n` documents that are right or wrong."""
    return np.array([1.0] * lost + [-1.0] * won + [0.0] * (n - lost - won))


def test_small_parts_are_pooled() -> None:
    """What has enough documents stands alone, by name; the rest is one, last."""
    sizes = {"law": 60, "art": 50, "a": 30, "b": 25, "none": 0}
    assert pooled(sizes, 50) == (("art",), ("law",), ("a", "b"))


def test_a_pool_that_is_too_small_takes_the_next_smallest() -> None:
    """So that no document is left unjudged, and none is judged in a part that shows nothing."""
    assert pooled({"law": 60, "art": 50, "a": 3}, 50) == (("law",), ("a", "art"))


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 90), max_size=12), st.integers(1, 80))
def test_every_document_is_in_one_part(sizes: dict[str, int], least: int) -> None:
    """And only a task that is too small as a whole has a part below the least."""
    groups = pooled(sizes, least)
    named = [name for group in groups for name in group]
    assert sorted(named) == sorted(name for name, size in sizes.items() if size)
    small = [group for group in groups if sum(sizes[name] for name in group) < least]
    assert not small or len(groups) == 1


def test_quarters_are_by_rank_and_equal_values_in_their_order() -> None:
    """Eight values make pairs; ties are parted where they stand, so that quarters are equal."""
    assert quarters([10, 20, 30, 40, 50, 60, 70, 80]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert quarters([9, 7, 7, 7, 7, 9, 7, 10]).tolist() == [2, 0, 0, 1, 1, 3, 2, 3]
    assert np.bincount(quarters([30] * 380 + list(range(31, 51)))).tolist() == [100] * 4
    assert quarters([5]).tolist() == [0]


def test_the_interval_is_tangos_where_the_sign_test_agrees() -> None:
    """12 of 60 lost, one of 57 parts: each end at a 57th of the error."""
    bounds, method = part_bounds(losses(12, 0, 60), None, 0.05 / 57, LIMITS)
    expected = tango(0, 12, 60, 1 - 2 * 0.05 / 57)
    assert (bounds.estimate, bounds.low, bounds.high) == (12 / 60, expected.low, expected.high)
    assert bounds.low > 0
    assert "Tango" in method


@pytest.mark.parametrize(("lost", "won", "error"), [(5, 0, 0.03), (9, 1, 0.01), (20, 5, 0.002)])
def test_an_end_is_at_0_unless_the_exact_sign_test_rejects(lost: int, won: int, error: float) -> None:
    """At an error just below its own p value it does not, just above it does."""
    p = mcnemar_exact(lost, won) / 2
    below, _ = part_bounds(losses(lost, won, 60), None, p * 0.999, LIMITS)
    above, _ = part_bounds(losses(lost, won, 60), None, p * 1.001, LIMITS)
    assert below.low <= 0 < above.low
    mirrored, _ = part_bounds(-losses(lost, won, 60), None, p * 0.999, LIMITS)
    assert mirrored.high >= 0


def test_documents_that_move_together_count_once() -> None:
    """Twelve documents of two passages are two draws: no loss beyond noise; of twelve passages they are."""
    together = [f"passage {k // 6}" for k in range(60)]
    apart = [f"passage {k}" for k in range(60)]
    assert part_bounds(losses(12, 0, 60), together, 0.01, LIMITS)[0].low <= 0
    assert part_bounds(losses(12, 0, 60), apart, 0.01, LIMITS)[0].low > 0


def test_graded_values_have_the_robust_interval_and_few_changes_the_sign_test() -> None:
    """Ends that a known range holds; without one nine of nine fallen are beyond noise, by the sign test."""
    rng = np.random.default_rng(3)
    graded = rng.uniform(-0.2, 0.6, 80)
    bounds, method = part_bounds(graded, None, 0.001, LIMITS)
    assert method == "t or betting"
    assert part_bounds(graded, None, 0.001, None)[1] == "cluster-robust t"
    assert 0 < bounds.low < graded.mean() < bounds.high
    few = np.zeros(80)
    few[:4] = 0.5, 0.25, 0.125, 0.3
    assert part_bounds(few, None, 0.05, None)[0].low <= 0
    few[:9] = 0.3
    assert part_bounds(few, None, 0.05, None)[0].low > 0
    few[:9] = 0.95
    assert part_bounds(few, None, 0.05, LIMITS)[0].low > 0


def test_a_part_without_any_spread_is_not_certain() -> None:
    """Graded documents that all lost the same, or did not change, and a single document."""
    same, _ = part_bounds(np.full(60, 0.25), None, 0.01, LIMITS)
    assert same.low < 0.25 < same.high
    still, _ = part_bounds(np.zeros(60), None, 0.01, LIMITS)
    assert still.low < 0 < still.high
    alone, _ = part_bounds(np.array([0.5]), None, 0.01, None)
    assert alone.low <= 0


def test_a_part_is_proven_by_the_exact_test_or_by_clusters() -> None:
    """No change on 100 documents proves 10 points and not 1; ten clusters prove nothing."""
    assert part_proven(losses(0, 0, 100), None, 0.10, 0.05, LIMITS)
    assert not part_proven(losses(0, 0, 100), None, 0.01, 0.05, LIMITS)
    assert not part_proven(losses(5, 5, 100), [f"{k // 10}" for k in range(100)], 0.10, 0.05, LIMITS)
    rng = np.random.default_rng(4)
    assert part_proven(rng.normal(0, 0.1, 200), None, 0.05, 0.05, LIMITS)


def test_without_a_range_nothing_is_proven() -> None:
    """A rare loss may have any size there, whatever the documents that were seen say."""
    rng = np.random.default_rng(4)
    for values in (rng.normal(0, 0.1, 200), losses(0, 0, 100)):
        assert not part_proven(values, None, 0.5, 0.05, None)


def skewed(n: int, small: float, rare: float, share: float, rng: np.random.Generator) -> np.ndarray:
    """Half of the documents change by `small`, a `share` of them by `rare` instead."""
    drawn = rng.random(n)
    return np.where(drawn < share, rare, np.where(drawn < share + 0.5, small, 0.0))


@pytest.mark.parametrize(("n", "share", "margin"), [(50, 0.04, 0.03), (200, 0.01, 0.0)])
def test_a_rare_loss_that_is_not_in_the_sample_is_reckoned_with(n: int, share: float, margin: float) -> None:
    """Small gains of half the documents, rare whole losses, the drop on the margin: proven in at most 5 %."""
    rng = np.random.default_rng([7, n])
    samples = [skewed(n, -0.02, 1.0, share, rng) for _ in range(300)]
    assert sum(part_proven(each, None, margin, 0.05, LIMITS) for each in samples) <= 15


def test_a_rare_gain_that_is_not_in_the_sample_is_no_loss() -> None:
    """Small losses of half the documents that rare whole gains outweigh: 20 of them are seldom blocked."""
    rng, blocked = np.random.default_rng(8), 0
    for _ in range(60):
        parts = [skewed(50, 0.1, -1.0, 0.05, rng) for _ in range(20)]
        blocked += any(
            each.mean() > 0.05 and part_bounds(each, None, 0.05 / 20, LIMITS)[0].low > 0 for each in parts
        )
    assert blocked <= 3


def test_a_collapse_of_graded_values_is_seen() -> None:
    """30 points of a slice of 50 documents among 20, and 15 of one of 100."""
    rng = np.random.default_rng(9)
    for n, drop in ((50, 0.3), (100, 0.15)):
        seen = sum(
            part_bounds(rng.normal(drop, 0.15, n).clip(-1, 1), None, 0.05 / 20, LIMITS)[0].low > 0
            for _ in range(40)
        )
        assert seen >= 36


@pytest.mark.parametrize("drop", [0.0, 0.1, 0.2])
def test_the_chance_of_a_block_is_that_of_a_simulation(drop: float) -> None:
    """Of a part of 100 documents with 20 % flips among 20 parts."""
    n, flips, margin, error, trials = 100, 0.2, 0.08, 0.05 / 20, 4000
    rng = np.random.default_rng([5, round(100 * drop)])
    drawn = rng.multinomial(n, [(flips + drop) / 2, (flips - drop) / 2, 1 - flips], trials)
    seen, times = np.unique(drawn, axis=0, return_counts=True)
    hits = 0
    for (lost, won, _), count in zip(seen.tolist(), times.tolist(), strict=True):
        beyond = lost - won > margin * n + 1e-9
        hits += count * (beyond and part_bounds(losses(lost, won, n), None, error, LIMITS)[0].low > 0)
    expected = part_blocked(n, flips, drop, margin, error)
    assert abs(hits / trials - expected) <= 4 * math.sqrt(max(expected, 1e-3) / trials)


def test_the_drop_that_is_caught_is_caught() -> None:
    """At it 80 % are blocked, a little below fewer; a part of three documents shows nothing."""
    caught = part_caught(100, 0.1, 0.1, 0.001, 0.8)
    assert (
        part_blocked(100, 0.1, caught, 0.1, 0.001) >= 0.8 > part_blocked(100, 0.1, caught - 0.01, 0.1, 0.001)
    )
    assert part_caught(3, 0.1, 0.1, 0.001, 0.8) == 1.0
