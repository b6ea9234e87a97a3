"""Texts encoded piece by piece read as the tokenizer reads them whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from gate.scoring.pieces import LIKE_LLAMA, pieces_of

CORPUS = [
    "Is it a cat?\n\nYes!\nNo...\n\n\n(a cat)\n",
    "The cat sat on the mat.\n\nQuestion: can't it? 12 345, 6789!\nAnswer: it's a cat\n",
    "  two spaces\n \n three\t\ttabs... and (brackets) Été naïve 東京 1 2 33\r\nend of it\n\n\n",
] * 20


def split(digits: str) -> Any:
    """Llama 3's (up to three digits) or Qwen's (one) way of finding words."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LIKE_LLAMA.format(digits=digits)), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
PRE_TOKENIZERS = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama 3": lambda: split("{1,3}"),
    "qwen": lambda: split(""),
}


def trained(pre_tokenizer: Any, start: bool = False) -> Tokenizer:
    """A small byte-pair encoding with long tokens, so that a cut in the wrong place shows."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>", "<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    if start:
        backend.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
        )
    return backend


TRAINED = {name: trained(make(), start=name == "llama 3") for name, make in PRE_TOKENIZERS.items()}
SPACES = [" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\x1c", "\x85"]
WORDS = ["cat", "The", "s", "'s", "'", "é", "e\u0301", "\u0301", "東京", "1", "2345", "٣", "²", "A"]
MARKS = ["...", ",", "?", "!", "(", "_", "<|end|>", "<s>"]
PARTS = st.sampled_from([*SPACES, *WORDS, *MARKS])


@pytest.mark.parametrize("name", sorted(TRAINED))
@given(st.lists(PARTS, max_size=14).map("".join))
@example("?\n\nThe cat")
@example("cat\n\n The")
@example("cat \n\ncat  cat 1 cat's")
@settings(max_examples=400, deadline=None)
def test_pieces_read_as_the_whole(name: str, text: str) -> None:
    """For all kinds of whitespace, digits, marks, punctuation and special tokens, in any order."""
    backend = TRAINED[name]
    pieces = pieces_of(backend)
    assert pieces is not None
    for special in (True, False):
        (found,) = pieces.encode([text], special)
        assert found.tolist() == backend.encode(text, add_special_tokens=special).ids


def test_texts_are_cut_so_that_it_pays() -> None:
    """Lines and words are what is encoded, each once."""
    backend = TRAINED["gpt-2"]
    pieces = pieces_of(backend)
    assert pieces is not None
    shots = "Question: who sat?\nAnswer: the cat\n\n"
    pieces.encode([shots + f"Question: {word} sat?\nAnswer: the mat" for word in ("Cat", "The", "It")], True)
    assert set(pieces._lines) >= {"Question: who sat?", "\nAnswer: the cat", "\nAnswer: the mat"}
    assert {" sat?", "\nAnswer:", " the", " cat", " mat"} <= set(pieces._words)
    assert len(pieces._lines) == 6


@pytest.mark.parametrize(
    "change",
    [
        lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.Metaspace()),
        lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
        lambda b: setattr(b, "pre_tokenizer", BYTES),
        lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.Split(Regex(r".*\n"), "isolated")),
        lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.Split(" ", "isolated")),
        lambda b: setattr(b, "normalizer", normalizers.Replace("\n", " ")),
        lambda b: setattr(b, "model", models.Unigram([("a", 0.0)])),
        lambda b: setattr(b.model, "dropout", 0.1),
        lambda b: b.add_tokens([AddedToken("a word")]),
        lambda b: b.add_tokens([AddedToken("\n\n")]),
        lambda b: b.add_tokens([AddedToken("<tool>", rstrip=True)]),
        lambda b: b.add_tokens([AddedToken("<tool>", lstrip=True)]),
        lambda b: b.add_tokens([AddedToken("<tool>", single_word=True)]),
    ],
)  # fmt: skip
def test_a_tokenizer_that_is_not_known_encodes_whole_texts(change: Any) -> None:
    """Other ways of finding words, text changed before, random merges, tokens that reach over a cut."""
    backend = trained(pre_tokenizers.ByteLevel(add_prefix_space=False))
    assert pieces_of(backend) is not None
    change(backend)
    assert pieces_of(backend) is None
