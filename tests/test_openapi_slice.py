"""The script that cuts GitHub's description: what it keeps, leaves out and makes stricter."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts/openapi_slice.py"))


@pytest.fixture
def description(script: dict[str, Any]) -> dict[str, Any]:
    """A description of the very operations, each with the same small schemas."""
    request = {"type": "object", "description": "x", "properties": {"description": {"type": "string"}}}
    answer = {"application/json": {"schema": ref("schemas/a")}}
    operation = {
        "summary": "x",
        "x-github": {"category": "x"},
        "requestBody": {"content": {"application/json": {"schema": request}}},
        "responses": {"200": {"description": "x", "content": answer}},
    }
    schemas = {
        "a": {"properties": {"b": ref("schemas/b"), "summary": {"type": "string", "example": "x"}}},
        "b": {"type": "string", "nullable": True, "enum": ["one"]},
        "unused": {"type": "string"},
    }
    paths: dict[str, Any] = {}
    for method, path in script["OPERATIONS"]:
        paths.setdefault(path, {})[method] = operation
    named = {name: {"value": {"id": 1}} for name in script["EXAMPLES"]}
    return {
        "openapi": "3.0.3",
        "info": {"version": "1"},
        "servers": [],
        "paths": {**paths, "/other": {"get": operation}},
        "components": {"schemas": schemas, "examples": named},
    }


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{name}"}


def test_only_what_is_used_is_kept(script: dict[str, Any], description: dict[str, Any]) -> None:
    """The operations asked for and what they refer to, at any depth; no prose, but fields named like it."""
    found = script["cut"](description)
    assert "/other" not in found["paths"]
    assert set(found["components"]["schemas"]) == {"a", "b"}
    assert set(found["components"]["schemas"]["a"]["properties"]) == {"b", "summary"}
    operation = found["paths"]["/user"]["get"]
    assert set(operation) == {"requestBody", "responses"}
    assert operation["responses"]["200"]["description"] == ""


def test_requests_are_held_to_what_is_described(script: dict[str, Any], description: dict[str, Any]) -> None:
    """A request's schema refuses other fields, an answer's does not."""
    found = script["cut"](description)
    schema = found["paths"]["/user"]["get"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {
        "type": "object",
        "properties": {"description": {"type": "string"}},
        "additionalProperties": False,
    }
    assert "additionalProperties" not in found["components"]["schemas"]["a"]


def test_what_may_be_null_may_be_null(script: dict[str, Any], description: dict[str, Any]) -> None:
    """A nullable list of values gets null as one of them."""
    assert script["cut"](description)["components"]["schemas"]["b"]["enum"] == ["one", None]


def test_it_writes_the_slice_beside_its_licence(
    script: dict[str, Any], description: dict[str, Any], tmp_path: Path
) -> None:
    """From an unpacked package to the folder that the doubles read."""
    (tmp_path / "package/generated").mkdir(parents=True)
    (tmp_path / "package/generated/api.github.com.json").write_text(json.dumps(description))
    (tmp_path / "package/LICENSE").write_text("MIT")
    script["main"](tmp_path / "package", tmp_path / "out")
    assert json.loads((tmp_path / "out/openapi.json").read_text()) == script["cut"](description)
    assert set(json.loads((tmp_path / "out/examples.json").read_text())) == set(script["EXAMPLES"])
    assert (tmp_path / "out/LICENSE").read_text() == "MIT"
