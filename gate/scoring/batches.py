"""Packs side by side in one forward pass: on a GPU, where a pass is of a fixed size. Pure.

Packs do not see each other, and begin at multiples of ALIGN, so that attention and matrix products do the
same for a pack wherever it lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gate.scoring.tree import Pack

Ints = NDArray[np.int32]
ALIGN = 128  # FlexAttention's block
OPEN = 8  # batches that are filled at the same time


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One forward pass: n nodes, padding included; r rows and p pairs as in Pack, of all its packs."""

    tokens: Ints  # [n]; 0 in padding, which sees itself alone
    depth: Ints  # [n]
    subtree_end: Ints  # [n]
    rows: Ints  # [r]
    pair_row: Ints  # [p]
    pair_token: Ints  # [p]
    owners: Ints  # [p] number of the reading


@dataclass(slots=True)
class _Bin:
    packs: list[tuple[Pack, int]] = field(default_factory=list)
    used: int = 0


def alone(packs: Iterable[tuple[Pack, int]]) -> Iterator[Batch]:
    """Each pack by itself, without padding. A pack comes with its group's first reading number."""
    for pack, first in packs:
        yield _join([(pack, first)], len(pack))


def filled(packs: Iterable[tuple[Pack, int]], sizes: tuple[int, ...]) -> Iterator[Batch]:
    """Batches of one of the ascending `sizes`, or of a multiple of the largest for a pack beyond it.

    A pack goes into the fullest of a few open batches that has room; the fullest one goes out to make room
    for another. The order of packs decides all.
    """
    largest = sizes[-1]
    bins: list[_Bin] = []
    for pack, first in packs:
        need = _up(len(pack), ALIGN)
        room = [each for each in bins if each.used + need <= largest]
        if room:
            chosen = max(room, key=lambda each: each.used)
        else:
            if len(bins) == OPEN:
                bins.remove(fullest := max(bins, key=lambda each: each.used))
                yield _join(fullest.packs, _size(fullest.used, sizes))
            bins.append(chosen := _Bin())
        chosen.packs.append((pack, first))
        chosen.used += need
    for each in sorted(bins, key=lambda each: -each.used):
        yield _join(each.packs, _size(each.used, sizes))


def _size(used: int, sizes: tuple[int, ...]) -> int:
    return next((size for size in sizes if used <= size), _up(used, sizes[-1]))


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _join(packs: list[tuple[Pack, int]], size: int) -> Batch:
    tokens, depth = np.zeros((2, size), np.int32)
    end = np.arange(1, size + 1, dtype=np.int32)
    rows, pair_row, pair_token, owners = [], [], [], []
    begin = seen = 0
    for pack, first in packs:
        stop = begin + len(pack)
        tokens[begin:stop], depth[begin:stop] = pack.tokens, pack.depth
        end[begin:stop] = pack.subtree_end + begin
        rows.append(pack.rows + begin)
        pair_row.append(pack.pair_row + seen)
        pair_token.append(pack.pair_token)
        owners.append(pack.pair_reading + first)
        begin, seen = _up(stop, ALIGN), seen + len(pack.rows)
    return Batch(tokens, depth, end, *map(np.concatenate, (rows, pair_row, pair_token, owners)))
