"""Every error a user can see, with its exit code.

GateError                    3   the root; never raised itself
├── UsageError               2   the user can mend it: command line, config, policy, data
│   ├── ConfigErrors         2   every problem of one or more files, at once
│   ├── ModelError           2   a base, tuned model or adapter that cannot be used
│   └── DataError            2   a dataset, corpus or task that cannot be used
├── InfrastructureError      3   network, disk, memory, a crash in a child
│   ├── OutOfMemory          3   with the settings that keep the recipe
│   ├── StoreError           3   disk full, read-only, a damaged file
│   ├── TrainingError        3   training did not end in a complete, finite model
│   │   └── NonFiniteLoss    3   the loss became NaN or infinite
│   ├── MeasurementError     3   not a complete, finite, matching measurement
│   │   └── NotLikeForLike   3   base and tuned were not asked the same thing
│   └── GitHubError          3   GitHub could not be asked or told something
│       ├── Forbidden        3   the token may not do this
│       ├── NotFound         3   there is no such thing (any more)
│       ├── TooLong          3   GitHub refuses the text for its length
│       └── Uncertain        3   a write whose answer was lost: it may have taken effect
└── Interrupted            130   Ctrl-C or a termination signal
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

PASS, FAIL, USAGE, INFRASTRUCTURE, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 4, 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: where, what, and what to do."""

    file: str
    message: str
    line: int | None = None
    key: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" {self.key}:" if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}:{key} {self.message}{hint}"


def _text(words: str) -> str:
    """Words that can be written anywhere: half a character, of a file's name say, as what it is."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


class GateError(Exception):
    """The root of ftgate's errors: a message for a person, a hint, an exit code."""

    exit_code = INFRASTRUCTURE

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = _text(message), _text(hint)
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """The error's name in `verdict.json`, e.g. `out_of_memory`."""
        name = type(self).__name__
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class UsageError(GateError):
    """The user can mend it."""

    exit_code = USAGE


class ConfigErrors(UsageError):
    """All problems found in config and policy files, told at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ModelError(UsageError):
    """A base model, tuned model or adapter that cannot be used."""


class DataError(UsageError):
    """A dataset, corpus or task that cannot be used."""


class InfrastructureError(GateError):
    """Network, disk, memory, or a crash in a child process."""


class OutOfMemory(InfrastructureError):
    """The device or the machine ran out of memory."""


class StoreError(InfrastructureError):
    """A file could not be written or read back as it was written."""


class TrainingError(InfrastructureError):
    """Training did not end in a complete, finite model."""


class NonFiniteLoss(TrainingError):
    """The training loss became NaN or infinite."""


class MeasurementError(InfrastructureError):
    """What was measured is not complete, finite and matching."""


class NotLikeForLike(MeasurementError):
    """Base and tuned model were not asked the same thing."""


class GitHubError(InfrastructureError):
    """GitHub could not be asked or told something. Never changes a verdict."""


class Forbidden(GitHubError):
    """The token may not do this."""


class NotFound(GitHubError):
    """There is no such thing on GitHub, or no longer."""


class TooLong(GitHubError):
    """GitHub refuses a text for its length."""


class Uncertain(GitHubError):
    """A write whose answer was lost: it may have taken effect."""


class Interrupted(GateError):
    """Ctrl-C, or a signal to end."""

    exit_code = INTERRUPTED


def as_gate_error(error: BaseException) -> GateError:
    """Foreign errors that end a run, in ftgate's own words."""
    if isinstance(error, GateError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    if isinstance(error, MemoryError):
        return OutOfMemory("this machine's memory is full", hint="smaller `evaluation: {batch_size: ...}`")
    if isinstance(error, OSError):
        return StoreError(str(error), hint="look at the disk: is it full, is it writable?")
    return InfrastructureError(
        f"unexpected {type(error).__name__}: {error}",
        hint="this is a defect of ftgate; FTGATE_DEBUG=1 shows the traceback to report",
    )


def together(*reads: Callable[[], Any]) -> tuple[Any, ...]:
    """The results of all calls; raises `ConfigErrors` with the problems of every one that failed."""
    results: list[Any] = []
    problems: list[Problem] = []
    for read in reads:
        try:
            results.append(read())
        except ConfigErrors as errors:
            problems += errors.problems
        except UsageError as error:
            problems.append(Problem("", error.message, hint=error.hint))
    if problems:
        raise ConfigErrors(problems)
    return tuple(results)
