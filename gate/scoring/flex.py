"""FlexAttention's sparse masks of batches, made on the host from block extremes and kept in fixed places.

The places stay the same for a size, so that nothing is compiled anew for the next batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gate.scoring.batches import ALIGN, Ints

Windows = dict[str, int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """For each block of queries, the blocks of keys that it sees in part and those it sees whole."""

    partial_count: Ints  # [b]
    partial: Ints  # [b, b]; the first `partial_count` of a row count
    full_count: Ints
    full: Ints


def find_blocks(subtree_end: Ints, depth: Ints, window: int | None) -> Blocks:
    """Blocks of ALIGN queries and keys, from the smallest and largest ends and depths of each.

    A block may be called partial though nothing in it is seen (the elements are masked), but never left out
    or called full wrongly.
    """
    ends, depths = subtree_end.reshape(-1, ALIGN), depth.reshape(-1, ALIGN)
    count = len(ends)
    block = np.arange(count)
    below = block[None, :] < block[:, None]
    some = below & (ends.max(1)[None, :] > block[:, None] * ALIGN)
    full = below & (ends.min(1)[None, :] >= (block[:, None] + 1) * ALIGN)
    if window is not None:
        some &= depths.min(1)[:, None] - depths.max(1)[None, :] < window
        full &= depths.max(1)[:, None] - depths.min(1)[None, :] < window
    partial = (some & ~full) | np.eye(count, dtype=bool)
    return Blocks(*_listed(partial), *_listed(full & ~partial))


def _listed(seen: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    order = np.argsort(~seen, axis=1, kind="stable")
    return seen.sum(1).astype(np.int32), order.astype(np.int32)


class FlexMasks:
    """The block masks of one batch size on one device, one for each window, filled anew for each batch."""

    def __init__(self, size: int, windows: Windows, device: torch.device) -> None:
        from torch.nn.attention.flex_attention import BlockMask

        count = size // ALIGN
        self._ends = torch.arange(1, size + 1, dtype=torch.int32, device=device)
        self._depths = torch.zeros(size, dtype=torch.int32, device=device)
        self._tables: dict[str, tuple[torch.Tensor, ...]] = {}
        self.masks: dict[str, Any] = {}
        for kind, window in windows.items():
            counts = [torch.zeros(1, 1, count, dtype=torch.int32, device=device) for _ in range(2)]
            places = [torch.zeros(1, 1, count, count, dtype=torch.int32, device=device) for _ in range(2)]
            self._tables[kind] = (counts[0], places[0], counts[1], places[1])
            self.masks[kind] = BlockMask.from_kv_blocks(
                counts[0],
                places[0],
                counts[1],
                places[1],
                BLOCK_SIZE=ALIGN,
                mask_mod=_sees(self._ends, self._depths, window),
                seq_lengths=(size, size),
            )

    def fill(
        self, ends: torch.Tensor, depths: torch.Tensor, tables: dict[str, tuple[torch.Tensor, ...]]
    ) -> None:
        """Take over one batch's ends, depths and tables, as on the device already; in the stream's order."""
        self._ends.copy_(ends)
        self._depths.copy_(depths)
        for kind, given in tables.items():
            for place, table in zip(self._tables[kind], given, strict=True):
                place.copy_(table.view(place.shape))


def _sees(ends: torch.Tensor, depths: torch.Tensor, window: int | None) -> Any:
    """`gate.scoring.masks.allowed`, element by element."""

    def in_subtree(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (key <= query) & (query < ends[key])

    if window is None:
        return in_subtree
    width: int = window

    def in_window(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (key <= query) & (query < ends[key]) & (depths[query] - depths[key] < width)

    return in_window
