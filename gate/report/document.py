"""`verdict.json`: the interface for programs. Its shape is `verdict.schema.json`, beside this file.

Readers ignore keys that they do not know; a change that breaks one gets a new `schema` number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gate.errors import UsageError
from gate.records import ConfigRef, Finding, Scalar, SeedRun
from gate.verdict import Failure, Verdict

SCHEMA = 1
OUTCOMES = ("pass", "fail", "undecided", "error")
SCHEMA_FILE = Path(__file__).parent / "verdict.schema.json"


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """What a deploy step asks of a `verdict.json`; `document` holds all of it."""

    outcome: str
    tuned_digest: str
    base_digest: str
    document: Mapping[str, object]
    seeds: tuple[SeedRun, ...] = ()  # of a recipe: its trainings and their own outcomes
    seed: int | None = None  # this is the verdict of one training of a recipe


def make_document(result: Verdict | Failure) -> dict[str, object]:
    """A result as plain dictionaries, lists, strings and numbers."""
    error = None
    if isinstance(result, Failure):
        error = {**asdict(result.error), "hint": result.hint, "exit_code": result.exit_code}
    return {
        "schema": SCHEMA,
        "outcome": result.outcome,
        "error": error,
        "findings": [_finding(finding) for finding in result.findings],
        "base": asdict(result.base) if result.base else None,
        "tuned": asdict(result.tuned) if result.tuned else None,
        "config": _config(result.config) if result.config else None,
        "cost": asdict(result.cost),
        "provenance": asdict(result.provenance) if result.provenance else None,
        "seeds": [asdict(one) for one in result.seeds] if isinstance(result, Verdict) else [],
        "seed": result.seed if isinstance(result, Verdict) else None,
        "champion": asdict(result.champion) if isinstance(result, Verdict) and result.champion else None,
    }


def encode_document(result: Verdict | Failure) -> bytes:
    """The same bytes for the same result. Raises ValueError for a number that is not finite."""
    text = json.dumps(make_document(result), indent=2, sort_keys=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def read_document(path: Path) -> StoredVerdict:
    """The verdict in a file. Raises UsageError where there is none, or one that cannot be understood."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="name a verdict.json or a run"
        ) from error
    return parse_document(content, name=str(path))


def parse_document(content: bytes, *, name: str = "verdict.json") -> StoredVerdict:
    """The verdict in some bytes. Raises UsageError where they hold none that can be understood."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from error
    if not isinstance(document, dict) or "schema" not in document:
        raise UsageError(
            f"{name} is not a verdict of ftgate", hint="`ftgate check` writes one into the run's folder"
        )
    schema = document["schema"]
    if schema != SCHEMA or isinstance(schema, bool):
        raise UsageError(f"{name} has schema {schema!r}, this ftgate reads {SCHEMA}", hint="update ftgate")
    if document.get("outcome") not in OUTCOMES:
        raise UsageError(
            f"{name} has the outcome {document.get('outcome')!r}, expected one of {', '.join(OUTCOMES)}"
        )
    tuned, base = _digest(document, "tuned"), _digest(document, "base")
    if document["outcome"] != "error" and not (tuned and base):
        raise UsageError(f"{name} does not say which models it judged")
    return StoredVerdict(document["outcome"], tuned, base, document, *_seeds(document, name))


def _seeds(document: Mapping[str, object], name: str) -> tuple[tuple[SeedRun, ...], int | None]:
    """A recipe's trainings, and which one this verdict is about alone; none in what older versions wrote."""
    seed, listed = document.get("seed"), document.get("seeds", [])
    try:
        seeds = tuple(
            SeedRun(int(one["seed"]), str(one["digest"]), one["outcome"], str(one["folder"]))
            for one in _list(listed)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{name} names seeds that cannot be understood", hint="run the check again"
        ) from error
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise UsageError(f"{name} is about a seed that is no number", hint="run the check again")
    return seeds, seed


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [None]


def _digest(document: Mapping[str, object], model: str) -> str:
    reference = document.get(model)
    digest = reference.get("digest") if isinstance(reference, dict) else ""
    return digest if isinstance(digest, str) else ""


def _finding(finding: Finding) -> dict[str, object]:
    written = {**asdict(finding), "place": asdict(finding.place) if finding.place.file else None}
    if finding.waiver:
        written["waiver"]["place"] = asdict(finding.waiver.place) if finding.waiver.place.file else None
    return written


def _config(config: ConfigRef) -> dict[str, object]:
    """The config's reference; a setting that was not finite is told in words, JSON has no number for it."""
    overrides = [
        {**asdict(change), "was": _finite(change.was), "now": _finite(change.now)}
        for change in config.overrides
    ]
    return {**asdict(config), "overrides": overrides}


def _finite(value: Scalar) -> Scalar:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
