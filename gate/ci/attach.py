"""A push that leaves a config's inputs alone: wait for the run that is on, or take its result over.

Runs know each other by their check runs: `ftgate: PATH` on a head, with the digest of the inputs, the run
and its attempt in the external id. Only those of our own App count. A run waits for older ones alone, so
that no two wait for each other; for none whose job GitHub says has ended, as a job that died leaves its
check run in progress; and for none whose job is itself held up: it may need the machine or the `concurrency`
group of the one that would wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gate.ci.proof import required_job
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
HELD_UP = 2
"""Looks in a row that find a run held up, after which it is not waited for: jobs begin some seconds apart."""
MOST_HEADS = 10
"""How many of the pull request's newest commits are looked at for a verdict to take over."""
MOST_TRIED = 5
"""How many verdicts are tried before the config is measured again: each costs GitHub some requests."""

CHECK = "ftgate: "
"""What the names of the configs' check runs begin with."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Seen:
    """A check run of one config on an earlier head, with what its external id says."""

    check: CheckRun
    inputs: str
    run_id: int
    attempt: int = 1

    @property
    def running(self) -> bool:
        return self.check.status != "completed"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do about one config: `run` it, `wait` for another run's, `carry` over a finished one's.

    `ended` are the verdicts that may be taken over, to be tried in this order; `running` is to be waited for
    where there is none.
    """

    kind: Literal["run", "wait", "carry"]
    ended: tuple[Seen, ...] = ()
    running: Seen | None = None


def check_name(path: str) -> str:
    """The name of a config's check run."""
    return f"{CHECK}{path}"


def path_of(name: str) -> str:
    """The config that a check run of this name is about; "" for one of another name."""
    return name.removeprefix(CHECK) if name.startswith(CHECK) else ""


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
                found.append(Seen(check, *known))
    return newest_first(found)


def newest_first(found: Iterable[Seen]) -> tuple[Seen, ...]:
    """What was seen, the newest run's newest check run first, each once."""
    single = {seen.check.id: seen for seen in found}.values()
    return tuple(sorted(single, key=lambda seen: (seen.run_id, seen.check.id), reverse=True))


def look_at_commits(github: GitHub, commits: Sequence[str], run_id: int) -> tuple[tuple[str, Seen], ...]:
    """(config, check run) for all that older runs of ours ended on these commits: one request for each."""
    app, found = app_of(github.login()), []
    for commit in commits if app else ():
        for check in github.check_runs(commit):
            known = read_external_id(check.external_id)
            if check.app == app and known and known[0] and known[1] < run_id and check.status == "completed":
                found.append((path_of(check.name), Seen(check, *known)))
    return tuple(found)


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


def state_of(github: GitHub, seen: Seen) -> Literal["on", "held up", "ended"]:
    """Whether the attempt of a run that a check run is of goes on. Its required job that has not begun is
    held up, by a machine or a group that another job has, unless a job before it still runs. What GitHub
    does not say counts as on, and its silence decides.
    """
    if has_ended(github, seen.run_id):
        return "ended"
    try:
        jobs = github.jobs(seen.run_id, seen.attempt)
    except GitHubError:
        return "on"
    job = required_job(jobs)
    if job is not None and job.status == "completed":
        return "ended"
    waits = job is not None and job.status != "in_progress"
    return "held up" if waits and all(each.status != "in_progress" for each in jobs) else "on"


def choose(seen: Sequence[Seen], inputs: str, *, stored: bool, again: bool = False) -> Choice:
    """What to do about a config with these inputs. `stored`: the store has their results, so running it
    here is quick and its report whole. `again`: a person asked to run it again, so nothing is taken over."""
    alike = [each for each in seen if each.inputs == inputs]
    running = next((each for each in alike if each.running), None)
    ended = () if stored or again else tuple(each for each in alike if verdict_of(each.check))[:MOST_TRIED]
    return Choice("carry" if ended else "wait" if running else "run", ended, running)


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
    """The check run once it has ended; None where its run is dead, held up, silent for `silent` seconds, or
    long."""
    began = moved = clock()
    held_up = 0
    shown = (seen.check.title, seen.check.summary)
    while True:
        state = state_of(github, seen)  # asked first: what it published before its end is seen then
        held_up = held_up + 1 if state == "held up" else 0
        found = look(github, (seen.check.sha,), path, run_id)
        now = next((each for each in found if each.check.id == seen.check.id), None)
        if now is None or not now.running:
            return now
        if (now.check.title, now.check.summary) != shown:
            shown, moved = (now.check.title, now.check.summary), clock()
        if state == "ended" or held_up >= HELD_UP:
            return None
        if clock() - moved > silent or clock() - began > PATIENCE:
            return None
        wait(POLL)
