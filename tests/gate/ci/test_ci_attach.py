"""gate.ci.attach, gate.ci.watch: a push that leaves the inputs alone joins the run that is on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_github.memory import MemoryGitHub
from fake_github.state import StoredJob
from scratch import CONFIG, FILES, WORKFLOW, Scratch, StubCheck, end_job, pull_payload, run_in

from gate.ci.attach import Seen, choose, outdated, verdict_of
from gate.errors import GitHubError, TrainingError
from gate.github.api import CheckOutput, CheckRun

LORA = "configs/lora.yaml"
EDITED = {LORA: CONFIG.replace("1.0e-3", "2.0e-3")}
RUNNING = CheckRun(1, f"ftgate: {LORA}", "a" * 40, "in_progress", app="github-actions", title="running")
PASSED = replace(RUNNING, status="completed", conclusion="success", title="may merge: gained")


def seen(inputs: str, run_id: int = 50, check: CheckRun = RUNNING) -> Seen:
    return Seen(check, inputs, run_id)


@pytest.mark.parametrize(
    ("found", "stored", "again", "expected"),
    [
        ([], False, False, "run"),
        ([seen("other")], False, False, "run"),
        ([seen("mine")], False, False, "wait"),
        ([seen("mine")], True, True, "wait"),
        ([seen("mine", check=PASSED)], False, False, "carry"),
        ([seen("mine", check=PASSED)], True, False, "run"),  # quick, and its report is whole
        ([seen("mine", check=PASSED)], False, True, "run"),  # a person asked for it
        ([seen("other", check=PASSED)], False, False, "run"),
        ([seen("other"), seen("mine", check=PASSED)], False, False, "carry"),
        ([seen("mine", 60), seen("mine", check=PASSED)], False, False, "carry"),  # no wait for what there is
        ([seen("mine", 60), seen("mine", check=PASSED)], False, True, "wait"),
        ([seen("mine", check=replace(PASSED, title="superseded by a newer run"))], False, False, "run"),
        ([seen("mine", check=replace(PASSED, conclusion="failure", title="could not measure: x"))],
         False, False, "run"),
    ],
)  # fmt: skip
def test_what_to_do_about_a_config(found: list[Seen], stored: bool, again: bool, expected: str) -> None:
    """Wait for the same inputs, take a finished verdict over where running again would be slow; else run."""
    assert choose(found, "mine", stored=stored, again=again).kind == expected


@pytest.mark.parametrize(
    ("status", "conclusion", "title", "expected"),
    [
        ("completed", "success", "may merge: gained 6 points", ("pass", 0)),
        ("completed", "failure", "blocked, capability lost: x", ("fail", 1)),
        ("completed", "failure", "blocked, target missed: x", ("fail", 1)),
        ("completed", "failure", "blocked: x", ("fail", 1)),
        ("completed", "failure", "blocked, not judged: new targets", None),
        ("completed", "failure", "may merge: x", None),
        ("completed", "success", "undecided: let through", None),
        ("completed", "success", "", None),
        ("completed", "success", "superseded by a newer run", None),
        ("completed", "failure", "could not measure: out of memory", None),
        ("completed", "failure", "config error: x", None),
        ("completed", "neutral", "may merge: x", None),
        ("in_progress", "", "may merge: x", None),
    ],
)
def test_only_verdicts_are_taken_over(status: Any, conclusion: str, title: str, expected: object) -> None:
    """What could not be measured, was blocked unmeasured or was superseded is nobody's result."""
    check = replace(RUNNING, status=status, conclusion=conclusion, title=title)
    assert verdict_of(check) == expected


def test_runs_about_nothing_that_is_wanted_any_more() -> None:
    """A run is cancelled when all that it has in progress is outdated, and kept while one config needs it."""
    assert outdated([[seen("old", 50)]], ["new"]) == (50,)
    assert outdated([[seen("same", 50)]], ["same"]) == ()
    assert outdated([[seen("old", 50)], [seen("same", 50)]], ["new", "same"]) == ()
    assert outdated([[seen("old", 50), seen("older", 40)]], ["new"]) == (40, 50)
    assert outdated([[seen("old", 50, PASSED)]], ["new"]) == ()


# ── In a repository ──────────────────────────────────────────────────────────────────────────────


class Two:
    """A pull request with a first push and its run's check run, and a second push."""

    def __init__(self, path: Path, second: dict[str, str | None]) -> None:
        self.scratch = Scratch(path / "repo")
        self.github = MemoryGitHub()
        self.first = self.scratch.commit(EDITED)
        self.github.state.open_pull(7, self.first, self.scratch.base)
        self.github.state.runs[90] = "in_progress"
        self.folder = path / "runner"
        self.second_files = second

    def run_first(self, stub: StubCheck | None = None) -> None:
        """Run the first push to its end."""
        ended = run_in(
            self.scratch,
            "pull_request",
            pull_payload(self.scratch, self.first),
            github=self.github.session(),
            stub=stub,
            GITHUB_RUN_ID="90",
        )
        status = "failure" if ended.code else "completed"
        end_job(self.github.state, 90, ended.code, ended.outputs())
        self.github.state.start_run(90, status, head_sha=self.first, path=WORKFLOW, event="pull_request")
        self.inputs = ended.run.runs[0].inputs

    def restart_first(self) -> int:
        """Put the first push's check run back in progress, as if its run were still on; its id."""
        return next(id for id, c in self.github.state.checks.items() if c.name == f"ftgate: {LORA}")

    def change_job(self, **changed: Any) -> None:
        """Change the first push's job as GitHub has it; its steps stay."""
        job = next(job for job in self.github.state.jobs[90] if job.name == "ftgate verdict")
        self.github.state.put_job(90, replace(job, **changed))

    def push(self) -> dict[str, Any]:
        """The second push; its event's payload."""
        head = self.scratch.commit(self.second_files)
        self.github.state.push(7, head)
        return {**pull_payload(self.scratch, head), "before": self.first}

    def run_second(self, stub: StubCheck | None = None, **more: Any) -> Any:
        more.setdefault("github", self.github.session())
        return run_in(self.scratch, "pull_request", self.payload, stub=stub, GITHUB_RUN_ID="91", **more)


def in_progress(two: Two) -> int:
    """The first push's check run, in progress, as its run left it; its id."""
    session = two.github.session()
    output = CheckOutput("running", "x")
    two.github.state.checks.clear()
    check = session.create_check_run(
        two.first, f"ftgate: {LORA}", output, status="in_progress", external_id=f"{two.inputs}/90/1"
    )
    two.github.state.runs[90] = "in_progress"
    two.change_job(status="in_progress", conclusion=None)
    return check.id


@pytest.fixture
def readme(tmp_path: Path) -> Two:
    """The second push changes a README alone."""
    two = Two(tmp_path, {"README.md": "more\n"})
    two.run_first()
    two.payload = two.push()  # type: ignore[attr-defined]
    return two


def forget_store(two: Two) -> None:
    """As on a machine of its own, where no store has the results."""
    for note in (two.folder / "cache").rglob("inputs/*"):
        note.unlink()


def test_a_readme_push_with_the_store_measures_again_from_it(readme: Two) -> None:
    """The report is whole; the stub stands for a run that finds everything stored."""
    ended = readme.run_second()
    assert ended.code == 0
    assert ended.stub.configs == [LORA]
    assert ended.run.runs[0].inputs == readme.inputs


@pytest.mark.parametrize(("gain", "code"), [(0.2, 0), (0.0, 1)])
def test_a_readme_push_without_the_store_takes_the_verdict_over(
    tmp_path: Path, gain: float, code: int
) -> None:
    """Nothing is trained again, the result is the same, and it says where it comes from."""
    two = Two(tmp_path, {"README.md": "more\n"})
    two.run_first(StubCheck({LORA: gain}))
    two.payload = two.push()  # type: ignore[attr-defined]
    forget_store(two)
    ended = two.run_second()
    assert ended.code == code
    assert ended.stub.asked == []
    assert ended.run.runs[0].carried_from == two.first
    comments = [each.body for each in two.github.state.comments.values()]
    assert len(comments) == 1
    assert "carried over" in comments[0]


def test_a_run_that_does_not_end_after_its_verdict_is_not_taken_over(readme: Two) -> None:
    """It is waited for half an hour at most; then the config is measured here, and why is said."""
    forget_store(readme)
    readme.github.state.runs[90] = "in_progress"
    readme.change_job(status="in_progress", conclusion=None)
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    ended = readme.run_second(wait=wait, clock=lambda: now[0])
    assert ended.stub.configs == [LORA]
    assert 1_800 <= now[0] < 2_000
    assert any("of run 90 has not ended" in line for line in ended.warned)


def test_an_error_is_not_taken_over(tmp_path: Path) -> None:
    """It may have been the machine's."""
    two = Two(tmp_path, {"README.md": "more\n"})
    two.run_first(StubCheck(error=TrainingError("it broke")))
    two.payload = two.push()  # type: ignore[attr-defined]
    assert two.run_second().stub.configs == [LORA]


def test_a_readme_push_during_a_run_waits_for_it(readme: Two) -> None:
    """It attaches; when the first run has ended its verdict is taken over, and nobody is cancelled."""
    check = in_progress(readme)
    forget_store(readme)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            output = CheckOutput("may merge: gained", "x")
            readme.github.session().update_check_run(check, output, status="completed", conclusion="success")
            readme.github.state.runs[90] = "completed"
            readme.change_job(status="completed", conclusion="success")

    ended = readme.run_second(wait=wait)
    assert ended.code == 0
    assert ended.stub.asked == []
    assert ended.run.runs[0].carried_from == readme.first
    assert readme.github.state.writes.count("cancel_run 90") == 0


def test_a_dead_run_is_not_waited_for_for_ever(readme: Two) -> None:
    """A check run that does not move for half an hour belongs to a machine that is gone."""
    in_progress(readme)
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    ended = readme.run_second(wait=wait, clock=lambda: now[0])
    assert ended.stub.configs == [LORA]
    assert 1_800 <= now[0] < 3_000


@pytest.mark.parametrize("status", ["queued", "pending", "waiting", "requested"])
def test_a_run_that_is_held_up_is_not_waited_for(readme: Two, status: str) -> None:
    """What holds it up may be this very run, which has the only machine, or its `concurrency` group."""
    in_progress(readme)
    readme.github.state.runs[90] = status
    readme.change_job(status=status, conclusion=None, steps=())
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    ended = readme.run_second(wait=wait, clock=lambda: now[0])
    assert ended.stub.configs == [LORA]
    assert now[0] < 60


def test_a_run_that_is_held_up_for_a_moment_is_waited_for(readme: Two) -> None:
    """Its jobs begin some seconds apart, and one that trains before the required job is none that stands."""
    check = in_progress(readme)
    forget_store(readme)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            readme.change_job(status="queued", conclusion=None)
        elif len(waits) == 2:
            readme.change_job(status="pending", conclusion=None)
            readme.github.state.put_job(90, StoredJob("ftgate train", "in_progress", None))
        elif len(waits) == 4:
            readme.github.state.put_job(90, StoredJob("ftgate train"))
            readme.change_job(status="completed", conclusion="success")
            output = CheckOutput("may merge: gained", "x")
            readme.github.session().update_check_run(check, output, status="completed", conclusion="success")
            readme.github.state.runs[90] = "completed"

    ended = readme.run_second(wait=wait)
    assert ended.stub.asked == []
    assert ended.run.runs[0].carried_from == readme.first


def test_changed_inputs_cancel_the_run(tmp_path: Path) -> None:
    """A run about a config that has changed since is for nothing."""
    two = Two(tmp_path, {LORA: CONFIG.replace("1.0e-3", "3.0e-3")})
    two.run_first()
    in_progress(two)
    two.payload = two.push()  # type: ignore[attr-defined]
    ended = two.run_second()
    assert ended.stub.configs == [LORA]
    assert two.github.state.runs[90] == "cancelled"


@pytest.mark.parametrize(
    "files",
    [
        {"data/train/train.jsonl": '{"text": "z"}\n'},
        {LORA: CONFIG.replace("1.0e-3", "2.0e-3") + "# a comment\n"},
        {"base/config.json": '{"a": 1}'},
    ],
)
def test_what_the_result_depends_on_is_in_the_inputs(tmp_path: Path, files: dict[str, str | None]) -> None:
    """Data, the config's bytes, the base model."""
    two = Two(tmp_path, files)
    two.run_first()
    two.payload = two.push()  # type: ignore[attr-defined]
    assert two.run_second().run.runs[0].inputs != two.inputs


@pytest.mark.parametrize("trick", ["another app", "a newer run", "no external id", "a person"])
def test_check_runs_that_are_not_ours_say_nothing(readme: Two, trick: str) -> None:
    """Anybody's App can post a check run of this name; only our own App's older runs count."""
    forget_store(readme)
    readme.github.state.checks.clear()
    session = readme.github.session(app="evil" if trick == "another app" else "github-actions")
    number = {"a newer run": f"{readme.inputs}/99/1", "no external id": ""}
    session.create_check_run(
        readme.first,
        f"ftgate: {LORA}",
        CheckOutput("may merge: forged", "x"),
        status="completed",
        conclusion="success",
        external_id=number.get(trick, f"{readme.inputs}/90/1"),
    )
    own = readme.github.session("ada", app="") if trick == "a person" else readme.github.session()
    assert readme.run_second(github=own).stub.configs == [LORA]


def test_github_that_does_not_answer_costs_nothing_but_the_show(readme: Two) -> None:
    """The config is simply run."""

    def refuse(operation: str) -> None:
        raise GitHubError("GitHub does not answer")

    ended = readme.run_second(github=readme.github.session(before=refuse))
    assert ended.code == 0
    assert ended.stub.configs == [LORA]
    assert any("GitHub does not answer" in warning for warning in ended.warned)


def test_progress_is_shown_on_the_check_run(tmp_path: Path) -> None:
    """While it trains, the config's check run says how far it is."""
    scratch = Scratch(tmp_path / "repo")
    head = scratch.commit(EDITED)
    github = MemoryGitHub()
    github.state.open_pull(7, head, scratch.base)
    titles: list[str] = []

    def after(operation: str) -> None:
        titles.extend(check.title or "" for check in github.state.checks.values())

    run_in(scratch, "pull_request", pull_payload(scratch, head), github=github.session(after=after))
    assert any(title.startswith("running: training") and "1 of 10" in title for title in titles)


def test_the_second_push_says_what_changed_since_the_first(tmp_path: Path) -> None:
    """The comment's hidden numbers are what it is compared with; the cost adds up; a repeat says the same."""
    two = Two(tmp_path, {LORA: CONFIG.replace("1.0e-3", "3.0e-3")})
    two.run_first(StubCheck({LORA: 0.0}))
    two.payload = two.push()  # type: ignore[attr-defined]
    two.run_second(StubCheck({LORA: 0.2}))
    body: Callable[[], str] = lambda: next(iter(two.github.state.comments.values())).body  # noqa: E731
    assert "was 0.0" in body() or "was +0.0" in body() or "was ±0.0" in body()
    assert '"seconds":120.0' in body()
    assert FILES["README.md"] not in body()
