"""The publisher through ftgate's client, github3 and HTTP: a whole publication, and answers that are lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fake_github import FakeGitHub, Identity, State, serve
from fake_github.clock import Clock
from fake_github.description import problems
from fake_github.faults import Fault, server_error

from gate.github.api import Annotation, CheckOutput
from gate.github.checkruns import Check, CheckRunProgress, ending, external_id, put_check
from gate.github.client import Client
from gate.github.events import Runner
from gate.github.marker import compose
from gate.github.publishing import Publication, publish
from gate.github.token import Token
from gate.github.transport import Pace

HEAD, PULL = "a" * 40, 7
END = ending(1)
ANNOTATIONS = tuple(Annotation("a.yaml", line, "failure", f"remark {line}") for line in range(1, 71))
OUTPUT = CheckOutput(END.title, "a summary", annotations=ANNOTATIONS)
LOST = {
    "nothing": (),
    "502 after the effect": (
        server_error(502, "create_comment", applied=True),
        server_error(502, "create_check_run", applied=True),
    ),
    "reset before the effect": (Fault("reset", "create_comment"), Fault("reset", "create_check_run")),
    "reset after the effect": (
        Fault("reset", "create_comment", applied=True),
        Fault("reset", "create_check_run", applied=True),
        Fault("reset", "update_check_run", applied=True),
    ),
}


@pytest.fixture
def app() -> Iterator[FakeGitHub]:
    """A GitHub where Actions and an App of the repository's own have tokens."""
    with serve(State(), {"secret": Identity(), "apps": Identity("our-gate[bot]", "our-gate")}) as running:
        running.state.open_pull(PULL, HEAD)
        yield running


def test_an_apps_check_and_comment_are_its_own(app: FakeGitHub) -> None:
    """An App's token publishes beside what Actions announced, and again: one comment, and one check run."""
    announced = replace(publication(5), pull=0, checks=())
    announced = replace(announced, aggregate=replace(announced.aggregate, conclusion=None))
    publish(Client("acme/tunes", Token("secret"), api_url=app.url), announced, wait=lambda _: None)
    for _ in range(2):
        login = Runner(app="our-gate").app_login
        client = Client("acme/tunes", Token("apps"), api_url=app.url, app_login=login)
        assert publish(client, publication(5), wait=lambda _: None).complete
    assert [each.author for each in app.state.comments.values()] == ["our-gate[bot]"]
    own = {each.name: each.conclusion for each in app.state.checks.values() if each.app == "our-gate"}
    assert own == {"ftgate": "failure", "ftgate: a.yaml": "failure"}


def test_an_app_of_an_unknown_name_comments_once(app: FakeGitHub) -> None:
    """Its first comment says who writes, so that it is no stranger's in the next look."""
    client = Client("acme/tunes", Token("apps"), api_url=app.url)
    assert publish(client, publication(5), wait=lambda _: None).comment == "posted"
    assert len(app.state.comments) == 1


def publication(run: int) -> Publication:
    number = external_id(run, 1)
    return Publication(
        PULL,
        HEAD,
        run,
        1,
        f"## Verdict of {run}",
        Check("ftgate", number, OUTPUT, END.conclusion, details_url="https://example.test/run"),
        (Check("ftgate: a.yaml", f"inputs/{number}", OUTPUT, END.conclusion),),
    )


@pytest.fixture
def server() -> Iterator[FakeGitHub]:
    with serve(State(), {"secret": Identity()}) as running:
        running.state.open_pull(PULL, HEAD)
        wrong: list[str] = []
        running.observe = lambda exchange: wrong.extend(problems(exchange))
        yield running
        assert wrong == []


def client(server: FakeGitHub) -> Client:
    clock = Clock(time.time())
    pace = Pace(clock=clock, sleep=clock.sleep, chance=lambda: 0.5)
    return Client("acme/tunes", Token("secret"), api_url=server.url, pace=pace)


@pytest.mark.parametrize("lost", LOST)
def test_a_publication_over_http(server: FakeGitHub, lost: str) -> None:
    """One comment and one check run a name, whatever answer of a creation is lost; a repeat writes nothing,
    and every request and answer is as GitHub's own description says."""
    server.plan.add(*LOST[lost])
    github, it = client(server), publication(5)
    receipt = publish(github, it, wait=lambda seconds: None)
    assert (receipt.comment, receipt.failures, server.plan.left) == ("posted", (), 0)
    body = compose(PULL, HEAD, 5, 1, it.text)
    assert [comment.body for comment in server.state.comments.values()] == [body]
    checks = {check.name: check for check in server.state.checks.values()}
    assert len(server.state.checks) == len(checks) == 2
    assert all(check.conclusion == "failure" for check in checks.values())
    assert {len({note["message"] for note in check.annotations}) for check in checks.values()} == {70}
    assert checks["ftgate"].text == body
    writes = list(server.state.writes)
    assert publish(client(server), it, wait=lambda seconds: None).comment == "unchanged"
    assert server.state.writes == writes


def test_started_shown_and_ended_over_http(server: FakeGitHub) -> None:
    """The check run of the start shows progress and is the one that ends."""
    github, it = client(server), publication(5)
    start = Check("ftgate", it.aggregate.external_id, CheckOutput("running", "since now"))
    run = put_check(github, HEAD, start, "github-actions")
    CheckRunProgress(github, run.id).update("training", 3, 60, "loss 2.31")
    (shown,) = server.state.checks.values()
    assert (shown.status, shown.title) == ("in_progress", "running: training  3 of 60  loss 2.31")
    publish(github, it, wait=lambda seconds: None)
    ended = server.state.checks[run.id]
    assert (ended.status, ended.conclusion, ended.title) == ("completed", "failure", "capability lost")
