"""What a step tells the runner: lines on its output, and the files that GitHub gives it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_COMMAND = re.compile(r"^\s*::([a-z-]+)(?: (.*?))?::(.*)$")
FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_STATE")


@dataclass(frozen=True)
class Annotation:
    """An `::error`, `::warning` or `::notice` with its properties."""

    level: str
    message: str
    properties: Mapping[str, str]


def annotations(log: str) -> tuple[Annotation, ...]:
    """The annotations of a log, none of those between `::stop-commands::TOKEN` and `::TOKEN::`."""
    found: list[Annotation] = []
    stopped = ""
    for line in log.splitlines():
        if stopped:
            stopped = "" if line.strip() == f"::{stopped}::" else stopped
            continue
        match = _COMMAND.match(line)
        if not match:
            continue
        name, properties, message = match[1], match[2] or "", match[3]
        if name == "stop-commands":
            stopped = message
        elif name in ("error", "warning", "notice"):
            pairs = (each.split("=", 1) for each in properties.split(",") if "=" in each)
            found.append(Annotation(name, _plain(message), {key: _plain(value) for key, value in pairs}))
    return tuple(found)


def _plain(value: str) -> str:
    for written, meant in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        value = value.replace(written, meant)
    return value


def new_files(folder: Path) -> dict[str, str]:
    """Fresh empty files for one step, as environment variables."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).touch()
    return {name: str(folder / name) for name in FILES}


def pairs(path: Path) -> dict[str, str]:
    """`name=value` and `name<<END` lines of such a file. Raises `ValueError` for what GitHub refuses."""
    found: dict[str, str] = {}
    lines = iter(path.read_text("utf-8").splitlines())
    for line in lines:
        head = re.match(r"^([^=]+?)<<(.+)$", line)
        if head:
            value: list[str] = []
            for inner in lines:
                if inner == head[2]:
                    break
                value.append(inner)
            else:
                raise ValueError(f"Matching delimiter not found '{head[2]}'")
            found[head[1]] = "\n".join(value)
        elif line:
            name, equals, rest = line.partition("=")
            if not equals:
                raise ValueError(f"Invalid format '{line}'")
            found[name] = rest
    return found
