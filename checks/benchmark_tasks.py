"""Finding lm-eval tasks by name, group, tag or path without reading all 14,683 of its YAML files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval.api.group import Group
from lm_eval.api.task import Task
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry, Kind, TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml

OWN_TASKS = Path(lm_eval.tasks.__file__).parent


class UnsafeTask(Exception):
    """The task runs code that a model wrote, and the policy does not allow that."""


class TaskNames(dict[str, Entry]):
    """Names of the policy's `include` folders, then lm-eval's own, which are read only when asked for.

    `broken` says of files in those folders why they could not be read.
    """

    def __init__(self, index_folder: Path | None) -> None:
        super().__init__()
        self.index_folder = index_folder
        self.broken: dict[Path, str] = {}
        self._own: dict[str, Entry] | None = None

    def add_folder(self, folder: Path) -> None:
        """Index a folder; a later folder's task replaces an earlier one's, as lm-eval has it."""
        found: dict[str, Entry] = {}
        for path in TaskIndex._iter_yaml_files(folder):
            try:
                TaskIndex.process_cfg(load_yaml(path, resolve_func=False), path, found)
            except Exception as error:  # a neighbour's broken file matters only when its name is asked for
                self.broken[path] = _first_line(error)
        self.update(found)

    @property
    def own(self) -> dict[str, Entry]:
        """lm-eval's own names."""
        if self._own is None:
            self._own = own_index(self.index_folder)
        return self._own

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self.own

    def __missing__(self, name: str) -> Entry:
        return self.own[name]

    def nearest(self, name: str) -> list[str]:
        """Up to three names like this one."""
        return get_close_matches(name, [*self, *self.own], 3, 0.7)


def own_index(folder: Path | None) -> dict[str, Entry]:
    """lm-eval's own names, kept in `folder` by lm-eval's version: reading them all takes a quarter minute."""
    file = folder / f"lm-eval-{version('lm_eval')}-tasks.json" if folder else None
    kept = _read_index(file) if file else None
    if kept is not None:
        return kept
    entries: dict[str, Entry] = TaskIndex.build([OWN_TASKS])
    if file:
        _write_index(file, entries)
    return entries


def _read_index(file: Path) -> dict[str, Entry] | None:
    """None when there is no such file, or it is not one that this version wrote."""
    try:
        rows = json.loads(file.read_text("utf-8"))
        return {
            name: Entry(name, Kind[kind], OWN_TASKS / path if path else None, None, set(tags))
            for name, (kind, path, tags) in rows.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_index(file: Path, entries: dict[str, Entry]) -> None:
    rows = {
        name: [
            entry.kind.name,
            entry.yaml_path.relative_to(OWN_TASKS).as_posix() if entry.yaml_path else "",
            sorted(entry.tags),
        ]
        for name, entry in entries.items()
    }
    part = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(rows), "utf-8")
        os.replace(part, file)
    except OSError:
        part.unlink(missing_ok=True)  # a read-only cache costs time and nothing else


@dataclass(frozen=True)
class Loaded:
    """lm-eval's task objects behind one name, and how its group adds them up."""

    leaves: dict[str, Task]
    shares: dict[str, int]  # how often the group counts a leaf
    group: Group | None
    unsafe: bool
    yamls: tuple[Path, ...] = ()  # that they were read from


class GateFactory(TaskFactory):  # type: ignore[misc]
    """lm-eval's own factory, which refuses generated code and finds data beside a task's YAML."""

    def __init__(self, *, generated_code: bool, folders: Iterable[Path]) -> None:
        super().__init__()
        self.generated_code = generated_code
        self.folders = tuple(folders)
        self.unsafe = False
        self.yamls: list[Path] = []

    def _load_full_config(self, entry: Entry, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        self.yamls += [entry.yaml_path] if entry.yaml_path else []
        # Read without its functions first: loading them runs the task's Python.
        if entry.yaml_path and runs_generated_code(load_yaml(entry.yaml_path, resolve_func=False)):
            if not self.generated_code:
                raise UnsafeTask(entry.name)
            self.unsafe = True
        with code_eval_allowed(self.unsafe):
            config: dict[str, Any] = super()._load_full_config(entry, overrides)
        files = (config.get("dataset_kwargs") or {}).get("data_files")
        if files and config.get("dataset_path") in ("json", "csv", "parquet", "text", "arrow"):
            folders = (entry.yaml_path.parent, *self.folders) if entry.yaml_path else self.folders
            config["dataset_kwargs"] = config["dataset_kwargs"] | {"data_files": _located(files, folders)}
        return config


@contextmanager
def code_eval_allowed(allowed: bool) -> Iterator[None]:
    """HumanEval's Python tries the `code_eval` metric when imported, and that asks for this variable."""
    before = os.environ.get("HF_ALLOW_CODE_EVAL")
    if allowed:
        os.environ["HF_ALLOW_CODE_EVAL"] = "1"
    try:
        yield
    finally:
        if allowed and before is None:
            del os.environ["HF_ALLOW_CODE_EVAL"]


def runs_generated_code(config: dict[str, Any]) -> bool:
    """Whether the task says so, or its Python uses the `code_eval` metric without saying so."""
    named = [Path(text.rpartition(".")[0] + ".py") for text in _texts(config) if os.path.isabs(text)]
    return bool(config.get("unsafe_code")) or any(
        path.is_file() and "code_eval" in path.read_text("utf-8", "replace") for path in set(named)
    )


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, str):
        yield value


def _located(files: Any, folders: tuple[Path, ...]) -> Any:
    """Local data files as lm-eval finds them, from the working folder; else from one of `folders`."""
    if isinstance(files, dict):
        return {split: _located(part, folders) for split, part in files.items()}
    if isinstance(files, list):
        return [_located(part, folders) for part in files]
    if "://" in files or os.path.exists(files):
        return files
    return next((str(folder / files) for folder in folders if (folder / files).exists()), files)


def load(name: str, path: Path | None, names: TaskNames, factory: GateFactory) -> Loaded:
    """Build lm-eval's task objects, with their data; raises what lm-eval raises, KeyError for a name."""
    if path is None:
        entry = names[name]
    else:
        entry = TaskIndex.entry_from_path(path)
        if entry is None:
            raise ValueError("a task file needs a `task` or `group` key")
        if entry.kind is Kind.GROUP:
            names.add_folder(path.parent)
    factory.unsafe = False
    built = factory.build(entry, overrides=None, registry=names)
    group = built if isinstance(built, Group) else None
    tasks = group.get_all_tasks() if group else built if isinstance(built, list) else [built]
    shares: dict[str, int] = {}
    for task in tasks:
        shares[task.task_name] = shares.get(task.task_name, 0) + 1
    leaves = {task.task_name: task for task in tasks}
    return Loaded(leaves, shares, group, factory.unsafe, tuple(factory.yamls))


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
