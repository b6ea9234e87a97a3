"""ftgate's client, over unmodified github3.py and real HTTP, against the fake GitHub: every operation
meets every fault, and every request and answer is held to GitHub's own OpenAPI description."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fake_github import FakeGitHub, Identity, State, serve
from fake_github.clock import Clock, Ticking
from fake_github.description import problems
from fake_github.faults import Fault, Plan, primary_limit, secondary_limit, server_error, too_many
from fake_github.server import Exchange
from fake_github.state import StoredJob

from gate.errors import Forbidden, GitHubError, NotFound, TooLong, Uncertain
from gate.github.api import Annotation, CheckOutput, GitHub
from gate.github.client import Client
from gate.github.token import Token
from gate.github.transport import Pace

HEAD, RUN = "a" * 40, 5
OUTPUT = CheckOutput("2 rules failed", "summary", "text", (Annotation("a.yaml", 3, "failure", "lr", "high"),))


@dataclass(frozen=True)
class Operation:
    """One of the protocol's: how it is called, and whether it reads, creates, or may be repeated."""

    name: str
    kind: str
    call: Callable[[GitHub, int, int], Any]  # client, a comment's id, a check run's id


OPERATIONS = (
    Operation("login", "read", lambda gh, comment, check: gh.login()),
    Operation("pull", "read", lambda gh, comment, check: gh.pull(7)),
    Operation("pulls_of_commit", "read", lambda gh, comment, check: gh.pulls_of_commit(HEAD)),
    Operation("pulls_of_branch", "read", lambda gh, comment, check: gh.pulls_of_branch("acme", "topic")),
    Operation("comments", "read", lambda gh, comment, check: gh.comments(7)),
    Operation("create_comment", "create", lambda gh, comment, check: gh.create_comment(7, "new")),
    Operation("update_comment", "repeat", lambda gh, comment, check: gh.update_comment(comment, "edited")),
    Operation("delete_comment", "repeat", lambda gh, comment, check: gh.delete_comment(comment)),
    Operation("check_runs", "read", lambda gh, comment, check: gh.check_runs(HEAD, "ftgate")),
    Operation(
        "create_check_run",
        "create",
        lambda gh, comment, check: gh.create_check_run(
            HEAD,
            "new",
            OUTPUT,
            status="completed",
            conclusion="failure",
            external_id="1/1",
            details_url="https://x.test",
        ),
    ),
    Operation(
        "update_check_run",
        "repeat",
        lambda gh, comment, check: gh.update_check_run(check, OUTPUT, status="in_progress"),
    ),
    Operation("workflow_run", "read", lambda gh, comment, check: gh.workflow_run(RUN)),
    Operation("jobs", "read", lambda gh, comment, check: gh.jobs(RUN, 1)),
    Operation("cancel_run", "repeat", lambda gh, comment, check: gh.cancel_run(RUN)),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)

# GitHub did nothing and says so, or was not reached: everything is asked again.
HARMLESS = {
    "429": too_many(),
    "429 with Retry-After": too_many(retry_after="2"),
    "403 secondary limit": secondary_limit(),
    "403 secondary limit with Retry-After": secondary_limit(retry_after="2"),
    "403 primary limit": primary_limit(int(time.time()) + 5),
    "redirect 307": Fault("redirect", status=307),
    "redirect 308": Fault("redirect", status=308),
}
# Whether it took effect cannot be known from the answer.
DOUBTFUL = {
    "500": server_error(500),
    "502": server_error(502),
    "500 after the effect": server_error(500, applied=True),
    "502 after the effect": server_error(502, applied=True),
    "reset before the effect": Fault("reset"),
    "reset after the effect": Fault("reset", applied=True),
    "cut in the middle": Fault("cut"),
    "truncated JSON": Fault("garbled"),
    "slow body": Fault("slow", seconds=0.005),
}
# These answers have no body, or one of two bytes that nobody needs.
UNHARMED = {("delete_comment", fault) for fault in ("cut in the middle", "truncated JSON", "slow body")} | {
    ("cancel_run", fault) for fault in ("truncated JSON", "slow body")
}


@dataclass
class World:
    """A repository with a pull request, a comment and a check run; the client; what was said wrongly."""

    server: FakeGitHub
    wrong: list[str]
    comment: int
    check: int

    def client(self, token: str = "secret", pace: Pace | None = None) -> Client:
        clock = Clock(time.time())
        pace = pace or Pace(clock=clock, sleep=clock.sleep, chance=lambda: 0.5)
        return Client("acme/tunes", Token(token), api_url=self.server.url, pace=pace)

    def run(self, operation: Operation, client: Client | None = None) -> Any:
        token = "person" if operation.name == "login" else "secret"  # an App's has no user to read
        return operation.call(client or self.client(token), self.comment, self.check)

    def effects(self, operation: Operation) -> int:
        """How often the operation took effect."""
        return sum(write.startswith(f"{operation.name} ") for write in self.server.state.writes)


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeGitHub]:
    tokens = {
        "secret": Identity(),
        "person": Identity("mona", ""),
        "reads": Identity(permissions={"contents": "read", "metadata": "read"}),
    }
    with serve(State(), tokens) as server:
        yield server


@pytest.fixture
def world(hub: FakeGitHub) -> Iterator[World]:
    hub.state, hub.plan, wrong = State(), Plan(), list[str]()
    hub.exchanges.clear()
    hub.observe = lambda exchange: wrong.extend(problems(exchange))
    hub.state.open_pull(7, HEAD, labels=("ready",))
    hub.state.start_run(RUN)
    hub.state.put_job(RUN, StoredJob("ftgate verdict", steps=("Set up job", "ftgate verdicts x")))
    comment = hub.state.create_comment(Identity(), 7, "old").id
    output = {"title": "t", "summary": "s"}
    check = hub.state.create_check(Identity(), {"name": "ftgate", "head_sha": HEAD, "output": output}).id
    hub.state.writes.clear()
    yield World(hub, wrong, comment, check)
    assert wrong == []


def test_the_table_has_every_operation_of_the_protocol() -> None:
    """None is left out of the matrix below."""
    assert set(BY_NAME) == {name for name in vars(GitHub) if not name.startswith("_")}


@each_operation
def test_an_operation_without_a_fault(world: World, operation: Operation) -> None:
    """It takes effect once, within one request."""
    world.run(operation)
    assert world.effects(operation) == (operation.kind != "read")
    assert [exchange.operation for exchange in world.server.exchanges] == [operation.name]


@each_operation
@pytest.mark.parametrize("fault", HARMLESS)
def test_a_limit_or_a_redirect_that_keeps_the_method_is_got_over(
    world: World, operation: Operation, fault: str
) -> None:
    """Every operation is asked again and then takes effect once: a refusal for a limit did nothing."""
    world.server.plan.add(HARMLESS[fault])
    world.run(operation)
    assert world.server.plan.left == 0
    assert world.effects(operation) == (operation.kind != "read")


@each_operation
@pytest.mark.parametrize("fault", DOUBTFUL)
def test_an_answer_that_is_lost(world: World, operation: Operation, fault: str) -> None:
    """Reads, updates and deletions are repeated; a creation is not, and says that it is uncertain."""
    world.server.plan.add(DOUBTFUL[fault])
    # A look at the clock is a second, and each piece of an answer is a look: twenty are too slow.
    ticking = Ticking()
    slow = Pace(1000, clock=ticking, sleep=ticking.sleep, answer_seconds=20)
    token = "person" if operation.name == "login" else "secret"
    client = world.client(token, slow if fault == "slow body" else None)
    if operation.kind == "create":
        with pytest.raises(Uncertain):
            world.run(operation, client)
        happened = fault not in ("500", "502", "reset before the effect")
        assert world.effects(operation) == happened
    else:
        world.run(operation, client)
        assert world.effects(operation) >= (operation.kind != "read")
        assert len(world.server.exchanges) == (1 if (operation.name, fault) in UNHARMED else 2)
    assert world.server.plan.left == 0


@each_operation
@pytest.mark.parametrize("status", [301, 302])
def test_a_redirect_never_turns_a_write_into_a_read(world: World, operation: Operation, status: int) -> None:
    """A read follows; a write is refused with the reason, and nothing was written."""
    world.server.plan.add(Fault("redirect", status=status))
    if operation.kind == "read":
        world.run(operation)
    else:
        with pytest.raises(GitHubError, match="a write a read"):
            world.run(operation)
        assert world.effects(operation) == 0
    assert {exchange.operation for exchange in world.server.exchanges} == {operation.name}


@each_operation
def test_what_is_gone(world: World, operation: Operation) -> None:
    """404 is NotFound; but what is deleted already is deleted, and an App's token has no user."""
    world.server.plan.add(Fault("answer", status=404, message="Not Found"))
    if operation.name in ("delete_comment", "login"):
        assert world.run(operation) == {"login": "github-actions[bot]"}.get(operation.name)
    else:
        with pytest.raises(NotFound):
            world.run(operation)


def test_a_comment_that_a_person_deleted(world: World) -> None:
    """An update says NotFound, a deletion is content."""
    world.server.state.delete_comment(Identity(), world.comment)
    with pytest.raises(NotFound):
        world.run(BY_NAME["update_comment"])
    world.run(BY_NAME["delete_comment"])


@pytest.mark.parametrize("operation", ["create_comment", "update_comment"])
def test_a_comment_that_is_too_long(world: World, operation: str) -> None:
    """GitHub's 422 is TooLong at once; nothing was written."""
    calls = {"create_comment": (7, "x" * 65_537), "update_comment": (world.comment, "x" * 65_537)}
    with pytest.raises(TooLong):
        getattr(world.client(), operation)(*calls[operation])
    assert len(world.server.exchanges) == 1
    assert world.server.state.writes == []


@pytest.mark.parametrize("field", ["summary", "text"])
@pytest.mark.parametrize("operation", ["create_check_run", "update_check_run"])
def test_a_check_run_that_is_too_long(hub: FakeGitHub, operation: str, field: str) -> None:
    """The same for a check run; GitHub's own description names the limit, so the request breaks it too."""
    hub.state, hub.plan, wrong = State(), Plan(), list[str]()
    hub.observe = lambda exchange: wrong.extend(problems(exchange))
    check = hub.state.create_check(Identity(), {"name": "ftgate", "head_sha": HEAD}).id
    output = replace(CheckOutput("t", "s", "x"), **{field: "x" * 65_536})
    client = Client("acme/tunes", Token("secret"), api_url=hub.url)
    calls = {"create_check_run": (HEAD, "new", output), "update_check_run": (check, output)}
    with pytest.raises(TooLong):
        getattr(client, operation)(*calls[operation], status="in_progress")
    assert len(wrong) == 1
    assert f"$.output.{field}" in wrong[0]


@each_operation
def test_a_token_without_permission(world: World, operation: Operation) -> None:
    """Forbidden at once, with what to do; only who the token belongs to has an answer all the same."""
    client = world.client("reads")
    if operation.name == "login":
        assert world.run(operation, client) == "github-actions[bot]"
    else:
        with pytest.raises(Forbidden) as caught:
            world.run(operation, client)
        assert "permissions: {" in caught.value.hint
    assert len(world.server.exchanges) == 1
    assert world.server.state.writes == []


@each_operation
def test_a_token_that_is_wrong(world: World, operation: Operation) -> None:
    """401 is an error at once, for `login` too: nobody writes under a token that does not exist."""
    with pytest.raises(GitHubError, match="Bad credentials"):
        world.run(operation, world.client("expired"))


def test_a_persons_token(world: World) -> None:
    """It has a login, writes comments, and may make no check run."""
    client = world.client("person")
    assert client.login() == "mona"
    assert client.create_comment(7, "hello").author == "mona"
    with pytest.raises(Forbidden, match="GitHub App"):
        world.run(BY_NAME["create_check_run"], client)


# ── The description bites ────────────────────────────────────────────────────────────────────────


def exchange_of(world: World, name: str) -> Exchange:
    """The exchange of one operation, which is as GitHub describes it."""
    world.run(BY_NAME[name])
    (exchange,) = [exchange for exchange in world.server.exchanges if exchange.operation == name]
    assert problems(exchange) == []
    return exchange


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("create_comment", {"body": 3}),
        ("create_comment", {"body": None}),
        ("create_comment", {"bodytext": "misspelt"}),
        ("create_check_run", {"conclusion": "bad"}),
        ("create_check_run", {"head": HEAD}),
        ("create_check_run", {"output": {"title": "without a summary"}}),
        ("create_check_run", {"output": {"title": "t", "summary": "s", "annotations": [{"path": "a"}]}}),
        ("update_check_run", {"status": "done"}),
        ("update_check_run", {"status": "completed"}),  # and no conclusion
        ("update_check_run", {"output": {"title": "t", "summary": "s", "annotation": []}}),
    ],
)
def test_a_planted_wrong_request_is_noticed(world: World, name: str, change: dict[str, Any]) -> None:
    """A field of the wrong type or value, misspelt or left out, is a problem of the request."""
    exchange = exchange_of(world, name)
    body = json.loads(exchange.request_body) | change
    sent = {key: value for key, value in body.items() if value is not None}
    (problem,) = problems(replace(exchange, request_body=json.dumps(sent).encode()))
    assert problem.startswith(f"request {exchange.method}")


@pytest.mark.parametrize(
    ("old", "new"), [("filter=all", "filter=every"), ("check-runs", "checkruns"), ("/commits/", "/commit/")]
)
def test_a_planted_wrong_address_is_noticed(world: World, old: str, new: str) -> None:
    """A parameter's value or a path that GitHub does not describe is a problem."""
    exchange = exchange_of(world, "check_runs")
    assert problems(replace(exchange, url=exchange.url.replace(old, new))) != []


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("create_comment", "id", "one"),
        ("create_comment", "user", {"login": "mona"}),
        ("pull", "state", "merged"),
        ("pull", "head", None),
        ("check_runs", "total_count", None),
        ("create_check_run", "status", "finished"),
        ("update_check_run", "app", {}),
        ("workflow_run", "id", "5"),
        ("jobs", "jobs", [{"name": "ftgate verdict"}]),
    ],
)
def test_a_planted_wrong_answer_is_noticed(world: World, name: str, field: str, value: Any) -> None:
    """A fake that answers other than GitHub would is a problem of the answer."""
    exchange = exchange_of(world, name)
    body = json.dumps(json.loads(exchange.body) | {field: value}).encode()
    (problem,) = problems(replace(exchange, body=body))
    assert problem.startswith(f"answer {exchange.status}")


def test_an_answer_that_github_does_not_give_is_noticed(world: World) -> None:
    """A creation that answered 200 is none of GitHub's."""
    with pytest.raises(AssertionError):
        problems(replace(exchange_of(world, "create_comment"), status=200))
