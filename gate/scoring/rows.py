"""Which rows of a fixed number are taken, and where in the cache their texts lie. Pure.

All rows write the next token into the same column, so that a step is one computation of fixed shape: a text
of n tokens that joins at column c lies in columns c - n to c, whatever lies beside it. At the end of the
cache all rows move back together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

COLUMNS = 64  # widths are multiples of it


@dataclass(frozen=True, slots=True)
class Entry:
    """One text: its number, the tokens of its prompt, and how many new ones at most."""

    number: int
    prompt: int
    tokens: int


@dataclass(slots=True)
class Rows:
    """`count` rows over `width` columns. `column` is where the next token goes.

    `longest` is that of the prompts; no text has more than `furthest` tokens, new ones included.
    """

    count: int
    width: int
    column: int
    longest: int
    furthest: int
    taken: dict[int, Entry] = field(default_factory=dict)
    start: dict[int, int] = field(default_factory=dict)  # row -> the first column of its text

    @property
    def free(self) -> list[int]:
        """The rows without a text."""
        return [row for row in range(self.count) if row not in self.taken]

    def shift(self) -> int:
        """How many columns everything can move back by: past the oldest text that goes on, and no further
        than the column that the longest prompt needs."""
        oldest = min(self.start.values(), default=self.column)
        return max(0, min(oldest, self.column - self.longest))

    def moved(self, columns: int) -> None:
        """Everything lies `columns` further to the left."""
        self.column -= columns
        self.start = {row: start - columns for row, start in self.start.items()}

    def put(self, row: int, entry: Entry) -> None:
        """A text joins. Raises ValueError where the row is taken or the text does not fit."""
        if row in self.taken or entry.prompt > self.column or self.column + entry.tokens > self.width:
            raise ValueError(f"text {entry.number} does not fit into row {row}")
        self.taken[row] = entry
        self.start[row] = self.column - entry.prompt

    def end(self, row: int) -> None:
        """A text is done."""
        del self.taken[row], self.start[row]

    def steps(self, most: int) -> int:
        """Steps until somebody may have its last token, `most` at most."""
        return min(most, self.width - self.column)


def ladder(least: int, most: int) -> int:
    """The smallest of 1, 2, 3, 4, 6, 8, 12, 16, ... that is not below `least`; `most` at most."""
    step = 1 << max(0, least - 1).bit_length()
    between = step * 3 // 4
    return min(most, between if step > 2 and between >= least else step)


def make_rows(entries: Sequence[Entry], most: int) -> Rows:
    """Rows for these texts: as many as there are texts, `most` at most, and columns that always suffice.

    Both in steps, so that the next call with as many texts, about as long, has rows of the same shape.
    A text that goes on takes at most the longest prompt and the most tokens, so that after moving back there
    is room for as many new tokens again.
    """
    longest = max(entry.prompt for entry in entries)
    tokens = max(entry.tokens for entry in entries)
    count = ladder(len(entries), most)
    width = longest + tokens * (1 if count >= len(entries) else 2)
    return Rows(count, -(-width // COLUMNS) * COLUMNS, longest, longest, longest + tokens)


def together(waiting: Iterable[Entry], most: int, tokens: int) -> int:
    """How many of the next prompts are read at once, one at least: `most` at most, and `tokens` in all when
    each is padded to the longest."""
    count = longest = 0
    for entry in islice(waiting, most):
        longest = max(longest, entry.prompt)
        if count and (count + 1) * longest > tokens:
            break
        count += 1
    return count
