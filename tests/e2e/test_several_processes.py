"""`ftgate check` under torchrun: the verdict of one process, to the bit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import gate
from gate.runfolder import RunFolder

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BASE = Path(gate.__file__).parent / "demo" / "base"
TASKS = Path(__file__).parent.parent / "checks" / "tasks"
POLICY = {
    "version": 1,
    "include": [str(TASKS)],
    "general": {"defaults": {"max_drop": 1.0}, "tasks": ["mini_winogrande", "mini_adjunct"]},
    "text": [{"corpus": str(TASKS / "data" / "text.jsonl"), "report": True}],
    "evaluation": {"dtype": "float32", "device": "cpu"},
}
CLI = ("-m", "gate.cli", "check")
TWO = ("-m", "torch.distributed.run", "--nproc-per-node", "2", *CLI)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base with every weight moved by a tenth, seeded."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("tuned")
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + 0.1 * torch.randn_like(weight))
    model.save_pretrained(folder)
    for file in BASE.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def measured(command: tuple[str, ...], tuned: Path, place: Path, salt: Path | None) -> RunFolder:
    """One check in a store of its own, with the salt of another: so that blocks are the same."""
    store = place / "store"
    if salt is not None:
        (store / "v1").mkdir(parents=True)
        shutil.copy(salt, store / "v1" / "salt")
    (place / "thresholds.yaml").write_text(yaml.safe_dump(POLICY))
    environ = {**os.environ, "FTGATE_CACHE": str(store), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    options = ["--tuned", str(tuned), "--base", str(BASE), "--run-dir", str(place / "run")]
    options += ["--thresholds", str(place / "thresholds.yaml")]
    ended = subprocess.run(
        [sys.executable, *command, *options], cwd=TASKS, env=environ, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return RunFolder.open(place / "run")


def test_two_processes_give_the_answer_of_one(tuned: Path, tmp_path: Path) -> None:
    """Every document's values of both models are equal; the second process ends with the first."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    alone = measured(CLI, tuned, one, None).read_measurements()
    both = measured(TWO, tuned, two, one / "store" / "v1" / "salt").read_measurements()
    assert (both.measurements, both.flips) == (alone.measurements, alone.flips)
