"""lm-eval's kinds of requests, made up from plain text: what the scoring benchmark asks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from gate.records import Request

BLOCK = 32  # documents


@dataclass(frozen=True, slots=True)
class Mix:
    """A task's worth of documents, each with its requests."""

    name: str
    documents: tuple[tuple[Request, ...], ...]
    choice: bool  # multiple choice, which the goal is about

    @property
    def requests(self) -> list[Request]:
        return [request for document in self.documents for request in document]

    @property
    def blocks(self) -> list[list[Request]]:
        """Requests of 32 documents each."""
        starts = range(0, len(self.documents), BLOCK)
        return [[r for document in self.documents[s : s + BLOCK] for r in document] for s in starts]


class Words:
    """Runs of words out of English text, the same for a seed."""

    def __init__(self, seed: int) -> None:
        text = (files("gate.demo") / "data" / "text.jsonl").read_text()
        self._words = [word for line in text.splitlines() for word in json.loads(line)["text"].split()]
        self._rng = random.Random(seed)

    def __call__(self, count: int, spread: float = 0.3) -> str:
        """About `count` words."""
        length = max(1, round(count * self._rng.uniform(1 - spread, 1 + spread)))
        start = self._rng.randrange(len(self._words) - length)
        return " ".join(self._words[start : start + length])


def _options(context: str, options: Sequence[str]) -> tuple[Request, ...]:
    return tuple(Request("loglikelihood", context, f" {option}") for option in options)


def zero_shot(words: Words) -> tuple[Request, ...]:
    """A question and four long options (ARC, HellaSwag, 0-shot)."""
    return _options(f"{words(45)}\nAnswer:", [words(20) for _ in range(4)])


def ten_shot(words: Words) -> tuple[Request, ...]:
    """Ten examples drawn for this document, then the same (HellaSwag 10-shot)."""
    shots = "\n\n".join(f"{words(45)}\nAnswer: {words(20)}" for _ in range(10))
    return _options(f"{shots}\n\n{words(45)}\nAnswer:", [words(20) for _ in range(4)])


def sentence_pairs(words: Words) -> tuple[Request, ...]:
    """Two contexts and one continuation, after five examples drawn for this document (WinoGrande 5-shot)."""
    shots = "\n\n".join(words(18) for _ in range(5))
    start, end = words(10), words(8)
    return tuple(Request("loglikelihood", f"{shots}\n\n{start} {words(1)}", f" {end}") for _ in range(2))


def blimp(words: Words) -> tuple[Request, ...]:
    """Two sentences without a context that differ in one word."""
    start, end = words(4), words(4)
    return tuple(Request("loglikelihood", "", f"{start} {words(1)} {end}") for _ in range(2))


def rolling(words: Words) -> tuple[Request, ...]:
    """A text."""
    return (Request("loglikelihood_rolling", words(600)),)


def letters(seed: int) -> Callable[[Words], tuple[Request, ...]]:
    """Five examples that all documents share, a question with four options, a letter each (MMLU 5-shot)."""
    fixed = Words(seed)
    shots = "\n\n".join(f"{_question(fixed)} {letter}" for letter in "ABCDA")
    return lambda words: _options(f"{shots}\n\n{_question(words)}", "ABCD")


def _question(words: Words) -> str:
    return f"{words(30)}\n" + "\n".join(f"{letter}. {words(8)}" for letter in "ABCD") + "\nAnswer:"


KINDS: dict[str, tuple[Callable[[Words], tuple[Request, ...]], int, bool]] = {
    "0-shot, 4 long options": (zero_shot, 512, True),
    "10-shot, 4 long options": (ten_shot, 96, True),
    "5-shot letters": (letters(7), 512, True),
    "5-shot sentence pairs": (sentence_pairs, 512, True),
    "BLiMP": (blimp, 1536, True),
    "rolling text": (rolling, 160, False),
}


def make_mix(name: str, share: float = 1.0) -> Mix:
    """The mix of that name, with a `share` of its documents."""
    make, count, choice = KINDS[name]
    words = Words(1)
    return Mix(name, tuple(make(words) for _ in range(max(1, round(count * share)))), choice)
