"""Check runs: what each end is called, lengths, repeats, and progress that never fails a run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from fake_github import MemoryGitHub
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import (
    FAIL,
    INFRASTRUCTURE,
    INTERRUPTED,
    PASS,
    UNDECIDED,
    USAGE,
    Forbidden,
    GitHubError,
    TooLong,
    Uncertain,
)
from gate.github.api import Annotation, CheckOutput
from gate.github.checkruns import (
    CUT,
    OUTPUT_LIMIT,
    PENDING,
    RUNNING,
    Check,
    CheckRunProgress,
    app_of,
    cut,
    ending,
    external_id,
    put_check,
    read_external_id,
    within,
)
from gate.progress import Progress

SHA = "a" * 40
APP = "github-actions"
ANNOTATIONS = tuple(Annotation("a.yaml", line, "failure", f"remark {line}") for line in range(1, 121))


def check(
    conclusion: str | None = "failure",
    annotations: tuple[Annotation, ...] = (),
    run: int = 5,
    text: str = "text",
) -> Check:
    output = CheckOutput("capability lost", "a summary", text, annotations)
    return Check("ftgate: a.yaml", external_id(run, 1, "inputs"), output, conclusion)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "title", "conclusion"),
    [
        (PASS, "pass", "success"),
        (FAIL, "capability lost", "failure"),
        (USAGE, "config error", "failure"),
        (INFRASTRUCTURE, "could not measure", "failure"),
        (UNDECIDED, "undecided: the data prove neither", "failure"),
        (INTERRUPTED, "could not measure: interrupted", "failure"),
        (99, "could not measure", "failure"),
        (-9, "could not measure", "failure"),
    ],
)
def test_every_end_has_its_words(code: int, title: str, conclusion: str) -> None:
    """Only a pass is green; a lost capability, a config error and what was not measured differ in words."""
    end = ending(code)
    assert (end.title, end.conclusion, end.status) == (title, conclusion, "completed")


def test_what_passes_is_said() -> None:
    """Undecided passes only where the workflow says so, and says so; nothing else follows that switch."""
    end = ending(UNDECIDED, fail_on_undecided=False)
    assert (end.title, end.conclusion) == (
        "undecided: let through, because fail-on-undecided is off",
        "success",
    )
    for code in (FAIL, USAGE, INFRASTRUCTURE, INTERRUPTED, 99):
        assert ending(code, fail_on_undecided=False).conclusion == "failure"


def test_what_is_blocked_lost_nothing() -> None:
    """A config blocked by the policy is red in words of its own; a pass is never blocked by this alone."""
    assert ending(FAIL, blocked=True).title == "blocked by the policy"
    assert ending(FAIL, blocked=True).conclusion == "failure"
    assert ending(INFRASTRUCTURE, blocked=True) == ending(INFRASTRUCTURE)


def test_pending_is_in_progress() -> None:
    """A fork's trained model waits for a maintainer: no conclusion, so nothing passes."""
    assert (PENDING.title, PENDING.status, PENDING.conclusion) == (
        "trained, not yet measured",
        "in_progress",
        None,
    )
    assert RUNNING.status == "in_progress"


def test_external_ids_come_back() -> None:
    """Inputs, run and attempt are read back; what other Apps write there is nothing of ours."""
    assert read_external_id(external_id(12, 3)) == ("", 12, 3)
    assert read_external_id(external_id(12, 3, "sha256:0f")) == ("sha256:0f", 12, 3)
    for text in ("", "12", "a/b/c", "ca395085-040a-526b-2ce8-bdc85f692774", "12/3\n", "x y/12/3", "١/٢"):
        assert read_external_id(text) is None


def test_an_apps_slug() -> None:
    """Check runs are an App's; a person's login has none."""
    assert app_of("github-actions[bot]") == "github-actions"
    assert app_of("octocat") == ""


# ── Lengths ──────────────────────────────────────────────────────────────────────────────────────


def test_long_text_is_cut_at_a_line() -> None:
    """Whole lines stay, an open fence and fold are closed, and a note says so."""
    text = "# Title\n<details>\n\n````text\n" + "```\nline\n" * 100
    short = cut(text, 300)
    assert len(short) <= 300
    assert short.startswith("# Title\n<details>\n\n````text\n```\nline\n")
    assert short.endswith("\n````\n\n</details>" + CUT)
    assert cut(text, len(text)) == text
    assert cut("x" * 500, 200) == CUT


@given(
    st.lists(st.sampled_from(["a", "<details>", "</details>", "```", "~~~~", "````text", "- b"])),
    st.integers(150, 300),
)
def test_cut_keeps_its_limit(lines: list[str], limit: int) -> None:
    """Whatever is open, what is cut fits, begins as the text did, and ends with the note."""
    text = "\n".join(lines * 10)
    short = cut(text, limit)
    assert len(short) <= limit
    assert short == text or short.endswith(CUT)
    first = short.removesuffix(CUT).split("\n")[0]
    assert text.startswith(first)


def test_output_within_githubs_limits() -> None:
    """Title, summary and text are each cut to what GitHub takes."""
    short = within(CheckOutput("t" * 999, "line\n" * 20_000, "line\n" * 20_000))
    assert len(short.title) == 200
    assert OUTPUT_LIMIT - 10 < len(short.summary) <= OUTPUT_LIMIT
    assert len(short.text) <= OUTPUT_LIMIT


# ── Starting and ending ──────────────────────────────────────────────────────────────────────────


def test_started_then_ended() -> None:
    """The check run of the start is the one that ends; all 120 annotations arrive, 50 a request."""
    github = MemoryGitHub()
    sizes: list[int] = []
    session = github.session(after=lambda operation: sizes.append(total(github)))
    started = put_check(session, SHA, check(None), APP)
    ended = put_check(session, SHA, check(annotations=ANNOTATIONS), APP)
    assert started.id == ended.id
    assert (started.status, ended.status, ended.conclusion) == ("in_progress", "completed", "failure")
    (stored,) = github.state.checks.values()
    assert [note["message"] for note in stored.annotations] == [note.message for note in ANNOTATIONS]
    assert max(now - before for before, now in pairwise(sizes)) == 50


def total(github: MemoryGitHub) -> int:
    return sum(len(stored.annotations) for stored in github.state.checks.values())


def test_a_repeat_writes_nothing() -> None:
    """The same end again sends nothing; another text is put without a second set of annotations."""
    github = MemoryGitHub()
    put_check(github.session(), SHA, check(annotations=ANNOTATIONS), APP)
    writes = list(github.state.writes)
    put_check(github.session(), SHA, check(annotations=ANNOTATIONS), APP)
    assert github.state.writes == writes
    put_check(github.session(), SHA, check(annotations=ANNOTATIONS, text="another"), APP)
    (stored,) = github.state.checks.values()
    assert (stored.text, len(stored.annotations)) == ("another", 120)


@pytest.mark.parametrize("lost", range(1, 7))
def test_a_lost_answer_makes_no_second_check_run(lost: int) -> None:
    """Whichever request's answer is lost after it took effect, one check run ends with all remarks."""
    github = MemoryGitHub()
    session = github.session(after=failing_at(lost, Uncertain("reset"), writes=True))
    put_check(session, SHA, check(annotations=ANNOTATIONS), APP)
    (stored,) = github.state.checks.values()
    assert (stored.status, stored.conclusion) == ("completed", "failure")
    assert {note["message"] for note in stored.annotations} == {note.message for note in ANNOTATIONS}


def failing_at(number: int, error: GitHubError, *, writes: bool = False) -> Callable[[str], None]:
    """A hook that raises at the `number`-th request, or the `number`-th write."""
    count = 0

    def hook(operation: str) -> None:
        nonlocal count
        count += not writes or operation.startswith(("create", "update", "delete"))
        if count == number:
            count += 1
            raise error

    return hook


def test_nobody_elses_check_run_is_touched() -> None:
    """Another App's and Actions' own job of the same name stay as they are; an older run's that was left in
    progress is closed, a newer one's is not."""
    github = MemoryGitHub()
    other = github.session("other[bot]", "other")
    kept = [
        put_check(other, SHA, check(None), "other").id,
        github.session()
        .create_check_run(
            SHA, "ftgate: a.yaml", CheckOutput("t", "s"), status="in_progress", external_id="ca395085-040a"
        )
        .id,
        put_check(github.session(), SHA, check(None, run=9), APP).id,
    ]
    before = [github.state.checks[id_] for id_ in kept]
    old = put_check(github.session(), SHA, check(None, run=3), APP).id
    mine = put_check(github.session(), SHA, check(run=5), APP).id
    assert [github.state.checks[id_] for id_ in kept] == before
    closed = github.state.checks[old]
    assert (closed.status, closed.conclusion, closed.title) == (
        "completed",
        "failure",
        "superseded by a newer run",
    )
    assert github.state.checks[mine].conclusion == "failure"


def test_a_text_that_github_counts_otherwise_is_cut_again() -> None:
    """GitHub refuses characters that it counts as more: the second try is far shorter, and says so."""
    github = MemoryGitHub()
    refusing = Refusing(github.session())
    put_check(refusing, SHA, check(text="é🙂\n" * 20_000), APP)  # type: ignore[arg-type]
    (stored,) = github.state.checks.values()
    assert (stored.text or "").endswith(CUT)
    assert refusing.refused == 1


class Refusing:
    """A GitHub that counts bytes."""

    def __init__(self, session: object) -> None:
        self._session, self.refused = session, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def create_check_run(self, sha: str, name: str, output: CheckOutput, **fields: object) -> object:
        if len(output.text.encode()) > OUTPUT_LIMIT:
            self.refused += 1
            raise TooLong("text is too long")
        return self._session.create_check_run(sha, name, output, **fields)  # type: ignore[attr-defined]


def test_a_refusal_is_raised() -> None:
    """Without the permission the caller hears why."""
    session = MemoryGitHub().session(permissions={"checks": "read"})
    with pytest.raises(Forbidden):
        put_check(session, SHA, check(), APP)


# ── While it runs ────────────────────────────────────────────────────────────────────────────────


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_is_shown_every_few_minutes_at_most() -> None:
    """Ten thousand reports within ten minutes are four requests; the line says how far and how long."""
    github, clock = MemoryGitHub(), Clock()
    run = put_check(github.session(), SHA, check(None), APP)
    progress: Progress = CheckRunProgress(github.session(), run.id, clock=clock)
    before = len(github.state.writes)
    for step in range(1, 10_001):
        clock.now = step * 0.06
        progress.update("training", step, 10_000, "loss 2.31")
    progress.done("training")
    assert len(github.state.writes) - before == 4
    (stored,) = github.state.checks.values()
    assert stored.status == "in_progress"
    assert stored.title == "running: training  9001 of 10000  loss 2.31  1:00 left"
    assert "[#####################...]" in (stored.summary or "")


def test_progress_never_fails_the_run_and_falls_silent() -> None:
    """GitHub that fails is asked ever more seldom, then no more."""
    github, clock, asked = MemoryGitHub(), Clock(), []
    run = put_check(github.session(), SHA, check(None), APP)

    def down(operation: str) -> None:
        asked.append(clock.now)
        raise GitHubError("down")

    progress = CheckRunProgress(github.session(before=down), run.id, every=100, clock=clock)
    for now in range(0, 10_000, 10):
        clock.now = float(now)
        progress.update("training", now, 10_000)
    assert asked == [0, 200, 600]


def test_progress_of_a_hostile_name_is_plain() -> None:
    """A task's name with a mention, a link, a fence or a control character acts nowhere."""
    github = MemoryGitHub()
    run = put_check(github.session(), SHA, check(None), APP)
    progress = CheckRunProgress(github.session(), run.id)
    progress.update("``` @team #1 <b>\n\x1b[31m[x](y)", 1, 2, "![i](j)|" * 99)
    (stored,) = github.state.checks.values()
    lines = (stored.summary or "").split("\n")
    assert (lines[0], lines[2], len(lines)) == ("```text", "```", 3)
    for text in (lines[1], stored.title or ""):
        assert not set(text) & set("@<>`\x1b\n!|")
    assert "#" not in (stored.title or "")
