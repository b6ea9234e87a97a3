"""gate.judging: another policy is judged only by what it would have measured; runs that judged nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.errors import DataError, UsageError
from gate.judging import keep_run, measured_otherwise, render_run
from gate.progress import SilentProgress
from gate.records import Cost, Evaluation, Place, Policy, Rule, TaskSpec, Trust
from gate.report import render
from gate.runfolder import RunFolder
from gate.shell import Shell
from gate.verdict import Failure

TASK = TaskSpec("target", "t", "tasks/t.yaml", num_fewshot=2, place=Place("new.yaml", 4))
TEXT = TaskSpec("text", "corpus", "data/corpus.jsonl", place=Place("new.yaml", 7))
POLICY = Policy((), (TASK, TEXT), include=("tasks",), path="new.yaml")


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
    assert measured_otherwise(asked, POLICY) == []


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
        ({"tasks": (replace(TEXT, text_field="body"),)}, "new.yaml:7: text/corpus field: asks for body, "),
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
    (problem,) = measured_otherwise(replace(POLICY, **changed), POLICY)
    assert str(problem).startswith(said)
    assert problem.hint == "run the check again"


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
