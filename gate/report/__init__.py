"""Verdict -> comment.md, report.html, junit.xml, verdict.json and the terminal. The only user of Jinja."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gate.records import Flip, TaskInfo
from gate.records.history import PastVerdict
from gate.report.check_run import CheckRunText, render_check_run, render_overall_check_run
from gate.report.comparison import ComparisonRow, comparison_row, comparison_sentence, comparison_table
from gate.report.document import (
    SCHEMA_FILE,
    StoredVerdict,
    encode_document,
    make_document,
    parse_document,
    read_document,
)
from gate.report.environment import fill, painter, said_plain, wrapped
from gate.report.junit import render_junit
from gate.report.override import TeamTemplate
from gate.report.pathplot import MOST_PATHS
from gate.report.pull_request import render_pull_request, render_summary
from gate.report.remarks import Remark
from gate.report.rows import Row, severity, worst_first
from gate.report.sections import PullContext
from gate.report.svg import bar
from gate.report.text import quiet
from gate.report.trend import make_trends
from gate.report.view import View, make_view
from gate.verdict import Failure, Verdict
from gate.verdict.paths import RulePath

COMMENT_LIMIT = 60_000  # GitHub refuses comments of more than 65,536 characters
# What a comment may show, in the order in which it is given up when there is too much.
SHEDDING = {
    "flips": "the other documents that flipped",
    "measured": "how it was measured",
    "paths": "how rules were settled early",
    "trends": "the rules over the last verdicts",
    "provenance": "cost and provenance",
    "slices": "the slices of tasks",
    "holding": "the rules that hold",
    "overrides": "what the gate changed in the config",
    "three": "documents that broke",
    "warnings": "warnings",
    "failing": "the rules that do not hold",
}
PER_TASK = 20  # flipped documents of a task in the HTML
LISTED = 14  # rules in the terminal


@dataclass(frozen=True, slots=True)
class Report:
    """A result in every form: `document` is verdict.json, the others are text."""

    document: bytes
    comment: str
    html: str
    terminal: str
    junit: str


def render(
    result: Verdict | Failure,
    flips: Sequence[Flip],
    tasks: Sequence[TaskInfo],
    *,
    folder: Path | None = None,
    colour: bool = False,
    paths: Sequence[RulePath] = (),
    history: Sequence[PastVerdict] = (),
) -> Report:
    """Everything that a run leaves for people and programs. `folder` is named in the terminal's report;
    `paths` are of rules that were settled early; `history` has earlier verdicts on this config."""
    view = make_view(result, flips, tasks, str(folder) if folder else "", paths)
    view = with_trends(view, history)
    return Report(
        document=encode_document(result),
        comment=render_comment(view),
        html=fill("report.html.j2", {"view": view, "per_task": PER_TASK}),
        terminal=render_terminal(view, colour=colour),
        junit=render_junit(result, view),
    )


def with_trends(view: View, history: Sequence[PastVerdict]) -> View:
    """The view beside earlier verdicts on its config, the oldest first."""
    return replace(view, trends=make_trends(worst_rows(view), history))


def worst_rows(view: View) -> list[Row]:
    """The rows, the worst first; none of a failure, whose numbers are no verdict."""
    return [] if view.trouble else sorted(view.rows, key=lambda row: severity(row.finding))


def render_comment(view: View, limit: int = COMMENT_LIMIT) -> str:
    """The pull request's comment, under `limit` characters: whole sections go, in `SHEDDING`'s order."""
    sections = list(SHEDDING)
    while True:
        left_out = [words for name, words in SHEDDING.items() if name not in sections]
        values = {"view": view, "sections": sections, "left_out": left_out, "bar": _bars(view, 23)}
        comment = fill("comment.md.j2", values)
        if len(comment) < limit or not sections:
            return comment
        sections.pop(0)


def render_terminal(view: View, *, colour: bool = False) -> str:
    """The terminal's report: plain text, at most 100 columns, about one screen."""
    listed = sorted(view.rows, key=lambda row: severity(row.finding))[:LISTED]
    paint = painter(colour)
    values = {
        "view": view,
        "headline": wrapped(f"{view.label}: {said_plain(view.claim)}", 96, 4),
        "listed": listed,
        "folded": len(view.rows) - len(listed),
        "report_path": str(Path(view.folder) / "report.html"),
        "paint": paint,
        "bar": _bars(view, 19),
    }
    return quiet(fill("terminal.txt.j2", values)).strip("\n") + "\n"


def _bars(view: View, width: int) -> dict[str, str]:
    return {mark.row.finding.rule: bar(mark, panel, width) for panel in view.panels for mark in panel.marks}


__all__ = [
    "MOST_PATHS",
    "SCHEMA_FILE",
    "CheckRunText",
    "ComparisonRow",
    "PullContext",
    "Remark",
    "Report",
    "StoredVerdict",
    "TeamTemplate",
    "View",
    "comparison_row",
    "comparison_sentence",
    "comparison_table",
    "make_document",
    "make_view",
    "parse_document",
    "read_document",
    "render",
    "render_check_run",
    "render_comment",
    "render_overall_check_run",
    "render_pull_request",
    "render_summary",
    "render_terminal",
    "with_trends",
    "worst_first",
]
