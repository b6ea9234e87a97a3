"""What one publisher does with the comment and the check runs, and what it says became of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_github import MemoryGitHub
from fake_github.state import EVERYTHING

from gate.errors import GitHubError, NotFound, TooLong, Uncertain, UsageError
from gate.github.api import CheckOutput, Comment, GitHub
from gate.github.checkruns import PENDING, Check, ending, external_id, put_check
from gate.github.marker import ConfigNumbers, Marker, Numbers, compose, read
from gate.github.order import Shown, Text, Write, newest, ours_of, plan
from gate.github.publishing import Publication, Receipt, publish, standing

PULL = 7
OLD, NOW = "a" * 40, "b" * 40
NUMBERS = Numbers((ConfigNumbers("a.yaml", (("general/x/max_drop", 0.06),)),), 412.0)


def hub(head: str = NOW) -> MemoryGitHub:
    github = MemoryGitHub()
    github.state.open_pull(PULL, OLD)
    if head != OLD:
        github.state.push(PULL, head)
    return github


def publication(
    head: str = NOW, run: int = 5, attempt: int = 1, code: int = 1, text: str = ""
) -> Publication:
    end = ending(code)
    output = CheckOutput(end.title, "a summary")
    number = external_id(run, attempt)
    return Publication(
        PULL,
        head,
        run,
        attempt,
        text or f"## Verdict {run}/{attempt}: {end.title}",
        Check("ftgate", number, output, end.conclusion),
        (Check("ftgate: a.yaml", f"inputs/{number}", output, end.conclusion),),
    )


def body(it: Publication) -> str:
    return compose(it.pull, it.head_sha, it.run_id, it.attempt, it.text, it.numbers)


def post(github: GitHub, it: Publication, **more: object) -> Receipt:
    return publish(github, it, wait=lambda seconds: None, **more)  # type: ignore[arg-type]


def bodies(github: MemoryGitHub) -> list[str]:
    return [comment.body for comment in github.state.comments.values()]


# ── A pull request's day ─────────────────────────────────────────────────────────────────────────


def test_first_published_then_updated_in_place() -> None:
    """The second push's text stands in the first one's comment; the check runs have the whole of it."""
    github = hub(OLD)
    first = post(github.session(), replace(publication(OLD), numbers=NUMBERS))
    assert (first.comment, first.complete, first.checks) == ("posted", True, ("ftgate: a.yaml", "ftgate"))
    assert first.url.startswith("https://")
    github.state.push(PULL, NOW)
    second = post(github.session(), publication(run=6))
    assert (second.comment, second.url) == ("posted", first.url)
    assert bodies(github) == [body(publication(run=6))]
    texts = {check.sha: check.text for check in github.state.checks.values() if check.name == "ftgate"}
    assert texts == {OLD: body(replace(publication(OLD), numbers=NUMBERS)), NOW: body(publication(run=6))}


def test_a_repeat_writes_nothing() -> None:
    """The same publication from another machine finds everything there."""
    github = hub()
    post(github.session(), publication())
    writes = list(github.state.writes)
    assert post(github.session(), publication()).comment == "unchanged"
    assert github.state.writes == writes


def test_check_runs_come_before_the_comment() -> None:
    """Whoever reads the comment after our write finds our whole text in the check run."""
    github = hub()
    post(github.session(), publication())
    kinds = [write.split()[0] for write in github.state.writes]
    assert kinds == ["create_check_run", "create_check_run", "create_comment"]


def test_a_stale_publisher_leaves_the_newer_text() -> None:
    """An older attempt of this head, and any run of an older head, end without touching the comment."""
    github = hub()
    post(github.session(), publication(run=5, attempt=2))
    for stale in (publication(run=5, attempt=1), publication(run=4, attempt=9), publication(OLD, run=99)):
        receipt = post(github.session(), stale)
        assert (receipt.comment, receipt.complete) == ("superseded", True)
        assert receipt.note == f"run 5, attempt 2, on {NOW[:12]} is newer"
    assert bodies(github) == [body(publication(run=5, attempt=2))]


def test_a_stale_publisher_restores_the_newer_text() -> None:
    """Where an older text was written over the newer one, or the comment is gone, it comes back whole from
    the head's check run."""
    github = hub()
    post(github.session(), publication(run=5, attempt=2))
    (comment,) = github.state.comments
    github.session().update_comment(comment, body(publication(run=5, attempt=1)))
    assert post(github.session(), publication(OLD, run=3)).comment == "superseded"
    assert bodies(github) == [body(publication(run=5, attempt=2))]
    github.session().delete_comment(comment)
    assert post(github.session(), publication(OLD, run=3)).comment == "superseded"
    assert bodies(github) == [body(publication(run=5, attempt=2))]


def test_an_older_head_is_better_than_nothing() -> None:
    """Until the current head's run publishes, the newest run of the older heads stands."""
    github = hub()
    assert post(github.session(), publication(OLD, run=3)).comment == "posted"
    assert post(github.session(), publication(OLD, run=2)).comment == "superseded"
    assert post(github.session(), publication(OLD, run=4)).comment == "posted"
    assert bodies(github) == [body(publication(OLD, run=4))]


def test_spare_comments_of_ours_go() -> None:
    """The oldest stays and has the text; the others are deleted; other people's are untouched."""
    github = hub()
    forged = github.session("mallory", "").create_comment(PULL, body(publication(run=999)))
    others = github.session().create_comment(PULL, "a comment of another workflow")
    for run in (2, 3, 1):
        github.session().create_comment(PULL, body(publication(run=run)))
    oldest = min(id_ for id_ in github.state.comments if id_ > others.id)
    assert post(github.session(), publication()).comment == "posted"
    assert list(github.state.comments) == [forged.id, others.id, oldest]
    assert bodies(github) == [forged.body, others.body, body(publication())]


def test_an_edited_comment_is_put_right() -> None:
    """What somebody wrote into our comment does not pass for ours."""
    github = hub()
    post(github.session(), publication())
    (comment,) = github.state.comments
    github.session("mallory", "").update_comment(
        comment, body(publication()).replace("capability lost", "pass")
    )
    assert standing(github.session(), PULL) is None
    assert post(github.session(), publication()).comment == "posted"
    assert bodies(github) == [body(publication())]


def test_forged_check_runs_are_not_believed() -> None:
    """Another App's text, one whose id is not its marker's, and a changed one restore nothing."""
    github = hub()
    post(github.session(), publication())
    newer = publication(run=9, code=0)
    text = CheckOutput("pass", "s", body(newer))
    changed = replace(text, text=body(newer).replace("pass", "PASS"))
    for session, number, output in (
        (github.session("other[bot]", "other"), "9/1", text),
        (github.session(), "5/1", text),
        (github.session(), "inputs/9/1", text),
        (github.session(), "9/1", changed),
    ):
        session.create_check_run(
            NOW, "ftgate", output, status="completed", conclusion="success", external_id=number
        )
    assert post(github.session(), publication()).comment == "unchanged"
    assert bodies(github) == [body(publication())]


# ── Which comments are wanted ────────────────────────────────────────────────────────────────────


def test_on_failure_creates_for_a_failure_alone() -> None:
    """A pass makes no comment, a failure does, and the next pass turns that one green."""
    github = hub()
    passed = replace(publication(code=0), comment="on-failure")
    assert post(github.session(), passed).comment == "none"
    pending = replace(publication(run=5, attempt=2), comment="on-failure")
    pending = replace(pending, aggregate=replace(pending.aggregate, conclusion=PENDING.conclusion))
    assert post(github.session(), pending).comment == "none"
    assert post(github.session(), replace(publication(run=6), comment="on-failure")).comment == "posted"
    green = replace(publication(run=7, code=0), comment="on-failure")
    assert post(github.session(), green).comment == "posted"
    assert bodies(github) == [body(green)]


def test_on_failure_restores_no_green_comment() -> None:
    """A stale failure does not bring a comment back that the newer pass does not want."""
    github = hub()
    post(github.session(), replace(publication(run=6, code=0), comment="on-failure"))
    stale = replace(publication(run=5), comment="on-failure")
    assert post(github.session(), stale).comment == "superseded"
    assert bodies(github) == []


@pytest.mark.parametrize("change", [{"comment": "never"}, {"pull": 0}])
def test_check_runs_alone(change: dict[str, object]) -> None:
    """Without a pull request, or where nobody wants a comment, there are check runs and no comment."""
    github = hub()
    receipt = post(github.session(), replace(publication(), **change))  # type: ignore[arg-type]
    assert (receipt.comment, receipt.complete, len(receipt.checks)) == ("none", True, 2)
    assert not github.state.comments


# ── What GitHub refuses ──────────────────────────────────────────────────────────────────────────


def without(permission: str, level: str = "read") -> dict[str, str]:
    return {**EVERYTHING, permission: level}


def test_no_permission_for_check_runs_still_comments() -> None:
    """The receipt names all check runs that are missing and the permission; the comment is there."""
    for level in ("read", "none"):
        github = hub()
        receipt = post(github.session(permissions=without("checks", level)), publication())
        (failure,) = receipt.failures
        assert receipt.comment == "posted"
        assert receipt.checks == ()
        assert str(failure).startswith("the check runs ftgate: a.yaml, ftgate could not be posted: ")
        assert "checks: write" in str(failure)


def test_a_persons_token_comments() -> None:
    """A person's token can make no check runs; the markers alone keep the order then."""
    github = hub()
    assert post(github.session("octocat", ""), publication(run=6)).comment == "posted"
    assert post(github.session("octocat", ""), publication(run=5)).comment == "superseded"
    assert bodies(github) == [body(publication(run=6))]


def test_no_permission_to_comment_still_checks() -> None:
    """A fork's read-only token: nothing is raised; what, why and what helps are in the receipt."""
    github = hub()
    session = github.session(permissions={**EVERYTHING, "issues": "read", "pull_requests": "read"})
    receipt = post(session, publication())
    (failure,) = receipt.failures
    assert (receipt.comment, receipt.checks, receipt.text) == (
        "failed",
        ("ftgate: a.yaml", "ftgate"),
        publication().text,
    )
    assert failure.what == "the comment"
    assert "not accessible" in failure.why
    assert "pull-requests: write" in failure.hint


@pytest.mark.parametrize("down", ["login", "pull", "comments", "check_runs", "create_comment"])
def test_github_that_is_down_is_in_the_receipt(down: str) -> None:
    """Whatever cannot be asked, `publish` returns and says so."""

    def before(operation: str) -> None:
        if operation == down:
            raise GitHubError("502 Bad Gateway", hint="githubstatus.com")

    receipt = post(hub().session(before=before), publication())
    assert receipt.comment == "failed"
    assert not receipt.complete
    assert "502 Bad Gateway (githubstatus.com)" in str(receipt.failures[-1])


def test_no_such_pull_request() -> None:
    """A number that is none is a failure of the comment, not of the run."""
    receipt = post(hub().session(), replace(publication(), pull=8))
    assert (receipt.comment, len(receipt.checks)) == ("failed", 2)


class AtFirst:
    """A hook that raises the first time that this is asked."""

    def __init__(self, operation: str, error: GitHubError) -> None:
        self.operation, self.error, self.raised = operation, error, False

    def __call__(self, operation: str) -> None:
        if operation == self.operation and not self.raised:
            self.raised = True
            raise self.error


@pytest.mark.parametrize(
    "operation", ["create_check_run", "update_check_run", "create_comment", "update_comment"]
)
@pytest.mark.parametrize("effect", [True, False])
def test_an_uncertain_write_is_looked_for(operation: str, effect: bool) -> None:
    """A write whose answer was lost is found, or done again, and never doubled."""
    github = hub()
    if operation == "update_check_run":
        put_check(github.session(), NOW, replace(publication().aggregate, conclusion=None), "github-actions")
    if operation == "update_comment":
        post(github.session(), publication(run=4))
    hook = AtFirst(operation, Uncertain("reset"))
    session = github.session(after=hook) if effect else github.session(before=hook)
    receipt = post(session, publication())
    assert hook.raised
    assert (receipt.comment, receipt.complete) == ("posted", True)
    assert bodies(github) == [body(publication())]
    names = [check.name for check in github.state.checks.values() if check.external_id.endswith("5/1")]
    assert sorted(names) == ["ftgate", "ftgate: a.yaml"]


def test_a_comment_that_vanishes_is_created_again() -> None:
    """Deleted between our look and our write: the next look finds none and creates one."""
    github = hub()
    post(github.session(), publication(run=4))

    def deleting(operation: str) -> None:
        if operation == "update_comment":
            github.session("maintainer", "").delete_comment(min(github.state.comments))

    assert (
        post(github.session(before=AtFirst("update_comment", NotFound("gone"))), publication()).comment
        == "posted"
    )
    github.session().update_comment(min(github.state.comments), body(publication(run=4)))
    assert post(github.session(before=deleting), publication()).comment == "posted"
    assert bodies(github) == [body(publication())]


def test_endless_quarrels_end() -> None:
    """Against somebody who changes the comment after each look there is a bound, and words."""
    github = hub()

    def meddling(operation: str) -> None:
        if operation == "pull" and github.state.comments:
            github.session("bot", "").update_comment(min(github.state.comments), body(publication(run=1)))

    receipt = post(github.session(before=meddling), publication())
    assert receipt.comment == "failed"
    assert "kept changing" in receipt.failures[0].why
    assert len(github.state.writes) < 40


# ── Lengths ──────────────────────────────────────────────────────────────────────────────────────


def test_too_long_is_shortened_by_sections_and_said() -> None:
    """The renderer is asked for less until GitHub takes it; the check run has the same shorter text."""
    github = hub()
    asked: list[int] = []

    def shorten(limit: int) -> str:
        asked.append(limit)
        return f"## Verdict in {limit}"

    def refusing(operation: str) -> None:
        if operation == "create_comment" and len(asked) < 2:
            raise TooLong("body is too long")

    receipt = post(github.session(before=refusing), publication(text="x" * 60_000), shorten=shorten)
    assert (receipt.comment, receipt.text) == ("posted", "## Verdict in 30000")
    assert receipt.note == "shortened to 30,000 characters: GitHub takes no longer comment"
    assert asked == [60_000, 30_000]
    (text,) = (check.text for check in github.state.checks.values() if check.name == "ftgate")
    assert bodies(github) == [text]
    assert "## Verdict in 30000" in bodies(github)[0]


def test_what_was_refused_is_named_once() -> None:
    """Check runs that the token may not make are not tried again with the shorter text."""
    refusing = AtFirst("create_comment", TooLong("body is too long"))
    receipt = post(hub().session(permissions=without("checks"), before=refusing), publication())
    assert (receipt.comment, len(receipt.failures), refusing.raised) == ("posted", 1, True)


def test_far_too_long_is_cut_before_it_is_sent() -> None:
    """Without a renderer to ask, the text is cut at a line, and says so."""
    github = hub()
    receipt = post(github.session(), publication(text="line\n" * 50_000))
    assert receipt.comment == "posted"
    (comment,) = bodies(github)
    assert len(comment) <= 65_536
    assert "left out" in comment[-100:]


def test_nothing_short_enough_is_a_failure_with_words() -> None:
    """A text that GitHub never takes ends in the receipt."""

    def refusing(operation: str) -> None:
        if operation == "create_comment":
            raise TooLong("body is too long")

    receipt = post(hub().session(before=refusing), publication())
    assert receipt.comment == "failed"
    assert receipt.failures[0].why == "body is too long"


# ── What GitHub does to a text, and what is a mistake of ours ────────────────────────────────────


class Altering:
    """A GitHub that stores each comment without exclamation marks."""

    def __init__(self, session: GitHub) -> None:
        self._session = session

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def create_comment(self, pull: int, text: str) -> Comment:
        return self._session.create_comment(pull, text.replace("! ", " ").replace("!\n", "\n"))

    def update_comment(self, comment: int, text: str) -> Comment:
        return self._session.update_comment(comment, text.replace("! ", " ").replace("!\n", "\n"))


def test_a_text_that_github_alters_is_no_quarrel() -> None:
    """What GitHub itself changed is not written again and again."""
    github = hub()
    receipt = post(Altering(github.session()), publication(text="Lost! Much"))  # type: ignore[arg-type]
    assert receipt.comment == "posted"
    assert len(github.state.comments) == 1
    assert github.state.writes[-1].startswith("create_comment")


def test_a_commit_that_is_none_is_a_usage_error() -> None:
    """`--sha main` is the user's to mend, before GitHub is asked anything."""
    github = hub()
    with pytest.raises(UsageError, match="not a commit"):
        post(github.session(), publication(head="main"))
    assert not github.state.writes


def test_what_stands_is_read_for_the_next_push() -> None:
    """Head, order and numbers of our comment; nothing from another author or none at all."""
    github = hub()
    assert standing(github.session(), PULL) is None
    github.session("mallory", "").create_comment(PULL, body(replace(publication(run=9), numbers=NUMBERS)))
    assert standing(github.session(), PULL) is None
    post(github.session(), replace(publication(), numbers=NUMBERS))
    marked = standing(github.session(), PULL)
    assert marked is not None
    assert (marked.marker.head, marked.numbers) == (NOW, NUMBERS)


# ── Deciding, without GitHub ─────────────────────────────────────────────────────────────────────


def text(head: str, run: int, attempt: int = 1, trust: int = 1) -> Text:
    return Text(Marker(PULL, head, run, attempt, "0" * 64), f"{head} {run} {attempt} {trust}", trust)


def test_the_order_of_texts() -> None:
    """The current head before any other, then the run, then the attempt, then who says it."""
    rising = [
        text(OLD, 8),
        text(OLD, 9),
        text(NOW, 1),
        text(NOW, 2),
        text(NOW, 2, 2),
        text(NOW, 2, 2, trust=3),
    ]
    for at, one in enumerate(rising):
        assert newest(rising[: at + 1], NOW) is one
        assert newest(reversed(rising[: at + 1]), NOW) is one


def shown(id_: int, it: Publication) -> Shown:
    (found,) = ours_of([Comment(id_, "bot", body(it))], "bot", PULL)
    return found


def test_what_is_left_to_do() -> None:
    """Create, update the oldest, delete the rest, in this order; nothing where all is as wanted."""
    it = publication()
    marked = read(body(it), PULL)
    assert marked is not None
    wanted = Text(marked.marker, body(it), 3, creates=True)
    other = publication(run=1)
    assert plan(wanted, []) == (Write(0, body(it)),)
    assert plan(replace(wanted, creates=False), []) == ()
    assert plan(wanted, [shown(3, it)]) == ()
    assert plan(wanted, [shown(9, it), shown(3, other), shown(5, it)]) == (
        Write(3, body(it)),
        Write(5, ""),
        Write(9, ""),
    )
