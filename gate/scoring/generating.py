"""Texts by greedy decoding, many rows at a time: a finished row is given to the next request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from gate.errors import MeasurementError
from gate.records import Request
from gate.scoring.decoding import BURST, Decoder, prefill
from gate.scoring.forward import Unsound, bare_model, wire
from gate.scoring.rows import COLUMNS, Entry, Rows, make_rows, together
from gate.scoring.stopping import Ask, read_ask

if TYPE_CHECKING:
    from gate.scoring.hf import HarnessModel

MOST_ROWS = {"cuda": 256, "cpu": 16}
AT_ONCE = {"cuda": 32, "cpu": 8}  # prompts that are read together
SHARE = 0.5  # of the GPU's free memory that the rows' keys and values may take
READING = 0.2  # of it that those of prompts may take which are read together
PLENTY = 1 << 40  # tokens, where memory is not asked
# What a model's generation config may say without changing greedy decoding.
HARMLESS = frozenset(
    ("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "do_sample", "temperature",
     "top_k", "top_p", "max_length", "max_new_tokens", "use_cache", "_from_model_config")
)  # fmt: skip


@dataclass(slots=True)
class Text:
    """One text in the making: its prompt's tokens, what it asks, the new tokens and their logits."""

    prompt: tuple[int, ...]
    ask: Ask
    made: list[int] = field(default_factory=list)
    logits: list[float] = field(default_factory=list)


class Generator:
    """Greedy decoding of one model. Raises Unsound where the model cannot be decoded by rows.

    `ends` are the tokens that end a text, `decode` the tokenizer's own. `most` bounds the rows.
    """

    def __init__(
        self,
        model: Any,
        decode: Callable[[list[int]], str],
        ends: frozenset[int],
        packed: bool = True,
        most: int | None = None,
        decoder: type[Decoder] = Decoder,
    ) -> None:
        self.model = bare_model(model)
        self.wiring = wire(self.model)
        self.packed, self._decode, self._ends = packed, decode, ends
        self._kind = self.model.get_input_embeddings().weight.device.type
        self._most, self._decoder = most, decoder
        self._kept: Decoder | None = None

    def generate(self, texts: Sequence[Text]) -> None:
        """Make every text to its end. Raises MeasurementError where logits are not finite, and
        torch.OutOfMemoryError where the rows do not fit; fewer may.
        """
        if not texts:
            return
        # Those that share a beginning are read together.
        order = sorted(range(len(texts)), key=lambda number: texts[number].prompt)
        entries = [Entry(n, len(texts[n].prompt), texts[n].ask.tokens) for n in order]
        room = self._room()
        rows = make_rows(entries, self._rows(entries, room))
        try:
            self._make(rows, self._ready(rows), deque(entries), texts, room)
        except BaseException:
            self.release()  # what is not finite would stay in the cache, and memory may be what was missing
            raise

    def release(self) -> None:
        """Give the memory of keys and values back, which the next call would use again."""
        self._kept = None

    def _ready(self, rows: Rows) -> Decoder:
        """The decoder of the call before where it has the shape, else a new one in its place."""
        if self._kept is None or self._kept.shape != (rows.count, rows.width):
            self.release()
            self._kept = self._decoder(self.model, self.wiring, rows, self.packed)
        self._kept.begin(rows)
        return self._kept

    def _make(
        self, rows: Rows, decoder: Decoder, waiting: deque[Entry], texts: Sequence[Text], room: int
    ) -> None:
        while waiting or rows.taken:
            enough = min(len(waiting), self._batch // 4, rows.count)
            if waiting and (not rows.taken or len(rows.free) >= enough):
                self._fill(rows, decoder, waiting, texts, room)
            if rows.taken:
                self._advance(rows, decoder, texts)

    @property
    def _batch(self) -> int:
        return AT_ONCE.get(self._kind, 8)

    def _rows(self, entries: Sequence[Entry], room: int) -> int:
        """As many rows as their keys and values fit beside the model."""
        most = self._most or MOST_ROWS.get(self._kind, 16)
        width = max(entry.prompt for entry in entries) + 2 * max(entry.tokens for entry in entries) + COLUMNS
        return max(1, min(most, int(SHARE * room) // width))

    def _room(self) -> int:
        """Tokens whose keys and values fit into the GPU's free memory."""
        if self._kind != "cuda":
            return PLENTY
        config = self.model.config.get_text_config(decoder=True)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        token = 2 * config.num_hidden_layers * heads * size * self.model.dtype.itemsize
        free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int((free + (self._kept.memory if self._kept else 0)) // token)

    def _fill(
        self, rows: Rows, decoder: Decoder, waiting: deque[Entry], texts: Sequence[Text], room: int
    ) -> None:
        free = rows.free
        while free and waiting:
            count = together(waiting, min(len(free), self._batch), int(READING * room))
            some = [waiting.popleft() for _ in range(count)]
            if rows.column + max(entry.tokens for entry in some) > rows.width and (shift := rows.shift()):
                decoder.move(shift)
                rows.moved(shift)
            past, first, values = prefill(self.model, [texts[entry.number].prompt for entry in some])
            for place, (entry, own, token) in enumerate(zip(some, past, first.tolist(), strict=True)):
                if token < 0:
                    raise not_finite()
                if self._take(texts[entry.number], [token], [float(values[place])]):
                    continue
                row = free.pop()
                rows.put(row, entry)
                decoder.place(row, rows.column, own, first[place])

    def _advance(self, rows: Rows, decoder: Decoder, texts: Sequence[Text]) -> None:
        steps = rows.steps(BURST)
        made, values, finite = decoder.run(steps)
        if not finite:
            raise not_finite()
        rows.column += steps
        for row, entry in list(rows.taken.items()):
            if self._take(texts[entry.number], made[:, row].tolist(), values[:, row].tolist()):
                rows.end(row)
                decoder.leave(row, rows.column)

    def _take(self, text: Text, tokens: Sequence[int], logits: Sequence[float]) -> bool:
        """Add new tokens up to the text's end; whether it has come."""
        done = False
        for token, logit in zip(tokens, logits, strict=True):
            text.made.append(token)
            text.logits.append(logit)
            if done := token in self._ends or len(text.made) == text.ask.tokens:
                break
        if not text.ask.ended(self._decode(text.made)):
            return done
        # Tokens after the stop string would stay where decoding leaves it out (a special token).
        while text.ask.ended(self._decode(text.made[:-1])):
            text.made.pop()
            text.logits.pop()
        return True


def not_finite() -> MeasurementError:
    """A generated text would be arbitrary."""
    from gate.scoring.hf import OVERFLOWS

    return MeasurementError("a generated text rests on logits that are not finite", hint=OVERFLOWS)


def end_tokens(model: Any) -> frozenset[int]:
    """The tokens at which transformers ends a text of this model."""
    ends = model.generation_config.eos_token_id
    return frozenset() if ends is None else frozenset([ends] if isinstance(ends, int) else ends)


def require_greedy(model: Any) -> None:
    """Raises Unsound where the model's own generation config changes greedy decoding."""
    said = model.generation_config.to_diff_dict().items()
    # 0 and 1 are what switches a length, a penalty or a number of beams off; as a token they are not.
    other = sorted(
        name
        for name, value in said
        if name not in HARMLESS and value and (value != 1 or name.endswith(("_id", "_ids", "tokens")))
    )
    if other:
        raise Unsound(f"its generation config sets {other[0]}")


def generate(generator: Generator, harness: HarnessModel, requests: Sequence[Request]) -> list[str | None]:
    """The text of each request; None where it asks for more than greedy decoding, which lm-eval's model does.

    Prompts are read and cut on the left by lm-eval's model itself.
    """
    end = harness.tok_decode([harness.eot_token_id], skip_special_tokens=False)
    asks = [read_ask(request.generation, harness.max_gen_toks, end) for request in requests]
    texts: dict[int, Text] = {}
    for tokens in sorted({ask.tokens for ask in asks if ask}):
        room = harness.max_length - tokens
        places = [n for n, ask in enumerate(asks) if ask and ask.tokens == tokens and room > 0]
        prompts = read_prompts(harness, [requests[n].context for n in places], room)
        for place, prompt in zip(places, prompts, strict=True):
            ask = asks[place]
            if prompt and ask is not None:
                texts[place] = Text(prompt, ask)
    generator.generate(list(texts.values()))
    return [
        texts[n].ask.cut(harness.tok_decode(texts[n].made)) if n in texts else None
        for n in range(len(requests))
    ]


def read_prompts(harness: HarnessModel, contexts: Sequence[str], room: int) -> list[tuple[int, ...]]:
    """Each context's tokens, its last `room` of them, as lm-eval reads it alone.

    lm-eval asks the first text of a batch alone whether all bring a start token, so those that do are read
    apart from those that do not.
    """
    start: str | None = harness.tokenizer.bos_token
    found: dict[int, tuple[int, ...]] = {}
    for brings in (True, False):
        places = [n for n, text in enumerate(contexts) if bool(start and text.startswith(start)) == brings]
        for begin in range(0, len(places), 256):
            some = places[begin : begin + 256]
            ids, mask = harness.tok_batch_encode([contexts[n] for n in some], left_truncate_len=room)
            for place, row, real in zip(some, ids, mask.bool(), strict=True):
                found[place] = tuple(row[real].tolist())
    return [found[place] for place in range(len(contexts))]
