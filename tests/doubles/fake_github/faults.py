"""What goes wrong on the way to GitHub, by a plan."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal[
    "answer",  # `status`, `message` and `headers` in place of GitHub's own answer
    "reset",  # the connection is reset without an answer
    "slow",  # the answer's body comes a byte every `seconds`
    "cut",  # the connection ends in the middle of the answer
    "garbled",  # a whole answer of half the JSON
    "without",  # the answer lacks the field `missing`
    "redirect",  # `status` and a Location, which is `location` or a new address of the same thing
]

MOVED = "/moved"


@dataclass(frozen=True)
class Fault:
    """One fault, for the next `times` requests of `operation` ("" for any), after `skip` that go well.

    `applied`: the request takes effect all the same.
    """

    kind: Kind
    operation: str = ""
    times: int = 1
    skip: int = 0
    applied: bool = False
    status: int = 500
    message: str = "Server Error"
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.2
    missing: str = ""
    location: str = ""


class Plan:
    """The faults still to come; each request takes the first that fits it."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._faults += faults

    def take(self, operation: str) -> Fault | None:
        with self._lock:
            for position, fault in enumerate(self._faults):
                if fault.operation not in ("", operation):
                    continue
                if fault.skip:
                    self._faults[position] = replace(fault, skip=fault.skip - 1)
                    return None
                self._faults[position] = replace(fault, times=fault.times - 1)
                if fault.times == 1:
                    del self._faults[position]
                return fault
        return None

    @property
    def left(self) -> int:
        """How many faults have not struck yet."""
        return sum(fault.times for fault in self._faults)


def server_error(status: int = 500, operation: str = "", times: int = 1, applied: bool = False) -> Fault:
    return Fault("answer", operation, times, applied=applied, status=status, message="Server Error")


def too_many(operation: str = "", times: int = 1, retry_after: str = "") -> Fault:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return Fault("answer", operation, times, status=429, message="Too Many Requests", headers=headers)


def secondary_limit(operation: str = "", times: int = 1, retry_after: str = "") -> Fault:
    said = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    headers = {"Retry-After": retry_after} if retry_after else {}
    return Fault("answer", operation, times, status=403, message=said, headers=headers)


def primary_limit(reset: int, operation: str = "", times: int = 1) -> Fault:
    """The hourly limit is used up until the time `reset` (seconds since 1970)."""
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)}
    said = "API rate limit exceeded for installation ID 1."
    return Fault("answer", operation, times, status=403, message=said, headers=headers)
