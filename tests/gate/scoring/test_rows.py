"""Rows of the generator: where texts lie, and that they always fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.scoring.decoding import shared_prefix
from gate.scoring.rows import COLUMNS, Entry, ladder, make_rows, together

ENTRIES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 20)), min_size=1, max_size=30)


@given(ENTRIES, st.integers(1, 8), st.integers(1, 9), st.randoms(use_true_random=False))
def test_whatever_ends_when_the_next_text_fits(shapes, most, burst, random) -> None:
    """Texts that end early or late, in bursts of any length: room for the next after moving back."""
    waiting = [Entry(n, prompt, tokens) for n, (prompt, tokens) in enumerate(shapes)]
    rows = make_rows(waiting, most)
    made: dict[int, int] = {}
    while waiting or rows.taken:
        for row in rows.free:
            if waiting:
                entry = waiting.pop(0)
                if rows.column + entry.tokens > rows.width:
                    rows.moved(rows.shift())
                rows.put(row, entry)  # raises where it does not fit
                made[row] = 1
        steps = rows.steps(burst)
        assert steps or all(made[row] >= entry.tokens for row, entry in rows.taken.items())
        rows.column += steps
        for row, entry in list(rows.taken.items()):
            made[row] += steps
            assert min(made[row], entry.tokens) + entry.prompt <= rows.furthest
            if made[row] >= entry.tokens or random.random() < 0.2:
                rows.end(row)
    assert rows.column <= rows.width


def test_a_row_is_taken_once_and_nothing_goes_beyond_the_columns() -> None:
    """What would overwrite another text, or run out of columns, is refused."""
    rows = make_rows([Entry(0, 4, 3), Entry(1, 2, 3)], 1)
    rows.put(0, Entry(0, 4, 3))
    with pytest.raises(ValueError, match="text 1"):
        rows.put(0, Entry(1, 2, 3))
    rows.end(0)
    rows.column = rows.width - 1
    with pytest.raises(ValueError, match="does not fit"):
        rows.put(0, Entry(1, 2, 3))


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([[1, 2, 3]], 0),
        ([[1, 2, 3], [1, 2, 4]], 2),
        ([[1, 2, 3], [1, 2]], 1),
        ([[1, 2], [1, 2]], 1),
        ([[3, 1], [1, 2], [3, 1]], 0),
        ([[5, 6, 7, 8], [5, 6, 9], [5, 6, 7, 9]], 2),
    ],
)
def test_what_prompts_share_leaves_each_a_token(prompts: list[list[int]], shared: int) -> None:
    """The last token of every prompt is computed for itself: the first new one follows from it."""
    assert shared_prefix(prompts) == shared


@pytest.mark.parametrize(
    ("prompts", "most", "tokens", "count"),
    [
        ((5, 5, 5), 8, 100, 3),
        ((5, 5, 5), 2, 100, 2),
        ((5, 5, 20), 8, 30, 2),
        ((90,), 8, 30, 1),
        ((9, 9), 8, 17, 1),
    ],
)
def test_prompts_are_read_together_as_memory_allows(
    prompts: tuple[int, ...], most: int, tokens: int, count: int
) -> None:
    """Padded to the longest of them; one is read whatever its length."""
    assert together([Entry(n, prompt, 1) for n, prompt in enumerate(prompts)], most, tokens) == count


def test_rows_come_in_few_shapes() -> None:
    """A small call decodes few rows, at most a third more than it has texts; about as long texts share a
    width."""
    steps = [ladder(least, 256) for least in range(1, 257)]
    assert sorted(set(steps)) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
    assert all(least <= step <= 1.5 * least for least, step in enumerate(steps, 1))
    assert ladder(9, 10) == 10
    assert ladder(300, 256) == 256
    shapes = {
        (r.count, r.width) for n in (5, 6) for p in (70, 90) for r in [make_rows([Entry(0, p, 20)] * n, 16)]
    }
    assert shapes == {(6, 2 * COLUMNS)}
