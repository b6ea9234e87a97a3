"""YAML files that a person wrote: plain data with line numbers, and no way to do harm.

The parser's events are walked with a stack of our own: nothing is constructed, nesting and
repeated aliases are bounded, and duplicate keys, tags and second documents are problems.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from gate.errors import ConfigErrors, Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_VALUES = 50_000  # after aliases were expanded

Key = str | int
KeyPath = tuple[Key, ...]
Version = Literal["1.1", "1.2"]

_INT = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_TORN = re.compile("[\ud800-\udfff]")  # half of a pair, which escapes can write and no file can hold
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_CONSTANTS: Mapping[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_OLD_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("no", "No", "NO", "off", "Off", "OFF"), False),
}
_OLD_INT = re.compile(r"[-+]?(0[0-7_]{1,300}|[1-9][0-9_]{0,300})")


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file's plain data, the line of every key, and the SHA-256 of its bytes."""

    path: str
    data: Any
    lines: Mapping[KeyPath, int]
    digest: str

    def line(self, *keys: Key) -> int:
        """The line (from 1) of a key, or of the nearest one around it."""
        while keys not in self.lines and keys:
            keys = keys[:-1]
        return self.lines.get(keys, 1)

    def problem(self, keys: KeyPath, message: str, hint: str = "") -> Problem:
        """A `Problem` at a key of this file."""
        return Problem(self.path, message, line=self.line(*keys), key=key_name(keys), hint=hint)


@dataclass(slots=True)
class _Node:
    line: int
    anchor: str | None = None
    scalar: Any = None
    pairs: list[tuple[_Node, _Node]] | None = None
    items: list[_Node] | None = None
    pending: _Node | None = None  # a mapping's key that waits for its value

    def add(self, child: _Node) -> None:
        if self.items is not None:
            self.items.append(child)
        elif self.pending is None:
            self.pending = child
        elif self.pairs is not None:
            self.pairs.append((self.pending, child))
            self.pending = None


def key_name(keys: KeyPath) -> str:
    """A key path as a person writes it: `general.tasks[1].max_drop`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def shown(value: object) -> str:
    """A value as a message quotes it, cut to a readable length."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"`{value}`" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that `word` was probably meant to be, as a hint, or an empty hint."""
    close = difflib.get_close_matches(word[:80], list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def load_yaml(path: Path, *, version: Version = "1.2") -> YamlFile:
    """Read one YAML document.

    `version` says how plain scalars are read: "1.2" is the core schema (`no` is a word, `1e-4` a
    number); "1.1" also knows what PyYAML does to trainers' configs (`no` is false, `010` is 8).

    Raises `ConfigErrors` for anything that is not a small, plain, well-formed document.
    """
    name = str(path)
    content = _read(path, name)
    document = _compose(_decode(content, name), name, version)
    data, lines, problems = _Builder(name).build(document)
    if problems:
        raise ConfigErrors(problems)
    return YamlFile(name, data, lines, hashlib.sha256(content).hexdigest())


def _refuse(name: str, message: str, line: int | None = None, hint: str = "") -> ConfigErrors:
    return ConfigErrors([Problem(name, message, line=line, hint=hint)])


def _read(path: Path, name: str) -> bytes:
    if not os.path.exists(path):
        raise _refuse(name, "no such file")
    if os.path.isdir(path):
        raise _refuse(name, "is a folder, expected a YAML file")
    if not os.path.isfile(path):
        raise _refuse(name, "is not an ordinary file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refuse(name, f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise _refuse(name, "is larger than 1 MiB, expected a short YAML file")
    return content


def _decode(content: bytes, name: str) -> str:
    if b"\0" in content:
        raise _refuse(name, "is a binary file, expected YAML text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _refuse(name, "is not UTF-8 text", line, "save the file as UTF-8") from error


def _compose(text: str, name: str, version: Version) -> _Node:
    """Parse events into nodes, with a stack instead of recursion."""
    stack: list[_Node] = []
    anchors: dict[str, _Node] = {}
    document: _Node | None = None
    for event in _events(text, name):
        line = event.start_mark.line + 1
        _check_event(event, document is not None, len(stack), name, line)
        match event:
            case MappingStartEvent():
                stack.append(_Node(line, event.anchor, pairs=[]))
                continue
            case SequenceStartEvent():
                stack.append(_Node(line, event.anchor, items=[]))
                continue
            case ScalarEvent():
                value = resolve(event.value, version) if event.implicit[0] else event.value
                node = _Node(line, event.anchor, scalar=value)
            case AliasEvent():
                if event.anchor not in anchors:
                    raise _refuse(name, f"`*{event.anchor[:80]}` names no finished anchor", line)
                node = anchors[event.anchor]
            case MappingEndEvent() | SequenceEndEvent():
                node = stack.pop()
            case _:
                continue
        if node.anchor is not None:
            anchors[node.anchor] = node
        if stack:
            stack[-1].add(node)
        else:
            document = node
    if document is None or (document.scalar is None and document.pairs is None and document.items is None):
        raise _refuse(name, "is empty")
    return document


def _check_event(event: Any, has_document: bool, depth: int, name: str, line: int) -> None:
    if isinstance(event, DocumentStartEvent) and has_document:
        raise _refuse(name, "a second document starts here, expected one", line)
    if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
        raise _refuse(name, f"tags such as `{event.tag[:80]}` are not allowed", line)
    if isinstance(event, CollectionStartEvent) and depth >= MAX_DEPTH:
        raise _refuse(name, f"is nested more than {MAX_DEPTH} levels deep", line)


def _events(text: str, name: str) -> Iterator[Any]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise _refuse(name, f"is not valid YAML: {message}", mark.line + 1 if mark else None) from error
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise _refuse(name, "holds a control character, expected YAML text", line) from error
    except (YAMLError, ValueError) as error:
        raise _refuse(name, f"is not valid YAML: {error}") from error


def resolve(text: str, version: Version = "1.2") -> str | int | float | bool | None:
    """What a plain scalar means: YAML 1.2 core schema, or that and PyYAML's YAML 1.1 words."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if version == "1.1":
        if text in _OLD_WORDS:
            return _OLD_WORDS[text]
        if _OLD_INT.fullmatch(text):
            digits = text.replace("_", "")
            return int(digits, 8 if digits.lstrip("+-").startswith("0") else 10)
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        special = text.lower().lstrip("+-") in (".inf", ".nan")
        return float(text.replace(".", "")) if special else float(text)
    return text


def _paired(text: str) -> str:
    """JSON escapes a character beyond 16 bits as a pair, which YAML's reader leaves as two."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


@dataclass(slots=True)
class _Builder:
    """Nodes to plain data, counting every value so that aliases cannot multiply without end."""

    name: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def build(self, document: _Node) -> tuple[Any, dict[KeyPath, int], list[Problem]]:
        return self._value(document, ()), self.lines, self.problems

    def _value(self, node: _Node, keys: KeyPath) -> Any:
        self.lines.setdefault(keys, node.line)
        if len(self.lines) > MAX_VALUES or len(keys) > MAX_DEPTH:
            limits = f"{MAX_VALUES:,} values or {MAX_DEPTH} levels"
            raise _refuse(self.name, f"holds more than {limits}, aliases expanded")
        if node.items is not None:
            return [self._value(item, (*keys, index)) for index, item in enumerate(node.items)]
        if node.pairs is None:
            if not isinstance(node.scalar, str):
                return node.scalar
            if _TORN.search(value := _paired(node.scalar)):
                self._complain(node, keys, "holds half a character (a lone surrogate)", "leave it out")
            return value
        return self._mapping(node.pairs, keys)

    def _mapping(self, pairs: list[tuple[_Node, _Node]], keys: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in pairs:
            if not isinstance(key.scalar, str):
                self._complain(key, keys, "a key must be a word", "put it in quotes if it is meant as a word")
            elif _TORN.search(key.scalar):
                self._complain(key, keys, "a key holds half a character (a lone surrogate)", "leave it out")
            elif key.scalar == "<<":
                self._complain(key, (*keys, "<<"), "merge keys are not supported", "write the keys out")
            elif key.scalar in data:
                message = f"is written twice, first in line {self.lines[*keys, key.scalar]}"
                self._complain(key, (*keys, key.scalar), message, "keep one")
            else:
                self.lines[*keys, key.scalar] = key.line
                data[key.scalar] = self._value(value, (*keys, key.scalar))
        return data

    def _complain(self, key: _Node, keys: KeyPath, message: str, hint: str) -> None:
        self.problems.append(Problem(self.name, message, line=key.line, key=key_name(keys), hint=hint))
