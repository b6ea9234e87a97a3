"""Attention over a pack on a CPU: a block of queries at a time, over those keys that some of it sees.

A dense mask costs the square of a pack, though a node sees itself and its ancestors alone. The blocks follow
from the pack's layout, so that a pack is the same computation in any company.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from gate.scoring.batches import Ints

ATTENTION = "ftgate_blocks"
BLOCK = 64  # queries
GAPS = 1.5  # keys from the first seen one on, over those that are seen, above which these are gathered


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One block of q queries, the k keys that are looked at for it, and the mask that is added."""

    queries: slice
    keys: slice | torch.Tensor
    mask: torch.Tensor  # [1, 1, q, k]


def block_mask(subtree_end: Ints, depth: Ints, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """`gate.scoring.masks.allowed` for `attend`: a [1, 1, n, n] tensor of one number, with its parts."""
    count = len(subtree_end)
    mask = torch.zeros((), dtype=dtype).expand(1, 1, count, count)
    starts = range(0, count, BLOCK)
    parts = [_part(subtree_end, depth, window, dtype, start, min(start + BLOCK, count)) for start in starts]
    mask.parts = parts  # type: ignore[attr-defined]
    return mask


def _part(
    subtree_end: Ints, depth: Ints, window: int | None, dtype: torch.dtype, start: int, stop: int
) -> Part:
    seen = subtree_end[:stop] > start
    if window is not None:
        seen &= depth[start:stop].min() - depth[:stop] < window
    keys = np.flatnonzero(seen)
    if stop - keys[0] <= GAPS * len(keys):
        keys = np.arange(keys[0], stop)
    queries = np.arange(start, stop)[:, None]
    allowed = (keys <= queries) & (queries < subtree_end[keys])
    if window is not None:
        allowed &= depth[start:stop, None] - depth[keys] < window
    mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill_(torch.from_numpy(~allowed), float("-inf"))
    whole = len(keys) == stop - keys[0]
    return Part(
        slice(start, stop),
        slice(int(keys[0]), stop) if whole else torch.from_numpy(keys),
        mask[None, None],
    )


def attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **rest: Any
) -> tuple[torch.Tensor, None]:
    """Attention of one pack, [1, heads, n, size], under a mask of `block_mask`.

    Raises ValueError for any other mask, and for what changes the scores otherwise (caps, sinks, biases).
    """
    given = [name for name in ("softcap", "s_aux", "position_bias") if rest.get(name) is not None]
    parts: list[Part] | None = getattr(attention_mask, "parts", None)
    if given or parts is None:
        raise ValueError(f"attention by blocks takes no {given[0] if given else 'other mask'}")
    found = query.new_empty(1, query.shape[2], query.shape[1], value.shape[-1])
    grouped = key.shape[1] != query.shape[1]
    for part in parts:
        found[:, part.queries] = scaled_dot_product_attention(
            query[:, :, part.queries],
            key[:, :, part.keys],
            value[:, :, part.keys],
            attn_mask=part.mask,
            scale=rest.get("scaling"),
            enable_gqa=grouped,
        ).transpose(1, 2)
    return found, None


AttentionInterface.register(ATTENTION, attend)
