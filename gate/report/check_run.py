"""What a config's check run shows: title, summary, text and remarks on lines, as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gate.records import CiRun, ConfigRun, TrainingConfig
from gate.report import sections
from gate.report.pull_request import DETAILS, OVERVIEW, config_texts, fits, verdict_line
from gate.report.remarks import Remark, remarks_of, title_of
from gate.report.sections import PullContext, paragraph
from gate.report.standing import counted, overall, standing, standings
from gate.report.text import title_words
from gate.report.view import View

CHECK_LIMIT = 65_000  # bytes; GitHub takes 65,535 of summary and of text
_SHEDDING = ("flips", "measured", "trends", "provenance", "overrides", "carried", "folded", "warnings")
_MARKED = 400  # bytes more for a report that is carried over: it was within the limit before it was marked


@dataclass(frozen=True, slots=True)
class CheckRunText:
    """A check run: `title` is one plain line, `summary` and `text` are Markdown."""

    title: str
    summary: str
    text: str = ""
    remarks: tuple[Remark, ...] = ()


def render_check_run(
    view: View | None,
    config_run: ConfigRun,
    run: CiRun,
    context: PullContext | None = None,
    *,
    config: TrainingConfig | None = None,
    limit: int = CHECK_LIMIT,
) -> CheckRunText:
    """One config's check run. `config` says on which lines its keys stand, where it could be read."""
    context = context or PullContext()
    found = standing(config_run, view)
    texts = config_texts(found, context)
    summary = paragraph(f"### {found.kind.icon} {sections.statement(found)}")
    summary += texts["reason"] + texts["table"] + texts["since"]
    whole = bool(config_run.carried) and view is None  # it says its own cost, policy and trust
    if not whole:
        summary += sections.cost([found], context) + sections.policy(run) + sections.trust(run, [found])
    if not fits(summary, limit + _MARKED * whole):
        summary = paragraph(f"### {found.kind.icon} {sections.statement(found)}") + texts["reason"]
    kept = list(DETAILS)
    reproduce = sections.reproduce([found])
    for name in (*_SHEDDING, ""):
        text = "".join(texts[detail] for detail in kept) + reproduce
        if fits(text, limit) or not name:
            break
        kept.remove(name)
    path = context.policy_path or run.policy.path
    remarks = remarks_of(found, config, path, run.policy.lines)
    return CheckRunText(title_of(found), summary, text, remarks)


def render_overall_check_run(
    run: CiRun, views: Mapping[str, View], comment: str, context: PullContext | None = None
) -> CheckRunText:
    """The check run of the whole pull request: `comment` is its text, whole, for whoever restores it."""
    found, kind = standings(run, views), overall(run)
    if len(found) == 1:
        title = title_of(found[0])
    elif found:
        title = f"{kind.label}: {counted(found)}"
    else:
        said = title_words(run.error or run.message, 160)
        title = f"{kind.label}: {said}" if run.error else said or "no training config changed"
    summary = verdict_line(run, found) + sections.overview(found, OVERVIEW)
    return CheckRunText(title[:200], summary + sections.cost(found, context or PullContext()), comment)
