"""The content-addressed store: block results, trainings, models, and the salt. The only writer of results.

    ROOT/v1/salt                          32 random bytes, secret, and their digest
    ROOT/v1/orders/KEY.json               the inputs with which some weights were first ordered
    ROOT/v1/blocks/AA/KEY.parquet         one model's answers to one block
    ROOT/v1/trainings/KEY.json            a training's TunedModel
    ROOT/v1/models/DIGEST/, DIGEST.json   a model's files; the manifest, written last, says that it is whole
    ROOT/v1/kept/DIGEST                   a mark: this model is not to be collected
    ROOT/v1/damaged/                      what was not as it had been written
    ROOT/v1/tasks/                        lm-eval's list of tasks and their files, kept by the checks
    ROOT/v1/pulls/N/                      the same (no salt) for pull request N and its merge queue
    ROOT/v1/judged/N/                     the same for what a judge job measured for pull request N

Content never changes under its name, so there are no locks: two writers of one key are both right, and
a reader sees a whole file or none. What does not match its digest is moved aside, said loudly, and is
absent from then on; it is never returned.

A digest says that a file is as it was written, not that its writer was honest. So who wrote decides who
reads. Refs that were merged read and write the root alone. A pull request's run writes to its own place
and reads no other's. The base model's answers it takes from the root first: what a pull request wrote
there is used only where no merged ref has measured, and by that pull request alone. The tuned model's
answers, trainings and models it takes from its own place, then from the root.

Is a base block in `pulls/N`, found again by a later push to N, a hole? Code of an earlier push, trained
and judged in one job, can have forged it; but it can have forged the tuned model's block, the training's
record and the root as well, and each alone is enough for a pass. To read only the base from elsewhere
would close nothing: that form is for authors who are trusted over all pushes of a pull request. A judge
job must therefore find nothing that was measured beside a pull request's code, of neither model. It has a
place of its own, `judged/N`, never looks into `pulls/N`, and what it reads there only judge jobs wrote.
That holds as long as no training job can write to the judge's disk: no shared disk, and no cache of
the CI service, which every job of the pull request can write to.

The places can be enforced by mounts: for pull requests, ROOT read-only and only their own folder writable.
A place that was not used for 30 days is removed, with all that was kept in it: `gate/places.py`.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from gate.errors import StoreError
from gate.keys import dataset_digest, training_key
from gate.places import PLACES, PULL, collect_unused, use
from gate.records import BlockResult, TunedModel
from gate.sealed import Damaged, NewerSchema, open_record, seal_record, write_whole
from gate.selftests import SelfTests
from gate.vault import SCHEMA, Vault, digest_to_name, name_to_digest, say_damaged
from gate.withheld import Salt

__all__ = ["Store", "dataset_digest", "digest_to_name", "name_to_digest", "store_root", "training_key"]

SALT_BYTES = 32
Side = Literal["base", "tuned"]


def store_root(environ: Mapping[str, str]) -> Path:
    """Where the store lies: FTGATE_CACHE, else XDG_CACHE_HOME/ftgate, else ~/.cache/ftgate."""
    if environ.get("FTGATE_CACHE"):
        return Path(environ["FTGATE_CACHE"]).expanduser().absolute()
    shared = environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # the XDG specification says to ignore a relative one
        return Path(shared) / "ftgate"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return home / ".cache" / "ftgate"


def _place(pull: int | str, judged: bool) -> str:
    if not pull:
        return ""
    if PULL.fullmatch(str(pull)) is None:
        raise ValueError(f"neither a pull request's number nor a commit: {pull!r}")
    return f"{PLACES[judged]}/{pull}"


@dataclass(frozen=True, slots=True)
class _Training:
    key: str
    tuned: TunedModel


@dataclass(frozen=True, slots=True)
class _Order:
    key: str
    inputs: str


class Store(Vault):
    """A store under `root`; `warn` is told of all that was found damaged.

    `pull` is the number of the pull request for which this is an untrusted run, or its head commit where
    no number is known; 0 for a merged ref. `judged` is for a judge job's own place. `salt` takes the place of
    the store's own.
    """

    def __init__(
        self,
        root: Path,
        *,
        pull: int | str = 0,
        judged: bool = False,
        warn: Callable[[str], None] = say_damaged,
        salt: Salt | None = None,
    ) -> None:
        super().__init__(root, place=_place(pull, judged), warn=warn)
        self._trusted = Store(root, warn=warn)._reading() if pull else None
        self._given = salt

    @classmethod
    def holding(
        cls, root: Path, model: Path, *, warn: Callable[[str], None] = say_damaged, salt: Salt | None = None
    ) -> Store:
        """The store under `root`, opened in the place that a model of a run lies in."""
        try:
            kind, name, *_ = model.relative_to(root / "v1").parts
            pull = name if kind in PLACES else 0
            return cls(root, pull=pull, judged=kind == PLACES[1], warn=warn, salt=salt)
        except ValueError:  # it lies elsewhere
            return cls(root, warn=warn, salt=salt)

    def _reading(self) -> Store:
        """This store for those who may not write to it: what is damaged is left where it lies."""
        self._may_write = False
        return self

    @property
    def trusted_root(self) -> Path:
        """The folder that merged refs alone write to."""
        return (self._trusted or self).root

    def use(self) -> None:
        """Note that a pull request's place is in use, for as long as this store is."""
        held = use(self.root) if self._trusted is not None else None
        if held is not None:
            weakref.finalize(self, os.close, held)

    def keep(self, digest: str) -> None:
        """Mark a stored model as not to be collected; that is a use of its place. Raises `StoreError`."""
        self.use()  # first, so that the mark is not set in a place that is being removed
        super().keep(digest)

    def collect_unused(self, *, now: Callable[[], float] = time.time) -> tuple[str, ...]:
        """Remove the places of pull requests that nobody used for long, each in words; see `gate.places`.

        Only for merged refs and for people: a pull request's run writes to its own place alone.
        """
        return collect_unused(self.trusted_root, self._warn, now=now)

    def require_writable(self) -> None:
        """Raise `StoreError` unless files can be made here: asked before hours of training, not after."""
        super().require_writable()
        _ = self.found_salt

    @property
    def salt(self) -> bytes:
        """The secret that decides which documents share a block, and their order; see `found_salt`."""
        return self.found_salt.reveal()

    @cached_property
    def found_salt(self) -> Salt:
        """The salt that was given; else the store's own: made at first use, the same ever after.

        It lies at the root for pull requests too. Raises `StoreError` where there is none and none can be
        written.
        """
        if self._given is not None:
            return self._given
        if self._trusted is not None:
            return Store(self._trusted.root.parent, warn=self._warn).found_salt
        path, made = self.root / "salt", False
        for _ in range(3):
            content = self._read(path)
            if content is None:
                salt, made = secrets.token_bytes(SALT_BYTES), True
                write_whole(path, salt + hashlib.sha256(salt).digest(), mode=0o600, once=True)
            elif hashlib.sha256(content[:SALT_BYTES]).digest() == content[SALT_BYTES:]:
                return Salt(content[:SALT_BYTES], made=made)
            else:
                self._set_aside(path, "it is not the salt that was written; results will be scored again")
        raise StoreError(f"cannot make {path}", hint="remove the file, or set FTGATE_CACHE to another folder")

    def first_order(self, base: str, weights: str, inputs: str) -> str:
        """The inputs with which these weights were first ordered against this base (digests); from now on
        `inputs`, where there were none. A merged ref's word goes first. Raises `StoreError`."""
        key = hashlib.sha256(f"{base} {weights}".encode()).hexdigest()
        for layer in (self._trusted, self):
            found = layer and layer._own_order(key)
            if found:
                return found
        write_whole(self._order_path(key), seal_record(_Order(key, inputs), SCHEMA), once=True)
        return self._own_order(key) or inputs

    def _order_path(self, key: str) -> Path:
        return self.root / "orders" / f"{key}.json"

    def _own_order(self, key: str) -> str:
        content = self._read(self._order_path(key))
        if content is None:
            return ""
        try:
            stored = open_record(content, _Order, SCHEMA)
            if stored.key != key:
                raise Damaged("it is the order of other weights")
        except NewerSchema:
            return ""
        except Damaged as damage:
            self._set_aside(self._order_path(key), str(damage))
            return ""
        return stored.inputs

    # ── Blocks ───────────────────────────────────────────────────────────────────────────────────

    def block_path(self, key: str) -> Path:
        """Where the block of this key lies, there or not."""
        name = digest_to_name(key)
        return self.root / "blocks" / name[-64:][:2] / f"{name}.parquet"

    def get_block(self, key: str, side: Side) -> BlockResult | None:
        """The block's result as it was put, or None. Raises `StoreError` where the disk refuses.

        `side` says whose answers they are: those of the base model are looked for at the root first.
        """
        layers = (self._trusted, self) if side == "base" else (self, self._trusted)
        found = (layer._own_block(key) for layer in layers if layer is not None)
        return next((block for block in found if block is not None), None)

    def _own_block(self, key: str) -> BlockResult | None:
        from gate.tables import block_from_bytes

        path = self.block_path(key)
        content = self._read(path)
        if content is None:
            return None
        try:
            return block_from_bytes(key, content)
        except Damaged as damage:
            self._set_aside(path, str(damage))
            return None

    def put_block(self, key: str, result: BlockResult) -> None:
        """Store a block's result. One with a number that is not finite is not kept: measuring it again
        may mend it, reusing it never would. Raises `StoreError`."""
        from gate.tables import block_to_bytes

        if all(math.isfinite(value) for values in result.values.values() for value in values):
            write_whole(self.block_path(key), block_to_bytes(key, result))

    @property
    def self_tests(self) -> SelfTests:
        """What the scorers' self-tests said; as of blocks, a merged ref's word goes first."""
        layers = (self._trusted, self) if self._trusted is not None else (self,)
        return SelfTests(*(layer.root / "self-tests" for layer in layers))

    # ── Trainings ────────────────────────────────────────────────────────────────────────────────

    def training_path(self, key: str) -> Path:
        """Where the record of this training lies, there or not."""
        return self.root / "trainings" / f"{digest_to_name(key)}.json"

    def get_training(self, key: str) -> TunedModel | None:
        """The tuned model of an earlier training, or None unless its files are all as they were."""
        found = self._own_training(key)
        if found is None and self._trusted is not None:
            return self._trusted._own_training(key)
        return found

    def _own_training(self, key: str) -> TunedModel | None:
        path = self.training_path(key)
        content = self._read(path)
        if content is None:
            return None
        try:
            stored = open_record(content, _Training, SCHEMA)
            if stored.key != key:
                raise Damaged("it is the record of another training")
        except NewerSchema:
            return None
        except Damaged as damage:
            self._set_aside(path, str(damage))
            return None
        tuned = stored.tuned
        if not self.has_model(tuned.model.digest):
            return None
        model = replace(tuned.model, path=str(self.model_path(tuned.model.digest)))
        return TunedModel(model, replace(tuned.training, from_store=True) if tuned.training else None)

    def put_training(self, key: str, tuned: TunedModel) -> None:
        """Store the record of a training whose model was put before. Raises `StoreError`."""
        write_whole(self.training_path(key), seal_record(_Training(key, tuned), SCHEMA))
