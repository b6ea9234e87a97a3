"""The two hidden lines at the top of ftgate's comment: whose text it is, and the numbers for the next push.

    <!-- ftgate {"v":1,"pull":7,"head":"4f0c..","run":1201,"attempt":1,"digest":"9a.."} -->
    <!-- ftgate-numbers {"v":1,"seconds":412.0,"configs":[["a.yaml",[["general/x/max_drop",0.061]]]]} -->

Anyone can paste either into a comment, so the caller checks the author first, and what is read here is
still data: a line counts only if it is byte for byte what we would write for the values it holds. Of
strings there are a commit, a digest, paths and rule ids; the latter two are percent-encoded, hyphens
too, so that no text ends a comment early. Only the first two lines are looked at: no text below them
is ever taken for a marker. What a renderer shows of them it escapes like any other text.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote

import msgspec

from gate.errors import UsageError

VERSION = 1
MARKER_LIMIT = 600
NUMBERS_LIMIT = 4_000
"""Characters of each line: with a text of 60,000, a comment stays under GitHub's 65,536."""
NAME_LIMIT = 300
"""Characters of a config's path or a rule's id."""
LARGEST_ID = 2**53
LARGEST_NUMBER = 1e15

_MARKER = re.compile(r"<!-- ftgate (\{[^<>]*\}) -->")
_NUMBERS = re.compile(r"<!-- ftgate-numbers (\{[^<>]*\}) -->")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose text a comment is: the pull request, the commit it judges, the run and attempt, its digest.

    Raises `UsageError` for what cannot be one: a commit that is no full lower-case hash, a negative id.
    """

    pull: int
    head: str
    run: int
    attempt: int
    digest: str

    def __post_init__(self) -> None:
        if not _COMMIT.fullmatch(self.head):
            raise UsageError(
                f"not a commit: {self.head!r}", hint="give the full hash that `git rev-parse` says"
            )
        for number in (self.pull, self.run, self.attempt):
            if not 0 <= number <= LARGEST_ID:
                raise UsageError(f"not a number that GitHub gives: {number}")
        if not _DIGEST.fullmatch(self.digest):
            raise UsageError(f"not a digest: {self.digest!r}")

    @property
    def order(self) -> tuple[int, int]:
        """Of two texts about one commit, the one with the larger order is the newer."""
        return self.run, self.attempt


@dataclass(frozen=True, slots=True)
class ConfigNumbers:
    """What one config's rules measured: (rule's id, difference in its metric's unit)."""

    config: str
    differences: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the next push compares itself with; `device_seconds` is the pull request's cost so far."""

    configs: tuple[ConfigNumbers, ...] = ()
    device_seconds: float = 0.0

    def difference(self, config: str, rule: str) -> float | None:
        """The rule's difference at that push; None where it was not measured or had no room."""
        found = (dict(entry.differences) for entry in self.configs if entry.config == config)
        return next(found, {}).get(rule)


@dataclass(frozen=True, slots=True)
class Marked:
    """A comment of ours taken apart. `intact` says whether the text is the one that was posted."""

    marker: Marker
    numbers: Numbers | None
    text: str
    intact: bool


def compose(pull: int, head: str, run: int, attempt: int, text: str, numbers: Numbers | None = None) -> str:
    """The comment: marker, numbers (or an empty line), an empty line, `text`. Raises `UsageError`."""
    rest = f"{render_numbers(numbers) if numbers else ''}\n\n{_settled(text)}"
    return f"{render_marker(Marker(pull, head, run, attempt, _digest(rest)))}\n{rest}"


def read(body: str, pull: int) -> Marked | None:
    """The parts of a comment that carries our marker for this pull request; None for any other text."""
    first, _, rest = body.replace("\r\n", "\n").partition("\n")
    marker = parse_marker(first)
    if marker is None or marker.pull != pull:
        return None
    second, _, text = rest.partition("\n")
    return Marked(marker, parse_numbers(second), _settled(text), _digest(rest) == marker.digest)


# ── The marker ───────────────────────────────────────────────────────────────────────────────────


class _MarkerLine(msgspec.Struct, forbid_unknown_fields=True):
    v: Literal[1]
    pull: int
    head: str
    run: int
    attempt: int
    digest: str


def render_marker(marker: Marker) -> str:
    """The marker as a line of HTML that GitHub does not show."""
    return f"<!-- ftgate {_json({'v': VERSION, **asdict(marker)})} -->"


def parse_marker(line: str) -> Marker | None:
    """The marker that `render_marker` would write as this very line, or None."""
    fields = _decode(_MARKER, line, MARKER_LIMIT, _MarkerLine)
    if fields is None:
        return None
    try:
        marker = Marker(fields.pull, fields.head, fields.run, fields.attempt, fields.digest)
    except UsageError:
        return None
    return marker if render_marker(marker) == line else None


# ── The numbers ──────────────────────────────────────────────────────────────────────────────────


class _NumbersLine(msgspec.Struct, forbid_unknown_fields=True):
    v: Literal[1]
    seconds: float
    configs: list[tuple[str, list[tuple[str, float]]]]


def render_numbers(numbers: Numbers) -> str:
    """The numbers as a hidden line of at most `NUMBERS_LIMIT` characters; the last ones go if they must."""
    return _numbers_line(kept(numbers))


def kept(numbers: Numbers) -> Numbers:
    """What of the numbers the line has room for: finite ones of names that are not too long, the first
    ones first."""
    sound = [
        (entry.config, rule, float(value))
        for entry in numbers.configs
        for rule, value in entry.differences
        if max(len(entry.config), len(rule)) <= NAME_LIMIT and _sound(value)
    ]
    seconds = float(numbers.device_seconds) if _sound(numbers.device_seconds) else 0.0
    low, high = 0, len(sound)
    while low < high:  # the largest count that fits: the line grows with every number
        middle = (low + high + 1) // 2
        if len(_numbers_line(_grouped(sound[:middle], seconds))) <= NUMBERS_LIMIT:
            low = middle
        else:
            high = middle - 1
    return _grouped(sound[:low], seconds)


def parse_numbers(line: str) -> Numbers | None:
    """The numbers that `render_numbers` would write as this very line, or None."""
    fields = _decode(_NUMBERS, line, NUMBERS_LIMIT, _NumbersLine)
    if fields is None:
        return None
    try:
        configs = tuple(
            ConfigNumbers(_decoded(config), tuple((_decoded(rule), value) for rule, value in differences))
            for config, differences in fields.configs
        )
    except UnicodeDecodeError:
        return None
    numbers = Numbers(configs, fields.seconds)
    return numbers if render_numbers(numbers) == line else None


def _grouped(entries: list[tuple[str, str, float]], seconds: float) -> Numbers:
    """One entry a config, and one number a rule: the first."""
    configs: dict[str, dict[str, float]] = {}
    for config, rule, value in entries:
        configs.setdefault(config, {}).setdefault(rule, value)
    return Numbers(
        tuple(ConfigNumbers(name, tuple(found.items())) for name, found in configs.items()), seconds
    )


def _numbers_line(numbers: Numbers) -> str:
    configs = [
        [_encoded(entry.config), [[_encoded(rule), value] for rule, value in entry.differences]]
        for entry in numbers.configs
    ]
    line = {"v": VERSION, "seconds": numbers.device_seconds, "configs": configs}
    return f"<!-- ftgate-numbers {_json(line)} -->"


def _sound(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= LARGEST_NUMBER


# ── Text ─────────────────────────────────────────────────────────────────────────────────────────


def _decode(pattern: re.Pattern[str], line: str, limit: int, kind: type[Any]) -> Any:
    """The JSON within the line, of the schema `kind`; None where there is no such thing."""
    found = pattern.fullmatch(line) if len(line) <= limit else None
    try:
        return msgspec.json.decode(found.group(1).encode(), type=kind) if found else None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _encoded(text: str) -> str:
    """Letters, digits, `/`, `_`, `.` and `~` as they are; all else as %XX of its UTF-8, `-` too."""
    return quote(text, safe="/", errors="surrogatepass").replace("-", "%2D")


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogatepass")


def _settled(text: str) -> str:
    """`text` with plain newlines and nothing blank around it: GitHub's web form changes both."""
    return text.replace("\r\n", "\n").strip()


def _digest(rest: str) -> str:
    return hashlib.sha256(_settled(rest).encode("utf-8", "surrogatepass")).hexdigest()
