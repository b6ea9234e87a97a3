"""What a team's own template of the comment may use: narrow, frozen, documented in docs/comment.md.

Every string is safe wherever a template prints it: ours, or data that went through `text.anywhere`.
The fields named after blocks hold the built-in text of these blocks, as Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gate.report.quantities import BITS
from gate.report.rows import Row
from gate.report.sentence import said_with
from gate.report.standing import Standing
from gate.report.text import anywhere

CONFIG_TEXTS = ("heading", "reason", "table", "since", "details")
COMMENT_TEXTS = ("verdict", "overview", "policy", "reproduce", "cost", "trust", "left_out")
RULES = 200  # of a config, the worst first


@dataclass(frozen=True, slots=True)
class RuleFields:
    """One rule of a config. Numbers are as people read them; `difference` is in the metric's own unit."""

    kind: str  # target, general, average, text
    name: str
    outcome: str  # pass, fail, undecided, reported
    mark: str
    base: str
    tuned: str
    change: str
    noise: str
    spread: str
    unit: str
    limit: str
    bar: str
    within_noise: bool
    difference: float


@dataclass(frozen=True, slots=True)
class ConfigFields:
    """One changed config, and the built-in text of its blocks."""

    path: str
    method: str
    outcome: str  # pass, fail, undecided, error
    icon: str
    label: str
    claim: str
    blocked: str
    hint: str
    carried_from: str
    rules: tuple[RuleFields, ...]
    fell: int
    rose: int
    unchanged: int
    missing: int
    device_hours: float
    heading: str = ""
    reason: str = ""
    table: str = ""
    since: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True)
class CommentFields:
    """The whole comment, and the built-in text of the blocks that are no config's."""

    outcome: str  # pass, fail, undecided, error: the worst of all configs
    icon: str
    label: str
    headline: str
    pull: int
    head: str
    base_ref: str
    device_hours: float
    device_hours_so_far: float
    configs: tuple[ConfigFields, ...]
    verdict: str = ""
    overview: str = ""
    policy: str = ""
    reproduce: str = ""
    cost: str = ""
    trust: str = ""
    left_out: str = ""


def config_fields(found: Standing, bars: Mapping[str, str]) -> ConfigFields:
    """A config's fields, still without the built-in texts of its blocks."""
    run, view = found.run, found.view
    counts = view.counts if view else None
    return ConfigFields(
        path=anywhere(found.path),
        method=anywhere(view.method, 20) if view and view.method else "",
        outcome=run.outcome,
        icon=found.kind.icon,
        label=found.kind.label,
        claim=said_with(view.claim, anywhere) if view else "",
        blocked=anywhere(run.blocked, 600) if run.blocked else "",
        hint=anywhere(run.hint, 1200) if run.hint else "",
        carried_from=anywhere(run.carried_from, 40) if run.carried_from else "",
        rules=tuple(_rule(row, bars) for row in found.rows[:RULES]),
        fell=counts.fell if counts else 0,
        rose=counts.rose if counts else 0,
        unchanged=counts.unchanged if counts else 0,
        missing=counts.missing if counts else 0,
        device_hours=round(view.device_seconds / 3600, 4) if view and not run.carried_from else 0.0,
    )


def _rule(row: Row, bars: Mapping[str, str]) -> RuleFields:
    ours = row.noun in ("", "points", BITS)
    return RuleFields(
        kind=row.finding.kind if row.finding.kind.isalpha() else anywhere(row.finding.kind, 20),
        name=anywhere(row.name, 100),
        outcome=row.outcome,
        mark=row.mark,
        base=row.base,
        tuned=row.tuned,
        change=row.change,
        noise=row.noise,
        spread=row.spread,
        unit=row.noun if ours else anywhere(row.noun, 30),
        limit=row.bound,
        bar=bars[row.finding.rule],
        within_noise=row.within_noise,
        difference=row.finding.difference,
    )
