"""What a training depends on, as one digest. One wrong reuse is a false pass, so in doubt a thing counts."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from gate.configs.recipes import recipe_of
from gate.errors import DataError
from gate.records import ModelRef, TrainingConfig

# Settings that say where output and logs go. What picks a checkpoint (save_*, eval_*) is not among
# them: with load_best_model_at_end it decides which weights are left.
_OUTPUT_ONLY = re.compile(
    r"output_dir|overwrite_output_dir|run_name|project|report_to|disable_tqdm|push_to_hub|hub_\w+"
    r"|logging_\w+|log_\w+|wandb_\w+|trackio_\w+"
)
# Fields of a TrainingConfig that are not part of the recipe: its file's name, bytes and line numbers.
# Settings and overrides are taken apart below; every other field, also one added later, counts.
_NOT_RECIPE = {"path", "digest", "lines", "settings", "overrides", "environment"}


def training_key(
    config: TrainingConfig,
    base: ModelRef,
    dataset_digests: Mapping[str, str],
    versions: Mapping[str, str],
    device: str,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Hex digest of everything that changes the weights that a training ends with.

    `environment` holds the values of the variables that the config reads or sets (their names are
    `config.environment`); they are hashed, never stored.
    """
    recipe = [each.name for each in fields(config) if each.name not in _NOT_RECIPE]
    overrides = {each.key: each.now for each in config.overrides}
    parts = {
        "recipe": {name: getattr(config, name) for name in recipe},
        "settings": _without_output(config.settings),
        "overrides": _without_output(overrides),
        "base": (base.digest, base.kind),
        "datasets": dataset_digests,
        "versions": versions,
        "device": device,
        "environment": {name: (environment or {}).get(name) for name in config.environment},
    }
    return hashlib.sha256(repr(_typed(parts)).encode()).hexdigest()


def recipe_digest(config: TrainingConfig | None, base: ModelRef, data: Mapping[str, str]) -> str:
    """Hex digest of what is trained and not of where: the config's recipe, see `gate.configs.recipes`, with
    digests of base and data."""
    parts: dict[str, object] = {"base": base.digest, "data": data}
    if config is not None:
        parts["recipe"] = recipe_of(config)
    return hashlib.sha256(repr(_typed(parts)).encode()).hexdigest()


def _without_output(settings: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in settings.items() if not _OUTPUT_ONLY.fullmatch(key)}


def _typed(value: object) -> object:
    """`value` as nested tuples of type name and repr, keys sorted: 1, 1.0, True and "1" all differ."""
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), _typed(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return tuple(_typed(item) for item in value)
    return (type(value).__name__, repr(value))


def content_digest(file: Path) -> str:
    """The hex digest of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def rows_digest(file: Path) -> str:
    """The hex digest of the rows of JSON lines, JSON or CSV, whatever empty lines and spaces lie between
    them; of anything else, and of what is not readable so, `content_digest`."""
    hasher = hashlib.sha256()
    with suppress(ValueError, RecursionError, csv.Error):
        for row in _rows(file):
            hasher.update(json.dumps(row, sort_keys=True).encode() + b"\n")
        return hasher.hexdigest()
    return content_digest(file)


def _rows(file: Path) -> Iterator[object]:
    """Raises ValueError where the file is of another kind."""
    if file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as table:
            yield from filter(None, csv.reader(table))
        return
    if file.suffix not in (".json", ".jsonl", ".ndjson"):
        raise ValueError(file.suffix)
    with file.open("rb") as stream:
        first = next(filter(None, map(bytes.strip, stream)), b"")
        stream.seek(0)
        lines = first[:1] == b"{" and first[-1:] == b"}"  # else one value over several lines
        found = map(json.loads, filter(None, map(bytes.strip, stream))) if lines else json.load(stream)
        yield from found if lines or isinstance(found, list) else [found]


def dataset_digest(path: Path, digest: Callable[[Path], str] = content_digest) -> str:
    """`sha256:...` of a data file, or of all names and contents below a folder; of each file its `digest`.

    Folders whose names begin with `.` or `__` are left out, as `datasets` leaves them out when it looks
    for data files. Raises `DataError` where there is nothing or it cannot be read.
    """
    try:
        files = [path] if path.is_file() else sorted(_data_files(path))
        if not files:
            raise DataError(f"there is no data at {path}", hint="check the path in the training config")
        hasher = hashlib.sha256()
        for file in files:
            name = "" if file == path else file.relative_to(path).as_posix()
            hasher.update(f"{len(name.encode())}:{name}:{digest(file)}\n".encode())
    except OSError as error:
        raise DataError(f"cannot read the data at {path}: {error.strerror or error}") from error
    return f"sha256:{hasher.hexdigest()}"


def _data_files(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Files below a folder, through links too: a linked folder is data all the same, unless it is a loop."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for path in folder.iterdir():
        if not path.is_dir():
            yield path
        elif not path.name.startswith((".", "__")):
            yield from _data_files(path, above | {real})
