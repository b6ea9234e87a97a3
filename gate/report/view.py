"""A result as its readers meet it: what the templates need, worked out once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gate.records import Finding, Flip, ModelRef, Override, TaskInfo
from gate.report.origin import costs_of, facts_of, models_of, stored_of, warnings_of
from gate.report.pathplot import PathPlot, path_plots
from gate.report.quantities import device_hours, duration
from gate.report.rows import Row, make_row, severity, task_key, task_name
from gate.report.sentence import LABELS, Sentence, claim, main_target, stage_name, worst_general
from gate.report.slices import SliceTable, slice_tables
from gate.report.svg import Pairs, Panel, against, forest
from gate.report.trainings import NO_TRAININGS, Trainings, trainings_of
from gate.report.trend import Trend
from gate.verdict import Failure, Verdict
from gate.verdict.paths import RulePath

THREE = 3
_WHAT_TO_DO = {
    "out_of_memory": "Use a smaller batch with more accumulation, or a machine with more memory.",
    "training_error": "Read the trainer's log in the run's folder; mend the config and run the check again.",
    "non_finite_loss": "Lower the learning rate or check the data: the training itself did not hold.",
    "not_like_for_like": "Measure both models with the same template, tokenizer and tasks.",
    "interrupted": "Run the same command again: it goes on where it stopped.",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """Documents of all right-or-wrong tasks, each task once; `missing` were not measured."""

    fell: int = 0
    rose: int = 0
    unchanged: int = 0
    missing: int = 0

    @property
    def total(self) -> int:
        return self.fell + self.rose + self.unchanged + self.missing


@dataclass(frozen=True, slots=True)
class Broken:
    """One task's documents that the base had right and the tuned model wrong."""

    name: str
    flips: tuple[Flip, ...]  # those at hand
    total: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no verdict, and what to do."""

    code: str
    stage: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything a report shows. Strings that are data are raw; templates make them harmless."""

    outcome: str
    label: str
    claim: Sentence
    trouble: Trouble | None
    rows: tuple[Row, ...]
    target: Row | None
    worst: Row | None
    counts: Counts
    panels: tuple[Panel, ...]
    pairs: tuple[Pairs, ...]
    three: tuple[Flip, ...]
    broken: tuple[Broken, ...]
    tasks: tuple[TaskInfo, ...]
    limited: tuple[TaskInfo, ...]
    warnings: tuple[str, ...]
    overrides: tuple[Override, ...]
    hours: str
    elapsed: str
    stored: str
    cost: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, ModelRef], ...]
    facts: tuple[tuple[str, str], ...]
    subject: str  # what was judged: the config's path, else the tuned model's name
    method: str
    level: str  # of the intervals, e.g. "95 %"
    folder: str = ""
    device_seconds: float = 0.0
    trainings: Trainings = NO_TRAININGS
    paths: tuple[PathPlot, ...] = ()
    trends: tuple[Trend, ...] = ()
    champion: str = ""  # the name of what rules against the champion compare with

    @property
    def failing(self) -> tuple[Row, ...]:
        """Rules that do not hold, and those that are undecided, worst first."""
        broken = [row for row in self.rows if row.outcome in ("fail", "undecided")]
        return tuple(sorted(broken, key=lambda row: severity(row.finding)))

    @property
    def early(self) -> tuple[Row, ...]:
        """Rules whose documents were not all scored."""
        return tuple(row for row in self.rows if row.finding.early)

    @property
    def settled_early(self) -> int:
        """How many of these are settled."""
        return sum(row.outcome in ("pass", "fail") for row in self.early)

    @property
    def unsettled(self) -> int:
        """How many of these are not, though a verdict was asked of them."""
        return sum(row.outcome == "undecided" for row in self.early)

    @property
    def holding(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.outcome == "pass")

    @property
    def shown(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.outcome == "reported")

    @property
    def waived(self) -> tuple[Row, ...]:
        """Rules with a waiver, whatever they came to."""
        return tuple(row for row in self.rows if row.finding.waiver)

    @property
    def sliced(self) -> tuple[SliceTable, ...]:
        """The slices of each rule over slices."""
        return slice_tables(self.rows)

    @property
    def flipped(self) -> int:
        return sum(group.total for group in self.broken)


def make_view(
    result: Verdict | Failure,
    flips: Sequence[Flip],
    tasks: Sequence[TaskInfo],
    folder: str = "",
    paths: Sequence[RulePath] = (),
) -> View:
    """The view of a verdict, or of a failure whose findings then carry no outcome."""
    findings = result.findings
    if isinstance(result, Failure):
        findings = tuple(replace(finding, outcome="reported") for finding in findings)
    rows = tuple(make_row(finding) for finding in findings)
    broken = _broken(flips, findings)
    target, worst = main_target(findings), worst_general(findings)
    return View(
        outcome=result.outcome,
        label=LABELS[result.outcome],
        claim=claim(result),
        trouble=_trouble(result) if isinstance(result, Failure) else None,
        rows=rows,
        target=None if target is None else make_row(target),
        worst=None if worst is None else make_row(worst),
        counts=count_documents(findings),
        panels=forest(rows),
        pairs=against(rows),
        three=_three(broken),
        broken=broken,
        tasks=tuple(tasks),
        limited=tuple(task for task in tasks if task.documents_planned < task.documents_total),
        warnings=warnings_of(result),
        overrides=result.config.overrides if result.config else (),
        hours=device_hours(result.cost.total_seconds, result.cost.devices),
        elapsed=duration(result.cost.total_seconds),
        stored=stored_of(result.cost),
        cost=tuple(costs_of(result.cost)),
        models=tuple(models_of(result)),
        facts=tuple(facts_of(result)),
        subject=result.config.path if result.config else result.tuned.name if result.tuned else "",
        method=result.config.method if result.config else "",
        level=_level(findings),
        folder=folder,
        device_seconds=result.cost.total_seconds * result.cost.devices,
        champion=result.champion.name if isinstance(result, Verdict) and result.champion else "",
        trainings=trainings_of(result, rows),
        paths=path_plots(sorted(rows, key=lambda row: severity(row.finding)), paths),
    )


def _level(findings: Sequence[Finding]) -> str:
    """The confidence of the intervals that stand beside numbers, in per cent."""
    level = next((finding.interval.level for finding in findings if not finding.slices), 0.95)
    return f"{100 * level:.10g} %"


def count_documents(findings: Sequence[Finding]) -> Counts:
    """Documents that fell, rose or stayed. Text is left out (every document moves there), and so are
    means over tasks, which count their documents a second time."""
    whole = (finding for finding in reversed(findings) if not finding.slices)
    tasks = {task_key(f): f for f in whole if f.kind not in ("average", "text")}
    counted = tasks.values()
    return Counts(
        fell=sum(finding.fell for finding in counted),
        rose=sum(finding.rose for finding in counted),
        unchanged=sum(finding.unchanged for finding in counted),
        missing=sum(finding.documents_total - finding.documents_scored for finding in counted),
    )


def _counts(finding: Finding) -> bool:
    return finding.kind not in ("average", "text") and finding.reference == "base"


def _broken(flips: Iterable[Flip], findings: Sequence[Finding]) -> tuple[Broken, ...]:
    about: dict[str, list[Finding]] = {}
    for finding in findings:
        about.setdefault(task_key(finding), []).append(finding)
    groups: dict[str, list[Flip]] = {}
    for flip in flips:
        if flip.fell:
            groups.setdefault(flip.task, []).append(flip)

    def order(task: str) -> tuple[tuple[int, float, float], str]:
        return min((severity(finding) for finding in about.get(task, ())), default=(9, 0.0, 0.0)), task

    def group(task: str) -> Broken:
        total = max((finding.fell for finding in about.get(task, ())), default=0)
        name = task_name(task.partition("/")[0], task)
        return Broken(name, tuple(groups[task]), max(total, len(groups[task])))

    return tuple(group(task) for task in sorted(groups, key=order))


def _three(broken: Sequence[Broken]) -> tuple[Flip, ...]:
    """Three documents in turn from the worst tasks, so that they do not all tell the same story."""
    turns = max((len(group.flips) for group in broken), default=0)
    chosen = [
        group.flips[turn] for turn in range(min(turns, THREE)) for group in broken if turn < len(group.flips)
    ]
    return tuple(chosen[:THREE])


def _trouble(failure: Failure) -> Trouble:
    error = failure.error
    hint = failure.hint or _WHAT_TO_DO.get(error.code, "Mend what the message names and run the check again.")
    return Trouble(error.code, stage_name(error.stage), error.message, hint)
