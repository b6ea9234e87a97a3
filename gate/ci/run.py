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

from gate.ci.activity import concluded
from gate.ci.check import Check, CiSetting, check_whole, run_config
from gate.ci.needed import settled
from gate.ci.plan import CiOptions, CiPlan, make_plan, posting_of
from gate.ci.publish import finish
from gate.ci.record import begin, write_ci, write_posting
from gate.ci.refs import at_tip
from gate.ci.remember import remember
from gate.ci.stores import clean_store, with_salt
from gate.errors import PASS, UNDECIDED, StoreError, UsageError, as_gate_error
from gate.github.api import GitHub
from gate.github.events import Runner, read_event, read_runner
from gate.github.token import Token
from gate.records import CiRun, ConfigRun, Event
from gate.report.text import one_line
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
    if options.mode in ("publish", "look"):
        from gate.ci.posting import look_only, publish_finished

        measures_not = {"publish": publish_finished, "look": look_only}
        return measures_not[options.mode](options, token, shell, effects)
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
        posting = replace(posting_of(plan.setting), fail_on_undecided=options.fail_on_undecided)
        write_posting(options.run_dir, posting)
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
