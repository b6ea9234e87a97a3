"""The report's sample results and pull requests, and the corpus of hostile strings, for this room's tests."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def load(file: str, name: str) -> ModuleType:
    """A module beside this file, under a name of its own."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    """`sample.py` beside this file: realistic verdicts and a failure."""
    return load("sample.py", "report_sample")


@pytest.fixture(scope="session")
def pulls() -> ModuleType:
    """`pulls_sample.py` beside this file: pull requests with configs of every standing."""
    return load("pulls_sample.py", "report_pulls_sample")


@pytest.fixture(scope="session")
def corpus() -> dict[str, list[str]]:
    """Hostile strings by their kind."""
    text = (HERE.parents[1] / "data" / "hostile_strings.json").read_text(encoding="utf-8")
    groups: dict[str, list[str]] = json.loads(text)
    return groups


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """`markdown_oracle.py` beside this file: what two real parsers find in a text."""
    return load("markdown_oracle.py", "report_markdown_oracle")
