"""The outside world as one argument: environment, terminal, clock. Tests hand in their own."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from gate.progress import LogProgress, Progress, SilentProgress, TerminalProgress
from gate.withheld import Salt, take_salt

if TYPE_CHECKING:
    from gate.scoring.team import Team

# Libraries that would write over the progress line or ask the hub for news.
QUIET_LIBRARIES = {
    "TOKENIZERS_PARALLELISM": "true",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LMEVAL_LOG_LEVEL": "ERROR",
    "BITSANDBYTES_NOWELCOME": "1",
}
# Threads that wait sleep and do not spin: on a busy CPU torch is some thirty times faster so, on an idle
# one as fast.
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Shell:
    """What a command may touch besides files: `say` is for results, `warn` for what went oddly."""

    environ: Mapping[str, str]
    say: Callable[[str], None]
    warn: Callable[[str], None]
    progress: Progress
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], str] = lambda: datetime.now(UTC).isoformat(timespec="seconds")
    colour: bool = False
    quiet: bool = False
    team: Team | None = None  # of processes that score
    salt: Salt | None = None  # of FTGATE_SALT; else the store has one

    @classmethod
    def of_process(cls, *, verbose: int = 0, quiet: bool = False) -> Shell:
        """The shell of this process: its environment, its terminal, its clock.

        The salt leaves the environment before anything is loaded or started. Raises `UsageError` for a bad
        one.
        """
        salt = take_salt(os.environ)
        set_defaults(PATIENT_THREADS)
        if not verbose:
            hush_libraries()
        return cls(
            environ=dict(os.environ),
            say=click.echo,
            warn=_warn,
            progress=progress_here(quiet),
            colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
            quiet=quiet,
            salt=salt,
        )


def _warn(text: str) -> None:
    from gate.report.text import quiet  # late: most commands warn of nothing

    click.secho(quiet(f"warning: {text}"), fg="yellow", err=True)


def progress_here(quiet: bool) -> Progress:
    """The progress that fits this process's stderr: a terminal, a log, or nothing at all."""
    if quiet:
        return SilentProgress()
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return TerminalProgress() if terminal else LogProgress()


def set_defaults(settings: Mapping[str, str]) -> None:
    """Set variables of this process's environment that are not set; libraries read them at import."""
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def hush_libraries() -> None:
    """Keep the libraries' own bars, banners and advice out of a person's terminal."""
    set_defaults(QUIET_LIBRARIES)
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
