"""Requests as token sequences to score, exactly as lm-eval 0.4.13's HF model reads them.

One deviation, `gate.scoring.hf`'s: a rolling log-likelihood begins with one start token, not two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gate.errors import MeasurementError
from gate.records import Request
from gate.scoring.encoding import Encode, batch_encoder
from gate.scoring.tokenizing import check_start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """`tokens[start:]` are scored, each from all tokens before it; the last one is never an input.

    Four bytes a token, so that a task's readings stay small: 14,042 five-shot documents of four options
    are 160 MB.
    """

    tokens: Tokens
    start: int


@dataclass(frozen=True, slots=True)
class Reader:
    """One tokenizer and the lengths that its model takes; makes readings of requests."""

    encode: Encode
    start_token: int | None
    prefix: int
    prefix_text: str
    max_length: int
    add_start: bool | None = None

    def read(self, requests: Sequence[Request]) -> list[tuple[Reading, ...]]:
        """For each request its readings: one, or the windows of a rolling log-likelihood.

        Raises MeasurementError where a request cannot be scored or begins with a doubled start token.
        ValueError for a request that asks for generated text.
        """
        kinds = {"loglikelihood": self._pairs, "loglikelihood_rolling": self._windows}
        answers: list[tuple[Reading, ...]] = [()] * len(requests)
        for kind, read in kinds.items():
            places = [place for place, request in enumerate(requests) if request.kind == kind]
            for place, readings in zip(places, read([requests[p] for p in places]), strict=True):
                answers[place] = readings
        if not all(request.kind in kinds for request in requests):
            raise ValueError("a request for generated text has no readings")
        return answers

    def _pairs(self, requests: Sequence[Request]) -> list[tuple[Reading, ...]]:
        pairs = [_move_spaces(each.context, each.continuation) for each in requests if each.context]
        whole = iter(self._tokens([context + text for context, text in pairs], self.add_start))
        before = iter(self._tokens([context for context, _ in pairs], self.add_start))
        bare = iter(self._tokens([each.continuation for each in requests if not each.context], False))
        return [
            (self._reading(next(whole), len(next(before)), request),)
            if request.context
            else (self._after_prefix(next(bare), request),)
            for request in requests
        ]

    def _after_prefix(self, tokens: Tokens, request: Request) -> Reading:
        """Without a context, the first token is scored from the prefix token, unless it is that token."""
        if tokens[:1].tolist() != [self.prefix]:
            tokens = np.concatenate([np.array([self.prefix], np.int32), tokens])
        return self._reading(tokens, 1, request)

    def _reading(self, tokens: Tokens, start: int, request: Request) -> Reading:
        scored = len(tokens) - start
        if start == 0 or scored <= 0 or scored > self.max_length:
            raise MeasurementError(
                f"a request cannot be scored: {start} tokens of context and {max(scored, 0)} of continuation "
                f"({request.context[-30:]!r}, {request.continuation[:30]!r})",
                hint=f"both need one token at least, and the continuation {self.max_length} at most",
            )
        kept = tokens[-(self.max_length + 1) :]
        return Reading(kept, len(kept) - scored)

    def _windows(self, requests: Sequence[Request]) -> list[tuple[Reading, ...]]:
        texts = self._tokens([request.context for request in requests], self.add_start, check=False)
        bare = [text[1:] if text[:1].tolist() == [self.prefix] else text for text in texts]
        return [tuple(rolling(text, self.prefix, self.max_length)) for text in bare]

    def _tokens(self, texts: Sequence[str], add_start: bool | None, check: bool = True) -> list[Tokens]:
        """Each text once, though many requests share it. A text that brings a start token gets no other."""
        places: dict[str, int] = {}
        for text in texts:
            places.setdefault(text, len(places))
        bring = [text for text in places if add_start is None and text.startswith(self.prefix_text)]
        other = [text for text in places if not (add_start is None and text.startswith(self.prefix_text))]
        found = dict(zip(bring, self.encode(bring, False), strict=True))
        found.update(zip(other, self.encode(other, add_start), strict=True))
        if check:
            for text, tokens in found.items():
                check_start(tokens[:3].tolist(), self.start_token, text)
        return [found[text] for text in texts]


def rolling(tokens: Tokens, prefix: int, length: int) -> list[Reading]:
    """Windows of at most `length` scored tokens, each token scored once, as lm-eval cuts them.

    The first follows `prefix`; later ones see as much of what came before as fits, one token at least.
    """
    if not len(tokens):
        return []
    first = np.concatenate([np.array([prefix], np.int32), tokens[:length]])
    windows = [Reading(first, 1)]
    for done in range(length, len(tokens), length):
        end = min(done + length, len(tokens))
        begin = end - length - 1
        windows.append(Reading(tokens[begin:end], done - begin))
    return windows


def reader(
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    add_start: bool | None = None,
    prefix: int | None = None,
) -> Reader:
    """One tokenizer's reader; `add_start` and `prefix` are lm-eval's `add_bos_token`, `prefix_token_id`."""
    start: int | None = tokenizer.bos_token_id
    ends: int = tokenizer.eos_token_id
    before = prefix if prefix is not None else start if start is not None else ends
    text = str(tokenizer.decode(before))
    encode: Callable[[Sequence[str], bool | None], list[Tokens]] = batch_encoder(tokenizer)
    return Reader(encode, start, before, text, max_length, add_start)


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    """A context's trailing spaces belong to the continuation, where tokenizers put them."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation
