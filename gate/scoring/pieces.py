"""Texts to token numbers piece by piece, each piece once: examples and contexts repeat by the thousand.

Sound where a tokenizer first cuts a text into words by one of the patterns below and encodes each apart. At
the places where we cut, these patterns always end one word and begin the next, whatever stands around them;
they look ahead only after whitespace, by one character, and never back. So the words of a text are those of
its pieces. Every other tokenizer encodes whole texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIKE_LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# A space before a letter begins a word in all of them. A line break begins one after anything but a space in
# GPT-2's pattern; in Llama 3's and Qwen's, punctuation takes the line breaks that follow it.
WORD = r"(?<=[!-~])(?= [A-Za-z])"
AFTER_ANYTHING = r"(?<=[!-~])(?=\n)"
AFTER_A_WORD = r"(?<=[0-9A-Za-z])(?=\n)"
KNOWN = {
    LIKE_LLAMA.format(digits="{1,3}"): AFTER_A_WORD,
    LIKE_LLAMA.format(digits=""): AFTER_A_WORD,
}
MOST = 500_000  # pieces kept


class Pieces:
    """Encodes texts with the tokenizers' backend; lines and words are kept for the next text."""

    def __init__(self, backend: Any, line: str) -> None:
        self._backend = backend
        self._line, self._word = re.compile(line), re.compile(WORD)
        self._lines: dict[str, NDArray[np.int32]] = {}
        self._words: dict[str, list[int]] = {}
        whole = backend.encode("a", add_special_tokens=True).ids
        bare = backend.encode("a", add_special_tokens=False).ids
        at = next((n for n in range(len(whole)) if whole[n : n + len(bare)] == bare), 0)
        self._around = np.array(whole[:at], np.int32), np.array(whole[at + len(bare) :], np.int32)

    def encode(self, texts: Sequence[str], special: bool) -> list[NDArray[np.int32]]:
        """Of each text its token numbers, with the tokenizer's special tokens around it if wished."""
        if len(self._lines) + len(self._words) > MOST:
            self._lines, self._words = {}, {}
        split = [self._line.split(text) for text in texts]
        if new := {line for lines in split for line in lines if line not in self._lines}:
            self._learn(new)
        before, after = self._around if special else (np.empty(0, np.int32),) * 2
        known = self._lines
        if not (len(before) or len(after)):
            return [
                known[lines[0]] if len(lines) == 1 else np.concatenate([known[line] for line in lines])
                for lines in split
            ]
        return [np.concatenate([before, *(known[line] for line in lines), after]) for lines in split]

    def _learn(self, lines: set[str]) -> None:
        split = {line: self._word.split(line) for line in lines}
        new = list({word for words in split.values() for word in words if word not in self._words})
        encoded = self._backend.encode_batch_fast(new, add_special_tokens=False)
        self._words.update((word, each.ids) for word, each in zip(new, encoded, strict=True))
        known = self._words
        for line, words in split.items():
            self._lines[line] = np.array([token for word in words for token in known[word]], np.int32)


def pieces_of(backend: Any) -> Pieces | None:
    """The encoder by pieces; None where it is not known to be sound for this tokenizer."""
    line = _line_cut(backend)
    if line is None or type(backend.model).__name__ != "BPE" or backend.model.dropout:
        return None
    if backend.normalizer is not None and type(backend.normalizer).__name__ != "NFC":
        return None
    cuts = re.compile(f"{WORD}|{line}")
    for token in backend.get_added_tokens_decoder().values():
        spaced = token.content != token.content.strip() or cuts.search(token.content)
        if spaced or token.lstrip or token.rstrip or token.single_word:
            return None
    return Pieces(backend, line)


def _line_cut(backend: Any) -> str | None:
    """Where lines may be cut for the backend's way of finding words."""
    if backend.pre_tokenizer is None:
        return None
    found = json.loads(backend.pre_tokenizer.__getstate__())
    steps = found["pretokenizers"] if found["type"] == "Sequence" else [found]
    line: str | None = None
    for step in steps:
        if step["type"] == "Digits":
            continue
        if step["type"] == "ByteLevel" and not step["add_prefix_space"]:
            line = line or (AFTER_ANYTHING if step["use_regex"] else None)
        elif step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
            line = KNOWN.get(step["pattern"].get("Regex", ""))
            if line is None:
                return None
        else:
            return None
    return line
