"""Scores groups of readings through prefix trees: the fast path of log-likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gate.scoring.forward import ROWS_AT_ONCE, Caller, bare_model, score_rows, wire
from gate.scoring.masks import additive, allowed
from gate.scoring.readings import Reading
from gate.scoring.tree import Pack, PackShape, make_packs

CPU_SHAPE = PackShape(limit=2048, step=1, overhead=16, square=2048)
Scores = list[tuple[float, bool]]


class TreeEngine:
    """One model's log-likelihoods of readings. Raises Unsound where the model cannot be scored like this."""

    def __init__(self, model: Any, shape: PackShape = CPU_SHAPE) -> None:
        model.eval()
        bare = bare_model(model)
        self.caller = Caller(bare, wire(bare))
        self.shape = shape

    def loglikelihoods(self, groups: Sequence[Sequence[Reading]]) -> list[Scores]:
        """For each reading the sum of its log-probabilities in nats, and whether all its tokens are the likeliest.

        Groups are scored apart: no pack mixes them, and their layout is their own.
        """
        return [self._group(group) for group in groups]

    def _group(self, readings: Sequence[Reading]) -> Scores:
        total = np.zeros(len(readings))
        greedy = np.ones(len(readings), bool)
        for pack in make_packs(readings, self.shape):
            logprobs, likeliest = self._pack(pack)
            np.add.at(total, pack.pair_reading, logprobs)
            np.logical_and.at(greedy, pack.pair_reading, likeliest)
        return list(zip(total.tolist(), greedy.tolist(), strict=True))

    @torch.no_grad()
    def _pack(self, pack: Pack) -> tuple[Any, Any]:
        device = self.caller.device
        tokens, depth, end, rows = (
            torch.from_numpy(each).to(device, torch.long)
            for each in (pack.tokens, pack.depth, pack.subtree_end, pack.rows)
        )
        order = np.argsort(pack.pair_row, kind="stable")
        pair_row, pair_token = (
            torch.from_numpy(each[order]).to(device, torch.long) for each in (pack.pair_row, pack.pair_token)
        )
        spans = np.searchsorted(pack.pair_row[order], np.arange(0, len(rows) + ROWS_AT_ONCE, ROWS_AT_ONCE))
        masks = {
            kind: additive(allowed(end, depth, window), self.caller.model.dtype)
            for kind, window in self.caller.wiring.windows.items()
        }
        hidden = self.caller.hidden(tokens, depth, masks)[rows]
        logprobs, greedy = score_rows(self.caller, hidden, pair_row, pair_token, spans.tolist())
        back = np.argsort(order)
        return logprobs.cpu().numpy()[back], greedy.cpu().numpy()[back]
