"""One comment for all configs that a pull request changes, and the job summary with the same content."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gate.records import CiRun
from gate.report import sections
from gate.report.environment import fill, part
from gate.report.fields import CommentFields, ConfigFields, config_fields
from gate.report.override import BUILT_IN, TeamTemplate, TemplateProblem, fill_team
from gate.report.sections import PullContext, paragraph
from gate.report.standing import Kind, Standing, counted, overall, standings
from gate.report.text import anywhere, code, words
from gate.report.view import View

PULL_LIMIT = 60_000  # bytes of UTF-8, so that the text also fits a check run's 65,535
SUMMARY_LIMIT = 1_000_000  # bytes; GitHub takes 1 MiB
OVERVIEW = 60  # configs in the table of all
# What is given up when there is too much, of all configs at once, in this order.
PULL_SHEDDING = {
    "flips": "the documents that flipped",
    "measured": "how it was measured",
    "trends": "the rules over the last verdicts",
    "provenance": "cost and provenance",
    "overrides": "what the gate changed in the configs",
    "carried": "the details of reports that were carried over",
    "difference": "the policy’s difference",
    "folded": "the other rules",
    "merging": "the tables of configs that may merge",
    "warnings": "warnings",
    "since": "what changed since the previous push",
    "table": "the tables of rules",
    "reproduce": "how to reproduce it",
    "proposed": "the proposed rules",
    "configs": "each config’s own section",
}
DETAILS = ("folded", "trends", "warnings", "flips", "overrides", "measured", "provenance", "carried")


@dataclass(frozen=True, slots=True)
class _Draft:
    """Everything that could be said, in sections; `fields` puts the kept ones together."""

    run: CiRun
    context: PullContext
    found: tuple[Standing, ...]
    plain: tuple[ConfigFields, ...]  # of each of `found`, without texts
    texts: tuple[Mapping[str, str], ...]  # a config's sections, likewise
    own: Mapping[str, str]  # the sections that are no config's

    def fields(self, kept: Collection[str], shown: int) -> CommentFields:
        """The fields with the sections in `kept` and `shown` configs in the overview."""
        run, own = self.run, self.own
        left_out = [said for name, said in PULL_SHEDDING.items() if name not in kept]
        kind = overall(run)
        seconds = sections.seconds_of(self.found)
        return CommentFields(
            outcome=run.outcome,
            icon=_icon(self.found, kind),
            label=kind.label,
            headline=_headline(run, self.found, kind, anywhere),
            verdict=verdict_line(run, self.found),
            pull=run.event.pull,
            head=anywhere(run.event.head_sha, 40),
            base_ref=anywhere(run.event.base_ref, 100),
            device_hours=round(seconds / 3600, 4),
            device_hours_so_far=round(seconds / 3600 + self.context.spent, 4),
            configs=tuple(
                replace(plain, **self._kept(one, texts, kept))
                for one, plain, texts in (self._each() if "configs" in kept else ())
            ),
            overview=own["stopped"] + sections.overview(self.found, shown) + own["deleted"],
            policy="".join(own[name] for name in ("policy", "proposed", "difference") if _in(name, kept)),
            reproduce=own["reproduce"] if "reproduce" in kept else "",
            cost=own["cost"],
            trust=own["trust"],
            left_out=_left_out(left_out, self.context),
        )

    def _each(self) -> Iterable[tuple[Standing, ConfigFields, Mapping[str, str]]]:
        return zip(self.found, self.plain, self.texts, strict=True)

    def _kept(self, one: Standing, texts: Mapping[str, str], kept: Collection[str]) -> dict[str, Any]:
        """A config's blocks, as far as they are kept; beside others its details are one fold."""
        table = "table" in kept and (one.key != "pass" or "merging" in kept)
        details = "".join(texts[name] for name in DETAILS if name in kept)
        several = len(self.found) > 1
        return {
            "heading": texts["heading"] if several else "",  # the verdict says it
            "reason": texts["reason"],
            "table": texts["table"] if table else "",
            "since": texts["since"] if "since" in kept else "",
            "details": sections.folded("Details", details) if several else details,
        }


def render_pull_request(
    run: CiRun,
    views: Mapping[str, View],
    context: PullContext | None = None,
    *,
    template: TeamTemplate | None = None,
    limit: int = PULL_LIMIT,
) -> str:
    """The pull request's comment, without a marker: under `limit` bytes of UTF-8.

    `views` has a view for each config's path where one is at hand. `template` is the base ref's own; one
    that cannot be used is named in a warning, with file and line, and the built-in text stands.
    """
    draft = _draft(run, views, context or PullContext())
    if template is None:
        return _fitted(draft, _built_in, limit)
    try:
        text = _fitted(draft, lambda fields: fill_team(template, fields), limit)
        if fits(text, limit):
            return text
        problem = TemplateProblem(f"writes more than {limit:,} bytes when all else is left out", 0)
    except TemplateProblem as error:
        problem = error
    said = _template_warning(template, problem)
    return _fitted(draft, lambda fields: _built_in(fields) + said, limit)


def render_summary(
    run: CiRun, views: Mapping[str, View], context: PullContext | None = None, limit: int = SUMMARY_LIMIT
) -> str:
    """The job summary: the comment's content, with nothing left out below GitHub's 1 MiB."""
    return _fitted(_draft(run, views, context or PullContext()), _built_in, limit)


def fits(text: str, limit: int) -> bool:
    """Whether `text` has fewer than `limit` bytes as UTF-8."""
    return len(text.encode()) < limit


def _fitted(draft: _Draft, write: Callable[[CommentFields], str], limit: int) -> str:
    kept, shown = list(PULL_SHEDDING), OVERVIEW
    while True:
        text = write(draft.fields(kept, shown))
        if fits(text, limit):
            return text
        if kept:
            kept.pop(0)
        elif shown:
            shown //= 2
        else:
            return text


def _template_warning(template: TeamTemplate, problem: TemplateProblem) -> str:
    place = f"{template.path}:{problem.line}" if problem.line else template.path
    why = words(problem.message, 300)
    return (
        f"\n**Warning:** the template {code(place, 200)} cannot be used: {why}. This is the built-in text.\n"
    )


def _built_in(fields: CommentFields) -> str:
    return fill(BUILT_IN, {"comment": fields}).strip() + "\n"


def _draft(run: CiRun, views: Mapping[str, View], context: PullContext) -> _Draft:
    found = standings(run, views)
    policy = run.policy
    own = {
        "stopped": paragraph(part("stopped", overall(run).label.capitalize(), run.error, run.hint))
        if run.error
        else "",
        "deleted": sections.deleted(run),
        "policy": sections.policy(run),
        "proposed": paragraph(part("proposed", policy.proposed)) if policy.proposed else "",
        "difference": paragraph(part("difference", policy.difference)) if policy.difference.strip() else "",
        "reproduce": sections.reproduce(found),
        "cost": sections.cost(found, context),
        "trust": sections.trust(run, found),
    }
    plain = tuple(config_fields(one, sections.bars(one.view)) for one in found)
    return _Draft(run, context, found, plain, tuple(config_texts(one, context) for one in found), own)


def config_texts(found: Standing, context: PullContext) -> dict[str, str]:
    """Every section of one config, in Markdown; empty where there is nothing to say."""
    view = found.view
    texts = {"heading": sections.heading(found), "reason": sections.reason(found)}
    texts |= {"table": sections.table(found), "since": sections.since(found, context)}
    texts |= dict.fromkeys(DETAILS, "")
    texts["provenance"] = sections.provenance(found)
    if view is None:
        own = sections.reproduce([found]).strip()  # said again below, with the others' commands
        texts["carried"] = paragraph(found.run.carried.details.removesuffix(own))
        texts["table"] = paragraph(found.run.carried.summary)
        return texts
    texts["folded"] = sections.folded_rules(found) + sections.slices(found)
    for name, there in (
        ("trends", view.trends),
        ("warnings", view.warnings),
        ("flips", view.broken),
        ("overrides", view.overrides),
        ("measured", view.tasks),
    ):
        texts[name] = paragraph(part(name, view)) if there else ""
    return texts


def _in(name: str, kept: Collection[str]) -> bool:
    return name in kept or name not in PULL_SHEDDING


def verdict_line(run: CiRun, found: Sequence[Standing]) -> str:
    """The whole run's verdict as a heading of one line."""
    kind = overall(run)
    return paragraph(f"### {_icon(found, kind)} {_headline(run, found, kind, words)}")


def _icon(found: Sequence[Standing], kind: Kind) -> str:
    return found[0].kind.icon if len(found) == 1 else kind.icon


def _headline(run: CiRun, found: Sequence[Standing], kind: Kind, said: Callable[[str, int], str]) -> str:
    """The verdict in one line; `said` makes what is data harmless."""
    if len(found) == 1:
        return sections.statement(found[0], said)
    if found:
        return f"{kind.label}: {counted(found)}"
    if run.error:
        return f"{kind.label}: {said(run.error, 200)}"
    return said(run.message, 200) if run.message else "no training config changed: nothing to judge"


def _left_out(said: Sequence[str], context: PullContext) -> str:
    if not said:
        return ""
    where = sections.link("the artifact", context.artifact_url) or "the run’s artifact"
    return paragraph(f"Left out to fit GitHub’s limit: {', '.join(said)}. Everything is in {where}.")
