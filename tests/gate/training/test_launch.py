"""What a child is given, and how it is ended."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.errors import Interrupted, TrainingError
from gate.records import TrainingConfig
from gate.training.launch import alone, child_environment, ending_signals, launcher_arguments, run_child

SECRET = {
    "HF_TOKEN": "t",
    "GITHUB_TOKEN": "t",
    "AWS_SECRET_ACCESS_KEY": "t",
    "WANDB_API_KEY": "t",
    "CUDA_TOKEN": "t",
    "NCCL_PASSWORD": "t",
    "PYTHONPATH": "elsewhere",
}


def test_a_child_gets_no_secret_unless_it_is_named() -> None:
    """Names on the list pass; secrets do not, whatever their prefix, unless trust.env names them."""
    given = {
        **SECRET,
        "PATH": "/bin",
        "OMP_NUM_THREADS": "2",
        "TOKENIZERS_PARALLELISM": "true",
        "LC_ALL": "C",
    }
    environment = child_environment(given)
    assert not set(SECRET) & set(environment)
    assert {"PATH", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "LC_ALL"} <= set(environment)
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert child_environment(given, ["WANDB_API_KEY"])["WANDB_API_KEY"] == "t"


def test_a_single_process_sees_a_single_gpu() -> None:
    """One process gets the first visible GPU; several share what there is."""
    assert child_environment({})["CUDA_VISIBLE_DEVICES"] == "0"
    assert child_environment({"CUDA_VISIBLE_DEVICES": "3,1"})["CUDA_VISIBLE_DEVICES"] == "3"
    assert child_environment({"CUDA_VISIBLE_DEVICES": "3,1"}, processes=2)["CUDA_VISIBLE_DEVICES"] == "3,1"


def test_what_the_config_asks_of_accelerate_is_handed_on(make_config: Callable[..., TrainingConfig]) -> None:
    """Launch keys go to accelerate's launcher; the number of processes alone needs none."""
    assert launcher_arguments(make_config(num_processes=2)) == ()
    asked = launcher_arguments(make_config(mixed_precision="bf16"))
    assert asked == ("--mixed_precision", "bf16", "--num_processes", "1")


def run(code: str, folder: Path, **more: float) -> tuple[int, str]:
    """Run Python code as the child; its exit status and what it wrote."""
    ended = run_child(
        [sys.executable, "-c", code],
        environ=child_environment({**os.environ, **SECRET}),
        events=folder / "events.jsonl",
        log=folder / "train.log",
        tell=lambda event: None,
        **more,
    )
    return ended.status, ended.log


def test_a_child_runs_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty standard input, our working folder, its own process group, no secret, output to the log alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.log").write_text("an earlier try\n")
    code = (
        "import os, sys; print(repr(sys.stdin.read()), os.getcwd(), os.getpgrp() == os.getpid(), *os.environ)"
    )
    status, log = run(code, tmp_path)
    words = log.split()
    assert (status, words[:3]) == (0, ["''", str(tmp_path), "True"])
    assert not set(SECRET) & set(words[3:])
    assert (tmp_path / "train.log").read_text().startswith("an earlier try\n''")


def test_a_child_that_outlives_its_limit_is_killed_with_its_children(tmp_path: Path) -> None:
    """The whole process group goes, grandchildren too."""
    code = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)\n"
        "time.sleep(60)"
    )
    status, log = run(code, tmp_path, kill_after=1.0)
    assert status == -signal.SIGKILL
    assert gone(int(log))


def children() -> set[str]:
    """The processes that this one has; some are other tests', which run in the same process."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_parent_and_child(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM raise Interrupted, and no process is left."""
    code = f"import os, time; os.kill({os.getpid()}, {int(number)}); time.sleep(60)"
    before, others = signal.getsignal(number), children()
    with pytest.raises(Interrupted, match=number.name), ending_signals():
        run(code, tmp_path)
    assert signal.getsignal(number) is before
    assert not children() - others


def test_a_child_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    """Kill -9 of the parent leaves no training that goes on writing, and no config with its tokens."""
    copy = tmp_path / "alone" / "config.yaml"
    copy.parent.mkdir()
    copy.write_text("hub_token: hf_x")
    child = (
        "from gate.training.child import end_with_parent; import os, pathlib, time\n"
        "from gate.training.job import forget_config\n"
        f"end_with_parent(lambda: forget_config(pathlib.Path({str(copy)!r})))\n"
        "print(os.getpid(), flush=True); time.sleep(60)"
    )
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert copy.exists()
        parent.kill()
    assert gone(pid)
    assert not copy.parent.exists()


def test_one_training_at_a_time(tmp_path: Path) -> None:
    """A second parent waits for the first; a child that is left over is waited for, then told."""
    waits = []
    with (tmp_path / "parent.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def waiting() -> None:
            waits.append(1)
            fcntl.flock(other, fcntl.LOCK_UN)

        with alone(tmp_path, waiting=waiting):
            assert waits == [1]
    with (tmp_path / "child.lock").open("w") as orphan:
        fcntl.flock(orphan, fcntl.LOCK_SH)
        with pytest.raises(TrainingError, match="left over"), alone(tmp_path, waiting=waiting, patience=0.2):
            raise AssertionError


def gone(pid: int, patience: float = 10.0) -> bool:
    """Whether a process is gone, or a zombie that nobody has waited for, before the patience ends."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False
