"""Bad luck: a child that is killed, Ctrl-C, SIGTERM. The same command goes on, and nothing is done twice.

One story in one repository, each chapter the same command: the training child is killed, Ctrl-C comes
during the training, SIGTERM and Ctrl-C during the measuring, and the last one ends with a verdict.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

STEPS = 12
PATIENCE = 120


@dataclass(frozen=True)
class Chapter:
    """How one run of the command ended, and what lay on disk then."""

    code: int
    said: str
    outcome: str
    blocks: frozenset[str] = frozenset()
    steps: tuple[int, ...] = ()  # the training's, this time
    children: tuple[int, ...] = ()


@dataclass
class Story:
    """Runs the same command again and again, and stops it at a certain moment."""

    repository: Any
    wait_for: Callable[[Callable[[], Any], subprocess.Popen[str]], Any]

    @property
    def blocks(self) -> frozenset[str]:
        """The blocks in the store."""
        return frozenset(path.name for path in self.repository.store.glob("v1/blocks/*/*.parquet"))

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that the last training told of."""
        file = self.repository.path / "run/training/events.jsonl"
        events = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return tuple(event["step"] for event in events if event["event"] == "Step")

    def chapter(self, stop: Callable[[subprocess.Popen[str]], tuple[int, ...]] | None) -> Chapter:
        """Run the command until `stop` has stopped it, or to its end."""
        process = self.repository.start("check", "sft.yaml", "--run-dir", "run")
        try:
            children = stop(process) if stop else ()
            said = process.communicate(timeout=PATIENCE)[0]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        outcome = self.repository.verdict()["outcome"]
        return Chapter(process.returncode, said, outcome, self.blocks, self.steps, children)

    def kill_child(self, process: subprocess.Popen[str]) -> tuple[int, ...]:
        """SIGKILL to the training child, once it has left a whole checkpoint."""
        self.wait_for(self.checkpoints, process)
        children = children_of(process.pid)
        for child in children:
            os.kill(child, signal.SIGKILL)
        return children

    def stop_training(self, process: subprocess.Popen[str]) -> tuple[int, ...]:
        """Ctrl-C once the resumed training goes on."""
        before = self.checkpoints()
        self.wait_for(lambda: self.checkpoints() - before, process)
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        return children

    def stop_measuring(self, number: int) -> Callable[[subprocess.Popen[str]], tuple[int, ...]]:
        """A signal once more blocks are in the store than before."""

        def stop(process: subprocess.Popen[str]) -> tuple[int, ...]:
            before = self.blocks
            self.wait_for(lambda: self.blocks - before, process)
            process.send_signal(number)
            return ()

        return stop

    def checkpoints(self) -> frozenset[str]:
        """The whole checkpoints of the training."""
        markers = self.repository.path.glob("run/training/trainer/*/ftgate-complete.json")
        return frozenset(marker.parent.name for marker in markers)


def children_of(parent: int) -> tuple[int, ...]:
    """The training processes below a process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            words = (status.parent / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == parent and "gate.training.child" in words:
            found.append(int(status.parent.name))
    return tuple(found)


def alive(child: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def story(make_repository, settings, wait_for) -> dict[str, Chapter]:
    """All chapters; the tests below read them."""
    repository = make_repository()
    repository.write("sft.yaml", {**settings, "max_steps": STEPS, "save_steps": 2, "save_total_limit": 2})
    told = Story(repository, wait_for)
    return {
        "killed": told.chapter(told.kill_child),
        "training": told.chapter(told.stop_training),
        "terminated": told.chapter(told.stop_measuring(signal.SIGTERM)),
        "measuring": told.chapter(told.stop_measuring(signal.SIGINT)),
        "ended": told.chapter(None),
        "cost": repository.verdict()["cost"],  # type: ignore[dict-item]
    }


def test_no_chapter_before_the_last_is_a_pass_or_a_traceback(story) -> None:
    """Whatever came in between, there is no verdict until there is a whole one."""
    chapters = [story[name] for name in ("killed", "training", "terminated", "measuring")]
    assert [chapter.outcome for chapter in chapters] == ["error"] * 4
    assert not [chapter.said for chapter in chapters if "Traceback" in chapter.said]
    assert not [chapter.said for chapter in chapters if "defect of ftgate" in chapter.said]


def test_a_killed_training_child_is_infrastructure(story) -> None:
    """SIGKILL of the child, as the kernel does when memory runs out: exit 3, and what needs less."""
    chapter = story["killed"]
    assert chapter.code == 3, chapter.said
    assert chapter.children
    assert "was killed (signal 9), as Linux does when memory runs out" in chapter.said
    assert (
        "`per_device_train_batch_size: 2` with `gradient_accumulation_steps: 2` keeps the recipe"
        in chapter.said
    )


def test_ctrl_c_during_the_training_takes_the_child_along(story) -> None:
    """Exit 130, the child is gone, and it had gone on from the killed one's checkpoint."""
    chapter = story["training"]
    assert chapter.code == 130, chapter.said
    assert "the same command goes on from there" in chapter.said
    assert chapter.children
    assert not [child for child in chapter.children if alive(child)]
    assert min(chapter.steps) > 2
    assert max(chapter.steps) < STEPS


def test_the_training_ends_where_it_was_asked_to(story) -> None:
    """The third run trains the rest and no more, and then measures."""
    chapter = story["terminated"]
    assert min(chapter.steps) > min(story["training"].steps)
    assert max(chapter.steps) == STEPS


@pytest.mark.parametrize("name", ["terminated", "measuring"])
def test_a_signal_during_the_measuring_keeps_what_was_scored(story, name: str) -> None:
    """SIGTERM and Ctrl-C: exit 130 with some blocks in the store, not all."""
    chapter = story[name]
    assert chapter.code == 130, chapter.said
    assert "the same command goes on from there" in chapter.said
    assert chapter.blocks
    assert chapter.blocks < story["ended"].blocks


def test_the_same_command_goes_on_to_a_pass(story) -> None:
    """The last run trains nothing and scores only the blocks that no earlier run had stored."""
    chapter, cost = story["ended"], story["cost"]
    assert (chapter.code, chapter.outcome) == (0, "pass"), chapter.said
    stored = story["measuring"].blocks
    assert story["terminated"].blocks < stored
    assert cost["training_from_store"] is True
    assert cost["blocks_from_store"] == len(stored)
    assert cost["blocks_scored"] == len(chapter.blocks) - len(stored)
