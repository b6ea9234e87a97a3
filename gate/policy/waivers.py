"""`waivers:` of a policy: exceptions to single rules, each with a reason and a last day."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from gate.policy.fields import Section
from gate.records import CHAMPION_BOUNDS, Rule, Waiver
from gate.yamlfile import nearest, shown

BOUNDS = ("max_drop", "min_gain", "min_score", "max_rise", *CHAMPION_BOUNDS.values())
WAIVER_KEYS = ("rule", *BOUNDS, "skip", "reason", "until")

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def apply_waivers(section: Section, rules: Sequence[Rule], today: date) -> tuple[Rule, ...]:
    """The rules, each with the waiver that names it. Notes every problem: a waiver that ended before `today`,
    one that waives nothing, one without a reason or a last day, a rule that is not there."""
    by_id = {rule.id: rule for rule in rules}
    found: dict[str, Waiver] = {}
    within = Section(section.file, ("waivers",), {}, section.problems)
    for index, value in enumerate(section.entries("waivers")):
        if not isinstance(value, dict):
            within.complain(index, f"expected a mapping such as {{rule: ID, ...}}, got {shown(value)}")
        elif entry := within.section(index, value):
            _read(entry, by_id, found, today)
    return tuple(replace(r, margin=w.shown_margin, waiver=w) if (w := found.get(r.id)) else r for r in rules)


def _read(entry: Section, rules: dict[str, Rule], found: dict[str, Waiver], today: date) -> None:
    entry.only(WAIVER_KEYS)
    reason, until = _needed(entry, "reason"), _last_day(entry, today)
    rule = _rule(entry, rules)
    if rule is None:
        return
    margin, sound = _asked(entry, rule)
    if rule.id in found:
        entry.complain("rule", f"is waived twice, first in line {found[rule.id].place.line}", "keep one")
    elif reason and until and sound and rule.margin is not None:
        found[rule.id] = Waiver(rule.id, margin, rule.margin, reason, until.isoformat(), entry.place())


def _needed(entry: Section, key: str) -> str | None:
    if key not in entry.data:
        entry.complain(None, f"a waiver needs `{key}`", 'for example `reason: "legal model, no science"`')
    return entry.word(key)


def _last_day(entry: Section, today: date) -> date | None:
    """The waiver's last day, where it is a date that has not passed."""
    if "until" not in entry.data:
        entry.complain(None, "a waiver needs `until`, its last day", f"for example `until: {today}`")
        return None
    value = entry.data["until"]
    try:
        day = date.fromisoformat(value) if isinstance(value, str) and _DATE.fullmatch(value) else None
    except ValueError:
        day = None
    if day is None:
        entry.complain("until", f"expected a date such as {today}, got {shown(value)}")
    elif day < today:
        hint = "take the waiver out, or give it a later day if its reason still holds"
        entry.complain("until", f"this waiver ended on {day}, today is {today}", hint)
        return None
    return day


def _rule(entry: Section, rules: dict[str, Rule]) -> Rule | None:
    """The rule that the entry is about, where there is one that can fail."""
    if "rule" not in entry.data:
        entry.complain(
            None, "a waiver needs `rule`, a rule's id", f"for example `rule: {next(iter(rules), '')}`"
        )
    name = entry.word("rule")
    if name is None:
        return None
    rule = rules.get(name)
    if rule is None:
        hint = nearest(name, rules) or f"rules here: {', '.join(rules)}"
        entry.complain("rule", f"there is no rule {shown(name)}", hint)
    elif rule.margin is None:
        entry.complain(
            "rule", "this rule is only reported: there is nothing to waive", "leave the waiver out"
        )
        return None
    return rule


def _asked(entry: Section, rule: Rule) -> tuple[float | None, bool]:
    """The margin that the entry gives the rule (None: skip), and whether it is a sound one."""
    others = [key for key in BOUNDS if key in entry.data and key != rule.bound_name]
    for key in others:
        entry.complain(key, f"the rule's bound is `{rule.bound_name}`", f"write `{rule.bound_name}: ...`")
    margin, skip = entry.number(rule.bound_name, 0.0), entry.flag("skip")
    if rule.bound_name in entry.data and skip:
        entry.complain("skip", f"excludes `{rule.bound_name}`", "keep one")
        return None, False
    if rule.bound_name not in entry.data and not skip:
        if not others:
            entry.complain(None, f"waives nothing: needs `{rule.bound_name}` or `skip: true`")
        return None, False
    if margin is not None and rule.margin is not None and not _looser(rule, margin):
        hint = "write a looser margin, or change the rule itself"
        entry.complain(rule.bound_name, f"{margin:g} is not looser than the rule's own {rule.margin:g}", hint)
        return None, False
    return margin, not others and (skip is True or margin is not None)


def _looser(rule: Rule, margin: float) -> bool:
    own = rule.margin or 0.0
    return margin < own if rule.bound in ("min_gain", "min_score") else margin > own
