"""Texts to token numbers, in whole batches by the fast tokenizer on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gate.scoring.pieces import pieces_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Encode = Callable[[Sequence[str], bool | None], list[NDArray[np.int32]]]
AT_ONCE = 4096  # texts; bounds the memory of the tokenizer's own records
TRIED, THEN = 8, 1  # texts of the first call and of each later one that are held against the tokenizer's own


def batch_encoder(tokenizer: PreTrainedTokenizerBase) -> Encode:
    """`encode(texts, add_special_tokens)`, equal to the tokenizer's own; None means its default.

    By pieces where that is sound, else whole texts by the fast tokenizer, else one by one: the first of these
    whose numbers are the tokenizer's own.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)

    def plain(texts: Sequence[str], special: bool | None) -> list[NDArray[np.int32]]:
        given = {} if special is None else {"add_special_tokens": special}
        return [np.array(tokenizer.encode(text, **given), np.int32) for text in texts]

    if backend is None:
        return plain
    pieces = pieces_of(backend)

    def whole(texts: Sequence[str], special: bool) -> list[NDArray[np.int32]]:
        return _whole(backend, texts, special)

    ways = [pieces.encode, whole] if pieces else [whole]
    tried = iter([TRIED])

    def encode(texts: Sequence[str], special: bool | None) -> list[NDArray[np.int32]]:
        if not texts:
            return []
        backend.no_padding()
        backend.no_truncation()
        own = plain(texts[: next(tried, THEN)], special)
        while ways:
            found = ways[0](texts, special is not False)
            if all(np.array_equal(mine, other) for mine, other in zip(own, found, strict=False)):
                return found
            del ways[0]
        return plain(texts, special)

    return encode


def _whole(backend: Any, texts: Sequence[str], special: bool) -> list[NDArray[np.int32]]:
    found: list[NDArray[np.int32]] = []
    for begin in range(0, len(texts), AT_ONCE):
        some = list(texts[begin : begin + AT_ONCE])
        encodings = backend.encode_batch_fast(some, add_special_tokens=special)
        found += [np.array(each.ids, np.int32) for each in encodings]
    return found
