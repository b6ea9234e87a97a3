"""verdict.json: its schema is frozen, its bytes are the same for the same result, it can be read back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from gate.errors import UsageError
from gate.records import Override
from gate.report import SCHEMA_FILE, parse_document, read_document
from gate.report.document import encode_document, make_document

OUTCOMES = ["pass", "fail", "undecided", "error"]
# A change here is a change of a public interface: additions go into the changelog, anything that
# breaks a reader needs a new schema number.
FROZEN = {
    "document": "base config cost error findings outcome provenance schema tuned",
    "finding": "base bound check difference documents_scored documents_total fell filter higher_is_better "
    "interval kind margin metric note outcome place reference remaining rose rule task tuned unchanged unit",
    "interval": "about high level low method simultaneous",
    "model": "digest kind name path revision",
    "config": "base_model digest method overrides path trainer",
    "override": "key now reason was",
    "error": "code message stage",
    "place": "file line",
    "cost": "blocks_from_store blocks_scored devices measuring_seconds peak_gpu_bytes peak_resident_bytes "
    "tokens_per_second total_parameters total_seconds trainable_parameters training_from_store "
    "training_seconds training_steps",
    "provenance": "batch_size created device dtype ftgate platform policy_digest policy_path quantization "
    "salt_digest scorer versions warnings",
    "waiver": "margin own_margin reason rule until",
    "slice": "base difference documents fell interval name outcome pooled rose tuned",
    "seed": "digest folder outcome seed",
    "spread": "deviation measuring values",
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return document


def valid(schema: dict[str, Any], document: object) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(document))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_document_fits_the_shipped_schema(
    sample: ModuleType, schema: dict[str, Any], outcome: str
) -> None:
    """What we write is what we promise."""
    document = json.loads(encode_document(sample.RESULTS[outcome]()))
    jsonschema.Draft202012Validator(schema).validate(document)
    assert document["outcome"] == outcome
    assert (document["error"] is None) == (outcome != "error")


def test_the_schemas_surface_is_frozen(schema: dict[str, Any]) -> None:
    """No required key goes away or comes without a decision."""
    required = {"document": schema["required"]} | {
        name: part["required"] for name, part in schema["$defs"].items()
    }
    assert {name: " ".join(keys) for name, keys in required.items()} == FROZEN
    assert schema["properties"]["schema"] == {"const": 1}


def test_readers_and_schema_ignore_what_they_do_not_know(sample: ModuleType, schema: dict[str, Any]) -> None:
    """Later versions may add keys everywhere, and new kinds of findings."""
    document: Any = make_document(sample.blocked())
    document["later"] = {"more": 1}
    document["findings"][0] |= {"kind": "calibration", "clusters": 7}
    document["findings"][0]["interval"]["alpha"] = 0.05
    document["cost"]["dollars"] = 1.5
    document = json.loads(json.dumps(document))
    assert valid(schema, document)
    assert parse_document(json.dumps(document).encode()).outcome == "fail"


BREAKAGES: list[Any] = [
    lambda d: d.pop("cost"),
    lambda d: d.update(schema=2),
    lambda d: d.update(outcome="green"),
    lambda d: d.update(findings=[]),
    lambda d: d.update(tuned=None),
    lambda d: d.update(outcome="pass"),
    lambda d: d.update(error={"code": "x", "stage": "y", "message": "z"}),
    lambda d: d["tuned"].update(digest=""),
    lambda d: d["findings"][0].update(base="0.5"),
    lambda d: d["findings"][0].update(outcome="ok"),
    lambda d: d["findings"][0]["interval"].update(about="noise"),
    lambda d: d["findings"][0]["interval"].update(level=95),
    lambda d: d["findings"][0].update(documents_scored=0),
    lambda d: d["findings"][0].pop("margin"),
]


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_the_schema_catches_errors(sample: ModuleType, schema: dict[str, Any], breakage: Any) -> None:
    """A blocked verdict with one thing wrong does not fit."""
    document = json.loads(encode_document(sample.blocked()))
    breakage(document)
    assert not valid(schema, document)


def test_the_same_result_gives_the_same_bytes(sample: ModuleType) -> None:
    """Bytes do not depend on the order in which anything was put together."""
    one = sample.blocked()
    versions = dict(reversed(one.provenance.versions.items()))
    other = replace(one, provenance=replace(one.provenance, versions=versions))
    assert encode_document(one) == encode_document(other)
    assert len({hashlib.sha256(encode_document(sample.blocked())).digest() for _ in range(3)}) == 1


def test_a_setting_that_is_not_finite_is_told_in_words(sample: ModuleType) -> None:
    """JSON has no NaN; none is written, whatever a config holds."""
    verdict = sample.blocked()
    config = replace(verdict.config, overrides=(Override("max_grad_norm", float("nan"), 1.0, "x"),))
    document = json.loads(encode_document(replace(verdict, config=config)), parse_constant=pytest.fail)
    assert document["config"]["overrides"][0]["was"] == "nan"


def test_a_stored_verdict_is_read_back(sample: ModuleType, tmp_path: Path) -> None:
    """A deploy step learns the outcome and the digest of the model that was judged."""
    path = tmp_path / "verdict.json"
    path.write_bytes(encode_document(sample.passing()))
    stored = read_document(path)
    assert (stored.outcome, stored.tuned_digest) == ("pass", sample.TUNED.digest)
    assert stored.base_digest == sample.BASE.digest


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"schema": 2, "outcome": "pass"}',
        b'{"schema": true, "outcome": "pass"}',
        b'{"schema": 1, "outcome": "green"}',
        b'{"schema": 1, "outcome": ["pass"]}',
        b'{"schema": 1, "outcome": "pass"}',
        b'{"schema": 1, "outcome": "pass", "tuned": {"digest": 7}, "base": {"digest": "x"}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_verdict_is_refused(content: bytes) -> None:
    """Nothing but a whole verdict of a schema that we know is ever read as a pass."""
    with pytest.raises(UsageError):
        parse_document(content)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    """No traceback for a path that is not there."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_document(tmp_path / "verdict.json")
