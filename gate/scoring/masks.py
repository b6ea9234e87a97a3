"""Who may look at whom in a pack: a node at itself and its ancestors, within a sliding window by depth."""

from __future__ import annotations

import torch


def allowed(subtree_end: torch.Tensor, depth: torch.Tensor, window: int | None) -> torch.Tensor:
    """[n, n] bool: query q (row) may look at key k (column), `k <= q < subtree_end[k]`.

    `window` is the model's sliding window: the number of tokens that are seen, oneself included, counted
    along the path to the root, which is what depth is.
    """
    place = torch.arange(len(subtree_end), device=subtree_end.device)
    seen = (place[None, :] <= place[:, None]) & (place[:, None] < subtree_end[None, :])
    if window is not None:
        seen &= depth[:, None] - depth[None, :] < window
    return seen


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """[1, 1, n, n]: 0 where `seen`, minus infinity elsewhere; added to attention scores.

    Every node sees itself, so that no row is minus infinity throughout.
    """
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, float("-inf"))[None, None]
