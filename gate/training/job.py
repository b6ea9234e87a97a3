"""What parent and child tell each other: a job (JSON) one way, events (JSON lines) the other.

A file and no pipe, because a launcher of several processes closes what it inherits. Every event is one
`write` to a file opened for appending, so that lines of several processes never mix.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STOPPED = 75
"""Exit status of a child that stopped at its time limit (`EX_TEMPFAIL`: try again)."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that a child is told. `deadline` is in seconds since the epoch."""

    config: str
    arguments: tuple[str, ...]  # what the gate overrides, as TRL's command line
    events: str
    lock: str  # held by every child, so that the parent knows when the last one is gone
    fingerprint: str  # what must agree before a checkpoint is resumed
    processes: int = 1
    launcher: tuple[str, ...] = ()  # arguments of `accelerate launch` that the config gives
    data: Mapping[str, str] = field(default_factory=dict)  # hub name -> folder
    resume: str | None = None
    seconds_before: float = 0.0  # spent on the steps that are resumed
    deadline: float | None = None

    def write(self, path: Path) -> None:
        """Write the job for `Job.read`."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what `write` wrote."""
        return cls(**_fields(path.read_text(encoding="utf-8")))


def forget_config(copy: Path) -> None:
    """Delete the child's copy of the config, which may hold tokens, and the folder that it has alone."""
    copy.unlink(missing_ok=True)
    with suppress(OSError):
        copy.parent.rmdir()


@dataclass(frozen=True, slots=True)
class Started:
    """The optimizer is about to take its first step of this attempt."""

    step: int  # optimizer steps that were resumed
    max_steps: int
    rows: int | None  # of the prepared (packed, filtered) training data; None for a stream
    batch_size: int  # per device
    accumulation: int
    processes: int
    epochs: float
    drop_last: bool
    trainable_parameters: int
    total_parameters: int


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: its loss is the mean over processes and accumulated batches."""

    step: int
    max_steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The time limit was reached; the last checkpoint is of `step`."""

    step: int
    max_steps: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A process of the child raised: names of the exception's classes, its words, where it was."""

    types: tuple[str, ...]
    message: str
    stage: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The training ended and its model was saved."""

    steps: int
    max_steps: int
    peak_resident_bytes: int
    peak_gpu_bytes: int | None
    tokens_per_second: float | None


Event = Started | Step | Stopped | Failed | Finished
EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in (Started, Step, Stopped, Failed, Finished)}


def append_event(path: Path, event: Event) -> None:
    """Append one event in a single write."""
    line = json.dumps({"event": type(event).__name__, **asdict(event)}) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


class EventReader:
    """Reads a growing file of events, each event once; a line without its end waits."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def new(self) -> Iterator[Event]:
        """The events since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, _, _ = file.read().rpartition(b"\n")
        for line in whole.splitlines():
            fields = _fields(line)
            yield EVENTS[fields.pop("event")](**fields)
        self._offset += len(whole) + 1 if whole else 0


def _fields(text: str | bytes) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(text).items()
    }
