"""Scores groups of readings through prefix trees: the fast path of log-likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from gate.scoring.ahead import ahead
from gate.scoring.attention import Attention, switched
from gate.scoring.batches import Batch, Ints, alone, filled
from gate.scoring.flex import FlexMasks, find_blocks
from gate.scoring.forward import (
    ROWS_AT_ONCE,
    Caller,
    Score,
    Wiring,
    at_once,
    bare_model,
    by_rows,
    normalise,
    score_rows,
    wire,
)
from gate.scoring.masks import additive, allowed
from gate.scoring.readings import Reading
from gate.scoring.sparse import block_mask
from gate.scoring.tree import Pack, PackShape, make_packs

Scores = list[tuple[float, bool]]

CPU_SHAPE = PackShape(limit=2048, step=1, overhead=40, square=2048)
BLOCKS_SHAPE = PackShape(limit=2048, step=1, overhead=40, square=16384)  # larger passes leave the cache
GPU_SHAPE = PackShape(limit=8192, step=128, overhead=64)
STEP = 512  # tokens: passes on a GPU are multiples of it, so that little of them is padding


def shape_for(device: torch.device, limit: int, attention: Attention) -> PackShape:
    """How packs of at most `limit` tokens are cut for a kind of device and attention."""
    on_cpu = BLOCKS_SHAPE if attention == "blocks" else CPU_SHAPE
    return replace(GPU_SHAPE if device.type == "cuda" else on_cpu, limit=limit)


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A batch on its way to the device: everything in one block of int32, and where each part lies."""

    batch: Batch
    block: torch.Tensor
    parts: dict[str, slice]
    spans: list[int]

    def on(self, device: torch.device) -> dict[str, torch.Tensor]:
        block = self.block.to(device, non_blocking=True)
        return {name: block[part] for name, part in self.parts.items()}


class TreeEngine:
    """One model's log-likelihoods of readings. Raises Unsound where the model cannot be scored like this.

    On a CPU each pack is a forward pass of its own, so that its scores have the same bits in any company; on
    a GPU packs share passes of a few sizes, compiled once for all. `attention` is FlexAttention, SDPA with a
    dense mask, or on a CPU SDPA by blocks; `compiled` whether the decoder's layers are compiled. `caller`
    makes the calls.
    """

    def __init__(
        self,
        model: Any,
        shape: PackShape | None = None,
        attention: Attention | None = None,
        compiled: bool | None = None,
        caller: Callable[[Any, Wiring], Caller] = Caller,
    ) -> None:
        model.eval()
        bare = bare_model(model)
        self.caller = caller(bare, wire(bare))
        on_gpu = self.caller.device.type == "cuda"
        self.shape = shape or (GPU_SHAPE if on_gpu else CPU_SHAPE)
        self.attention: Attention = attention or ("flex" if on_gpu else "dense")
        self.compiled = on_gpu and self.attention == "flex" if compiled is None else compiled
        self._fixed = on_gpu or self.attention == "flex"
        self._pairs: Score = by_rows
        if on_gpu:
            compiled_too = torch.compile(normalise, dynamic=True) if self.compiled else normalise
            self._pairs = partial(at_once, normalise=compiled_too)
        self._masks: dict[int, FlexMasks] = {}

    @property
    def how(self) -> str:
        """In words, for a report."""
        names = {"flex": "FlexAttention", "dense": "dense masks", "blocks": "attention by blocks"}
        name = names[self.attention]
        return f"packs of {self.shape.limit:,} tokens, {name}{', compiled layers' if self.compiled else ''}"

    def loglikelihoods(self, groups: Iterable[Sequence[Reading]]) -> list[Scores]:
        """Of each reading the sum of its log-probabilities in nats, and whether all tokens are the likeliest.

        Groups are cut into packs apart: no pack mixes them, and their layout is their own. An iterator of
        groups is asked for the next one while the device computes. Raises torch.OutOfMemoryError where a pass
        does not fit; smaller packs may.
        """
        counts: list[int] = []
        owners, logprobs, greedy = [], [], []
        with torch.no_grad(), switched(self.caller, self.attention, self.compiled):
            for sent in ahead(self._sent(groups, counts)) if self._fixed else self._sent(groups, counts):
                found = self._score(sent)
                owners.append(sent.batch.owners)
                logprobs.append(found[0])
                greedy.append(found[1])
            if not owners:
                return [[] for _ in counts]
            owner = np.concatenate(owners)
            values, likeliest = torch.cat(logprobs).cpu().numpy(), torch.cat(greedy).cpu().numpy()
        total = np.bincount(owner, weights=values, minlength=sum(counts))
        missed = np.bincount(owner, weights=~likeliest, minlength=sum(counts))
        each = iter(zip(total.tolist(), (missed == 0).tolist(), strict=True))
        return [[next(each) for _ in range(count)] for count in counts]

    def _sent(self, groups: Iterable[Sequence[Reading]], counts: list[int]) -> Iterator[Sent]:
        limit = self.shape.limit
        batches = (
            filled(self._packs(groups, counts), tuple(range(STEP, limit + 1, STEP)))
            if self._fixed
            else alone(self._packs(groups, counts))
        )
        for batch in batches:
            yield self._send(batch)

    def _packs(self, groups: Iterable[Sequence[Reading]], counts: list[int]) -> Iterator[tuple[Pack, int]]:
        """Packs with the number of their group's first reading; notes how many readings each group has."""
        for group in groups:
            first = sum(counts)
            counts.append(len(group))
            for pack in make_packs(group, self.shape):
                yield pack, first

    def _send(self, batch: Batch) -> Sent:
        names = ("tokens", "depth", "subtree_end", "rows", "pair_row", "pair_token")
        arrays: dict[str, Ints] = {name: getattr(batch, name) for name in names}
        if self.attention == "flex":
            for kind, window in self.caller.wiring.windows.items():
                blocks = find_blocks(batch.subtree_end, batch.depth, window)
                for number, table in enumerate(astuple(blocks)):
                    arrays[f"{kind}/{number}"] = table.ravel()
        ends = np.cumsum([len(array) for array in arrays.values()]).tolist()
        parts = {name: slice(end - len(arrays[name]), end) for name, end in zip(arrays, ends, strict=True)}
        block = torch.from_numpy(np.concatenate(list(arrays.values())))
        spans = np.searchsorted(batch.pair_row, np.arange(0, len(batch.rows) + ROWS_AT_ONCE, ROWS_AT_ONCE))
        pinned = self.caller.device.type == "cuda"
        return Sent(batch, block.pin_memory() if pinned else block, parts, spans.tolist())

    def _score(self, sent: Sent) -> tuple[torch.Tensor, torch.Tensor]:
        parts = sent.on(self.caller.device)
        masks = {"flex": self._flex, "dense": self._dense, "blocks": self._blocks}[self.attention](parts)
        hidden = self.caller.hidden(parts["tokens"].long(), parts["depth"].long(), masks)
        rows, pair_row, pair_token = (parts[name].long() for name in ("rows", "pair_row", "pair_token"))
        scored = hidden[rows.to(hidden.device)]
        return score_rows(self.caller, scored, pair_row, pair_token, sent.spans, self._pairs)

    def _dense(self, parts: dict[str, torch.Tensor]) -> dict[str, Any]:
        dtype = self.caller.model.dtype
        return {
            kind: additive(allowed(parts["subtree_end"], parts["depth"], window), dtype)
            for kind, window in self.caller.wiring.windows.items()
        }

    def _blocks(self, parts: dict[str, torch.Tensor]) -> dict[str, Any]:
        end, depth = parts["subtree_end"].numpy(), parts["depth"].numpy()
        dtype = self.caller.model.dtype
        windows = self.caller.wiring.windows
        return {kind: block_mask(end, depth, window, dtype) for kind, window in windows.items()}

    def _flex(self, parts: dict[str, torch.Tensor]) -> dict[str, Any]:
        size = len(parts["tokens"])
        windows = self.caller.wiring.windows
        if size not in self._masks:
            self._masks[size] = FlexMasks(size, windows, self.caller.device)
        tables = {kind: tuple(parts[f"{kind}/{number}"] for number in range(4)) for kind in windows}
        self._masks[size].fill(parts["subtree_end"], parts["depth"], tables)
        return self._masks[size].masks
