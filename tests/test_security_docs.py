"""docs/security.md and docs/github.md: each attack has its row, and what they name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gate.cli import cli

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
ATTACKS = (
    "loosen thresholds",
    "edit the task list",
    "swap the base model",
    "edit the workflow",
    "add a job of the same name",
    "shadow a module",
    "poison the cache",
    "forge the marker",
    "forge the artifact",
    "print workflow commands",
    "bloat the comment",
    "exfiltrate the token",
    "endless training",
    "rename the config out of the glob",
    "disguise a config, its data or its base model",
    "be judged for another branch",
    "have a green check taken over",
    "delete the config",
)


def rows() -> dict[str, list[str]]:
    """The table of attacks: what is tried -> its other cells."""
    table = PAGE.split("## What could be tried", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[1:]}


def names_in(file: str) -> set[str]:
    """The names of the tests in the one test file of that name."""
    (path,) = (ROOT / "tests").rglob(f"{file}.py")
    found = ast.walk(ast.parse(path.read_text()))
    return {
        node.name for node in found if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_attack_has_its_row() -> None:
    """Those that were promised, each with what stops it in every form."""
    assert tuple(rows()) == ATTACKS
    assert all(len(cells) == 5 and all(cells[:4]) for cells in rows().values())


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_named_tests_exist(attack: str) -> None:
    """A row without a test, or with the name of one that is gone, is a promise without proof."""
    named = re.findall(r"`(test_\w+)::(test_\w+)`", rows()[attack][3])
    assert named
    assert [f"{file}::{name}" for file, name in named if name not in names_in(file)] == []


def test_whatever_test_the_page_names_exists() -> None:
    """Outside the table of attacks, too: what a container closes names its tests as well."""
    named = re.findall(r"`(test_\w+)::(test_\w+)`", PAGE)
    assert {file for file, _ in named} >= {"test_container_job", "test_hostile_trainer"}
    assert [f"{file}::{name}" for file, name in named if name not in names_in(file)] == []


@pytest.mark.parametrize("page", ["security.md", "github.md"])
def test_links_between_the_pages_lead_somewhere(page: str) -> None:
    """Files and headings that these pages link to exist."""
    text = (ROOT / "docs" / page).read_text()
    for target, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", text):
        path = (ROOT / "docs" / target) if target else ROOT / "docs" / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            slugs = {
                re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            }
            assert anchor in slugs, anchor


def test_every_input_output_and_flag_is_documented() -> None:
    """docs/github.md names what the action takes and gives, and what `ftgate init --github` may be told."""
    text = (ROOT / "docs" / "github.md").read_text()
    action = YAML(typ="safe").load(ROOT / "action.yml")
    flags = [
        option for parameter in cli.commands["init"].params for option in parameter.opts if "--" in option
    ]
    named = [f"`{name}`" for name in (*action["inputs"], *action["outputs"])]
    assert [name for name in named if name not in text] == []
    assert [flag for flag in flags if flag not in text] == []
