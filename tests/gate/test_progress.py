"""What a person sees of a stage that is on."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from gate.progress import (
    LogProgress,
    SilentProgress,
    Start,
    TerminalProgress,
    duration,
    line,
    seconds_left,
)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (187, "3:07"), (3729, "1:02:09")]
)
def test_duration_in_words(seconds: float, words: str) -> None:
    """Seconds, minutes and hours read as a clock."""
    assert duration(seconds) == words


def test_time_left_is_measured_from_where_a_stage_started() -> None:
    """A stage resumed at step 40 that took 10 s for 5 steps needs 30 s for 15 more."""
    assert seconds_left(Start(40, 100.0), 45, 60, 110.0) == pytest.approx(30.0)
    assert seconds_left(Start(40, 100.0), 40, 60, 110.0) is None


def test_line_has_bar_count_note_and_time() -> None:
    """The parts that are known stand in one line, the others leave no gap."""
    assert line("training", 30, 60, "loss 2.31", 41.0, bar=True) == (
        "training  [############............]  30 of 60  loss 2.31  41 s left"
    )
    assert line("training", 0, 0, "starting", None, bar=True) == "training  starting"


def ticks(*seconds: float) -> Iterator[float]:
    return iter(seconds)


def test_terminal_writes_one_line_over_and_leaves_the_last() -> None:
    """Reports in quick succession are dropped, but the last state stays when the stage ends."""
    out, clock = io.StringIO(), ticks(0.0, 0.05, 0.06)
    progress = TerminalProgress(out, clock=lambda: next(clock))
    progress.update("training", 0, 2)
    progress.update("training", 1, 2)
    progress.update("training", 2, 2, "loss 1")
    progress.done("training")
    assert out.getvalue().count("\n") == 1
    assert "1 of 2" not in out.getvalue()
    assert out.getvalue().endswith("2 of 2  loss 1\n")


def test_terminal_ends_the_line_of_a_stage_that_another_follows() -> None:
    """A new stage begins on a new line."""
    out = io.StringIO()
    progress = TerminalProgress(out, clock=lambda: 0.0)
    progress.update("measuring base model", 1, 1)
    progress.update("measuring tuned model", 1, 1)
    assert out.getvalue().count("\n") == 1


def test_log_writes_plain_lines_now_and_then() -> None:
    """One line each `every` seconds, without escapes, the last state at the end and not twice."""
    out, clock = io.StringIO(), ticks(0.0, 10.0, 30.0, 31.0)
    progress = LogProgress(out, every=30, clock=lambda: next(clock))
    for done in (0, 1, 3, 4):
        progress.update("training", done, 4)
    progress.done("training")
    progress.done("training")
    assert out.getvalue().splitlines() == [
        "training  0 of 4",
        "training  3 of 4  10 s left",
        "training  4 of 4",
    ]


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    """`--quiet` writes nothing."""
    SilentProgress().update("training", 1, 2)
    SilentProgress().done("training")
    assert capsys.readouterr() == ("", "")
