"""`ftgate ci` with nothing left out: the demo's model is trained and measured, for a pull request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_github.memory import MemoryGitHub
from scratch import Ended, Scratch, pull_payload, run_in

from gate.ci.check import check_whole
from gate.demo.run import lay_out

LORA = "configs/lora.yaml"


def run(scratch: Scratch, github: MemoryGitHub, number: int) -> Ended:
    """`ftgate ci` for the head that is checked out, as run `number`."""
    payload = pull_payload(scratch, github.state.pulls[7].head_sha)
    return run_in(
        scratch,
        "pull_request",
        payload,
        github=github.session(),
        stub=check_whole,  # type: ignore[arg-type]
        GITHUB_RUN_ID=str(number),
    )


@pytest.mark.slow
def test_a_pull_request_is_measured_by_the_base_refs_policy_tasks_and_data(tmp_path: Path) -> None:
    """Trained from the head's config; the loosened policy and the emptied test data change nothing.

    A second push of a README finds everything in the store, and the report is whole.
    """
    lay_out(tmp_path / "repo")
    scratch = Scratch(tmp_path / "repo", {".gitignore": "out/\n"})
    rows = (scratch.path / "data/banking12.jsonl").read_text().splitlines()
    policy = (scratch.path / "thresholds.yaml").read_text()
    config = (scratch.path / LORA).read_text()
    head = scratch.commit(
        {
            LORA: config.replace("learning_rate: 1.0e-3", "learning_rate: 1.1e-3"),
            "data/banking12.jsonl": rows[0] + "\n",
            "thresholds.yaml": policy.replace("min_gain: 0.30", "min_gain: 0.00"),
        }
    )
    narrow = {"configs/full.yaml": None, "configs/qlora.yaml": None}
    head = scratch.commit(narrow)
    github = MemoryGitHub()
    github.state.open_pull(7, head, scratch.base)
    first = run(scratch, github, 100)
    assert first.reasons == {LORA: "edited"}
    folder = first.folder / "run" / first.run.runs[0].folder
    verdict = json.loads((folder / "verdict.json").read_text())
    gain = next(each for each in verdict["findings"] if each["rule"] == "target/banking12/min_gain")
    assert gain["documents_total"] == len(rows)
    assert gain["margin"] == 0.30
    assert gain["place"] == {"file": "thresholds.yaml", "line": gain["place"]["line"]}
    assert verdict["base"]["name"] == "base"
    assert verdict["provenance"]["policy_path"] == "thresholds.yaml"
    assert not any(change["key"] == "model_name_or_path" for change in verdict["config"]["overrides"])
    assert first.code == {"pass": 0, "fail": 1}[verdict["outcome"]]
    assert (first.folder / "cache/v1/pulls/7/blocks").is_dir()
    assert not (first.folder / "cache/v1/blocks").exists()

    github.state.push(7, scratch.commit({"README.md": "words\n"}))
    second = run(scratch, github, 101)
    again = json.loads((folder / "verdict.json").read_text())
    assert second.code == first.code
    assert again["cost"]["training_from_store"]
    assert again["cost"]["blocks_scored"] == 0
    assert len(github.state.comments) == 1
