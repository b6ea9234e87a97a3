"""gate.ci.closing: with an App's own check, what was announced under Actions' name is not left open."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from fake_github.memory import MemoryGitHub, MemorySession
from scratch import CONFIG, Scratch, StubCheck, environment, pull_payload, run_in

from gate.ci.plan import CiOptions
from gate.ci.run import Effects, run_ci
from gate.errors import GitHubError
from gate.github.api import CheckOutput
from gate.github.events import Runner
from gate.github.token import Token
from gate.progress import SilentProgress
from gate.records import Event
from gate.shell import Shell

APP = "acme-gate"
LORA = "configs/lora.yaml"


class Fork:
    """A pull request that a training job announced; its judge publishes with an App's token."""

    def __init__(self, path: Path) -> None:
        self.scratch = Scratch(path / "repo")
        self.head = self.scratch.commit({LORA: CONFIG.replace("1.0e-3", "2.0e-3")})
        self.github = MemoryGitHub()
        self.github.state.open_pull(7, self.head, self.scratch.base)
        self.payload = pull_payload(self.scratch, self.head)
        self.folder = path / "runner"
        self.actions = self.github.session()
        self.app = self.github.session(f"{APP}[bot]", APP)
        self.said: list[str] = []

    def judge(self, gain: float) -> None:
        run_in(
            self.scratch,
            "pull_request",
            self.payload,
            stub=StubCheck({LORA: gain}),
            folder=self.folder,
            options=CiOptions(mode="check"),
        )

    def publish(self, run: str, app: str = "", announcer: str = "", **variables: str) -> int:
        """The publishing step: as Actions without `app`."""
        environ = environment(self.folder, "pull_request", self.payload, FTGATE_APP=app, **variables)
        shell = Shell(environ, self.said.append, self.said.append, SilentProgress())

        def connect(_event: Event, runner: Runner, token: Token, _seconds: Any) -> MemorySession:
            return {("app", APP): self.app, ("actions", ""): self.actions}[token.reveal(), runner.app]

        options = CiOptions(mode="publish", run_dir=self.folder / run)
        effects = Effects(connect, StubCheck(), lambda _: None)
        with chdir(self.scratch.path):
            token = Token("app" if app else "actions")
            return run_ci(options, token, shell, effects, announcer=Token(announcer))

    def checks(self, app: str) -> list[tuple[str, str | None, str | None]]:
        found = self.github.state.checks.values()
        return [(each.name, each.conclusion, each.title) for each in found if each.app == app]


@pytest.fixture
def fork(tmp_path: Path) -> Fork:
    fork = Fork(tmp_path)
    fork.publish("none")
    announced = [(name, ended) for name, ended, _ in fork.checks("github-actions")]
    assert announced == [(f"ftgate: {LORA}", None), ("ftgate", None)]
    return fork


@pytest.mark.parametrize(("gain", "code", "ended"), [(0.2, 0, "success"), (0.0, 1, "failure")])
def test_what_was_announced_ends_as_the_apps_check_did(
    fork: Fork, gain: float, code: int, ended: str
) -> None:
    """Both are of one colour, and the announcement points at the App's; the one comment is the App's."""
    fork.judge(gain)
    assert fork.publish("run", APP, "actions") == code
    assert {(name, end) for name, end, _ in fork.checks(APP)} == {
        ("ftgate", ended),
        (f"ftgate: {LORA}", ended),
    }
    assert fork.checks("github-actions") == [
        (f"ftgate: {LORA}", ended, f"see the check of {APP}"),
        ("ftgate", ended, f"see the check of {APP}"),
    ]
    assert {each.author for each in fork.github.state.comments.values()} == {f"{APP}[bot]"}


def test_it_stays_open_where_the_app_could_not_post(fork: Fork) -> None:
    """Nothing is called finished that GitHub did not take."""
    fork.judge(0.2)
    fork.app = fork.github.session(f"{APP}[bot]", APP, {"pull_requests": "write"})
    fork.publish("run", APP, "actions")
    assert [ended for _, ended, _ in fork.checks("github-actions")] == [None, None]


def test_another_runs_verdict_and_a_newer_announcement_are_left_alone(fork: Fork) -> None:
    """Only this run's own result ends anything, and nothing that was announced after it."""
    fork.judge(0.2)
    later = fork.actions.create_check_run(
        fork.head, "ftgate", CheckOutput("not yet", "x"), status="in_progress", external_id="999/1"
    )
    fork.app.create_check_run(
        fork.head,
        f"ftgate: {LORA}",
        CheckOutput("may merge: x", "x"),
        status="completed",
        conclusion="success",
        external_id="999/1",
    )
    fork.publish("run", APP, "actions")
    assert fork.github.state.checks[later.id].conclusion is None


@pytest.mark.parametrize("announcer", ["", "actions"])
def test_github_that_refuses_changes_no_result(fork: Fork, announcer: str) -> None:
    """Without the announcing job's token, or with one that may not: a warning at most."""
    fork.judge(0.2)
    fork.actions = fork.github.session(permissions={"checks": "read"})
    assert fork.publish("run", APP, announcer) == 0
    assert any("stays open" in line for line in fork.said) == bool(announcer)


def test_github_that_does_not_answer_changes_no_result(fork: Fork) -> None:
    """The verdict stands."""

    def refuse(operation: str) -> None:
        raise GitHubError("GitHub does not answer")

    fork.judge(0.0)
    fork.actions = fork.github.session(before=refuse)
    assert fork.publish("run", APP, "actions") == 1
