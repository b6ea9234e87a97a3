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

    readings: tuple[Reading, ...]
    numbers: Ints  # [m] place in the group
    length: Ints  # [m] inputs
    shared: Ints  # [m] inputs shared with the one before


def make_packs(readings: Sequence[Reading], shape: PackShape) -> list[Pack]:
    """All packs of one group. Every reading lies whole in one pack."""
    if not readings:
        return []
    leaves = sort_readings(readings)
    return [_lay_out(leaves, first, stop) for first, stop in cut(leaves, shape)]


def sort_readings(readings: Sequence[Reading]) -> Sorted:
    """The leaves in depth-first order, with what each shares with the one before."""
    keys = [reading.tokens[:-1].astype(">u4").tobytes() for reading in readings]
    order = sorted(range(len(readings)), key=keys.__getitem__)
    ordered = tuple(readings[number] for number in order)
    length = np.array([len(reading.tokens) - 1 for reading in ordered], np.int32)
    shared = np.zeros(len(ordered), np.int32)
    for place in range(1, len(ordered)):
        shared[place] = _common(ordered[place - 1].tokens[:-1], ordered[place].tokens[:-1])
    return Sorted(ordered, np.array(order, np.int32), length, shared)


def _common(one: Ints, other: Ints) -> int:
    both = min(len(one), len(other))
    differ = one[:both] != other[:both]
    first = int(differ.argmax()) if both else 0
    return first if both and differ[first] else both


def cut(leaves: Sorted, shape: PackShape) -> list[tuple[int, int]]:
    """Ranges of leaves, one a pack, of the least total cost.

    A prefix that two packs share is repeated in both: that costs its length, so cuts fall where little is
    shared. Dynamic programming over the last pack's first leaf.
    """
    count = len(leaves.readings)
    new = np.cumsum(leaves.length.astype(np.int64) - leaves.shared)
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
    offset = np.concatenate([[0], np.cumsum(length - shared)]).astype(np.int32)
    total = int(offset[-1])
    tokens, depth, end = (np.empty(total, np.int32) for _ in range(3))
    closed_at = np.full(
        int(length.max()), total, np.int32
    )  # by depth: where the subtree of the open node ends
    for place in reversed(range(stop - first)):
        here, d, n = slice(offset[place], offset[place + 1]), shared[place], length[place]
        tokens[here] = leaves.readings[first + place].tokens[d:n]
        depth[here] = np.arange(d, n)
        end[here] = closed_at[d:n]
        closed_at[d:] = offset[place]
    nodes, targets, owners = _pairs(leaves, first, offset, shared)
    by_row = np.argsort(nodes, kind="stable")
    rows, pair_row = np.unique(nodes[by_row], return_inverse=True)
    return Pack(tokens, depth, end, rows, pair_row.astype(np.int32), targets[by_row], owners[by_row])


def _pairs(leaves: Sorted, first: int, offset: Ints, shared: Ints) -> tuple[Ints, Ints, Ints]:
    """Node, next token and reading of everything that is scored, reading by reading, in reading order."""
    path = np.zeros(int(leaves.length[first : first + len(shared)].max()), np.int32)
    nodes, targets, owners = [], [], []
    for place, begin in enumerate(shared):
        reading = leaves.readings[first + place]
        inputs = len(reading.tokens) - 1
        path[begin:inputs] = np.arange(offset[place], offset[place + 1])
        nodes.append(path[reading.start - 1 : inputs].copy())
        targets.append(reading.tokens[reading.start :])
        owners.append(np.full(inputs + 1 - reading.start, leaves.numbers[first + place], np.int32))
    return np.concatenate(nodes), np.concatenate(targets).astype(np.int32), np.concatenate(owners)
