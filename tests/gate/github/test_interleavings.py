"""Several publishers at once, stepped one GitHub request at a time in an order that hypothesis picks.

Each publisher runs in a thread of its own that waits for its turn before every request, so that exactly
one runs at any moment and a scenario always ends the same way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fake_github import MemoryGitHub, MemorySession
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gate.errors import GitHubError, Uncertain
from gate.github.api import CheckOutput, Comment, GitHub
from gate.github.checkruns import RUNNING, Check, ending, external_id, put_check
from gate.github.marker import compose, read
from gate.github.order import Text, newest, ours_of, plan
from gate.github.publishing import Publication, publish

PULL = 7
LOGIN = "github-actions[bot]"
HEADS = tuple(digit * 40 for digit in "abc")
RUN_HEADS = {1: HEADS[0], 2: HEADS[0], 3: HEADS[1], 4: HEADS[1], 5: HEADS[2], 6: HEADS[0]}
"""Which commit each run was about: number 6 came after a push back to the first commit."""

Publish = Callable[[GitHub, Publication], object]


@dataclass(frozen=True)
class Attempt:
    """One publisher: an attempt of a run. An even sum of both numbers failed, an odd one passed."""

    run: int
    attempt: int

    @property
    def head(self) -> str:
        return RUN_HEADS[self.run]

    @property
    def failed(self) -> bool:
        return (self.run + self.attempt) % 2 == 0


@dataclass(frozen=True)
class Scenario:
    """Publishers, the order of their turns (taken again and again), and what happens beside them."""

    attempts: tuple[Attempt, ...]
    turns: tuple[int, ...]
    pushes: tuple[tuple[int, int], ...]  # (before which turn, which head)
    mode: str = "always"
    faults: tuple[tuple[int, int, str], ...] = ()  # (publisher, its request, what)
    meddling: tuple[tuple[int, str], ...] = ()  # (before which turn, what somebody does to our comment)
    earlier: int = 0  # comments of ours that stand at the start


class Killed(BaseException):
    """The job of a publisher is cancelled."""


def publication(attempt: Attempt, mode: str) -> Publication:
    """What the attempt has to say: a comment, the aggregate and one config's check run."""
    end = ending(1 if attempt.failed else 0)
    number = external_id(attempt.run, attempt.attempt)
    output = CheckOutput(end.title, "a summary")
    return Publication(
        PULL,
        attempt.head,
        attempt.run,
        attempt.attempt,
        text_of(attempt),
        Check("ftgate", number, output, end.conclusion),
        (Check("ftgate: a.yaml", f"inputs/{number}", output, end.conclusion),),
        comment=mode,  # type: ignore[arg-type]
    )


def text_of(attempt: Attempt) -> str:
    return f"## Verdict of {attempt.run}/{attempt.attempt} on {attempt.head}"


def body_of(attempt: Attempt) -> str:
    return compose(PULL, attempt.head, attempt.run, attempt.attempt, text_of(attempt))


def ours(github: GitHub, it: Publication) -> None:
    """What `ftgate ci` does: a check run at the start, the rest at the end."""
    try:
        start = Check("ftgate", it.aggregate.external_id, CheckOutput(RUNNING.title, "since now"))
        put_check(github, it.head_sha, start, "github-actions")
    except GitHubError:
        pass  # the end creates it then
    publish(github, it, wait=lambda seconds: None)


# ── The stage ────────────────────────────────────────────────────────────────────────────────────


class Stepped(MemorySession):
    """A session whose lists of comments may be answered by a replica that lags."""

    lag: bool = False
    seen: Sequence[Comment] = ()

    def comments(self, pull: int) -> list[Comment]:
        self.lag = False
        now = super().comments(pull)
        shown, self.seen = (self.seen if self.lag else now), now
        return list(shown)


@dataclass
class Actor:
    """One publisher in its thread."""

    attempt: Attempt
    faults: dict[int, str]
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    moved: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ended: bool = False
    error: BaseException | None = None
    requests: int = 0
    session: Any = None

    def before(self, operation: str) -> None:
        self.moved.release()
        self.turn.acquire()
        self.requests += 1
        fault = self.faults.get(self.requests, "")
        if fault == "killed":
            raise Killed
        if fault == "refused":
            raise GitHubError("502 before it took effect")

    def after(self, operation: str) -> None:
        fault = self.faults.get(self.requests, "")
        self.session.lag = fault == "lag"
        if fault == "killed after":
            raise Killed
        if fault == "lost":
            writes = operation.startswith(("create", "update", "delete"))
            raise Uncertain("reset") if writes else GitHubError("reset")

    def play(self, do: Publish, mode: str) -> None:
        self.turn.acquire()
        try:
            do(self.session, publication(self.attempt, mode))
        except Killed:
            pass
        except BaseException as error:  # told by the main thread
            self.error = error
        self.ended = True
        self.moved.release()


class Stage:
    """A pull request with other people's comments, and the publishers of a scenario."""

    def __init__(self, scenario: Scenario, do: Publish) -> None:
        self.scenario, self.do = scenario, do
        self.github = MemoryGitHub()
        self.state = self.github.state
        self.state.open_pull(PULL, HEADS[0])
        self.pushed = {HEADS[0]}
        mallory, bot = self.github.session("mallory", ""), self.github.session()
        mallory.create_comment(PULL, compose(PULL, HEADS[0], 999_999, 9, "forged"))
        mallory.create_comment(PULL, "> " + compose(PULL, HEADS[2], 999_999, 9, "quoted"))
        bot.create_comment(PULL, "Another workflow's comment\n" + compose(PULL, HEADS[0], 9, 9, "not first"))
        bot.create_comment(PULL, compose(PULL + 1, HEADS[0], 9, 9, "another pull request's"))
        self.others = dict(self.state.comments)
        for _ in range(scenario.earlier):
            bot.create_comment(PULL, compose(PULL, HEADS[0], 0, 1, "an earlier one"))
        self.actors = [self._actor(at, attempt) for at, attempt in enumerate(scenario.attempts)]

    def _actor(self, at: int, attempt: Attempt) -> Actor:
        actor = Actor(attempt, {call: what for who, call, what in self.scenario.faults if who == at})
        plain = self.github.session(before=actor.before, after=actor.after)
        actor.session = Stepped(plain._state, plain._who, actor.before, actor.after)
        return actor

    def play(self) -> None:
        """All publishers, until each has ended; what is still to be pushed is pushed when nobody can move."""
        threads = [
            threading.Thread(target=actor.play, args=(self.do, self.scenario.mode)) for actor in self.actors
        ]
        for thread in threads:
            thread.start()
        pushes, turn = list(self.scenario.pushes), 0
        while waiting := [actor for actor in self.actors if not actor.ended]:
            ready = [actor for actor in waiting if actor.attempt.head in self.pushed]
            while pushes and (pushes[0][0] <= turn or not ready):
                self._push(HEADS[pushes.pop(0)[1]])
                ready = [actor for actor in waiting if actor.attempt.head in self.pushed]
            for what in [what for when, what in self.scenario.meddling if when == turn]:
                self._meddle(what)
            actor = ready[self.scenario.turns[turn % len(self.scenario.turns)] % len(ready)]
            actor.turn.release()
            actor.moved.acquire()
            turn += 1
        for _, head in pushes:
            self._push(HEADS[head])
        for thread in threads:
            thread.join()
        for actor in self.actors:
            if actor.error:
                raise actor.error

    def _push(self, head: str) -> None:
        self.state.push(PULL, head)
        self.pushed.add(head)

    def _meddle(self, what: str) -> None:
        """Somebody with write access deletes or edits our oldest comment."""
        person = self.github.session("maintainer", "")
        for comment in self.ours()[:1]:
            if what == "delete":
                person.delete_comment(comment.id)
            else:
                person.update_comment(comment.id, comment.body + "\nI think so, too.")

    def ours(self) -> list[Comment]:
        """The comments of ours, as anybody may read them."""
        comments = self.github.session().comments(PULL)
        return [shown.comment for shown in ours_of(comments, LOGIN, PULL)]

    def newest(self) -> Attempt:
        head = self.state.pulls[PULL].head_sha
        return max(self.scenario.attempts, key=lambda it: (it.head == head, it.run, it.attempt))

    def publish_again(self, attempt: Attempt) -> None:
        self.do(self.github.session(), publication(attempt, self.scenario.mode))

    def check_comments(self) -> None:
        """One comment of ours, the newest; nobody else's is touched."""
        newest = self.newest()
        bodies = [comment.body for comment in self.ours()]
        wanted = self.scenario.mode == "always" or newest.failed
        assert bodies == [body_of(newest)] or (not wanted and not bodies)
        assert {id_: self.state.comments.get(id_) for id_ in self.others} == self.others

    def is_right(self) -> bool:
        """Whether `check_comments` would pass."""
        try:
            self.check_comments()
        except AssertionError:
            return False
        return True

    def check_runs(self) -> None:
        """The newest's check run has its comment's text, and on its commit none of ours is in progress."""
        newest = self.newest()
        checks = [check for check in self.state.checks.values() if check.sha == newest.head]
        mine = [c for c in checks if c.external_id == external_id(newest.run, newest.attempt)]
        assert mine
        assert {check.text for check in mine if check.title != "superseded by a newer run"} == {
            body_of(newest)
        }
        assert all(check.status == "completed" for check in checks)


# ── What is tried ────────────────────────────────────────────────────────────────────────────────

ATTEMPTS = st.builds(Attempt, st.sampled_from(sorted(RUN_HEADS)), st.integers(1, 2))
FAULTS = st.tuples(
    st.integers(0, 3),
    st.integers(1, 16),
    st.sampled_from(["refused", "lost", "killed", "killed after", "lag"]),
)
TURNS = st.lists(st.integers(0, 3), min_size=4, max_size=40).map(tuple)


@st.composite
def scenarios(draw: st.DrawFn, faulty: bool = True) -> Scenario:
    """Two to four publishers. Without faults every commit is pushed once, as a branch usually grows."""
    attempts = tuple(draw(st.lists(ATTEMPTS, min_size=2, max_size=4)))
    heads = sorted({HEADS.index(attempt.head) for attempt in attempts} - {0})
    if faulty and any(attempt.run == 6 for attempt in attempts):
        heads.append(0)
    whens = sorted(draw(st.lists(st.integers(0, 60), min_size=len(heads), max_size=len(heads))))
    return Scenario(
        attempts,
        draw(TURNS),
        tuple(zip(whens, heads, strict=True)),
        draw(st.sampled_from(["always", "always", "on-failure"])),
        tuple(draw(st.lists(FAULTS, min_size=1, max_size=6))) if faulty else (),
        tuple(draw(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["delete", "edit"])), max_size=1)))
        if faulty
        else (),
        draw(st.integers(0, 2)),
    )


def tried(number: int, **more: Any) -> Any:
    """The same `number` scenarios every time."""
    return settings(
        max_examples=number,
        derandomize=True,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        **more,
    )


def faulty_then_newest(scenario: Scenario, do: Publish) -> Stage:
    """All end, well or not, then the newest publishes once more."""
    stage = Stage(scenario, do)
    stage.play()
    stage.publish_again(stage.newest())
    stage.check_comments()
    return stage


def faultless(scenario: Scenario, do: Publish) -> Stage:
    """All end, and nobody publishes again."""
    stage = Stage(scenario, do)
    stage.play()
    stage.check_comments()
    return stage


def faulty_then_anybody(scenario: Scenario, do: Publish) -> Stage:
    """All end, well or not, the newest's text comes to lie in its check run, and then one that may be
    stale publishes once more."""
    stage = Stage(scenario, do)
    stage.play()
    publish(stage.github.session(), publication(stage.newest(), "never"))
    stage.publish_again(scenario.attempts[0])
    stage.check_comments()
    return stage


@pytest.mark.slow
def test_a_thousand_interleavings_with_faults_end_in_the_newest_text() -> None:
    """Lost answers, refusals, killed jobs, lagging lists, pushes, re-runs, edits and deletions: after one
    more publish of the newest there is one comment of ours, its own, and nobody else's was touched."""
    count = wrong_before = 0

    @tried(1000)
    @given(scenarios())
    def run(scenario: Scenario) -> None:
        nonlocal count, wrong_before
        stage = Stage(scenario, ours)
        stage.play()
        count, wrong_before = count + 1, wrong_before + (not stage.is_right())
        stage.publish_again(stage.newest())
        stage.check_comments()
        stage.check_runs()

    run()
    assert count >= 1000
    assert wrong_before > 100  # or the faults do nothing


@pytest.mark.slow
def test_without_faults_nobody_needs_to_publish_again() -> None:
    """Whatever the order of requests, the newest text stands when the last publisher has ended."""

    @tried(400)
    @given(scenarios(faulty=False))
    def run(scenario: Scenario) -> None:
        faultless(scenario, ours).check_runs()

    run()


@pytest.mark.slow
def test_any_publisher_restores_the_newest_text() -> None:
    """After faults it need not be the newest that publishes again: its text lies in the check run."""

    @tried(400)
    @given(scenarios())
    def run(scenario: Scenario) -> None:
        faulty_then_anybody(scenario, ours).check_runs()

    run()


OLDER_WRITES_LAST = Scenario(
    (Attempt(1, 1), Attempt(1, 2)), (0,) * 11 + (1,) * 100, pushes=(), faults=(), earlier=1
)
"""The older attempt stops before its eleventh request, the update; the newer one does all of its own."""


def test_the_gap_that_no_algorithm_closes() -> None:
    """A publisher that decided before the newer text came, and dies right after its write, leaves the older
    text; had it lived, it would have put it right, and so does anybody's next publish."""
    killed = Stage(replace(OLDER_WRITES_LAST, faults=((0, 11, "killed after"),)), ours)
    killed.play()
    assert [comment.body for comment in killed.ours()] == [body_of(Attempt(1, 1))]
    killed.publish_again(Attempt(1, 1))
    killed.check_comments()
    alive = Stage(OLDER_WRITES_LAST, ours)
    alive.play()
    alive.check_comments()
    (comment,) = alive.ours()
    assert alive.state.writes[-2:] == [f"update_comment {comment.id}"] * 2


# ── These must fail ──────────────────────────────────────────────────────────────────────────────


def usual(github: GitHub, it: Publication) -> None:
    """What most bots do: look for the own comment, update it, else create one."""
    body = compose(it.pull, it.head_sha, it.run_id, it.attempt, it.text)
    mine = ours_of(github.comments(it.pull), github.login(), it.pull)
    try:
        if mine:
            github.update_comment(mine[0].comment.id, body)
        else:
            github.create_comment(it.pull, body)
    except Uncertain:
        github.create_comment(it.pull, body)


def any_author(github: GitHub, it: Publication) -> None:
    """Believes every marker, and cleans up."""
    body = compose(it.pull, it.head_sha, it.run_id, it.attempt, it.text)
    for comment in github.comments(it.pull):
        if read(comment.body, it.pull):
            github.delete_comment(comment.id)
    github.create_comment(it.pull, body)


def one_look(github: GitHub, it: Publication) -> None:
    """The same decisions as ours, but it never looks at what became of its writes."""
    body = compose(it.pull, it.head_sha, it.run_id, it.attempt, it.text)
    marked = read(body, it.pull)
    assert marked
    output = CheckOutput("done", "a summary", body)
    put_check(
        github, it.head_sha, Check("ftgate", it.aggregate.external_id, output, "success"), "github-actions"
    )
    head = github.pull(it.pull).head_sha
    mine = ours_of(github.comments(it.pull), github.login(), it.pull)
    own = Text(marked.marker, body, 3, creates=True)
    shown = [Text(it.marked.marker, it.comment.body, 1) for it in mine]
    for write in plan(newest([own, *shown], head), mine):
        if not write.comment:
            github.create_comment(it.pull, write.body)
        elif write.body:
            github.update_comment(write.comment, write.body)
        else:
            github.delete_comment(write.comment)


@pytest.mark.parametrize(
    ("game", "publisher", "faulty"),
    [
        (faulty_then_newest, usual, True),
        (faulty_then_newest, any_author, True),
        (faultless, usual, False),
        (faultless, one_look, False),
        (faulty_then_anybody, one_look, True),
    ],
)
def test_simpler_publishers_are_caught(
    game: Callable[[Scenario, Publish], Stage], publisher: Publish, faulty: bool
) -> None:
    """The same scenarios find what is wrong with publishers that do less."""

    @tried(1000, phases=(Phase.generate,))
    @given(scenarios(faulty=faulty))
    def run(scenario: Scenario) -> None:
        game(scenario, forgiven(publisher))

    with pytest.raises(AssertionError):
        run()


def forgiven(publisher: Publish) -> Publish:
    """The publisher, which GitHub's refusals end without a word."""

    def do(github: GitHub, it: Publication) -> None:
        try:
            publisher(github, it)
        except GitHubError:
            return

    return do
