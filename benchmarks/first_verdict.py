#!/usr/bin/env python3
"""From an empty repository with one TRL config to the first verdict comment, on a simulated GitHub, timed.

    python benchmarks/first_verdict.py [--install] [FOLDER]

Does just what docs/github.md says under "On your pull requests", with the demo's model so that a CPU is
enough, and prints each step with its seconds, the lines that a person types and the places that they click.
Real git, real processes, the workflows that `ftgate init --github` wrote; GitHub and its runner are doubles,
those of the tests, and the runner's image has ftgate installed. `--install` also installs as the action does
where no image has it, once, from the package index that pip knows.
"""

# make bench

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "doubles"))

from fake_github import FakeGitHub, State, serve  # noqa: E402
from runner import Runner, events  # noqa: E402
from runner.jobs import machine  # noqa: E402

WHERE, ACTION = "acme/tunes", f"owner/ftgate@{'a' * 40}"
BINS = Path(sys.executable).parent
QUICK = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
CONFIG = ROOT / "gate" / "demo" / "configs" / "lora.yaml"
# What a person writes into thresholds.yaml: what the fine-tune is for, and what it must not forget.
POLICY = """\
version: 1
include: [tasks/]
target:
  - {task: banking12, min_gain: 0.30}
general:
  defaults: {max_drop: 0.05}
  tasks: [adjunct_island, wh_questions_object_gap]
evaluation: {dtype: float32, batch_size: 64}
"""
WRITTEN = len(POLICY.splitlines())


@dataclass
class Step:
    """One thing that is done: a machine's seconds, lines that a person types, places that they click."""

    what: str
    typed: int = 0
    clicked: int = 0
    seconds: float = 0.0


@dataclass
class Way:
    """The way, step by step."""

    folder: Path
    server: FakeGitHub
    steps: list[Step] = field(default_factory=list)

    def do(self, what: str, work: Callable[[], object], *, typed: int = 0, clicked: int = 0) -> None:
        """Do a step and time it."""
        began = time.monotonic()
        work()
        self.steps.append(Step(what, typed, clicked, time.monotonic() - began))

    def call(self, *words: str) -> str:
        """A command that the person types, in the repository."""
        environ = {**machine(QUICK, BINS), "HOME": str(self.folder / "home")}
        done = subprocess.run(
            words, cwd=self.repository, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    @property
    def repository(self) -> Path:
        return self.folder / "tunes"

    def commit(self, branch: str, message: str) -> str:
        """Commit all, push; the commit."""
        for words in (("add", "--all"), ("commit", "-q", "-m", message), ("push", "-q", "origin", branch)):
            self.call("git", *words)
        return self.call("git", "rev-parse", "HEAD")


def prepare(way: Way) -> None:
    """The person's repository as it is before: one TRL config with its data, its model, its tasks."""
    demo, repository = ROOT / "gate" / "demo", way.repository
    repository.mkdir(parents=True)
    (way.folder / "home").mkdir()
    for name in ("base", "data"):
        shutil.copytree(demo / name, repository / name)
    shutil.copytree(ROOT / "checks" / "tasks", repository / "tasks")
    (repository / "configs").mkdir()
    shutil.copy(CONFIG, repository / "configs" / "lora.yaml")
    origin = way.folder / "origin.git"
    way.call("git", "init", "-q", "--bare", "-b", "main", str(origin))
    for key in ("allowAnySHA1InWant", "allowReachableSHA1InWant"):
        way.call("git", "-C", str(origin), "config", f"uploadpack.{key}", "true")
    for words in (
        ("init", "-q", "-b", "main"),
        ("config", "user.name", "Person"),
        ("config", "user.email", "person@example.org"),
        ("remote", "add", "origin", f"file://{origin}"),
    ):
        way.call("git", *words)
    way.commit("main", "a config")


def walk(way: Way) -> str:
    """The steps of docs/github.md; the comment that they lead to."""
    way.do("pip install finetune-gate (not timed)", lambda: None, typed=1)
    init = ["ftgate", "init", "--github", "--action", ACTION]
    way.do("ftgate init --github", lambda: way.call(*init), typed=1)
    policy = way.repository / "thresholds.yaml"
    way.do("say in thresholds.yaml what it is for", lambda: policy.write_text(POLICY), typed=WRITTEN)
    way.do("commit both to main, push", lambda: way.commit("main", "ftgate"), typed=3)
    way.do("ruleset: require `ftgate verdict`", lambda: None, clicked=6)
    way.call("git", "checkout", "-q", "-b", "rank")
    config = way.repository / "configs" / "lora.yaml"
    text = config.read_text()
    way.do("change the config", lambda: config.write_text(text.replace("lora_r: 32", "lora_r: 16")), typed=1)
    main, head = way.call("git", "rev-parse", "main"), ""

    def push() -> None:
        nonlocal head
        head = way.commit("rank", "half the rank")

    way.do("push the branch, open the pull request", push, typed=3, clicked=2)
    way.server.state.open_pull(1, head, main, head_ref="rank")
    runner = Runner(
        root=way.folder / "runs",
        origin=way.folder / "origin.git",
        repository=WHERE,
        server=way.server,
        action_path=ROOT,
        action=ACTION,
        environ=machine(QUICK, BINS),
    )
    workflow = (way.repository / ".github" / "workflows" / "ftgate.yml").read_text()
    happening = events.pull_request(WHERE, 1, head, main, action="opened", head_ref="rank")
    way.do("GitHub: train, measure, judge, comment", lambda: runner.run(workflow, happening, run_id=1))
    comments = [comment.body for comment in way.server.state.comments.values()]
    if len(comments) != 1:
        raise SystemExit(f"{len(comments)} comments\n" + runner.runs[1].jobs["judge"].log)
    return comments[0]


def install(way: Way) -> None:
    """What each job's machine does first without a prepared image: what publishes, and then the rest."""
    environ = {
        **os.environ,
        "FTGATE_PYTHON": sys.executable,
        "FTGATE_VENV": str(way.folder / "venv"),
        "FTGATE_EXTRAS": "",
    }
    for what, jobs in (("small", "every job"), ("whole", "a job that trains or measures")):
        command = [ROOT / "scripts" / "install.sh", what]
        way.do(f"{jobs}: pip ({what})", partial(subprocess.run, command, env=environ, check=True))


def table(steps: list[Step]) -> str:
    """The steps as a small table, with their sums."""
    total = Step("in all", sum(s.typed for s in steps), sum(s.clicked for s in steps))
    total.seconds = sum(step.seconds for step in steps)
    lines = [f"{'step':42}  typed  clicked  seconds"]
    lines += [f"{s.what:42}  {s.typed:5}  {s.clicked:7}  {s.seconds:7.1f}" for s in [*steps, total]]
    return "\n".join(lines)


def main() -> None:
    """Walk the way in FOLDER, or in a temporary one; print the table and the comment's first lines."""
    with ExitStack() as stack:
        asked = [word for word in sys.argv[1:] if word != "--install"]
        folder = asked[0] if asked else stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(serve(State(WHERE), {}))
        way = Way(Path(folder), server)
        prepare(way)
        comment = walk(way)
        if "--install" in sys.argv:
            install(way)
    print(table(way.steps))
    shown = [line for line in comment.splitlines() if line and not line.startswith("<!--")]
    print("\nthe comment begins:\n" + "\n".join(shown[:12]))


if __name__ == "__main__":
    main()
