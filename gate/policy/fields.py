"""Reading the keys of a YAML mapping, gathering every problem instead of stopping at the first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate.errors import Problem
from gate.records import Place
from gate.yamlfile import Key, KeyPath, YamlFile, nearest, shown

NOT_YET = "not supported by this version"


@dataclass(frozen=True, slots=True)
class Section:
    """One mapping of a file. Readers return None, and note a problem, for what is not as expected."""

    file: YamlFile
    keys: KeyPath
    data: Mapping[str, Any]
    problems: list[Problem]

    def complain(self, key: Key | None, message: str, hint: str = "") -> None:
        """Note a problem at a key of this section, or (None) at the section."""
        keys = self.keys if key is None else (*self.keys, key)
        self.problems.append(self.file.problem(keys, message, hint))

    def place(self, *keys: Key) -> Place:
        """The line of a key of this section."""
        return Place(self.file.path, self.file.line(*self.keys, *keys))

    def only(self, known: Sequence[str], later: Iterable[str] = ()) -> None:
        """Refuse every key that is not known here."""
        for key in self.data:
            if key in later:
                self.complain(key, NOT_YET, "leave it out")
            elif key not in known:
                hint = nearest(key, known) or f"known here: {', '.join(known)}"
                self.complain(key, "unknown key", hint)

    def section(self, key: Key, value: Any) -> Section | None:
        """A mapping below this one."""
        if isinstance(value, dict):
            return Section(self.file, (*self.keys, key), value, self.problems)
        self.complain(key, f"expected a mapping, got {shown(value)}")
        return None

    def entries(self, key: str) -> list[Any]:
        """A list of at least one entry; empty when the key is absent."""
        if key not in self.data:
            return []
        value = self.data[key]
        if isinstance(value, list) and value:
            return value
        got = "an empty one" if value == [] else shown(value)
        self.complain(key, f"expected a list with at least one entry, got {got}")
        return []

    def number(self, key: str, low: float, high: float = math.inf, *, inside: bool = False) -> float | None:
        """A finite number in [low, high], or in (low, high) when `inside`."""
        if key not in self.data:
            return None
        value = self.data[key]
        if high < math.inf:
            wanted = f"a number between {low:g} and {high:g}"
        else:
            wanted = f"a number of at least {low:g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.complain(key, f"expected {wanted}, got {shown(value)}")
            return None
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        fits = low < number < high if inside else low <= number <= high
        if not (math.isfinite(number) and fits):
            self.complain(key, f"expected {wanted}, got {shown(value)}")
            return None
        return number

    def whole(self, key: str, low: int, high: int = 10**9) -> int | None:
        """A whole number in [low, high]."""
        if key not in self.data:
            return None
        value = self.data[key]
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        wanted = f"of at least {low}" if high == 10**9 else f"between {low} and {high}"
        self.complain(key, f"expected a whole number {wanted}, got {shown(value)}")
        return None

    def word(self, key: str) -> str | None:
        """Text that is not empty."""
        if key not in self.data:
            return None
        value = self.data[key]
        if isinstance(value, str) and value.strip():
            return value
        self.complain(key, f"expected text, got {'empty text' if isinstance(value, str) else shown(value)}")
        return None

    def choice(self, key: str, words: Sequence[str]) -> str | None:
        """One of a few words."""
        if key not in self.data:
            return None
        value = self.data[key]
        if isinstance(value, str) and value in words:
            return value
        hint = nearest(value, words) if isinstance(value, str) else ""
        self.complain(key, f"expected one of {', '.join(words)}, got {shown(value)}", hint)
        return None

    def flag(self, key: str) -> bool | None:
        """true or false."""
        if key not in self.data:
            return None
        value = self.data[key]
        if isinstance(value, bool):
            return value
        self.complain(key, f"expected true or false, got {shown(value)}")
        return None
