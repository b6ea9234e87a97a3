"""`ftgate doctor`: what is installed, which device, what would not work and how to mend it.

Every look at the machine is a function of `Machine`, so that a test hands in a sick one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from gate import __version__
from gate.environment import Device, find_device, usable_cpus
from gate.errors import INFRASTRUCTURE, PASS, GateError
from gate.sealed import write_whole
from gate.store import store_root

State = Literal["good", "note", "bad"]
DISTRIBUTION = "finetune-gate"
GIB = 1024**3
_LITTLE_DISK, _LITTLE_MEMORY = 5 * GIB, 4 * GIB
# What `load_in_4bit` does first: a native library is loaded and may end the process, hence a child.
_TRY_4BIT = """
import torch, bitsandbytes.functional as F
x = torch.randn(64, 64, device="cuda" if torch.cuda.is_available() else "cpu")
q, state = F.quantize_4bit(x, quant_type="nf4")
assert (F.dequantize_4bit(q, state) - x).abs().mean() < 0.2
"""


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing looked at: `good`, `note` (works, but know it), or `bad` with how to mend it."""

    area: str
    what: str
    state: State
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All symptoms. `exit_code` is 0 unless something is bad."""

    symptoms: tuple[Symptom, ...]

    @property
    def exit_code(self) -> int:
        return INFRASTRUCTURE if any(each.state == "bad" for each in self.symptoms) else PASS

    @property
    def text(self) -> str:
        """Plain text for a terminal or a bug report."""
        return render(self.symptoms)


def _requirements() -> Sequence[str] | None:
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None


def _try_4bit() -> str:
    """ "" where bitsandbytes quantises, else the last line of what went wrong."""
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", _TRY_4BIT], capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = child.stderr.strip().splitlines() or [f"the process ended with {child.returncode}"]
    return "" if child.returncode == 0 else said[-1]


def _memory_bytes() -> int:
    """Memory that this process may still take: the machine's, or its control group's if less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, int(limit) - used) if limit.isdigit() else free


@dataclass(frozen=True, slots=True)
class Machine:
    """The looks at the machine that `examine` takes."""

    requirements: Callable[[], Sequence[str] | None] = _requirements
    version: Callable[[str], str] = metadata.version
    device: Callable[[], Device] = find_device
    nvidia: Callable[[], bool] = lambda: Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    try_4bit: Callable[[], str] = _try_4bit
    memory_bytes: Callable[[], int] = _memory_bytes
    disk_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    python: tuple[int, int] = sys.version_info[:2]


def examine(environ: Mapping[str, str], machine: Machine | None = None) -> Diagnosis:
    """Look at everything that a check needs; changes nothing but the cache folder, which it makes."""
    machine = machine or Machine()
    return Diagnosis(
        (
            *_python(machine),
            *_packages(machine),
            *_device(machine),
            *_quantization(machine),
            *_room(environ, machine),
            *_hub(environ),
        )
    )


def render(symptoms: Iterable[Symptom]) -> str:
    """Lines grouped by area; below what is not good stands how to mend it."""
    signs = {"good": "ok  ", "note": "note", "bad": "BAD "}
    lines: list[str] = []
    area = ""
    for each in symptoms:
        if each.area != area:
            lines += ([""] if lines else []) + [each.area]
            area = each.area
        lines.append(f"  {signs[each.state]}  {each.what}")
        if each.mend:
            lines.append(f"        {'to mend it: ' if each.state == 'bad' else ''}{each.mend}")
    return "\n".join(lines)


def _python(machine: Machine) -> Iterator[Symptom]:
    found = ".".join(map(str, machine.python))
    if machine.python >= (3, 11):
        yield Symptom("ftgate", f"ftgate {__version__}, Python {found}", "good")
    else:
        yield Symptom("ftgate", f"Python {found}", "bad", "ftgate needs Python 3.11 or newer")


def _packages(machine: Machine) -> Iterator[Symptom]:
    from packaging.requirements import InvalidRequirement, Requirement

    texts = machine.requirements()
    if texts is None:
        mend = f"pip install {DISTRIBUTION}, or in a clone: pip install -e ."
        yield Symptom(
            "packages", f"{DISTRIBUTION} is not installed, so its ranges are not known", "note", mend
        )
        return
    for text in texts:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            mend = f"reinstall {DISTRIBUTION}"
            yield Symptom("packages", f"unreadable requirement {text!r}", "bad", mend)
            continue
        extra = _extra_of(text)
        if extra != "dev" and (wanted.marker is None or wanted.marker.evaluate({"extra": extra})):
            yield _package(wanted.name, wanted.specifier, extra, machine)


def _extra_of(requirement: str) -> str:
    match = re.search(r"""extra\s*==\s*["']([^"']+)["']""", requirement)
    return match[1] if match else ""


def _package(name: str, wanted: object, extra: str, machine: Machine) -> Symptom:
    from packaging.specifiers import SpecifierSet

    assert isinstance(wanted, SpecifierSet)
    install = f'pip install "{name}{wanted}"'
    try:
        version = machine.version(name)
    except metadata.PackageNotFoundError:
        if extra:
            what = f"{name} is not installed (extra {extra})"
            return Symptom("packages", what, "note", f'pip install "{DISTRIBUTION}[{extra}]"')
        return Symptom("packages", f"{name} is not installed", "bad", install)
    if wanted.contains(version, prereleases=True):
        return Symptom("packages", f"{name} {version}", "good")
    return Symptom("packages", f"{name} {version} is outside {wanted}", "bad", install)


def _device(machine: Machine) -> Iterator[Symptom]:
    try:
        device = machine.device()
    except (ImportError, OSError, RuntimeError, GateError) as error:
        mend = "pip install --force-reinstall torch"
        yield Symptom("device", f"torch does not work: {_first_line(error)}", "bad", mend)
        return
    if device.kind == "cpu":
        yield Symptom("device", f"cpu: {device.name}, {usable_cpus()} usable", "good")
        if machine.nvidia():
            mend = "install a CUDA build of torch (https://pytorch.org/get-started) and a driver that fits it"
            yield Symptom("device", "there is an NVIDIA GPU, but this torch cannot use it", "bad", mend)
    else:
        memory = f", {device.memory_bytes / GIB:.0f} GiB" if device.memory_bytes else ""
        yield Symptom("device", f"{device.count} x {device.kind}: {device.name}{memory}", "good")


def _quantization(machine: Machine) -> Iterator[Symptom]:
    try:
        version = machine.version("bitsandbytes")
    except metadata.PackageNotFoundError:
        mend = "load_in_4bit needs: pip install bitsandbytes"
        yield Symptom("QLoRA", "bitsandbytes is not installed", "note", mend)
        return
    trouble = machine.try_4bit()
    if trouble:
        mend = "pip install --upgrade bitsandbytes, to fit torch and its CUDA; only QLoRA needs it"
        yield Symptom("QLoRA", f"bitsandbytes {version} does not quantise here: {trouble}", "bad", mend)
    else:
        yield Symptom("QLoRA", f"bitsandbytes {version} quantises to 4 bits here", "good")


def _room(environ: Mapping[str, str], machine: Machine) -> Iterator[Symptom]:
    root = store_root(environ)
    probe = root / f".doctor-{os.getpid()}"
    try:
        write_whole(probe, b"ftgate")
        probe.unlink(missing_ok=True)
        yield Symptom("room", f"the store {root} can be written", "good")
    except GateError as error:
        mend = error.hint or "set FTGATE_CACHE to a folder that can be written"
        yield Symptom("room", error.message.replace(str(probe), f"to the store {root}"), "bad", mend)
    place = next((folder for folder in (root, *root.parents) if folder.is_dir()), Path("/"))
    yield _amount("disk", machine.disk_bytes(place), _LITTLE_DISK, "a 1B model takes 2 GiB in the store")
    yield _amount("memory", machine.memory_bytes(), _LITTLE_MEMORY, "a 1B model takes 4 GiB in fp32")


def _amount(name: str, free: int, little: int, why: str) -> Symptom:
    what = f"{free / GIB:.1f} GiB of {name} free"
    return Symptom("room", what, "good") if free >= little else Symptom("room", what, "note", why)


def _hub(environ: Mapping[str, str]) -> Iterator[Symptom]:
    if has_hub_token(environ):
        yield Symptom("hub", "a Hugging Face token is present", "good")
    else:
        mend = "only gated or private models and data need one: hf auth login, or set HF_TOKEN"
        yield Symptom("hub", "no Hugging Face token", "note", mend)
    switches = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    offline = [name for name in switches if environ.get(name) not in (None, "", "0")]
    if offline:
        mend = "models and data must lie on this disk already"
        yield Symptom("hub", f"offline by {', '.join(offline)}", "note", mend)


def has_hub_token(environ: Mapping[str, str]) -> bool:
    """Whether huggingface_hub would find a token; the token itself is not kept or returned."""
    if any(environ.get(name, "").strip() for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")):
        return True
    home = environ.get("HOME") or str(Path.home())
    cache = environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    folder = environ.get("HF_HOME") or f"{cache}/huggingface"
    try:
        return bool(Path(environ.get("HF_TOKEN_PATH") or f"{folder}/token").expanduser().read_text().strip())
    except (OSError, ValueError):
        return False


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
