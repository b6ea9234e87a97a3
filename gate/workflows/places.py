"""Whether files can be written at all, asked before the first one is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gate.errors import StoreError


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def check_places(paths: Sequence[Path], writable: Callable[[Path], bool] = _writable) -> None:
    """Raise `StoreError`, with every problem, unless each path exists or could be made in its folder."""
    missing = [path for path in paths if not os.path.lexists(path)]
    found = dict.fromkeys(filter(None, (_problem(path.parent, writable) for path in missing)))
    if found:
        problems = "; ".join(problem for problem, _ in found)
        hints = "; ".join(dict.fromkeys(hint for _, hint in found))
        raise StoreError(f"nothing was written: {problems}", hint=hints)


def _problem(folder: Path, writable: Callable[[Path], bool]) -> tuple[str, str] | None:
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        return f"{there} is no folder", f"move away what is at {there}: a folder of that name is needed"
    if not writable(there):
        return f"{there} may not be written", f"give yourself the right to write in {there}"
    return None
