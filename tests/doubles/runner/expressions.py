"""GitHub's `${{ }}` expressions, as far as our files use them; anything else is refused, not guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Context = Mapping[str, Any]
Function = Callable[..., Any]

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(\d+(?:\.\d+)?)|([A-Za-z_][\w-]*)|(&&|\|\||==|!=|[!().,\[\]]))")
_HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_WORDS = {"true": True, "false": False, "null": None}


class Unknown(Exception):
    """An expression, or a part of a workflow, that this double does not know."""


class Missing(dict[str, Any]):
    """What an object answers for a property that it lacks: nothing, and for its properties too."""


def text(value: Any) -> str:
    """A value as GitHub writes it into a string."""
    if value is None or isinstance(value, Missing):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise Unknown(f"an object in a string: {value!r}")
    return str(value)


def filled(template: str, context: Context, functions: Mapping[str, Function] | None = None) -> str:
    """A string with its expressions replaced."""
    return _HOLE.sub(lambda hole: text(evaluate(hole.group(1), context, functions)), template)


def condition(source: str | bool | None, context: Context, functions: Mapping[str, Function]) -> bool:
    """Whether an `if:` holds; without a status function it also asks that all before it succeeded."""
    if source is None or source is True:
        return bool(functions["success"]())
    written = str(source).strip()
    whole = re.fullmatch(r"\$\{\{(.*)\}\}", written, re.DOTALL)
    inner = whole.group(1) if whole else written
    value = truth(evaluate(inner, context, functions))
    asks = re.search(r"\b(always|success|failure|cancelled)\(", inner)
    return value and (bool(asks) or bool(functions["success"]()))


def truth(value: Any) -> bool:
    """What GitHub takes for true."""
    return value not in (None, False, 0, "") and not isinstance(value, Missing)


def evaluate(source: str, context: Context, functions: Mapping[str, Function] | None = None) -> Any:
    """The value of one expression. Raises `Unknown` for anything this double does not know."""
    parser = _Parser(source, context, {**FUNCTIONS, **(functions or {})})
    value = parser.either()
    if parser.position != len(parser.tokens):
        raise Unknown(f"{source!r}: {parser.tokens[parser.position][1]!r}")
    return value


class _Parser:
    def __init__(self, source: str, context: Context, functions: Mapping[str, Function]) -> None:
        self.source, self.context, self.functions = source, context, functions
        self.tokens: list[tuple[str, str]] = []
        self.position = 0
        place = 0
        while source[place:].strip():
            found = _TOKEN.match(source, place)
            if not found:
                raise Unknown(f"{source!r} at {source[place:]!r}")
            kind = ("string", "number", "name", "sign")[(found.lastindex or 1) - 1]
            self.tokens.append((kind, found.group(found.lastindex or 1)))
            place = found.end()

    def take(self, *signs: str) -> str:
        if self.position < len(self.tokens) and self.tokens[self.position][1] in signs:
            self.position += 1
            return self.tokens[self.position - 1][1]
        return ""

    def demand(self, sign: str) -> None:
        if not self.take(sign):
            raise Unknown(f"{self.source!r}: expected {sign}")

    def either(self) -> Any:
        value = self.both()
        while self.take("||"):
            other = self.both()
            value = value if truth(value) else other
        return value

    def both(self) -> Any:
        value = self.equal()
        while self.take("&&"):
            other = self.equal()
            value = other if truth(value) else value
        return value

    def equal(self) -> Any:
        value = self.negated()
        while sign := self.take("==", "!="):
            value = same(value, self.negated()) == (sign == "==")
        return value

    def negated(self) -> Any:
        return not truth(self.negated()) if self.take("!") else self.single()

    def single(self) -> Any:
        if self.take("("):
            value = self.either()
            self.demand(")")
            return value
        if self.position >= len(self.tokens):
            raise Unknown(f"{self.source!r} ends too early")
        kind, token = self.tokens[self.position]
        self.position += 1
        if kind == "string":
            return token[1:-1].replace("''", "'")
        if kind == "number":
            return float(token) if "." in token else int(token)
        if kind == "name" and self.take("("):
            return self.called(token)
        if token in _WORDS:
            return _WORDS[token]
        if kind == "name":
            return self.looked_up(token)
        raise Unknown(f"{self.source!r}: {token!r}")

    def called(self, name: str) -> Any:
        arguments = []
        while not self.take(")"):
            arguments.append(self.either())
            if not self.take(","):
                self.demand(")")
                break
        if name not in self.functions:
            raise Unknown(f"{self.source!r}: the function {name}")
        return self.functions[name](*arguments)

    def looked_up(self, name: str) -> Any:
        if name not in self.context:
            raise Unknown(f"{self.source!r}: the context {name}")
        value = self.context[name]
        while self.take("."):
            kind, key = self.tokens[self.position]
            if kind != "name":
                raise Unknown(f"{self.source!r}: {key!r}")
            self.position += 1
            value = property_of(value, key)
        return value


def property_of(value: Any, key: str) -> Any:
    """A property; a `Strict` object refuses one that it lacks, any other has nothing there."""
    if isinstance(value, Strict) and key not in value:
        raise Unknown(f"no {key} among {', '.join(sorted(value))}")
    if isinstance(value, Mapping):
        return value.get(key, Missing())
    return Missing()


class Strict(dict[str, Any]):
    """An object all of whose properties are known, so that a misspelt one is a mistake."""


def same(one: Any, other: Any) -> bool:
    """GitHub's equality: strings whatever their case, nothing equals nothing; mixed types are refused."""
    one, other = (None if isinstance(each, Missing) else each for each in (one, other))
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    if None in (one, other):
        return (one or "") == (other or "")
    if type(one) is not type(other):
        raise Unknown(f"comparing {one!r} with {other!r}")
    return bool(one == other)


def formatted(template: str, *values: Any) -> str:
    """`format('{0}/x', value)`."""
    return re.sub(r"\{(\d+)\}", lambda hole: text(values[int(hole.group(1))]), template)


def contains(where: Any, what: Any) -> bool:
    """`contains(list, value)` or `contains(string, part)`."""
    if isinstance(where, list):
        return any(same(each, what) for each in where)
    return text(what).casefold() in text(where).casefold()


def starts_with(where: Any, what: Any) -> bool:
    """`startsWith(string, beginning)`, whatever their case."""
    return text(where).casefold().startswith(text(what).casefold())


FUNCTIONS: dict[str, Function] = {
    "format": formatted,
    "contains": contains,
    "startsWith": starts_with,
    "fromJSON": json.loads,
}
