"""`ftgate demo` as a newcomer runs it: three real trainings, three verdicts, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gate.scoring.way import VERSIONS

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# The base model's scores on the demo's tasks, by version of the scorer: other numbers need another version.
BASE_SCORES = {
    "3": {
        "banking12": 20 / 240,
        "adjunct_island": 199 / 300,
        "determiner_noun_agreement_irregular_2": 231 / 300,
        "irregular_past_participle_verbs": 222 / 300,
        "superlative_quantifiers_1": 186 / 300,
        "wh_questions_object_gap": 205 / 300,
    }
}


@dataclass(frozen=True)
class Demo:
    """The demo's folder, its environment, and what the command printed."""

    folder: Path
    environ: dict[str, str]
    said: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "gate.cli", *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True)

    def verdict(self, run: str) -> Any:
        return json.loads((self.folder / "runs" / run / "verdict.json").read_text())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    root = tmp_path_factory.mktemp("demo")
    environ = {**os.environ, "FTGATE_CACHE": str(root / "store"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", "-m", "gate.cli", "demo", "shown"]
    ended = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return Demo(root / "shown", environ, ended.stdout)


def test_one_passes_and_one_is_blocked(demo: Demo) -> None:
    """Under one policy, by what was measured; the last words say what the target alone would have done."""
    outcomes = {run: demo.verdict(run)["outcome"] for run in ("full", "lora", "qlora")}
    assert set(outcomes.values()) == {"pass", "fail"}
    assert outcomes["full"] == "fail"
    policies = {demo.verdict(run)["provenance"]["policy_digest"] for run in outcomes}
    assert len(policies) == 1
    last = demo.said.strip().splitlines()[-1]
    assert "judged on the target alone" in last
    assert "full would have been merged" in last


def test_the_table_shows_what_the_verdicts_hold(demo: Demo) -> None:
    """Target gain and general drop in the table are those of verdict.json."""
    lines = demo.said.splitlines()
    rows = {
        run: next(line for line in lines if line.startswith(f"{run} ")) for run in ("full", "lora", "qlora")
    }
    for run, row in rows.items():
        findings = {finding["rule"]: finding for finding in demo.verdict(run)["findings"]}
        gain = findings["target/banking12/min_gain"]["difference"]
        assert f"{100 * gain:+.1f} ±" in row
        assert f"{abs(100 * findings['average/general/max_drop']['difference']):.1f} ±" in row


def test_the_base_scores_as_this_scorer_always_did(demo: Demo) -> None:
    """A change of the scorer that moves a score is a new version of the scorer."""
    findings = demo.verdict("lora")["findings"]
    scores = {each["task"]: each["base"] for each in findings if each["kind"] in ("target", "general")}
    assert scores == pytest.approx(BASE_SCORES[VERSIONS["tree"]])


def test_the_three_share_one_base(demo: Demo) -> None:
    """The base is scored once: the second and third config find it in the store."""
    costs = [demo.verdict(run)["cost"] for run in ("full", "lora", "qlora")]
    assert costs[0]["blocks_from_store"] == 0
    for later in costs[1:]:
        assert later["blocks_from_store"] == later["blocks_scored"] == costs[0]["blocks_scored"] // 2


def test_a_second_check_trains_and_scores_nothing(demo: Demo) -> None:
    """The same inputs in another run folder: all from the store, and the same findings."""
    again = demo.run("check", "configs/lora.yaml", "--run-dir", "runs/again")
    assert again.returncode == 0, again.stderr
    first, second = demo.verdict("lora"), demo.verdict("again")
    assert second["cost"]["training_from_store"]
    assert second["cost"]["blocks_scored"] == 0
    assert second["findings"] == first["findings"]
    assert second["tuned"]["digest"] == first["tuned"]["digest"]


def test_what_passed_is_what_ships(demo: Demo) -> None:
    """promote copies the judged model, verify knows it again, and refuses the blocked one."""
    assert demo.run("promote", "runs/lora", "release").returncode == 0
    assert demo.run("verify", "runs/lora/verdict.json", "release", "--unsigned").returncode == 0
    assert demo.run("promote", "runs/full", "no-release").returncode == 2
    (demo.folder / "release" / "adapter_config.json").write_text("{}")
    assert demo.run("verify", "runs/lora/verdict.json", "release", "--unsigned").returncode == 1
