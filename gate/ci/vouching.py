"""Whether a check run says what a run of this very workflow found: GitHub is asked for the run that it names.

Every job with `checks: write` writes as the same App, so a check run alone proves nothing. A workflow run is
nobody's to write: what it ran, on which commit, and how it ended is GitHub's own word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

from gate.changes import below, depends
from gate.errors import Forbidden, GateError, GitHubError, NotFound
from gate.github.api import GitHub, WorkflowRun
from gate.records import Event
from gate.repository import Repository

POLL = 30.0
"""Seconds between two looks at a run that has its verdict and not yet ended: it signs, it uploads."""
STARTED_BY = ("pull_request", "merge_group")
"""What starts the runs whose verdicts count for a pull request: by hand one config of any branch is run."""


def doubt_of(
    github: GitHub,
    event: Event,
    run_id: int,
    sha: str,
    outcome: Literal["pass", "fail"],
    *,
    clock: Callable[[], float],
    wait: Callable[[float], None],
    patience: float,
) -> str:
    """Why the verdict of a check run on `sha` is not that of the run `run_id`; "" where it is.

    Waits at most `patience` seconds for the run's end. In doubt there is a doubt: it is measured again.
    """
    if not event.workflow:
        return "the environment does not name this workflow (GITHUB_WORKFLOW_REF)"
    began = clock()
    try:
        run = github.workflow_run(run_id)
        while run.status != "completed" and clock() - began < patience:
            wait(POLL)
            run = github.workflow_run(run_id)
    except Forbidden:
        return f"GitHub does not show run {run_id}: the job needs `permissions: {{actions: read}}`"
    except NotFound:
        return f"run {run_id} was deleted"
    except GitHubError as error:
        return f"GitHub does not show run {run_id}: {error.message}"
    return contradiction(run, event, sha, outcome)


def contradiction(run: WorkflowRun, event: Event, sha: str, outcome: Literal["pass", "fail"]) -> str:
    """What in a run contradicts a check run of this workflow on `sha` with this outcome; "" for nothing."""
    if run.head_sha != sha:
        return f"run {run.id} was of another commit"
    if not is_same_workflow(run.path, event):
        ours = event.workflow.partition("@")[0]
        return f"GitHub does not say that run {run.id} was of this workflow, {ours}"
    if run.event not in STARTED_BY:
        return f"run {run.id} was not of a pull request"
    if run.status != "completed":
        return f"run {run.id} has not ended"
    if run.conclusion != {"pass": "success", "fail": "failure"}[outcome]:
        return f"run {run.id} ended otherwise"
    return ""


def moved_since(
    repository: Repository, base: str, sha: str, head: str, config: str, named: Collection[str]
) -> str:
    """What differs between two commits though a result is to be the same at both; "" for nothing.

    An external id says of which inputs a check run is, and is as easily forged: git is asked as well. What
    lies in .github may be the workflow that made the check run, edited for one push and then put back, or
    another that posts beside it: it has to be the base ref's at `sha` too.
    """
    try:
        if not repository.holds(sha):
            return "this clone does not hold that commit"
        changed = {name for file in repository.changed(sha, head) for name in file.names}
        brought = {name for file in repository.changed(base, sha) for name in file.names}
    except GateError as error:
        return error.message
    other = next((name for name in sorted(brought) if below(".github", name)), None)
    if other is not None and other not in changed:
        return f"{other} is not the base ref's"
    moved = (
        name
        for name in sorted(changed)
        if name == config or below(".github", name) or any(depends(each, name) for each in named)
    )
    first = next(moved, None)
    return f"{first} has changed since" if first else ""


def is_same_workflow(path: str, event: Event) -> bool:
    """Whether the path that GitHub gives for a run is surely that of the workflow that runs now.

    A workflow that a pull request brings along is named by its path, also followed by a ref; a required
    workflow, which is pinned to a ref, only in full, as the same path may lie in the pull request too. A
    file's name may hold an @, but ends in .yml.
    """
    if path == event.workflow:
        return True
    ours, _, ref = event.workflow.partition("@refs/")
    brought = ref.startswith(("pull/", "heads/gh-readonly-queue/"))
    if not brought or not ours.startswith(f"{event.repository}/"):
        return False
    full = path if path.startswith(f"{event.repository}/") else f"{event.repository}/{path}"
    return full == ours or (full.startswith(f"{ours}@") and not full.lower().endswith((".yml", ".yaml")))
