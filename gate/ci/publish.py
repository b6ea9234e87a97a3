"""A finished run -> one comment, check runs, job summary, outputs, annotations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gate.ci.activity import comments, pending, worst
from gate.ci.attach import check_name
from gate.ci.proof import digest_verdicts, verdicts_of
from gate.ci.record import Posting, read_posting, read_views, write_posting
from gate.configs import load_config
from gate.errors import ConfigErrors, GateError, GitHubError, StoreError
from gate.github.api import Annotation, CheckOutput, Conclusion, GitHub
from gate.github.checkruns import Check, ending, external_id
from gate.github.commands import annotate, append_summary, command, write_outputs
from gate.github.events import Runner
from gate.github.marker import ConfigNumbers, Marker, Numbers
from gate.github.publishing import CommentMode, Publication, Receipt, publish, standing
from gate.records import CiRun, ConfigRun, TrainingConfig
from gate.shell import Shell

if TYPE_CHECKING:
    from gate.report.check_run import CheckRunText
    from gate.report.remarks import Remark
    from gate.report.sections import PullContext
    from gate.report.view import View

AGGREGATE = "ftgate"
HOUR = 3600.0


def finish(
    run: CiRun,
    run_dir: Path,
    runner: Runner,
    github: GitHub | None,
    shell: Shell,
    *,
    comment: CommentMode = "always",
    fail_on_undecided: bool = True,
    views: Mapping[str, View] | None = None,
    again: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> Receipt | None:
    """Tell GitHub and the runner how a run ended; nothing that fails here changes that.

    Check runs and comment where there is a token (`github`); where they could not be posted the same is in
    the job summary and in annotations. `again`: an earlier step of this job has told the runner already, so
    it hears only of what could not be posted. Returns the receipt of what was posted.
    """
    from gate.report.text import one_line

    receipt = None
    with _warned(shell):
        views = read_views(run_dir, run) if views is None else views
        if github is not None:
            receipt = _post(run, run_dir, views, runner, github, comment, fail_on_undecided, wait)
            for failure in receipt.failures:
                shell.warn(one_line(str(failure), 1_000))
    with _warned(shell):
        if not again or receipt is None or not receipt.complete:
            _tell_runner(run, run_dir, views or {}, runner, receipt, shell)
        elif runner.outputs is not None:
            write_outputs(runner.outputs, outputs_of(run, run_dir))
    return receipt


@contextmanager
def _warned(shell: Shell) -> Iterator[None]:
    """What cannot be told is a warning."""
    from gate.report.text import one_line

    try:
        yield
    except GateError as error:
        shell.warn(one_line(f"the result could not be published: {error.message}", 1_000))


def _post(
    run: CiRun,
    run_dir: Path,
    views: Mapping[str, View],
    runner: Runner,
    github: GitHub,
    comment: CommentMode,
    fail_on_undecided: bool,
    wait: Callable[[float], None],
) -> Receipt:
    from gate.report.override import TeamTemplate
    from gate.report.pull_request import render_pull_request

    posting = _look_up(run, run_dir, github, asked=comment != "never")
    context = _context(run, posting, runner)
    template = TeamTemplate(posting.template_path, posting.template) if posting.template_path else None
    text = render_pull_request(run, views, context, template=template)
    publication = make_publication(run, views, context, text, comment, fail_on_undecided)
    publication = replace(publication, numbers=numbers_of(views, posting))
    return publish(
        github,
        publication,
        shorten=lambda limit: render_pull_request(run, views, context, template=template, limit=limit),
        wait=wait,
    )


def make_publication(
    run: CiRun,
    views: Mapping[str, View],
    context: PullContext,
    text: str,
    comment: CommentMode = "always",
    fail_on_undecided: bool = True,
) -> Publication:
    """What is said of a run, without the numbers: a check run a config, one of the whole, and the comment."""
    from gate.report.check_run import render_check_run, render_overall_check_run

    event = run.event
    checks = []
    for config in run.runs:
        view = views.get(config.change.path)
        said = render_check_run(view, config, run, context, config=config_at(config.change.path))
        number = external_id(event.run_id, event.run_attempt, config.inputs)
        conclusion = _conclusion(config, fail_on_undecided)
        checks.append(Check(check_name(config.change.path), number, _output(said), conclusion, context.url))
    whole = render_overall_check_run(run, views, text, context)
    ended = ending(run.exit_code, fail_on_undecided=fail_on_undecided).conclusion
    aggregate = Check(
        AGGREGATE,
        external_id(event.run_id, event.run_attempt),
        _output(whole),
        None if pending(run.outcome, run.exit_code) else ended,
        context.url,
    )
    quiet = not run.runs and not run.deleted and not run.policy and not run.error
    return Publication(
        pull=event.pull if comments(event) and not pending(run.outcome, run.exit_code) else 0,
        head_sha=event.head_sha,
        run_id=event.run_id,
        attempt=event.run_attempt,
        text=text,
        aggregate=aggregate,
        checks=tuple(checks),
        comment="on-failure" if quiet and comment == "always" else comment,
    )


def _conclusion(config: ConfigRun, fail_on_undecided: bool) -> Conclusion | None:
    if pending(config.outcome, config.exit_code):
        return None
    return ending(config.exit_code, fail_on_undecided=fail_on_undecided).conclusion


def _output(said: CheckRunText) -> CheckOutput:
    return CheckOutput(said.title, said.summary, said.text, tuple(_annotation(each) for each in said.remarks))


def _annotation(remark: Remark) -> Annotation:
    return Annotation(remark.path, remark.line, remark.level, remark.message, remark.title)


def config_at(path: str) -> TrainingConfig | None:
    """The config at the head, for its lines; None where it cannot be read here (any more)."""
    try:
        return load_config(Path(path), trains=False)
    except ConfigErrors:
        return None


# ── The previous push ────────────────────────────────────────────────────────────────────────────


def _look_up(run: CiRun, run_dir: Path, github: GitHub, *, asked: bool) -> Posting:
    """What the comment that stands says of the previous push; kept, so that a repeat says the same.

    Whoever is not asked to comment may write under another login, and not see the comment: finding none,
    it leaves the looking to who comments.
    """
    posting = read_posting(run_dir)
    if posting.looked_up or not comments(run.event):
        return posting
    try:
        marked = standing(github, run.event.pull)
    except GitHubError:
        return posting
    if marked is not None and marked.numbers and not _is_own(run, marked.marker):
        previous = {each.config: dict(each.differences) for each in marked.numbers.configs}
        posting = replace(posting, previous=previous, spent=marked.numbers.device_seconds)
    posting = replace(posting, looked_up=asked or marked is not None)
    with suppress(StoreError):  # a full disk: a repeat looks again
        if run_dir.is_dir():  # an announcement has none
            write_posting(run_dir, posting)
    return posting


def _is_own(run: CiRun, marker: Marker) -> bool:
    own = (run.event.head_sha, run.event.run_id, run.event.run_attempt)
    return (marker.head, marker.run, marker.attempt) == own


def numbers_of(views: Mapping[str, View], posting: Posting) -> Numbers:
    """What the next push compares itself with: this one's numbers, and older ones of other configs."""
    found = dict(posting.previous)
    for path, view in views.items():
        if view.rows and not view.trouble:
            found[path] = {row.finding.rule: row.finding.difference for row in view.rows}
    configs = tuple(ConfigNumbers(path, tuple(numbers.items())) for path, numbers in found.items())
    return Numbers(configs, posting.spent + sum(view.device_seconds for view in views.values()))


def _context(run: CiRun, posting: Posting, runner: Runner) -> PullContext:
    from gate.report.sections import PullContext

    url = runner.run_url(run.event)
    measured = any(not (each.carried_from or each.blocked) and each.folder for each in run.runs)
    return PullContext(
        url=url,
        # The artifact's own address is known only once it is uploaded, which is after this, so that it holds
        # what was published: the run's page lists it under this anchor.
        artifact_url=f"{url}#artifacts" if url and measured else "",
        previous=posting.previous,
        spent=posting.spent / HOUR,
        policy_path=posting.policy_path,
    )


# ── The runner ───────────────────────────────────────────────────────────────────────────────────


def _tell_runner(
    run: CiRun,
    run_dir: Path,
    views: Mapping[str, View],
    runner: Runner,
    receipt: Receipt | None,
    shell: Shell,
) -> None:
    from gate.report.pull_request import render_summary

    if runner.outputs is not None:
        write_outputs(runner.outputs, outputs_of(run, run_dir))
    context = _context(run, read_posting(run_dir), runner)
    if runner.summary is not None:
        append_summary(runner.summary, render_summary(run, views, context))
    posted = receipt.checks if receipt else ()
    if runner.actions and (receipt or run.mode != "judge"):  # a judge's publishing step has the remarks
        for line in annotations_of(run, views, context, posted):
            shell.say(line)
        for failure in receipt.failures if receipt else ():
            shell.say(command("warning", str(failure), title="ftgate could not publish"))


def annotations_of(
    run: CiRun, views: Mapping[str, View], context: PullContext, posted: Sequence[str]
) -> list[str]:
    """Workflow commands with the remarks of every config that has no check run to carry them."""
    from gate.report.check_run import render_check_run

    lines = [command("error", run.error, title="ftgate")] if run.error else []
    for config in run.runs:
        path = config.change.path
        if check_name(path) not in posted:
            said = render_check_run(views.get(path), config, run, context, config=config_at(path))
            lines += [annotate(_annotation(remark)) for remark in said.remarks]
    return lines


def outputs_of(run: CiRun, run_dir: Path) -> dict[str, str]:
    """The step's outputs; report and verdict are those of the config that ended worst."""
    code = worst([config.exit_code for config in run.runs])
    first = next((config for config in run.runs if config.exit_code == code), None)
    folder = run_dir / first.folder if first else run_dir
    paths = {"report-path": folder / "report.html", "verdict-path": folder / "verdict.json"}
    found = {name: str(path) if path.is_file() else "" for name, path in paths.items()}
    verdicts = digest_verdicts(verdicts_of(run.runs))
    return {"outcome": run.outcome, **found, "run-dir": str(run_dir), "verdicts": verdicts}
