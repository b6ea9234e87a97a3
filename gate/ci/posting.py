"""The jobs that measure nothing: they post what another has left, or say what can be said before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gate.ci.activity import pending, worst
from gate.ci.announce import announced, being_measured, broken_off
from gate.ci.plan import CiOptions
from gate.ci.record import CI, read_ci, read_posting
from gate.ci.refs import at_tip
from gate.ci.run import EDITABLE, Effects, find_pull, tell
from gate.errors import FAIL, PASS, UsageError
from gate.github.commands import write_outputs
from gate.github.events import read_event, read_runner
from gate.github.token import Token
from gate.records import CiRun, Event
from gate.repository import Repository
from gate.shell import Shell


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
    if (options.run_dir / CI).is_file():
        run = left_by_judge(options.run_dir, event)
        fails = options.fail_on_undecided and read_posting(options.run_dir).fail_on_undecided
        options = replace(options, fail_on_undecided=fails)
    elif options.run_dir.exists():
        run = broken_off(run, options, runner, shell)
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
    if run.event.run_id != event.run_id:
        raise UsageError(
            f"{run_dir} is of run {run.event.run_id}, this is run {event.run_id}",
            hint="publish what this run's own judge job left",
        )
    if event.pull and run.event.base_ref != event.base_ref:
        raise UsageError(
            f"judged by the policy of {run.event.base_ref}, but it goes into {event.base_ref}",
            hint="a judge without a token knows the default branch alone",
        )
    # As the attempt that measured: of one that is run again in parts, this may be a later one.
    return replace(run, event=replace(event, run_attempt=run.event.run_attempt))
