"""gate.ci.activity: event -> what to do, and which exit code is the worst; tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gate.ci.activity import comments, find_activity, worst
from gate.records import Event, PullRequestPolicy

EVENT = Event("pull_request", "acme/tunes", "a" * 40, "b" * 40, pull=7, action="synchronize")
READY, LABEL, EVERY = (PullRequestPolicy(when=when) for when in ("ready", "label", "every-push"))


@pytest.mark.parametrize(
    ("event", "policy", "kind", "code"),
    [
        ({}, READY, "run", 0),
        ({"draft": True}, READY, "wait", 1),
        ({"draft": True}, EVERY, "run", 0),
        ({"draft": True}, LABEL, "wait", 1),
        ({}, LABEL, "wait", 1),
        ({"labels": ("other",)}, LABEL, "wait", 1),
        ({"labels": ("other", "ftgate")}, LABEL, "run", 0),
        ({"labels": ("ftgate",), "draft": True}, LABEL, "run", 0),
        ({"labels": ("gpu",)}, PullRequestPolicy(when="label", label="gpu"), "run", 0),
        ({"action": "closed"}, READY, "nothing", 0),
        ({"kind": "merge_group", "draft": True}, READY, "run", 0),
        ({"kind": "merge_group"}, LABEL, "run", 0),
        ({"kind": "push"}, LABEL, "run", 0),
        ({"kind": "workflow_run"}, LABEL, "run", 0),
        ({"kind": "dispatch"}, LABEL, "run", 0),
        ({"kind": "schedule"}, LABEL, "run", 0),
    ],
)
def test_what_to_do(event: dict[str, Any], policy: PullRequestPolicy, kind: str, code: int) -> None:
    """What is not measured is red: a draft, too, can be made ready and merged before the next run begins."""
    found = find_activity(replace(EVENT, **event), policy)
    assert (found.kind, found.exit_code) == (kind, code)
    assert bool(found.message) is (kind != "run")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, True),
        ({"pull": 0}, False),
        ({"kind": "workflow_run"}, True),
        ({"kind": "merge_group"}, False),
        ({"kind": "push"}, False),
        ({"kind": "dispatch"}, False),
        ({"kind": "schedule"}, False),
    ],
)
def test_what_is_commented(event: dict[str, Any], expected: bool) -> None:
    """A pull request's own head, and nothing else."""
    assert comments(replace(EVENT, **event)) is expected


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((), 0),
        ((0, 0), 0),
        ((0, 4), 4),
        ((4, 1), 1),
        ((1, 2, 0), 2),
        ((2, 3, 1), 3),
        ((3, 130), 130),
        ((0, 7), 3),
        ((0, -9), 3),
    ],
)
def test_the_worst_exit_code(codes: tuple[int, ...], expected: int) -> None:
    """What broke goes before what was found; a code that nobody knows is an error and never a pass."""
    assert worst(codes) == expected
