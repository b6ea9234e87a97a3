"""Whether a check run says what a run of this very workflow found: git is asked, and GitHub for that run.

Every job with `checks: write` writes as the same App, so a check run alone proves nothing. A workflow run is
nobody's to write: what it ran, on which commit, its jobs and the names of their steps are GitHub's own word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from gate.changes import below, depends
from gate.ci.attach import Seen, has_ended, path_of, verdict_of
from gate.ci.proof import STEP, Verdict, job_names, proves, required_job
from gate.errors import Forbidden, GateError, GitHubError, NotFound
from gate.github.api import GitHub, Job, WorkflowRun
from gate.github.checkruns import app_of, read_external_id
from gate.records import ChangedConfig, Event, Form
from gate.repository import Repository

POLL = 30.0
"""Seconds between two looks at a job that has its verdict and not yet ended: it signs, it uploads."""
STARTED_BY = ("pull_request", "merge_group")
"""What starts the runs whose verdicts count for a pull request: by hand one config of any branch is run."""
FOLLOWS = "workflow_run"
"""What starts the runs that measure in form forks."""


@dataclass(frozen=True, slots=True)
class Proven:
    """The verdicts that a workflow run came to, by GitHub's word; or why none are proven."""

    verdicts: frozenset[Verdict] = frozenset()
    doubt: str = ""


def proven(
    github: GitHub,
    event: Event,
    seen: Seen,
    *,
    form: Form,
    clock: Callable[[], float],
    wait: Callable[[float], None],
    patience: float,
) -> Proven:
    """What the run that a check run names came to, as the name of a step of its required job proves.

    Waits at most `patience` seconds for that job's end, and only while its run is on: in two jobs it begins
    after the verdict was published. In doubt there is a doubt: it is measured again.
    """
    if not event.workflow:
        return Proven(doubt="the environment does not name this workflow (GITHUB_WORKFLOW_REF)")
    began, names = clock(), job_names(form, seen.check.sha)
    ask = followed if form == "forks" else contradiction
    try:
        doubt = ask(github.workflow_run(seen.run_id), event, seen.check.sha)
        if doubt:
            return Proven(doubt=doubt)
        over = form == "forks"  # a person may never start what would be waited for
        while True:
            job = required_job(github.jobs(seen.run_id, seen.attempt), names)
            if over or (job and job.status == "completed") or clock() - began >= patience:
                break
            over = has_ended(github, seen.run_id)  # then its jobs are read once more
            if not over:
                wait(POLL)
        return _read(job, names[0], shown(github, seen), seen.run_id)
    except Forbidden:
        why = f"GitHub does not show run {seen.run_id}: the job needs `permissions: {{actions: read}}`"
    except NotFound:
        why = f"run {seen.run_id} was deleted"
    except GitHubError as error:
        why = f"GitHub does not show run {seen.run_id}: {error.message}"
    return Proven(doubt=why)


def _read(job: Job | None, name: str, verdicts: frozenset[Verdict], run_id: int) -> Proven:
    """The verdicts that a run's check runs show, if its job proves them."""
    if job is None:
        return Proven(doubt=f"run {run_id} has no job `{name}`")
    if job.status != "completed":
        return Proven(doubt=f"the job `{name}` of run {run_id} has not ended")
    if not proves(job, verdicts):
        return Proven(doubt=f"no step `{STEP.strip()}` of run {run_id} says what its check runs say")
    if job.conclusion != "success" and all(outcome == "pass" for _, _, outcome in verdicts):
        return Proven(doubt=f"the job `{name}` of run {run_id} ended otherwise")
    return Proven(verdicts)


def shown(github: GitHub, seen: Seen) -> frozenset[Verdict]:
    """The verdicts that the check runs of the same attempt of a run show on its commit, of our own App."""
    app, found = app_of(github.login()), set()
    for check in github.check_runs(seen.check.sha):
        known, verdict = read_external_id(check.external_id), verdict_of(check)
        ours = known is not None and known[1:] == (seen.run_id, seen.attempt) and check.app == app
        if known and ours and verdict and path_of(check.name):
            found.add((path_of(check.name), known[0], verdict[0]))
    return frozenset(found)


def contradiction(run: WorkflowRun, event: Event, sha: str) -> str:
    """What in a run contradicts a check run of this workflow on the commit `sha`; "" for nothing."""
    if run.head_sha != sha:
        return f"run {run.id} was of another commit"
    if not is_same_workflow(run.path, event):
        ours = event.workflow.partition("@")[0]
        return f"GitHub does not say that run {run.id} was of this workflow, {ours}"
    if run.event not in STARTED_BY:
        return f"run {run.id} was not of a pull request"
    return ""


def followed(run: WorkflowRun, event: Event, _sha: str) -> str:
    """What in a run contradicts that it measured a fork's commit, in this very workflow; "" for nothing.

    What follows a training is the default branch's, so its path alone says which workflow it was; on which
    commit it measured is in the name of its job. Before the training it is not this workflow that asks, and
    what it is told decides nothing.
    """
    if run.event != FOLLOWS:
        return f"run {run.id} did not follow a training"
    ours = event.workflow.partition("@refs/")[0].removeprefix(f"{event.repository}/")
    theirs = run.path.removeprefix(f"{event.repository}/")
    if event.kind == FOLLOWS and theirs != ours and not theirs.startswith(f"{ours}@"):
        return f"GitHub does not say that run {run.id} was of this workflow, {ours}"
    return ""


# ── What git knows ───────────────────────────────────────────────────────────────────────────────


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
        changed = _names(repository, sha, head)
        brought = _names(repository, base, sha)
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


def unchanged_there(
    repository: Repository,
    base: str,
    sha: str,
    head: str,
    change: ChangedConfig,
    named: Collection[str],
    policy: Collection[str],
) -> str:
    """Why a run on `sha` had no reason to measure a config, as nothing of it had changed there; "" if it had.

    `policy` are the policy's file and those of its tasks. What a pull request proposes there counts if it is
    the same at `head`: another proposal may have been none that matters.
    """
    try:
        brought = _names(repository, repository.merge_base(base, sha), sha)
        counted = (*named, change.path, *([change.previous_path] if change.previous_path else []))
        if any(depends(each, name) for name in brought for each in counted):
            return ""
        asked = {name for name in brought if name in policy}
        return "" if asked - _names(repository, sha, head) else "nothing of the config had changed there"
    except GateError as error:
        return error.message


def _names(repository: Repository, old: str, new: str) -> frozenset[str]:
    """The names that the files which differ have and had."""
    return frozenset(name for file in repository.changed(old, new) for name in file.names)


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
