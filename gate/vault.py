"""Models kept by their digest: whole or absent, and never removed while they are marked as kept."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gate.errors import ModelError, StoreError
from gate.models import digest_model, model_files
from gate.records import ModelRef
from gate.sealed import (
    Damaged,
    NewerSchema,
    disk_errors,
    open_record,
    seal_record,
    temporary_name,
    write_whole,
)

SCHEMA = 1
_NAME = re.compile(r"(?:([a-z0-9]+)-)?([0-9a-f]{64})")
_DIGEST = re.compile(r"(?:([a-z0-9]+):)?([0-9a-f]{64})")
_LEFTOVER_SECONDS = 24 * 3600  # a writer that has not finished by then is dead


def digest_to_name(digest: str) -> str:
    """`sha256:HEX` or `HEX` as a file name; raises ValueError for anything else."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError(f"not a digest: {digest!r}")
    return f"{match[1]}-{match[2]}" if match[1] else match[2]


def name_to_digest(name: str) -> str:
    """The digest of a file name; the inverse of `digest_to_name`. Raises ValueError."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"not the name of a digest: {name!r}")
    return f"{match[1]}:{match[2]}" if match[1] else match[2]


def say_damaged(message: str) -> None:
    """Warn on stderr: for stores that nobody gave another way to."""
    print(f"warning: {message}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _Manifest:
    digest: str
    files: Mapping[str, int]  # name -> bytes


class Vault:
    """Models under `root`, and the store's way with files; `warn` is told of all that was found damaged."""

    def __init__(self, root: Path, *, place: str = "", warn: Callable[[str], None] = say_damaged) -> None:
        self.root = root / "v1" / place
        self._warn = warn
        self._may_write = True

    def require_writable(self) -> None:
        """Raise `StoreError` unless files can be made here: asked before hours of training, not after."""
        with disk_errors(f"write to the store {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True)
            probe = temporary_name(self.root / "probe")
            probe.touch()
            probe.unlink()

    def model_path(self, digest: str) -> Path:
        """Where the model of this digest lies, there or not."""
        return self.root / "models" / digest_to_name(digest)

    def has_model(self, digest: str) -> bool:
        """Whether the store holds this model, every byte of it: its files are hashed."""
        folder, manifest = self.model_path(digest), self._manifest(digest)
        content = self._read(manifest)
        if content is None or not folder.is_dir():
            return False
        try:
            if open_record(content, _Manifest, SCHEMA).digest != digest:
                raise Damaged("its manifest is of another model")
            if not _holds(folder, digest):
                raise Damaged("its files are not those that were stored")
        except NewerSchema:
            return False
        except Damaged as damage:
            if not manifest.exists():  # let go and collected while it was hashed
                return False
            self._set_aside(folder, str(damage))
            if self._may_write:
                with suppress(OSError):  # read-only: it is found damaged again next time
                    manifest.unlink(missing_ok=True)
            return False
        return True

    def put_model(self, model: ModelRef, *, move: bool = False) -> ModelRef:
        """Keep an exact copy of a model's files, and say where it lies; it is kept until it is let go.

        `move` takes the files away from where they were, without copying where the file system
        allows. Raises `StoreError`, also where the files are not (any more) those of `model.digest`.
        """
        source, target = Path(model.path), self.model_path(model.digest)
        with self._marks():
            self._mark_path(model.digest).touch()
        if not self.has_model(model.digest):
            names = model_files(source)
            staging = temporary_name(target)
            with disk_errors(f"store the model {source} in {self.root}"):
                try:
                    sizes = {name.as_posix(): _take(source / name, staging / name, move) for name in names}
                    if not names or not _holds(staging, model.digest):
                        raise StoreError(f"{source} changed while it was stored", hint="run it again")
                    self._place(staging, target, model.digest)
                finally:
                    shutil.rmtree(staging, ignore_errors=True)
            write_whole(self._manifest(model.digest), seal_record(_Manifest(model.digest, sizes), SCHEMA))
            if move:
                with disk_errors(f"move the model {source}"):
                    for name in names:
                        (source / name).unlink(missing_ok=True)
        return replace(model, path=str(target))

    def _place(self, staging: Path, target: Path, digest: str) -> None:
        for _ in range(3):
            try:
                os.rename(staging, target)
                return
            except OSError:
                if not target.is_dir():
                    raise
            if _holds(target, digest):  # another process was faster
                return
            self._set_aside(target, "its files are not those that were stored")
        raise StoreError(f"cannot replace {target}", hint="remove that folder, then run it again")

    def _manifest(self, digest: str) -> Path:
        return self.root / "models" / f"{digest_to_name(digest)}.json"

    # ── Keeping and letting go ───────────────────────────────────────────────────────────────────

    def keep(self, digest: str) -> None:
        """Mark a stored model as not to be collected. Raises `StoreError` where it is not stored."""
        with self._marks():
            if not (self.model_path(digest).is_dir() and self._manifest(digest).is_file()):
                raise StoreError(f"the store holds no model {digest}", hint="run the check again to make it")
            self._mark_path(digest).touch()

    def release(self, digest: str) -> None:
        """Let a model go: the next `collect` removes it."""
        with self._marks():
            self._mark_path(digest).unlink(missing_ok=True)

    def kept(self) -> frozenset[str]:
        """Digests of the models that are kept."""
        folder = self.root / "kept"
        with disk_errors(f"read {folder}"):
            names = os.listdir(folder) if folder.is_dir() else []
        return frozenset(name_to_digest(name) for name in names if _NAME.fullmatch(name))

    def collect(self, *, now: Callable[[], float] = time.time) -> tuple[str, ...]:
        """Remove every model that is not kept, what dead writers left, and what was set aside.

        Returns the removed models' digests.
        """
        with disk_errors(f"clean up {self.root}"):
            models = self.root / "models"
            names = sorted(os.listdir(models)) if models.is_dir() else []
            digests = [name_to_digest(name) for name in names if _NAME.fullmatch(name)]
            removed = tuple(digest for digest in digests if self._remove(digest))
            shutil.rmtree(self.root / "damaged", ignore_errors=True)
            for leftover in self._leftovers():
                with suppress(FileNotFoundError):  # its writer has just finished
                    if now() - leftover.lstat().st_mtime > _LEFTOVER_SECONDS:
                        _delete(leftover)
        return removed

    def _leftovers(self) -> Iterator[Path]:
        """Everything under a temporary name; folders that vanish meanwhile are no error to `os.walk`."""
        for here, folders, files in os.walk(self.root):
            names = [name for name in (*folders, *files) if name.startswith(".") and name.endswith(".tmp")]
            folders[:] = [name for name in folders if name not in names]
            yield from (Path(here, name) for name in names)

    def _remove(self, digest: str) -> bool:
        """Remove a model unless it is marked; to others it is gone in one step."""
        folder = self.model_path(digest)
        away = temporary_name(folder)
        with self._marks():
            if self._mark_path(digest).exists() or not folder.is_dir():
                return False
            self._manifest(digest).unlink(missing_ok=True)
            os.rename(folder, away)
        shutil.rmtree(away)
        return True

    def _mark_path(self, digest: str) -> Path:
        return self.root / "kept" / digest_to_name(digest)

    @contextmanager
    def _marks(self) -> Iterator[None]:
        """The marks alone are changed in place, so they alone need a lock; it ends with its process."""
        import fcntl  # not on Windows, where the rest of this module can still be imported

        folder = self.root / "kept"
        with disk_errors(f"change the marks in {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / "lock", "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield

    # ── Files ────────────────────────────────────────────────────────────────────────────────────

    def _read(self, path: Path) -> bytes | None:
        with disk_errors(f"read {path}"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def _set_aside(self, path: Path, why: str) -> None:
        self._warn(f"{path} is damaged and is not used: {why}")
        if not self._may_write:
            return
        aside = self.root / "damaged" / f"{path.name}.{uuid.uuid4().hex}"
        with suppress(OSError):  # read-only, or another reader was faster: absent all the same
            aside.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, aside)


def _holds(folder: Path, digest: str) -> bool:
    try:
        return digest_model(folder) == digest
    except ModelError:
        return False


def _take(source: Path, target: Path, move: bool) -> int:
    """Copy a file, or link it where it will be moved; returns its size in bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    linked = False
    if move and not source.is_symlink():
        with suppress(OSError):  # another file system, or one without links
            os.link(source, target)
            linked = True
    if not linked:
        shutil.copyfile(source, target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
