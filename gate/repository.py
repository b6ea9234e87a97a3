"""Git, as a child process: commits, changed files, a ref's files as they are. Nothing in a repository runs.

Hooks, monitors, filters and replacement objects are all left out: files are written byte by byte from
git's objects. Names are bytes to git; here they are text as Python's file system functions want it.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gate.changes import FileChange
from gate.errors import InfrastructureError, UsageError
from gate.sealed import disk_errors

SAFE = (
    *("-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"),
    *("-c", "protocol.ext.allow=never", "-c", "core.quotePath=false", "-c", "diff.renameLimit=0"),
)
ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
}
LINK, MODULE = "120000", "160000"
DEEPER = "actions/checkout needs `fetch-depth: 0`: the whole history, with the base ref"
CHUNK = 1 << 20
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_POINTER = re.compile(
    rb"version https://git-lfs.github.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\n"
)
_REMOTE = re.compile(r"[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?")


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A tracked file: its mode, and the id of the git object with its content."""

    path: str
    mode: str
    object_id: str


class Repository:
    """The git repository whose checkout is at `path`. Every method raises `InfrastructureError` where git
    fails, `UsageError` where there is no git or no repository."""

    def __init__(self, path: Path, *, git: str = "git") -> None:
        self.path = path
        self._git = git

    # ── Commits ──────────────────────────────────────────────────────────────────────────────────

    def commit(self, name: str) -> str:
        """The full id of a commit or ref. Raises `UsageError` where the clone does not hold it."""
        found = self._try("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if found is None or not _SHA.fullmatch(found.strip()):
            raise UsageError(f"this clone does not hold the commit {name[:80]}", hint=DEEPER)
        return found.strip()

    def holds(self, name: str) -> bool:
        """Whether the clone holds a commit or ref of that name."""
        return self._try("cat-file", "-e", f"{name}^{{commit}}") is not None if name else False

    def parents(self, commit: str) -> tuple[str, ...]:
        """The parents of a commit."""
        return tuple(self._run("rev-list", "--parents", "-n", "1", self.commit(commit)).split()[1:])

    def merge_base(self, one: str, other: str) -> str:
        """Where two refs parted. Raises `UsageError` where the clone is too shallow to tell."""
        found = self._try("merge-base", self.commit(one), self.commit(other))
        if found is None:
            what = "a shallow clone" if self.shallow else "this clone"
            raise UsageError(f"{what} does not hold where {one[:12]} and {other[:12]} parted", hint=DEEPER)
        return found.strip()

    def newest(self, base: str, head: str, most: int) -> tuple[str, ...]:
        """The newest commits that `head` has and `base` has not, at most so many, each before its parents."""
        wanted = (self.commit(head), f"^{self.commit(base)}")
        return tuple(self._run("rev-list", "--topo-order", f"--max-count={most}", *wanted).split())

    @property
    def shallow(self) -> bool:
        """Whether history was left out when this was cloned."""
        return self._run("rev-parse", "--is-shallow-repository").strip() == "true"

    def remote(self, name: str = "origin") -> str:
        """OWNER/NAME of a remote, "" where there is none or it has no such form."""
        url = (self._try("config", "--get", f"remote.{name}.url") or "").strip()
        match = re.search(_REMOTE.pattern + "$", url)
        return match[1] if match else ""

    # ── Files ────────────────────────────────────────────────────────────────────────────────────

    def files(self, commit: str) -> tuple[TreeFile, ...]:
        """Every tracked file of a commit, links and submodules too."""
        listed = self._bytes("ls-tree", "-r", "-z", "--full-tree", self.commit(commit))
        found = []
        for entry in filter(None, listed.split(b"\0")):
            head, _, name = entry.partition(b"\t")
            mode, _, object_id = head.decode("ascii").split(" ")
            found.append(TreeFile(os.fsdecode(name), mode, object_id))
        return tuple(found)

    def changed(self, old: str, new: str) -> tuple[FileChange, ...]:
        """The files that differ between two commits; a file that was moved is one change."""
        arguments = ("diff-tree", "-r", "-z", "-M", "--raw", "--no-ext-diff", "--ignore-submodules=none")
        words = self._bytes(*arguments, self.commit(old), self.commit(new)).split(b"\0")
        changes: list[FileChange] = []
        at = 0
        while at < len(words) and words[at]:
            status = words[at].decode("ascii").rsplit(" ", 1)[1][0]
            first = os.fsdecode(words[at + 1])
            if status in "RC":
                changes.append(FileChange("R", os.fsdecode(words[at + 2]), first))
                at += 3
            else:
                changes.append(FileChange(status, first))
                at += 2
        return tuple(changes)

    def read(self, object_id: str) -> bytes:
        """The content of a git object."""
        return self._bytes("cat-file", "blob", object_id)

    def links(self, files: Iterable[TreeFile]) -> dict[str, str]:
        """The symbolic links among `files` that stay in the repository, and what they lead to."""
        found = {}
        for file in files:
            if file.mode == LINK:
                target = os.fsdecode(self.read(file.object_id))
                leads = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), target))
                if not target.startswith("/") and leads != ".." and not leads.startswith("../"):
                    found[file.path] = leads
        return found

    def extract(self, files: Sequence[TreeFile], folder: Path) -> tuple[str, ...]:
        """Write files into a new, empty folder; the names of those left out come back.

        Left out are submodules, links that lead out of the folder, and names that would. Content of Git LFS
        is taken from the clone's own objects where they are there. Raises `StoreError`.
        """
        left_out = [file.path for file in files if file.mode == MODULE or not _plain(file.path)]
        blobs = [file for file in files if file.mode != MODULE and _plain(file.path)]
        lfs = self._lfs_folder()
        with disk_errors(f"write the base ref's files to {folder}"), self._batch() as batch:
            for file in sorted(
                blobs, key=lambda each: each.mode == LINK
            ):  # links last: none is written through
                path = folder / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                if file.mode == LINK:
                    os.symlink(os.fsdecode(b"".join(batch.content(file.object_id))), path)
                else:
                    _write(path, batch, file, lfs)
            left_out += _unlink_escaping(folder, [file.path for file in blobs if file.mode == LINK])
        return tuple(left_out)

    def _lfs_folder(self) -> Path:
        common = self._run("rev-parse", "--git-common-dir").strip()
        return (self.path / common / "lfs" / "objects").absolute()

    # ── The child process ────────────────────────────────────────────────────────────────────────

    def _batch(self) -> _Batch:
        return _Batch(self._start("cat-file", "--batch"))

    def _command(self, *arguments: str) -> list[str]:
        return [self._git, *SAFE, "-C", str(self.path), *arguments]

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command(*arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
        )

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                self._command(*arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=_environment(),
                check=False,
            )
        except FileNotFoundError as error:
            raise UsageError(
                "git is not installed", hint="`ftgate ci` reads the repository with git"
            ) from error

    def _bytes(self, *arguments: str) -> bytes:
        done = self._call(*arguments)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[:1]
            if said and "not a git repository" in said[0]:
                raise UsageError(f"{self.path} is not a git repository", hint="run it in the checkout")
            raise InfrastructureError(f"git {arguments[0]} failed: {''.join(said)}")
        return done.stdout

    def _run(self, *arguments: str) -> str:
        return os.fsdecode(self._bytes(*arguments))

    def _try(self, *arguments: str) -> str | None:
        done = self._call(*arguments)
        if b"not a git repository" in done.stderr:
            raise UsageError(f"{self.path} is not a git repository", hint="run it in the checkout")
        return None if done.returncode else os.fsdecode(done.stdout)


class _Batch:
    """`git cat-file --batch`: many objects from one child."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def __enter__(self) -> _Batch:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def content(self, object_id: str) -> Iterable[bytes]:
        """An object's content in pieces, which must all be taken."""
        source, asked = self._process.stdout, self._process.stdin
        assert source is not None
        assert asked is not None
        asked.write(f"{object_id}\n".encode("ascii"))
        asked.flush()
        head = source.readline().split()
        if len(head) != 3:
            raise InfrastructureError(f"git has lost the object {object_id}", hint=DEEPER)
        left = int(head[2])
        while left:
            piece = source.read(min(left, CHUNK))
            if not piece:
                raise InfrastructureError(f"git broke off while it read {object_id}")
            left -= len(piece)
            yield piece
        source.read(1)


def _write(path: Path, batch: _Batch, file: TreeFile, lfs: Path) -> None:
    """Write a file, or what its Git LFS pointer stands for."""
    with path.open("xb") as out:
        for piece in batch.content(file.object_id):
            out.write(piece)
    if path.stat().st_size < 1024 and (match := _POINTER.match(path.read_bytes())):
        name = match[1].decode("ascii")
        source = lfs / name[:2] / name[2:4] / name
        if source.is_file() and not source.is_symlink():
            with source.open("rb") as stored, path.open("wb") as out:
                _copy_checked(stored, out, name)
    path.chmod(0o755 if file.mode == "100755" else 0o644)


def _copy_checked(stored: IO[bytes], out: IO[bytes], digest: str) -> None:
    hasher = hashlib.sha256()
    while piece := stored.read(CHUNK):
        hasher.update(piece)
        out.write(piece)
    if hasher.hexdigest() != digest:
        raise InfrastructureError(f"the Git LFS object {digest} is damaged", hint="check out afresh")


def _unlink_escaping(folder: Path, links: Sequence[str]) -> list[str]:
    """Remove the links that lead out of `folder`, by any way; their names."""
    root, gone = os.path.realpath(folder), []
    for name in links:
        path = folder / name
        real = os.path.realpath(path)
        if real != root and not real.startswith(f"{root}{os.sep}"):
            path.unlink(missing_ok=True)
            gone.append(name)
    return gone


def _plain(path: str) -> bool:
    """Whether a tracked name is an ordinary relative path; git itself would refuse the others."""
    parts = path.split("/")
    return all(part not in ("", ".", "..") and part.lower() != ".git" for part in parts)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": os.devnull, **ENVIRONMENT}
