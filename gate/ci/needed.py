"""Whether an event asks for training or measuring, which the action finds out before it installs torch."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from gate.ci.activity import NONE_CHANGED, find_activity
from gate.ci.plan import CiOptions, CiPlan, make_plan
from gate.ci.refs import at_tip
from gate.errors import PASS
from gate.github.commands import write_outputs
from gate.github.events import read_event, read_runner
from gate.records import CiRun
from gate.repository import Repository
from gate.shell import Shell


def settled(run: CiRun, plan: CiPlan) -> CiRun | None:
    """The run as it ends where nothing is to be trained or measured; None where something is.

    Raises the plan's `UsageError` where nothing can be.
    """
    activity = find_activity(run.event, plan.asked)
    if activity.kind == "nothing":
        return replace(run, message=activity.message)
    if plan.error is not None and (plan.changes.changed or plan.setting):
        raise plan.error
    if not plan.changes.changed:
        message = f"{NONE_CHANGED} ({plan.error.message})" if plan.error else NONE_CHANGED
        return replace(run, message=message)
    if activity.kind == "wait":
        return replace(run, outcome="undecided", exit_code=activity.exit_code, message=activity.message)
    return None


def say_needed(options: CiOptions, shell: Shell) -> int:
    """Say, also in the step's output `measures`, whether `ftgate ci` would train or measure; exit code 0.

    Raises `UsageError` as that run would: it needs no more to say so.
    """
    runner, event = read_runner(shell.environ), read_event(shell.environ)
    with tempfile.TemporaryDirectory(prefix="ftgate-", dir=runner.temporary) as room:
        event = at_tip(event, Repository(Path()))
        plan = make_plan(event, options, Repository(Path()), Path(room))
        ended = settled(CiRun(event, options.mode), plan)
    said = "yes" if ended is None else "no"
    if runner.outputs is not None:
        write_outputs(runner.outputs, {"measures": said})
    shell.say(f"anything to train or measure: {said}")
    return PASS
