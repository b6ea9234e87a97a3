#!/usr/bin/env python3
"""Cut the operations that ftgate uses out of GitHub's own OpenAPI description (npm `@octokit/openapi`, MIT).

    npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
    python scripts/openapi_slice.py package tests/doubles/fake_github/described

Writes `openapi.json` (the operations and all that they refer to, without prose), `examples.json` (GitHub's
own examples of the answers, which the fake GitHub fills in) and the package's licence.

Two things are changed. A request may hold only the fields that are described: GitHub ignores a misspelt
field without a word, so a test against the original would pass it. And a nullable field whose values are
listed may be null: GitHub's description forgets to list it, as in a check run's `conclusion`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = "/repos/{owner}/{repo}"
OPERATIONS = (
    ("get", "/user"),
    ("get", f"{REPOSITORY}/pulls"),
    ("get", f"{REPOSITORY}/pulls/{{pull_number}}"),
    ("get", f"{REPOSITORY}/commits/{{commit_sha}}/pulls"),
    ("get", f"{REPOSITORY}/issues/{{issue_number}}/comments"),
    ("post", f"{REPOSITORY}/issues/{{issue_number}}/comments"),
    ("patch", f"{REPOSITORY}/issues/comments/{{comment_id}}"),
    ("delete", f"{REPOSITORY}/issues/comments/{{comment_id}}"),
    ("get", f"{REPOSITORY}/commits/{{ref}}/check-runs"),
    ("post", f"{REPOSITORY}/check-runs"),
    ("patch", f"{REPOSITORY}/check-runs/{{check_run_id}}"),
    ("get", f"{REPOSITORY}/actions/runs/{{run_id}}"),
    ("get", f"{REPOSITORY}/actions/runs/{{run_id}}/attempts/{{attempt_number}}/jobs"),
    ("post", f"{REPOSITORY}/actions/runs/{{run_id}}/cancel"),
)
USER = "private-user-response-with-public-profile-information"
EXAMPLES = (
    *("issue-comment", "pull-request", "pull-request-simple-items", "check-run", "workflow-run"),
    *("job-paginated", USER),
)
PROSE = {"description", "summary", "example", "examples", "externalDocs", "tags", "x-github", "x-octokit"}


def cut(description: dict[str, Any]) -> dict[str, Any]:
    """The operations of `OPERATIONS` as an OpenAPI description of their own."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path in OPERATIONS:
        operation = without_prose(description["paths"][path][method])
        for content in operation.get("requestBody", {}).get("content", {}).values():
            forbid_other_fields(content["schema"])
        for response in operation["responses"].values():
            if "$ref" not in response:
                response["description"] = ""  # OpenAPI demands one
        paths.setdefault(path, {})[method] = operation
    components: dict[str, dict[str, Any]] = {}
    waiting = list(references(paths))
    while waiting:
        kind, name = waiting.pop().removeprefix("#/components/").split("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = without_prose(description["components"][kind][name])
            if kind == "responses":
                components[kind][name]["description"] = ""
            waiting += references(components[kind][name])
    info = {"title": "GitHub, as far as ftgate uses it", "version": description["info"]["version"]}
    return {
        "openapi": description["openapi"],
        "info": info,
        "servers": description["servers"],
        "paths": paths,
        "components": {kind: dict(sorted(named.items())) for kind, named in sorted(components.items())},
    }


def without_prose(node: Any, named: bool = False) -> Any:
    """A copy without what only people read. `named`: the keys are names (of fields, say), not OpenAPI's."""
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: without_prose(value, named=not named and key in ("properties", "responses", "headers"))
        for key, value in node.items()
        if named or key not in PROSE
    }
    if not named and node.get("nullable") is True and None not in node.get("enum", [None]):
        kept["enum"] = [*node["enum"], None]
    return kept


def forbid_other_fields(schema: Any) -> None:
    """Refuse fields that a request's schema does not describe; where it says otherwise, leave it."""
    if isinstance(schema, list):
        for item in schema:
            forbid_other_fields(item)
    elif isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            forbid_other_fields(value)


def references(node: Any) -> Iterator[str]:
    """Every `$ref` in a part of the description."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def main(package: Path, target: Path) -> None:
    """Write the slice of an unpacked `package` to the folder `target`."""
    description = json.loads((package / "generated/api.github.com.json").read_text(encoding="utf-8"))
    named = description["components"]["examples"]
    target.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("openapi.json", cut(description)),
        ("examples.json", {name: named[name]["value"] for name in EXAMPLES}),
    ):
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        (target / name).write_text(text + "\n", encoding="utf-8")
    shutil.copyfile(package / "LICENSE", target / "LICENSE")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
