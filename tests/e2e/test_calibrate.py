"""`ftgate calibrate` as a user calls it: noise of the demo's base, a proposal, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

POLICY = """\
# Ours.
version: 1
include: [tasks/]
general:
  tasks:
    - {task: adjunct_island, max_drop: 0.01}  # grammar
    - {task: wh_questions_object_gap, max_drop: 0.9}
text:
  - {corpus: data/some.jsonl, report: true}
evaluation: {dtype: float32, batch_size: 64}
"""
CHANGES = ("other batch size", "other order", "2 % weight noise")


@pytest.fixture(scope="module")
def calibrated(make_repository: Callable[[], Any]) -> tuple[Any, str, str]:
    """A repository, its base calibrated once: what was said on stdout, and on stderr."""
    repository = make_repository()
    repository.write("thresholds.yaml", POLICY)
    for source in (repository.path / "data/blimp").iterdir():
        lines = source.read_text().splitlines(keepends=True)
        source.write_text("".join((4 * lines)[:200]))  # which make a rate known
    texts = (f'{{"text": "Document {k} says that the old man went home, and slept."}}\n' for k in range(8))
    repository.write("data/some.jsonl", "".join(texts))
    done = repository.ftgate("calibrate", "base")
    assert done.returncode == 0, done.stdout + done.stderr
    return repository, done.stdout, done.stderr


def scored(text: str) -> str:
    """What a calibration says of the blocks that it scored."""
    return next(line for line in text.splitlines() if "the proposal is" in line)


def test_every_task_is_tried_under_every_change(calibrated: tuple[Any, str, str]) -> None:
    """A line each, and progress in plain lines; a CPU that scores in float32 is not made to use bfloat16."""
    _, text, log = calibrated
    lines = text.splitlines()
    for task in ("general/adjunct_island", "general/wh_questions_object_gap", "text/some"):
        for change in CHANGES:
            assert any(task in line and change in line and "±" in line for line in lines), (task, change)
    assert "other dtype" not in text
    assert "scoring the base model" in log
    assert "2 % weight noise" in log
    assert "\r" not in log
    assert scored(text).startswith("60 blocks were scored")  # 2 x 7 of tasks, 1 of text, 4 times


def test_the_proposal_stands_beside_the_policy(calibrated: tuple[Any, str, str]) -> None:
    """The policy is as it was; the proposal has its comments, other margins, and is a policy."""
    repository, _, _ = calibrated
    policy, proposal = (
        (repository.path / name).read_text() for name in ("thresholds.yaml", "thresholds.calibrated.yaml")
    )
    assert policy == POLICY
    assert "# Ours." in proposal
    assert "# grammar" in proposal
    rules = proposal.partition("version: 1")[2]
    assert "max_drop: 0.01" not in rules
    assert "max_rise: " in rules
    assert "report: true" not in rules
    done = repository.ftgate("plan", "--thresholds", "thresholds.calibrated.yaml", "--base", "base")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(calibrated: " in done.stdout
    assert "cannot be told from noise" not in done.stdout


def test_again_it_scores_nothing_and_overwrites_nothing_unasked(calibrated: tuple[Any, str, str]) -> None:
    """An earlier proposal stands; with --force the same comes from the store; the copy with noise is gone;
    the policy itself is never written to."""
    repository, text, _ = calibrated
    refused = repository.ftgate("calibrate", "base")
    assert refused.returncode == 2
    assert "thresholds.calibrated.yaml is there already" in refused.stderr
    again = repository.ftgate("calibrate", "base", "--force")
    assert again.returncode == 0, again.stderr
    assert "nothing was scored" in scored(again.stdout)
    assert again.stdout.splitlines()[:-1] == text.splitlines()[:-1]
    assert list((repository.store / "v1").glob("noise-*")) == []
    onto = repository.ftgate("calibrate", "base", "--out", "thresholds.yaml", "--force")
    assert onto.returncode == 2
    assert "which calibrate never changes" in onto.stderr


def test_blocks_of_a_lost_calibration_are_taken_up(calibrated: tuple[Any, str, str]) -> None:
    """Where its own record is gone, as after an interrupt at the end, nothing is scored a second time."""
    repository, _, _ = calibrated
    for file in Path(repository.store, "v1/calibrations").iterdir():
        file.unlink()
    again = repository.ftgate("calibrate", "base", "--force")
    assert "nothing was scored" in scored(again.stdout), again.stdout + again.stderr


def test_a_rule_that_cannot_work_at_the_measured_rate_stops_plan_and_is_told_by_check(
    calibrated: tuple[Any, str, str],
) -> None:
    """`plan` ends with exit code 2 and the rule's line; `check` warns of it and goes on."""
    repository, _, _ = calibrated
    repository.write("zero.yaml", POLICY.replace("max_drop: 0.01", "max_drop: 0"))
    planned = repository.ftgate("plan", "--base", "base", "--thresholds", "zero.yaml")
    assert planned.returncode == 2, planned.stdout + planned.stderr
    assert "zero.yaml:6: general/adjunct_island/max_drop" in planned.stderr
    assert "(calibrated: " in planned.stderr
    done = repository.ftgate("check", "sft.yaml", "--run-dir", "zero", "--thresholds", "zero.yaml")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert any("general/adjunct_island/max_drop" in line and "(calibrated: " in line for line in warned)


def test_a_check_compares_what_was_expected_with_what_was_seen(checked: Any) -> None:
    """verdict.json and report: 10 % assumed beside the share that changed; `plan` tells it from then on."""
    rates = checked.verdict()["provenance"]["flip_rates"]
    assert {rate["task"] for rate in rates} == {
        "target/banking12",
        "general/adjunct_island",
        "general/wh_questions_object_gap",
    }
    assert {(rate["expected"], rate["source"], rate["documents"]) for rate in rates} == {(0.1, "assumed", 60)}
    page = re.sub("<[^>]*>", "", (checked.path / "run/report.html").read_text())
    assert "answers that changed" in page
    assert "assumed 10 %, seen" in page
    planned = checked.ftgate("plan", "sft.yaml")
    assert planned.returncode == 0, planned.stderr
    said = " ".join(planned.stdout.split())
    for rate in rates:
        assert f"{rate['task']}" in said
        assert f" {round(60 * rate['seen'])} of 60" in said  # too few to know a rate
