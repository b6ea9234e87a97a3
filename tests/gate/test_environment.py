"""What a run was made with: versions without imports, the device, provenance without secrets."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from packaging.version import Version

from gate import __version__
from gate.environment import (
    Device,
    describe_environment,
    describe_platform,
    find_device,
    installed_versions,
    processor_name,
    provenance,
    usable_cpus,
)
from gate.errors import UsageError
from gate.records import Policy
from gate.sealed import from_json, to_json


def test_versions_are_those_of_the_packages() -> None:
    """Installed packages give their version, absent ones nothing; Python is always among them."""
    found = installed_versions(("numpy", "no-such-package-of-anyone"))
    assert found == {"python": sys.version.split()[0], "numpy": metadata.version("numpy")}
    import torch

    # The package may leave out what torch says of its build, as in 2.11.0+cu130.
    assert Version(installed_versions()["torch"]).public == Version(torch.__version__).public


def test_versions_cost_no_import() -> None:
    """Neither torch nor transformers is imported to tell its version, nor for a CPU device."""
    code = """
import sys
from gate.environment import describe_environment, find_device
environment = describe_environment(find_device("cpu"))
print(environment.versions["torch"] != "", {"torch", "transformers", "numpy"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True set()"


def test_the_processor_has_its_own_name(tmp_path: Path) -> None:
    """The first model name of /proc/cpuinfo; without the file, the architecture."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name\t: AMD EPYC: 9454\nmodel name\t: other\n")
    assert processor_name(cpuinfo) == "AMD EPYC: 9454"
    assert processor_name(tmp_path / "missing") != ""


def test_the_device_asked_for_is_found_or_refused() -> None:
    """`cpu` is always there; `auto` is what torch has; what is absent is a usage error with a hint."""
    import torch

    assert find_device("cpu") == Device("cpu", processor_name())
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert find_device().kind == expected
    for absent in ("cuda:99", "tpu"):
        with pytest.raises(UsageError, match=f"there is no device {absent}"):
            find_device(absent)


def test_the_environment_is_a_record() -> None:
    """It survives the way to the run folder and back."""
    environment = describe_environment(Device("cuda", "NVIDIA H100", 80 << 30, 2))
    assert from_json(to_json(environment), type(environment)) == environment
    assert environment.ftgate == __version__
    assert environment.cpus == usable_cpus() >= 1


def test_provenance_tells_the_salts_digest_and_not_the_salt() -> None:
    """The salt decides which documents are looked at first; who sees a verdict must not learn it."""
    salt = bytes(range(32))
    made = provenance(
        replace(Policy((), ()), path="thresholds.yaml", digest="sha256:1"),
        device=str(Device("cpu", "a processor")),
        dtype="float32",
        scorer="hf",
        quantization="none",
        batch_size=16,
        salt=salt,
        created="2026-11-24T12:00:00+00:00",
        warnings=["one"],
    )
    assert made.salt_digest == "sha256:" + hashlib.sha256(salt).hexdigest()
    assert salt.hex() not in to_json(made).decode()
    assert (made.device, made.policy_path) == ("cpu (a processor)", "thresholds.yaml")
    assert made.warnings == ("one",)
    assert made.platform == describe_platform()
