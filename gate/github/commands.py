"""What a step says to GitHub's runner: commands on its output, and the files that it names.

The runner takes a line of a step's output that begins with `::`, white space before it or not, for a
command, and so any that holds `##[`. So everything said here is escaped as the runner undoes it, and what
others wrote (a child process; a report with a model's words in it) goes out only between
`::stop-commands::TOKEN` and `::TOKEN::`, whose token they cannot know.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from gate.github.api import Annotation, Level
from gate.github.checkruns import cut
from gate.sealed import disk_errors

Word = Literal["error", "warning", "notice"]

SUMMARY_LIMIT = 1024 * 1024
"""Bytes of a step's summary; GitHub drops the whole of a larger one."""
SHORTEST_MASK = 8
"""Masking a shorter secret would star out half of the log, and tell it by that."""

_WORDS: dict[Level, Word] = {"failure": "error", "warning": "warning", "notice": "notice"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


# ── Commands ─────────────────────────────────────────────────────────────────────────────────────


def command(word: Word, message: str, *, file: str = "", line: int = 0, title: str = "") -> str:
    """An annotation as a workflow command: one line, without its end. `line` 0 is none."""
    properties = {"file": file, "line": str(line) if line > 0 else "", "title": title}
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{word}{' ' if said else ''}{said}::{_data(message)}"


def annotate(annotation: Annotation) -> str:
    """A check run's annotation as a workflow command, where no token allows a check run."""
    return command(
        _WORDS[annotation.level],
        annotation.message,
        file=annotation.path,
        line=annotation.line,
        title=annotation.title,
    )


def add_mask(secret: str) -> str:
    """The command that has the runner star out this secret, and each of its lines, in all that follows.

    To be printed before anything else can be, and never while commands are stopped. Empty for what is
    too short to be masked.
    """
    return f"::add-mask::{_escaped(secret)}" if len(secret.strip()) >= SHORTEST_MASK else ""


@contextmanager
def stopped_commands(
    stream: TextIO, *, token: Callable[[], str] = lambda: secrets.token_hex(16)
) -> Iterator[None]:
    """While inside, the runner takes nothing on this step's output for a command: for a child's output.

    The word that ends it begins a line of its own, whatever the child left unfinished.
    """
    word = token()
    stream.write(f"::stop-commands::{word}\n")
    stream.flush()
    try:
        yield
    finally:
        stream.write(f"\n::{word}::\n")
        stream.flush()


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _data(text: str) -> str:
    """Text that stays one line and moves nobody's terminal: what is not printable is written out."""
    shown = (one if one.isprintable() or one in "\r\n" else _written(one) for one in text)
    return _escaped("".join(shown))


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


# ── Files ────────────────────────────────────────────────────────────────────────────────────────


def write_outputs(
    path: Path,
    outputs: Mapping[str, str],
    *,
    token: Callable[[], str] = lambda: secrets.token_hex(16),
) -> None:
    """Add outputs to the file that GITHUB_OUTPUT names; values may have any text, and many lines.

    Each value ends at a delimiter that does not occur in it. Raises `ValueError` for a name that cannot
    be one, `StoreError` where the disk refuses.
    """
    _append(path, "".join(_output(name, value, token) for name, value in outputs.items()))


def append_summary(path: Path, text: str) -> bool:
    """Add Markdown to the file that GITHUB_STEP_SUMMARY names; False if it had to be cut at a line to
    keep the step's summary under 1 MiB. Raises `StoreError`."""
    with disk_errors(f"read {path}"):
        room = SUMMARY_LIMIT - 2 - (path.stat().st_size if path.exists() else 0)
    kept = cut(text, room, size=lambda part: len(_bytes(part))) if room > 0 else ""
    if len(_bytes(kept)) <= room:  # else not even the note has room
        _append(path, kept.rstrip("\n") + "\n")
    return kept == text


def _output(name: str, value: str, token: Callable[[], str]) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name of an output: {name!r}")
    while (delimiter := f"ftgate_{token()}") in value:
        pass
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def _append(path: Path, text: str) -> None:
    """Add to a file, from a new line on."""
    with disk_errors(f"write {path}"), path.open("a+b") as file:
        if file.seek(0, 2):
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                text = "\n" + text
        file.write(_bytes(text))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
