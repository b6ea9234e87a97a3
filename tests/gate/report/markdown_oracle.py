"""What two real parsers find in a Markdown text, and what GitHub would make of the text that is left."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from html.parser import HTMLParser

import cmarkgfm
from cmarkgfm.cmark import Options
from markdown_it import MarkdownIt
from markdown_it.token import Token

READER = MarkdownIt("gfm-like", {"html": True, "linkify": True})
QUIET = {"code", "pre"}  # GitHub looks for nothing within these
VOID = {"br", "hr", "img", "input"}
# Mentions, references, commits, links, shortcodes, formulas, our own mark: what GitHub or ftgate acts on.
ACTS = re.compile(
    r"@[A-Za-z0-9]|#[0-9]|\bGH-[0-9]|\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{7,40}\b|\b[a-f]{7,40}\b"
    r"|https?:|www\.|mailto:|:[a-z0-9_+]+:|\$.*\$|\[\^|<!--",
    re.I,
)


class Page(HTMLParser):
    """The elements of an HTML text in order, with their attributes, and the text outside code."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.spoken: list[str] = []
        self.open: list[str] = []
        self.odd: list[str] = []  # comments, declarations, tags that close nothing
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = " ".join(f"{name}={value if name != 'title' else '...'}" for name, value in attrs)
        self.elements.append(f"{tag} {said}".strip())
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.odd.append(f"</{tag}> within {self.open[-3:]}")
            return
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not QUIET & set(self.open):
            self.spoken.append(data)

    def handle_comment(self, data: str) -> None:
        self.odd.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.odd.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.odd.append(f"<?{data}>")

    def unknown_decl(self, data: str) -> None:
        self.odd.append(f"<![{data}]>")


def github_page(markdown: str) -> Page:
    """The page that GitHub's own cmark-gfm makes of a text, raw HTML and all."""
    return Page(cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE))


def tokens(markdown: str) -> list[Token]:
    """The tokens of markdown-it with tables, strike-through and linkify, flat."""

    def flat(found: list[Token]) -> list[Token]:
        return [inner for token in found for inner in (token, *flat(token.children or []))]

    return flat(READER.parse(markdown))


@lru_cache(maxsize=200)
def read(markdown: str, *, both: bool) -> tuple[Page, tuple[list[str], list[str]]]:
    """GitHub's page of a text, and the elements, in order, of GitHub's parser and, for `both`, of the other;
    code spans are left out, which plain words need not have."""
    page = github_page(markdown)
    dropped = ("text", "code_inline", "softbreak", "inline")
    by_other = [
        f"{token.type} {token.tag} {token.info} {sorted(token.attrs.items())}"
        for token in (tokens(markdown) if both else ())
        if token.type not in dropped and token.content not in ("<code>", "</code>")
    ]
    return page, ([element for element in page.elements if element != "code"], by_other)


def assert_only_shown(markdown: str, harmless: str, *, same: bool = True, both: bool = True) -> None:
    """`markdown` has the elements of `harmless` (at most those, where not `same`); nothing it says acts."""
    page, found = read(markdown, both=both)
    for ours, usual in zip(found, read(harmless, both=both)[1], strict=True):
        if same:
            assert ours == usual
        else:
            assert not Counter(ours) - Counter(usual)
    assert page.odd == []
    assert page.open == []
    spoken = " ".join(page.spoken)
    assert not ACTS.search(spoken), ACTS.search(spoken)
    assert "<!-- ftgate" not in markdown
    assert markdown.replace("\n", "").replace("\u00a0", "").isprintable()
    markdown.encode()
