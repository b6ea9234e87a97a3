"""Earlier verdicts that lie on a branch of their own: `--history branch:NAME`, read from git's objects."""

from __future__ import annotations

from pathlib import Path

from gate.errors import UsageError
from gate.history import FOLDER
from gate.repository import LINK, MODULE, Repository

BRANCH = "branch:"  # --history branch:NAME is that branch of the repository, not a folder


def branch_of(asked: Path | None) -> str:
    """The branch that `--history` names, "" where it names a folder or nothing."""
    return str(asked).removeprefix(BRANCH) if str(asked).startswith(BRANCH) else ""


def write_branch(tip: str, repository: Repository, room: Path) -> Path:
    """The folder of verdicts at the ref `tip`, written below `room`; a ref that is not there is an empty
    history."""
    start = f"{FOLDER.as_posix()}/"
    room.mkdir()
    if repository.holds(tip):
        files = [file for file in repository.files(tip) if file.path.startswith(start)]
        repository.extract([file for file in files if file.mode not in (LINK, MODULE)], room)
    return room.absolute() / FOLDER


def named_history(asked: Path | None, repository: Repository, room: Path) -> Path:
    """The folder that `--history` of a command means; `.ftgate/history` where it says nothing. A branch is
    the remote's as it was last fetched, else the clone's own, and is written below `room`.

    Raises `UsageError` where there is no such folder or branch.
    """
    if not (branch := branch_of(asked)):
        if asked is not None and not asked.is_dir():
            raise UsageError(f"there is no folder {asked}", hint="name the one that holds the verdicts")
        return asked or FOLDER
    tips = (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}")
    tip = next((tip for tip in tips if repository.holds(tip)), None)
    if tip is None:
        raise UsageError(f"this clone holds no branch {branch}", hint=f"git fetch origin {branch}:{branch}")
    return write_branch(tip, repository, room / "history")
