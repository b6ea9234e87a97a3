"""Are the values of a TRL config what TRL takes? Decided without importing TRL."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from packaging.version import Version

from gate.configs.trl_keys import (
    BOOLS,
    CHOICES,
    EXTRA_KEYS,
    KEYS,
    LISTS,
    MAPPINGS,
    NUMBERS,
    OPTIONAL,
    RANGES,
    REPLACED,
    SINCE,
    WHOLE,
    WORDS,
)
from gate.errors import Problem
from gate.yamlfile import YamlFile, nearest, shown

# What TRL's parser makes of text where it wants a boolean (`string_to_bool`).
WRITTEN_BOOLS: Mapping[str, bool] = {
    **dict.fromkeys(("yes", "true", "t", "y", "1"), True),
    **dict.fromkeys(("no", "false", "f", "n", "0"), False),
}
# Keys that the gate sets itself or that only name things: whatever they hold changes nothing.
UNUSED = frozenset(
    (
        "output_dir", "run_name", "project", "report_to", "trackio_space_id", "hub_model_id", "hub_token",
        "hub_revision", "hub_strategy",
    )
)  # fmt: skip
_VARIABLE = re.compile(r"\$\{[^}]*\}")


class Unfit(ValueError):
    """A value is not what its key takes: what was expected, and a hint."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.hint = hint


def read_settings(
    file: YamlFile, problems: list[Problem], installed: Callable[[str], str] = metadata.version
) -> dict[str, Any]:
    """The file's own keys with the values that TRL would see; what is wrong is added to `problems`.

    `installed` gives a package's version.
    """
    settings: dict[str, Any] = {}
    for key, value in file.data.items():
        if key not in KEYS and key not in EXTRA_KEYS:
            known = REPLACED.get(key) or nearest(key, KEYS | EXTRA_KEYS)
            problems.append(file.problem((key,), "is no key of `trl sft`", known))
            continue
        if key in SINCE and Version(found := installed("transformers")) < Version(SINCE[key]):
            message = f"needs transformers {SINCE[key]}, found {found}"
            problems.append(file.problem((key,), message, "upgrade transformers, or leave the key out"))
            continue
        try:
            settings[key] = value if key in UNUSED else read_value(key, value)
        except Unfit as unfit:
            message = f"expected {unfit}, got {shown(value)}"
            problems.append(file.problem((key,), message, unfit.hint))
    problems.extend(_variables(file))
    return settings


def _variables(file: YamlFile) -> list[Problem]:
    """`${NAME}` in a key that is used: TRL takes it literally."""
    found = [
        (keys, match.group())
        for keys, text in _texts((), file.data)
        if keys and keys[0] not in UNUSED and (match := _VARIABLE.search(text))
    ]
    return [file.problem(keys, f"`{name}` is not replaced by TRL", "write the value") for keys, name in found]


def _texts(keys: tuple[str | int, ...], value: Any) -> list[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        return [(keys, value)]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [text for key, inner in pairs for text in _texts((*keys, key), inner)]


def read_value(key: str, value: Any) -> Any:
    """One value as TRL would see it. Raises `Unfit`."""
    if value is None:
        if key in OPTIONAL or key in EXTRA_KEYS:
            return None
        raise Unfit("a value", "an empty value is not the default; leave the key out")
    if key in BOOLS:
        return _flag(value)
    if key in WHOLE or key == "num_processes":
        return _in_range(key, _whole(value))
    if key in NUMBERS:
        return _in_range(key, _number(value))
    if key in WORDS or key in ("accelerate_config", "config_file"):
        return _word(key, value)
    if key in LISTS:
        return _words(value)
    if key in MAPPINGS and not isinstance(value, dict | str):
        raise Unfit("a mapping")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in WRITTEN_BOOLS:
        return WRITTEN_BOOLS[value.lower()]
    raise Unfit("true or false")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unfit("a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise Unfit("a number") from error
    if not math.isfinite(number):
        raise Unfit("a finite number")
    return number


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Unfit("a whole number")
    try:
        return int(value)
    except ValueError as error:
        raise Unfit("a whole number") from error


def _in_range(key: str, number: float) -> float:
    low, high, closed = RANGES.get(key, (-math.inf, math.inf, True))
    if (closed and low <= number <= high) or low < number < high:
        return number
    bound = "at least" if closed else "more than"
    raise Unfit(f"a number of {bound} {low:g}" if high == math.inf else f"a number from {low:g} to {high:g}")


def _word(key: str, value: Any) -> str:
    words = CHOICES.get(key, ())
    if isinstance(value, str) and (not words or value in words):
        return value
    if not isinstance(value, str):
        hint = "the trainer reads a bare no, yes, off or on as a boolean" if isinstance(value, bool) else ""
        raise Unfit(f"one of {', '.join(words)}, in quotes" if words else "text, in quotes", hint)
    listed = ", ".join(words) if len(words) <= 12 else f"a known value such as {', '.join(words[:4])}"
    raise Unfit(f"one of {listed}" if len(words) <= 12 else listed, nearest(value, words))


def _words(value: Any) -> str | list[str]:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        return value
    raise Unfit("a list of words")
