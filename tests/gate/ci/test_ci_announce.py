"""gate.ci.announce: a finished run's verdict is taken over where nothing else could be measured, else not."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from fake_github.memory import MemoryGitHub
from scratch import CONFIG, FILES, POLICY, Scratch, StubCheck, environment, pull_payload, run_in

from gate.ci.plan import CiOptions
from gate.ci.run import Effects, run_ci
from gate.github.api import CheckOutput
from gate.github.token import Token
from gate.progress import SilentProgress
from gate.shell import Shell

LORA = "configs/lora.yaml"
EDITED: dict[str, str | None] = {LORA: CONFIG.replace("1.0e-3", "2.0e-3")}
README: dict[str, str | None] = {"README.md": "more\n"}


class Pushes:
    """A pull request whose first push was measured (run 90), and what is announced for a later one."""

    def __init__(self, folder: Path, first: dict[str, str | None] = EDITED, gain: float = 0.2) -> None:
        self.folder = folder
        self.scratch = Scratch(folder / "repo")
        self.github = MemoryGitHub()
        self.first = self.scratch.commit(first)
        self.github.state.open_pull(7, self.first, self.scratch.base)
        self.github.state.runs[90] = "completed"
        payload = pull_payload(self.scratch, self.first)
        session = self.github.session()
        stub = StubCheck({LORA: gain})
        self.code = run_in(
            self.scratch, "pull_request", payload, github=session, stub=stub, GITHUB_RUN_ID="90"
        ).code

    def push(self, files: dict[str, str | None]) -> dict[str, Any]:
        """A second push; its event's payload."""
        self.head = self.scratch.commit(files)
        self.github.state.push(7, self.head)
        return {**pull_payload(self.scratch, self.head), "before": self.first}

    def look(
        self, name: str, payload: object, wait: Any = lambda _: None, **variables: str
    ) -> tuple[int, str, list[str]]:
        """What the publishing job without a folder does: exit code, outcome, and what it said."""
        place = self.folder / "look"
        variables = {"GITHUB_RUN_ID": "91", **variables}
        environ = environment(place, name, payload, **variables)
        (place / "output").unlink(missing_ok=True)
        said: list[str] = []
        shell = Shell(environ, said.append, said.append, SilentProgress(), now=lambda: "2026-01-01T00:00:00Z")
        options = CiOptions(mode="publish", run_dir=place / variables.get("RUN", "run"))
        session = self.github.session()
        with chdir(self.scratch.path):
            code = run_ci(options, Token("secret"), shell, Effects(lambda *_: session, StubCheck(), wait))
        text = (place / "output").read_text()
        outcome = next(w for w in ("pass", "fail", "undecided", "error") if f"\n{w}\n" in text)
        return code, outcome, said

    def conclusions(self, sha: str) -> dict[str, str | None]:
        """The newest conclusion of each check run on a commit."""
        checks = sorted(self.github.state.checks.values(), key=lambda each: each.id)
        return {each.name: each.conclusion for each in checks if each.sha == sha}


@pytest.mark.parametrize(("gain", "code", "outcome"), [(0.2, 0, "pass"), (0.0, 1, "fail")])
def test_a_readme_push_takes_the_verdict_over(tmp_path: Path, gain: float, code: int, outcome: str) -> None:
    """Pass and fail alike; the required job, which looks again with no folder, comes to the same."""
    pushes = Pushes(tmp_path, gain=gain)
    payload = pushes.push(README)
    assert pushes.code == code
    assert pushes.look("pull_request", payload)[:2] == (code, outcome)
    ended = "success" if outcome == "pass" else "failure"
    assert pushes.conclusions(pushes.head) == {"ftgate": ended, f"ftgate: {LORA}": ended}
    assert pushes.look("pull_request", payload, RUN="again")[:2] == (code, outcome)
    assert len(pushes.github.state.comments) == 1


@pytest.mark.parametrize(
    "files",
    [
        {LORA: CONFIG.replace("1.0e-3", "3.0e-3")},
        {"data/train/train.jsonl": '{"text": "z"}\n'},
        {"configs/full.yaml": FILES["configs/full.yaml"].replace("1.0e-3", "4.0e-3")},
        {"thresholds.yaml": POLICY + "general: {tasks: [}\n"},
    ],
    ids=["config", "data", "another config", "a broken policy"],
)
def test_what_changed_is_measured(tmp_path: Path, files: dict[str, str | None]) -> None:
    """Red and undecided, nothing green, no comment of the new head."""
    pushes = Pushes(tmp_path)
    assert pushes.look("pull_request", pushes.push(files))[:2] == (1, "undecided")
    assert "success" not in pushes.conclusions(pushes.head).values()


@pytest.mark.parametrize("trick", ["neutral", "cancelled", "another app", "newer", "superseded", "digest"])
def test_a_check_run_that_is_no_verdict_of_ours_is_measured(tmp_path: Path, trick: str) -> None:
    """None of them makes a head green."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    check = next(each for each in pushes.github.state.checks.values() if each.name == f"ftgate: {LORA}")
    inputs = check.external_id.partition("/")[0]
    pushes.github.state.checks.clear()
    session = pushes.github.session(app="evil" if trick == "another app" else "github-actions")
    inputs = "0" * 64 if trick == "digest" else inputs
    run_id = 99 if trick == "newer" else 90
    title = "superseded by a newer run" if trick == "superseded" else "may merge: gained"
    conclusion: Any = trick if trick in ("neutral", "cancelled") else "success"
    session.create_check_run(
        pushes.first, f"ftgate: {LORA}", CheckOutput(title, "x"), status="completed",
        conclusion=conclusion, external_id=f"{inputs}/{run_id}/1",
    )  # fmt: skip
    assert pushes.look("pull_request", payload)[:2] == (1, "undecided")
    assert "success" not in pushes.conclusions(pushes.head).values()


def test_run_again_by_a_person_it_is_measured(tmp_path: Path) -> None:
    """The second attempt takes nothing over."""
    pushes = Pushes(tmp_path)
    assert pushes.look("pull_request", pushes.push(README), GITHUB_RUN_ATTEMPT="2")[:2] == (1, "undecided")


def test_what_lies_outside_of_the_checkout_is_measured(tmp_path: Path) -> None:
    """Data of the training machine is not seen by the job that looks."""
    pushes = Pushes(tmp_path, {LORA: CONFIG.replace("data/train", "/data/of/ours")})
    assert pushes.look("pull_request", pushes.push(README))[:2] == (1, "undecided")


def test_a_merge_group_takes_the_pull_requests_own_verdict_over(tmp_path: Path) -> None:
    """The queue's commit has the same inputs; a policy that landed meanwhile makes them others."""
    pushes = Pushes(tmp_path)
    group = {
        "head_sha": pushes.scratch.commit(README),
        "base_sha": pushes.scratch.base,
        "head_ref": f"refs/heads/gh-readonly-queue/main/pr-7-{pushes.scratch.base}",
        "base_ref": "refs/heads/main",
    }
    payload = {"action": "checks_requested", "merge_group": group}
    assert pushes.look("merge_group", payload)[:2] == (0, "pass")
    pushes.scratch.checkout("main")
    base = pushes.scratch.commit({"thresholds.yaml": POLICY.replace("0.1", "0.5")})
    pushes.scratch.checkout("topic")
    payload["merge_group"] = {**group, "base_sha": base}
    assert pushes.look("merge_group", payload, RUN="stricter")[:2] == (1, "undecided")


def test_a_run_that_is_on_is_waited_for_and_seen_meanwhile(tmp_path: Path) -> None:
    """The newer head shows itself in progress; when the older run ends, its verdict is taken over."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    found = next(each for each in pushes.github.state.checks.values() if each.name == f"ftgate: {LORA}")
    inputs = found.external_id.partition("/")[0]
    pushes.github.state.checks.clear()
    pushes.github.state.runs[90] = "in_progress"
    session = pushes.github.session()
    older = session.create_check_run(
        pushes.first, f"ftgate: {LORA}", CheckOutput("running", "x"), status="in_progress",
        external_id=f"{inputs}/90/1",
    )  # fmt: skip
    shown: list[dict[str, str | None]] = []

    def wait(_seconds: float) -> None:
        shown.append(pushes.conclusions(pushes.head))
        output = CheckOutput("may merge: gained", "x")
        session.update_check_run(older.id, output, status="completed", conclusion="success")

    assert pushes.look("pull_request", payload, wait)[:2] == (0, "pass")
    assert shown[0] == {f"ftgate: {LORA}": None}
    assert pushes.github.state.runs[90] == "in_progress"
