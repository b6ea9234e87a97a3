"""Text that came from a model, a data set, a config or a file name is data: made harmless per target.

In Markdown such text stands only in code spans and fences: GitHub finds no mention, issue number,
link, image or HTML there. In HTML, Jinja's autoescape does the work; `visible` comes before all.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_BACKTICKS = re.compile(r"`+")
_HARMLESS = re.compile(r"[A-Za-z]+(?:[ ,]+[A-Za-z]+)*")
ELLIPSIS = "…"


def visible(text: str) -> str:
    """`text` with newlines kept, tabs as spaces, and every control, bidirectional, zero-width or
    unassigned character written out as an escape (`\\x1b`, `\\u202e`), so that none acts."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    return _UNPRINTABLE.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    character = match.group()
    if character == "\n" or character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def one_line(text: str, limit: int = 120) -> str:
    """`text` visible, on one line, runs of white space as one space, at most `limit` characters."""
    return clip(" ".join(visible(text[: limit * 20]).split()), limit)


def clip(text: str, limit: int) -> str:
    """The first `limit` characters, the last of them an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS


def tail(text: str, limit: int) -> str:
    """The end of a prompt, visible, at most about `limit` characters: few-shot examples come first,
    the question last. Says how much is left out."""
    shown = visible(text).strip("\n")
    if len(shown) <= limit:
        return shown
    cut = len(shown) - limit
    return f"[{cut:,} characters left out]\n{ELLIPSIS}{shown[cut:]}"


def code(text: str, limit: int = 120) -> str:
    """A Markdown code span that holds `text` and nothing else, whatever backticks it has."""
    line = one_line(text, limit)
    if not line:
        return "*(empty)*"
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def cell(text: str, limit: int = 120) -> str:
    """`code` for a cell of a GitHub table, whose pipes are escaped even within code.

    Readers disagree on an escaped backslash before a pipe, so a space goes between the two.
    """
    line = one_line(text, limit).replace("\\|", "\\ |")
    return code(line, limit + 20).replace("|", "\\|")


def prose(text: str, limit: int = 200) -> str:
    """`text` as it is where it has only letters, spaces and commas, which nothing reads as anything
    else; in a code span otherwise. Fit for a table's cell."""
    line = one_line(text, limit)
    return line if _HARMLESS.fullmatch(line) else cell(text, limit)


def fence(text: str) -> str:
    """A fenced block that holds `text` and nothing else."""
    shown = visible(text)
    ticks = "`" * max(3, _longest_run(shown) + 1)
    return f"{ticks}text\n{shown}\n{ticks}"


def name_html(text: str, limit: int = 120) -> Markup:
    """A name within a sentence of the HTML report; long ones may break at their joints."""
    escaped = str(escape(one_line(text, limit)))
    return Markup('<span class="name">') + Markup(re.sub(r"([/_])", r"\1<wbr>", escaped)) + Markup("</span>")


def columns(text: str) -> int:
    """How many terminal columns `text` takes."""
    return sum(_width(character) for character in text)


def fit(text: str, width: int) -> str:
    """`text` on one line, cut to at most `width` terminal columns and filled up to them."""
    line = one_line(text, max(width, 1))
    while columns(line) > width:
        line = line.rstrip(ELLIPSIS)[:-1] + ELLIPSIS
    return line + " " * (width - columns(line))


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
