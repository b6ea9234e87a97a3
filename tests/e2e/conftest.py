"""A user's repository, tiny and real, and the command line run in it as a user runs it: another process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import checks
import gate

DEMO = Path(gate.__file__).parent / "demo"
TASKS = Path(checks.__file__).parent / "tasks"
TRAINING_ROWS, TARGET_DOCUMENTS, PAIRS = 48, 60, 60
GENERAL = ("adjunct_island", "wh_questions_object_gap")
PATIENCE = 300.0

CONFIG: dict[str, Any] = {
    "model_name_or_path": "base",
    "dataset_name": "data/train",
    "output_dir": "out",
    "max_steps": 4,
    "save_steps": 1,
    "logging_steps": 1,
    "per_device_train_batch_size": 4,
    "max_length": 64,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
}
# Margins that four steps cannot miss: what is tested here is the way to a verdict, and that it is a pass.
# Every document is scored, so that numbers and counts are known.
POLICY: dict[str, Any] = {
    "version": 1,
    "decide": "full",
    "include": ["tasks/"],
    "target": [{"task": "banking12", "min_score": 0.0}],
    "general": {"tasks": [{"task": GENERAL[0], "max_drop": 0.9}, {"task": GENERAL[1], "max_drop": 0.9}]},
    "evaluation": {"dtype": "float32", "batch_size": 64},
}


@dataclass(frozen=True)
class Repository:
    """A folder with base model, data, tasks, `sft.yaml` and `thresholds.yaml`; its store lies beside it."""

    path: Path
    store: Path

    def write(self, name: str, content: object) -> Path:
        """Write a file: text and bytes as they are, anything else as JSON, which is YAML."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes | str) else json.dumps(content)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def environment(self, changed: Mapping[str, str]) -> dict[str, str]:
        """What a process in this repository sees of ours; no hub, one thread, a store of its own."""
        ours = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        quick = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "FTGATE_CACHE": str(self.store)}
        caches = {"HF_HOME": str(self.store.parent / "hf"), "COLUMNS": "100"}
        return {**ours, **quick, **caches, **changed}

    def ftgate(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `ftgate ARGUMENTS` here and wait for its end."""
        return run_ftgate(arguments, self.path, self.environment(environ))

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run any command here and wait for its end."""
        return run_command(words, self.path, self.environment({}))

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start `ftgate ARGUMENTS` here, its output in one pipe.

        Ctrl-C counts, also where the tests run in the background of a shell, which has it ignored.
        """
        return subprocess.Popen(
            ["env", "--default-signal=INT", *command(arguments)],
            cwd=self.path,
            env=self.environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is sent to it alone and not to the tests
        )

    def verdict(self, run: str = "run") -> dict[str, Any]:
        """A run's verdict.json."""
        return json.loads((self.path / run / "verdict.json").read_text())


def command(arguments: Sequence[str]) -> list[str]:
    """The command line of `ftgate ARGUMENTS`; like the console script, it does not look into the cwd."""
    return [sys.executable, "-P", "-m", "gate.cli", *arguments]


def run_ftgate(
    arguments: Sequence[str], cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `ftgate` in a folder of a user's and wait for its end."""
    return run_command(command(arguments), cwd, env)


def run_command(words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; never a traceback, whatever comes."""
    done = subprocess.run(
        list(words),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def lay_out(folder: Path) -> Repository:
    """A repository made of the demo's own files, cut short."""
    path = folder / "repository"
    shutil.copytree(DEMO / "base", path / "base")
    shutil.copytree(TASKS, path / "tasks")
    cut(DEMO / "data/train/train.jsonl", path / "data/train/train.jsonl", TRAINING_ROWS)
    cut(DEMO / "data/banking12.jsonl", path / "data/banking12.jsonl", TARGET_DOCUMENTS)
    for source in (DEMO / "data/blimp").iterdir():
        cut(source, path / "data/blimp" / source.name, PAIRS)
    repository = Repository(path, folder / "store")
    repository.write("sft.yaml", CONFIG)
    repository.write("thresholds.yaml", POLICY)
    return repository


def cut(source: Path, target: Path, rows: int) -> None:
    """Copy the first rows of a file of JSON lines."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(source.read_text().splitlines(keepends=True)[:rows]))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository of a test's own, nothing in its store."""
    return lay_out(tmp_path)


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which one check has passed; its folder is `run`. Tests leave it as it is."""
    repository = lay_out(tmp_path_factory.mktemp("checked"))
    done = repository.ftgate("check", "sft.yaml", "--run-dir", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    return repository


@pytest.fixture(scope="session")
def wait_for() -> Callable[[Callable[[], Any], subprocess.Popen[str]], Any]:
    """Waits until something is there while a process runs, and gives it back."""

    def wait(found: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
        until = time.monotonic() + PATIENCE
        while not (result := found()):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until, "it took too long"
            time.sleep(0.02)
        return result

    return wait


@pytest.fixture(scope="session")
def settings() -> dict[str, Any]:
    """The training config of the repositories here."""
    return dict(CONFIG)


@pytest.fixture(scope="session")
def policy() -> dict[str, Any]:
    """The policy of the repositories here."""
    return dict(POLICY)


@pytest.fixture(scope="session")
def make_repository(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Repository]:
    """Makes a repository, for what several tests share."""
    return lambda: lay_out(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def command_line() -> Callable[[Sequence[str]], list[str]]:
    """Makes the command line of `ftgate ARGUMENTS`, for tests that start it themselves."""
    return command
