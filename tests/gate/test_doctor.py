"""`ftgate doctor` on machines that lack one thing each: it is named, with how to mend it."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from gate.doctor import Diagnosis, Machine, Symptom, examine, has_hub_token, render
from gate.environment import Device

VERSIONS = {"torch": "2.13.0", "bitsandbytes": "0.50.2", "trl": "1.16.0"}
GIB = 1024**3


def version(name: str) -> str:
    if name not in VERSIONS:
        raise metadata.PackageNotFoundError(name)
    return VERSIONS[name]


HEALTHY = Machine(
    requirements=lambda: [
        "torch>=2.6",
        "trl<2,>=1.0",
        'pytest; extra == "dev"',
        'colorama; sys_platform == "none"',
    ],
    version=version,
    device=lambda: Device("cuda", "NVIDIA H100", 80 * GIB),
    nvidia=lambda: True,
    try_4bit=lambda: "",
    memory_bytes=lambda: 32 * GIB,
    disk_bytes=lambda _: 100 * GIB,
    python=(3, 12),
)
SECRET = "hf_abcdefghijklmnop"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "FTGATE_CACHE": str(tmp_path / "cache"), "HF_TOKEN": SECRET}


def find(diagnosis: Diagnosis, words: str) -> Symptom:
    found = [each for each in diagnosis.symptoms if words in each.what]
    assert len(found) == 1, diagnosis.text
    return found[0]


def test_a_healthy_machine_is_all_good(environ: dict[str, str]) -> None:
    """Nothing to mend, exit code 0, and requirements of extras or other systems are not missed."""
    diagnosis = examine(environ, HEALTHY)
    assert {each.state for each in diagnosis.symptoms} == {"good"}, diagnosis.text
    assert diagnosis.exit_code == 0
    assert "1 x cuda: NVIDIA H100, 80 GiB" in diagnosis.text


def test_the_token_is_never_shown(environ: dict[str, str]) -> None:
    """Its presence is told, its value nowhere."""
    diagnosis = examine(environ, HEALTHY)
    assert find(diagnosis, "token is present").state == "good"
    assert SECRET not in diagnosis.text
    assert SECRET not in repr(diagnosis)


SICK = {
    "old python": ({"python": (3, 10)}, "Python 3.10", "bad", "3.11"),
    "missing package": (
        {"requirements": lambda: ["peft>=0.15"]},
        "peft is not installed",
        "bad",
        "pip install",
    ),
    "old package": (
        {"requirements": lambda: ["trl>=2"]},
        "trl 1.16.0 is outside >=2",
        "bad",
        'pip install "trl>=2"',
    ),
    "missing extra": (
        {"requirements": lambda: ['deepspeed>=0.1; extra == "gpu"']},
        "deepspeed is not installed (extra gpu)",
        "note",
        "finetune-gate[gpu]",
    ),
    "unreadable range": ({"requirements": lambda: ["=="]}, "unreadable requirement", "bad", "reinstall"),
    "not installed": (
        {"requirements": lambda: None},
        "finetune-gate is not installed",
        "note",
        "pip install",
    ),
    "cpu torch on a gpu machine": (
        {"device": lambda: Device("cpu", "a processor")},
        "this torch cannot use it",
        "bad",
        "CUDA build",
    ),
    "4 bits fail": (
        {"try_4bit": lambda: "ImportError: libcudart"},
        "does not quantise here: ImportError: libcudart",
        "bad",
        "pip install --upgrade bitsandbytes",
    ),
    "little disk": ({"disk_bytes": lambda _: GIB}, "1.0 GiB of disk free", "note", "GiB"),
    "little memory": ({"memory_bytes": lambda: GIB}, "1.0 GiB of memory free", "note", "fp32"),
}


@pytest.mark.parametrize(("change", "what", "state", "mend"), SICK.values(), ids=SICK)
def test_what_is_wrong_is_named_and_mended(
    environ: dict[str, str], change: dict, what: str, state: str, mend: str
) -> None:
    """Each fault alone gives its line, its weight, what helps, and the exit code that fits."""
    diagnosis = examine(environ, replace(HEALTHY, **change))
    symptom = find(diagnosis, what)
    assert (symptom.state, mend in symptom.mend) == (state, True), symptom
    assert [each for each in diagnosis.symptoms if each.state != "good"] == [symptom]
    assert diagnosis.exit_code == (3 if state == "bad" else 0)


def test_a_torch_that_does_not_load_is_told(environ: dict[str, str]) -> None:
    """A broken native library is one line, not a traceback."""

    def broken() -> Device:
        raise OSError("libtorch.so: cannot open shared object file\nmore")

    symptom = find(examine(environ, replace(HEALTHY, device=broken)), "torch does not work")
    assert symptom.what == "torch does not work: libtorch.so: cannot open shared object file"
    assert symptom.state == "bad"


def test_without_bitsandbytes_only_qlora_is_missed(environ: dict[str, str]) -> None:
    """It is a note: full and LoRA configs need it not."""
    lacking = {name: number for name, number in VERSIONS.items() if name != "bitsandbytes"}

    def without(name: str) -> str:
        if name not in lacking:
            raise metadata.PackageNotFoundError(name)
        return lacking[name]

    assert find(examine(environ, replace(HEALTHY, version=without)), "bitsandbytes is not").state == "note"


def test_a_store_that_cannot_be_written_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    """The place is really written to; a file where the folder should be is found."""
    (tmp_path / "file").write_text("")
    diagnosis = examine({**environ, "FTGATE_CACHE": str(tmp_path / "file" / "cache")}, HEALTHY)
    symptom = find(diagnosis, "to the store")
    assert symptom.state == "bad"
    assert symptom.mend != ""
    assert diagnosis.exit_code == 3
    examine(environ, HEALTHY)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_hub_token_is_found_where_the_hub_looks(tmp_path: Path) -> None:
    """Variables, HF_TOKEN_PATH, HF_HOME and the home's cache; an empty file is none."""
    home = {"HOME": str(tmp_path)}
    assert not has_hub_token(home)
    assert has_hub_token({**home, "HF_TOKEN": SECRET})
    assert not has_hub_token({**home, "HF_TOKEN": " "})
    file = tmp_path / ".cache" / "huggingface" / "token"
    file.parent.mkdir(parents=True)
    file.write_text("\n")
    assert not has_hub_token(home)
    file.write_text(SECRET)
    assert has_hub_token(home)
    assert not has_hub_token({**home, "HF_HOME": str(tmp_path / "other")})
    assert has_hub_token({**home, "HF_HOME": str(tmp_path / "other"), "HF_TOKEN_PATH": str(file)})


def test_offline_switches_are_noted(environ: dict[str, str]) -> None:
    """Set switches are shown; "0" is not set."""
    diagnosis = examine({**environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "0"}, HEALTHY)
    assert find(diagnosis, "offline by HF_HUB_OFFLINE").state == "note"


def test_rendering_groups_by_area_and_says_how_to_mend() -> None:
    """Plain text, an area a paragraph, the remedy under what is wrong."""
    symptoms = [
        Symptom("device", "cpu", "good"),
        Symptom("hub", "no token", "note", "log in"),
        Symptom("hub", "gone", "bad", "come back"),
    ]
    assert render(symptoms).splitlines() == [
        "device",
        "  ok    cpu",
        "",
        "hub",
        "  note  no token",
        "        log in",
        "  BAD   gone",
        "        to mend it: come back",
    ]


def test_this_machine_is_examined_for_real(environ: dict[str, str]) -> None:
    """The real looks work: torch's device, a 4-bit quantisation in a child, memory, disk."""
    diagnosis = examine({**os.environ, **environ})
    areas = {each.area for each in diagnosis.symptoms}
    assert areas == {"ftgate", "packages", "device", "QLoRA", "room", "hub"}
    assert "quantises to 4 bits here" in diagnosis.text
    assert "of memory free" in diagnosis.text
