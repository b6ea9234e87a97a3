"""What a run was made with: versions, device, machine. For provenance and for the store's keys.

Versions come from `importlib.metadata`, without importing what they are of; torch is imported
only where the device is asked for.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from gate import __version__
from gate.errors import UsageError
from gate.records import Policy, Provenance
from gate.records.rates import FlipRate

# What can change a weight or a score.
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "lm-eval",
    "tokenizers",
    "safetensors",
    "jinja2",
    "numpy",
    "scipy",
)


@dataclass(frozen=True, slots=True)
class Device:
    """Where models run. `kind` is `cpu`, `cuda` or `mps`; `name` is the hardware's own."""

    kind: str
    name: str
    memory_bytes: int | None = None
    count: int = 1

    def __str__(self) -> str:
        return f"{self.kind} ({self.name})"


@dataclass(frozen=True, slots=True)
class Environment:
    """`environment.json`: what one run was made with."""

    ftgate: str
    python: str
    platform: str
    device: Device
    cpus: int
    versions: Mapping[str, str]


def installed_versions(
    packages: Iterable[str] = PACKAGES, version: Callable[[str], str] = metadata.version
) -> dict[str, str]:
    """The installed packages' versions, with Python's; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe_platform() -> str:
    """Operating system and processor, e.g. `Linux-6.1-x86_64 AMD EPYC 9454`."""
    system = f"{platform.system()}-{platform.release()}-{platform.machine()}"
    return f"{system} {processor_name()}"


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def usable_cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_device(wanted: str = "auto") -> Device:
    """The device that `wanted` (`auto`, `cpu`, `cuda`, `cuda:1`, `mps`) means here; imports torch.

    Raises `UsageError` where there is none.
    """
    if wanted == "cpu":
        return Device("cpu", processor_name())
    import torch

    kind, _, index = wanted.partition(":")
    if index and not index.isdigit():
        kind = "unknown"
    if kind in ("auto", "cuda") and torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count():
        properties = torch.cuda.get_device_properties(int(index or 0))
        return Device("cuda", properties.name, properties.total_memory, torch.cuda.device_count())
    if kind in ("auto", "mps") and torch.backends.mps.is_available():
        return Device("mps", processor_name())
    if kind == "auto":
        return Device("cpu", processor_name())
    raise UsageError(
        f"there is no device {wanted} on this machine",
        hint="set evaluation: {device: auto} in the policy; `ftgate doctor` shows what there is",
    )


def describe_environment(device: Device) -> Environment:
    """What this process runs with, for the run folder."""
    return Environment(
        ftgate=__version__,
        python=sys.version.split()[0],
        platform=describe_platform(),
        device=device,
        cpus=usable_cpus(),
        versions=installed_versions(),
    )


def provenance(
    policy: Policy,
    *,
    device: str,
    dtype: str,
    scorer: str,
    quantization: str,
    batch_size: int,
    salt: bytes,
    created: str,
    warnings: Iterable[str] = (),
    order_digest: str = "",
    flip_rates: tuple[FlipRate, ...] = (),
    scorer_reason: str = "",
    salt_made: bool = False,
) -> Provenance:
    """Where, when and with what a verdict is made. The salt is secret: its digest alone is told, and whether
    this run made it."""
    return Provenance(
        ftgate=__version__,
        created=created,
        policy_path=policy.path,
        policy_digest=policy.digest,
        device=device,
        dtype=dtype,
        scorer=scorer,
        quantization=quantization,
        batch_size=batch_size,
        salt_digest="sha256:" + hashlib.sha256(salt).hexdigest(),
        versions=installed_versions(),
        platform=describe_platform(),
        warnings=tuple(warnings),
        order_digest=order_digest,
        flip_rates=flip_rates,
        scorer_reason=scorer_reason,
        salt_made=salt_made,
    )
