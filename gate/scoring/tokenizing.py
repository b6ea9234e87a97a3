"""Tokenizers of both models: loading, ids that must not change, start tokens that must not double."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from gate.errors import MeasurementError, ModelError, NotLikeForLike
from gate.models import has_tokenizer
from gate.records import ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

READ_AT_ONCE = 1000  # texts; bounds memory


def load_tokenizer(model: ModelRef, base: ModelRef, remote_code: bool) -> PreTrainedTokenizerBase:
    """The model's own tokenizer; the base's where an adapter brings none. Raises ModelError."""
    from transformers import AutoTokenizer

    owner = model if has_tokenizer(Path(model.path)) else base
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            owner.path, trust_remote_code=remote_code, local_files_only=True
        )
    except Exception as error:  # each tokenizer class raises its own on a broken file
        raise ModelError(
            f"the tokenizer of {owner.name} cannot be loaded: {error}",
            hint="save it again with save_pretrained",
        ) from error
    return tokenizer


def check_same_ids(base: PreTrainedTokenizerBase, tuned: PreTrainedTokenizerBase, name: str) -> None:
    """Raises ModelError where a token of the base has another id in the tuned model, or none."""
    theirs = tuned.get_vocab()
    for token, number in base.get_vocab().items():
        if theirs.get(token) != number:
            now = f"has the id {theirs[token]}" if token in theirs else "is gone"
            raise ModelError(
                f"{name} has another vocabulary than its base: {token!r}, id {number} there, {now}",
                hint="it was tuned from another base; name that one",
            )


def same_files(base: ModelRef, tuned: ModelRef) -> bool:
    """Whether both models surely read text alike: the tuned one has no tokenizer, or the base's files."""
    ours, theirs = Path(base.path), Path(tuned.path)
    if not has_tokenizer(theirs):
        return True
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
    pairs = [(ours / name, theirs / name) for name in names]
    return pairs[0][0].is_file() and all(_content(mine) == _content(other) for mine, other in pairs)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def check_same_reading(
    base: PreTrainedTokenizerBase, tuned: PreTrainedTokenizerBase, texts: Iterable[str]
) -> None:
    """Raises NotLikeForLike with the first text that the two tokenizers read as other tokens.

    Tokens that were added to the tuned tokenizer are meant to be read differently: a text that holds some is
    compared piece by piece between them. One of less than two characters would cut every text to nothing.
    """
    known = base.get_vocab()
    appended = [token for token in tuned.get_added_vocab() if token not in known]
    for token in appended:
        if len(token.strip()) < 2:
            raise NotLikeForLike(
                f"the tuned model's tokenizer appended {token!r}, which ordinary texts are full of",
                hint="appended tokens need two characters or more that are not whitespace",
            )
    # The longest first: one token may begin with another.
    between = re.compile("|".join(map(re.escape, sorted(appended, key=len, reverse=True))) or r"(?!)")
    for some in batched(texts, READ_AT_ONCE):
        plain = [piece for text in some for piece in between.split(text) if piece or not text]
        pairs = zip(plain, _read(base, plain), _read(tuned, plain), strict=True)
        for text, ours, theirs in pairs:
            if ours != theirs:
                at = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), -1)
                raise NotLikeForLike(
                    f"base and tuned model read {text[:60]!r} as other tokens: the first difference is at "
                    f"{at}, {ours[at : at + 3]} and {theirs[at : at + 3]}",
                    hint="save the tuned model with the base's tokenizer; only appended tokens may differ",
                )


def _read(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    return list(tokenizer(list(texts))["input_ids"]) if texts else []


def batched(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size` texts (itertools.batched comes with Python 3.12)."""
    source = iter(texts)
    while some := list(islice(source, size)):
        yield some


def check_start(ids: Sequence[int], start: int | None, text: str) -> None:
    """Raises MeasurementError where a prompt would begin with two start tokens.

    It happens when a chat template writes the start token and the tokenizer adds another; scores of such
    prompts are of text that the model never saw in training.
    """
    if start is not None and list(ids[:1]) == [start] and start in ids[1:3]:
        raise MeasurementError(
            f"a prompt would begin with a doubled start token (id {start}): {text[:60]!r}",
            hint="the chat template and the tokenizer both add one; take it out of the template",
        )
