"""docs/github.md: the job that keeps the history of the default branch, run on a repository."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

PAGE = (Path(__file__).parents[1] / "docs" / "github.md").read_text()
BRANCH = "ftgate-history"


@pytest.fixture(scope="module")
def remember() -> dict[str, Any]:
    """The job as the page has it."""
    section = PAGE.split("### The history of the default branch", 1)[1]
    (snippet,) = re.findall(r"^```yaml\n(.*?)^```", section.split("\n## ", 1)[0], re.DOTALL | re.MULTILINE)
    job: dict[str, Any] = YAML(typ="safe").load(snippet[snippet.index("  remember:") :])["remember"]
    return job


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository whose branch for the history is empty, as the page has it made."""
    made, bare = tmp_path / "made", tmp_path / "origin"
    git(tmp_path, "init", "-q", "-b", BRANCH, str(made))
    git(made, "commit", "-q", "--allow-empty", "--message", "Verdicts")
    git(tmp_path, "clone", "-q", "--bare", str(made), str(bare))
    return bare


def checkout(origin: Path, name: str, verdicts: int = 1) -> Path:
    """What actions/checkout and actions/download-artifact leave: one commit, and the artifact's files."""
    folder = origin.parent / name
    git(origin.parent, "clone", "-q", "--depth=1", "--branch", BRANCH, origin.as_uri(), str(folder))
    for number in range(verdicts):
        path = folder / ".ftgate" / "history" / f"{name}-{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def run(job: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Its script, as the runner starts it."""
    (script,) = [step["run"] for step in job["steps"] if "run" in step]
    keep = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ = {**keep, "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1", "GITHUB_SHA": "a" * 40}
    command = ["bash", "-e", "-c", script]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def kept(origin: Path) -> set[str]:
    return set(git(origin, "ls-tree", "-r", "--name-only", BRANCH).split())


def test_no_verdict_of_jobs_that_push_at_once_is_lost(remember: dict[str, Any], origin: Path) -> None:
    """Three checkouts of the same commit: a later one's push is refused, and goes on top of the other."""
    first, second, third = (checkout(origin, name) for name in ("first", "second", "third"))
    for folder in (first, second, third):
        done = run(remember, folder)
        assert done.returncode == 0, done.stderr
    assert kept(origin) == {f".ftgate/history/{name}-0.json" for name in ("first", "second", "third")}


def test_no_job_waits_in_a_group_that_would_drop_it(remember: dict[str, Any]) -> None:
    """GitHub keeps one waiting job of a group and cancels the others, with the verdicts that they hold."""
    assert "concurrency" not in remember


@pytest.mark.parametrize("before", [0, 1])
def test_a_push_without_a_verdict_is_green(remember: dict[str, Any], origin: Path, before: int) -> None:
    """Nothing was uploaded: the download may fail, and nothing is committed, whatever the branch holds."""
    (download,) = [step for step in remember["steps"] if "download-artifact" in step.get("uses", "")]
    assert download["continue-on-error"] is True
    assert run(remember, checkout(origin, "earlier", before)).returncode == 0
    head = git(origin, "rev-parse", BRANCH)
    done = run(remember, checkout(origin, "later", 0))
    assert done.returncode == 0, done.stderr
    assert git(origin, "rev-parse", BRANCH) == head


def test_what_cannot_be_pushed_is_red(remember: dict[str, Any], origin: Path) -> None:
    """A branch that takes no push: the job fails instead of losing the verdict in silence."""
    hook = origin / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert run(remember, checkout(origin, "refused")).returncode != 0
