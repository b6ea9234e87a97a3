"""Digests of files and folders that a policy names: equal bytes are equal, wherever they lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

RUN_MARK = "policy.resolved.json"  # lies in every run's folder, and changes with each run


def source_digest(path: Path) -> str | None:
    """SHA-256 of a file, or of all names and contents below a folder; None where there is neither.

    Raises OSError where it cannot be read.
    """
    if path.is_dir():
        return folder_digest(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def named_sources(paths: Iterable[Path], policy: str) -> tuple[tuple[str, str], ...]:
    """(name, digest) of files and folders, named from the folder of the policy file as far as it goes.

    So a policy that was moved with what it names finds the same names. Raises OSError.
    """
    folder = Path(policy).parent
    found = {}
    for path in paths:
        name = path.relative_to(folder) if path.is_relative_to(folder) else path.absolute()
        if (digest := source_digest(path)) is not None:
            found[name.as_posix()] = digest
    return tuple(sorted(found.items()))


def folder_digest(folder: Path) -> str:
    """SHA-256 over the files of `folder_files`: their names, from `folder`, and their contents."""
    digest = hashlib.sha256()
    for path in folder_files(folder):
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}\0".encode("utf-8", "surrogateescape"))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def folder_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in a fixed order; not what is hidden, compiled, or a run of ftgate."""
    for place, folders, names in os.walk(folder):
        if RUN_MARK in names:
            folders.clear()
            continue
        folders[:] = sorted(each for each in folders if each != "__pycache__" and not each.startswith("."))
        files = (Path(place, name) for name in sorted(names) if not name.startswith("."))
        yield from (file for file in files if file.is_file())
