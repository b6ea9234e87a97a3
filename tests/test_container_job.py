"""`ftgate init --github --container`: what the training's container has around it, and what it has not.

The workflow runs on the simulated GitHub, with a stand-in for `ftgate` that notes what it sees.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_github import State, serve
from runner import JobRun, Run, Runner, Unknown, events
from runner.container import read_container
from runner.jobs import machine

from gate.workflows import Wishes, workflow_files
from gate.workflows.container import DEVICES, OPTIONS, job_lines

ROOT = Path(__file__).parents[1]
WHERE, ACTION = "acme/tunes", f"owner/ftgate@{'a' * 40}"
IMAGE = f"python:3.12@sha256:{'0' * 64}"
OWN = {"runs_on": ("gpu",), "judge_on": ("clean",)}
STAND_IN = """#!/bin/bash
env -0 > "$RUNNER_TEMP/environment"
"""
Play = Callable[..., Run]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """Run the two jobs' workflow for a pull request; `train` has a machine that lives on."""
    clone, bins = tmp_path / "clone", tmp_path / "bin"
    for folder in (clone, bins):
        folder.mkdir()
    (bins / "ftgate").write_text(STAND_IN)
    (bins / "ftgate").chmod(0o755)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q", "-b", "main"], [*who, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", clone, *words], check=True)
    said = subprocess.run(
        ["git", "-C", clone, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    )
    head = said.stdout.strip()
    with serve(State(WHERE), {}) as server:

        def run(**changed: Any) -> Run:
            runner = Runner(
                root=tmp_path / "runs",
                origin=clone,
                repository=WHERE,
                server=server,
                action_path=ROOT,
                action=ACTION,
                environ=machine({"AWS_SECRET_ACCESS_KEY": "of the machine"}, bins),
                homes={"train": tmp_path / "home-of-the-runner"},
                images={IMAGE: machine({"OF": "the image"}, bins)},
            )
            wishes = Wishes(**{"action": ACTION, "form": "two-jobs", **OWN, **changed})
            (file,) = workflow_files(wishes)
            return runner.run(file.text, events.pull_request(WHERE, 7, head, head), run_id=1)

        yield run


def seen(job: JobRun) -> dict[str, str]:
    """The environment that `ftgate` had in a job."""
    pairs = (job.temp / "environment").read_text().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


def test_the_training_sees_nothing_of_the_machines(play: Play, tmp_path: Path) -> None:
    """Home, and with it store and caches, and variables are the container's; the judge has the machine's."""
    run = play(container=IMAGE)
    inside, outside = seen(run.jobs["train"]), seen(run.jobs["judge"])
    assert (inside["OF"], inside["LOGNAME"]) == ("the image", "ftgate")
    assert "AWS_SECRET_ACCESS_KEY" not in inside
    assert outside["AWS_SECRET_ACCESS_KEY"] == "of the machine"
    assert inside["HOME"] != str(tmp_path / "home-of-the-runner")
    assert not [value for value in inside.values() if run.jobs["train"].token in value]
    assert run.jobs["judge"].container is None
    assert run.jobs["look"].container is None


def test_without_a_container_the_training_sees_the_machines(play: Play, tmp_path: Path) -> None:
    """The same workflow in no container: it is the container that takes them away."""
    inside = seen(play().jobs["train"])
    assert inside["HOME"] == str(tmp_path / "home-of-the-runner")
    assert inside["AWS_SECRET_ACCESS_KEY"] == "of the machine"


def test_dockers_socket_does_not_open(play: Play) -> None:
    """GitHub's runner mounts it into every job's container; whoever opens it is root on the machine."""
    container = play(container=IMAGE).jobs["train"].container
    assert container is not None
    assert not container.opens_socket
    assert container.options["--gpus"] == "all"


@pytest.mark.parametrize(
    "taken", ["--user 1001:65534", "--cap-drop ALL", "--security-opt no-new-privileges", ":65534", None]
)
def test_weakened_dockers_socket_opens(taken: str | None) -> None:
    """Each of the options is needed, and with none at all, as most write a container, it is open."""
    assert not read_container({"image": IMAGE, "options": OPTIONS}).opens_socket
    assert taken is None or taken in OPTIONS
    left = OPTIONS.replace(taken, "") if taken else ""
    assert read_container({"image": IMAGE, "options": left}).opens_socket


@pytest.mark.parametrize(
    "written",
    [
        {"image": IMAGE, "volumes": ["/:/host"]},
        {"image": IMAGE, "options": "--privileged --user 1:1"},
        {"image": IMAGE, "options": "--user 1:1 --user 0:0"},
        {"image": IMAGE, "options": "--user"},
        {"image": IMAGE, "credentials": {"password": "x"}},
    ],
)
def test_the_double_refuses_what_it_does_not_know(written: dict[str, Any]) -> None:
    """A key or an option that would change what the container closes is an error, never passed over."""
    with pytest.raises(Unknown):
        read_container(written)


def test_devices_are_handed_in_where_they_are() -> None:
    """`--gpus all` on a machine of one's own alone: on GitHub's own Docker would not start."""
    assert DEVICES in job_lines(IMAGE, devices=True)
    assert "gpus" not in job_lines(IMAGE, devices=False)
