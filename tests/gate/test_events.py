"""gate.github.events: every event of GitHub in one record, and a broken one as an error that names why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gate.errors import UsageError
from gate.github.events import Runner, parse_event, read_event, read_runner
from gate.records import Event

HEAD, BASE, BEFORE = "a" * 40, "b" * 40, "c" * 40
ENVIRON = {
    "GITHUB_EVENT_NAME": "pull_request",
    "GITHUB_REPOSITORY": "acme/tunes",
    "GITHUB_RUN_ID": "100",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_SHA": HEAD,
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_ACTOR": "ada",
}
COMMON: dict[str, Any] = {"repository": "acme/tunes", "run_id": 100, "run_attempt": 2, "actor": "ada"}
PULL = {
    "action": "synchronize",
    "before": BEFORE,
    "number": 7,
    "pull_request": {
        "number": 7,
        "draft": True,
        "labels": [{"name": "ftgate"}, {"name": None}, "odd"],
        "head": {"sha": HEAD, "ref": "topic", "repo": {"full_name": "acme/tunes"}},
        "base": {"sha": BASE, "ref": "main"},
    },
}
REPOSITORY = {"repository": {"default_branch": "main"}}


def event(name: str, payload: object, **environ: str) -> Event:
    return parse_event({**ENVIRON, "GITHUB_EVENT_NAME": name, **environ}, json.dumps(payload).encode())


def changed(path: str, value: object, payload: Any = None) -> Any:
    """The payload with another value at a dotted path."""
    first, _, rest = path.partition(".")
    payload = PULL if payload is None else payload
    return {**payload, first: changed(rest, value, payload[first]) if rest else value}


def test_a_pull_request() -> None:
    """The head's own commit, never the merge commit; draft, labels and the head before this push."""
    assert event("pull_request", PULL, GITHUB_SHA="f" * 40) == Event(
        "pull_request", head_sha=HEAD, base_sha=BASE, base_ref="main", head_ref="topic", pull=7, draft=True,
        head_repository="acme/tunes", labels=("ftgate",), action="synchronize", before_sha=BEFORE, **COMMON,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("repository", "fork"),
    [({"full_name": "acme/tunes"}, False), ({"full_name": "eve/tunes"}, True), (None, True), ({}, True)],
)
def test_a_fork(repository: object, fork: bool) -> None:
    """A head in another repository, also one that was deleted, is a fork's and never trusted."""
    found = event("pull_request", changed("pull_request.head.repo", repository))
    assert found.from_fork is fork
    assert not found.trusted_ref


@pytest.mark.parametrize(
    ("branch", "base", "number"),
    [
        (f"gh-readonly-queue/main/pr-12-{BASE}", "main", 12),
        (f"gh-readonly-queue/release/v1/pr-3-{BASE}", "release/v1", 3),
        ("gh-readonly-queue/main/odd", "main", 0),
    ],
)
def test_a_merge_group(branch: str, base: str, number: int) -> None:
    """The pull request's number comes from the queue's branch; without one nothing is guessed."""
    group = {
        "head_sha": HEAD,
        "base_sha": BASE,
        "head_ref": f"refs/heads/{branch}",
        "base_ref": f"refs/heads/{base}",
    }
    assert event("merge_group", {"action": "checks_requested", "merge_group": group}) == Event(
        "merge_group", head_sha=HEAD, base_sha=BASE, base_ref=base, head_ref=branch, pull=number,
        head_repository="acme/tunes", action="checks_requested", **COMMON,
    )  # fmt: skip


def test_a_push_to_the_default_branch_is_trusted() -> None:
    """Head and base are one commit; what was before it is known, but for a new branch's zeros."""
    found = event("push", {**REPOSITORY, "before": BEFORE})
    assert (found.head_sha, found.base_sha, found.before_sha, found.trusted_ref) == (HEAD, HEAD, BEFORE, True)
    assert event("push", {**REPOSITORY, "before": "0" * 40}).before_sha == ""


@pytest.mark.parametrize("name", ["push", "workflow_dispatch"])
def test_another_branch_brings_no_policy_of_its_own(name: str) -> None:
    """A run that is started on a branch is untrusted, and its base is the default branch, to be looked up."""
    found = event(name, REPOSITORY, GITHUB_REF="refs/heads/topic")
    assert (found.base_ref, found.base_sha, found.head_ref, found.trusted_ref) == ("main", "", "topic", False)


@pytest.mark.parametrize(
    ("payload", "config"),
    [
        ({"inputs": {"config": " configs/a.yaml "}}, "configs/a.yaml"),
        ({"inputs": None}, ""),
        ({"inputs": {"config": 7}}, ""),
        ({"inputs": {"config": "\ud800"}}, "?"),
    ],
)
def test_a_dispatch_names_a_config(payload: dict[str, Any], config: str) -> None:
    """The input `config`, where there is one."""
    found = event("workflow_dispatch", {**REPOSITORY, **payload})
    assert (found.kind, found.config) == ("dispatch", config)


def test_a_schedule() -> None:
    """It has nothing but the branch."""
    assert event("schedule", {"schedule": "0 3 * * 1", **REPOSITORY}).trusted_ref


def run_of(**fields: object) -> dict[str, object]:
    run = {"head_sha": HEAD, "head_branch": "topic", "conclusion": "success", "pull_requests": []}
    return {**REPOSITORY, "workflow_run": {**run, "head_repository": {"full_name": "eve/tunes"}, **fields}}


def test_a_workflow_run_of_a_fork() -> None:
    """GitHub names no pull request for it, so none is known until somebody asks."""
    found = event("workflow_run", run_of())
    assert (found.pull, found.base_sha, found.base_ref, found.from_fork) == (0, "", "main", True)
    assert (found.head_sha, found.head_ref, found.conclusion) == (HEAD, "topic", "success")


def test_a_workflow_run_of_the_same_repository() -> None:
    """Its one pull request is in the payload; of two, none is guessed."""
    pull = {"number": 7, "base": {"sha": BASE, "ref": "main"}}
    found = event("workflow_run", run_of(pull_requests=[pull]))
    assert (found.pull, found.base_sha, found.base_ref) == (7, BASE, "main")
    assert event("workflow_run", run_of(pull_requests=[pull, pull])).pull == 0


def test_a_workflow_run_is_judged_by_the_default_branch_alone() -> None:
    """A check is a commit's: one under a branch of the author's own would count for the default branch."""
    lenient = {"number": 8, "base": {"sha": HEAD, "ref": "lenient"}}
    alone = event("workflow_run", run_of(pull_requests=[lenient]))
    assert (alone.pull, alone.base_sha, alone.base_ref) == (0, "", "main")
    pull = {"number": 7, "base": {"sha": BASE, "ref": "main"}}
    both = event("workflow_run", run_of(pull_requests=[lenient, pull]))
    assert (both.pull, both.base_sha, both.base_ref) == (7, BASE, "main")


def test_a_workflow_run_after_a_merge_queue() -> None:
    """It is a merge group's; a branch that somebody gave such a name is not, of a fork or of our own."""
    own = {"head_repository": {"full_name": "acme/tunes"}}
    queue = {"event": "merge_group", "head_branch": f"gh-readonly-queue/main/pr-12-{BASE}"}
    found = event("workflow_run", run_of(**queue, **own))
    assert (found.kind, found.pull, found.base_ref) == ("merge_group", 12, "main")
    assert event("workflow_run", run_of(**queue)).kind == "workflow_run"
    forged = {"event": "pull_request", "head_branch": f"gh-readonly-queue/lenient/pr-12-{BASE}"}
    named = event("workflow_run", run_of(**forged, **own))
    assert (named.kind, named.base_ref) == ("workflow_run", "main")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"GITHUB_EVENT_NAME": ""}, "GITHUB_EVENT_NAME is not set"),
        ({"GITHUB_EVENT_NAME": "issues"}, "GITHUB_EVENT_NAME: `ftgate ci` does not know the event issues"),
        ({"GITHUB_EVENT_NAME": "pull_request_target"}, "GITHUB_EVENT_NAME: pull_request_target gives"),
        ({"GITHUB_REPOSITORY": "x"}, "GITHUB_REPOSITORY: expected OWNER/NAME"),
        ({"GITHUB_REPOSITORY": ""}, "GITHUB_REPOSITORY is not set"),
        ({"GITHUB_RUN_ID": "x"}, "GITHUB_RUN_ID: expected a number"),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_SHA": "main"}, "GITHUB_SHA: expected a commit"),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_SHA": ""}, "GITHUB_SHA is not set"),
    ],
)
def test_a_broken_environment(environ: dict[str, str], words: str) -> None:
    """The variable at fault is named."""
    with pytest.raises(UsageError, match=words):
        parse_event({**ENVIRON, **environ}, json.dumps(PULL).encode())


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "not a JSON mapping"),
        (b"{}", "`pull_request` is not a mapping"),
        (json.dumps(changed("pull_request.head", None)).encode(), "`pull_request.head` is not a mapping"),
        (json.dumps(changed("pull_request.head.sha", "main")).encode(), "`pull_request.head.sha` is not a c"),
        (json.dumps(changed("pull_request.base.sha", 7)).encode(), "`pull_request.base.sha` is not a commit"),
        (
            json.dumps(changed("pull_request.number", True)).encode(),
            "`pull_request.number` is not the number",
        ),
        (json.dumps(changed("pull_request.number", -1)).encode(), "`pull_request.number` is not the number"),
    ],
)
def test_a_broken_payload(payload: bytes, words: str) -> None:
    """The variable is named, and the place in the payload."""
    with pytest.raises(UsageError, match="GITHUB_EVENT_PATH") as caught:
        parse_event(ENVIRON, payload)
    assert words in caught.value.message


@pytest.mark.parametrize("path", ["", "nowhere.json", "a\0b"])
def test_a_missing_payload(path: str, tmp_path: Path) -> None:
    """A variable that is not set or leads to nothing is named."""
    place = str(tmp_path / path) if path else ""
    with pytest.raises(UsageError, match="GITHUB_EVENT_PATH"):
        read_event({**ENVIRON, "GITHUB_EVENT_PATH": place})


def test_the_payload_is_read_from_its_file(tmp_path: Path) -> None:
    """What the runner wrote is what is parsed."""
    path = tmp_path / "event.json"
    path.write_text(json.dumps(PULL))
    assert read_event({**ENVIRON, "GITHUB_EVENT_PATH": str(path)}) == event("pull_request", PULL)


def test_the_runner() -> None:
    """Addresses of an Enterprise server, files, and no page for a run outside of Actions."""
    assert read_runner({}) == Runner()
    found = read_runner(
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://git.acme.example/",
            "GITHUB_API_URL": "https://git.acme.example/api/v3",
            "GITHUB_OUTPUT": "/o",
            "RUNNER_TEMP": "/t",
        }
    )
    assert (found.api_url, found.outputs) == ("https://git.acme.example/api/v3", Path("/o"))
    pull = event("pull_request", PULL)
    assert found.run_url(pull) == "https://git.acme.example/acme/tunes/actions/runs/100"
    assert Runner().run_url(pull) == ""
