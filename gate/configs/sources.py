"""Which training data a TRL config names, on this disk or on the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gate.configs.data import Wanted, check_files, split_files
from gate.configs.trl_keys import DATASET_KEYS
from gate.errors import Problem
from gate.records import Dataset
from gate.yamlfile import KeyPath, YamlFile, nearest, shown

BUILDERS = ("json", "csv", "parquet", "text")  # of `datasets`: they read `data_files`
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_FROM_HERE = "paths start at the folder where ftgate runs, as with trl"


def read_datasets(
    file: YamlFile, settings: Mapping[str, Any], problems: list[Problem]
) -> tuple[Dataset, ...]:
    """The training data, looked at where it is on this disk. `datasets:` goes before `dataset_name`."""
    listed = file.data.get("datasets")
    if listed:
        return _mixture(file, listed, settings, problems)
    name = settings.get("dataset_name")
    if not name:
        if not file.data.get("dataset_name"):
            problems.append(file.problem((), "names no training data", "set `dataset_name` or `datasets`"))
        return ()
    splits = [settings.get("dataset_train_split", "train")]
    if settings.get("eval_strategy", "no") != "no":
        splits.append(settings.get("dataset_test_split", "test"))
    _check_source(file, ("dataset_name",), name, splits, _wanted(settings), problems)
    return (Dataset(name, settings.get("dataset_config"), splits[0]),)


def _wanted(settings: Mapping[str, Any], columns: Any = None) -> Wanted:
    kwargs = settings.get("dataset_kwargs")
    return Wanted(
        text_field=settings.get("dataset_text_field", "text"),
        columns=tuple(columns) if isinstance(columns, list) else None,
        completion_only=bool(settings.get("completion_only_loss")),
        assistant_only=bool(settings.get("assistant_only_loss")),
        tokenised=isinstance(kwargs, dict) and kwargs.get("skip_prepare_dataset") is True,
    )


def _mixture(
    file: YamlFile, listed: Any, settings: Mapping[str, Any], problems: list[Problem]
) -> tuple[Dataset, ...]:
    if not isinstance(listed, list):
        problems.append(file.problem(("datasets",), f"expected a list, got {shown(listed)}"))
        return ()
    found: list[Dataset] = []
    for index, entry in enumerate(listed):
        found.extend(_entry(file, ("datasets", index), entry, settings, problems))
    shares = [isinstance(entry, dict) and entry.get("fraction") is not None for entry in listed]
    if any(shares) and not all(shares):
        problems.append(file.problem(("datasets",), "`fraction` must stand in every entry or in none"))
    return tuple(found)


def _entry(
    file: YamlFile, keys: KeyPath, entry: Any, settings: Mapping[str, Any], problems: list[Problem]
) -> list[Dataset]:
    before = len(problems)
    if not isinstance(entry, dict):
        problems.append(file.problem(keys, f"expected a mapping with `path`, got {shown(entry)}"))
        return []
    for key in entry:
        if key not in DATASET_KEYS:
            problems.append(file.problem((*keys, key), "unknown key", nearest(key, DATASET_KEYS)))
    for key in ("path", "name", "data_dir", "split"):
        if entry.get(key) is not None and not isinstance(entry[key], str):
            problems.append(file.problem((*keys, key), f"expected text, got {shown(entry[key])}"))
    columns, share = entry.get("columns"), entry.get("fraction")
    if columns is not None and not (isinstance(columns, list) and all(isinstance(c, str) for c in columns)):
        problems.append(file.problem((*keys, "columns"), f"expected a list of columns, got {shown(columns)}"))
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not share > 0):
        problems.append(file.problem((*keys, "fraction"), f"expected a number above 0, got {shown(share)}"))
    path = entry.get("path")
    if not path:
        problems.append(file.problem(keys, "needs `path`"))
    if not path or len(problems) > before:
        return []
    wanted, split = _wanted(settings, entry.get("columns")), entry.get("split") or "train"
    if entry.get("data_files") is not None:
        return _data_files(file, (*keys, "data_files"), entry, wanted, problems)
    if path in BUILDERS and entry.get("data_dir") is None:
        problems.append(file.problem((*keys, "path"), f"`{path}` needs `data_files` or `data_dir`"))
        return []
    name = entry["data_dir"] if path in BUILDERS else path
    if not (os.path.isdir(path) and entry.get("data_dir")):
        _check_source(file, (*keys, "path"), name, [split.split("[")[0]], wanted, problems)
    return [Dataset(name, entry.get("name"), split)]


def _data_files(
    file: YamlFile, keys: KeyPath, entry: Mapping[str, Any], wanted: Wanted, problems: list[Problem]
) -> list[Dataset]:
    """`data_files`: one `Dataset` a file on this disk; a hub dataset stays one, by its name."""
    value, path = entry["data_files"], entry["path"]
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else list(_values(value))
    if not names or not all(isinstance(name, str) for name in names):
        problems.append(file.problem(keys, f"expected paths of files, got {shown(value)}"))
        return []
    if path not in BUILDERS and not os.path.isdir(path):
        _check_source(file, (*keys[:-1], "path"), path, [], wanted, problems)
        return [Dataset(path, entry.get("name"), entry.get("split"))]
    root = Path() if path in BUILDERS else Path(path)
    found: list[Path] = []
    for name in names:
        files = [] if "://" in name else _expand(root, name)
        if not files:
            message = "is not on this disk" if "://" in name else "no such file"
            problems.append(file.problem(keys, f"{message}: {name[:200]}", _FROM_HERE))
        found.extend(files)
    problems.extend(check_files(found, wanted))
    return [Dataset(str(name), entry.get("name"), entry.get("split")) for name in found]


def _values(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return []
    return [name for names in value.values() for name in (names if isinstance(names, list) else [names])]


def _expand(root: Path, name: str) -> list[Path]:
    if "*" in name:
        start, pattern = (Path("/"), name.lstrip("/")) if name.startswith("/") else (root, name)
        try:
            return sorted(path for path in start.glob(pattern) if path.is_file())
        except (ValueError, NotImplementedError):
            return []
    return [root / name] if os.path.isfile(root / name) else []


def _check_source(
    file: YamlFile, keys: KeyPath, name: str, splits: list[str], wanted: Wanted, problems: list[Problem]
) -> None:
    """A folder on this disk is looked into; anything else must look like a hub name."""
    if os.path.isfile(name):
        hint = "name its folder, or use `datasets: [{path: json, data_files: ...}]`"
        problems.append(file.problem(keys, f"is a file, TRL takes a folder: {name[:200]}", hint))
        return
    if not os.path.isdir(name):
        if not _HUB_NAME.fullmatch(name):
            hint = f"{_FROM_HERE}; a dataset of the hub is OWNER/NAME"
            problems.append(file.problem(keys, f"no such folder: {name[:200]}", hint))
        return
    folder = Path(name)
    if (folder / "state.json").exists() or (folder / "dataset_dict.json").exists():
        hint = "save it as Parquet or JSON lines"
        problems.append(file.problem(keys, "was saved with `save_to_disk`, which TRL does not read", hint))
        return
    found = split_files(folder)
    if found is None:
        return
    if not found:
        problems.append(file.problem(keys, f"holds no data files: {name[:200]}"))
        return
    for split in splits:
        if split not in found:
            problems.append(file.problem(keys, f"has no split `{split[:80]}`", f"found {', '.join(found)}"))
        problems.extend(check_files(found.get(split, ()), wanted))
