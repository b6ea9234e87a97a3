"""The content-addressed store: block results, trainings, models, and the salt. The only writer of results.

    ROOT/v1/salt                          32 random bytes, secret, and their digest
    ROOT/v1/blocks/AA/KEY.parquet         one model's answers to one block
    ROOT/v1/trainings/KEY.json            a training's TunedModel
    ROOT/v1/models/DIGEST/, DIGEST.json   a model's files; the manifest, written last, says that it is whole
    ROOT/v1/kept/DIGEST                   a mark: this model is not to be collected
    ROOT/v1/damaged/                      what was not as it had been written

Content never changes under its name, so there are no locks: two writers of one key are both right, and
a reader sees a whole file or none. What does not match its digest is moved aside, said loudly, and is
absent from then on; it is never returned.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from gate.errors import StoreError
from gate.keys import dataset_digest, training_key
from gate.records import BlockResult, TunedModel
from gate.sealed import Damaged, NewerSchema, open_record, seal_record, write_whole
from gate.vault import SCHEMA, Vault, digest_to_name, name_to_digest

__all__ = ["Store", "dataset_digest", "digest_to_name", "name_to_digest", "store_root", "training_key"]

SALT_BYTES = 32


def store_root(environ: Mapping[str, str]) -> Path:
    """Where the store lies: FTGATE_CACHE, else XDG_CACHE_HOME/ftgate, else ~/.cache/ftgate."""
    if environ.get("FTGATE_CACHE"):
        return Path(environ["FTGATE_CACHE"]).expanduser().absolute()
    shared = environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # the XDG specification says to ignore a relative one
        return Path(shared) / "ftgate"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return home / ".cache" / "ftgate"


@dataclass(frozen=True, slots=True)
class _Training:
    key: str
    tuned: TunedModel


class Store(Vault):
    """A store under `root`; `warn` is told of all that was found damaged."""

    @cached_property
    def salt(self) -> bytes:
        """The secret that decides which documents share a block; made at first use, the same ever after.

        Raises `StoreError` where there is none and none can be written.
        """
        path = self.root / "salt"
        for _ in range(3):
            content = self._read(path)
            if content is None:
                salt = secrets.token_bytes(SALT_BYTES)
                write_whole(path, salt + hashlib.sha256(salt).digest(), mode=0o600, once=True)
            elif hashlib.sha256(content[:SALT_BYTES]).digest() == content[SALT_BYTES:]:
                return content[:SALT_BYTES]
            else:
                self._set_aside(path, "it is not the salt that was written; results will be scored again")
        raise StoreError(f"cannot make {path}", hint="remove the file, or set FTGATE_CACHE to another folder")

    # ── Blocks ───────────────────────────────────────────────────────────────────────────────────

    def block_path(self, key: str) -> Path:
        """Where the block of this key lies, there or not."""
        name = digest_to_name(key)
        return self.root / "blocks" / name[-64:][:2] / f"{name}.parquet"

    def get_block(self, key: str) -> BlockResult | None:
        """The block's result as it was put, or None. Raises `StoreError` where the disk refuses."""
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

    # ── Trainings ────────────────────────────────────────────────────────────────────────────────

    def training_path(self, key: str) -> Path:
        """Where the record of this training lies, there or not."""
        return self.root / "trainings" / f"{digest_to_name(key)}.json"

    def get_training(self, key: str) -> TunedModel | None:
        """The tuned model of an earlier training, or None unless its files are all as they were."""
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
