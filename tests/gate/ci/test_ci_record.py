"""gate.ci.record: what `ftgate ci` leaves is read back as it was, and nothing else is believed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scratch import verdict

from gate.ci.record import (
    Posting,
    begin,
    read_ci,
    read_posting,
    read_result,
    read_view,
    write_ci,
    write_posting,
)
from gate.errors import GateError, TrainingError, UsageError
from gate.history import Past, past_of
from gate.records import ChangedConfig, CiRun, ConfigRun, Event, Place, PolicyChange, ProposedRule
from gate.report import encode_document, render
from gate.runfolder import HISTORY, RunFolder
from gate.verdict import Failure

RUN = CiRun(
    Event("pull_request", "acme/tunes", "a" * 40, "b" * 40, pull=7, labels=("x",)),
    "check",
    (ConfigRun(ChangedConfig("a.yaml", "data", "data/ü"), "fail", 1, "a-0", "d", blocked="why"),),
    PolicyChange("t.yaml", "-a\n+b", (ProposedRule("target/x/min_gain", 0.1, True, Place("t.yaml", 3)),)),
    "fail",
    1,
)


def test_a_run_is_read_back(tmp_path: Path) -> None:
    """Equal to what was written; what an older run left is taken away first."""
    begin(tmp_path / "run")
    write_ci(tmp_path / "run", RUN)
    write_posting(tmp_path / "run", Posting("t.yaml", "c.j2", "text", True, {"a": {"r": 0.5}}, 3.0))
    assert read_ci(tmp_path / "run") == RUN
    assert read_posting(tmp_path / "run").previous == {"a": {"r": 0.5}}
    begin(tmp_path / "run")
    assert read_posting(tmp_path / "run") == Posting()
    with pytest.raises(UsageError, match=r"has no ci\.json"):
        read_ci(tmp_path / "run")


@pytest.mark.parametrize(("old", "new"), [(b'"fail"', b'"pass"'), (b"acme", b"evil"), (b"}", b"")])
def test_a_changed_record_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    """Any byte."""
    write_ci(tmp_path, RUN)
    content = (tmp_path / "ci.json").read_bytes()
    (tmp_path / "ci.json").write_bytes(content.replace(old, new, 1))
    with pytest.raises(UsageError, match=r"ci\.json cannot be used"):
        read_ci(tmp_path)


def test_a_later_ftgates_record_says_so(tmp_path: Path) -> None:
    """It is not guessed at."""
    from gate.sealed import seal_record

    (tmp_path / "ci.json").write_bytes(seal_record(RUN, 2))
    with pytest.raises(UsageError, match="later ftgate"):
        read_ci(tmp_path)


def test_results_are_read_back(tmp_path: Path) -> None:
    """A verdict and a failure, as documents, are what they were."""
    path = tmp_path / "verdict.json"
    for result in (verdict(), verdict(0.0), Failure.of(TrainingError("x", hint="y"), "train")):
        path.write_bytes(encode_document(result))
        assert read_result(path) == result


def test_a_place_that_is_nowhere_is_read_back(tmp_path: Path) -> None:
    """verdict.json has null for it."""
    finding = replace(verdict().findings[0], place=Place("thresholds.yaml", 3))
    for result in (verdict(), replace(verdict(), findings=(finding,))):
        (tmp_path / "verdict.json").write_bytes(encode_document(result))
        assert read_result(tmp_path / "verdict.json") == result


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("findings", None), ("findings", []), ("findings", [7]), ("findings", [{}]),
        ("base", 7), ("cost", None),
        ("provenance", []), ("tuned", {"digest": "sha256:0"}), ("error", 7), ("outcome", "error"),
    ],
)  # fmt: skip
def test_a_broken_verdict_is_an_error_in_words(tmp_path: Path, key: str, value: object) -> None:
    """Never a traceback, and never half a verdict."""
    document = json.loads(encode_document(verdict()))
    document[key] = value
    (tmp_path / "verdict.json").write_text(json.dumps(document))
    if key == "error":  # a verdict's own error is not looked at
        assert read_result(tmp_path / "verdict.json") == verdict()
        return
    with pytest.raises(GateError):
        read_result(tmp_path / "verdict.json")


def test_a_view_of_a_folder(tmp_path: Path) -> None:
    """None where there is nothing; the verdict where the measurements are damaged."""
    assert read_view(tmp_path / "nowhere") is None
    folder = RunFolder.begin(tmp_path / "run")
    folder.write_report(render(verdict(), (), ()))
    (tmp_path / "run/measurements.json").write_text("{}")
    view = read_view(tmp_path / "run")
    assert view is not None
    assert view.outcome == "pass"
    assert view.trends == ()


def test_a_view_has_the_trend_that_its_run_kept(tmp_path: Path) -> None:
    """The earlier verdicts in the run's folder are drawn; those that are damaged are none, and no error."""
    folder = RunFolder.begin(tmp_path / "run")
    folder.write_report(render(verdict(), (), ()))
    folder.write_record(HISTORY, Past((past_of(verdict(0.1)), past_of(verdict(0.3)))))
    view = read_view(folder.path)
    assert view is not None
    (trend,) = view.trends
    assert (trend.row.finding.rule, trend.cells) == (verdict().findings[0].rule, "▁█▅")
    (folder.path / HISTORY).write_text("{}")
    damaged = read_view(folder.path)
    assert damaged is not None
    assert damaged.trends == ()
