"""gate.judging: another policy is judged only by what it would have measured; runs that judged nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.digests import named_sources
from gate.errors import DataError, UsageError
from gate.judging import keep_run, render_run
from gate.measured import measured_otherwise
from gate.progress import SilentProgress
from gate.records import Cost, Evaluation, ModelRef, Place, Plan, Policy, Rule, TaskInfo, TaskSpec, Trust
from gate.report import render
from gate.runfolder import RunFolder
from gate.shell import Shell
from gate.verdict import Failure

TASK = TaskSpec("target", "t", "tasks/t.yaml", num_fewshot=2, place=Place("new.yaml", 4))
TEXT = TaskSpec("text", "corpus", "data/corpus.jsonl", place=Place("new.yaml", 7))
POLICY = Policy((), (TASK, TEXT), include=("tasks",), path="new.yaml")
PLAN = Plan(POLICY, ModelRef("base", "base", "sha256:1"), ())


def silent(_: str) -> None:
    """Say nothing."""


SHELL = Shell({}, say=silent, warn=silent, progress=SilentProgress(), clock=lambda: 9.0)


@pytest.mark.parametrize(
    "asked",
    [
        POLICY,
        replace(POLICY, tasks=(TASK,), rules=(Rule("target", "t", "min_gain", 0.1),), confidence=0.9),
        replace(POLICY, tasks=(replace(TASK, metric="f1", filter="strict", limit=3), TEXT)),
        replace(POLICY, trust=Trust(remote_code=True), include=("./tasks",)),
        replace(POLICY, tasks=(replace(TASK, num_fewshot=5),)),
    ],
    ids=["equal", "rules", "metric", "trust", "shots-as-measured"],
)
def test_another_policy_over_the_same_data(asked: Policy) -> None:
    """Bounds, metrics and trust may differ; what the verdict itself compares is left to it."""
    assert measured_otherwise(asked, PLAN) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"evaluation": Evaluation(dtype="float32")},
            "new.yaml: evaluation.dtype: asks for float32, this run was measured with auto",
        ),
        ({"include": ()}, "new.yaml: include: asks for nothing, this run was measured with "),
        ({"tasks": (replace(TASK, path="other/t.yaml"),)}, "new.yaml:4: target/t path: asks for "),
        ({"tasks": (replace(TASK, path=None),)}, "new.yaml:4: target/t path: asks for nothing, "),
        (
            {"tasks": (TASK, TaskSpec("general", "new", place=Place("new.yaml", 9)))},
            "new.yaml:9: general/new: asks for new, this run was measured with nothing",
        ),
        (
            {"tasks": (replace(TEXT, text_field="body"),)},
            "new.yaml:7: text/corpus field: asks for body, ",
        ),
        (
            {"tasks": (replace(TASK, system_instruction="Be brief."),)},
            "new.yaml:4: target/t system_instruction: asks for Be brief., this run",
        ),
        (
            {"tasks": (replace(TASK, num_fewshot=None),)},
            "new.yaml:4: target/t num_fewshot: asks for the default",
        ),
    ],
    ids=["evaluation", "include", "task", "lm-eval", "more", "field", "system", "shots"],
)
def test_a_policy_over_other_data_is_refused(changed: dict[str, Any], said: str) -> None:
    """With the line, what it asks for, what was measured, and the advice to measure."""
    (problem,) = measured_otherwise(replace(POLICY, **changed), PLAN)
    assert str(problem).startswith(said)
    assert problem.hint == "run the check again"


# ── Moved ────────────────────────────────────────────────────────────────────────────────────────


def lay_out(folder: Path) -> Policy:
    """A policy with a task and a corpus beside it, and another task above it."""
    for name in ("repo/tasks/t.yaml", "repo/tasks/helper.py", "repo/data/corpus.jsonl", "shared/u.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    repo = folder / "repo"
    tasks = (
        replace(TASK, path=str(repo / "tasks/t.yaml")),
        replace(TEXT, path=str(repo / "data/corpus.jsonl")),
        TaskSpec("general", "u", str(repo / "../shared/u.yaml")),
    )
    return Policy((), tasks, include=(str(repo / "tasks"),), path=str(repo / "thresholds.yaml"))


def plan_of(policy: Policy) -> Plan:
    """What a check of `policy` leaves, with the sources as the checks name them."""
    repo = Path(policy.path).parent
    read = {
        "target/t": (repo / "tasks/t.yaml", repo / "tasks"),
        "text/corpus": (repo / "data/corpus.jsonl",),
        "general/u": (repo / "../shared/u.yaml",),
    }
    infos = (
        TaskInfo(task, "", "", "", "", True, (), sources=named_sources(paths, policy.path))
        for task, paths in read.items()
    )
    return replace(PLAN, policy=policy, tasks=tuple(infos))


def test_a_policy_moved_with_what_it_names_is_judged(tmp_path: Path) -> None:
    """The same names from the policy's folder, the same bytes: the same was measured."""
    plan = plan_of(lay_out(tmp_path / "before"))
    moved = lay_out(tmp_path / "after")
    assert measured_otherwise(moved, plan) == []
    shutil.rmtree(tmp_path / "before")
    assert measured_otherwise(moved, plan) == []


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("repo/tasks/t.yaml", "target/t"),
        ("repo/tasks/helper.py", "target/t"),
        ("repo/data/corpus.jsonl", "text/corpus"),
        ("shared/u.yaml", "general/u"),
    ],
)
@pytest.mark.parametrize("gone", [False, True], ids=["changed", "gone"])
def test_other_bytes_are_other_data_wherever_they_lie(
    place: str, name: str, task: str, gone: bool, tmp_path: Path
) -> None:
    """Moved or in its old place: a task, its helper or a corpus that changed was not what was measured."""
    plan = plan_of(lay_out(tmp_path / "before"))
    asked = lay_out(tmp_path / place)
    file = tmp_path / place / name
    file.unlink() if gone else file.write_text("other")
    problems = measured_otherwise(asked, plan)
    assert problems
    assert {problem.key for problem in problems} == {task}
    said = "is not here" if gone and "helper" not in name else "is not what it was when this run was measured"
    assert any(said in problem.message for problem in problems)
    assert {problem.hint for problem in problems} == {"run the check again"}


# ── Runs that judged nothing ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """The folder of a run that ended with an error before it measured anything."""
    folder = RunFolder.begin(tmp_path / "run")
    folder.write_policy(POLICY)
    failure = Failure.of(DataError("no such task", hint="name another"), "plan", Cost())
    folder.write_report(render(failure, (), (), folder=folder.path))
    return folder.path


@pytest.mark.parametrize("release", [False, True])
def test_a_run_without_a_model_keeps_none(ended: Path, release: bool) -> None:
    """Neither `keep` nor `keep --release` of nothing."""
    with pytest.raises(UsageError, match="judged no model"):
        keep_run(ended, release, SHELL)


def test_a_run_that_ended_early_tells_its_own_error(ended: Path) -> None:
    """`report` says what ended the run, and how to mend that."""
    with pytest.raises(UsageError, match="ended with an error: no such task") as caught:
        render_run(ended, SHELL)
    assert caught.value.hint == "name another"
