"""One token for every row at a time: a cache of fixed shape, and on a GPU a captured graph."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import Cache, CacheLayerMixin

from gate.scoring.forward import Wiring
from gate.scoring.rows import Rows

ATTENTION = "ftgate_rows"
BURST = 8  # tokens between two looks at the texts


class RowLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values, [rows, heads, width, size]; a step writes one column."""

    is_compileable = True
    is_sliding = False

    keys: Any
    values: Any

    def __init__(self, width: int, column: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.width, self.column = width, column

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Room for all columns."""
        rows, heads, _, size = key_states.shape
        self.keys = key_states.new_zeros(rows, heads, self.width, size)
        self.values = value_states.new_zeros(rows, value_states.shape[1], self.width, value_states.shape[-1])
        self.is_initialized = True

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Write this step's column; all columns come back, and the mask says which of them are seen."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys.index_copy_(2, self.column, key_states)
        self.values.index_copy_(2, self.column, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """All columns, from the first."""
        return self.width, 0

    def get_seq_length(self, *args: Any, **kwargs: Any) -> int:
        """Positions are always given; nobody may count them from here."""
        return 0

    def get_max_length(self) -> int:
        """Columns."""
        return self.width

    get_max_cache_shape = get_max_length  # its name before transformers 5.20


def attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **rest: Any
) -> tuple[torch.Tensor, None]:
    """Attention of one new token a row, [rows, heads, 1, size]: the heads of a group share its keys in place.

    Raises ValueError for what changes the scores otherwise (caps, sinks, biases).
    """
    given = [name for name in ("softcap", "s_aux", "position_bias") if rest.get(name) is not None]
    if given or query.shape[2] != 1 or attention_mask is None:
        raise ValueError(f"decoding by rows takes no {given[0] if given else 'text of several tokens'}")
    rows, heads, _, size = query.shape
    packed = query.view(rows, key.shape[1], heads // key.shape[1], size)
    scale = rest.get("scaling")
    found = scaled_dot_product_attention(packed, key, value, attn_mask=attention_mask, scale=scale)
    return found.reshape(rows, 1, heads, -1), None


AttentionInterface.register(ATTENTION, attend)


class Decoder:
    """Greedy decoding of rows by a bare transformers model in evaluation mode.

    `packed`: by our attention, else by the model's own, which may repeat keys for every head. The cache and
    the graph serve any number of calls with rows of this shape; `begin` goes before each.
    """

    def __init__(self, model: Any, wiring: Wiring, rows: Rows, packed: bool) -> None:
        count, width = rows.count, rows.width
        self.model, self.wiring, self.width, self.packed = model, wiring, width, packed
        device = model.get_input_embeddings().weight.device
        self.column, self._furthest = torch.zeros(2, 1, dtype=torch.long, device=device)
        self.start = torch.zeros(count, dtype=torch.long, device=device)
        self.active = torch.zeros(count, dtype=torch.bool, device=device)
        self.tokens = torch.zeros(count, 1, dtype=torch.long, device=device)
        self.made = torch.zeros(BURST, count, dtype=torch.long, device=device)
        self.values = torch.zeros(BURST, count, device=device)
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        self.finite = torch.ones(1, dtype=torch.bool, device=device)
        self._columns = torch.arange(width, device=device)
        self.layers = [RowLayer(width, self.column) for _ in range(_layers(model))]
        self.cache = Cache(layers=[*self.layers])
        self._graph: Any = None
        self.begin(rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.start), self.width

    @property
    def memory(self) -> int:
        """Bytes of keys and values."""
        there = [layer for layer in self.layers if layer.is_initialized]
        return sum(int(each.nbytes) for layer in there for each in (layer.keys, layer.values))

    def begin(self, rows: Rows) -> None:
        """No row has a text; what lies in the cache is seen by none."""
        self.column.fill_(rows.column)
        self.start.fill_(rows.column)
        self._furthest.fill_(rows.furthest - 1)
        self.active.zero_()
        self.tokens.zero_()
        self.finite.fill_(True)

    @torch.no_grad()
    def run(self, steps: int) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """[steps, rows] new tokens and their logits, and whether all logits of rows with texts were finite.
        At most BURST steps."""
        self.step.zero_()
        with attention(self.model, ATTENTION if self.packed else None):
            for _ in range(steps):
                self._advance()
        return self.made[:steps].cpu(), self.values[:steps].cpu(), bool(self.finite)

    def _advance(self) -> None:
        if self.column.device.type != "cuda":
            return self._once()
        if self._graph is None:
            self._capture()
        self._graph.replay()

    def _capture(self) -> None:
        """The step as a graph. What the steps before it change is put back: they only warm up."""
        kept = [each.clone() for each in self._state()]
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):
                self._once()
                for own, before in zip(self._state(), kept, strict=True):
                    own.copy_(before)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._once()
        self._graph = graph

    def _state(self) -> tuple[torch.Tensor, ...]:
        return self.column, self.tokens, self.made, self.values, self.step, self.finite

    def _once(self) -> None:
        position = (self.column - self.start).clamp(min=0).minimum(self._furthest)[:, None]
        masks = {kind: self._mask(window) for kind, window in self.wiring.windows.items()}
        mask: Any = masks if self.wiring.by_layer_type else next(iter(masks.values()))
        if self.wiring.by_layer_type and "all" in masks:
            mask = {"full_attention": masks["all"], "sliding_attention": masks["all"]}
        logits = self.model(
            input_ids=self.tokens,
            position_ids=position,
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
        ).logits[:, -1]
        value, best = logits.max(-1)
        self.finite &= ((logits < float("inf")).all(-1) | ~self.active).all()
        self.made.index_copy_(0, self.step, best[None])
        self.values.index_copy_(0, self.step, value[None].float())
        self.tokens.copy_(best[:, None])
        self.column += 1
        self.step += 1

    def _mask(self, window: int | None) -> torch.Tensor:
        """[rows, 1, 1, width], added to scores: 0 from a row's first column to this one, in the window."""
        seen = (self._columns >= self.start[:, None]) & (self._columns <= self.column)
        if window is not None:
            seen &= self._columns > self.column - window
        mask = torch.zeros(seen.shape, dtype=self.model.dtype, device=seen.device)
        return mask.masked_fill_(~seen, float("-inf"))[:, None, None]

    # ── Rows come and go ──────────────────────────────────────────────────────────────────────────

    def place(
        self, row: int, column: int, past: Sequence[tuple[torch.Tensor, torch.Tensor]], token: torch.Tensor
    ) -> None:
        """Put a text into a row so that it ends before `column`: its keys and values of each layer
        ([heads, n, size]) and its first new token."""
        length = past[0][0].shape[-2]
        for layer, (keys, values) in zip(self.layers, past, strict=True):
            if not layer.is_initialized:
                shape = (len(self.start), keys.shape[0], 1, keys.shape[-1])
                last = (*shape[:3], values.shape[-1])
                layer.lazy_initialization(keys.new_zeros(shape), values.new_zeros(last))
            layer.keys[row, :, column - length : column] = keys
            layer.values[row, :, column - length : column] = values
        self.start[row], self.active[row] = column - length, True
        self.tokens[row, 0] = token

    def leave(self, row: int, column: int) -> None:
        """A row without a text goes on from here with what nobody reads."""
        self.active[row] = False
        self.start[row] = column

    def move(self, columns: int) -> None:
        """Everything `columns` to the left."""
        for layer in self.layers:
            for each in (layer.keys, layer.values):
                each[:, :, : self.width - columns] = each[:, :, columns:].clone()
        self.column -= columns
        self.start -= columns
        self.start.clamp_(min=0)


def _layers(model: Any) -> int:
    count: int = model.config.get_text_config(decoder=True).num_hidden_layers
    return count


@contextmanager
def attention(model: Any, name: str | None) -> Iterator[None]:
    """The model with that attention while inside; None: as it is."""
    before: str = model.config._attn_implementation
    if name is None or name == before:
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@torch.no_grad()
def prefill(
    model: Any, prompts: Sequence[Sequence[int]]
) -> tuple[list[list[tuple[Any, Any]]], torch.Tensor, torch.Tensor]:
    """Keys and values of each prompt, a pair a layer ([heads, n, size]), and its first new token with its
    logit ([prompts] both); -1 where logits are not finite.

    What all of them begin with is computed once; the rest is padded on the right, which nobody sees.
    """
    device = model.get_input_embeddings().weight.device
    shared = shared_prefix(prompts)
    cache: Any = DynamicCache()  # without a config it keeps what is beyond a window
    if shared:
        ids = torch.tensor([list(prompts[0][:shared])], device=device)
        model(input_ids=ids, past_key_values=cache, use_cache=True, **_keep(model, None))
        cache.batch_repeat_interleave(len(prompts))
    rests = [torch.tensor(prompt[shared:], device=device) for prompt in prompts]
    ids = torch.nn.utils.rnn.pad_sequence(rests, batch_first=True)
    places = torch.arange(shared, shared + ids.shape[1], device=device)[None].expand(len(prompts), -1)
    last = torch.tensor([len(rest) - 1 for rest in rests], device=device)
    kept, which = torch.unique(last, return_inverse=True)
    logits = model(
        input_ids=ids, position_ids=places, past_key_values=cache, use_cache=True, **_keep(model, kept)
    ).logits
    which = which if logits.shape[1] == len(kept) else last
    chosen = logits[torch.arange(len(prompts), device=device), which]
    values, best = chosen.max(-1)
    tokens = torch.where((chosen < float("inf")).all(-1), best, -1)
    found = [
        [(layer.keys[row, :, : len(prompt)], layer.values[row, :, : len(prompt)]) for layer in cache.layers]
        for row, prompt in enumerate(prompts)
    ]
    return found, tokens, values.float()


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with, at least one less than the shortest; 0 for one prompt."""
    if len(prompts) < 2:
        return 0
    low, high = min(map(tuple, prompts)), max(map(tuple, prompts))  # what these share, all share
    shortest = min(map(len, prompts)) - 1
    return next((n for n in range(shortest) if low[n] != high[n]), shortest)


def _keep(model: Any, places: torch.Tensor | None) -> dict[str, Any]:
    """So that logits exist at these places alone; at the last one for None."""
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return {}
    return {"logits_to_keep": 1 if places is None else places}
