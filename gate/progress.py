"""How a stage tells a person how far it is: one line on a terminal, plain lines in a log, or nothing."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

import click

BAR = 24
"""Characters of the bar."""


class Progress(Protocol):
    """What a stage needs of the screen. `total` 0 means that it is not known yet."""

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps of `what` are behind us."""

    def done(self, what: str) -> None:
        """`what` has ended, well or not."""


@dataclass(frozen=True, slots=True)
class Start:
    """The first report of a stage: from here its speed is measured, not from step 0 (it may resume)."""

    done: int
    seconds: float


def seconds_left(start: Start, done: int, total: int, now: float) -> float | None:
    """The seconds left at the speed since `start`; None while nothing was done since."""
    if done <= start.done or total < done:
        return None
    return (now - start.seconds) / (done - start.done) * (total - done)


def duration(seconds: float) -> str:
    """Seconds as a person says them: `42 s`, `3:07`, `1:02:09`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def line(what: str, done: int, total: int, note: str, left: float | None, *, bar: bool) -> str:
    """One line: what, a bar on request, how far, the note (a loss), the time left."""
    filled = BAR * min(done, total) // total if total else 0
    parts = [
        what,
        f"[{'#' * filled}{'.' * (BAR - filled)}]" if bar and total else "",
        f"{done} of {total}" if total else "",
        note,
        f"{duration(left)} left" if left is not None and done < total else "",
    ]
    return "  ".join(part for part in parts if part)


class _Timed:
    """Keeps the stage that is on: where it started, when it was last shown, and what is not shown yet."""

    def __init__(self, stream: TextIO | None, every: float, clock: Callable[[], float]) -> None:
        self._stream, self._every, self._clock = stream or sys.stderr, every, clock
        self._what = ""
        self._start: Start | None = None
        self._shown = -math.inf
        self._pending = ""

    def _next(self, what: str, done: int, total: int, note: str, *, bar: bool) -> bool:
        """Take a report in; whether it is time to show it."""
        now = self._clock()
        if what != self._what:
            self._what, self._start, self._shown = what, None, -math.inf
        if self._start is None and total:
            self._start = Start(done, now)
        left = seconds_left(self._start, done, total, now) if self._start else None
        self._pending = line(what, done, total, note, left, bar=bar)
        if now - self._shown < self._every:
            return False
        self._shown = now
        return True


class TerminalProgress(_Timed):
    """One line that is written over, at most ten times a second, and stays when its stage ends."""

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, 0.1, clock)

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        """Write the line over, if the last time was long enough ago."""
        if self._what and what != self._what:
            self.done(self._what)
        if self._next(what, done, total, note, bar=True):
            self._write()

    def done(self, what: str) -> None:
        """Write the last state and leave it there."""
        if self._what:
            self._write()
            click.echo(file=self._stream)
        self._what = ""

    def _write(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        click.echo(f"\r\x1b[2K{self._pending[:width]}", file=self._stream, nl=False)


class LogProgress(_Timed):
    """A plain line now and then, for logs that nobody rewrites (CI)."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        every: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream, every, clock)

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        """Write a line, if the last one is long enough ago."""
        if self._what and what != self._what:
            self.done(self._what)
        if self._next(what, done, total, note, bar=False):
            self._write()

    def done(self, what: str) -> None:
        """Write the last state, unless it stands there."""
        self._write()
        self._what = ""

    def _write(self) -> None:
        if self._pending:
            click.echo(self._pending, file=self._stream)
        self._pending = ""


class SilentProgress:
    """Says nothing (`--quiet`)."""

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        """Say nothing."""

    def done(self, what: str) -> None:
        """Say nothing."""
