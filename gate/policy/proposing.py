"""A policy with other margins: the file as its team wrote it, comments and all, with numbers exchanged."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

Margins = Mapping[tuple[str, str, str], float]  # by kind, task and bound


def propose(source: str, margins: Margins, note: str) -> str:
    """The text of a policy with these margins, under a comment of its own.

    The policy was read before, so it is sound. A task that took its margin from `general.defaults` gets one
    of its own, a corpus that was only shown is judged; waivers and slices stay as they are.
    """
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(source)
    general = document.get("general") or {}
    _exchange(document.get("target"), "target", "min_gain", margins)
    _exchange(general.get("tasks"), "general", "max_drop", margins)
    if ("average", "general", "max_drop") in margins:
        general["average"]["max_drop"] = margins["average", "general", "max_drop"]
    _exchange(document.get("text"), "text", "max_rise", margins)
    out = io.StringIO()
    yaml.dump(document, out)
    return "".join(f"# {line}".rstrip() + "\n" for line in note.splitlines()) + "\n" + out.getvalue()


def _exchange(entries: list[Any] | None, kind: str, bound: str, margins: Margins) -> None:
    """Put the margins into a list of entries, each a mapping or the name of a task."""
    for index, entry in enumerate(entries or []):
        margin = margins.get((kind, _task_of(entry), bound))
        if margin is None:
            continue
        if not isinstance(entry, dict):
            entry = CommentedMap(task=entry)
            entry.fa.set_flow_style()
            entries[index] = entry  # type: ignore[index]
        entry.pop("report", None)
        entry[bound] = margin


def _task_of(entry: Any) -> str:
    """The task's name as its rule's id has it."""
    if not isinstance(entry, dict):
        name = str(entry)
    elif "corpus" in entry:
        return str(entry.get("name") or Path(str(entry["corpus"])).stem)
    else:
        name = str(entry["task"])
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name
