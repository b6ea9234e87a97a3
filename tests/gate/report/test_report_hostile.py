"""Whatever a model, a data set, a config or a file name holds, a report only shows it."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gate.report import Report, render
from gate.report.document import encode_document
from gate.report.text import columns, one_line, visible

CORPUS: dict[str, list[str]] = json.loads(
    (Path(__file__).parents[2] / "data" / "hostile_strings.json").read_text(encoding="utf-8")
)
WORDS = [word for group in CORPUS.values() for word in group]
READER = MarkdownIt("gfm-like", {"html": True, "linkify": True})
OURS = {"details", "summary", "br", "sub"}
TEXTS = st.text(max_size=60) | st.text(alphabet="`|\\<>@#[]()!*_~&\"'\n -=:/", max_size=40)


class Elements(HTMLParser):
    """The names of all elements of an HTML text, and of their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def rendered(sample: ModuleType, word: str) -> tuple[Report, Report]:
    verdict = render(sample.dressed(word), sample.dressed_flips(word), sample.dressed_tasks(word))
    return verdict, render(sample.dressed_failure(word), (), ())


def flat(tokens: list[Token]) -> list[Token]:
    return [inner for token in tokens for inner in (token, *flat(token.children or []))]


@cache
def parsed(comment: str) -> list[Token]:
    return flat(READER.parse(comment))


def check_markdown(comment: str, benign: str, *, empty: bool) -> None:
    tokens, expected = flat(READER.parse(comment)), parsed(benign)
    kinds, usual = Counter(t.type for t in tokens), Counter(t.type for t in expected)
    assert not {"link_open", "image", "s_open", "list_item_close", "hr"} & (kinds.keys() - usual.keys())
    for kind in ("heading_open", "table_open", "tr_open", "td_open", "blockquote_open", "html_block"):
        same = kinds[kind] <= usual[kind] if empty else kinds[kind] == usual[kind]  # no row for no value
        assert same, kind
    pieces = "".join(t.content for t in tokens if t.type in ("html_block", "html_inline"))
    elements = Elements(pieces)
    assert set(elements.names) <= OURS
    assert not elements.attributes
    prose = " ".join(t.content for t in tokens if t.type == "text")
    assert not re.search(r"[@#<>|`]|https?:|www\.", prose)


@cache
def usual_elements(benign: str) -> Elements:
    return Elements(benign)


def check_html(html: str, benign: str) -> None:
    elements, expected = Elements(html), usual_elements(benign)
    assert set(elements.names) <= set(expected.names) | {"wbr"}
    assert elements.attributes <= expected.attributes
    assert elements.names["style"] == 1
    assert not {"script", "img", "a", "iframe", "object", "link", "form"} & set(elements.names)


def check_terminal(text: str) -> None:
    assert all(character == "\n" or character.isprintable() for character in text)
    assert max(columns(line) for line in text.splitlines()) <= 100
    assert not re.search(r"(?m)^\s*::|##\[", text)  # no command to the runner


@cache
def benign_reports(sample: ModuleType) -> tuple[Report, Report]:
    return rendered(sample, "plain")


def check_all(sample: ModuleType, word: str) -> None:
    for report, benign in zip(rendered(sample, word), benign_reports(sample), strict=True):
        check_markdown(report.comment, benign.comment, empty=not one_line(word))
        check_html(report.html, benign.html)
        check_terminal(report.terminal)
        suite = ElementTree.fromstring(report.junit)
        assert len(list(suite.iter("testcase"))) == benign.junit.count("<testcase")
        report.html.encode()
        report.comment.encode()


@pytest.mark.parametrize("group", CORPUS)
def test_hostile_text_is_only_shown(sample: ModuleType, group: str) -> None:
    """No mention, link, image, element, control or bidirectional character gets through anywhere."""
    for word in CORPUS[group]:
        check_all(sample, word)


@settings(max_examples=25, deadline=None)
@given(word=TEXTS)
def test_any_text_is_only_shown(sample: ModuleType, word: str) -> None:
    """The same for whatever hypothesis thinks of."""
    check_all(sample, word)


def test_the_document_keeps_text_as_it_is(sample: ModuleType) -> None:
    """verdict.json is for programs: nothing is cut or rewritten there, and it is plain ASCII."""
    for word in WORDS:
        content = encode_document(sample.dressed(word))
        content.decode("ascii")
        document: Any = json.loads(content)
        assert document["findings"][0]["note"] == word
        assert document["config"]["path"] == word


def test_templates_in_data_are_not_run(sample: ModuleType) -> None:
    """Jinja reads our templates only."""
    report, _ = rendered(sample, "{{ 7 * 7 }}")
    assert "{{ 7 * 7 }}" in report.comment
    assert "{{ 7 * 7 }}" in report.html


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_visible_text_has_no_character_that_acts(text: str) -> None:
    """What is left is printable, and printable text without tabs is left alone."""
    shown = visible(text)
    assert all(character == "\n" or character.isprintable() for character in shown)
    if text.isprintable():
        assert shown == text
