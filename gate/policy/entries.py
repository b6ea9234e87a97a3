"""The entries of a policy: target and general tasks, text corpora. Each gives a spec and its rules."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.policy.fields import Section
from gate.records import Bound, Kind, Rule, TaskSpec
from gate.yamlfile import shown

OPTION_KEYS = ("num_fewshot", "limit", "metric", "filter", "chat_template", "system_instruction")
TARGET_KEYS = ("task", "min_gain", "min_score", *OPTION_KEYS)
GENERAL_KEYS = ("defaults", "tasks", "average")
DEFAULTS_KEYS = ("max_drop", *OPTION_KEYS, "cluster_by")
TASK_KEYS = ("task", *DEFAULTS_KEYS)
AVERAGE_KEYS = ("max_drop",)
TEXT_KEYS = ("corpus", "name", "field", "limit", "max_rise", "report")

PATHS_START = "paths start at the folder of this file"

TARGET_TEMPLATES = ("auto", "none", "base", "tuned")
GENERAL_TEMPLATES = ("auto", "none", "base")


@dataclass(slots=True)
class Entries:
    """What the entries read so far ask to measure and to hold."""

    folder: Path  # of the policy file; its paths start there
    by_id: dict[str, TaskSpec] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)

    def add(self, section: Section, spec: TaskSpec, margins: Mapping[Bound, float | None]) -> None:
        """Keep one entry, unless its task stands there already."""
        known = self.by_id.setdefault(spec.id, spec)
        if known is not spec:
            message = f"`{spec.task}` stands here twice, first in line {known.place.line}"
            section.complain(None, message, "keep one")
            return
        for bound, margin in margins.items():
            place = section.place(bound) if bound in section.data else section.place()
            self.rules.append(Rule(spec.kind, spec.task, bound, margin, spec.metric, spec.filter, place))


def read_target(section: Section, entries: Entries) -> None:
    """`target:`, a list of tasks with `min_gain` or `min_score` or both."""
    for index, value in enumerate(section.entries("target")):
        entry = _entry(section, ("target", index), value)
        if entry is None:
            continue
        entry.only(TARGET_KEYS)
        margins: dict[Bound, float | None] = {}
        for bound in ("min_gain", "min_score"):
            margin = entry.number(bound, 0.0)
            if margin is not None:
                margins[bound] = margin
        if not {"min_gain", "min_score"} & entry.data.keys():
            entry.complain(None, "a target needs `min_gain` or `min_score`", "for example `min_gain: 0.05`")
        _add_task(entry, "target", _options(entry, TARGET_TEMPLATES), margins, entries)


def read_general(section: Section, entries: Entries) -> None:
    """`general:`, its `defaults`, its `tasks`, and the `average` over them."""
    if "general" not in section.data:
        return
    general = section.section("general", section.data["general"])
    if general is None:
        return
    general.only(GENERAL_KEYS)
    defaults, default_drop = _defaults(general)
    if "tasks" not in general.data:
        general.complain(None, "has no `tasks`", "list the tasks that must not get worse")
    has_average = "average" in general.data
    for index, value in enumerate(general.entries("tasks")):
        entry = _entry(general, ("tasks", index), {"task": value} if isinstance(value, str) else value)
        if entry is None:
            continue
        entry.only(TASK_KEYS)
        drop = entry.number("max_drop", 0.0) if "max_drop" in entry.data else default_drop
        margins: dict[Bound, float | None] = {} if drop is None else {"max_drop": drop}
        if "max_drop" not in {*entry.data, *_defaulted(general)} and not has_average:
            hint = "set `max_drop` here or in `general.defaults`, or an `average`"
            entry.complain(None, "nothing is asked of this task", hint)
        _add_task(entry, "general", {**defaults, **_options(entry, GENERAL_TEMPLATES)}, margins, entries)
    if has_average:
        _read_average(general, entries)


def _defaulted(general: Section) -> Sequence[str]:
    defaults = general.data.get("defaults")
    return list(defaults) if isinstance(defaults, dict) else []


def _defaults(general: Section) -> tuple[dict[str, Any], float | None]:
    if "defaults" not in general.data:
        return {}, None
    defaults = general.section("defaults", general.data["defaults"])
    if defaults is None:
        return {}, None
    defaults.only(DEFAULTS_KEYS)
    return _options(defaults, GENERAL_TEMPLATES), defaults.number("max_drop", 0.0)


def _read_average(general: Section, entries: Entries) -> None:
    average = general.section("average", general.data["average"])
    if average is None:
        return
    average.only(AVERAGE_KEYS)
    if "max_drop" not in average.data:
        average.complain(None, "needs `max_drop`", "for example `max_drop: 0.01`")
    margin = average.number("max_drop", 0.0)
    if margin is not None:
        entries.rules.append(Rule("average", "general", "max_drop", margin, place=average.place("max_drop")))


def read_text(section: Section, entries: Entries) -> None:
    """`text:`, a list of corpora whose bits per byte are judged (`max_rise`) or shown (`report: true`)."""
    for index, value in enumerate(section.entries("text")):
        entry = _entry(section, ("text", index), value)
        if entry is None:
            continue
        entry.only(TEXT_KEYS)
        corpus, name = entry.word("corpus"), entry.word("name")
        column, limit = entry.word("field") or "text", entry.whole("limit", 1)
        margins = _text_margins(entry)
        if corpus is None:
            if "corpus" not in entry.data:
                entry.complain(None, "needs `corpus`", "the path of a .jsonl or .txt file")
            continue
        path = entries.folder / corpus
        if not os.path.isfile(path):
            entry.complain("corpus", f"no such file: {path}", PATHS_START)
        spec = TaskSpec(
            "text", name or Path(corpus).stem, str(path), limit=limit, text_field=column, place=entry.place()
        )
        entries.add(entry, spec, margins)


def _text_margins(entry: Section) -> dict[Bound, float | None]:
    rise, report = entry.number("max_rise", 0.0), entry.flag("report")
    if "max_rise" in entry.data and report:
        entry.complain("report", "excludes `max_rise`", "what is judged is shown as well")
    if "max_rise" not in entry.data and report is not True and "report" in entry.data:
        entry.complain("report", "nothing is asked of this corpus", "set `max_rise`, or `report: true`")
    if not {"max_rise", "report"} & entry.data.keys():
        entry.complain(None, "needs `max_rise` or `report: true`")
    return {"report": None} if report and rise is None else {} if rise is None else {"max_rise": rise}


def _entry(section: Section, keys: tuple[str, int], value: Any) -> Section | None:
    within = Section(section.file, (*section.keys, keys[0]), {}, section.problems)
    if isinstance(value, dict):
        return within.section(keys[1], value)
    within.complain(keys[1], f"expected a mapping such as {{task: NAME, ...}}, got {shown(value)}")
    return None


def _add_task(
    entry: Section, kind: Kind, options: dict[str, Any], margins: dict[Bound, float | None], entries: Entries
) -> None:
    name = entry.word("task")
    if name is None:
        if "task" not in entry.data:
            entry.complain(None, "needs `task`", "the name of an lm-eval task, or the path of its YAML")
        return
    path: str | None = None
    if name.endswith((".yaml", ".yml")):
        file = entries.folder / name
        if not os.path.isfile(file):
            entry.complain("task", f"no such file: {file}", PATHS_START)
        name, path = file.stem, str(file)
    entries.add(entry, TaskSpec(kind, name, path, place=entry.place(), **options), margins)


def _options(entry: Section, templates: Sequence[str]) -> dict[str, Any]:
    """How to measure a task: the options that this mapping sets."""
    read = {
        "num_fewshot": entry.whole("num_fewshot", 0, 1000),
        "limit": entry.whole("limit", 1),
        "metric": entry.word("metric"),
        "filter": entry.word("filter"),
        "chat_template": entry.choice("chat_template", templates),
        "system_instruction": entry.word("system_instruction"),
        "cluster_by": entry.word("cluster_by"),
    }
    return {key: value for key, value in read.items() if value is not None}
