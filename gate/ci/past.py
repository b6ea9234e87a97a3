"""The history beside `ftgate ci`: where earlier verdicts are read, and where new ones and audits go."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gate.branch_history import branch_of, write_branch
from gate.changes import dependencies, depends
from gate.ci.refs import Refs, in_checkout
from gate.history import FOLDER
from gate.records import Event
from gate.repository import Repository


def kept_in(asked: Path | None) -> Path:
    """The folder that new verdicts and audits go to. Taking them to a branch is the workflow's affair."""
    return FOLDER if asked is None or branch_of(asked) else asked


def find_history(
    event: Event,
    asked: Path | None,
    refs: Refs,
    links: Mapping[str, str],
    repository: Repository,
    room: Path,
) -> Path | None:
    """The folder of earlier verdicts, absolute; None where none was named.

    A pull request brings no history of its own: what git tracks at either ref is read at the base ref. A
    branch is the remote's, written below `room`; one that is not there is an empty history.
    """
    branch = branch_of(asked)
    if branch:
        return write_branch(f"refs/remotes/origin/{branch}", repository, room / "history")
    if asked is None or event.trusted_ref:
        return asked.absolute() if asked else None
    files = [file.path for file in (*refs.head_files, *refs.base_files)]
    for place in (os.path.abspath(asked), os.path.realpath(asked)):  # as it is written, and behind links
        inside = in_checkout(place, Path())
        named = dependencies((inside,), links)
        if any(depends(name, file) for name in named for file in files):
            return refs.base_tree.absolute() / inside
    return asked.absolute()
