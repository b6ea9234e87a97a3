"""The hidden lines of a comment: what was written is read back, and nothing else is."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gate.errors import UsageError
from gate.github.marker import (
    MARKER_LIMIT,
    NAME_LIMIT,
    NUMBERS_LIMIT,
    ConfigNumbers,
    Marker,
    Numbers,
    compose,
    kept,
    parse_marker,
    parse_numbers,
    read,
    render_marker,
    render_numbers,
)

HEAD, DIGEST = "4f" * 20, "9a" * 32
MARKER = Marker(7, HEAD, 1201, 2, DIGEST)
LINE = render_marker(MARKER)
NUMBERS = Numbers(
    (ConfigNumbers("configs/lora--r8.yaml", (("general/x[acc,none]/max_drop", -0.061),)),), 412.5
)
NUMBERS_LINE = render_numbers(NUMBERS)

ids = st.integers(0, 2**53)
hexes = st.text("0123456789abcdef", min_size=40, max_size=40)
markers = st.builds(Marker, ids, hexes, ids, ids, st.text("0123456789abcdef", min_size=64, max_size=64))
names = st.text(st.characters(exclude_categories=()), max_size=20)
values = st.floats(-1e15, 1e15)
entries = st.builds(ConfigNumbers, names, st.lists(st.tuples(names, values), max_size=4).map(tuple))
numbers = st.builds(Numbers, st.lists(entries, max_size=3).map(tuple), st.floats(0, 1e9))


def test_the_marker_reads_as_documented() -> None:
    """The line has the form that the design names; an older comment stays readable."""
    assert (
        f'<!-- ftgate {{"v":1,"pull":7,"head":"{HEAD}","run":1201,"attempt":2,"digest":"{DIGEST}"}} -->'
    ) == LINE
    assert NUMBERS_LINE == (
        '<!-- ftgate-numbers {"v":1,"seconds":412.5,"configs":'
        '[["configs/lora%2D%2Dr8.yaml",[["general/x%5Bacc%2Cnone%5D/max_drop",-0.061]]]]} -->'
    )


@given(markers)
def test_markers_come_back(marker: Marker) -> None:
    """Every marker is read back as it was, and fits its line."""
    line = render_marker(marker)
    assert parse_marker(line) == marker
    assert len(line) <= MARKER_LIMIT


@given(numbers)
@example(Numbers((ConfigNumbers("--> <script>", (("-->", math.inf), ("--", 1.0))),), math.nan))
@example(Numbers((ConfigNumbers("\ud800", (("é\n<!--", -0.0),)),)))
def test_numbers_come_back(given_numbers: Numbers) -> None:
    """What has room is read back as it was; no name or number ends the comment early."""
    line = render_numbers(given_numbers)
    assert parse_numbers(line) == kept(given_numbers)
    assert len(line) <= NUMBERS_LIMIT
    inside = line.removeprefix("<!-- ").removesuffix(" -->")
    assert line == f"<!-- {inside} -->"
    assert "--" not in inside
    assert not set(inside) & set("<>\n\r&@`")
    assert inside.isascii()


@given(ids, hexes, ids, ids, names, st.none() | numbers)
def test_a_comment_comes_back(
    pull: int, head: str, run: int, attempt: int, text: str, written: Numbers | None
) -> None:
    """The parts of a composed comment are read back, also after GitHub's web form changed the newlines."""
    body = compose(pull, head, run, attempt, text, written)
    for received in (body, body.replace("\n", "\r\n"), body + "\n\n"):
        marked = read(received, pull)
        assert marked is not None
        assert (marked.marker.head, marked.marker.order) == (head, (run, attempt))
        assert marked.numbers == (kept(written) if written else None)
        assert marked.intact
    assert read(body, pull + 1) is None


def test_an_edit_is_seen() -> None:
    """Text, numbers or their absence: whatever somebody changed, the comment is no longer as written."""
    body = compose(7, HEAD, 1, 1, "## Verdict", NUMBERS)
    first, second, *rest = body.split("\n")
    for edited in (body + " indeed", "\n".join([first, "", *rest]), body.replace("0.061", "0.001")):
        marked = read(edited, 7)
        assert marked is not None
        assert not marked.intact
    assert second == NUMBERS_LINE


def test_text_is_never_taken_for_a_hidden_line() -> None:
    """A text that begins with a marker or numbers stays text."""
    marked = read(compose(7, HEAD, 1, 1, f"{NUMBERS_LINE}\n{LINE}"), 7)
    assert marked is not None
    assert (marked.marker.run, marked.numbers) == (1, None)
    assert read(f"Look:\n{LINE}\n\n## Verdict", 7) is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "<!-- ftgate -->",
        "<!-- ftgate {} -->",
        f" {LINE}",
        f"{LINE} ",
        f"> {LINE}",
        LINE + LINE,
        LINE.replace("ftgate", "ftgate-numbers"),
        LINE.replace('"v":1', '"v":2'),
        LINE.replace('"v":1', '"v":1.0'),
        LINE.replace('"v":1', '"v":true'),
        LINE.replace('"v":1', '"v": 1'),
        LINE.replace('"v":1', '"v":1,"v":1'),
        LINE.replace('"v":1', '"v":1,"more":1'),
        LINE.replace('"pull":7,', ""),
        LINE.replace('"pull":7', '"pull":"7"'),
        LINE.replace('"pull":7', '"pull":-7'),
        LINE.replace('"pull":7', '"pull":07'),
        LINE.replace("1201", "9" * 400),
        LINE.replace("1201", "9007199254740993"),
        LINE.replace("1201", "1201e0"),
        LINE.replace("1201", "[" * 300),
        LINE.replace(HEAD, HEAD.upper()),
        LINE.replace(HEAD, HEAD[:39]),
        LINE.replace(HEAD, "4f" * 19 + "\\u0034f"),
        LINE.replace(DIGEST, "-->" + DIGEST[3:]),
        LINE.replace(DIGEST, "\ud800" + DIGEST[1:]),
        LINE.replace(" -->", " --><script>"),
    ],
)
def test_what_we_would_not_write_is_no_marker(line: str) -> None:
    """Another version, spelling, field, type or length is not ours, whatever it resembles."""
    assert line != LINE
    assert parse_marker(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        LINE,
        NUMBERS_LINE.replace("-0.061", "NaN"),
        NUMBERS_LINE.replace("-0.061", "1e999"),
        NUMBERS_LINE.replace("-0.061", "1e+16"),
        NUMBERS_LINE.replace("-0.061", '"-0.061"'),
        NUMBERS_LINE.replace("-0.061", "null"),
        NUMBERS_LINE.replace("-0.061", "-0.0610"),
        NUMBERS_LINE.replace("-0.061", "[" * 1000),
        NUMBERS_LINE.replace("412.5", "-Infinity"),
        NUMBERS_LINE.replace("%2D", "-"),
        NUMBERS_LINE.replace("%2D", "%2d"),
        NUMBERS_LINE.replace("%2D%2D", "%FF%FE"),
        NUMBERS_LINE.replace("lora", "%6Cora"),
        NUMBERS_LINE.replace("lora", "l" * (NAME_LIMIT + 1)),
        NUMBERS_LINE.replace("lora", "@team"),
        NUMBERS_LINE.replace("]]]]", '],["general/x%5Bacc%2Cnone%5D/max_drop",1.0]]]]'),
        NUMBERS_LINE.replace('"v":1', '"v":1,"html":"<b>"'),
        NUMBERS_LINE + " " * NUMBERS_LIMIT,
    ],
)
def test_what_we_would_not_write_are_no_numbers(line: str) -> None:
    """Not finite, too large, spelled otherwise, twice, or more than numbers and names: refused."""
    assert line != NUMBERS_LINE
    assert parse_numbers(line) is None


@given(st.text(max_size=300))
def test_any_text_is_survived(text: str) -> None:
    """No text raises, and none is a comment of ours that does not begin as one."""
    for line in (text, f"<!-- ftgate {text} -->", f"<!-- ftgate-numbers {text} -->"):
        assert parse_marker(line) is None
        assert parse_numbers(line) is None
        assert read(line, 7) is None


def test_the_last_numbers_go_first() -> None:
    """A line that would be too long keeps its first numbers and loses the last."""
    many = Numbers(
        tuple(ConfigNumbers(f"c{i}", tuple((f"r{j}", 0.5) for j in range(40))) for i in range(40)), 1.0
    )
    fits = kept(many)
    assert 0 < len(fits.configs) < 40
    assert all(mine == full for mine, full in zip(fits.configs[:-1], many.configs, strict=False))
    assert NUMBERS_LIMIT - 60 < len(render_numbers(many)) <= NUMBERS_LIMIT
    assert parse_numbers(render_numbers(many)) == fits


def test_a_rule_is_looked_up() -> None:
    """The difference of a rule of the previous push, or None."""
    assert NUMBERS.difference("configs/lora--r8.yaml", "general/x[acc,none]/max_drop") == -0.061
    assert NUMBERS.difference("configs/lora--r8.yaml", "other") is None
    assert NUMBERS.difference("other", "general/x[acc,none]/max_drop") is None


@pytest.mark.parametrize("head", ["", "main", "4f" * 19, "4F" * 20, "4f" * 20 + "\n"])
def test_only_a_full_commit_is_marked(head: str) -> None:
    """A short or strange commit is a usage error with what helps, not a marker that none can read."""
    with pytest.raises(UsageError, match="not a commit"):
        compose(7, head, 1, 1, "text")
