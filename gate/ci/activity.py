"""Event + policy -> what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gate.errors import FAIL, PASS, UNDECIDED
from gate.records import CiRun, ConfigRun, Event, Outcome, PullRequestPolicy

Kind = Literal["run", "wait", "nothing"]

NONE_CHANGED = "no training config changed: nothing to measure"
OUTCOMES: dict[int, Outcome] = {PASS: "pass", FAIL: "fail", UNDECIDED: "undecided"}


@dataclass(frozen=True, slots=True)
class Activity:
    """What an event asks for. `run`: measure what changed; `wait`: not yet, and `exit_code` says whether
    that may pass; `nothing`: there is nothing to do for this event."""

    kind: Kind
    message: str = ""
    exit_code: int = PASS


def find_activity(event: Event, policy: PullRequestPolicy) -> Activity:
    """What to do about an event where training configs changed.

    What waits is red: a gate that was not run must never count as one that passed. That holds for a draft
    too, as whoever marks it ready can merge it before the run that this starts has so much as begun.
    """
    if event.kind != "pull_request":
        return Activity("run")
    if event.action == "closed":
        return Activity("nothing", "the pull request is closed: nothing to measure")
    return find_wait(event, policy)


def find_wait(event: Event, policy: PullRequestPolicy) -> Activity:
    """What `when` asks of a pull request whose labels and draft are known: to run it, or to wait."""
    if policy.when == "label" and policy.label not in event.labels:
        message = f"not measured yet: the label `{policy.label}` starts it"
        return Activity("wait", message, FAIL)
    if policy.when == "ready" and event.draft:
        return Activity("wait", "draft: not measured yet; it is measured when it is ready for review", FAIL)
    return Activity("run")


def comments(event: Event) -> bool:
    """Whether the event's result belongs into a comment: a pull request's own head, and nothing else.

    A merge queue's commit is another one than the pull request's head, and a branch has no comment.
    """
    return event.kind in ("pull_request", "workflow_run") and event.pull > 0


# Of several exit codes the one that matters most: what broke, before what was found.
_BADNESS = (130, 3, 2, 1, 4, 0)


def worst(codes: Iterable[int]) -> int:
    """The exit code of a run whose configs ended with `codes`; one that nobody knows is an error."""
    return min((code if code in _BADNESS else 3 for code in codes), key=_BADNESS.index, default=PASS)


def concluded(run: CiRun, runs: Sequence[ConfigRun]) -> CiRun:
    """The run with its configs' runs: it is as bad as the worst."""
    code = worst(each.exit_code for each in runs)
    waiting = code == PASS and any(each.outcome == "undecided" for each in runs)
    outcome: Outcome = "undecided" if waiting else OUTCOMES.get(code, "error")
    return replace(run, runs=tuple(runs), outcome=outcome, exit_code=code)


def pending(outcome: str, exit_code: int) -> bool:
    """Whether nothing was concluded yet: an announcement's "not yet measured"."""
    return outcome == "undecided" and exit_code == 0
