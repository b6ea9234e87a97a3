"""A waived rule shows its waiver, the reason and its own limit in every report and in verdict.json."""

from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType
from xml.etree import ElementTree

import jsonschema
import pytest

from gate.report import (
    SCHEMA_FILE,
    make_view,
    render,
    render_check_run,
    render_pull_request,
    render_summary,
)
from gate.report.sentence import claim, plain
from gate.verdict import Verdict

RULE = "general/arc_easy/max_drop"
WHY = "legal model, no science"


def waived(sample: ModuleType, margin: float | None) -> Verdict:
    """The blocked verdict with a waiver of the rule that breaks."""
    verdict: Verdict = sample.blocked()
    its = (sample.waived(it, WHY, margin) if it.rule == RULE else it for it in verdict.findings)
    return replace(verdict, findings=tuple(its))


@pytest.mark.parametrize(("margin", "limit"), [(0.9, "allowed −90.0"), (None, "not judged")])
def test_every_report_shows_the_waiver(
    sample: ModuleType, pulls: ModuleType, margin: float | None, limit: str
) -> None:
    """Rule, both limits, last day and reason stand in each; verdict.json has them as data."""
    verdict = waived(sample, margin)
    own = next(it.margin for it in sample.blocked().findings if it.rule == RULE)
    report = render(verdict, sample.FLIPS, sample.TASKS)
    view = make_view(verdict, sample.FLIPS, sample.TASKS)
    run = pulls.ci_run(pulls.config_run("configs/full.yaml", "fail"))
    views = {"configs/full.yaml": view}
    check = render_check_run(view, run.runs[0], run)
    texts = {
        "terminal": " ".join(report.terminal.split()),
        "comment": report.comment,
        "html": report.html.replace("<wbr>", ""),
        "pull request": render_pull_request(run, views),
        "summary": render_summary(run, views),
        "check run": check.summary,
    }
    for name, text in texts.items():
        for word in (RULE, limit, f"allowed −{own * 100:.1f}", "2027-03-01", WHY, "1 rule waived"):
            assert word in text, (name, word)
    case = ElementTree.fromstring(report.junit).find(f".//testcase[@name='{RULE}']")
    assert case is not None
    assert ("waived: not judged until 2027-03-01" in ElementTree.tostring(case, "unicode")) is (
        margin is None
    )
    document = json.loads(report.document)
    jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text("utf-8"))).validate(document)
    found = next(it for it in document["findings"] if it["rule"] == RULE)
    assert found["waiver"] == {
        "rule": RULE,
        "margin": margin,
        "own_margin": own,
        "reason": WHY,
        "until": "2027-03-01",
        "place": {"file": "thresholds.yaml", "line": 9},
    }
    assert found["margin"] == (own if margin is None else margin)


def test_the_sentence_does_not_speak_for_a_skipped_rule(sample: ModuleType) -> None:
    """However much it lost, it is not the worst, nor counted among the tasks that lost nothing."""
    its = {it.rule: it for it in sample.blocked().findings}
    target, same = its["target/banking77/min_gain"], its["general/piqa/max_drop"]
    skipped = sample.waived(its[RULE], WHY, None)
    said = plain(claim(sample.verdict(target, skipped, same)))
    assert said.endswith("on banking77 and lost nothing on 1 general task; 1 rule waived")
    assert plain(claim(sample.verdict(target, skipped))).endswith("on banking77; 1 rule waived")


def test_without_a_waiver_nothing_is_said(sample: ModuleType) -> None:
    """No report speaks of waivers where there are none."""
    report = render(sample.blocked(), sample.FLIPS, sample.TASKS)
    for text in (report.terminal, report.comment, report.html, report.junit):
        assert "waive" not in text.lower()
