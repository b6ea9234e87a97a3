"""A team's repository in a folder, real git, and `ftgate ci` run in it with measuring left out."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fake_github.memory import MemoryGitHub
from fake_github.state import State, StoredJob

from gate.ci.plan import CiOptions
from gate.ci.record import read_ci
from gate.ci.run import Effects, run_ci
from gate.errors import GateError
from gate.github.api import GitHub
from gate.github.token import Token
from gate.pipeline import CheckOptions
from gate.progress import SilentProgress
from gate.records import CiRun, ConfigRef, Cost, Finding, Interval, ModelRef, Place, Provenance
from gate.report import render
from gate.runfolder import RunFolder
from gate.shell import Shell
from gate.verdict import Failure, Result, Verdict

WORKFLOW = ".github/workflows/ftgate.yml"
CONFIG = "model_name_or_path: base\ndataset_name: data/train\nlearning_rate: 1.0e-3\n"
POLICY = "version: 1\ninclude: [tasks]\ntarget: [{task: mine, min_gain: 0.1}]\n"
FILES = {
    "README.md": "a team's repository\n",
    "base/config.json": "{}",
    "configs/lora.yaml": CONFIG,
    "configs/full.yaml": CONFIG.replace("data/train", "data/other"),
    "data/train/train.jsonl": '{"text": "a"}\n',
    "data/other/train.jsonl": '{"text": "b"}\n',
    "data/mine.jsonl": '{"text": "q"}\n',
    "tasks/mine.yaml": "task: mine\ndataset_kwargs: {data_files: {test: data/mine.jsonl}}\n",
    "thresholds.yaml": POLICY,
}


def git(folder: Path, *arguments: str) -> str:
    """One git command in a folder, with nobody's settings."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
        "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    }
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    command = ["git", *who, "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(folder: Path, files: Mapping[str, str | None]) -> None:
    """Write files; None removes one."""
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", "surrogateescape")


class Scratch:
    """A git repository with a base ref `main` and a pull request on `topic`."""

    def __init__(self, path: Path, files: Mapping[str, str] = FILES) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        git(path, "init", "-q", "-b", "main")
        write(path, files)
        self.base = self.commit()
        git(path, "checkout", "-q", "-b", "topic")

    def commit(self, files: Mapping[str, str | None] | None = None, message: str = "x") -> str:
        """Commit everything on the branch that is checked out; its full id."""
        write(self.path, files or {})
        git(self.path, "add", "-A")
        git(self.path, "commit", "-q", "--allow-empty", "-m", message)
        return git(self.path, "rev-parse", "HEAD")

    def checkout(self, name: str) -> None:
        """Check out a branch or commit."""
        git(self.path, "checkout", "-q", name)


# ── Events ───────────────────────────────────────────────────────────────────────────────────────


def pull_payload(scratch: Scratch, head: str, **changed: Any) -> dict[str, Any]:
    """A pull_request event's payload; `changed` goes over the pull request's own fields."""
    pull = {
        "number": 7,
        "head": {"sha": head, "ref": "topic", "repo": {"full_name": "acme/tunes"}},
        "base": {"sha": scratch.base, "ref": "main"},
        "draft": False,
        "labels": [],
    }
    return {"action": "synchronize", "number": 7, "pull_request": pull | changed}


def environment(folder: Path, name: str, payload: object, **variables: str) -> dict[str, str]:
    """The environment that GitHub's runner gives a step, with its files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "event.json").write_text(json.dumps(payload))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": name,
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REPOSITORY": "acme/tunes",
        "GITHUB_RUN_ID": "100",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_WORKFLOW_REF": f"acme/tunes/{WORKFLOW}@refs/pull/7/merge",
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "FTGATE_CACHE": str(folder / "cache"),
        **variables,
    }


def hand_over(folder: Path, config: str, head: str, number: int = 1) -> None:
    """What a training job hands over for a config: a model of one byte."""
    model = folder / f"{number:03d}/model"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "llama"}')
    header = b'{"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}'
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes([number]))
    note = {"version": 1, "config": config, "head": head, "seconds": 61.0, "steps": 40}
    (model.parent / "handover.json").write_text(json.dumps(note))


# ── Measuring, left out ──────────────────────────────────────────────────────────────────────────

BASE = ModelRef("base", "base", "sha256:" + "b" * 64)
TUNED = ModelRef("tuned", "tuned", "sha256:" + "c" * 64)


def verdict(gain: float = 0.2, config: str = "configs/lora.yaml") -> Verdict:
    """A verdict of one rule, which asks for a gain of 0.1."""
    interval = Interval(gain - 0.05, gain + 0.05, 0.95, "population", "exact")
    finding = Finding(
        rule="target/mine/min_gain",
        kind="target",
        check="benchmarks",
        task="mine",
        metric="acc",
        filter="none",
        unit="accuracy",
        bound="min_gain",
        base=0.5,
        tuned=0.5 + gain,
        difference=gain,
        interval=interval,
        margin=0.1,
        outcome="pass" if gain >= 0.1 else "fail",
        place=Place("thresholds.yaml", 3),
        documents_scored=100,
        documents_total=100,
    )
    made = Provenance(
        "1", "2026-01-01T00:00:00+00:00", "thresholds.yaml", "d", "cpu", "float32", "hf", "none", 1, "s", {}
    )
    return Verdict(
        (finding,), BASE, TUNED, ConfigRef(config, "d", "full", "trl", "base"), Cost(total_seconds=60.0), made
    )


@dataclass
class StubCheck:
    """`gate.pipeline.check_config` that measures nothing: it leaves a verdict, or raises."""

    gains: Mapping[str, float] = field(default_factory=dict)  # config -> gain; 0.2 for others
    error: GateError | None = None
    asked: list[CheckOptions] = field(default_factory=list)

    def __call__(self, options: CheckOptions, shell: Shell) -> Result:
        self.asked.append(options)
        assert options.run_dir is not None
        folder = RunFolder.begin(options.run_dir)
        if self.error is not None:
            folder.write_report(render(Failure.of(self.error, "train"), (), ()))
            raise self.error
        shell.progress.update("training", 1, 10)
        result = verdict(self.gains.get(str(options.config), 0.2), str(options.config))
        folder.write_report(render(result, (), ()))
        return result

    @property
    def configs(self) -> list[str]:
        """The configs that were asked for."""
        return [str(options.config) for options in self.asked]


@dataclass
class Ended:
    """How `ftgate ci` ended, and what it left."""

    code: int
    run: CiRun
    said: list[str]
    warned: list[str]
    stub: StubCheck
    folder: Path

    @property
    def reasons(self) -> dict[str, str]:
        """The changed configs and why they count as changed."""
        return {each.change.path: each.change.reason for each in self.run.runs}

    def outputs(self) -> dict[str, str]:
        """GITHUB_OUTPUT as the runner reads it."""
        return outputs_in(self.folder / "output")

    def summary(self) -> str:
        """The job summary."""
        return (self.folder / "summary").read_text()


def run_in(
    scratch: Scratch,
    name: str,
    payload: object,
    *,
    github: GitHub | None = None,
    stub: StubCheck | None = None,
    options: CiOptions | None = None,
    wait: Callable[[float], None] = lambda _: None,
    clock: Callable[[], float] | None = None,
    folder: Path | None = None,
    **variables: str,
) -> Ended:
    """`ftgate ci` in the repository's folder, for an event, with a stub for measuring."""
    folder = folder or scratch.path.parent / "runner"
    environ = environment(folder, name, payload, **variables)
    said: list[str] = []
    warned: list[str] = []
    shell = Shell(
        environ, said.append, warned.append, SilentProgress(), now=lambda: "2026-01-01T00:00:00+00:00"
    )
    if clock is not None:
        shell = replace(shell, clock=clock)
    stub = stub or StubCheck()
    asked = options or CiOptions()
    asked = replace(asked, run_dir=folder / "run", handover=folder / "handover")
    token = Token("secret-token" if github else "")
    effects = Effects(lambda *_: github or MemoryGitHub().session(), stub, wait)
    with chdir(scratch.path):
        code = run_ci(asked, token, shell, effects)
    return Ended(code, read_ci(folder / "run"), said, warned, stub, folder)


def outputs_in(file: Path) -> dict[str, str]:
    """A GITHUB_OUTPUT as the runner reads it."""
    found, lines = {}, iter(file.read_text().splitlines())
    for line in lines:
        name, _, end = line.partition("<<")
        found[name] = "\n".join(iter(lambda: next(lines), end))
    return found


def end_job(state: State, run_id: int, code: int, outputs: Mapping[str, str], attempt: int = 1) -> None:
    """What GitHub shows of the required job of a run that ended so: its step is named as the templates do."""
    result = "failure" if code else "success"
    steps = ("Set up job", f"ftgate verdicts {outputs['verdicts']}")
    state.put_job(run_id, StoredJob("ftgate verdict", "completed", result, steps, attempt))


def lines_of(ended: Ended) -> Iterator[str]:
    """Everything that was printed, by line."""
    return (line for text in ended.said for line in text.splitlines())
