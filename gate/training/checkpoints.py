"""Which checkpoints may be resumed.

The HF trainer writes a checkpoint in place and resumes whichever has the highest number, half written or
not. So each whole one gets a marker, written last, that names its files and their sizes; what lacks the
marker or disagrees with it is never resumed and is deleted.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

MARKER = "ftgate-complete.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint: the optimizer steps behind it and the seconds they took."""

    path: Path
    step: int
    max_steps: int
    seconds: float


def mark_complete(folder: Path, *, fingerprint: str, step: int, max_steps: int, seconds: float) -> None:
    """Mark a checkpoint whole: its files reach the disk first, then the marker, at once."""
    files = {name: (folder / name).stat().st_size for name in _files(folder)}
    for name in files:
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())
    marker = {
        "fingerprint": fingerprint,
        "step": step,
        "max_steps": max_steps,
        "seconds": seconds,
        "files": files,
    }
    partial = folder / f"{MARKER}.partial"
    with partial.open("w", encoding="utf-8") as out:
        json.dump(marker, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(folder / MARKER)


def read_checkpoint(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The checkpoint in `folder`, or None unless it is whole and of this very training."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        agrees = marker["fingerprint"] == fingerprint and all(
            (folder / name).stat().st_size == size for name, size in marker["files"].items()
        )
        found = Checkpoint(folder, int(marker["step"]), int(marker["max_steps"]), float(marker["seconds"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if agrees else None


def last_complete(output: Path, fingerprint: str) -> Checkpoint | None:
    """The whole checkpoint to resume; everything else in the trainer's `output` is deleted.

    One of the last step is not resumed: the HF trainer would take one step more than it has left (5.23).
    """
    whole = []
    for path in output.iterdir() if output.is_dir() else ():
        checkpoint = read_checkpoint(path, fingerprint) if path.is_dir() else None
        if checkpoint is not None and checkpoint.step < checkpoint.max_steps:
            whole.append(checkpoint)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return max(whole, key=lambda checkpoint: checkpoint.step, default=None)


def _files(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.startswith(MARKER))
