"""Texts to token numbers, in whole batches by the fast tokenizer on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Encode = Callable[[Sequence[str], bool | None], list[NDArray[np.int32]]]
AT_ONCE = 4096  # texts; bounds the memory of the tokenizer's own records
TRIED = 4


def batch_encoder(tokenizer: PreTrainedTokenizerBase) -> Encode:
    """`encode(texts, add_special_tokens)`, equal to the tokenizer's own; None means its default."""
    fast = getattr(tokenizer, "backend_tokenizer", None)

    def encode(texts: Sequence[str], special: bool | None) -> list[NDArray[np.int32]]:
        found: list[NDArray[np.int32]] = []
        for begin in range(0, len(texts), AT_ONCE):
            some = list(texts[begin : begin + AT_ONCE])
            found += (
                _fast(fast, some, special is not False)
                if fast is not None
                else _plain(tokenizer, some, special)
            )
        if fast is not None:
            own = _plain(tokenizer, list(texts[:TRIED]), special)
            if any(not np.array_equal(a, b) for a, b in zip(own, found, strict=False)):
                return _plain(tokenizer, list(texts), special)
        return found

    return encode


def _fast(backend: Any, texts: list[str], special: bool) -> list[NDArray[np.int32]]:
    backend.no_padding()
    backend.no_truncation()
    encodings = backend.encode_batch_fast(texts, add_special_tokens=special)
    return [np.array(each.ids, np.int32) for each in encodings]


def _plain(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], special: bool | None
) -> list[NDArray[np.int32]]:
    given = {} if special is None else {"add_special_tokens": special}
    return [np.array(tokenizer.encode(text, **given), np.int32) for text in texts]
