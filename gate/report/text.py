"""Text that came from a model, a data set, a config or a file name is data: made harmless per target.

In Markdown such text stands only in code spans and fences: GitHub finds no mention, issue number,
link, image or HTML there. In HTML, Jinja's autoescape does the work; `visible` comes before all.
A team's own template gets `anywhere`, which stays text wherever it is put.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_BACKTICKS = re.compile(r"`+")
_MOST_TICKS = 40
_LONG_RUN = re.compile(f"`{{{_MOST_TICKS + 1},}}")
_HARMLESS = re.compile(r"[A-Za-z]+(?:[ ,]+[A-Za-z]+)*")
_LIKE_A_COMMIT = re.compile(r"\b[0-9A-Fa-f]{7,}\b")
_PLAIN_WORD = re.compile(
    r"\(?(?:[A-Za-z]+(?:['’-][A-Za-z]+)*[.,;:?]?\)?[.,;:]?|[0-9]{1,6}(?:\.[0-9]{1,6})?[,;]?)"
)
_IN_A_SENTENCE = re.compile(r"(\(?)(.*?)([).,;:]*)")
_NOT_IN_TITLES = re.compile(r"[^A-Za-z0-9 ,;%+±−_./()-]|(?<=\b[Gg][Hh])-|(?<=[Ww]{3})\.")
_COMMAND = re.compile(r"(?m)^(\s*)::|##\[")
_WORD_JOINER = "&#8288;"
ELLIPSIS = "…"


def visible(text: str) -> str:
    """`text` with newlines kept, tabs as spaces, and every control, bidirectional, zero-width or
    unassigned character written out as an escape (`\\x1b`, `\\u202e`), so that none acts."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    return text if text.isprintable() else _UNPRINTABLE.sub(_shown, text)


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
    line = _unmarked(one_line(text, limit))
    if not line:
        return "(empty)"
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
    if _HARMLESS.fullmatch(line) and not _LIKE_A_COMMIT.search(line):
        return line
    return cell(text, limit)


def words(text: str, limit: int = 400) -> str:
    """A sentence: plain words and numbers as they are, all else in code spans. Fit for a table's cell."""
    said: list[str] = []
    held: list[str] = []
    for word in [*one_line(text, limit).split(" "), ""]:
        plain = bool(_PLAIN_WORD.fullmatch(word)) and not _LIKE_A_COMMIT.search(word)
        if held and (plain or not word):
            said.append(_held(" ".join(held), limit))
            held = []
        if plain:
            said.append(word)
        elif word:
            held.append(word)
    return " ".join(said)


def _held(text: str, limit: int) -> str:
    """A code span; the brackets and the full stop of the sentence around it stay outside."""
    opens, inside, ends = _IN_A_SENTENCE.fullmatch(text).groups()  # type: ignore[union-attr]
    return f"{opens}{cell(inside, limit)}{ends}" if inside else cell(text, limit)


def anywhere(text: str, limit: int = 120) -> str:
    """`text` as a `<code>` element, every character but letters and digits as an entity: it stays text
    in a paragraph, a table, HTML, an attribute or a link of whoever puts it there."""
    line = one_line(text, limit) or "(empty)"
    return f"<code>{''.join(map(_entity, line))}</code>"


def _entity(character: str) -> str:
    if character == "@":  # GitHub makes links of addresses after it has read entities
        return f"&#64;{_WORD_JOINER}"
    return character if character == " " or character.isalnum() else f"&#{ord(character)};"


def title_words(text: str, limit: int = 120) -> str:
    """`text` for a line that is no Markdown: whatever could be read as more than words is blanked."""
    line = one_line(_NOT_IN_TITLES.sub("_", one_line(text, limit)), limit)
    return _LIKE_A_COMMIT.sub(lambda match: match.group()[:6] + ELLIPSIS, line)


def quiet(text: str) -> str:
    """`text` for a job's log: no line of it is a command to the runner."""
    return _COMMAND.sub(lambda match: f"{match[1]}∶∶" if match[1] is not None else "♯♯[", text)


def fence(text: str, language: str = "text") -> str:
    """A fenced block that holds `text` and nothing else."""
    shown = _unmarked(visible(text))
    ticks = "`" * max(3, _longest_run(shown) + 1)
    return f"{ticks}{language}\n{shown}\n{ticks}"


def _unmarked(text: str) -> str:
    """No comment of HTML opens, so what marks a comment as ours is never seen within its text; and no run
    of backticks is so long that GitHub's parser, which counts to 80 and to 255, loses count."""
    text = text.replace("<!--", "<!\u2010\u2010")
    return _LONG_RUN.sub(lambda match: match.group()[:_MOST_TICKS] + ELLIPSIS, text)


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
