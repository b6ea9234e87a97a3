"""What a training job hands to a judge job: weights as data, and what it says of itself.

    HANDOVER/NNN/model/          one model's or adapter's own files, copies
    HANDOVER/NNN/handover.json   which config and head it is meant for; what training took, as it says

The reader trusts nothing in there. Every entry is looked at without following links, must bear a name that
is known and be a plain file, and is copied, within limits, into a fresh folder; only then is anything read.
An archive is never opened: the CI service unpacks its own artifacts.

Nothing here is evidence. That the weights came of the config that is named cannot be proven from them; a
verdict is about the weights, names their digest, and `ftgate verify` ships no others.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from gate.ci.inert import check_inert
from gate.errors import InfrastructureError, ModelError
from gate.models import model_files
from gate.records import TunedModel
from gate.sealed import Damaged, disk_errors, from_json, write_whole

VERSION = 1
MODEL, NOTE = "model", "handover.json"
REPORTED = "reported by the training job, not evidence"
_PLACE = re.compile(r"[0-9]{3}")
_WEIGHTS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}\.safetensors")
_LARGE = re.compile(r"tokenizer\.json|vocab\.json|tokenizer\.model|spiece\.model|sentencepiece\.bpe\.model"
                    r"|tekken\.json|vocab\.txt|merges\.txt|[A-Za-z0-9_-]{1,40}\.tiktoken"
                    r"|model\.safetensors\.index\.json")  # fmt: skip
_SMALL = re.compile(r"(config|generation_config|adapter_config|added_tokens|special_tokens_map"
                    r"|tokenizer_config|chat_template)\.json|chat_template\.jinja"
                    r"|additional_chat_templates/[A-Za-z0-9_-]{1,60}\.jinja")  # fmt: skip
_FOLDERS = ("additional_chat_templates",)
_PIECE = 1 << 22
_HINT = "hand over what `ftgate ci --mode train` wrote, unpacked"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader takes: models, files of each, bytes of all, of a tokenizer's file, of any other text."""

    models: int = 64
    files: int = 512
    total_bytes: int = 400 * 10**9
    large_bytes: int = 256 * 10**6
    small_bytes: int = 8 * 10**6


@dataclass(frozen=True, slots=True)
class Handed:
    """One model taken over. All but `model` is what the training job says, and is no evidence."""

    config: str  # path of the config, relative to the repository
    head: str  # commit
    model: Path  # our own copy
    seconds: float | None = None  # of the training
    steps: int | None = None

    @property
    def training(self) -> str:
        """What the training took, marked as hearsay; "" where nothing was said."""
        if self.seconds is None or self.steps is None:
            return ""
        return f"{self.steps:,} steps in {self.seconds:,.0f} s ({REPORTED})"


@dataclass(frozen=True, slots=True)
class _Note:
    version: int
    config: str
    head: str
    seconds: float | None = None
    steps: int | None = None


class Refused(ModelError):
    """A handover that is not taken: what it holds is not what a training job writes."""


# ── The training job's side ──────────────────────────────────────────────────────────────────────


def write_handover(folder: Path, config: str, head: str, tuned: TunedModel) -> Path:
    """Copy a trained model's own files for the judge; returns the new `folder`/NNN.

    Raises `ModelError` where the judge would refuse the model, `StoreError` where the disk does.
    """
    with disk_errors(f"write the handover {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{sum(1 for _ in folder.iterdir()):03d}"
        source = Path(tuned.model.path)
        try:
            for name in model_files(source):
                target = place / MODEL / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, target)
            check_inert(place / MODEL)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)  # half a handover would be refused as a whole
            raise
    cost = tuned.training
    note = _Note(VERSION, config, head, cost.seconds if cost else None, cost.steps if cost else None)
    write_whole(place / NOTE, msgspec.json.encode(asdict(note)))
    return place


# ── The judge's side ─────────────────────────────────────────────────────────────────────────────


def read_handover(source: Path, into: Path, *, head: str, limits: Limits = Limits()) -> tuple[Handed, ...]:
    """Copy what `source` holds into the new folder `into`, then check that it is models and nothing else.

    `head` is the commit that is judged: a handover for another one is refused. Raises `Refused` (a
    `ModelError`), also for a model that is no plain data, and `StoreError` where the disk is full.
    """
    if source.is_file() or source.is_symlink():
        raise Refused(f"{source} is a file or a link, not a folder; archives are not opened", hint=_HINT)
    if not source.is_dir():
        raise InfrastructureError(f"there is no handover at {source}", hint="did the training job end well?")
    with disk_errors(f"copy the handover to {into}"):
        into.mkdir(parents=True, mode=0o700)
    try:
        found = tuple(_take_all(source, into, head, limits))
        if len({each.config for each in found}) != len(found):
            raise Refused("the handover holds two models for one config", hint=_HINT)
    except BaseException:
        shutil.rmtree(into)
        raise
    return found


def _take_all(source: Path, into: Path, head: str, limits: Limits) -> Iterator[Handed]:
    left = limits.total_bytes
    with closing(_Folder.open(source)) as top:
        for name in top.names(limits.models):
            if _PLACE.fullmatch(name) is None:
                raise Refused(
                    f"the handover holds {_shown(name)}, expected folders 000, 001, ...", hint=_HINT
                )
            with closing(top.enter(name)) as place:
                left -= _copy_place(place, into / name, limits, left)
            yield _read_place(into / name, head)


def _copy_place(place: _Folder, target: Path, limits: Limits, left: int) -> int:
    """Copy one handed-over model within the limits; returns its bytes."""
    names = set(place.names(2))
    if names != {MODEL, NOTE}:
        raise Refused(f"{place.path} holds {_shown(*sorted(names))}, expected {MODEL} and {NOTE}", hint=_HINT)
    with closing(place.enter(MODEL)) as model:
        items = list(_model_items(model, limits))
        total = sum(size for _, size in items)
        if total > left:
            raise Refused(f"the handover has more than {limits.total_bytes:,} bytes", hint=_HINT)
        with disk_errors(f"copy {total:,} bytes of a handed-over model to {target}"):
            target.mkdir(mode=0o700)
            if total > shutil.disk_usage(target).free:
                raise InfrastructureError(f"there is no room for {total:,} bytes at {target}")
            place.copy(NOTE, limits.small_bytes, target)
            for name, size in items:
                model.copy(name, size, target / MODEL)
    return total


def _model_items(model: _Folder, limits: Limits) -> Iterator[tuple[str, int]]:
    seen: set[str] = set()
    for name in model.names(limits.files):
        inside = [name]
        if name in _FOLDERS:
            with closing(model.enter(name)) as folder:
                inside = [f"{name}/{each}" for each in folder.names(limits.files)]
        for path in inside:
            if path.casefold() in seen or len(seen) >= limits.files:
                raise Refused(f"{model.path} holds too many files, or two of one name", hint=_HINT)
            seen.add(path.casefold())
            yield path, model.size(path, _limit_of(path, limits))


def _limit_of(name: str, limits: Limits) -> int:
    """How many bytes a model's file of this name may have. Raises `Refused` for a name that no model has."""
    if _WEIGHTS.fullmatch(name):
        return limits.total_bytes
    if _LARGE.fullmatch(name):
        return limits.large_bytes
    if _SMALL.fullmatch(name):
        return limits.small_bytes
    raise Refused(
        f"the handover holds {_shown(name)}, which is no file of a model in safetensors", hint=_HINT
    )


def _read_place(folder: Path, head: str) -> Handed:
    try:
        note = from_json((folder / NOTE).read_bytes(), _Note)
    except Damaged as damage:
        raise Refused(f"{NOTE} in {folder.name} cannot be read: {damage}", hint=_HINT) from damage
    sane = all(number is None or 0 <= number < 2**53 for number in (note.seconds, note.steps))
    named = 0 < len(note.config) <= 4096 and note.config.isprintable()
    if note.version != VERSION or not sane or not named:
        raise Refused(f"{NOTE} in {folder.name} is not what a training job writes", hint=_HINT)
    if note.head != head:
        raise Refused(f"the handover is for another commit than {head}", hint="run the training job again")
    check_inert(folder / MODEL)
    return Handed(note.config, note.head, folder / MODEL, note.seconds, note.steps)


@dataclass(frozen=True, slots=True)
class _Folder:
    """An open folder of a handover. Everything in it is reached through its descriptor, links never."""

    descriptor: int
    path: str  # for messages

    @classmethod
    def open(cls, path: Path, within: _Folder | None = None) -> _Folder:
        """Open a folder that is no link. Raises `Refused` for anything else."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, dir_fd=within.descriptor if within else None)
        except OSError as error:
            raise Refused(f"{_shown(str(path))} is not a folder: {error.strerror}", hint=_HINT) from error
        return cls(descriptor, f"{within.path}/{path}" if within else str(path))

    def enter(self, name: str) -> _Folder:
        """Open a folder in this one."""
        return _Folder.open(Path(name), self)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)

    def names(self, most: int) -> list[str]:
        """The sorted names in it; raises `Refused` when there are more than `most`, unread."""
        names: list[str] = []
        with os.scandir(self.descriptor) as entries:
            for entry in entries:
                if len(names) == most:
                    raise Refused(f"{self.path} holds more than {most} entries", hint=_HINT)
                names.append(entry.name)
        return sorted(names)

    def size(self, name: str, most: int) -> int:
        """A plain file's bytes, as its folder says. Raises `Refused` for anything else, or too large."""
        folder, _, inside = name.rpartition("/")
        if folder:
            with closing(self.enter(folder)) as inner:
                return inner.size(inside, most)
        try:
            found = os.lstat(name, dir_fd=self.descriptor)
        except OSError as error:
            raise Refused(f"{self.path}/{name} vanished: {error.strerror}", hint=_HINT) from error
        if not _plain(found):
            raise Refused(f"{self.path}/{name} is not a plain file", hint=_HINT)
        if found.st_size > most:
            raise Refused(f"{self.path}/{name} has {found.st_size:,} bytes, at most {most:,} are taken")
        return found.st_size

    def copy(self, name: str, most: int, target: Path) -> None:
        """Copy a plain file into a folder of ours. Raises `Refused` past `most` bytes."""
        folder, _, inside = name.rpartition("/")
        if folder:
            with closing(self.enter(folder)) as inner:
                return inner.copy(inside, most, target / folder)
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=self.descriptor), "rb") as source:
            if not _plain(os.fstat(source.fileno())):
                raise Refused(f"{self.path}/{name} is not a plain file", hint=_HINT)
            with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                left = most
                while piece := source.read(min(_PIECE, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        raise Refused(f"{self.path}/{name} is larger than is taken", hint=_HINT)
                    out.write(piece)


def _plain(found: os.stat_result) -> bool:
    """A regular file of one name: a second name could be a file of the judge's own."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _shown(*names: str) -> str:
    """Hostile names for a message: printable ASCII, short."""
    return ", ".join(ascii(name)[:80] for name in names) or "nothing"
