"""A rule over slices as a user writes it: checked, judged anew, and refused where it must be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.e2e

TASK = "determiner_noun_agreement_irregular_2"
RULE = f"general/{TASK}/slices:kind/max_drop"


def policy_of(**slices: Any) -> dict[str, Any]:
    """The mean may fall by anything; each slice by what is said."""
    task = {"task": TASK, "max_drop": 0.99, "slices": slices}
    return {
        "version": 1,
        "include": ["tasks/"],
        "general": {"tasks": [task]},
        "evaluation": {"dtype": "float32", "batch_size": 64},
    }


@pytest.fixture(scope="module")
def broken(make_repository: Callable[[], Any]) -> Any:
    """A repository whose documents have a `kind`, with a broken model, and the check of it in `run`."""
    repository = make_repository()
    data = repository.path / f"data/blimp/{TASK}.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    kinds = ["plain"] * 30 + ["<b>odd|kind</b>"] * 25 + ["rare"] * 5
    data.write_text("".join(json.dumps({**row, "kind": kinds[k]}) + "\n" for k, row in enumerate(rows)))
    shutil.copytree(repository.path / "base", repository.path / "broken")
    weights = load_file(repository.path / "broken/model.safetensors")
    weights["model.norm.weight"] *= -1  # what was likely is now unlikely, and the other way round
    save_file(weights, repository.path / "broken/model.safetensors", {"format": "pt"})
    repository.write("thresholds.yaml", policy_of(by="kind", max_drop=0.10, min_documents=25))
    done = repository.ftgate("check", "--base", "base", "--tuned", "broken", "--run-dir", "run")
    assert done.returncode == 1, done.stdout + done.stderr
    return repository


def finding_of(repository: Any) -> dict[str, Any]:
    return next(each for each in repository.verdict()["findings"] if each["rule"] == RULE)


def test_a_slice_that_collapsed_blocks(broken: Any) -> None:
    """The mean keeps its own wide limit; the rare kind is judged with the odd one, as too small alone."""
    findings = {each["rule"]: each for each in broken.verdict()["findings"]}
    assert findings[f"general/{TASK}/max_drop"]["outcome"] == "pass"
    sliced = findings[RULE]
    assert sliced["outcome"] == "fail"
    assert {each["name"]: (each["documents"], each["pooled"]) for each in sliced["slices"]} == {
        "plain": (30, 0), "other": (30, 2),
    }  # fmt: skip
    assert sliced["difference"] < -0.10
    assert sliced["interval"]["high"] < 0
    assert f"{sliced['fell']} of 30 lost" in (broken.path / "run/report.html").read_text()


def test_judge_replays_it_from_what_was_stored(broken: Any) -> None:
    """Under other margins and other sizes, without a model; a name that is HTML stays text."""
    broken.write("loose.yaml", policy_of(by="kind", max_drop=0.98, min_documents=5))
    done = broken.ftgate("judge", "run", "--thresholds", "loose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(each["name"] for each in finding_of(broken)["slices"]) == [
        "<b>odd|kind</b>",
        "plain",
        "rare",
    ]
    assert "<b>odd" not in (broken.path / "run/report.html").read_text()
    broken.write("strict.yaml", policy_of(by="kind", max_drop=0.10, min_documents=25))
    assert broken.ftgate("judge", "run", "--thresholds", "strict.yaml").returncode == 1


def test_slices_that_were_not_stored_are_refused(broken: Any) -> None:
    """By another label, in words."""
    broken.write("length.yaml", policy_of(by="length", max_drop=0.10, min_documents=10))
    done = broken.ftgate("judge", "run", "--thresholds", "length.yaml")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert f"the policy asks for slices by length of {TASK}" in said
    assert "run ftgate check again" in said


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        ({"by": "topic", "max_drop": 0.1}, "their fields are sentence_good, sentence_bad, kind"),
        ({"by": "kind", "max_drop": 0.1, "min_documents": 50}, "are no two of 50 documents"),
        ({"by": "subtask", "max_drop": 0.1}, "60 documents in 1 value of subtask"),
    ],
)
def test_slices_that_cannot_be_are_told_before_anything_is_measured(
    broken: Any, slices: dict[str, Any], said: str
) -> None:
    """Exit code 2, and no run."""
    broken.write("wrong.yaml", policy_of(**slices))
    done = broken.ftgate(
        "check", "--base", "base", "--tuned", "broken", "--thresholds", "wrong.yaml", "--run-dir", "none"
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in " ".join(done.stderr.split())


def test_plan_says_what_the_smallest_slice_shows(broken: Any) -> None:
    """Without a model."""
    done = broken.ftgate("plan")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 slices by kind, the smallest of 30 documents" in done.stdout
