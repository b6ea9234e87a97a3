"""What a request for text asks, and when its text is done, as lm-eval 0.4.13 has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ALIASES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # lm-eval's, in its order


@dataclass(frozen=True, slots=True)
class Ask:
    """A greedy request for text: at most `tokens` new ones, until one of `stops` appears in it."""

    tokens: int
    stops: tuple[str, ...]

    def ended(self, text: str) -> bool:
        """Whether a stop string stands in the text."""
        return any(stop in text for stop in self.stops)

    def cut(self, text: str) -> str:
        """The text before the first stop string."""
        for stop in self.stops:
            text = text.split(stop)[0]
        return text


def read_ask(generation: str, default_tokens: int, end: str) -> Ask | None:
    """What the JSON of lm-eval's generation arguments asks for; None where it is more than greedy decoding.

    `end` is the text of the model's end token, which stops a text too.
    """
    found: Mapping[str, Any] = json.loads(generation or "{}")
    rest = {key: value for key, value in found.items() if key not in (*ALIASES, "until")}
    if rest.pop("do_sample", False) or rest.pop("temperature", 0.0) or rest:
        return None
    named = [found[key] for key in ALIASES if found.get(key) is not None]
    until = found.get("until") or []
    stops = [until] if isinstance(until, str) else list(until)
    kept = tuple(dict.fromkeys(stop for stop in (*stops, end) if stop))
    return Ask(int(named[0]) if named else default_tokens, kept)
