"""`ftgate ci`: event -> changed configs -> runs -> published, as a table of contents."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gate.ci.activity import concluded, pending, worst
from gate.ci.announce import announced, being_measured, broken_off
from gate.ci.check import Check, CiSetting, check_whole, run_config
from gate.ci.needed import settled
from gate.ci.plan import CiOptions, CiPlan, make_plan, posting_of
from gate.ci.record import CI, begin, read_ci, write_ci, write_posting
from gate.ci.refs import at_tip
from gate.ci.remember import remember
from gate.ci.stores import clean_store, with_salt
from gate.errors import FAIL, PASS, UNDECIDED, StoreError, UsageError, as_gate_error
from gate.github.api import GitHub
from gate.github.commands import write_outputs
from gate.github.events import Runner, read_event, read_runner
from gate.github.token import Token
from gate.records import CiRun, ConfigRun, Event
from gate.repository import Repository
from gate.shell import Shell

EDITABLE = (
    "This check can be edited by the pull request, unless a required workflow or an App's own check is set "
    "up (docs/security.md)."
)
TRUST = {
    "check": "Trained and judged in one job, as one user: for trusted authors, as a pull request's code "
    "could have changed this result.",
    "train": "Trained; nothing was measured by this job.",
    "judge": "Measured on a clean machine, from weights alone.",
    "publish": "",
    "look": "",
}
LONGEST_LINE = 1_000  # characters of what the terminal says

PROGRESS_SECONDS = 20.0
"""How long a training waits for GitHub to take its progress."""

Connect = Callable[[Event, Runner, Token, float | None], GitHub]
"""GitHub for an event; the number is how many seconds one call may take, None for the client's own."""
Clients = tuple[GitHub | None, GitHub | None]
"""The patient one, and one for progress; both None without a token."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What `ftgate ci` does to the world beside files and git: tests hand in their own."""

    connect: Connect
    check: Check = check_whole
    wait: Callable[[float], None] = time.sleep


def connect_client(event: Event, runner: Runner, token: Token, seconds: float | None) -> GitHub:
    """GitHub over HTTP; its library is loaded only now."""
    from gate.github.client import Client
    from gate.github.transport import Pace

    pace = Pace() if seconds is None else Pace(seconds=seconds)
    return Client(event.repository, token, api_url=runner.api_url, app_login=runner.app_login, pace=pace)


CONNECTED = Effects(connect_client)


def run_ci(options: CiOptions, token: Token, shell: Shell, effects: Effects = CONNECTED) -> int:
    """Run what the event asks for, leave it in `run_dir`, tell GitHub; the exit code of the worst config.

    Raises `UsageError` where there is no event to speak of, `StoreError` where the folder cannot be made.
    """
    if options.mode == "publish":
        return publish_finished(options, token, shell, effects)
    if options.mode == "look":
        return look_only(options, token, shell, effects)
    options = replace(options, run_dir=options.run_dir.absolute(), handover=options.handover.absolute())
    begin(options.run_dir)
    runner, event = read_runner(shell.environ), read_event(shell.environ)
    publishes = token and options.mode in ("check", "judge")
    github = effects.connect(event, runner, token, None) if publishes else None
    hasty = effects.connect(event, runner, token, PROGRESS_SECONDS) if publishes else None
    run = CiRun(event, options.mode, created=shell.now(), trust=f"{TRUST[options.mode]} {EDITABLE}")
    try:
        run = replace(run, event=at_tip(find_pull(event, github), Repository(Path())))
        with stopped(runner):
            run = measure(run, options, runner, (github, hasty), shell, effects)
    except (Exception, KeyboardInterrupt) as error:
        known = as_gate_error(error)
        run = replace(run, outcome="error", exit_code=known.exit_code, error=known.message, hint=known.hint)
        if shell.environ.get("FTGATE_DEBUG", "0") not in ("", "0"):
            traceback.print_exception(error)
    try:
        write_ci(options.run_dir, run)
    except StoreError as error:  # a full disk: what is told needs no file
        shell.warn(error.message)
    remember(run, options.run_dir, options.history, shell)
    return tell(run, options, runner, github, shell, effects)


def tell(
    run: CiRun, options: CiOptions, runner: Runner, github: GitHub | None, shell: Shell, effects: Effects
) -> int:
    """Say on the terminal and on GitHub how it ended; the job's exit code.

    What is said on the terminal is one line: a second one could be a command to the runner.
    """
    from gate.ci.publish import finish
    from gate.report.text import one_line

    if run.error:
        shell.warn(one_line(run.error, LONGEST_LINE))
    elif run.message:
        shell.say(one_line(run.message, LONGEST_LINE))
    finish(
        run,
        options.run_dir,
        runner,
        github,
        shell,
        comment=options.comment,
        fail_on_undecided=options.fail_on_undecided,
        again=options.mode == "publish",
        wait=effects.wait,
    )
    return PASS if run.exit_code == UNDECIDED and not options.fail_on_undecided else run.exit_code


def publish_finished(options: CiOptions, token: Token, shell: Shell, effects: Effects) -> int:
    """`--mode publish`: post what the judge job left in `run_dir`, from the job that alone holds the token.

    No folder at all is an announcement, see `announced`, or with a handover beside it `being_measured`; a
    folder without a result is a job that broke off.
    Where nothing was concluded the job is red, unless another run is to judge (a fork's `workflow_run`).
    Raises `UsageError` where the result is another commit's.
    """
    runner, event = read_runner(shell.environ), read_event(shell.environ)
    if not token:
        raise UsageError("there is no token to publish with", hint="give the step GITHUB_TOKEN in its `env`")
    github = effects.connect(event, runner, token, None)
    event = at_tip(find_pull(event, github), Repository(Path()))
    run = CiRun(event, "publish", created=shell.now(), trust=EDITABLE)
    if options.run_dir.exists():
        left = (options.run_dir / CI).is_file()
        run = left_by_judge(options.run_dir, event) if left else broken_off(run, options, runner, shell)
    elif options.handover.is_dir():
        run = being_measured(run, options, runner, github, shell)
    else:
        run = announced(run, options, runner, github, shell, effects.wait)
    code = tell(run, options, runner, github, shell, effects)
    waits = pending(run.outcome, run.exit_code) and event.kind != "workflow_run"
    return FAIL if waits else code


def look_only(options: CiOptions, token: Token, shell: Shell, effects: Effects) -> int:
    """`--mode look`: before a fork's training, whether there is anything to train; 0, and nothing is posted.

    The output `outcome` is that of a finished run of the same inputs, `pass` where no config changed, else
    `undecided`. It decides nothing: what follows the training looks itself.
    """
    runner, event = read_runner(shell.environ), read_event(shell.environ)
    github = effects.connect(event, runner, token, None)
    run = CiRun(at_tip(event, Repository(Path())), "look", created=shell.now())
    run = announced(run, options, runner, github, shell, effects.wait)
    shell.say(f"nothing to train: {run.outcome}" if run.outcome in ("pass", "fail") else "to be trained")
    if runner.outputs is not None:
        write_outputs(runner.outputs, {"outcome": run.outcome})
    return PASS


def left_by_judge(run_dir: Path, event: Event) -> CiRun:
    """The judge job's result. Raises `UsageError` where it is not this event's, or not as it was left."""
    run = read_ci(run_dir)
    if run.runs and run.exit_code != worst(each.exit_code for each in run.runs):
        raise UsageError(
            f"{run_dir} contradicts itself: {run.exit_code} is not the worst of its configs",
            hint="publish what a run of `ftgate ci` left, as it left it",
        )
    if (run.event.repository, run.event.head_sha) != (event.repository, event.head_sha):
        raise UsageError(
            f"{run_dir} is about {run.event.head_sha[:12]}, this event about {event.head_sha[:12]}",
            hint="publish what this run's own judge job left",
        )
    if event.pull and run.event.base_ref != event.base_ref:
        raise UsageError(
            f"judged by the policy of {run.event.base_ref}, but it goes into {event.base_ref}",
            hint="a judge without a token knows the default branch alone",
        )
    return replace(run, event=event)


def measure(
    run: CiRun, options: CiOptions, runner: Runner, github: Clients, shell: Shell, effects: Effects
) -> CiRun:
    """The run with what its configs came to. Raises `GateError` where none could be run."""
    if run.event.trusted_ref or (run.mode, run.event.kind) == ("judge", "workflow_run"):
        clean_store(shell)
    with tempfile.TemporaryDirectory(prefix="ftgate-", dir=runner.temporary) as room:
        plan = make_plan(run.event, options, Repository(Path()), Path(room))
        run = replace(run, policy=plan.policy, deleted=plan.changes.deleted)
        ended = settled(run, plan)
        if ended is not None:
            return ended
        assert plan.setting is not None
        write_posting(options.run_dir, posting_of(plan.setting))
        return concluded(run, run_all(run, plan, plan.setting, options, runner, github, shell, effects))


def run_all(
    run: CiRun,
    plan: CiPlan,
    setting: CiSetting,
    options: CiOptions,
    runner: Runner,
    github: Clients,
    shell: Shell,
    effects: Effects,
) -> tuple[ConfigRun, ...]:
    """Each changed config's run, in the mode that was asked."""
    from gate.ci.watch import Watch

    changed, head = plan.changes.changed, run.event.head_sha
    if options.mode == "train":
        from gate.ci.train import train_configs

        return train_configs(changed, setting, shell, handover=options.handover, head=head)
    shell = with_salt(shell)
    watch = Watch(*github, run.event, setting, shell, runner.run_url(run.event), effects.wait)
    watch.start(changed)
    check = watch.watched(effects.check)
    if options.mode == "judge":
        from gate.ci.judge import judge_handover

        given, room = options.handover, runner.temporary
        return judge_handover(changed, setting, shell, handover=given, head=head, temporary=room, check=check)
    found = []
    for change in changed:
        carried = watch.attach(change)
        ended = carried or run_config(change, setting, shell, check=check)
        watch.ended(ended)
        found.append(ended)
    return tuple(found)


def find_pull(event: Event, github: GitHub | None) -> Event:
    """The event with its pull request, its labels and draft, where a `workflow_run` does not say them.

    Only an open one into the default branch with this very head counts: another push is another run's.
    """
    if event.kind != "workflow_run" or github is None:
        return event
    if event.pull:
        given = github.pull(event.pull)
        return replace(event, draft=given.draft, labels=given.labels)
    owner = event.head_repository.partition("/")[0]
    found = [
        pull
        for pull in github.pulls_of_branch(owner, event.head_ref)
        if pull.head_sha == event.head_sha and pull.open and pull.base_ref == event.base_ref
    ]
    if not found:
        raise UsageError(
            f"no open pull request into {event.base_ref} has the head {event.head_sha[:12]} (any more): "
            "there is nobody to tell",
            hint="a newer push has a run of its own",
        )
    pull = min(found, key=lambda pull: pull.number)
    known = replace(event, draft=pull.draft, labels=pull.labels)
    return replace(known, pull=pull.number, base_sha=pull.base_sha)


@contextmanager
def stopped(runner: Runner) -> Iterator[None]:
    """Inside, nothing that is printed is a command to GitHub's runner: models and trainers print too."""
    if not runner.actions:
        yield
        return
    from gate.github.commands import stopped_commands

    with stopped_commands(sys.stdout):
        yield
