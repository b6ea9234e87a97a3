"""Slices in every report: the worst one named with its numbers, all of them in a folded table."""

from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from gate.records import Finding
from gate.report import SCHEMA_FILE, Report, render
from gate.report.comparison import comparison_row
from gate.report.view import make_view
from gate.verdict import Verdict


def verdict_of(sample: ModuleType, *more: Finding) -> Verdict:
    """A fine-tune that passes every rule but those that are added."""
    return replace(sample.passing(), findings=(*sample.passing().findings, *more))


@pytest.fixture
def report(sample: ModuleType) -> Report:
    return render(verdict_of(sample, sample.sliced()), (), ())


def test_the_verdict_names_the_slice_that_broke(report: Report) -> None:
    """In one sentence, with how many of how many were lost."""
    said = "lost 20.0 ± 17.5"
    for text in (report.comment, report.terminal.replace("\n", " ")):
        assert said in text
        assert "law" in text
        assert "12 of 60 lost" in text


def test_the_comment_folds_a_table_of_slices(report: Report) -> None:
    """Thirty of 57, the worst first; what was pooled says so; the html has them all."""
    table = report.comment.partition("57 slices: 1 does not hold, the worst first")[2].partition(
        "</details>"
    )[0]
    rows = [line for line in table.splitlines() if line.startswith(("| ✗", "| ✓"))]
    assert len(rows) == 30
    assert rows[0] == "| ✗ | `law` | 12 of 60 lost, 0 won | 70.0 % | 50.0 % | −20.0 | −39.0 to −4.0 |"
    assert rows[1].startswith("| ✓ | `other` (3 small slices together) | 4 of 60 lost")
    assert "27 more slices in `report.html`" in table
    assert report.html.count("of 60 lost") >= 57
    assert '<details class="group" open>' in report.html


def test_the_terminal_shows_the_worst_three(report: Report) -> None:
    """Within 100 columns."""
    lines = report.terminal.splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("  slices: general/mmlu/slices:subject"))
    assert "57 slices: 1 does not hold" in lines[at]
    assert [line.split()[:2] for line in lines[at + 1 : at + 4]] == [
        ["✗", "law"],
        ["✓", "other"],
        ["✓", "subject"],
    ]
    assert max(map(len, lines)) <= 100


def test_junit_names_the_slice(report: Report) -> None:
    """In the message and in the text, for dashboards that show nothing else."""
    cases = ElementTree.fromstring(report.junit).iter("testcase")
    (case,) = (each for each in cases if "slices:" in each.attrib["name"])
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib["message"].startswith("mmlu, law: −20.0")
    assert "12 of 60 lost" in (failure.text or "")


def test_the_document_holds_every_slice(report: Report) -> None:
    """And follows its schema."""
    document: Any = json.loads(report.document)
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    finding = document["findings"][-1]
    assert finding["sliced_by"] == "subject"
    assert [each["name"] for each in finding["slices"][:2]] == ["law", "other"]
    assert finding["slices"][1]["pooled"] == 3
    assert document["findings"][0]["slices"] == []


def test_slices_count_no_document_twice_and_hide_no_task(sample: ModuleType) -> None:
    """Documents, the scatter of tasks, the interval's level and the comparison are of whole tasks."""
    plain, more = sample.passing(), verdict_of(sample, sample.sliced())
    more = replace(more, findings=(more.findings[-1], *more.findings[:-1]))
    view, without = make_view(more, (), ()), make_view(plain, (), ())
    assert view.counts == without.counts
    assert view.level == without.level
    assert [len(each.pairs) for each in view.pairs] == [len(each.pairs) for each in without.pairs]
    assert comparison_row("a", more).general == comparison_row("a", plain).general


def test_a_slice_within_noise_is_not_the_worst_of_a_pass(sample: ModuleType) -> None:
    """Its drop may exceed the limit: "at worst lost 20.0, allowed 10.0" would be no reason to pass."""
    broken = sample.sliced()
    noisy = replace(broken.slices[0], interval=replace(broken.slices[0].interval, high=0.01), outcome="pass")
    holds = replace(broken, interval=noisy.interval, slices=(noisy, *broken.slices[1:]), outcome="pass")
    report = render(verdict_of(sample, holds), (), ())
    assert "20.0" not in report.comment.splitlines()[0]
    assert "57 slices: all hold" in report.comment
    assert "| −20.0 | −39.0 to +1.0, no more than noise |" in report.comment


def test_the_worst_slice_has_an_axis_of_its_own(sample: ModuleType) -> None:
    """Its interval is so wide that it would press those of whole tasks together."""
    panels = make_view(verdict_of(sample, sample.sliced()), (), ()).panels
    assert [panel.title for panel in panels if any(mark.row.finding.slices for mark in panel.marks)] == [
        "Change of the worst slice"
    ]
