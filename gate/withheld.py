"""What this process keeps to itself: the salt of an environment, and ways to hide it from other processes.

A process's environment as it was started stays readable in /proc/PID/environ for all processes of its user,
whatever it unsets later. A process that is not dumpable shows it, and its memory, to nobody but root.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Callable, MutableMapping
from typing import NoReturn

from gate.errors import UsageError

SALT = "FTGATE_SALT"
SHORTEST = 32  # characters; the salt's digest is published, so it must not be guessed
PR_SET_DUMPABLE = 4


class Salt:
    """The secret that orders documents; no repr, log or traceback shows it. `made`: in this very run."""

    __slots__ = ("_reveal", "made")

    def __init__(self, value: bytes, *, made: bool = False) -> None:
        self._reveal: Callable[[], bytes] = lambda: value
        self.made = made

    def reveal(self) -> bytes:
        """The salt itself: to draw with, and nothing else."""
        return self._reveal()

    def __repr__(self) -> str:
        return "Salt(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a salt is not written anywhere but in its store")


def hide_process() -> bool:
    """Make this process's memory and first environment unreadable to others of its user; whether it is so."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)


def take_salt(environ: MutableMapping[str, str], hide: Callable[[], object] = hide_process) -> Salt | None:
    """The salt that FTGATE_SALT holds, taken out of `environ`, so that no child gets it; None without one.

    `hide` keeps other processes from this one's first environment. Raises `UsageError` for a salt that can be
    guessed.
    """
    text = environ.pop(SALT, "").strip()
    if not text:
        return None
    hide()
    if len(text) < SHORTEST:
        raise UsageError(
            f"{SALT} has fewer than {SHORTEST} characters, so it can be guessed",
            hint="make one with `openssl rand -hex 32`, and keep it as a secret",
        )
    return Salt(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest())
