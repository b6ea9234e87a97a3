"""Requests become the token sequences that lm-eval's HF model scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import AutoTokenizer

from gate.errors import MeasurementError
from gate.records import ModelRef, Request
from gate.scoring.readings import Reader, Reading, reader, rolling


@pytest.fixture(scope="session")
def tokenizer(base: ModelRef) -> Any:
    return AutoTokenizer.from_pretrained(base.path)


@pytest.fixture(scope="session")
def read(tokenizer: Any) -> Reader:
    return reader(tokenizer, 64)


def one(read: Reader, context: str, continuation: str) -> Reading:
    ((found,),) = read.read([Request("loglikelihood", context, continuation)])
    return found


def test_a_pair_is_the_whole_text_from_where_the_context_s_tokens_end(read: Reader, tokenizer: Any) -> None:
    """And trailing spaces of the context belong to the continuation."""
    for context, continuation in (("The cat sat", " on"), ("The cat sat \n", "on"), ("\n a", "\n")):
        found = one(read, context, continuation)
        assert found.tokens.tolist() == tokenizer.encode(context + continuation)
        assert found.start == len(tokenizer.encode(context.rstrip()))


def test_without_a_context_the_first_token_follows_the_prefix(read: Reader, tokenizer: Any) -> None:
    """Unless the continuation begins with it."""
    prefix = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    found = one(read, "", "Hello there")
    assert found.tokens.tolist() == [prefix, *tokenizer.encode("Hello there")]
    assert found.start == 1
    text = tokenizer.decode(prefix) + "Hello"
    assert one(read, "", text).tokens.tolist() == tokenizer.encode(text)


def test_a_long_text_loses_its_left_end(read: Reader, tokenizer: Any) -> None:
    """What is kept is as much as the model takes, and the one token that is scored last."""
    context, continuation = "one two three four " * 40, "five six seven"
    whole = tokenizer.encode(context + continuation)
    found = one(read, context, continuation)
    assert found.tokens.tolist() == whole[-65:]
    assert len(found.tokens) - found.start == len(whole) - len(tokenizer.encode(context.rstrip()))


@pytest.mark.parametrize(
    ("context", "continuation"), [("A", ""), ("", ""), (" ", "x"), ("A", " one two three" * 60)]
)
def test_what_cannot_be_scored_is_an_error(read: Reader, context: str, continuation: str) -> None:
    """As in lm-eval, which asserts; ours says what."""
    with pytest.raises(MeasurementError, match="cannot be scored"):
        one(read, context, continuation)


@given(st.integers(0, 60), st.integers(1, 17))
@settings(max_examples=80, deadline=None)
def test_rolling_windows_are_lm_eval_s(tokens: int, length: int) -> None:
    """For texts and lengths of any proportion."""
    text = list(range(5, 5 + tokens))
    theirs = [
        make_disjoint_window(window)
        for window in get_rolling_token_windows(text, prefix_token=1, max_seq_len=length, context_len=1)
    ]
    ours = rolling(np.array(text, np.int32), 1, length)
    assert [each.tokens.tolist() for each in ours] == [context + scored for context, scored in theirs]
    assert [each.start for each in ours] == [len(context) for context, _ in theirs]


def test_kinds_may_be_mixed_and_order_stays(read: Reader) -> None:
    """Each request has its readings at its place; generated texts have none."""
    requests = [
        Request("loglikelihood_rolling", "word " * 100),
        Request("loglikelihood", "A", " b"),
        Request("loglikelihood_rolling", ""),
        Request("loglikelihood", "", "A"),
    ]
    found = read.read(requests)
    assert [len(each) for each in found] == [2, 1, 0, 1]
    assert found[1][0].tokens.tolist() == one(read, "A", " b").tokens.tolist()
    with pytest.raises(ValueError, match="generated"):
        read.read([Request("generate_until", "A", generation="{}")])


class Doubling:
    """A tokenizer that adds a start token to whatever text, one that begins with it too."""

    bos_token_id, eos_token_id = 1, 2

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        ids = [1 if each == "^" else ord(each) for each in text]
        return [1, *ids] if add_special_tokens else ids

    def decode(self, token: int) -> str:
        return {1: "^", 2: "$"}[token]


def test_start_tokens_are_not_doubled() -> None:
    """A text that brings its own gets no other; a rolling text keeps one; a doubled one is an error."""
    read = reader(Doubling(), 64)  # type: ignore[arg-type]
    assert one(read, "^ab", "c").tokens.tolist() == [1, 97, 98, 99]
    assert one(read, "ab", "c").tokens.tolist() == [1, 97, 98, 99]
    ((rolled,),) = read.read([Request("loglikelihood_rolling", "ab")])
    assert rolled.tokens.tolist() == [1, 97, 98]
    with pytest.raises(MeasurementError, match="doubled start token"):
        one(reader(Doubling(), 64, add_start=True), "^ab", "c")  # type: ignore[arg-type]


def test_readings_are_small(read: Reader) -> None:
    """Four bytes a token: 14,042 five-shot documents of four options and 700 tokens are 160 MB."""
    found = one(read, "The cat sat on", " the mat")
    assert found.tokens.nbytes == 4 * len(found.tokens)
