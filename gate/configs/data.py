"""Training data on disk, looked at before anything is trained: there, not empty, readable, the right columns.

Which files make up a split, and which columns TRL wants, follows `datasets` 5 (`data_files.py`) and TRL
1.16 (`SFTTrainer._prepare_dataset`).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gate.errors import Problem
from gate.yamlfile import shown

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".txt", ".arrow")
MOST_PROBLEMS = 3  # a file; the rest are of the same sort
SPLIT_WORDS: Mapping[str, str] = {
    "train": "train|training",
    "validation": "validation|valid|dev|val",
    "test": "test|testing|eval|evaluation",
}
_CARD = re.compile(r"^(configs|data_files):", re.MULTILINE)
_NOT_DATA = ("config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What TRL needs of a row."""

    text_field: str = "text"
    columns: tuple[str, ...] | None = None  # the only ones that the config selects
    completion_only: bool = False
    assistant_only: bool = False
    tokenised: bool = False  # `skip_prepare_dataset`


class Lacking(ValueError):
    """A row that TRL cannot train on."""


def split_files(folder: Path) -> Mapping[str, tuple[Path, ...]] | None:
    """Split -> data files of a folder; None where a dataset card says so itself."""
    card = folder / "README.md"
    if card.is_file() and _CARD.search(card.read_text("utf-8", "replace")[:20_000]):
        return None
    files = sorted(file for file in folder.rglob("*") if _is_data(file, folder))
    by_folder: Callable[[Path], Sequence[str]] = lambda file: file.relative_to(folder).parts[:-1]  # noqa: E731
    by_name: Callable[[Path], Sequence[str]] = lambda file: (file.name,)  # noqa: E731
    for words in (by_folder, by_name):
        splits = {name: tuple(f for f in files if _names(words(f), name)) for name in SPLIT_WORDS}
        if any(splits.values()):
            return {name: found for name, found in splits.items() if found}
    return {"train": tuple(files)} if files else {}


def _is_data(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    hidden = any(part.startswith((".", "__")) for part in parts)
    return file.suffix in SUFFIXES and not hidden and file.name not in _NOT_DATA and file.is_file()


def _names(words: Sequence[str], split: str) -> bool:
    pattern = rf"(^|[-._ 0-9])({SPLIT_WORDS[split]})($|[-._ 0-9])"
    return any(re.search(pattern, word) for word in words)


def check_files(files: Sequence[Path], wanted: Wanted) -> list[Problem]:
    """Every row of every file, as far as JSON lines, JSON, CSV and Parquet go."""
    problems: list[Problem] = []
    for file in files:
        try:
            problems.extend(islice(_check_file(file, wanted), MOST_PROBLEMS))
        except OSError as error:
            problems.append(Problem(str(file), f"cannot be read: {error.strerror or error}"))
    return problems


def _check_file(file: Path, wanted: Wanted) -> Iterator[Problem]:
    if file.stat().st_size == 0:
        yield Problem(str(file), "is empty, expected training data")
    elif file.suffix == ".parquet":
        yield from _check_parquet(file, wanted)
    elif file.suffix in (".jsonl", ".ndjson", ".json", ".csv"):
        yield from _check_rows(file, wanted)


def _check_rows(file: Path, wanted: Wanted) -> Iterator[Problem]:
    rows = 0
    try:
        for line, row in _rows(file):
            rows += 1
            try:
                check_row(row, wanted)
            except Lacking as error:
                yield Problem(str(file), str(error), line=line)
    except _BadLine as error:
        yield Problem(str(file), str(error), line=error.line)
        return
    except UnicodeDecodeError:
        yield Problem(str(file), "is not UTF-8 text")
        return
    if not rows:
        yield Problem(str(file), "holds no rows, expected training data")


class _BadLine(ValueError):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _rows(file: Path) -> Iterator[tuple[int, Any]]:
    """(line, row) of a file; rows are whatever JSON holds."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        if file.suffix == ".csv":
            reader = csv.DictReader(lines)
            yield from ((reader.line_num, row) for row in reader)
            return
        first = lines.read(4096).lstrip()[:1]
        lines.seek(0)
        if first == "[":
            yield from ((1, row) for row in _json(lines.read(), 1))
            return
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, _json(line, number)


def _json(text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        offset = error.lineno - 1 if isinstance(error, json.JSONDecodeError) else 0
        raise _BadLine(line + offset, "is not valid JSON") from error


def _check_parquet(file: Path, wanted: Wanted) -> Iterator[Problem]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as table:
            names, rows = table.schema_arrow.names, table.metadata.num_rows
    except ArrowException as error:
        yield Problem(str(file), f"is not valid Parquet: {str(error)[:200]}")
        return
    if not rows:
        yield Problem(str(file), "holds no rows, expected training data")
    try:
        _layout(_selected(names, wanted), wanted)
    except Lacking as error:
        yield Problem(str(file), str(error))


def check_row(row: Any, wanted: Wanted) -> None:
    """Raises `Lacking` when TRL could not train on this row."""
    if not isinstance(row, dict):
        raise Lacking(f"expected an object with columns, got {shown(row)}")
    layout = _layout(_selected(row, wanted), wanted)
    kinds = {_kind(name, row[name]) for name in layout}
    if len(kinds) > 1:
        raise Lacking("`prompt` and `completion` must both be text or both be messages")
    if layout == ("prompt", "completion") and wanted.assistant_only and kinds == {"text"}:
        raise Lacking("`assistant_only_loss` needs messages, got text")


def _selected(names: Any, wanted: Wanted) -> list[str]:
    return [name for name in names if wanted.columns is None or name in wanted.columns]


def _layout(names: Sequence[str], wanted: Wanted) -> tuple[str, ...]:
    """The columns that are used, by the rules of TRL: tokens, prompt + completion, messages, text."""
    if "input_ids" in names or wanted.tokenised:
        if "input_ids" not in names:
            raise Lacking("`skip_prepare_dataset` needs a column `input_ids`")
        return ()
    if "prompt" in names and "completion" in names:
        return ("prompt", "completion")
    single = next((name for name in ("messages", "conversations", wanted.text_field) if name in names), None)
    if single is None or "prompt" in names:
        there = ", ".join(names[:8]) or "none"
        expected = f"`{wanted.text_field}`, or `messages`, or `prompt` and `completion`"
        raise Lacking(f"lacks the columns to train on: expected {expected}, found {there[:200]}")
    if wanted.completion_only:
        raise Lacking("`completion_only_loss` needs the columns `prompt` and `completion`")
    if wanted.assistant_only and single == wanted.text_field:
        raise Lacking("`assistant_only_loss` needs a column `messages`")
    return (single,)


def _kind(name: str, value: Any) -> str:
    if isinstance(value, str) and name not in ("messages", "conversations"):
        return "text"
    keys = ("from", "value") if name == "conversations" else ("role",)
    if isinstance(value, list) and value and all(isinstance(m, dict) and m.keys() >= {*keys} for m in value):
        return "messages"
    fields = " and ".join(f"`{key}`" for key in keys)
    got = "an empty list" if value == [] else shown(value)
    raise Lacking(f"`{name}`: expected text or messages with {fields}, got {got}")
