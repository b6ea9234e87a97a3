"""An early verdict held against the full one: what agrees, what differs, what cannot be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.audit import audit_check, check_reproduced, compare, said
from gate.errors import MeasurementError
from gate.history import FOLDER
from gate.progress import SilentProgress
from gate.records import (
    Cost,
    Finding,
    Interval,
    Leaf,
    Measurement,
    Measurements,
    ModelRef,
    Provenance,
    TaskInfo,
)
from gate.shell import Shell
from gate.stages import CheckOptions
from gate.verdict import Verdict

BASE, TUNED = ModelRef("base", "/b", "sha256:b"), ModelRef("tuned", "/t", "sha256:t")
WHERE = Provenance("0.1.0", "2026-11-24T00:00:00Z", "", "", "cpu", "float32", "hf", "none", 16, "", {})


def finding(task: str, tuned: float, *, early: bool) -> Finding:
    """A drop from 0.7, two points allowed; settled after 100 of 1,000 documents, or of all."""
    difference = tuned - 0.7
    holds = difference >= -0.02
    remaining = (
        Interval(-0.019, 0.03, 0.9, "benchmark", "m")
        if holds
        else Interval(-0.2, -0.021, 0.9, "benchmark", "m")
    )
    return Finding(
        rule=f"general/{task}/max_drop",
        kind="general",
        check="benchmarks",
        task=task,
        metric="acc",
        filter="none",
        unit="accuracy",
        bound="max_drop",
        base=0.7,
        tuned=tuned,
        difference=difference,
        interval=Interval(difference - 0.1, difference + 0.1, 0.95, "population", "m"),
        margin=0.02,
        outcome="pass" if holds else "fail",
        documents_scored=100 if early else 1_000,
        documents_total=1_000,
        remaining=remaining if early else None,
        documents_planned=1_000,
    )


def verdict(*findings: Finding) -> Verdict:
    return Verdict(findings, BASE, TUNED, None, Cost(), WHERE)


def test_an_early_verdict_that_the_full_one_repeats() -> None:
    """Every claim holds; rules that were scored in full were not claimed early."""
    early = verdict(finding("a", 0.70, early=True), finding("b", 0.69, early=False))
    audit = compare(early, verdict(finding("a", 0.69, early=False), finding("b", 0.69, early=False)), 0.05)
    assert (audit.agrees, audit.settled, audit.differing, audit.error) == (True, 1, (), 0.05)
    assert said(audit) == (
        "audit: on all documents the verdict is the same (pass); "
        "0 of 1 rules that were settled early came out otherwise"
    )


def test_a_false_early_pass_is_found() -> None:
    """Planted: a rule was claimed to hold, and the full benchmark breaks it."""
    early = verdict(finding("a", 0.70, early=True), finding("b", 0.70, early=True))
    audit = compare(early, verdict(finding("a", 0.70, early=False), finding("b", 0.60, early=False)), 0.05)
    assert (audit.agrees, audit.settled, audit.differing) == (False, 2, ("general/b/max_drop",))
    assert "fail, not pass" in said(audit)


def test_what_was_not_settled_was_not_claimed() -> None:
    """A rule that stayed open because another one failed says nothing that could be wrong."""
    open_ = replace(
        finding("b", 0.70, early=True),
        outcome="undecided",
        remaining=Interval(-0.1, 0.1, 0.9, "benchmark", "m"),
    )
    early = verdict(finding("a", 0.5, early=True), open_)
    audit = compare(early, verdict(finding("a", 0.5, early=False), finding("b", 0.5, early=False)), 0.05)
    assert (audit.agrees, audit.settled, audit.differing) == (True, 1, ())


def check_audited(
    tmp_path: Path, audit: Callable[..., int], warned: list[str], **changes: Any
) -> tuple[int, list[Any]]:
    """The exit code of a check's audit, and what the audit was asked."""
    shell = Shell({"GITHUB_SHA": "c0ffee"}, pytest.fail, warned.append, SilentProgress())
    asked: list[Any] = []

    def noted(*given: Any) -> int:
        asked.extend([*given[:3], given[4], Path.cwd()])
        return audit()

    options = CheckOptions(None, Path("t.yaml"), **{"audit": tmp_path / "kept", **changes})
    return audit_check(tmp_path / "run", options, shell, noted), asked


def test_a_check_is_audited_where_its_policy_is_read(tmp_path: Path) -> None:
    """With the commit, into the folder that was named, beside the earlier ones that lie elsewhere."""
    here, warned = Path.cwd(), list[str]()
    kept, run = tmp_path / "kept", tmp_path / "run"
    assert check_audited(tmp_path, lambda: 0, warned) == (0, [run, kept, "c0ffee", None, here])
    found = check_audited(tmp_path, lambda: 0, warned, history=tmp_path / "old", policy_root=tmp_path)
    assert found == (0, [run, kept, "c0ffee", tmp_path / "old", tmp_path])
    assert check_audited(tmp_path, lambda: 0, warned, history=kept)[1][3] is None  # not counted twice
    assert warned == []
    assert CheckOptions.of(config=None, thresholds=Path("t.yaml"), audit=True).audit == FOLDER


def test_an_audit_that_differs_or_fails_is_warned_of(tmp_path: Path) -> None:
    """The early verdict stands in both cases, and the exit code is no success."""
    warned: list[str] = []
    assert check_audited(tmp_path, lambda: 1, warned)[0] == 1
    assert warned[0].endswith(f"another verdict than the early one: see {tmp_path / 'run/audit'}")

    def broken() -> int:
        raise MeasurementError("document 3 does not come out as it did")

    with pytest.raises(MeasurementError):
        check_audited(tmp_path, broken, warned)
    assert (
        warned[1] == "the verdict stands, but it could not be audited: document 3 does not come out as it did"
    )


def measured(numbers: tuple[int, ...], tuned: tuple[float, ...]) -> Measurements:
    one = Measurement(
        "general/x",
        "x",
        "benchmarks",
        "acc",
        "none",
        "accuracy",
        True,
        "mean",
        numbers,
        tuple(f"h{number}" for number in numbers),
        (1.0,) * len(numbers),
        tuned,
        4,
    )
    info = TaskInfo("general/x", "benchmarks", "acc", "none", "accuracy", True, (Leaf("x", 4, 4),))
    return Measurements(BASE, TUNED, (info,), (one,))


def test_scores_that_do_not_come_out_again_are_no_audit() -> None:
    """Planted: one document has another value on this machine, so a difference would not be the test's."""
    full = measured((0, 1, 2, 3), (1.0, 0.0, 1.0, 0.0))
    check_reproduced(measured((1, 3), (0.0, 0.0)), full)
    with pytest.raises(MeasurementError, match="document 3 does not come out as it did"):
        check_reproduced(measured((1, 3), (0.0, 1.0)), full)
    with pytest.raises(MeasurementError, match="document 7"):
        check_reproduced(measured((7,), (0.0,)), full)
