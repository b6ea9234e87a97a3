"""The wheel as a user gets it: built, installed into a clean environment, run from outside the checkout.

The dependencies are not installed again (gigabytes): the clean environment sees this one's through a
`.pth` file that lies after its own site-packages, and must not see the checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("gate", "checks", "pyproject.toml", "README.md", "LICENSE", "thresholds.yaml")
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that FTGATE_WHEEL names, else one built from a copy of what it is made of."""
    if built := os.environ.get("FTGATE_WHEEL"):
        return Path(built)
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment in which the wheel is installed and the checkout is not."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", f"{folder}/bin/python"]
    install = [*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # A path in a .pth is only appended: .pth files lying in *that* folder (the editable install) stay unread.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def run(clean: Path, *arguments: str, cwd: Path) -> str:
    """What a command of the clean environment prints; its errors are the test's."""
    command = [str(clean / arguments[0]), *arguments[1:]]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_all_that_is_read_at_run_time(wheel: Path) -> None:
    """Templates, schema, demo model, data, configs, policy, tasks and type markers are inside, as files."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        policy = archive.read("gate/demo/thresholds.yaml")
    expected = {
        path.relative_to(ROOT).as_posix()
        for folder in (ROOT / "gate", ROOT / "checks")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= names
    assert policy == (ROOT / "thresholds.yaml").read_bytes()
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]


def test_the_installed_command_answers(clean: Path, tmp_path: Path) -> None:
    """`ftgate --version` runs from the wheel alone."""
    assert run(clean, "ftgate", "--version", cwd=tmp_path).startswith("ftgate")


def test_the_command_line_imports_nothing_heavy(clean: Path, tmp_path: Path) -> None:
    """Importing the command line loads neither torch nor lm-eval, and loads the wheel, not the checkout."""
    program = (
        "import gate.cli, json, sys; heavy = {'torch', 'transformers', 'lm_eval', 'datasets', 'scipy'};"
        "print(json.dumps([gate.__file__, sorted(heavy & set(sys.modules))]))"
    )
    file, heavy = json.loads(run(clean, "python", "-I", "-c", program, cwd=tmp_path))
    assert Path(file).is_relative_to(clean.parent)
    assert heavy == []


def test_the_installed_demo_lays_itself_out(clean: Path, tmp_path: Path) -> None:
    """The demo's repository comes out of the wheel whole, and its policy and configs are valid."""
    program = (
        "from pathlib import Path; from gate.demo.run import lay_out; lay_out(Path('demo'));"
        "from gate.policy import load_policy; from gate.configs import load_config;"
        "load_policy(Path('demo/thresholds.yaml'));"
        "configs = [Path(f'demo/configs/{name}.yaml') for name in ('full', 'lora', 'qlora')];"
        "print(*[load_config(config).method for config in configs])"
    )
    assert run(clean, "python", "-I", "-c", program, cwd=tmp_path).split() == ["full", "lora", "qlora"]
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"base", "configs", "data", "tasks", "thresholds.yaml"} <= names
    assert not (tmp_path / "demo/thresholds.yaml").is_symlink()
