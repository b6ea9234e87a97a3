"""From an empty repository to the first verdict comment, as README.md says, walked short."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_github import State, serve

ROOT = Path(__file__).parents[2]
TASKS = ("banking12", "adjunct_island", "wh_questions_object_gap")
CONFIG, EACH = "configs/lora.yaml", 5
# A few large steps: enough that documents are answered otherwise than before.
SHORT = {"learning_rate: 1.0e-3": "learning_rate: 1.0e-2", "warmup_steps: 12": "max_steps: 8"}

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@dataclass(frozen=True)
class Walked:
    """The way behind us: its steps, the comment it led to, the simulated GitHub's state, the table."""

    steps: list[Any]
    comment: str
    state: State
    table: str


@pytest.fixture(scope="module")
def first_verdict() -> ModuleType:
    """`benchmarks/first_verdict.py`, which lies in no package."""
    spec = importlib.util.spec_from_file_location("first_verdict", ROOT / "benchmarks/first_verdict.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def walked(first_verdict: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    """All of it, with every fifth row of the data and eight steps of training."""
    with serve(State(first_verdict.WHERE), {}) as server:
        way = first_verdict.Way(tmp_path_factory.mktemp("way"), server)
        first_verdict.prepare(way)
        for data in (way.repository / "data").rglob("*.jsonl"):
            data.write_text("".join(data.read_text().splitlines(keepends=True)[::EACH]))
        config = way.repository / CONFIG
        text = config.read_text()
        for ours, short in SHORT.items():
            assert ours in text
            text = text.replace(ours, short)
        config.write_text(text)
        way.commit("main", "cut short")
        comment = first_verdict.walk(way)
        yield Walked(way.steps, comment, server.state, first_verdict.table(way.steps))


def test_the_first_comment_is_a_measured_verdict(walked: Walked) -> None:
    """Each rule that the person wrote was judged, on as many documents as settle it, and the training changed
    answers."""
    rows = re.findall(r"(?m)^\| `(?:target|general)/(\w+)` \| .* \| (\d+) of (\d+) \|$", walked.comment)
    assert {(task, asked == there) for task, asked, there in rows} == {(task, True) for task in TASKS}
    (counts,) = re.findall(r"(\d+) fell, (\d+) rose, (\d+) unchanged, (\d+) not measured", walked.comment)
    fell, rose, _, unmeasured = map(int, counts)
    assert fell + rose > 0
    assert (unmeasured > 0) == ("settled after" in walked.comment)
    assert sum(map(int, counts)) == sum(int(asked) for _, asked, _ in rows)


def test_the_checks_end_as_the_comment_says(walked: Walked) -> None:
    """The config's check run and ftgate's own are completed, both with what the comment begins with."""
    ended = {check.name: (check.status, check.conclusion) for check in walked.state.checks.values()}
    passed = "### ✅" in walked.comment
    assert passed or "### ❌ blocked" in walked.comment
    expected = ("completed", "success" if passed else "failure")
    assert ended == {"ftgate": expected, f"ftgate: {CONFIG}": expected}


def test_the_way_is_as_long_as_it_was(walked: Walked) -> None:
    """A person types 17 lines and clicks in 8 places; each step is in the table with its seconds."""
    assert sum(step.typed for step in walked.steps) == 17
    assert sum(step.clicked for step in walked.steps) == 8
    assert all(step.what in walked.table for step in walked.steps)
