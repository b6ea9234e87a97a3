"""The doubles of GitHub: the one in memory is the one over HTTP, and both know what is described."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from fake_github import Identity, MemoryGitHub, State, serve
from fake_github.description import description
from fake_github.routes import ROUTES
from fake_github.state import StoredJob

from gate.errors import GitHubError
from gate.github.api import Annotation, CheckOutput, GitHub
from gate.github.client import Client
from gate.github.token import Token

DOUBLES = Path(__file__).parents[2] / "doubles"
HEAD, FORK = "a" * 40, "f" * 40
NOTES = tuple(Annotation("a.yaml", line, "warning", f"line {line}", "title") for line in range(1, 121))
LONG = "x" * 65_537

CALLS: dict[str, Callable[[GitHub], Any]] = {
    "login": lambda gh: gh.login(),
    "pull": lambda gh: gh.pull(7),
    "a fork's pull": lambda gh: gh.pull(8),
    "no pull": lambda gh: gh.pull(9),
    "pulls of a commit": lambda gh: gh.pulls_of_commit(HEAD),
    "pulls of no commit": lambda gh: gh.pulls_of_commit("0" * 40),
    "pulls of a branch": lambda gh: gh.pulls_of_branch("acme", "topic"),
    "pulls of a fork's branch": lambda gh: gh.pulls_of_branch("mona", "topic"),
    "comments": lambda gh: gh.comments(7),
    "comments of no pull": lambda gh: gh.comments(9),
    "comment": lambda gh: gh.create_comment(7, "new @all \x1b é"),
    "comment on no pull": lambda gh: gh.create_comment(9, "new"),
    "long comment": lambda gh: gh.create_comment(7, LONG),
    "empty comment": lambda gh: gh.create_comment(7, " "),
    "update": lambda gh: gh.update_comment(1001, "edited"),
    "update of nothing": lambda gh: gh.update_comment(9, "edited"),
    "long update": lambda gh: gh.update_comment(1001, LONG),
    "delete": lambda gh: gh.delete_comment(1001),
    "delete of nothing": lambda gh: gh.delete_comment(9),
    "check runs": lambda gh: gh.check_runs(HEAD),
    "check runs of a name": lambda gh: gh.check_runs(HEAD, "ftgate"),
    "check run": lambda gh: gh.create_check_run(
        HEAD,
        "n",
        CheckOutput("t", "s", "x", NOTES),
        status="completed",
        conclusion="failure",
        external_id="1/2",
    ),
    "check run without a conclusion": lambda gh: gh.create_check_run(
        HEAD, "n", CheckOutput("t", "s"), status="completed"
    ),
    "long check run": lambda gh: gh.create_check_run(HEAD, "n", CheckOutput("t", LONG), status="queued"),
    "check run's update": lambda gh: gh.update_check_run(
        1002, CheckOutput("t", "s", annotations=NOTES[:1]), status="completed", conclusion="success"
    ),
    "check run reopened": lambda gh: gh.update_check_run(1003, CheckOutput("t", "s"), status="in_progress"),
    "another App's check run": lambda gh: gh.update_check_run(1004, CheckOutput("t", "s"), status="queued"),
    "no check run": lambda gh: gh.update_check_run(9, CheckOutput("t", "s"), status="queued"),
    "a run": lambda gh: gh.workflow_run(5),
    "a run that ended": lambda gh: gh.workflow_run(6),
    "no run": lambda gh: gh.workflow_run(9),
    "jobs": lambda gh: gh.jobs(5, 1),
    "jobs of an attempt that has none": lambda gh: gh.jobs(5, 2),
    "jobs of no run": lambda gh: gh.jobs(9, 1),
    "cancel": lambda gh: gh.cancel_run(5),
    "cancel what ended": lambda gh: gh.cancel_run(6),
    "cancel nothing": lambda gh: gh.cancel_run(9),
}
IDENTITIES = {
    "actions": Identity(),
    "reads": Identity(permissions={"pull_requests": "read", "checks": "read"}),
    "nothing": Identity(permissions={}),
    "person": Identity("mona", ""),
}


@dataclass
class Ends:
    """How a call ended: what it gave, or the kind of its error; and what is remembered after it."""

    given: Any
    error: type[GitHubError] | None
    state: dict[str, Any]


def filled() -> State:
    """A repository with something of everything."""
    state = State()
    state.open_pull(7, HEAD, labels=("ready",), draft=True)
    state.open_pull(8, FORK, head_repository="mona/tunes")
    state.create_comment(Identity(), 7, "old")
    output = {"title": "t", "summary": "s", "text": "x", "annotations": []}
    for name, app in (("ftgate", "github-actions"), ("n", "github-actions"), ("ftgate", "other")):
        fields = {
            "name": name,
            "head_sha": HEAD,
            "output": output,
            "status": "completed",
            "conclusion": "failure",
        }
        state.create_check(Identity(app=app), fields)
    state.start_run(5)
    state.start_run(6, "completed")
    state.put_job(5, StoredJob("judge", "in_progress", None))
    state.put_job(5, StoredJob("train", "completed", "failure", ("Set up job", "a step")))
    return state


def ending(github: GitHub, state: State, call: str) -> Ends:
    try:
        return Ends(CALLS[call](github), None, state.dump())
    except GitHubError as error:
        return Ends(None, type(error), state.dump())


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with serve(State(), IDENTITIES) as server:
        yield server


@pytest.mark.parametrize("who", IDENTITIES)
@pytest.mark.parametrize("call", CALLS)
def test_memory_and_http_are_one(server: Any, call: str, who: str) -> None:
    """Every call gives the same, fails alike and leaves the same behind, whoever makes it: what is tested
    against the one in memory holds for the client over HTTP."""
    memory = MemoryGitHub(state=filled())
    identity = IDENTITIES[who]
    session = memory.session(identity.login, identity.app, identity.permissions)
    server.state = filled()
    client = Client("acme/tunes", Token(who), api_url=server.url)
    assert ending(session, memory.state, call) == ending(client, server.state, call)


def test_the_fake_serves_just_what_is_described() -> None:
    """Each route has one described operation, and none is described that nobody serves."""
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "7", path.replace("{owner}/{repo}", "acme/tunes")))
        for path, item in json.loads((DOUBLES / "fake_github/described/openapi.json").read_bytes())[
            "paths"
        ].items()
        for method in item
    }
    served = [
        [asked for asked in described if asked[0] == method and re.fullmatch(pattern, asked[1])]
        for method, pattern, _, _ in ROUTES
    ]
    assert [len(matches) for matches in served] == [1] * len(ROUTES)
    assert {matches[0] for matches in served} == described
    assert description().spec  # and openapi-core takes it


def test_hooks_come_before_and_after_each_request() -> None:
    """A hook that raises before lets nothing happen; one that raises after loses the answer alone."""
    memory, seen = MemoryGitHub(), list[str]()
    memory.state.open_pull(7, HEAD)
    memory.session(before=seen.append).create_check_run(
        HEAD, "n", CheckOutput("t", "s", annotations=NOTES), status="queued"
    )
    assert seen == ["create_check_run", "update_check_run", "update_check_run"]

    def fail(operation: str) -> None:
        raise GitHubError(operation)

    with pytest.raises(GitHubError, match="create_comment"):
        memory.session(before=fail).create_comment(7, "x")
    assert memory.state.comments == {}
    with pytest.raises(GitHubError, match="create_comment"):
        memory.session(after=fail).create_comment(7, "x")
    assert len(memory.state.comments) == 1


def ask(url: str, method: str = "GET", content: Any = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    with urlopen(Request(url, data, method=method)) as answer:
        return json.loads(answer.read())


def test_a_server_of_its_own_keeps_its_state(tmp_path: Path) -> None:
    """`python -m fake_github` says where it is, is seeded and asked beside GitHub's own paths, suffers the
    faults that it is told, and leaves its state in the file when it ends."""
    file = tmp_path / "state.json"
    file.write_text(json.dumps(filled().dump()))
    command = [sys.executable, "-m", "fake_github", "--state", str(file), "--token", "secret=github-actions"]
    with subprocess.Popen(command, cwd=DOUBLES, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert ask(f"{url}/_state") == filled().dump()
            ask(f"{url}/_faults", "POST", [{"kind": "answer", "operation": "comments", "status": 404}])
            client = Client("acme/tunes", Token("secret"), api_url=url)
            with pytest.raises(GitHubError):
                client.comments(7)
            made = client.create_comment(7, "hello")
            assert [seen["status"] for seen in ask(f"{url}/_requests")] == [404, 201]
            assert "secret" not in json.dumps(ask(f"{url}/_requests"))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
    assert process.returncode == 0
    assert json.loads(file.read_text())["comments"][-1]["id"] == made.id


def test_a_state_may_be_put(server: Any) -> None:
    """A test that runs in another process can begin anew without a new server."""
    ask(f"{server.url}/_state", "PUT", {"pulls": [{"number": 3, "commits": [HEAD], "base_sha": FORK}]})
    assert Client("acme/tunes", Token("actions"), api_url=server.url).pull(3).head_repository == "acme/tunes"
    assert server.state.comments == {}
