"""`--mode publish` and `ftgate publish`: a finished run, posted from another job or machine."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_github.memory import MemoryGitHub
from scratch import (
    CONFIG,
    FILES,
    POLICY,
    Scratch,
    StubCheck,
    environment,
    git,
    pull_payload,
    run_in,
    verdict,
)

from gate.ci.finished import Target, publish_run
from gate.ci.plan import CiOptions
from gate.ci.record import Posting, read_ci, write_ci, write_posting
from gate.ci.run import Effects, connect_client, run_ci
from gate.errors import GitHubError, TrainingError, UsageError
from gate.github.api import CheckOutput
from gate.github.events import Runner
from gate.github.token import Token
from gate.progress import SilentProgress
from gate.records import CiRun, Event
from gate.report import render
from gate.runfolder import RunFolder
from gate.shell import Shell

LORA, FULL = "configs/lora.yaml", "configs/full.yaml"
EDITED = {LORA: CONFIG.replace("1.0e-3", "2.0e-3")}


class Place:
    """A repository with a pull request, a GitHub, and the folder that a judge job left."""

    def __init__(self, path: Path, files: dict[str, str] | None = None) -> None:
        self.scratch = Scratch(path / "repo", files or FILES)
        self.head = self.scratch.commit(EDITED)
        self.github = MemoryGitHub()
        self.github.state.open_pull(7, self.head, self.scratch.base)
        self.payload = pull_payload(self.scratch, self.head)
        self.folder = path / "runner"

    def judge(self, gain: float = 0.2) -> int:
        """What a job without a token does; its folder stays."""
        stub = StubCheck({LORA: gain})
        return run_in(self.scratch, "pull_request", self.payload, stub=stub, folder=self.folder).code

    def publish(
        self, token: str = "t", payload: object = None, who: str = "", **asked_of: Any
    ) -> tuple[int, list[str]]:
        """`ftgate ci --mode publish`, by Actions or by the App `who`: its exit code and what it said."""
        said: list[str] = []
        session = self.github.session(f"{who}[bot]", who) if who else self.github.session()
        variables = {name: asked_of.pop(name) for name in list(asked_of) if name.isupper()}
        environ = environment(self.folder, "pull_request", payload or self.payload, **variables)
        shell = Shell(environ, said.append, said.append, SilentProgress())
        asked = replace(CiOptions(mode="publish", run_dir=self.folder / "run"), **asked_of)
        effects = Effects(lambda *_: session, StubCheck(), lambda _: None)
        with chdir(self.scratch.path):
            return run_ci(asked, Token(token), shell, effects), said

    @property
    def checks(self) -> dict[str, tuple[str | None, str | None]]:
        return {check.name: (check.conclusion, check.title) for check in self.github.state.checks.values()}

    @property
    def bodies(self) -> list[str]:
        return [comment.body for comment in self.github.state.comments.values()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(("gain", "code", "conclusion"), [(0.2, 0, "success"), (0.0, 1, "failure")])
def test_the_publishing_job_posts_and_ends_like_the_gate(
    place: Place, gain: float, code: int, conclusion: str
) -> None:
    """Post first, then fail; a repeat changes nothing."""
    assert place.judge(gain) == code
    assert place.bodies == []
    assert place.publish()[0] == code
    assert {name: ended for name, (ended, _) in place.checks.items()} == {
        f"ftgate: {LORA}": conclusion,
        "ftgate": conclusion,
    }
    before = place.bodies
    assert place.publish()[0] == code
    assert place.bodies == before
    assert len(before) == 1


def test_the_job_says_it_once(place: Place) -> None:
    """The judging step has written the summary; the publishing step adds to it only what went wrong."""
    place.judge()
    before = (place.folder / "summary").read_text()
    place.publish()
    assert (place.folder / "summary").read_text() == before
    place.github = MemoryGitHub()  # which knows no such pull request
    place.publish()
    assert len((place.folder / "summary").read_text()) > len(before)


def test_before_anything_was_measured_the_check_is_pending(place: Place) -> None:
    """No folder: not yet measured; there is no comment, the job is red, and nothing is green."""
    code, said = place.publish()
    assert (code, place.bodies) == (1, [])
    assert place.checks["ftgate"][0] is None
    assert "not yet measured" in str(place.checks["ftgate"][1])
    assert "not yet measured" in said
    place.judge()
    place.publish()
    assert place.checks["ftgate"][0] == "success"


def test_a_job_that_broke_off_leaves_nothing_in_progress(place: Place) -> None:
    """Its machine died: whoever comments ends each config's check run, in its own words, and comments."""
    place.publish()
    assert {ended for ended, _ in place.checks.values()} == {None}
    (place.folder / "run").mkdir()
    code, said = place.publish()
    assert code == 3
    assert any("the job that measures left no result" in line for line in said)
    assert {name: ended for name, (ended, _) in place.checks.items()} == {
        f"ftgate: {LORA}": "failure",
        "ftgate": "failure",
    }
    assert str(place.checks[f"ftgate: {LORA}"][1]).startswith("could not measure")
    (body,) = place.bodies
    assert "left no result" in body


def test_a_folder_of_another_run_is_not_posted_and_one_of_an_earlier_attempt_as_that(place: Place) -> None:
    """What is run again in parts may have its verdict from before: it is that attempt's, and changes no
    check run of a later one."""
    place.judge()
    run = read_ci(place.folder / "run")
    write_ci(place.folder / "run", replace(run, event=replace(run.event, run_id=99)))
    with pytest.raises(UsageError, match="is of run 99, this is run 100"):
        place.publish()
    write_ci(place.folder / "run", run)
    session = place.github.session()
    later = session.create_check_run(
        place.head, "ftgate", CheckOutput("could not measure", "x"), status="completed",
        conclusion="failure", external_id="100/2",
    )  # fmt: skip
    assert place.publish(GITHUB_RUN_ATTEMPT="2")[0] == 0
    assert place.github.state.checks[later.id].conclusion == "failure"
    posted = [each for each in place.github.state.checks.values() if each.external_id == "100/1"]
    assert [each.conclusion for each in posted] == ["success"]


def test_where_nothing_is_measured_whoever_comments_says_so(place: Place) -> None:
    """The job that looks keeps that no config changed; without its folder it is found out again."""
    place.head = place.scratch.commit({LORA: CONFIG})
    place.github.state.push(7, place.head)
    place.payload = pull_payload(place.scratch, place.head)
    assert place.publish(comment="never")[0] == 0
    assert read_ci(place.folder / "run").message == "no training config changed: nothing to measure"
    shutil.rmtree(place.folder / "run")
    (place.folder / "run").mkdir()
    assert place.publish()[0] == 0
    place.github.state.checks.clear()
    assert place.publish()[0] == 0
    assert place.checks["ftgate"][0] == "success"


def test_a_disk_that_keeps_no_end_leaves_it_open(place: Place) -> None:
    """Where no config changed and the folder for it cannot be made: a warning, pending, and red."""
    place.head = place.scratch.commit({LORA: CONFIG})
    place.github.state.push(7, place.head)
    place.payload = pull_payload(place.scratch, place.head)
    place.folder.mkdir(exist_ok=True)
    (place.folder / "full").write_text("no folder")
    code, said = place.publish(run_dir=place.folder / "full/run")
    assert code == 1
    assert any("full/run" in line for line in said)
    assert place.checks["ftgate"][0] is None


def test_whoever_comments_lets_through_what_the_job_that_measured_was_asked_to(place: Place) -> None:
    """`fail-on-undecided: false` stands in one step of the workflow, and every job obeys it."""
    error = replace(read_undecided(place), outcome="undecided", exit_code=4)
    write_ci(place.folder / "run", error)
    assert place.publish()[0] == 4
    write_posting(place.folder / "run", Posting(fail_on_undecided=False))
    assert place.publish()[0] == 0
    assert place.checks["ftgate"][0] == "success"


def read_undecided(place: Place) -> CiRun:
    """A run whose one config is undecided."""
    place.judge()
    run = read_ci(place.folder / "run")
    return replace(run, runs=tuple(replace(each, outcome="undecided", exit_code=4) for each in run.runs))


def test_while_it_is_measured_the_check_run_says_since_when(place: Place) -> None:
    """Before the handover is opened: pending, red, no comment; the verdict then ends the same check run."""
    place.publish()
    handover = place.folder / "handover"
    handover.mkdir(parents=True)
    code, said = place.publish(handover=handover)
    assert (code, place.bodies) == (1, [])
    assert "trained; being measured" in said
    (shown,) = (each for each in place.github.state.checks.values() if each.name != "ftgate")
    assert (shown.status, shown.conclusion) == ("in_progress", None)
    assert "Trained. Measured since 2" in str(shown.summary)
    place.judge()
    place.publish()
    assert place.checks[f"ftgate: {LORA}"][0] == "success"


def test_whoever_does_not_comment_leaves_what_changed_to_whoever_does(place: Place) -> None:
    """An App posts the check runs, and sees no comment of its own: the job that comments looks itself."""
    place.judge(0.3)
    place.publish()
    place.head = place.scratch.commit({LORA: CONFIG.replace("1.0e-3", "3.0e-3")})
    place.github.state.push(7, place.head)
    place.payload = pull_payload(place.scratch, place.head)
    shutil.rmtree(place.folder / "run")
    place.judge(0.2)
    place.publish(comment="never", who="our-gate")
    place.publish()
    (body,) = place.bodies
    assert "was +30.0" in body


def test_a_result_that_contradicts_itself_is_not_published(place: Place) -> None:
    """A green whole over a blocked config: refused, nothing posted."""
    assert place.judge(0.0) == 1
    run = read_ci(place.folder / "run")
    write_ci(place.folder / "run", replace(run, outcome="pass", exit_code=0))
    with pytest.raises(UsageError, match="contradicts itself"):
        place.publish()
    assert place.checks == {}


def test_where_no_config_changed_nobody_is_asked_to_measure(place: Place) -> None:
    """The announcement looks itself: green at once for a README, with no comment; a checkout that is not the
    event's tells nothing: pending, and red."""
    place.scratch.checkout("main")
    place.scratch.checkout("-bdocs")
    head = place.scratch.commit({"README.md": "better words"})
    place.github.state.open_pull(8, head, place.scratch.base)
    payload = pull_payload(place.scratch, head, number=8) | {"number": 8}
    place.scratch.checkout("main")
    assert place.publish(payload=payload)[0] == 1
    assert place.checks["ftgate"][0] is None
    place.scratch.checkout("docs")
    assert place.publish(payload=payload) == (0, ["no training config changed: nothing to measure"])
    assert place.checks["ftgate"][0] == "success"
    assert place.bodies == []


def test_the_comment_links_the_runs_artifacts(place: Place) -> None:
    """By the anchor of the run's page, where something was measured; an announcement links none."""
    place.publish()
    assert not any("#artifacts" in (each.summary or "") for each in place.github.state.checks.values())
    place.judge()
    place.publish()
    address = "https://github.com/acme/tunes/actions/runs/100#artifacts"
    assert f"[the artifact, with report.html]({address})" in place.bodies[0]


def test_a_judge_that_broke_off_is_red(place: Place) -> None:
    """A folder without a result: could not measure."""
    place.judge()
    (place.folder / "run/ci.json").unlink()
    code, _ = place.publish()
    assert code == 3
    assert place.checks["ftgate"][0] == "failure"
    assert "could not measure" in str(place.checks["ftgate"][1])


def test_a_result_of_another_commit_is_not_posted(place: Place) -> None:
    """Whatever lies in the folder, it speaks for its own head alone."""
    place.judge()
    payload = pull_payload(place.scratch, place.scratch.base)
    with pytest.raises(UsageError, match="is about"):
        place.publish(payload=payload)
    assert place.checks == {}


def test_a_judge_of_another_base_ref_is_not_posted(place: Place) -> None:
    """A fork's judge without a token takes the default branch's policy; the pull request may go elsewhere."""
    place.judge()
    elsewhere = {"sha": place.scratch.base, "ref": "release"}
    with pytest.raises(UsageError, match="judged by the policy of main, but it goes into release"):
        place.publish(payload=pull_payload(place.scratch, place.head, base=elsewhere))
    assert place.checks == {}


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"schema": 1, "record": {}, "sha256": "sha256:0"}'])
def test_a_damaged_record_is_not_posted(place: Place, damage: bytes) -> None:
    """It says what is wrong with it."""
    place.judge()
    (place.folder / "run/ci.json").write_bytes(damage)
    with pytest.raises(UsageError, match=r"ci\.json cannot be used"):
        place.publish()


def test_a_record_that_points_elsewhere_shows_nothing_from_there(place: Place) -> None:
    """A folder's name in ci.json is believed only where it is the config's own."""
    place.judge(0.0)
    run = read_ci(place.folder / "run")
    single_run(place.folder / "elsewhere")  # somebody's pass
    write_ci(place.folder / "run", replace(run, runs=(replace(run.runs[0], folder="../elsewhere"),)))
    assert place.publish()[0] == 1
    assert "gained" not in place.bodies[0]


def test_a_repeat_from_another_machine_counts_nothing_twice(place: Place) -> None:
    """The comment that stands is its own: no previous push, whose cost would be added."""
    place.judge()
    place.publish()
    before = place.bodies
    (place.folder / "run/posting.json").unlink()
    place.publish()
    assert place.bodies == before
    assert '"seconds":60.0' in before[0]


def test_there_must_be_a_token(place: Place) -> None:
    """Without one there is nothing to publish with."""
    with pytest.raises(UsageError, match="no token"):
        place.publish(token="")


def test_comment_modes(place: Place) -> None:
    """`never` posts check runs alone; `on-failure` no comment for a pass."""
    place.judge()
    place.publish(comment="never")
    place.publish(comment="on-failure")
    assert place.bodies == []
    assert place.checks["ftgate"][0] == "success"


def test_the_teams_template_is_the_base_refs(tmp_path: Path) -> None:
    """What the pull request makes of it is not used, also in the publishing job."""
    policy = POLICY + "pull_request: {template: comment.j2}\n"
    place = Place(tmp_path, {**FILES, "thresholds.yaml": policy, "comment.j2": "OURS {{ comment.headline }}"})
    place.head = place.scratch.commit({"comment.j2": "THEIRS"})
    place.github.state.push(7, place.head)
    place.payload = pull_payload(place.scratch, place.head)
    place.judge()
    place.publish()
    assert "OURS" in place.bodies[0]
    assert "THEIRS" not in place.bodies[0]


ABOVE = POLICY.replace("include:", "# moved down\ninclude:")
OTHER_MARGIN = POLICY.replace("0.1", "0.15")


@pytest.mark.parametrize(
    ("at_head", "on_base", "lines"),
    [
        (None, None, [3]),
        (ABOVE, None, [4]),
        (None, ABOVE, [3]),
        (OTHER_MARGIN, None, []),
        (None, OTHER_MARGIN, []),
        ("version: [", None, []),
    ],
    ids=["the same", "moved", "moved on the base ref", "another rule", "it was another", "broken"],
)
def test_remarks_on_the_policy_stand_on_the_heads_lines(
    tmp_path: Path, at_head: str | None, on_base: str | None, lines: list[int]
) -> None:
    """GitHub shows them on the head's file: a rule that moved is mapped, and one that did not judge has none,
    whichever of the two refs changed its file."""
    place = Place(tmp_path)
    scratch = place.scratch
    if on_base:
        scratch.checkout("main")
        scratch.base = scratch.commit({"thresholds.yaml": on_base})
        scratch.checkout("topic")
    if at_head:
        place.head = scratch.commit({"thresholds.yaml": at_head})
        place.github.state.push(7, place.head)
    place.payload = pull_payload(scratch, place.head)
    place.judge(0.0)
    place.publish()
    notes = [note for check in place.github.state.checks.values() for note in check.annotations]
    assert [note["start_line"] for note in notes if note["path"] == "thresholds.yaml"] == lines


# ── ftgate publish RUN ───────────────────────────────────────────────────────────────────────────


NOWHERE = Target()


def post(place: Place, run: Path, target: Target = NOWHERE, **environ: str) -> list[str]:
    """`ftgate publish RUN` on a machine outside of Actions; what it said."""
    said: list[str] = []
    shell = Shell(environ, said.append, said.append, SilentProgress())
    effects = Effects(lambda *_: place.github.session(), wait=lambda _: None)
    with chdir(place.scratch.path):
        assert publish_run(run, target, Token("t"), shell, effects) == 0
    return said


def test_a_finished_ci_run_is_posted_from_anywhere(place: Place) -> None:
    """The folder says where; a second time changes nothing."""
    place.judge()
    post(place, place.folder / "run")
    before = place.bodies
    post(place, place.folder / "run")
    assert place.bodies == before
    assert len(before) == 1
    assert place.checks["ftgate"][0] == "success"


def single_run(path: Path, gain: float = 0.2) -> Path:
    folder = RunFolder.begin(path)
    folder.write_report(render(verdict(gain), (), ()))
    return path


def test_one_checks_folder_is_posted(place: Place, tmp_path: Path) -> None:
    """A team whose cluster trains elsewhere: repository and commit are said, the pull request found."""
    run = single_run(tmp_path / "single", 0.0)
    target = Target("acme/tunes", 0, place.head)
    post(place, run, target)
    post(place, run, target)
    assert len(place.bodies) == 1
    assert "target missed" in place.bodies[0]
    assert place.checks[f"ftgate: {LORA}"][0] == "failure"


def test_the_repository_may_be_the_remotes(place: Place, tmp_path: Path) -> None:
    """Where neither option nor environment says it."""
    git(place.scratch.path, "remote", "add", "origin", "https://github.com/acme/tunes.git")
    post(place, single_run(tmp_path / "single"), Target(sha=place.head))
    assert len(place.bodies) == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target(), "it is not known which commit"),
        (Target("acme/tunes"), "it is not known which commit"),
        (Target("acme/tunes", 0, "f" * 40), "0 open pull requests have the head"),
    ],
)
def test_where_to_must_be_known(place: Place, tmp_path: Path, target: Target, words: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError, match=words):
        post(place, single_run(tmp_path / "single"), target)


def test_what_is_no_run_is_refused(place: Place, tmp_path: Path) -> None:
    """An empty folder, and a verdict that contradicts itself."""
    with pytest.raises(UsageError, match="no folder of a finished run"):
        post(place, tmp_path)
    run = single_run(tmp_path / "single", 0.0)
    document = json.loads((run / "verdict.json").read_text())
    document["findings"][0]["outcome"] = "pass"
    document["outcome"] = "pass"
    (run / "verdict.json").write_text(json.dumps(document))
    with pytest.raises(Exception, match="which its own numbers contradict"):
        post(place, run, Target("acme/tunes", 7, place.head))


def test_github_that_refuses_is_an_error(place: Place) -> None:
    """`ftgate publish` says so and can be repeated: posting is all that it is for."""
    place.judge()
    shell = Shell({}, print, print, SilentProgress())
    session = place.github.session(permissions={"contents": "read", "pull_requests": "read"})
    effects = Effects(lambda *_: session, wait=lambda _: None)
    with pytest.raises(GitHubError, match="not everything was published"):
        publish_run(place.folder / "run", Target(), Token("t"), shell, effects)


def test_a_persons_token_posts_the_comment_alone(place: Place) -> None:
    """Check runs are an App's to make: said in a warning, and the command has done what it can."""
    place.judge()
    warned: list[str] = []
    session = place.github.session("person", "")
    effects = Effects(lambda *_: session, wait=lambda _: None)
    shell = Shell({}, warned.append, warned.append, SilentProgress())
    assert publish_run(place.folder / "run", Target(), Token("t"), shell, effects) == 0
    assert len(place.bodies) == 1
    assert place.checks == {}
    assert any("only the comment was posted" in line for line in warned)


def test_a_failed_run_is_posted_as_one(place: Place, tmp_path: Path) -> None:
    """An error's folder says why."""
    stub = StubCheck(error=TrainingError("the loss went up"))
    run_in(place.scratch, "pull_request", place.payload, stub=stub, folder=place.folder)
    post(place, place.folder / "run")
    assert "the loss went up" in place.bodies[0]
    assert place.checks["ftgate"][0] == "failure"
    shutil.rmtree(place.folder)


def test_the_real_client_speaks_to_the_events_repository() -> None:
    """At the runner's own address, with no token in what it shows of itself."""
    event = Event("push", "acme/tunes", "a" * 40, "b" * 40)
    runner = Runner(api_url="https://git.acme.example/api/v3")
    shown = repr(connect_client(event, runner, Token("hidden-token"), 20.0))
    assert "acme/tunes" in shown
    assert "https://git.acme.example/api/v3" in shown
    assert "hidden" not in shown
