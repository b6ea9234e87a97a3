"""What `ftgate ci` adds to the history, and what it does not."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gate.ci.check import folder_name
from gate.ci.remember import remember, remembers
from gate.history import read_history
from gate.progress import SilentProgress
from gate.records import ChangedConfig, CiRun, ConfigRun, Event
from gate.report import render
from gate.shell import Shell

MERGED = Event("push", "team/repo", "c0ffee", "c0ffee", "main", "main")
PULL = Event("pull_request", "team/repo", "c0ffee", "ba5e", "main", "topic", pull=7)


@pytest.fixture(scope="module")
def sample() -> ModuleType:
    """The report's realistic results."""
    path = Path(__file__).parents[1] / "report/sample.py"
    spec = importlib.util.spec_from_file_location("remembered_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shell(warned: list[str]) -> Shell:
    return Shell({}, pytest.fail, warned.append, SilentProgress())


def config_run(path: str, **changes: Any) -> ConfigRun:
    return ConfigRun(ChangedConfig(path, "edited"), "fail", 1, folder_name(path), "inputs", **changes)


def lay_out(folder: Path, path: str, result: Any) -> None:
    place = folder / folder_name(path)
    place.mkdir(parents=True)
    (place / "verdict.json").write_bytes(render(result, (), ()).document)


def test_a_push_to_the_default_branch_is_remembered(sample: ModuleType, tmp_path: Path) -> None:
    """Each config's verdict with the commit; failures and what was carried over are none."""
    run_dir, history, warned = tmp_path / "run", tmp_path / "history", list[str]()
    lay_out(run_dir, "a.yaml", sample.blocked())
    lay_out(run_dir, "b.yaml", sample.RESULTS["error"]())
    lay_out(run_dir, "c.yaml", sample.blocked())
    runs = config_run("a.yaml"), config_run("b.yaml"), config_run("c.yaml", carried_from="0ld")
    files = remember(
        CiRun(MERGED, "check", (*runs, config_run("gone.yaml"))), run_dir, history, shell(warned)
    )
    (past,) = read_history(history, pytest.fail)
    assert len(files) == 1
    assert (past.commit, past.outcome, past.tuned) == ("c0ffee", "fail", sample.TUNED.digest)
    assert warned == []


@pytest.mark.parametrize(
    ("event", "mode", "kept"),
    [
        (MERGED, "check", True),
        (MERGED, "judge", True),
        (MERGED, "train", False),
        (replace(MERGED, kind="schedule"), "check", True),
        (replace(MERGED, kind="dispatch"), "check", False),
        (replace(MERGED, head_ref="topic"), "check", False),
        (PULL, "check", False),
        (replace(PULL, kind="merge_group"), "judge", False),
    ],
)
def test_only_what_is_merged_is_history(event: Event, mode: Any, kept: bool) -> None:
    """No pull request, no other branch, no job that only trains."""
    assert remembers(CiRun(event, mode)) is kept


def test_a_verdict_that_cannot_be_read_is_warned_of(sample: ModuleType, tmp_path: Path) -> None:
    """The gate's answer is the same without it."""
    lay_out(tmp_path, "a.yaml", sample.blocked())
    (tmp_path / folder_name("a.yaml") / "verdict.json").write_text("{}")
    warned: list[str] = []
    run = CiRun(MERGED, "check", (config_run("a.yaml"),))
    assert remember(run, tmp_path, tmp_path / "history", shell(warned)) == ()
    assert "the verdict of 'a.yaml' is not in the history" in warned[0]
