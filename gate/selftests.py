"""What the scorers' self-tests said, kept beside the blocks: a run that scores nothing loads no model."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from gate.sealed import Damaged, NewerSchema, disk_errors, open_record, seal_record, write_whole

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` is "" where the scorer was exact."""

    key: str
    reason: str


class SelfTests(MutableMapping[str, str]):
    """Reasons by key, a file each in the last of `folders`; an earlier folder's word goes first."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    def __getitem__(self, key: str) -> str:
        for folder in self._folders:
            try:
                found = open_record((folder / f"{key}.json").read_bytes(), Outcome, SCHEMA)
            except (OSError, Damaged, NewerSchema):
                continue
            if found.key == key:
                return found.reason
        raise KeyError(key)

    def __setitem__(self, key: str, reason: str) -> None:
        file = self._folders[-1] / f"{key}.json"
        with disk_errors(f"write {file}"):
            write_whole(file, seal_record(Outcome(key, reason), SCHEMA))

    def __delitem__(self, key: str) -> None:
        (self._folders[-1] / f"{key}.json").unlink()

    def __iter__(self) -> Iterator[str]:
        return (file.stem for folder in self._folders for file in folder.glob("*.json"))

    def __len__(self) -> int:
        return sum(1 for _ in self)
