"""Tokenizers of both models: loading, ids that must not change, start tokens that must not double."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gate.errors import MeasurementError, ModelError
from gate.models import has_tokenizer
from gate.records import ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
