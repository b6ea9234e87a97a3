"""A push that leaves a config's inputs alone: wait for the run that is on, or take its result over.

Runs know each other by their check runs: `ftgate: PATH` on a head, with the digest of the inputs, the run
and its attempt in the external id. Only those of our own App count. A run waits for older ones alone, so
that no two wait for each other, and for none whose workflow run GitHub says has ended: a job that died
leaves its check run in progress.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gate.errors import FAIL, PASS, GitHubError, NotFound
from gate.github.api import CheckRun, GitHub
from gate.github.checkruns import app_of, read_external_id
from gate.github.publishing import standing
from gate.records import Event

POLL = 30.0
"""Seconds between two looks at a run that is waited for."""
SILENT = 30 * 60.0
"""A run whose check run has not moved for so long is taken for dead, whatever GitHub says of it."""
PATIENCE = 5 * 3600.0
"""Seconds after which no run is waited for any more."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Seen:
    """A check run of one config on an earlier head, with what its external id says."""

    check: CheckRun
    inputs: str
    run_id: int

    @property
    def running(self) -> bool:
        return self.check.status != "completed"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do about one config: `run` it, `wait` for another run's, `carry` over a finished one's."""

    kind: Literal["run", "wait", "carry"]
    seen: Seen | None = None


def check_name(path: str) -> str:
    """The name of a config's check run."""
    return f"ftgate: {path}"


def earlier_heads(github: GitHub, event: Event) -> tuple[str, ...]:
    """The heads whose runs may be about the same inputs: this one, the one before it, the comment's; for a
    merge queue's commit this one and the pull request's own."""
    if event.kind == "merge_group":
        return tuple(dict.fromkeys((event.head_sha, github.pull(event.pull).head_sha)))
    marked = standing(github, event.pull)
    heads = (event.head_sha, event.before_sha, marked.marker.head if marked else "")
    return tuple(dict.fromkeys(head for head in heads if head))


def look(github: GitHub, heads: Sequence[str], path: str, run_id: int) -> tuple[Seen, ...]:
    """The check runs that older runs of ours left for a config, newest run first."""
    app = app_of(github.login())
    found = []
    for head in heads:
        for check in github.check_runs(head, check_name(path)) if app else ():
            known = read_external_id(check.external_id)
            if check.app == app and known and known[0] and known[1] < run_id:
                found.append(Seen(check, known[0], known[1]))
    return tuple(sorted(found, key=lambda seen: (seen.run_id, seen.check.id), reverse=True))


def look_for_living(
    github: GitHub, heads: Sequence[str], paths: Sequence[str], run_id: int
) -> dict[str, tuple[Seen, ...]]:
    """What `look` finds for each config, without the check runs in progress whose run has ended."""
    found = {path: look(github, heads, path, run_id) for path in paths}
    running = {each.run_id for runs in found.values() for each in runs if each.running}
    dead = {number for number in running if has_ended(github, number)}
    if not dead:
        return found
    again = ((path, look(github, heads, path, run_id)) for path in paths)  # they may have ended just now
    return {
        path: tuple(each for each in runs if not (each.running and each.run_id in dead))
        for path, runs in again
    }


def has_ended(github: GitHub, run_id: int) -> bool:
    """Whether a workflow run is over, or deleted. Where GitHub does not say (a token without `actions: read`)
    it counts as on, and its silence decides."""
    try:
        return github.workflow_run(run_id).status == "completed"
    except NotFound:
        return True
    except GitHubError:
        return False


def choose(seen: Sequence[Seen], inputs: str, *, stored: bool, again: bool = False) -> Choice:
    """What to do about a config with these inputs. `stored`: the store has their results, so running it
    here is quick and its report whole. `again`: a person asked to run it again, so nothing is taken over."""
    alike = [each for each in seen if each.inputs == inputs]
    running = next((each for each in alike if each.running), None)
    if running is not None:
        return Choice("wait", running)
    ended = next((each for each in alike if verdict_of(each.check)), None)
    if ended is not None and not stored and not again:
        return Choice("carry", ended)
    return Choice("run")


def verdict_of(check: CheckRun) -> tuple[Literal["pass", "fail"], int] | None:
    """(outcome, exit code) of a finished check run with a verdict; None where it could not be measured, was
    blocked before, or was superseded."""
    from gate.report.standing import KINDS

    said = check.title.partition(":")[0]
    if check.status != "completed":
        return None
    if check.conclusion == "success" and said == KINDS["pass"].label:
        return "pass", PASS
    failed = said in [KINDS[key].label for key in ("lost", "missed", "failed")]
    return ("fail", FAIL) if check.conclusion == "failure" and failed else None


def outdated(seen: Sequence[Sequence[Seen]], inputs: Sequence[str]) -> tuple[int, ...]:
    """The runs in progress that are about no inputs of this run any more: to be cancelled.

    `seen` and `inputs` are of the same configs, in the same order.
    """
    needed = {
        each.run_id
        for runs, digest in zip(seen, inputs, strict=True)
        for each in runs
        if each.running and each.inputs == digest
    }
    running = {each.run_id for runs in seen for each in runs if each.running}
    return tuple(sorted(running - needed))


def await_end(
    github: GitHub,
    seen: Seen,
    path: str,
    run_id: int,
    *,
    clock: Clock,
    wait: Callable[[float], None],
    silent: float = SILENT,
) -> Seen | None:
    """The check run once it has ended; None where its run is dead, silent for `silent` seconds, or long."""
    began = moved = clock()
    shown = (seen.check.title, seen.check.summary)
    while True:
        dead = has_ended(github, seen.run_id)  # asked first: what it published before its end is seen then
        found = look(github, (seen.check.sha,), path, run_id)
        now = next((each for each in found if each.check.id == seen.check.id), None)
        if now is None or not now.running:
            return now
        if (now.check.title, now.check.summary) != shown:
            shown, moved = (now.check.title, now.check.summary), clock()
        if dead or clock() - moved > silent or clock() - began > PATIENCE:
            return None
        wait(POLL)
