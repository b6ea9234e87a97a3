"""The client: how long it tries, what it makes of odd answers, and that nothing shows the token."""

from __future__ import annotations

import copy
import logging
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from fake_github import FakeGitHub, Identity, State, serve
from fake_github.clock import Clock
from fake_github.faults import Fault, Plan, primary_limit, secondary_limit, server_error, too_many
from fake_github.server import Exchange

from gate.errors import Forbidden, GitHubError, Interrupted, NotFound, Uncertain
from gate.github.api import Annotation, CheckOutput
from gate.github.client import Client
from gate.github.retries import Reply, next_step, refusal, wait_before
from gate.github.token import Token, take_token
from gate.github.transport import Pace

SECRET = "ghs_1234567890abcdefghijklmnopqrstuvwxyzABCD"
HEAD = "a" * 40
OUTPUT = CheckOutput("title", "summary")


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeGitHub]:
    with serve(State(), {SECRET: Identity()}) as server:
        yield server


@pytest.fixture
def github(hub: FakeGitHub) -> FakeGitHub:
    """The server, with nothing in it but an open pull request."""
    hub.state, hub.plan = State(), Plan()
    hub.exchanges.clear()
    hub.observe = None
    hub.state.open_pull(7, HEAD)
    return hub


@pytest.fixture
def clock() -> Clock:
    return Clock()


def client(url: str, clock: Clock | None = None, **pace: Any) -> Client:
    clock = clock or Clock()
    fixed = {"clock": clock, "sleep": clock.sleep, "chance": lambda: 0.5}
    return Client("acme/tunes", Token(SECRET), api_url=url, pace=Pace(**(fixed | pace)))


# ── How long it tries ────────────────────────────────────────────────────────────────────────────


def test_waits_double_with_full_jitter(github: FakeGitHub, clock: Clock) -> None:
    """The most that is waited doubles up to half a minute; half of it for a chance of one half."""
    github.plan.add(server_error(times=7))
    client(github.url, clock).pull(7)
    assert clock.slept == [0.5, 1, 2, 4, 8, 15, 15]


def test_one_deadline_ends_every_retry(github: FakeGitHub, clock: Clock) -> None:
    """GitHub that stays away is given up within the time, and the error says what and for how long."""
    github.plan.add(server_error(502, times=1000))
    with pytest.raises(GitHubError) as caught:
        client(github.url, clock, seconds=60.0).comments(7)
    assert 5 <= len(clock.slept) <= 10
    assert sum(clock.slept) <= 60
    assert caught.value.message.startswith(
        "reading the comments of #7 (acme/tunes): gave up: GitHub answered 502"
    )
    assert "60 s" in caught.value.hint


def test_the_deadline_is_one_for_all_pages(github: FakeGitHub, clock: Clock) -> None:
    """A second page has what the first one left."""
    for number in range(150):
        github.state.create_comment(Identity(), 7, f"{number}")
    github.plan.add(server_error(times=4), Fault("answer", skip=1, status=500, times=1000))
    with pytest.raises(GitHubError, match="gave up"):
        client(github.url, clock, seconds=20.0).comments(7)
    assert sum(clock.slept) <= 20


@pytest.mark.parametrize("fault", [too_many, secondary_limit], ids=["429", "403"])
def test_retry_after_is_obeyed(github: FakeGitHub, clock: Clock, fault: Callable[..., Fault]) -> None:
    """It waits as long as GitHub says, and a little longer by chance."""
    github.plan.add(fault(retry_after="20"))
    client(github.url, clock).create_comment(7, "hello")
    assert clock.slept == [20.5]


def test_a_retry_after_beyond_the_deadline_gives_up_at_once(github: FakeGitHub, clock: Clock) -> None:
    """No waiting for nothing, and the error names the wait."""
    github.plan.add(too_many(retry_after="3600"))
    with pytest.raises(GitHubError) as caught:
        client(github.url, clock).pull(7)
    assert clock.slept == []
    assert "3,600 s" in caught.value.hint
    assert len(github.exchanges) == 1


def test_the_reset_of_the_hourly_limit_is_obeyed(github: FakeGitHub, clock: Clock) -> None:
    """403 with nothing remaining waits until the reset, or gives up at once where that is too late."""
    github.plan.add(primary_limit(int(clock.now) + 40))
    client(github.url, clock).pull(7)
    assert clock.slept == [40.5]
    github.plan.add(primary_limit(int(clock.now) + 1800))
    with pytest.raises(GitHubError) as caught:
        client(github.url, clock).pull(7)
    assert not isinstance(caught.value, Forbidden)
    assert clock.slept == [40.5]


def test_a_limit_without_a_time_waits_a_minute(github: FakeGitHub, clock: Clock) -> None:
    """As GitHub's documentation asks."""
    github.plan.add(secondary_limit())
    client(github.url, clock).pull(7)
    assert clock.slept == [60.5]


def test_an_uncertain_creation_waits_before_it_says_so(github: FakeGitHub, clock: Clock) -> None:
    """So that whoever looks again does not look too soon."""
    github.plan.add(server_error(applied=True))
    with pytest.raises(Uncertain, match="commenting on #7"):
        client(github.url, clock).create_comment(7, "hello")
    assert clock.slept == [0.5]
    assert len(github.state.comments) == 1


def test_nobody_listening_is_not_uncertain(clock: Clock) -> None:
    """A connection that never was cannot have created anything: tried again, then an ordinary error."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(GitHubError, match="Connection refused") as caught:
            client(url, clock, seconds=30.0).create_comment(7, "hello")
    assert not isinstance(caught.value, Uncertain)
    assert len(clock.slept) > 3


def test_silence_ends(github: FakeGitHub) -> None:
    """Bytes that stop coming are a lost answer, after the time for a read."""
    github.plan.add(Fault("slow", seconds=2.0))
    started = time.monotonic()
    assert client(github.url, read_seconds=0.1).pull(7).number == 7
    assert time.monotonic() - started < 30  # the whole body would have taken hours


def test_an_answer_without_end_is_refused(github: FakeGitHub) -> None:
    """One beyond the limit is not read to its end, and not asked for again."""
    github.state.create_comment(Identity(), 7, "x" * 60_000)
    with pytest.raises(GitHubError, match="more than 50,000 bytes"):
        client(github.url, largest_answer=50_000).comments(7)
    assert len(github.exchanges) == 1


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "-5", "", "1e999"])
def test_a_retry_after_that_makes_no_sense(text: str) -> None:
    """It is no reason to fail, nor to wait for ever."""
    assert 0 <= wait_before(Reply(503, {"retry-after": text}), 0, 0.0, 0.5) <= 1


def test_a_retry_after_may_be_a_date() -> None:
    """HTTP allows both."""
    reply = Reply(503, {"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"})
    assert wait_before(reply, 0, 40.0, 0.0) == 60


def test_a_forbidden_thing_is_no_limit() -> None:
    """403 for a permission is final; 403 for any of GitHub's limits is not."""
    assert next_step(Reply(403, message="Resource not accessible by integration"), True) == "refused"
    assert next_step(Reply(403, {"x-ratelimit-remaining": "0"}), False) == "repeat"
    assert next_step(Reply(403, message="You have triggered an abuse detection mechanism"), False) == "repeat"


# ── Where it asks ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "location", ["http://localhost:{port}/elsewhere", "https://127.0.0.1:{port}/user", "//x.test/"]
)
def test_no_redirect_to_another_host_is_followed(github: FakeGitHub, status: int, location: str) -> None:
    """The token goes to one scheme, host and port alone."""
    port = github.server_address[1]
    github.plan.add(Fault("redirect", status=status, location=location.format(port=port)))
    with pytest.raises(GitHubError, match="another host"):
        client(github.url).pull(7)
    assert len(github.exchanges) == 1


def test_redirects_in_a_circle_end(github: FakeGitHub) -> None:
    """After a handful."""
    github.plan.add(Fault("redirect", status=307, times=1000))
    with pytest.raises(GitHubError, match="more than 5 redirects"):
        client(github.url).pull(7)


def test_an_enterprise_server(clock: Clock) -> None:
    """The address of the API is used as it is, and pages follow it."""
    with serve(State(), {SECRET: Identity()}, prefix="/api/v3") as server:
        server.state.open_pull(7, HEAD)
        for number in range(120):
            server.state.create_comment(Identity(), 7, f"{number}")
        assert len(client(f"{server.url}/", clock).comments(7)) == 120
        assert all("/api/v3/repos/" in exchange.url for exchange in server.exchanges)


@pytest.mark.parametrize(
    ("repository", "url"),
    [
        ("acme", "https://api.github.com"),
        ("acme/../tunes", "https://api.github.com"),
        ("acme/..", "https://api.github.com"),
        ("acme/tunes?x=1", "https://api.github.com"),
        ("acme/tunes", "http://api.github.com"),
        ("acme/tunes", "ftp://api.github.com"),
    ],
)
def test_an_unusable_repository_or_address_is_refused(repository: str, url: str) -> None:
    """Before anything is sent, and above all not the token over plain HTTP."""
    with pytest.raises(GitHubError):
        Client(repository, Token(SECRET), api_url=url)


def test_a_branch_or_a_name_cannot_leave_its_place(github: FakeGitHub) -> None:
    """What comes from a pull request is a value in the query, whatever is in it."""
    client(github.url).pulls_of_branch("acme", "a&state=all#?/../x y")
    client(github.url).check_runs(HEAD, "ftgate: a&b/é.yaml")
    urls = [exchange.url for exchange in github.exchanges]
    assert urls[0].endswith("&head=acme%3Aa%26state%3Dall%23%3F%2F..%2Fx+y")
    assert urls[1].endswith("&check_name=ftgate%3A+a%26b%2F%C3%A9.yaml")


# ── What it makes of answers ─────────────────────────────────────────────────────────────────────


def test_every_page_is_read(github: FakeGitHub) -> None:
    """All comments and check runs come, oldest first, however many pages they take."""
    made = [github.state.create_comment(Identity(), 7, f"{number}").id for number in range(250)]
    runs = [
        github.state.create_check(Identity(), {"name": "ftgate", "head_sha": HEAD}).id for _ in range(230)
    ]
    assert [comment.id for comment in client(github.url).comments(7)] == made
    assert [run.id for run in client(github.url).check_runs(HEAD)] == runs


def test_annotations_go_fifty_at_a_time(github: FakeGitHub) -> None:
    """All of them arrive, in order, with a creation and with an update."""
    notes = tuple(Annotation("a.yaml", line, "warning", "m", "t" * 300) for line in range(1, 121))
    made = client(github.url).create_check_run(
        HEAD, "ftgate", CheckOutput("t", "s", annotations=notes), status="completed", conclusion="failure"
    )
    client(github.url).update_check_run(
        made.id, CheckOutput("t", "s", annotations=notes[:51]), status="completed", conclusion="failure"
    )
    lines = [note["start_line"] for note in github.state.checks[made.id].annotations]
    assert lines == [*range(1, 121), *range(1, 52)]
    assert [exchange.method for exchange in github.exchanges] == ["POST", "PATCH", "PATCH", "PATCH", "PATCH"]


CALLS: dict[str, Callable[[Client], Any]] = {
    "pull": lambda gh: gh.pull(7),
    "comments": lambda gh: gh.comments(7),
    "check_runs": lambda gh: gh.check_runs(HEAD),
    "pulls_of_commit": lambda gh: gh.pulls_of_commit(HEAD),
    "update_comment": lambda gh: gh.update_comment(1001, "new"),
    "create_comment": lambda gh: gh.create_comment(7, "new"),
    "create_check_run": lambda gh: gh.create_check_run(HEAD, "n", OUTPUT, status="queued"),
}


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        ("pull", "number"),
        ("pull", "head"),
        ("pull", "head.sha"),
        ("pull", "base.ref"),
        ("pull", "state"),
        ("comments", "id"),
        ("check_runs", "check_runs"),
        ("pulls_of_commit", "base"),
        ("update_comment", "id"),
        ("create_comment", "id"),
        ("create_check_run", "name"),
    ],
)
def test_an_answer_that_lacks_what_is_needed(github: FakeGitHub, call: str, missing: str) -> None:
    """It is an error that names the call and the field, never a KeyError; after a creation, uncertain."""
    github.state.create_comment(Identity(), 7, "old")
    github.state.create_check(Identity(), {"name": "ftgate", "head_sha": HEAD})
    github.plan.add(Fault("without", missing=missing))
    with pytest.raises(GitHubError, match="GitHub's answer") as caught:
        CALLS[call](client(github.url))
    assert "(acme/tunes)" in caught.value.message
    assert isinstance(caught.value, Uncertain) == call.startswith("create")


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        ("pull", "draft"),
        ("pull", "labels"),
        ("pull", "head.repo"),
        ("comments", "user"),
        ("comments", "body"),
        ("comments", "html_url"),
        ("create_comment", "user"),
        ("create_check_run", "app"),
        ("create_check_run", "output"),
    ],
)
def test_an_answer_that_lacks_something_else_is_good(github: FakeGitHub, call: str, missing: str) -> None:
    """A deleted account or fork, an older Enterprise server: what is not needed may be missing."""
    github.state.create_comment(Identity(), 7, "old")
    github.plan.add(Fault("without", missing=missing))
    assert CALLS[call](client(github.url))


def test_who_writes_is_asked_once(github: FakeGitHub) -> None:
    """An App's token gets no answer, so the caller's word or Actions' own login stands."""
    actions = client(github.url)
    assert [actions.login(), actions.login()] == ["github-actions[bot]"] * 2
    assert len(github.exchanges) == 1
    ours = Client("acme/tunes", Token(SECRET), api_url=github.url, app_login="ftgate[bot]")
    assert ours.login() == "ftgate[bot]"


def test_threads_share_a_client(github: FakeGitHub) -> None:
    """Calls of several threads do not mix: each comes when the one before it has ended."""
    running, most = set[str](), list[int]()

    def look(exchange: Exchange) -> None:
        running.add(exchange.url)
        most.append(len(running))
        time.sleep(0.01)
        running.discard(exchange.url)

    github.observe = look
    shared, said = client(github.url), dict[int, str]()

    def ask(number: int) -> None:
        with pytest.raises(NotFound) as caught:
            shared.pull(number)
        said[number] = caught.value.message

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(100, 108)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert all(message.startswith(f"reading pull request #{number} ") for number, message in said.items())


def test_what_github_says_is_one_harmless_line() -> None:
    """A refusal's text reaches a terminal: no control character in it, and no end without an end."""
    error = refusal("asking", Reply(422, message="a\x1b[31m\n::error::b" + "x" * 10_000))
    assert "\x1b" not in error.message
    assert "\n" not in error.message
    assert len(error.message) < 400


# ── The token ────────────────────────────────────────────────────────────────────────────────────


def everything_shown(error: BaseException) -> str:
    """An error with its whole past and every local variable of every frame."""
    shown = []
    link: BaseException | None = error
    while link is not None:
        lines = traceback.TracebackException.from_exception(link, capture_locals=True).format()
        shown += [*lines, repr(link), str(vars(link))]
        link = link.__cause__ or link.__context__
    return "".join(shown)


def test_the_look_for_the_token_finds_it_where_it_shows() -> None:
    """Control: requests' own error, with its past and locals, does show the header."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(requests.ConnectionError) as caught:
            requests.get(
                f"http://127.0.0.1:{unused.getsockname()[1]}", headers={"Authorization": f"token {SECRET}"}
            )
    assert SECRET in everything_shown(caught.value)


FAILURES: dict[str, tuple[Fault | None, dict[str, Any]]] = {
    "server error": (server_error(times=1000), {}),
    "reset": (Fault("reset", times=1000), {}),
    "cut": (Fault("cut", times=1000), {}),
    "limit": (too_many(retry_after="9999"), {}),
    "forbidden": (Fault("answer", status=403, message="no"), {}),
    "redirect": (Fault("redirect", status=302, location="http://localhost:1/"), {}),
    "missing": (Fault("without", missing="head"), {}),
    "silence": (Fault("slow", seconds=0.3, times=1000), {"read_seconds": 0.05, "seconds": 3.0}),
    "too large": (None, {"largest_answer": 10}),
    "defect": (None, {"read_seconds": "no number"}),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_failure_shows_the_token(
    github: FakeGitHub, failure: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in its text, its past, any frame's variables, nor any library's log at its most talkative."""
    caplog.set_level(logging.DEBUG)
    fault, pace = FAILURES[failure]
    if fault:
        github.plan.add(fault)
    with pytest.raises(GitHubError) as caught:
        client(github.url, **pace).pull(7)
    shown = everything_shown(caught.value) + caplog.text + "".join(capfd.readouterr())
    assert SECRET not in shown
    assert SECRET[4:12] not in shown


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, Interrupted])
def test_no_interrupt_shows_the_token(github: FakeGitHub, error: type[BaseException]) -> None:
    """A signal deep within a request comes through, without the frames that hold the header."""

    def handle(*_: object) -> None:
        try:
            raise OSError("what was being handled just then")
        finally:
            raise error("a signal")

    before = signal.signal(signal.SIGALRM, handle)
    github.observe = lambda exchange: signal.raise_signal(signal.SIGALRM) or time.sleep(0.2)
    try:
        with pytest.raises(error, match="a signal") as caught:
            client(github.url).pull(7)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert SECRET not in everything_shown(caught.value)
    assert caught.value.__context__ is None


def test_no_object_shows_the_token(github: FakeGitHub) -> None:
    """Neither the token's own repr, nor the client's, nor that of anything in it."""
    token, gh = Token(SECRET), client(github.url)
    gh.pull(7)
    shown = [
        repr(token),
        f"{token}",
        repr(gh),
        str(vars(gh)),
        str(vars(gh._adapter)),
        repr(gh._library.session.auth),
    ]
    assert not [text for text in shown if SECRET[:4] in text]


def test_a_token_is_not_written() -> None:
    """It can be neither pickled nor copied into something that can."""
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            write(Token(SECRET))


def test_the_token_is_taken_out_of_the_environment() -> None:
    """A child that is given what is left does not have it, under either name."""
    environ = {"GITHUB_TOKEN": f" {SECRET}\n", "GH_TOKEN": "other-secret", "PATH": "/usr/bin:/bin"}
    token = take_token(environ)
    assert token.reveal() == SECRET
    seen = subprocess.run(["env"], env=environ, capture_output=True, text=True, check=True).stdout
    assert "PATH=" in seen
    assert "TOKEN" not in seen
    assert not take_token(environ)


def test_the_protocol_is_light() -> None:
    """Whoever only names GitHub's records loads neither github3 nor requests."""
    code = "import sys, gate.github.api, gate.github.token; print({'github3', 'requests'} & set(sys.modules))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert seen.strip() == "set()"
