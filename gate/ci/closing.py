"""Beside an App's own check: what the job announced under Actions' name is ended, and points at the App's.

The announcement is made before a maintainer lets anything be measured, so without the App's key; and the
App may not touch another App's check runs. Left alone it would be pending for ever.
"""

from __future__ import annotations

from gate.ci.attach import check_name
from gate.ci.publish import AGGREGATE
from gate.errors import GitHubError
from gate.github.api import CheckOutput, CheckRun, GitHub
from gate.github.checkruns import app_of, read_external_id
from gate.records import CiRun
from gate.report.text import one_line
from gate.shell import Shell


def close_announced(run: CiRun, app: str, actions: GitHub, shell: Shell) -> None:
    """End what this run, or an older one, announced on its head, where the check run of `app` has the result.

    `actions` is GitHub for the announcing job's token. A check run ends as the App's did, so that none is
    green beside a red one; where the App's has not ended it stays open. What GitHub refuses is a warning.
    """
    names = (AGGREGATE, *(check_name(config.change.path) for config in run.runs))
    try:
        own = app_of(actions.login())
        for name in names if own != app else ():
            checks = actions.check_runs(run.event.head_sha, name)
            told = next((each for each in checks if _is_verdict(each, run, app)), None)
            for check in checks if told else ():
                if told and check.app == own and check.status != "completed" and not _is_newer(check, run):
                    _end(actions, check, told, app)
    except GitHubError as error:
        shell.warn(one_line(f"what was announced stays open: {error.message}", 1_000))


def _is_verdict(check: CheckRun, run: CiRun, app: str) -> bool:
    """Whether this is the App's check run of this very run, and has ended."""
    known = read_external_id(check.external_id)
    its = (run.event.run_id, run.event.run_attempt)
    return check.app == app and check.status == "completed" and known is not None and known[1:] == its


def _is_newer(check: CheckRun, run: CiRun) -> bool:
    """Whether a later run announced it, or nobody of ours."""
    known = read_external_id(check.external_id)
    return known is None or known[1:] > (run.event.run_id, run.event.run_attempt)


def _end(actions: GitHub, check: CheckRun, told: CheckRun, app: str) -> None:
    said = CheckOutput(f"see the check of {app}", f"The check `{told.name}` of the App {app} has the result.")
    passed = told.conclusion == "success"
    actions.update_check_run(
        check.id, said, status="completed", conclusion="success" if passed else "failure"
    )
