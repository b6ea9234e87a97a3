"""Which texts can be a file's name: a config may hold any text, and the system refuses some of them."""

from __future__ import annotations

import os

LONGEST_NAME = 255  # bytes of one name, on every usual file system
LONGEST_PATH = 4095  # bytes of a whole path, Linux's PATH_MAX without its end


def may_be_path(text: str) -> bool:
    """Whether a file can have this path: no NUL, nothing that is no bytes (a lone surrogate), not too long.

    Names from git that are no UTF-8 hold their bytes as Python's `surrogateescape` does, and are paths.
    """
    try:
        path = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    short = all(len(name) <= LONGEST_NAME for name in path.split(b"/"))
    return short and b"\0" not in path and len(path) <= LONGEST_PATH
