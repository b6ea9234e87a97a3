"""The report's sample results, and the renderings of one result, for every test of this room."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SAMPLE = "report_sample"


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    """`sample.py` beside this file: realistic verdicts and a failure."""
    if SAMPLE not in sys.modules:
        spec = importlib.util.spec_from_file_location(SAMPLE, Path(__file__).with_name("sample.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[SAMPLE] = module
        spec.loader.exec_module(module)
    return sys.modules[SAMPLE]
