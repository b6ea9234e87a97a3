"""The soundness script on stored runs: it reads a run's folder and holds its pairs to the same error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OPTIONS = ("--only-runs", "--trials", "200", "--runs")


def test_the_soundness_script_takes_the_pairs_of_a_run(checked: Any) -> None:
    """Every task of the run at its own drop, the margins that are clear, the harmless models and `plan`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soundness", *OPTIONS, str(checked.path / "run")],
        cwd=ROOT,
        env=checked.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("kept: false fail", "clear of the margin", "harmless: score is not full", "plan says"):
        assert words in done.stdout
    assert "all hold" in done.stdout
    assert "Planted faults" not in done.stdout
