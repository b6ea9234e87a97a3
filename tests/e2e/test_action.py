"""The action, and the workflows of `ftgate init --github`, executed on a simulated GitHub for each event.

Real git, real processes, real trainings of a few steps on the demo's model; the jobs' machine keeps its
store, as a self-hosted one does, so that the base model is measured once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fake_github import FakeGitHub, State, serve
from runner import Happening, JobRun, Run, Runner, events
from runner.jobs import machine

from gate.workflows import Form, Wishes, workflow_files

ROOT = Path(__file__).parents[2]
WHERE, ACTION = "acme/tunes", f"owner/ftgate@{'a' * 40}"
CONFIG, RENAMED = "configs/sft.yaml", "elsewhere/notes.yaml"
HARMLESS, HARMFUL = 1e-6, 0.3
POLICY = {
    "version": 1,
    "include": ["tasks/"],
    "pull_request": {"configs": ["configs/*.yaml"]},
    "general": {"tasks": [{"task": "adjunct_island", "max_drop": 0.3}]},
    "text": [{"corpus": "data/text.jsonl", "max_rise": 0.2}],
    "evaluation": {"dtype": "float32", "batch_size": 64},
}
QUICK = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def as_text(content: Any) -> str:
    """JSON with a line for each key, as a person's YAML has it: git sees what was renamed and then edited."""
    return json.dumps(content, indent=1) + "\n"


@dataclass
class World:
    """A repository on the simulated GitHub: a clone to commit from, the remote, the runner."""

    clone: Path
    server: FakeGitHub
    runner: Runner
    settings: dict[str, Any]
    numbers: Iterator[int] = field(default_factory=lambda: count(100))

    def git(self, *words: str) -> str:
        """A line from git in the clone."""
        done = subprocess.run(
            ["git", "-C", str(self.clone), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, branch: str, message: str, **files: Any) -> str:
        """Commit files (by path, None deletes) to a branch, which begins at main, and push it; the commit."""
        known = self.git("branch", "--list", branch)
        self.git("checkout", "-q", *([] if known else ["-b"]), branch, *([] if known else ["main"]))
        for name, content in files.items():
            path = self.clone / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else as_text(content))
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "origin", branch)
        return self.git("rev-parse", "HEAD")

    @property
    def main(self) -> str:
        return self.git("rev-parse", "main")

    def config(self, rate: float, **changed: Any) -> dict[str, Any]:
        """The training config with this learning rate."""
        return {**self.settings, "learning_rate": rate, **changed}

    def open(self, number: int, head: str, branch: str, **fields: Any) -> None:
        """Open a pull request."""
        self.server.state.open_pull(number, head, self.main, head_ref=branch, **fields)

    def pull(self, number: int, **changed: Any) -> Happening:
        """What GitHub sends about a pull request as it is now."""
        pull = self.server.state.pulls[number]
        given = {"head_ref": pull.head_ref, "draft": pull.draft, "head_repository": pull.head_repository}
        return events.pull_request(WHERE, number, pull.head_sha, self.main, **{**given, **changed})

    def run(self, form: Form, happening: Happening, *, file: int = 0, **how: Any) -> Run:
        """Run a form's workflow for an event."""
        text = workflow_files(Wishes(action=ACTION, form=form, schedule=True, ephemeral=True))[file].text
        number = how.pop("run_id", None) or next(self.numbers)
        return self.runner.run(text, happening, run_id=number, **how)

    def comment(self, number: int) -> str:
        """The one comment of ours on a pull request; "" where there is none."""
        found = [each.body for each in self.server.state.comments.values() if each.pull == number]
        assert len(found) <= 1
        return found[0] if found else ""

    def said(self, sha: str) -> list[tuple[str, str, str | None, str]]:
        """All check runs on a commit as they are now: name, status, conclusion, title."""
        checks = [each for each in self.server.state.checks.values() if each.sha == sha]
        return [(each.name, each.status, each.conclusion, each.title or "") for each in checks]

    def checks(self, sha: str) -> dict[str, tuple[str, str | None]]:
        """Status and conclusion of the newest check run of each name on a commit."""
        checks = sorted(self.server.state.checks.values(), key=lambda check: check.id)
        return {each.name: (each.status, each.conclusion) for each in checks if each.sha == sha}


@pytest.fixture(scope="module")
def world(
    make_repository: Callable[[], Any], settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A repository with one config, its policy, and a main branch that was measured."""
    folder = tmp_path_factory.mktemp("world")
    made, origin = make_repository(), folder / "origin.git"
    text = (ROOT / "gate/demo/data/text.jsonl").read_text().splitlines(keepends=True)
    made.write("data/text.jsonl", "".join(text[:8]))
    made.write("thresholds.yaml", POLICY)
    (made.path / "sft.yaml").unlink()
    made.write(CONFIG, as_text({**settings, "learning_rate": HARMLESS}))
    made.write("README.md", "tunes")
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", origin], check=True)
    for key in ("allowAnySHA1InWant", "allowReachableSHA1InWant"):
        subprocess.run(["git", "-C", origin, "config", f"uploadpack.{key}", "true"], check=True)
    home = folder / "home"
    image = machine(QUICK, Path(sys.executable).parent)
    with serve(State(WHERE), {}) as server:
        runner = Runner(
            root=folder / "runs",
            origin=origin,
            repository=WHERE,
            server=server,
            action_path=ROOT,
            action=ACTION,
            environ=image,
            homes={"verdict": home, "judge": home},
            variables={"FTGATE_REVIEWED": "yes"},
        )
        found = World(made.path, server, runner, settings)
        for words in (
            ("init", "-q", "-b", "main"),
            ("config", "user.name", "Author"),
            ("config", "user.email", "author@example.org"),
            ("remote", "add", "origin", f"file://{origin}"),
            ("add", "--all"),
            ("commit", "-q", "-m", "all"),
            ("push", "-q", "origin", "main"),
        ):
            found.git(*words)
        yield found


@pytest.fixture(scope="module")
def recorded(world: World) -> JobRun:
    """Main, pushed for the first time: everything on it is measured."""
    return world.run("trusted", events.push(WHERE, "0" * 40, world.main)).jobs["verdict"]


@pytest.fixture(scope="module")
def first(world: World, recorded: JobRun) -> dict[str, Any]:
    """Pull request 1: a harmless change, and a README commit while it is measured."""
    assert recorded.result == "success", recorded.log
    head = world.commit("one", "slower", **{CONFIG: world.config(HARMLESS / 2)})
    world.open(1, head, "one")
    found: dict[str, Any] = {
        "head": head,
        "event": world.pull(1, action="opened"),
        "run_id": next(world.numbers),
    }

    def measure() -> None:
        found["run"] = world.run("trusted", found["event"], run_id=found["run_id"])

    thread = threading.Thread(target=measure)
    thread.start()
    until = time.monotonic() + 120
    while world.checks(head).get(f"ftgate: {CONFIG}") != ("in_progress", None):
        assert time.monotonic() < until
        assert thread.is_alive()
        time.sleep(0.1)
    readme = world.commit("one", "words", **{"README.md": "more words"})
    world.server.state.push(1, readme)
    found["readme"] = readme
    found["second"] = world.run("trusted", world.pull(1, before=head))
    thread.join()
    return found


def test_main_is_recorded_and_nobody_is_told(world: World, recorded: JobRun) -> None:
    """A push to main trains, measures and keeps; no comment is written."""
    assert recorded.result == "success", recorded.log
    assert not world.server.state.comments
    assert recorded.outputs["verdict-path"].endswith("verdict.json")


def test_a_changed_config_passes(world: World, first: dict[str, Any]) -> None:
    """A green check run for the config, outputs, a summary, an artifact and a signature."""
    run, job = first["run"], first["run"].jobs["verdict"]
    assert job.result == "success", job.log
    gate = job.steps[2]
    assert gate.outputs["outcome"] == "pass"
    assert Path(gate.outputs["report-path"]).is_file()
    assert json.loads(Path(gate.outputs["verdict-path"]).read_text())["outcome"] == "pass"
    assert world.checks(first["head"])[f"ftgate: {CONFIG}"] == ("completed", "success")
    assert CONFIG in job.summary
    assert "ftgate-run" in run.artifacts
    assert [name for name, _ in run.jobs["sign"].attested] == ["verdict.json"]


def test_a_readme_commit_attaches_to_the_run_that_is_on(world: World, first: dict[str, Any]) -> None:
    """The second run waits for the first and trains nothing; both are green and there is one comment."""
    second = first["second"].jobs["verdict"]
    assert second.result == "success", second.log
    assert world.checks(first["readme"])["ftgate"] == ("completed", "success")
    assert first["readme"] in world.comment(1)
    assert world.server.state.runs[first["run_id"]] == "completed"
    assert trainings(world, "verdict") <= 2


def trainings(world: World, job: str) -> int:
    """How many trainings the machine's store has, in all its places."""
    return len(list((world.runner.homes[job] / ".cache" / "ftgate").rglob("trainings/*")))


@pytest.fixture(scope="module")
def blocked(world: World, first: dict[str, Any]) -> dict[str, Any]:
    """Pull request 1 again, now with a learning rate that ruins the model."""
    head = world.commit("one", "faster", **{CONFIG: world.config(HARMFUL)})
    world.server.state.push(1, head)
    job = world.run("trusted", world.pull(1, before=first["readme"])).jobs["verdict"]
    return {"head": head, "job": job, "comment": world.comment(1)}


def test_a_changed_config_is_blocked(world: World, blocked: dict[str, Any]) -> None:
    """The job is red with exit code 1 after the comment was written, in place, with what was lost."""
    job = blocked["job"]
    assert job.result == "failure"
    assert "Process completed with exit code 1." in job.log
    assert job.steps[2].outputs["outcome"] == "fail"
    assert world.checks(blocked["head"])["ftgate"] == ("completed", "failure")
    assert "text/" in blocked["comment"]
    assert blocked["head"] in blocked["comment"]


def test_an_older_commits_run_again_overwrites_nothing(
    world: World, first: dict[str, Any], blocked: dict[str, Any]
) -> None:
    """Attempt 2 of the first run is green for its own commit; the comment stays the newer head's."""
    job = world.run("trusted", first["event"], run_id=first["run_id"], attempt=2).jobs["verdict"]
    assert job.result == "success", job.log
    assert world.comment(1) == blocked["comment"]


def test_the_merge_queue_reuses_what_the_pull_request_measured(world: World, blocked: dict[str, Any]) -> None:
    """The queue's own commit is red as well, within seconds: nothing is trained again."""
    before = trainings(world, "verdict")
    world.git("checkout", "-q", "-B", "gh-readonly-queue/main/pr-1", "main")
    world.git("merge", "-q", "--no-ff", "-m", "merge", blocked["head"])
    world.git("push", "-q", "origin", "HEAD")
    group = world.git("rev-parse", "HEAD")
    job = world.run("trusted", events.merge_group(WHERE, 1, group, world.main)).jobs["verdict"]
    assert job.result == "failure"
    assert "exit code 1." in job.log
    assert trainings(world, "verdict") == before
    assert world.comment(1) == blocked["comment"]


def test_nothing_changed_is_green_in_a_line(world: World, recorded: JobRun) -> None:
    """A pull request without configs: green, quick, and without a comment."""
    head = world.commit("two", "words", **{"README.md": "other words"})
    world.open(2, head, "two")
    began = time.monotonic()
    job = world.run("trusted", world.pull(2)).jobs["verdict"]
    assert time.monotonic() - began < 30
    assert job.result == "success", job.log
    assert "no training config changed" in job.log
    assert world.checks(head)["ftgate"] == ("completed", "success")
    assert world.comment(2) == ""


def test_a_draft_waits_until_it_is_ready(world: World, recorded: JobRun) -> None:
    """Nothing is trained for a draft; it is red until it is ready and measured."""
    head = world.commit("three", "draft", **{CONFIG: world.config(HARMFUL, max_steps=3)})
    world.open(3, head, "three", draft=True)
    before = trainings(world, "verdict")
    job = world.run("trusted", world.pull(3)).jobs["verdict"]
    assert job.result == "failure", job.log
    assert "draft" in job.log
    assert world.checks(head)["ftgate"] == ("completed", "failure")
    assert trainings(world, "verdict") == before


def test_a_dispatch_measures_the_config_that_it_names(world: World, recorded: JobRun) -> None:
    """By hand, on main: the named config, from the store; a name that is none is a usage error."""
    job = world.run("trusted", events.dispatch(WHERE, world.main, CONFIG)).jobs["verdict"]
    assert job.result == "success", job.log
    wrong = world.run("trusted", events.dispatch(WHERE, world.main, "configs/none.yaml")).jobs["verdict"]
    assert "exit code 2." in wrong.log


def test_the_schedule_measures_main_again(world: World, recorded: JobRun) -> None:
    """All configs of main, without a token and without a word to anybody; what was early is audited."""
    before = list(world.server.state.writes)
    world.runner.homes["measure"] = world.runner.homes["verdict"]
    job = world.run("trusted", events.schedule(WHERE, world.main), file=1).jobs["measure"]
    assert job.result == "success", job.log
    assert "audit: on all documents the verdict is the same (pass)" in job.log
    assert "1 verdict audited: 0 differ" in job.log
    assert world.server.state.writes == before


def test_a_fork_is_refused_where_authors_must_be_trusted(world: World) -> None:
    """The first step fails, red and not skipped, before anything of the fork is fetched."""
    head = world.commit("four", "fork", **{CONFIG: world.config(HARMLESS / 3)})
    world.open(4, head, "four", head_repository="stranger/tunes")
    job = world.run("trusted", world.pull(4)).jobs["verdict"]
    assert job.result == "failure"
    assert [step.outcome for step in job.steps[:3]] == ["failure", "skipped", "skipped"]
    assert "trusted authors" in job.log


@pytest.fixture(scope="module")
def fork(world: World, recorded: JobRun) -> dict[str, Any]:
    """Pull request 5, from a fork: trained without a token, announced, and then measured."""
    head = world.commit("five", "fork", **{CONFIG: world.config(HARMLESS / 4)})
    world.open(5, head, "five", head_repository="stranger/tunes")
    cause = world.pull(5, action="opened")
    train_id = next(world.numbers)
    train = world.run("forks", cause, run_id=train_id)
    ended = events.workflow_run(WHERE, cause, train_id, world.main)
    seen: list[tuple[str, Any, str]] = []
    world.runner.approve = lambda name: seen.append((name, world.said(head), world.comment(5)))
    judge = world.run("forks", ended, file=1)
    return {"head": head, "train": train, "judge": judge, "ended": ended, "seen": seen}


def test_a_forks_training_has_no_token_and_hands_weights_over(world: World, fork: dict[str, Any]) -> None:
    """Neither the job's token nor its kind is in the environment; what it uploads is the model as data."""
    job = fork["train"].jobs["train"]
    assert job.result == "success", job.log
    assert job.token not in str(job.steps[1].inner[-1].environ)
    handed = fork["train"].artifacts["ftgate-handover"]
    assert {path.suffix for path in handed.rglob("*") if path.is_file()} <= {
        ".safetensors",
        ".json",
        ".jinja",
    }
    assert list(handed.rglob("*.safetensors"))


def test_a_forks_check_is_pending_until_a_maintainer_starts_the_judge(
    world: World, fork: dict[str, Any]
) -> None:
    """The announcement's check run is not completed, says so, and lies on the fork's commit."""
    announced = fork["judge"].jobs["announce"]
    assert announced.result == "success", announced.log
    ((environment, said, comment),) = fork["seen"]
    assert environment == "ftgate-judge"
    assert [(name, status, conclusion) for name, status, conclusion, _ in said] == [
        ("ftgate", "in_progress", None)
    ]
    assert "trained, not yet measured" in said[0][3]
    assert comment == ""


def test_a_forks_model_is_measured_and_told_on_its_commit(world: World, fork: dict[str, Any]) -> None:
    """The judge publishes on the fork's head; its measuring step has no token."""
    job = fork["judge"].jobs["judge"]
    assert job.result == "success", job.log
    said, measured, published = [step for step in job.steps if step.name == ACTION]
    assert "being measured" in said.log
    assert job.token not in str(measured.inner[-1].environ)
    assert published.inner[-1].environ["GITHUB_TOKEN"] == job.token
    assert world.checks(fork["head"])["ftgate"] == ("completed", "success")
    assert fork["head"] in world.comment(5)
    assert [name for name, _ in job.attested] == ["verdict.json"]


def test_a_forks_draft_is_red_and_nobody_is_asked_to_approve(world: World) -> None:
    """What announces asks `when`: the judge is not started, and the check on the fork's commit says why."""
    head = world.commit("fork-draft", "fork", **{CONFIG: world.config(HARMLESS / 5)})
    world.open(15, head, "fork-draft", head_repository="stranger/tunes", draft=True)
    cause, train_id = world.pull(15, action="opened"), next(world.numbers)
    world.run("forks", cause, run_id=train_id)
    asked: list[str] = []
    world.runner.approve = asked.append
    ended = events.workflow_run(WHERE, cause, train_id, world.main, conclusion="failure")
    judge = world.run("forks", ended, file=1)
    assert judge.jobs["announce"].result == "failure"
    assert judge.jobs["judge"].result == "skipped"
    assert asked == []
    assert world.checks(head)["ftgate"] == ("completed", "failure")
    shown = [each.summary or "" for each in world.server.state.checks.values() if each.sha == head]
    assert any("draft: not measured yet" in summary for summary in shown)


def test_with_an_app_the_check_is_the_apps(world: World, fork: dict[str, Any]) -> None:
    """Where FTGATE_APP_ID is set the check run is the App's, which no pull request's workflow can post. Run
    again, as the verdict that stands is not the App's."""
    before = world.runner.variables
    world.runner.variables = {**before, "FTGATE_APP_ID": "1"}
    world.runner.secrets = {"FTGATE_APP_KEY": "key"}
    try:
        job = world.run("forks", fork["ended"], file=1, attempt=2).jobs["judge"]
    finally:
        world.runner.variables, world.runner.secrets = before, {}
    assert job.result == "success", job.log
    checks = [each for each in world.server.state.checks.values() if each.sha == fork["head"]]
    posted = {each.name: each.conclusion for each in checks if each.app == "our-gate"}
    assert posted == {"ftgate": "success", f"ftgate: {CONFIG}": "success"}
    assert {each.status for each in checks} == {"completed"}  # also what was announced under Actions' name
    (author,) = [each.author for each in world.server.state.comments.values() if each.pull == 5]
    assert author == "github-actions[bot]"


def test_a_forks_readme_commit_trains_nothing_and_asks_nobody(world: World, fork: dict[str, Any]) -> None:
    """Its training job is skipped, no approval is waited for, and the verdict stands on the new commit."""
    readme = world.commit("five", "words", **{"README.md": "words of a fork"})
    world.server.state.push(5, readme)
    cause, train_id = world.pull(5, before=fork["head"]), next(world.numbers)
    train = world.run("forks", cause, run_id=train_id)
    assert train.jobs["look"].outputs["outcome"] == "pass", train.jobs["look"].log
    assert train.jobs["train"].result == "skipped"
    asked: list[str] = []
    world.runner.approve = asked.append
    judge = world.run("forks", events.workflow_run(WHERE, cause, train_id, world.main), file=1)
    assert judge.jobs["announce"].result == "success", judge.jobs["announce"].log
    assert (judge.jobs["judge"].result, asked) == ("skipped", [])
    assert world.checks(readme) == {
        "ftgate": ("completed", "success"),
        f"ftgate: {CONFIG}": ("completed", "success"),
    }
    assert readme in world.comment(5)
    assert "carried over" in world.comment(5).lower()


@pytest.fixture(scope="module")
def hostile(world: World, recorded: JobRun) -> dict[str, Any]:
    """Pull request 6, in two jobs: a ruined model under a new name outside the policy's globs, beside a
    looser policy and a task that asks three documents instead of sixty."""
    loose = {**POLICY, "general": {"tasks": [{"task": "adjunct_island", "max_drop": 1.0}]}}
    loose["text"] = [{"corpus": "data/text.jsonl", "report": True}]
    documents = (world.clone / "data/blimp/adjunct_island.jsonl").read_text().splitlines(keepends=True)
    task = (world.clone / "tasks/adjunct_island.yaml").read_text()
    files = {
        CONFIG: None,
        RENAMED: world.config(HARMFUL),
        "thresholds.yaml": loose,
        "tasks/adjunct_island.yaml": task.replace("adjunct_island.jsonl", "easy.jsonl"),
        "data/blimp/easy.jsonl": "".join(documents[:3]),
    }
    head = world.commit("six", "harmless", **files)
    world.open(6, head, "six")
    run = world.run("two-jobs", world.pull(6, action="opened"))
    return {"head": head, "run": run, "comment": world.comment(6), "judge": run.jobs["judge"]}


def verdict_of(job: JobRun) -> dict[str, Any]:
    """The verdict that the job's measuring step names."""
    named = next(step.outputs for step in job.steps if step.outputs.get("verdict-path"))
    return json.loads(Path(named["verdict-path"]).read_text())


def test_two_jobs_measure_what_was_trained_elsewhere(world: World, hostile: dict[str, Any]) -> None:
    """Trained on one machine without a token, measured and published by another: blocked, in one comment."""
    train, judge = hostile["run"].jobs["train"], hostile["judge"]
    assert train.result == "success", train.log
    assert train.token not in str(train.steps[1].inner[-1].environ)
    assert judge.result == hostile["run"].jobs["verdict"].result == "failure"
    assert "exit code 1." in judge.log
    assert "fail: the comment" in hostile["run"].jobs["verdict"].log
    assert world.checks(hostile["head"])["ftgate"] == ("completed", "failure")
    assert hostile["head"] in hostile["comment"]


def test_loosened_thresholds_judge_nothing(hostile: dict[str, Any]) -> None:
    """Every rule has the base ref's margin, and the comment shows what the pull request would change."""
    margins = {finding["rule"]: finding["margin"] for finding in verdict_of(hostile["judge"])["findings"]}
    assert margins == {"general/adjunct_island/max_drop": 0.3, "text/text/max_rise": 0.2}
    assert "thresholds.yaml" in hostile["comment"]


def test_an_edited_task_asks_what_the_base_ref_asks(hostile: dict[str, Any]) -> None:
    """All sixty documents of the base ref's task are asked, not the pull request's three."""
    found = {finding["task"]: finding for finding in verdict_of(hostile["judge"])["findings"]}
    assert found["adjunct_island"]["documents_total"] == 60


def test_a_config_renamed_out_of_the_glob_is_still_one(hostile: dict[str, Any]) -> None:
    """Its old name counts: the renamed config is measured, and blocked."""
    assert RENAMED in hostile["comment"]
    assert verdict_of(hostile["judge"])["outcome"] == "fail"


@pytest.mark.parametrize(
    ("number", "rate", "result"), [(8, HARMLESS / 8, "success"), (9, HARMFUL, "failure")]
)
def test_in_two_jobs_a_readme_commit_takes_the_verdict_over(
    world: World, recorded: JobRun, number: int, rate: float, result: str
) -> None:
    """On machines that keep nothing: no job trains or measures again, and the required job ends as before."""
    branch = f"carried-{number}"
    head = world.commit(branch, "rate", **{CONFIG: world.config(rate)})
    world.open(number, head, branch)
    first = world.run("two-jobs", world.pull(number, action="opened"))
    assert (first.jobs["train"].result, first.jobs["judge"].result) == ("success", result)
    readme = world.commit(branch, "words", **{"README.md": f"words of {number}"})
    world.server.state.push(number, readme)
    second = world.run("two-jobs", world.pull(number, before=head))
    assert second.jobs["look"].outputs["outcome"] == ("pass" if result == "success" else "fail")
    assert second.jobs["train"].result == "skipped"
    judge = second.jobs["judge"]
    assert judge.result == second.jobs["verdict"].result == result, judge.log
    assert [step.outcome for step in judge.steps[:5]] == ["success", *["skipped"] * 3, result]
    assert world.checks(readme)["ftgate"] == ("completed", result)
    assert world.checks(readme)[f"ftgate: {CONFIG}"] == ("completed", result)
    assert "carried over" in world.comment(number)


def test_a_model_that_was_never_handed_over_is_red(world: World, recorded: JobRun) -> None:
    """The training job failed: the judge runs all the same, cannot measure, and says so."""
    head = world.commit("seven", "broken", **{CONFIG: world.config(HARMLESS, dataset_name="data/none")})
    world.open(7, head, "seven")
    run = world.run("two-jobs", world.pull(7, action="opened"))
    assert run.jobs["train"].result == "failure"
    assert run.jobs["judge"].result == run.jobs["verdict"].result == "failure"
    assert world.checks(head)["ftgate"] == ("completed", "failure")
    assert world.comment(7)


def judged(world: World, number: int, **files: Any) -> tuple[JobRun, str]:
    """A pull request in the one-job form: what its job did, and its comment."""
    branch = f"pull-{number}"
    head = world.commit(branch, "harmless", **files)
    world.open(number, head, branch)
    return world.run("trusted", world.pull(number)).jobs["verdict"], world.comment(number)


def test_a_swapped_base_model_is_blocked_before_anything_is_trained(world: World, recorded: JobRun) -> None:
    """A base that the base ref does not name is refused with the two steps that are allowed."""
    before = trainings(world, "verdict")
    job, comment = judged(world, 22, **{CONFIG: world.config(HARMLESS, model_name_or_path="org/other")})
    assert job.result == "failure"
    assert "exit code 1." in job.log
    assert "org/other" in comment
    assert trainings(world, "verdict") == before


def test_a_deleted_config_is_said(world: World, recorded: JobRun) -> None:
    """Nothing is measured, and the comment names what is gone."""
    job, comment = judged(world, 24, **{CONFIG: None})
    assert job.result == "success", job.log
    assert CONFIG in comment


def test_planted_modules_are_not_imported_by_the_gate(world: World, recorded: JobRun) -> None:
    """Modules named after ftgate's own and the standard library's lie in the checkout and are left alone."""
    trap = "open('/tmp/planted-by-a-pull-request', 'w').close()\n".replace("/tmp", str(world.clone.parent))
    names = ("gate", "checks", "click", "torch", "json", "sitecustomize", "usercustomize")
    job, _ = judged(world, 25, **{f"{name}.py": trap for name in names})
    assert job.result == "success", job.log
    assert not (world.clone.parent / "planted-by-a-pull-request").exists()
