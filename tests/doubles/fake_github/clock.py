"""Clocks for who must wait: no test does."""

from __future__ import annotations


class Clock:
    """A clock that only sleeping moves; `slept` are the waits."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now, self.slept = now, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Ticking(Clock):
    """A clock that moves a second at every look: time passes by what is done, not by how fast."""

    def __call__(self) -> float:
        self.now += 1
        return self.now
