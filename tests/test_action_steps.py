"""`action.yml`, executed as GitHub does it, with a stand-in for `ftgate` that notes what it is given."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_github import State, serve
from runner import Happening, JobRun, Runner, Unknown, events
from runner.commands import annotations, pairs
from runner.expressions import Strict, condition, evaluate, filled
from runner.jobs import machine

ROOT = Path(__file__).parents[1]
WHERE = "acme/tunes"
SHA = "c" * 40
STAND_IN = """#!/bin/bash
if [ "$2" = --needed ]; then
  printf 'measures=%s\\n' "${STAND_IN_MEASURES:-yes}" >> "$GITHUB_OUTPUT"
  exit "${STAND_IN_NEEDED:-0}"
fi
printf '%s\\n' "$@" > "$RUNNER_TEMP/arguments"
env -0 > "$RUNNER_TEMP/environment"
printf 'outcome=fail\\nrun-dir=%s\\nreport-path=r\\nverdict-path=v\\n' "$RUNNER_TEMP/x" >> "$GITHUB_OUTPUT"
echo "::error file=sft.yaml,line=3::lost"
exit ${STAND_IN_EXIT:-0}
"""
WORKFLOW = """
on: [pull_request, push]
permissions: {contents: read, pull-requests: write, checks: write}
jobs:
  one:
    runs-on: here
    timeout-minutes: 5
    outputs: {outcome: "${{ steps.gate.outputs.outcome }}", run-dir: "${{ steps.gate.outputs.run-dir }}"}
    steps:
      - id: gate
        uses: owner/ftgate@v1
        with: WITH
      - name: after
        if: ${{ !cancelled() }}
        run: echo "after"
"""
Act = Callable[..., JobRun]


@pytest.fixture
def act(tmp_path: Path) -> Iterator[Act]:
    """Run the action with inputs; `exit` is how the stand-in ends."""
    bins = tmp_path / "bin"
    bins.mkdir()
    (bins / "ftgate").write_text(STAND_IN)
    (bins / "ftgate").chmod(0o755)
    numbers = itertools.count(1)
    with serve(State(WHERE), {}) as server:

        def run(exit_code: int = 0, image: dict[str, str] | None = None, **inputs: str) -> JobRun:
            runner = Runner(
                root=tmp_path / "runs",
                origin=tmp_path / "origin",
                repository=WHERE,
                server=server,
                action_path=ROOT,
                action="owner/ftgate@v1",
                environ=machine({"STAND_IN_EXIT": str(exit_code), **(image or {})}, bins),
                prepared={} if "install" in inputs else {"install": "none"},
            )
            given = json.dumps({name.replace("_", "-"): value for name, value in inputs.items()})
            happening = events.pull_request(WHERE, 7, SHA, "b" * 40)
            return runner.run(WORKFLOW.replace("WITH", given), happening, run_id=next(numbers)).jobs["one"]

        yield run


def seen(job: JobRun) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment that the stand-in was given."""
    arguments = (job.temp / "arguments").read_text().splitlines()
    pairs = (job.temp / "environment").read_text().rstrip("\0").split("\0")
    return arguments, dict(pair.split("=", 1) for pair in pairs)


# ── The action ───────────────────────────────────────────────────────────────────────────────────


def test_defaults_reach_the_command(act: Act) -> None:
    """Without inputs: check everything, results outside the checkout, undecided is red, a token."""
    job = act()
    arguments, environ = seen(job)
    assert arguments == [
        "ci",
        "--mode=check",
        "--thresholds=thresholds.yaml",
        "--comment=always",
        f"--run-dir={job.temp}/ftgate-run",
        f"--handover={job.temp}/ftgate-handover",
        "--fail-on-undecided",
    ]
    assert environ["GITHUB_TOKEN"] == job.token
    assert (environ["PYTHONSAFEPATH"], environ["PYTHONNOUSERSITE"]) == ("1", "1")


def test_inputs_reach_the_command(act: Act) -> None:
    """Each input as its option; several globs as several options; a glob is never expanded or split."""
    job = act(
        thresholds="policies/t.yaml",
        configs="configs/*.yaml\n\nmore configs/**\n",
        comment="never",
        fail_on_undecided="false",
        run_dir="out/run",
        handover="out/hand",
        history="branch:ftgate-history",
        audit="true",
        train_timeout="90",
    )
    arguments, _ = seen(job)
    assert arguments[2:4] == ["--thresholds=policies/t.yaml", "--comment=never"]
    assert arguments[4:6] == ["--run-dir=out/run", "--handover=out/hand"]
    assert arguments[6:] == [
        "--no-fail-on-undecided",
        "--history=branch:ftgate-history",
        "--train-timeout=90",
        "--audit",
        "--configs=configs/*.yaml",
        "--configs=more configs/**",
    ]


@pytest.mark.parametrize(
    ("mode", "given"), [("check", True), ("publish", True), ("train", False), ("judge", False)]
)
def test_the_token_reaches_only_what_publishes(mode: str, given: bool, act: Act) -> None:
    """In the modes train and judge no variable of the command's environment holds the token."""
    job = act(mode=mode)
    arguments, environ = seen(job)
    assert f"--mode={mode}" in arguments
    assert (job.token in "".join(environ.values())) == given


@pytest.mark.parametrize(
    ("mode", "given"), [("check", True), ("judge", True), ("publish", False), ("train", False)]
)
def test_the_salt_reaches_only_what_measures(mode: str, given: bool, act: Act) -> None:
    """A job that trains alone must not have it; none of it stands on the command line."""
    arguments, environ = seen(act(mode=mode, salt="salt-of-ones-own"))
    assert ("salt-of-ones-own" in environ.values()) == given
    assert "salt-of-ones-own" not in "".join(arguments)


def test_a_token_of_ones_own(act: Act) -> None:
    """The input `token` replaces the job's, and a mode without a token gets that one as little."""
    assert seen(act(token="ghs_mine"))[1]["GITHUB_TOKEN"] == "ghs_mine"
    assert "ghs_mine" not in "".join(seen(act(token="ghs_mine", mode="judge"))[1].values())


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4])
def test_the_job_is_red_exactly_when_the_command_is_and_the_outputs_are_there(code: int, act: Act) -> None:
    """Every exit code but 0 fails the step; outputs are set, later steps can run, annotations are seen."""
    job = act(exit_code=code)
    assert job.result == ("failure" if code else "success")
    assert job.outputs == {"outcome": "fail", "run-dir": f"{job.temp}/x"}
    assert job.step("after").log == "after\n"
    assert [note.message for note in job.steps[0].annotations] == ["lost"]


@pytest.mark.parametrize(
    "name", ["thresholds", "configs", "comment", "mode", "run_dir", "handover", "history", "train_timeout"]
)
def test_no_input_is_run_as_a_script(name: str, act: Act, tmp_path: Path) -> None:
    """Quotes, backticks and `$()` in an input arrive at the command as they are."""
    value = f"$(touch {tmp_path}/1)`touch {tmp_path}/2`\"; touch {tmp_path}/3; '"
    arguments, _ = seen(act(**{name: value}))
    assert f"--{name.replace('_', '-')}={value}" in arguments
    assert not [path for path in tmp_path.iterdir() if path.name in "123"]


def test_an_unknown_input_is_a_mistake(act: Act) -> None:
    """The double holds workflows to the inputs that the action declares."""
    with pytest.raises(Unknown, match="confg"):
        act(confg="x")


# ── Installing ───────────────────────────────────────────────────────────────────────────────────

PYTHON = """#!/bin/bash
printf '%s\\n' "$*" >> "$HOME/python.log"
if [ "$2 $3" = "-m venv" ]; then
  mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && cp "$(command -v ftgate)" "$4/bin/ftgate"
fi
"""


@pytest.fixture
def installed(act: Act, tmp_path: Path) -> Callable[..., tuple[JobRun, list[str]]]:
    """The action with `install: pip` and a stand-in for Python: the job, and what that Python was asked."""
    bins = tmp_path / "python"
    bins.mkdir()
    (bins / "python3").write_text(PYTHON)
    (bins / "python3").chmod(0o755)
    path = os.pathsep.join([str(bins), str(tmp_path / "bin"), "/usr/bin", "/bin"])

    def run(image: dict[str, str] | None = None, **inputs: str) -> tuple[JobRun, list[str]]:
        job = act(install="pip", image={"PATH": path, **(image or {})}, **inputs)
        calls = (job.home / "python.log").read_text().splitlines()
        assert all(call.startswith("-I ") for call in calls)
        return job, [call.partition(" --constraint ")[2] for call in calls if " pip " in call]

    return run


SMALL = [f"{ROOT}/constraints.txt --requirement {ROOT}/scripts/small.txt"]
SMALL += [f"{ROOT}/constraints.txt --no-deps {ROOT}"]


def test_pip_installs_the_actions_own_commit_without_looking_at_the_checkout(
    installed: Callable[..., tuple[JobRun, list[str]]],
) -> None:
    """Every Python runs isolated (-I); the package is the action's own folder, extras are separate words."""
    job, asked = installed(extras="wandb\n deepspeed==0.17\n")
    assert job.result == "success"
    assert asked == [*SMALL, f"{ROOT}/constraints.txt {ROOT} wandb deepspeed==0.17"]
    assert seen(job)[0][0] == "ci"


@pytest.mark.parametrize(
    ("image", "inputs", "whole"),
    [
        ({}, {}, True),
        ({"STAND_IN_MEASURES": "no"}, {}, False),
        ({"STAND_IN_MEASURES": "no"}, {"mode": "judge"}, False),
        ({}, {"mode": "publish"}, False),
        ({"STAND_IN_MEASURES": "", "STAND_IN_NEEDED": "2"}, {}, True),
    ],
)
def test_what_trains_is_installed_only_where_something_is_to_be_trained(
    image: dict[str, str],
    inputs: dict[str, str],
    whole: bool,
    installed: Callable[..., tuple[JobRun, list[str]]],
) -> None:
    """Where nothing changed, and to publish, a few small packages; in doubt, all. The command runs anyhow."""
    job, asked = installed(image, **inputs)
    assert job.result == "success"
    assert asked == [*SMALL, *([f"{ROOT}/constraints.txt {ROOT}"] if whole else [])]
    assert f"--mode={inputs.get('mode', 'check')}" in seen(job)[0]


def test_a_job_installs_once(tmp_path: Path) -> None:
    """What an earlier step installed is left; the whole comes after the small, not in its stead."""
    (tmp_path / "ftgate").write_text(STAND_IN)
    (tmp_path / "python3").write_text(PYTHON)
    for name in ("ftgate", "python3"):
        (tmp_path / name).chmod(0o755)
    environ = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "FTGATE_PYTHON": str(tmp_path / "python3"),
        "FTGATE_VENV": str(tmp_path / "venv"),
        "FTGATE_EXTRAS": "",
    }
    counts = []
    for what in ("small", "small", "whole", "whole", "small"):
        subprocess.run([ROOT / "scripts/install.sh", what], env=environ, check=True)
        counts.append((tmp_path / "python.log").read_text().count(" pip "))
    assert counts == [2, 2, 3, 3, 3]


def test_a_planted_module_is_not_imported(tmp_path: Path) -> None:
    """The real check of the Python, in a folder with a `venv.py` of the pull request's, runs none of it."""
    for name in ("venv", "ensurepip", "sitecustomize", "gate"):
        (tmp_path / f"{name}.py").write_text("open('planted', 'w').close()\n")
    done = subprocess.run([ROOT / "scripts/check-python.sh", sys.executable], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "planted").exists()


def test_the_installed_command_does_not_import_from_where_it_stands(tmp_path: Path) -> None:
    """`ftgate` in a folder with modules of the pull request's imports its own."""
    for name in ("gate", "click", "checks", "sitecustomize", "json"):
        (tmp_path / f"{name}.py").write_text("open('planted', 'w').close()\n")
    command = Path(sys.executable).with_name("ftgate")
    environ = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run([command, "--help"], cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "planted").exists()


TURNS = """
on: [pull_request]
permissions: {}
jobs:
  one:
    runs-on: here
    timeout-minutes: 5
    concurrency: {group: "turns-${{ github.event.pull_request.number }}", cancel-in-progress: false}
    steps:
      - run: 'touch "$HOME/begun-$GITHUB_RUN_ID"; until [ -e "$HOME/go" ]; do sleep 0.02; done'
  always:
    needs: one
    if: always()
    runs-on: here
    timeout-minutes: 5
    steps: [{run: "true"}]
  unless:
    needs: one
    if: ${{ !cancelled() }}
    runs-on: here
    timeout-minutes: 5
    steps: [{run: "true"}]
"""


# ── The double itself ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("github.event.x.y || 'none'", "none"),
        ("github.name == 'ACME' && 'same' || 'other'", "same"),
        ("!github.event.x", True),
        ("format('{0}/{1}', github.name, 3)", "acme/3"),
        ("contains(fromJSON('[\"a\", \"b\"]'), 'B')", True),
        ("'it''s'", "it's"),
        ("github.event.x != ''", False),
        ("(true || false) && 1", 1),
    ],
)
def test_expressions_are_githubs(source: str, value: Any) -> None:
    """Strings whatever their case, a missing property is nothing, `&&` and `||` give a value."""
    assert evaluate(source, {"github": Strict(name="acme", event={})}) == value


@pytest.mark.parametrize(
    "source", ["hashFiles('x')", "githab.x", "github.nmae", "1 <", "github.name == 3", "'a", "true true"]
)
def test_what_the_double_does_not_know_it_refuses(source: str) -> None:
    """An unknown function, context, property or comparison is an error, never an empty string."""
    with pytest.raises(Unknown):
        evaluate(source, {"github": Strict(name="acme", event={})})


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    last = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.01)


def test_jobs_of_a_group_take_turns_and_can_be_cancelled(tmp_path: Path) -> None:
    """As GitHub: one runs, the newest alone waits; a job that always runs is not cancelled with its run."""
    home = tmp_path / "home"
    home.mkdir()
    with serve(State(WHERE), {}) as server:
        runner = Runner(
            root=tmp_path / "runs",
            origin=tmp_path / "origin",
            repository=WHERE,
            server=server,
            action_path=ROOT,
            action="owner/ftgate@v1",
            environ=machine({}),
            homes={"one": home},
        )

        def start(number: int) -> threading.Thread:
            happening = events.pull_request(WHERE, 7, SHA, "b" * 40)
            thread = threading.Thread(target=lambda: runner.run(TURNS, happening, run_id=number))
            thread.start()
            return thread

        threads = [start(1)]
        try:
            until((home / "begun-1").exists)
            threads.append(start(2))
            until(lambda: "turns-7" in runner.waiting)
            threads.append(start(3))
            threads[1].join(20)
            server.state.start_run(3, "cancelled")
        finally:
            (home / "go").touch()
            for thread in threads:
                thread.join(20)
    assert not (home / "begun-2").exists()
    results = {
        number: {name: job.result for name, job in run.jobs.items()} for number, run in runner.runs.items()
    }
    assert results == {
        1: {"one": "success", "always": "success", "unless": "success"},
        2: {"one": "cancelled", "always": "success", "unless": "success"},
        3: {"one": "cancelled", "always": "success", "unless": "skipped"},
    }


def test_conditions_ask_for_success_unless_they_say_otherwise() -> None:
    """As GitHub: `if: x` is `success() && x`; `always()` and `!cancelled()` stand alone."""
    functions = {
        "success": lambda: False,
        "always": lambda: True,
        "cancelled": lambda: False,
        "failure": lambda: True,
    }
    assert not condition("true", {}, functions)
    assert not condition(None, {}, functions)
    assert condition("always()", {}, functions)
    assert condition("${{ !cancelled() }}", {}, functions)
    assert filled("a ${{ 1 }} b", {}) == "a 1 b"


def test_commands_and_files_are_read_as_github_does(tmp_path: Path) -> None:
    """Nothing counts between `::stop-commands::` and its end; heredocs need their delimiter."""
    log = "::warning::a\n::stop-commands::x7\n::error::no\n::x7::\n::error file=f,line=2::b%0Ac\n"
    assert [(note.level, note.message) for note in annotations(log)] == [("warning", "a"), ("error", "b\nc")]
    path = tmp_path / "output"
    path.write_text("a=1=2\nb<<E\nx\ny\nE\n")
    assert pairs(path) == {"a": "1=2", "b": "x\ny"}
    path.write_text("b<<E\nx\n")
    with pytest.raises(ValueError, match="delimiter"):
        pairs(path)


def test_happenings_are_what_ftgate_reads() -> None:
    """A payload of each kind has what GitHub's has, as far as the double knows: a name and a repository."""
    head, base = "1" * 40, "2" * 40
    pull: Happening = events.pull_request(WHERE, 7, head, base, head_repository="fork/tunes")
    run = events.workflow_run(WHERE, pull, 5, base)
    assert pull.fork
    assert run.payload["workflow_run"]["pull_requests"] == []
    assert run.payload["workflow_run"]["head_sha"] == head
    assert events.merge_group(WHERE, 7, head, base).payload["merge_group"]["head_sha"] == head
