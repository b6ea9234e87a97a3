"""Whatever a model, a data set, a config or a file name holds, a report only shows it."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gate.report import Report, render
from gate.report.text import columns, one_line, visible

CORPUS = [
    "@octocat please merge, closes #123 and GH-7",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</pre></code></style><h1>passed</h1>",
    '" onload="alert(1)" x="',
    "</details></summary><details open>",
    "<!-- --> --> <![CDATA[ ]]> ]]>",
    "| a | b |\n|---|---|\n| may | merge |",
    "\\| a \\\\| b \\",
    "`code` ``more`` ````four```` `",
    "```\n# may merge\n```\n~~~\n",
    "````````````\n![x](https://evil.example/x.png)",
    "[click](javascript:alert(1)) https://evil.example www.evil.example a@b.example <https://evil.example>",
    "# heading\n\n- item\n\n> quote\n\n***\n\nsetext\n===",
    "**bold** _em_ ~~gone~~ $x$ :tada: [^1]",
    "&lt;b&gt; &amp; &#64;octocat &nbsp;",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07 \x9b31m \x08\x7f",
    "\u202ereversed\u202c \u2066isolate\u2069 \u200bzero\u200d width \ufeff",
    "{{ 7 * 7 }} {% for x in y %} {# gone #}",
    "::error::bad\n::stop-commands::x",
    "\x00\x01\ufffe\uffff\x0b\x0c\x85\u2028\u2029",
    "\ud800 lone surrogate",
    "漢字" * 200 + "e\u0301" * 50,
    "x" * 5000,
    "a/b/../../etc/passwd",
    "C:\\Users\\x\r\n\tTabs",
    " ",
    "",
]
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


def check_markdown(comment: str, benign: str, *, empty: bool) -> None:
    tokens, expected = flat(READER.parse(comment)), flat(READER.parse(benign))
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


def check_html(html: str, benign: str) -> None:
    elements, expected = Elements(html), Elements(benign)
    assert set(elements.names) <= set(expected.names) | {"wbr"}
    assert elements.attributes <= expected.attributes
    assert elements.names["style"] == 1
    assert not {"script", "img", "a", "iframe", "object", "link", "form"} & set(elements.names)


def check_terminal(text: str) -> None:
    assert all(character == "\n" or character.isprintable() for character in text)
    assert max(columns(line) for line in text.splitlines()) <= 100


def check_all(sample: ModuleType, word: str) -> None:
    for report, benign in zip(rendered(sample, word), rendered(sample, "plain"), strict=True):
        check_markdown(report.comment, benign.comment, empty=not one_line(word))
        check_html(report.html, benign.html)
        check_terminal(report.terminal)
        suite = ElementTree.fromstring(report.junit)
        assert len(list(suite.iter("testcase"))) == benign.junit.count("<testcase")
        report.html.encode()
        report.comment.encode()


@pytest.mark.parametrize("word", CORPUS)
def test_hostile_text_is_only_shown(sample: ModuleType, word: str) -> None:
    """No mention, link, image, element, control or bidirectional character gets through anywhere."""
    check_all(sample, word)


@settings(max_examples=25, deadline=None)
@given(word=TEXTS)
def test_any_text_is_only_shown(sample: ModuleType, word: str) -> None:
    """The same for whatever hypothesis thinks of."""
    check_all(sample, word)


@pytest.mark.parametrize("word", CORPUS)
def test_the_document_keeps_text_as_it_is(sample: ModuleType, word: str) -> None:
    """verdict.json is for programs: nothing is cut or rewritten there, and it is plain ASCII."""
    content = render(sample.dressed(word), (), ()).document
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
