"""Which training configs a pull request changes, and what each depends on. Pure: names in, names out.

In doubt a config counts as changed: a measurement too many costs time, one too few lets a loss through.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gate.records import ChangedConfig, ChangeReason

MOST_NAMES = 10_000
"""Where links lead to more, everything counts as named: following them could take for ever."""
LONGEST_CHAIN = 40  # links in a row, as Linux follows them
# Settings that name a place for output: what changes there changes nothing.
_OUTPUT = ("output_dir", "logging_dir", "run_name", "hub_model_id")


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file that differs between merge base and head. `previous` is its old name where it was renamed."""

    status: str  # A added, D deleted, M modified, R renamed, T another type
    path: str
    previous: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it has and had."""
        return (self.path, self.previous) if self.previous else (self.path,)


@dataclass(frozen=True, slots=True)
class Changes:
    """The changed configs, by path, and those that were deleted."""

    changed: tuple[ChangedConfig, ...] = ()
    deleted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trees:
    """The configs at both refs, each with the texts in it that may name files, and where links lead."""

    head: Mapping[str, Collection[str]]
    base: Mapping[str, Collection[str]]
    links: Mapping[str, str]  # link at the head -> what it leads to, both relative to the repository
    policy_files: frozenset[str] = frozenset()  # at the base ref: task files, their data, corpora


def find_changes(
    files: Sequence[FileChange], trees: Trees, *, policy: bool = False, patterns: Sequence[str] = ()
) -> Changes:
    """The configs that `files` change, with the weightiest reason for each.

    `policy`: the policy itself changes. `patterns` narrow what counts as a config, by its new or its old
    name, so that no config is renamed out of them; where one of theirs is deleted, what changes outside of
    them counts too, as it may be the same config in another place, rewritten past git's knowing.
    """
    deleted = tuple(sorted(file.path for file in files if _is_deleted(file, trees, patterns)))
    found: dict[str, ChangedConfig] = {}
    for file in files:
        change = _own_change(file, trees)
        if change is not None and (deleted or any(matches(name, patterns) for name in file.names)):
            found[change.path] = change
    task = _touched(files, trees.policy_files, {})
    for path, texts in trees.head.items():
        if path in found or not matches(path, patterns):
            continue
        data = _touched(files, texts, trees.links)
        if data:
            found[path] = ChangedConfig(path, "data", data)
        elif task:
            found[path] = ChangedConfig(path, "task", task)
        elif policy:
            found[path] = ChangedConfig(path, "policy")
    return Changes(tuple(found[path] for path in sorted(found)), deleted)


def narrowed(changes: Changes, patterns: Sequence[str]) -> Changes:
    """The changes that further patterns name, by the same rules as `find_changes`."""
    deleted = tuple(path for path in changes.deleted if patterns and matches(path, patterns))
    if not patterns or deleted:
        return replace(changes, deleted=deleted or changes.deleted)
    kept = (
        change
        for change in changes.changed
        if any(matches(name, patterns) for name in (change.path, change.previous_path) if name)
    )
    return Changes(tuple(kept))


def _is_deleted(file: FileChange, trees: Trees, patterns: Sequence[str]) -> bool:
    return file.status == "D" and file.path in trees.base and matches(file.path, patterns)


def _own_change(file: FileChange, trees: Trees) -> ChangedConfig | None:
    """How a file changes as a config: one that was a config stays one, whatever was made of it."""
    was = file.previous or file.path
    if file.status == "D" or not (file.path in trees.head or was in trees.base):
        return None
    if file.status == "R" and was in trees.base:
        return ChangedConfig(file.path, "renamed", previous_path=was)
    reason: ChangeReason = "edited" if file.path in trees.base else "added"
    return ChangedConfig(file.path, reason)


def all_configs(head: Iterable[str], reason: ChangeReason, patterns: Sequence[str] = ()) -> Changes:
    """Every config at the head: a schedule measures all, a dispatch may name some."""
    found = (ChangedConfig(path, reason) for path in sorted(head) if matches(path, patterns))
    return Changes(tuple(found))


def _touched(files: Sequence[FileChange], texts: Collection[str], links: Mapping[str, str]) -> str:
    """The first changed file that one of `texts` names, or that lies in a folder it names; else ""."""
    named = dependencies(texts, links)
    names = (name for file in files for name in file.names)
    return next((name for name in names if any(depends(text, name) for text in named)), "")


def dependencies(texts: Collection[str], links: Mapping[str, str]) -> frozenset[str]:
    """The paths that `texts` may mean, relative to the repository, and those that links there lead to."""
    named = {posixpath.normpath(text) for text in texts if text and not text.startswith(("/", "~"))}
    for _ in range(min(len(links), LONGEST_CHAIN)):
        further = {
            posixpath.normpath(posixpath.join(target, posixpath.relpath(name, link)))
            if below(link, name)
            else target
            for link, target in links.items()
            for name in named
            if below(link, name) or below(name, link)
        }
        if further <= named:
            break
        named |= further
        if len(named) > MOST_NAMES:
            return frozenset({"."})
    return frozenset(named)


def depends(named: str, changed: str) -> bool:
    """Whether what is named may be, hold, lie in (a submodule, DVC's data), or match, what changed."""
    if _may_match(named, changed):
        return True
    pointed = changed.removesuffix(".dvc")  # beside data that DVC keeps elsewhere
    return below(named, changed) or below(pointed, named)


def _may_match(pattern: str, path: str) -> bool:
    """Whether a pattern of any dialect (`*`, `?`, `[0-9]`, `{a,b}`) may mean a path: both begin alike up to
    the first sign, and end alike after the last. An exact match could take for ever. A chat template or a
    list, which is all sign, is no pattern."""
    signs = [at for at, character in enumerate(pattern) if character in "*?[]{}"]
    if not signs:
        return False
    start, end = pattern[: signs[0]], pattern[signs[-1] + 1 :].removeprefix("/")
    if not start and not end:
        return not pattern.strip("*/")
    return path.startswith(start) and path.endswith(end)


def below(folder: str, path: str) -> bool:
    """Whether `path` is `folder` or lies in it."""
    return folder == "." or path == folder or path.startswith(f"{folder}/")


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a path fits one of the patterns (`*` and `?` within a folder, `**` over folders); no pattern
    means every path."""
    return not patterns or any(_pattern(pattern).fullmatch(path) for pattern in patterns)


def _pattern(text: str) -> re.Pattern[str]:
    parts: Mapping[str, str] = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    words = re.split(r"(\*\*/|\*\*|\*|\?)", text.removeprefix("./"))
    return re.compile("".join(parts.get(word) or re.escape(word) for word in words), re.DOTALL)


def texts_of(data: Any) -> tuple[str, ...]:
    """Every text in a config that may name a file: all but the places for its output."""
    kept = (
        {key: value for key, value in data.items() if key not in _OUTPUT} if isinstance(data, dict) else data
    )
    return tuple(dict.fromkeys(_texts(kept)))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]


_WORD = re.compile(r"[^\s\"'\[\]{}(),:;=<>|&`#!]+")


def policy_files(
    start: Collection[str], files: Collection[str], read: Callable[[str], str]
) -> frozenset[str]:
    """What the policy's tasks depend on: `start` (files, folders) and all that their text names, and so on.

    Whatever word in a task file, `read` as text, is the path of a file or folder of the base ref counts.
    """
    folders = {parent for path in files for parent in _parents(path)}
    found: set[str] = set()
    waiting = [path for name in start for path in _within(name, files)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.endswith((".yaml", ".yml", ".py")) or path.rpartition("/")[2].endswith("_yaml"):
            words = _WORD.findall(read(path))
            beside = [posixpath.join(posixpath.dirname(path), word) for word in words]
            named = {posixpath.normpath(word) for word in (*words, *beside)}
            waiting += [p for name in named if name in files or name in folders for p in _within(name, files)]
    return frozenset(found)


def _within(name: str, files: Collection[str]) -> list[str]:
    name = posixpath.normpath(name)
    return [name] if name in files else [path for path in files if path.startswith(f"{name}/")]


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]
