"""Starting, following and ending the child process of a training."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from gate.errors import Interrupted, TrainingError
from gate.records import TrainingConfig
from gate.training.job import Event, EventReader

ALLOWED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "HUGGINGFACE_HUB_CACHE"),
    *("XDG_CACHE_HOME", "TORCH_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"),
    *("TOKENIZERS_PARALLELISM", "BITSANDBYTES_NOWELCOME", "CUBLAS_WORKSPACE_CONFIG"),
)
ALLOWED_PREFIXES = (
    *("LC_", "CUDA_", "NVIDIA_", "NCCL_", "ROCR_", "HIP_", "PYTORCH_"),
    *("GLOO_", "OMP_", "MKL_", "KMP_", "OPENBLAS_"),
)
SECRETS = ("TOKEN", "SECRET", "KEY", "PASSWORD", "PASSWD", "CREDENTIAL")
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_TOKEN_PATH": os.devnull,  # the token that `hf auth login` left under HOME
    "PYTHONSAFEPATH": "1",  # -P for the launcher's own children: the working folder shadows nothing
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",
}
LAUNCH_KEYS = ("accelerate_config", "config_file", "mixed_precision", "gpu_ids")
CHILD_LOCK = "child.lock"
"""Each child holds it, shared, as long as it lives."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the child ended. `killed_by_us`: it outlived its time limit."""

    status: int  # negative: the signal that killed it
    events: tuple[Event, ...]
    log: str  # what it wrote this time
    seconds: float
    killed_by_us: bool = False


def child_environment(
    environ: Mapping[str, str], names: Sequence[str] = (), *, processes: int = 1
) -> dict[str, str]:
    """The child's environment: an allow-list, what the policy's `trust.env` names, and offline settings.

    A name that looks like a secret passes only if it is named. A single process sees a single GPU: with
    more, the trainer would spread the batch over them (nn.DataParallel), which is another recipe.
    """
    allowed = {
        name: value
        for name, value in environ.items()
        if name in names
        or (
            (name in ALLOWED or name.startswith(ALLOWED_PREFIXES))
            and not any(word in name.replace("TOKENIZERS", "") for word in SECRETS)
        )
    }
    if processes == 1:
        allowed["CUDA_VISIBLE_DEVICES"] = environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return {**allowed, **{name: value for name, value in OFFLINE.items() if name not in names}}


def child_command(job: Path) -> list[str]:
    """The command that trains the job in `job`."""
    return [sys.executable, "-P", "-m", "gate.training.child", str(job)]


def launcher_arguments(config: TrainingConfig) -> tuple[str, ...]:
    """What `trl sft` hands to `accelerate launch`; empty where the config asks nothing of it."""
    asked = [(key, config.settings[key]) for key in LAUNCH_KEYS if config.settings.get(key) is not None]
    if not asked:
        return ()
    asked.append(("num_processes", config.processes))
    return tuple(word for key, value in asked for word in (f"--{key}", str(value)))


def run_child(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    events: Path,
    log: Path,
    tell: Callable[[Event], None],
    kill_after: float | None = None,
) -> Ended:
    """Run the child in a process group of its own and follow it to its end.

    Its output goes to the end of `log`, its standard input is empty, its working folder is ours (relative
    data paths of the config start there). After `kill_after` seconds it is killed. Whatever is raised
    meanwhile (see `ending_signals`), the whole process group is gone before it is raised on.
    """
    events.unlink(missing_ok=True)
    seen, began = list[Event](), time.monotonic()
    reader = EventReader(events)

    def listen() -> None:
        for event in reader.new():
            seen.append(event)
            tell(event)

    with log.open("ab") as out:
        start = out.tell()
        process = _start(command, environ, out)
        try:
            killed = _wait(process, listen, kill_after)
        finally:
            _kill(process)
    seen += reader.new()
    return Ended(process.returncode, tuple(seen), _read_from(log, start), time.monotonic() - began, killed)


def _start(command: Sequence[str], environ: Mapping[str, str], out: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        env=dict(environ),
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[bytes], listen: Callable[[], None], kill_after: float | None) -> bool:
    """Wait for the end and listen meanwhile; whether the process had to be killed for its time."""
    began, killed = time.monotonic(), False
    while not _ended(process):
        listen()
        if kill_after is not None and time.monotonic() - began > kill_after:
            killed = True
            _kill(process)
    return killed


def _read_from(log: Path, start: int) -> str:
    with log.open("rb") as written:
        written.seek(start)
        return written.read().decode("utf-8", errors="replace")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group, and with it what a dead child may have left (data workers)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


@contextmanager
def ending_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP raise Interrupted meanwhile (in the main thread, which alone gets them)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(
            f"training was interrupted ({signal.Signals(number).name})",
            hint="run the same command again: it resumes from the last complete checkpoint",
        )

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def alone(folder: Path, *, waiting: Callable[[], None], patience: float = 30.0) -> Iterator[None]:
    """Train in a folder alone: wait for another parent, then for the last child of a killed one.

    Raises TrainingError if a child without a parent is not gone after `patience` seconds.
    """
    with (folder / "parent.lock").open("w") as mine:
        while not _lock(mine.fileno()):
            waiting()
            time.sleep(0.5)
        with (folder / CHILD_LOCK).open("w") as theirs:
            until = time.monotonic() + patience
            while not _lock(theirs.fileno()):
                if time.monotonic() > until:
                    raise TrainingError(
                        f"a training that was left over still writes to {folder}",
                        hint="end that process, then run the same command again",
                    )
                time.sleep(0.1)
        yield


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
