"""The repository's own files: they load, agree with each other and say no more than is so."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

import gate
from gate.configs import load_config
from gate.demo.run import lay_out
from gate.policy import load_policy

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "gate" / "demo"
TASKS = ROOT / "checks" / "tasks"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read_yaml(path: Path) -> Any:
    """A YAML file, read without any schema of ours."""
    return YAML(typ="safe").load(path)


def test_the_demo_policy_is_the_repositorys_own() -> None:
    """One file guards the demo and is what a newcomer copies."""
    assert (DEMO / "thresholds.yaml").resolve() == ROOT / "thresholds.yaml"


def test_the_demo_policy_loads_where_the_demo_lays_it_out(tmp_path: Path) -> None:
    """It is valid beside the tasks and data that it names, and judges the target and the average."""
    lay_out(tmp_path / "demo")
    rules = {rule.id for rule in load_policy(tmp_path / "demo" / "thresholds.yaml").rules}
    assert {"target/banking12/min_gain", "average/general/max_drop"} <= rules


def test_the_demo_policy_names_just_the_tasks_that_are_there() -> None:
    """Each task of the policy has its YAML and the reverse, and each YAML its data."""
    policy = read_yaml(ROOT / "thresholds.yaml")
    named = {entry["task"] for entry in policy["target"]} | set(policy["general"]["tasks"])
    tasks = map(read_yaml, TASKS.glob("*.yaml"))
    files = {task["task"]: task["dataset_kwargs"]["data_files"]["test"] for task in tasks}
    assert named == set(files)
    assert all((DEMO / file).is_file() for file in files.values())
    assert all((DEMO / entry["corpus"]).is_file() for entry in policy["text"])


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_the_demo_configs_are_what_they_are_called(method: str) -> None:
    """Each demo config is read as its method, from paths that the demo lays out."""
    config = load_config(DEMO / "configs" / f"{method}.yaml")
    assert config.method == method
    assert (DEMO / config.base_model).is_dir()
    assert all((DEMO / data.name).is_dir() for data in config.datasets)


def test_the_demo_configs_differ_in_the_method_alone() -> None:
    """The comparison is of methods: every setting that is not the adapter's own is the same in all three."""
    own = ("use_peft", "lora_", "load_in_4bit", "output_dir")
    shared = [
        {key: value for key, value in load_config(path).settings.items() if not key.startswith(own)}
        for path in sorted((DEMO / "configs").glob("*.yaml"))
    ]
    assert len(shared) == 3
    assert all(settings == shared[0] for settings in shared)


def test_training_words_and_answer_options_are_the_same() -> None:
    """A target whose options were worded otherwise than its training data would measure nothing."""
    task = read_yaml(TASKS / "banking12.yaml")
    rows = [json.loads(line) for line in (DEMO / "data/train/train.jsonl").read_text().splitlines()]
    assert {row["completion"] for row in rows} == {f" {choice}" for choice in task["doc_to_choice"]}
    assert all(row["prompt"].startswith("Customer: ") and row["prompt"].endswith("\nIntent:") for row in rows)
    tested = [json.loads(line) for line in (DEMO / "data/banking12.jsonl").read_text().splitlines()]
    assert not {f"Customer: {row['text']}\nIntent:" for row in tested} & {row["prompt"] for row in rows}


def test_the_embedded_data_stays_small() -> None:
    """The demo's data are under 2 MB; the base model has its own size."""
    assert sum(path.stat().st_size for path in (DEMO / "data").rglob("*")) < 2_000_000


def test_the_version_is_one() -> None:
    """The package, its metadata and the changelog agree, and the command is there."""
    assert version("finetune-gate") == gate.__version__
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()
    assert [point.value for point in entry_points(group="console_scripts", name="ftgate")] == [
        "gate.cli:main"
    ]


def test_constraints_pin_every_dependency_within_its_range() -> None:
    """`constraints.txt` pins each dependency, exactly, without local parts, inside what pyproject allows."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    requirements = map(Requirement, PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
    for requirement in requirements:
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert not [line for line in lines if "+" in line or "://" in line]


def test_every_dependency_says_what_it_is_for() -> None:
    """Each runtime dependency carries a comment: what it earns its place with."""
    block = (ROOT / "pyproject.toml").read_text().split("dependencies = [", 1)[1].split("\n]", 1)[0]
    bare = [line for line in block.splitlines() if line.strip().startswith('"') and "#" not in line]
    assert bare == []


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / "action.yml"], ids=lambda path: path.name)
def test_actions_are_pinned_and_take_no_expression_into_a_script(path: Path) -> None:
    """Third-party actions by full commit, with the version beside it; inputs reach scripts through env."""
    for line in path.read_text().splitlines():
        if "uses:" in line:
            assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
    document = read_yaml(path)
    jobs = document.get("jobs", {"action": document.get("runs")})
    scripts = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_start_without_permissions(path: Path) -> None:
    """Nothing is allowed by default; a job asks for what it needs."""
    assert read_yaml(path)["permissions"] == {}


def test_workflows_call_only_targets_that_exist() -> None:
    """CI runs the commands that a laptop runs."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = [name for path in WORKFLOWS for name in re.findall(r"run: make ([a-z-]+)", path.read_text())]
    assert called
    assert set(called) <= targets
    assert "make --no-print-directory test" in (ROOT / ".ci/run").read_text()


def test_the_minimums_are_read_from_the_ranges() -> None:
    """The lowest versions are the lower bounds, exact pins included."""
    done = subprocess.run(
        [ROOT / "scripts/minimums.py", ROOT / "pyproject.toml"], capture_output=True, text=True, check=True
    )
    pins = done.stdout.split()
    assert len(pins) == len(PROJECT["dependencies"])
    assert "lm-eval==0.4.13" in pins


def test_no_registry_is_named() -> None:
    """Set-up takes packages from wherever pip is told to; no host is written down."""
    files = [
        ROOT / name for name in ("Makefile", "pyproject.toml", "constraints.txt", "action.yml", ".ci/run")
    ]
    hosts = [path.name for path in files if re.search(r"https?://|index-url", path.read_text())]
    assert hosts == []
