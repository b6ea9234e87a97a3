"""Files that are whole or absent, and that say themselves whether they are as they were written.

A file is written under a name of its own beside its place, synced, then renamed onto it: a reader
sees the old file, the new one or none. A sealed file carries the SHA-256 of its own bytes, taken
with zeros where the digest stands; the seal is the last thing in the file that could look like one,
so nothing stored in it can pose as the seal.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from gate.errors import StoreError

T = TypeVar("T")

_MARK = b"sha256:"
_ZEROS = b"0" * 64
BLANK_SEAL = (_MARK + _ZEROS).decode()

_HINTS = {
    errno.ENOSPC: "free some space, or set FTGATE_CACHE and --run-dir to a disk that has some",
    errno.EDQUOT: "your quota is used up: free some space, or set FTGATE_CACHE to another disk",
    errno.EFBIG: "the file size limit (ulimit -f) or the file system's is too low for it",
    errno.EROFS: "the file system is read-only: set FTGATE_CACHE or --run-dir to another",
    errno.EACCES: "you may not write or read there: mend its permissions, or set FTGATE_CACHE or --run-dir",
    errno.EPERM: "you may not write or read there: mend its permissions, or set FTGATE_CACHE or --run-dir",
    errno.EEXIST: "a file stands where a folder should be: move it, or name another place",
    errno.ENOTDIR: "a file stands where a folder should be: move it, or name another place",
    errno.EIO: "the disk reports an error: look at its health, or name another place",
}


class Damaged(Exception):
    """A file's content is not what was written, or not what was asked for; never shown to a user."""


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn every `OSError` inside into a `StoreError` that says what could not be done and what helps."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        hint = _HINTS.get(error.errno or 0, "look at the disk and its permissions, then try again")
        raise StoreError(f"cannot {doing}: {reason}", hint=hint) from error


def temporary_name(path: Path) -> Path:
    """A name in the same folder that no other process or thread uses."""
    return path.with_name(f".{uuid.uuid4().hex}-{os.getpid()}-{threading.get_ident()}.tmp")


def write_whole(path: Path, content: bytes, *, mode: int = 0o666, once: bool = False) -> None:
    """Write `content` to `path` so that the file is never seen in part; `mode` is before the umask.

    `once` leaves a file that is there already as it is, also when another process has just made it.
    Raises `StoreError` where the disk refuses; nothing is left behind then.
    """
    with disk_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if once:
                with suppress(FileExistsError):
                    os.link(temporary, path)
            else:
                os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def digest_of(content: bytes) -> str:
    """`sha256:` and the hex digest of some bytes."""
    return _MARK.decode() + hashlib.sha256(content).hexdigest()


def seal(content: bytes) -> bytes:
    """Put the digest of `content` where its last `BLANK_SEAL` stands."""
    at = content.rindex(BLANK_SEAL.encode()) + len(_MARK)
    digest = hashlib.sha256(content).hexdigest().encode()
    return content[:at] + digest + content[at + len(_ZEROS) :]


def check_seal(content: bytes) -> None:
    """Raise `Damaged` unless `content` is as `seal` returned it."""
    at = content.rfind(_MARK)
    if at < 0:
        raise Damaged("it carries no digest; it was cut short or is of another program")
    start, end = at + len(_MARK), at + len(BLANK_SEAL)
    hasher = hashlib.sha256(content[:start])
    hasher.update(_ZEROS)
    hasher.update(memoryview(content)[end:])
    if content[start:end] != hasher.hexdigest().encode():
        raise Damaged("its bytes are not those that were written")


@dataclass(frozen=True, slots=True)
class _Envelope(Generic[T]):
    """A record on disk. `sha256` stays last, see the module's words on the seal."""

    schema: int
    record: T
    sha256: str


@dataclass(frozen=True, slots=True)
class _Head:
    schema: int


def to_json(record: object) -> bytes:
    """A record (frozen dataclasses of plain values) as JSON text, indented for a person.

    Raises `StoreError` for a number that is not finite: JSON has none, and a NaN that comes back
    as null, or as nothing, would be a measurement lost without a word.
    """
    plain = msgspec.to_builtins(record)
    where = _not_finite(plain, "")
    if where:
        raise StoreError(f"{type(record).__name__}{where} is not a finite number and cannot be stored")
    return msgspec.json.format(msgspec.json.encode(plain), indent=2)


def from_json(content: bytes, type_: type[T]) -> T:
    """A record back from `to_json`'s text. Raises `Damaged` where it is not one of `type_`."""
    try:
        return msgspec.json.decode(content, type=type_)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:  # a ValidationError is a DecodeError
        raise Damaged(f"it is not a {getattr(type_, '__name__', 'record')}: {error}") from error


def seal_record(record: object, schema: int) -> bytes:
    """A record as a sealed JSON file."""
    return seal(to_json(_Envelope(schema, record, BLANK_SEAL)) + b"\n")


def open_record(content: bytes, type_: type[T], schema: int) -> T:
    """A record back from `seal_record`.

    Raises `Damaged`, or `NewerSchema` where a later ftgate wrote it.
    """
    check_seal(content)
    found = from_json(content, _Head).schema
    if found > schema:
        raise NewerSchema(found)
    envelope: _Envelope[T] = from_json(content, _Envelope[type_])  # type: ignore[valid-type]
    return envelope.record


class NewerSchema(Exception):
    """A later ftgate wrote this file; `schema` is the number it gives."""

    def __init__(self, schema: int) -> None:
        super().__init__(schema)
        self.schema = schema


def _not_finite(value: object, where: str) -> str:
    """The path (`.a[0]`) of the first number in `value` that is NaN or infinite, else ""."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else where or " "
    if isinstance(value, Mapping):
        found = (_not_finite(item, f"{where}.{key}") for key, item in value.items())
    elif isinstance(value, list | tuple):
        found = (_not_finite(item, f"{where}[{index}]") for index, item in enumerate(value))
    else:
        return ""
    return next(filter(None, found), "")
