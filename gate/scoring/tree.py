"""Readings as prefix trees, laid out in packs: each shared prefix once, tokens in depth-first order. Pure.

A pack's layout depends on its group's readings and on the shape of packs alone, so that a group scored alone
or among others is the same computation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.scoring.readings import Reading

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PackShape:
    """How packs are cut. The cost of n tokens is `overhead + n rounded up to step + n * n / square`."""

    limit: int  # tokens; a longer single reading gets a pack of its own length
    step: int = 1
    overhead: int = 32
    square: int | None = None  # tokens at which attention costs as much as everything else


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """A part of a group's tree: n nodes, r of them with scored successors; p scored tokens."""

    tokens: Ints  # [n] in depth-first order
    depth: Ints  # [n] position in the text
    subtree_end: Ints  # [n] node k is an ancestor of q, or q itself, iff k <= q < subtree_end[k]
    rows: Ints  # [r] nodes whose successors are scored, ascending
    pair_row: Ints  # [p] index into rows, ascending
    pair_token: Ints  # [p] the token that is scored
    pair_reading: Ints  # [p] whose it is: a number within the group

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Sorted:
    """Readings in lexicographic order of their inputs: the leaves of the tree from left to right."""

    tokens: Ints  # [m, longest]; -1 behind a reading's last
    numbers: Ints  # [m] place in the group
    length: Ints  # [m] inputs
    start: Ints  # [m] the first scored token
    shared: Ints  # [m] inputs shared with the one before


def make_packs(readings: Sequence[Reading], shape: PackShape) -> list[Pack]:
    """All packs of one group. Every reading lies whole in one pack."""
    if not readings:
        return []
    leaves = sort_readings(readings)
    return [_lay_out(leaves, first, stop) for first, stop in cut(leaves, shape)]


def sort_readings(readings: Sequence[Reading]) -> Sorted:
    """The leaves in depth-first order, with what each shares with the one before."""
    length = np.array([len(reading.tokens) - 1 for reading in readings], np.int32)
    start = np.array([reading.start for reading in readings], np.int32)
    place = np.arange(int(length.max()) + 1, dtype=np.int32)
    tokens = np.full((len(readings), len(place)), -1, np.int32)
    tokens[place <= length[:, None]] = np.concatenate([reading.tokens for reading in readings])
    inputs = np.where(place < length[:, None], tokens, -1)
    # Rows of big-endian numbers compare like byte strings, and what is shorter goes first.
    keys = (inputs + 1).astype(">u4").view(f"S{4 * len(place)}")[:, 0]
    order = np.argsort(keys, kind="stable")
    before, after = inputs[order[:-1]], inputs[order[1:]]
    differ = before != after
    shared = np.where(differ.any(1), differ.argmax(1), length[order[1:]])
    return Sorted(
        tokens[order],
        order.astype(np.int32),
        length[order],
        start[order],
        np.concatenate([[0], shared]).astype(np.int32),
    )


def cut(leaves: Sorted, shape: PackShape) -> list[tuple[int, int]]:
    """Ranges of leaves, one a pack, of the least total cost.

    A prefix that two packs share is repeated in both: that costs its length, so cuts fall where little is
    shared. Dynamic programming over the last pack's first leaf.
    """
    count = len(leaves.length)
    new = np.cumsum(leaves.length.astype(np.int64) - leaves.shared)
    if shape.square is None and shape.overhead > 0 and new[-1] <= shape.limit:
        return [(0, count)]  # every cut adds to the cost
    start = leaves.length - new  # tokens of leaves i..j: start[i] + new[j]
    best = np.zeros(count + 1)
    first = np.zeros(count, np.int64)
    low = 0
    for last in range(count):
        while low < last and start[low] + new[last] > shape.limit:
            low += 1
        tokens = (start[low : last + 1] + new[last]).astype(float)
        cost = best[low : last + 1] + _cost(tokens, shape)
        chosen = int(cost.argmin())
        best[last + 1], first[last] = cost[chosen], low + chosen
    ranges = []
    stop = count
    while stop:
        ranges.append((int(first[stop - 1]), stop))
        stop = ranges[-1][0]
    return ranges[::-1]


def _cost(tokens: NDArray[np.float64], shape: PackShape) -> NDArray[np.float64]:
    cost: NDArray[np.float64] = np.ceil(tokens / shape.step) * shape.step + shape.overhead
    return cost if shape.square is None else cost + tokens * tokens / shape.square


def _lay_out(leaves: Sorted, first: int, stop: int) -> Pack:
    shared = leaves.shared[first:stop].copy()
    shared[0] = 0
    length = leaves.length[first:stop]
    own = length - shared
    offset = np.concatenate([[0], np.cumsum(own)]).astype(np.int32)
    total = int(offset[-1])
    leaf = np.repeat(np.arange(stop - first), own)
    depth = np.arange(total, dtype=np.int32) - (offset[:-1] - shared)[leaf]
    nodes, leaf_of, place = _scored(leaves, first, offset, shared)
    by_row = np.argsort(nodes, kind="stable")
    nodes, leaf_of, place = nodes[by_row], leaf_of[by_row] + first, place[by_row]
    new = np.concatenate([[True], nodes[1:] != nodes[:-1]])
    return Pack(
        leaves.tokens[leaf + first, depth],
        depth,
        _ends(length, offset, shared),
        nodes[new],
        (np.cumsum(new) - 1).astype(np.int32),
        leaves.tokens[leaf_of, place],
        leaves.numbers[leaf_of],
    )


def _ends(length: Ints, offset: Ints, shared: Ints) -> Ints:
    """Of each node the place after its last descendant."""
    total = int(offset[-1])
    end = np.empty(total, np.int32)
    closed_at = np.full(int(length.max()), total, np.int32)  # by depth, of the node that is open there
    begins, stops, depths, lengths = (each.tolist() for each in (offset[:-1], offset[1:], shared, length))
    for begin, stop, d, n in reversed(list(zip(begins, stops, depths, lengths, strict=True))):
        end[begin:stop] = closed_at[d:n]
        closed_at[d:] = begin
    return end


def _scored(leaves: Sorted, first: int, offset: Ints, shared: Ints) -> tuple[Ints, Ints, Ints]:
    """Of all that is scored, reading by reading: the node before it, its leaf, its place in the text."""
    stop = first + len(shared)
    length, start = leaves.length[first:stop], leaves.start[first:stop]
    count = length + 1 - start
    leaf = np.repeat(np.arange(len(shared), dtype=np.int32), count)
    place = np.arange(len(leaf), dtype=np.int32) - (np.cumsum(count) - count - start)[leaf]
    nodes = place - 1 + (offset[:-1] - shared)[leaf]
    path = np.zeros(int(length.max()), np.int32)
    at = 0
    lists = (each.tolist() for each in (offset[:-1], shared, length, start, count))
    for begin, d, n, scored, some in zip(*lists, strict=True):
        path[d:n] = np.arange(begin, begin + n - d)
        if scored <= d:  # scored tokens that follow nodes of other leaves
            nodes[at : at + d + 1 - scored] = path[scored - 1 : d]
        at += some
    return nodes.astype(np.int32), leaf, place
