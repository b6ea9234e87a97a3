"""What this very run has published already, where the folder with its result could not be fetched again.

The whole comment lies in the head's check run, so it needs no folder: a download that failed, or a job that
is run again alone, must not turn a finished verdict into "could not measure".
"""

from __future__ import annotations

from gate.ci.publish import AGGREGATE
from gate.errors import GitHubError
from gate.github.api import CheckOutput, CheckRun, Conclusion, GitHub
from gate.github.checkruns import Check, app_of, read_external_id
from gate.github.marker import read
from gate.github.publishing import Publication
from gate.records import Event

ENDS: dict[str, Conclusion] = {"success": "success", "failure": "failure"}


def restored(github: GitHub, event: Event) -> Publication | None:
    """What this run's check runs on its head say, to be published again; None where it has not ended there,
    left something in progress, or GitHub does not say."""
    try:
        app = app_of(github.login())
        runs = [each for each in github.check_runs(event.head_sha) if each.app == app and _is_of(each, event)]
    except GitHubError:
        return None
    if not app or any(each.status != "completed" for each in runs):
        return None
    whole = (_publication(each, event) for each in reversed(runs) if each.name == AGGREGATE)
    return next((each for each in whole if each is not None), None)


def _is_of(check: CheckRun, event: Event) -> bool:
    known = read_external_id(check.external_id)
    return known is not None and known[1] == event.run_id


def _publication(check: CheckRun, event: Event) -> Publication | None:
    marked, ended = read(check.text, event.pull), ENDS.get(check.conclusion)
    if marked is None or not marked.intact or ended is None or marked.marker.head != event.head_sha:
        return None
    output = CheckOutput(check.title, check.summary, check.text)
    return Publication(
        pull=event.pull,
        head_sha=event.head_sha,
        run_id=marked.marker.run,
        attempt=marked.marker.attempt,
        text=marked.text,
        aggregate=Check(AGGREGATE, check.external_id, output, ended, check.url),
        numbers=marked.numbers,
    )
