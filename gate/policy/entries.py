"""The entries of a policy: target and general tasks, text corpora. Each gives a spec and its rules."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gate.policy.fields import Section
from gate.policy.slices import SlicesRule, read_slices
from gate.records import Bound, Kind, Reference, Rule, TaskSpec, bound_name
from gate.yamlfile import shown

OPTION_KEYS = ("num_fewshot", "limit", "metric", "filter", "chat_template", "system_instruction")
TARGET_KEYS = (
    "task", "min_gain", "min_score", "min_gain_over_champion", "max_drop_from_champion", *OPTION_KEYS
)  # fmt: skip
GENERAL_KEYS = ("defaults", "tasks", "average")
DEFAULTS_KEYS = ("max_drop", "max_drop_from_champion", *OPTION_KEYS, "cluster_by")
TASK_KEYS = ("task", *DEFAULTS_KEYS, "slices")
AVERAGE_KEYS = ("max_drop", "max_drop_from_champion")
TEXT_KEYS = ("corpus", "name", "field", "limit", "max_rise", "max_rise_from_champion", "report")
Margins = dict[tuple[Bound, Reference], float | None]

PATHS_START = "paths start at the folder of this file"

TARGET_TEMPLATES = ("auto", "none", "base", "tuned")
GENERAL_TEMPLATES = ("auto", "none", "base")


@dataclass(slots=True)
class Entries:
    """What the entries read so far ask to measure and to hold."""

    folder: Path  # of the policy file; its paths start there
    by_id: dict[str, TaskSpec] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)

    def add(
        self,
        section: Section,
        spec: TaskSpec,
        margins: Mapping[tuple[Bound, Reference], float | None],
        parts: SlicesRule | None = None,
    ) -> None:
        """Keep one entry, unless its task stands there already; `parts` is its rule about its slices."""
        known = self.by_id.setdefault(spec.id, spec)
        if known is not spec:
            message = f"`{spec.task}` stands here twice, first in line {known.place.line}"
            section.complain(None, message, "keep one")
            return
        for (bound, reference), margin in margins.items():
            key = bound_name(bound, reference)
            place = section.place(key) if key in section.data else section.place()
            rule = Rule(spec.kind, spec.task, bound, margin, spec.metric, spec.filter, place)
            self.rules.append(replace(rule, reference=reference))
        if parts is not None:
            named = spec.metric, spec.filter, parts.place
            rule = Rule(spec.kind, spec.task, "max_drop", parts.margin, *named, slices=parts.slices)
            self.rules.append(rule)


def read_target(section: Section, entries: Entries) -> None:
    """`target:`, a list of tasks with `min_gain` or `min_score` or both."""
    for index, value in enumerate(section.entries("target")):
        entry = _entry(section, ("target", index), value)
        if entry is None:
            continue
        entry.only(TARGET_KEYS)
        margins = _margins(entry, ("min_gain", "min_score"), ("min_gain", "max_drop"))
        if not {*TARGET_KEYS[1:5]} & entry.data.keys():
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
    defaults, held = _defaults(general)
    if "tasks" not in general.data:
        general.complain(None, "has no `tasks`", "list the tasks that must not get worse")
    has_average = "average" in general.data
    for index, value in enumerate(general.entries("tasks")):
        entry = _entry(general, ("tasks", index), {"task": value} if isinstance(value, str) else value)
        if entry is None:
            continue
        entry.only(TASK_KEYS)
        margins = {**held, **_margins(entry, ("max_drop",), ("max_drop",))}
        parts = read_slices(entry)
        asked = {*entry.data, *_defaulted(general)} & {"max_drop", "max_drop_from_champion", "slices"}
        if not asked and not has_average:
            hint = "set `max_drop` here or in `general.defaults`, or an `average`"
            entry.complain(None, "nothing is asked of this task", hint)
        options = {**defaults, **_options(entry, GENERAL_TEMPLATES)}
        _add_task(entry, "general", options, margins, entries, parts)
    if has_average:
        _read_average(general, entries)


def _defaulted(general: Section) -> Sequence[str]:
    defaults = general.data.get("defaults")
    return list(defaults) if isinstance(defaults, dict) else []


def _defaults(general: Section) -> tuple[dict[str, Any], Margins]:
    if "defaults" not in general.data:
        return {}, {}
    defaults = general.section("defaults", general.data["defaults"])
    if defaults is None:
        return {}, {}
    defaults.only(DEFAULTS_KEYS)
    return _options(defaults, GENERAL_TEMPLATES), _margins(defaults, ("max_drop",), ("max_drop",))


def _margins(entry: Section, base: Sequence[Bound], champion: Sequence[Bound]) -> Margins:
    """The margins that a mapping sets: of its bounds against the base, and of those against the champion."""
    asked: list[tuple[Bound, Reference]] = [(bound, "base") for bound in base]
    asked += [(bound, "champion") for bound in champion]
    read = {each: entry.number(bound_name(*each), 0.0) for each in asked}
    return {each: margin for each, margin in read.items() if margin is not None}


def _read_average(general: Section, entries: Entries) -> None:
    average = general.section("average", general.data["average"])
    if average is None:
        return
    average.only(AVERAGE_KEYS)
    if not {*AVERAGE_KEYS} & average.data.keys():
        average.complain(None, "needs `max_drop`", "for example `max_drop: 0.01`")
    for (bound, reference), margin in _margins(average, ("max_drop",), ("max_drop",)).items():
        place = average.place(bound_name(bound, reference))
        entries.rules.append(Rule("average", "general", bound, margin, place=place, reference=reference))


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


def _text_margins(entry: Section) -> Margins:
    held, report = _margins(entry, ("max_rise",), ("max_rise",)), entry.flag("report")
    judged = {"max_rise", "max_rise_from_champion"} & entry.data.keys()
    if judged and report:
        entry.complain("report", "excludes `max_rise`", "what is judged is shown as well")
    if not judged and report is not True and "report" in entry.data:
        entry.complain("report", "nothing is asked of this corpus", "set `max_rise`, or `report: true`")
    if not judged and "report" not in entry.data:
        entry.complain(None, "needs `max_rise` or `report: true`")
    return {("report", "base"): None} if report and not held else held


def _entry(section: Section, keys: tuple[str, int], value: Any) -> Section | None:
    within = Section(section.file, (*section.keys, keys[0]), {}, section.problems)
    if isinstance(value, dict):
        return within.section(keys[1], value)
    within.complain(keys[1], f"expected a mapping such as {{task: NAME, ...}}, got {shown(value)}")
    return None


def _add_task(
    entry: Section,
    kind: Kind,
    options: dict[str, Any],
    margins: Margins,
    entries: Entries,
    parts: SlicesRule | None = None,
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
    by = parts.slices.by if parts else None
    spec = TaskSpec(kind, name, path, place=entry.place(), slice_by=by, **options)
    entries.add(entry, spec, margins, parts)


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
