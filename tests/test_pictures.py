"""The pictures in docs/img that a script draws are those that it draws now."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("drawing", "name", "page"),
    [
        ("draw_decisions", "decision-path.svg", "how-it-decides.md"),
        ("draw_decisions", "operating-curve.svg", "how-it-decides.md"),
        ("draw_tree", "tree.svg", "how-it-scores.md"),
    ],
)
def test_a_picture_is_what_the_script_draws(drawing: str, name: str, page: str) -> None:
    """Drawn again it has the same bytes, is well-formed, says what it shows, and the page names it."""
    kept = (ROOT / "docs/img" / name).read_text()
    assert script(drawing).PICTURES[name]() == kept
    described = ElementTree.fromstring(kept).find("{http://www.w3.org/2000/svg}desc")
    assert described is not None
    assert len(described.text or "") > 80
    assert f"img/{name}" in (ROOT / "docs" / page).read_text()
