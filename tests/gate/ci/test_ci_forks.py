"""Form forks: a push that changes no input takes the verdict over; nothing is trained or approved again."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_github.memory import MemoryGitHub
from fake_github.state import StoredJob
from scratch import (
    CONFIG,
    Scratch,
    StubCheck,
    environment,
    hand_over,
    outputs_in,
    pull_payload,
    run_in,
)

from gate.ci.plan import CiOptions
from gate.ci.run import Effects, run_ci
from gate.github.token import Token
from gate.progress import SilentProgress
from gate.shell import Shell

LORA = "configs/lora.yaml"
EDITED: dict[str, str | None] = {LORA: CONFIG.replace("1.0e-3", "2.0e-3")}
README: dict[str, str | None] = {"README.md": "more\n"}
JUDGE = ".github/workflows/ftgate-judge.yml"
HERE = {"GITHUB_WORKFLOW_REF": f"acme/tunes/{JUDGE}@refs/heads/main"}


class Fork:
    """A fork's pull request whose first push was trained, approved and judged (run 90)."""

    def __init__(self, path: Path, gain: float = 0.2) -> None:
        self.path, self.scratch, self.github = path, Scratch(path / "repo"), MemoryGitHub()
        self.first = self.head = self.scratch.commit(EDITED)
        self.github.state.open_pull(7, self.head, self.scratch.base, head_repository="eve/tunes")
        hand_over(path / "runner/handover", LORA, self.head)
        for mode in ("judge", "publish"):
            ended = run_in(
                self.scratch,
                "workflow_run",
                self.payload(named=True),
                github=None if mode == "judge" else self.github.session(),
                stub=StubCheck({LORA: gain}),
                options=CiOptions(mode=mode),  # type: ignore[arg-type]
                folder=path / "runner",
                GITHUB_RUN_ID="90",
                **HERE,
            )
        self.digest = ended.outputs()["verdicts"]
        self.job(f"ftgate judge {self.first}", ended.code)
        self.run()

    def payload(self, named: bool = False) -> dict[str, Any]:
        """What starts the workflow that announces and judges. GitHub names no fork's pull request; a judge,
        which has no token to ask with, is told here."""
        known = {"number": 7, "base": {"ref": "main", "sha": self.scratch.base}}
        followed = {
            "head_sha": self.head,
            "head_branch": "topic",
            "conclusion": "success",
            "head_repository": {"full_name": "eve/tunes"},
            "pull_requests": [known] if named else [],
        }
        return {"workflow_run": followed, "repository": {"default_branch": "main"}}

    def job(self, name: str, code: int = 0, digest: str = "") -> None:
        """The job of run 90 that measured."""
        steps = ("Set up job", f"ftgate verdicts {digest or self.digest}")
        self.github.state.jobs[90] = (
            StoredJob(name, "completed", "failure" if code else "success", steps, 1),
        )

    def run(self, **about: str) -> None:
        """Run 90 as GitHub knows it: of the default branch's commit, whatever it measured."""
        of = {"head_sha": self.scratch.base, "path": JUDGE, "event": "workflow_run", **about}
        self.github.state.start_run(90, "completed", **of)

    def push(self, files: dict[str, str | None]) -> None:
        self.head = self.scratch.commit(files)
        self.github.state.push(7, self.head)

    def ask(self, mode: str, attempt: int = 1) -> tuple[int, str, list[str]]:
        """The job before the training, or the one that announces: exit code, outcome, and what it said."""
        before = mode == "look"
        name = "pull_request" if before else "workflow_run"
        payload = pull_payload(self.scratch, self.head) if before else self.payload()
        place = self.path / mode
        about = {"GITHUB_RUN_ID": "95", "GITHUB_RUN_ATTEMPT": str(attempt), **({} if before else HERE)}
        environ = environment(place, name, payload, **about)
        (place / "output").unlink(missing_ok=True)
        said: list[str] = []
        shell = Shell(environ, said.append, said.append, SilentProgress())
        options = replace(CiOptions(run_dir=place / "run"), mode=mode)
        grants = dict.fromkeys(("actions", "checks", "contents", "pull_requests"), "read")
        session = self.github.session(permissions=grants) if before else self.github.session()
        with chdir(self.scratch.path):
            code = run_ci(options, Token("t"), shell, Effects(lambda *_: session, StubCheck(), self.unasked))
        return code, outputs_in(place / "output")["outcome"], said

    @staticmethod
    def unasked(seconds: float) -> None:
        assert seconds < 10, "a person may never start what would be waited for"

    def checks(self) -> dict[str, str | None]:
        """How the check runs on the newest push ended."""
        return {
            each.name: each.conclusion for each in self.github.state.checks.values() if each.sha == self.head
        }


@pytest.mark.parametrize(("gain", "code", "outcome", "ended"), [
    (0.2, 0, "pass", "success"),
    (0.0, 1, "fail", "failure"),
])  # fmt: skip
def test_a_push_that_changes_no_input_is_neither_trained_nor_approved_again(
    gain: float, code: int, outcome: str, ended: str, tmp_path: Path
) -> None:
    """Before the training it is said with a token that may only read, and posts nothing; what announces looks
    itself, takes the verdict over and ends the check."""
    fork = Fork(tmp_path, gain)
    fork.push(README)
    written = list(fork.github.state.writes)
    assert fork.ask("look")[:2] == (0, outcome)
    assert fork.github.state.writes == written
    assert fork.ask("publish")[:2] == (code, outcome)
    assert fork.checks() == {f"ftgate: {LORA}": ended, "ftgate": ended}
    (comment,) = fork.github.state.comments.values()
    assert f"carried over from {fork.first[:6]}" in comment.body.lower().replace("`", "")


def pending(fork: Fork, **how: Any) -> list[str]:
    """Nothing is taken over: trained, pending, and waiting for a person; what was said."""
    assert fork.ask("look", **how)[:2] == (0, "undecided")
    code, outcome, said = fork.ask("publish", **how)
    assert (code, outcome) == (0, "undecided")
    assert fork.checks()["ftgate"] is None
    return said


@pytest.mark.parametrize(
    "files",
    [
        {LORA: CONFIG.replace("1.0e-3", "3.0e-3")},
        {"data/train/train.jsonl": '{"text": "other"}\n'},
        {".github/workflows/ftgate-train.yml": "on: push\n"},
    ],
)
def test_what_changed_is_trained(files: dict[str, str | None], tmp_path: Path) -> None:
    """Another config, other data, a workflow of its own."""
    fork = Fork(tmp_path)
    fork.push(files)
    pending(fork)


def test_a_person_who_runs_it_again_gets_it_run(tmp_path: Path) -> None:
    """An attempt after the first takes nothing over."""
    fork = Fork(tmp_path)
    fork.push(README)
    pending(fork, attempt=2)


@pytest.mark.parametrize(
    "about",
    [
        {"event": "pull_request"},
        {"event": "push"},
        {"event": "workflow_dispatch"},
    ],
)
def test_a_run_that_anybody_can_start_proves_nothing(about: dict[str, str], tmp_path: Path) -> None:
    """What follows a training is the default branch's workflow; a fork's own may have a job of any name."""
    fork = Fork(tmp_path)
    fork.push(README)
    fork.run(**about)
    assert any("did not follow a training" in line for line in pending(fork))


def test_another_workflow_proves_nothing(tmp_path: Path) -> None:
    """What announces knows its own path; what looks before the training does not, and decides nothing."""
    fork = Fork(tmp_path)
    fork.push(README)
    fork.run(path=".github/workflows/other.yml")
    assert fork.ask("look")[1] == "pass"
    code, outcome, said = fork.ask("publish")
    assert (code, outcome) == (0, "undecided")
    assert any("was of this workflow" in line for line in said)
    assert fork.checks()["ftgate"] is None


def test_a_verdict_on_another_commit_proves_nothing(tmp_path: Path) -> None:
    """The job's name says which commit was measured: a check run that names the run may lie on any."""
    fork = Fork(tmp_path)
    fork.push(README)
    fork.job(f"ftgate judge {'e' * 40}")
    assert any("has no job" in line for line in pending(fork))


@pytest.mark.parametrize("digest", ["f" * 64, " "])
def test_verdicts_that_the_job_does_not_say_prove_nothing(digest: str, tmp_path: Path) -> None:
    """A forged check run beside a true run."""
    fork = Fork(tmp_path)
    fork.push(README)
    fork.job(f"ftgate judge {fork.first}", digest=digest)
    assert any("says what its check runs say" in line for line in pending(fork))


def test_where_no_config_changed_no_machine_is_asked_for(tmp_path: Path) -> None:
    """The training job is skipped, as it has nothing to train."""
    fork = Fork(tmp_path)
    fork.push({LORA: CONFIG})
    assert fork.ask("look")[:2] == (0, "pass")
