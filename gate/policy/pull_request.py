"""`pull_request:` of a policy: when the gate runs on one, and what one may bring along."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gate.policy.entries import PATHS_START
from gate.policy.fields import Section
from gate.records import PullRequestPolicy
from gate.yamlfile import shown

PULL_REQUEST_KEYS = ("when", "label", "new_targets", "bases", "configs", "template")


def read_pull_request(section: Section, folder: Path) -> PullRequestPolicy:
    """The policy's `pull_request`, or the defaults where it has none."""
    if "pull_request" not in section.data:
        return PullRequestPolicy()
    entry = section.section("pull_request", section.data["pull_request"])
    if entry is None:
        return PullRequestPolicy()
    entry.only(PULL_REQUEST_KEYS)
    read: dict[str, Any] = {
        "when": entry.choice("when", ("ready", "label", "every-push")),
        "label": entry.word("label"),
        "new_targets": entry.choice("new_targets", ("block", "allow")),
        "bases": _words(entry, "bases", "the name of a base model, NAME or NAME@REVISION"),
        "configs": _words(entry, "configs", "a pattern such as configs/**/*.yaml"),
        "template": _template(entry, folder),
    }
    return PullRequestPolicy(**{key: value for key, value in read.items() if value is not None})


def _words(entry: Section, key: str, wanted: str) -> tuple[str, ...]:
    listed = Section(entry.file, (*entry.keys, key), {}, entry.problems)
    values = entry.entries(key)
    for index, value in enumerate(values):
        if not isinstance(value, str) or not value.strip():
            listed.complain(index, f"expected {wanted}, got {shown(value)}")
    return tuple(value for value in values if isinstance(value, str))


def _template(entry: Section, folder: Path) -> str | None:
    name = entry.word("template")
    if name is None:
        return None
    path = folder / name
    if not os.path.isfile(path):
        entry.complain("template", f"no such file: {path}", PATHS_START)
    return str(path)
