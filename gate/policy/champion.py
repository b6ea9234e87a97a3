"""`champion:` of a policy: a second reference beside the base model, a stored run or a model."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from gate.policy.fields import Section
from gate.records import CHAMPION_BOUNDS, Champion, Rule

CHAMPION_KEYS = ("run", "model", "revision")

_PATHS_START = "paths start at the folder of this file"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def read_champion(section: Section, folder: Path, rules: Sequence[Rule], seeds: int) -> Champion | None:
    """The champion, if the policy names one. Notes every problem, also rules without a champion, a champion
    without rules, and champion rules of a recipe: its mean is no model that could be compared so."""
    held = [rule for rule in rules if rule.reference == "champion"]
    if "champion" not in section.data:
        for rule in held[:1]:
            words = " or ".join(sorted(CHAMPION_BOUNDS.values()))
            hint = f"name one, such as `champion: {{run: champions/latest}}`, or leave out {words}"
            message = f"{rule.id} needs a `champion`"
            section.complain(None, message, hint)
        return None
    if not held:
        section.complain("champion", "no rule is held against it", "add `max_drop_from_champion` to a task")
    elif seeds > 1:
        section.complain("champion", "goes with one training, not with `seeds`", "leave one of the two out")
    entry = section.section("champion", section.data["champion"])
    return None if entry is None else _champion(entry, folder)


def _champion(entry: Section, folder: Path) -> Champion | None:
    entry.only(CHAMPION_KEYS)
    run, model, revision = entry.word("run"), entry.word("model"), entry.word("revision")
    if {"run", "model"} <= entry.data.keys() or not {"run", "model"} & entry.data.keys():
        hint = "`run`: the folder of an `ftgate check`; `model`: a folder, a hub name, a stored one's digest"
        entry.complain(None, "needs either `run` or `model`", hint)
        return None
    if run is not None:
        if "revision" in entry.data:
            entry.complain("revision", "is a model's, and a run has none", "leave it out")
        path = folder / os.path.expanduser(run)
        if not path.is_dir():
            entry.complain("run", f"no such folder: {path}", _PATHS_START)
        return Champion(run=str(path))
    if model is None:
        return None
    if model.startswith("sha256:") and not _DIGEST.fullmatch(model):
        entry.complain("model", "is no digest: `sha256:` and 64 digits from 0 to f", "as verdict.json has it")
    path = folder / os.path.expanduser(model)
    return Champion(model=str(path) if path.is_dir() else model, revision=revision)
