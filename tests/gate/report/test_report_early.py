"""Rules that were settled before every document was scored: said so, everywhere, and never as a score."""

from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType

import pytest

from gate.records import Finding, Interval
from gate.report import comparison_row, comparison_table, make_view, render, render_pull_request
from gate.verdict import Verdict


def settled(sample: ModuleType, outcome: str = "pass") -> Verdict:
    """The passing verdict, its arc_easy settled after 412 of 10,042."""

    def early(it: Finding) -> Finding:
        if "arc_easy" not in it.rule:
            return it
        low, high = (-0.0151, 0.0043) if outcome == "pass" else (-0.0311, 0.0043)
        remaining = Interval(low, high, 0.944, "benchmark", "betting martingale, at all looks")
        return replace(
            it,
            base=0.5,
            tuned=0.4958,
            difference=0.4958 - 0.5,
            interval=replace(it.interval, low=-0.05, high=0.04),
            remaining=remaining,
            outcome=outcome,
            documents_scored=412,
            documents_planned=10_042,
            documents_total=10_042,
            fell=0,
            rose=0,
            unchanged=0,
            note="",
            margin=0.02,
        )

    return sample.verdict(*map(early, sample.passing().findings))


@pytest.mark.parametrize(
    ("outcome", "words"), [("pass", "settled after"), ("undecided", "not settled after")]
)
def test_every_form_says_after_how_many(sample: ModuleType, outcome: str, words: str) -> None:
    """Comment and page say it of the rule, the JUnit file where it fails; the terminal has its documents."""
    report = render(settled(sample, outcome), (), ())
    for text in (report.comment, report.html, *([report.junit] if outcome == "undecided" else [])):
        assert f"{words} 412 of 10,042" in text
    assert "412 of 10,042" in report.terminal
    counted = "1 rule settled before every document was scored:"
    if outcome == "undecided":
        counted = "0 rules settled before every document was scored, 1 not settled:"
    assert counted in report.terminal
    assert "Every document was scored" not in report.comment + report.html


def test_an_estimate_is_never_a_score(sample: ModuleType) -> None:
    """Its numbers are marked, with where the benchmark's own can lie; noise is not spoken of."""
    report = render(settled(sample), (), ())
    (line,) = [line for line in report.comment.splitlines() if "arc_easy" in line and "412" in line]
    assert "≈ −0.4 (−1.5 to +0.4)" in line.replace("\u00a0", " ").replace("\u2060", "")
    assert "within noise" not in line
    assert "≈ −1.5 to +0.4" in report.terminal
    assert "≈ marks what was estimated before every document was scored" in report.comment
    plain = render(sample.passing(), (), ())
    assert "≈" not in plain.comment + plain.html + plain.terminal


def test_the_sentence_does_not_call_an_estimate_a_result(sample: ModuleType) -> None:
    """Where a general rule was settled early, a pass keeps its limits; nothing is said to be lost or not."""
    report = render(settled(sample), (), ())
    assert "kept every limit on" in report.comment
    assert "lost nothing" not in report.comment


def test_a_comparison_marks_estimates(sample: ModuleType) -> None:
    """The table of several fine-tunes too."""
    only = [replace(it, kind="general") for it in settled(sample).findings if "arc_easy" in it.rule]
    row = comparison_row("lora", sample.verdict(*only))
    assert "≈ 0.4 (−0.4 to +1.5)" in comparison_table([row])


def scored_early(sample: ModuleType) -> Verdict:
    """A score of 6 of 64 documents that is held against 2 %: the interval is far from even."""
    gain = next(it for it in sample.passing().findings if it.kind == "target")
    remaining = Interval(0.025, 0.239, 0.9, "benchmark", "betting martingale, at all looks")
    score = replace(
        gain,
        rule="target/banking77/min_score",
        bound="min_score",
        base=0.01,
        tuned=0.094,
        difference=0.084,
        margin=0.02,
        outcome="pass",
        interval=replace(gain.interval, low=0.04, high=0.19),
        remaining=remaining,
        documents_scored=64,
        documents_planned=1_000,
        documents_total=1_000,
        fell=0,
        rose=0,
        unchanged=0,
    )
    return sample.verdict(score)


def test_what_is_left_uncertain_never_contradicts_the_verdict(sample: ModuleType) -> None:
    """From where to where: half of an uneven interval beside the estimate would reach below the limit."""
    report = render(scored_early(sample), (), ())
    for text in (report.comment, report.html, report.terminal):
        assert "2.5 to 23.9 %" in text
        assert "10.7" not in text


def test_an_early_number_is_no_score_in_the_headline(sample: ModuleType) -> None:
    """The word belongs to what all documents say."""
    report = render(scored_early(sample), (), ())
    assert "may merge: estimated at 9.4 % (2.5 to 23.9 %) on" in report.comment
    assert "scored ≈" not in report.comment + report.html + report.terminal
    assert "scored 9.4" not in report.comment + report.html + report.terminal


def test_a_salt_of_this_run_alone_is_said(sample: ModuleType) -> None:
    """Where documents were drawn by it: another run would draw others. Where all were scored, nothing."""
    early, whole = settled(sample), sample.passing()
    for verdict, said in ((early, True), (whole, False)):
        assert verdict.provenance is not None
        made = replace(verdict, provenance=replace(verdict.provenance, salt_made=True))
        report = render(made, (), ())
        for text in (report.comment, report.html, report.terminal):
            assert ("the order's salt was made in this run" in text.replace("&#39;", "'")) is said
        assert json.loads(report.document)["provenance"]["salt_made"] is True
    assert "salt was made" not in render(early, (), ()).comment


def test_a_repeat_is_said(sample: ModuleType) -> None:
    """A verdict for which nothing was measured anew is its stored answers."""
    verdict = settled(sample)
    again = replace(verdict, cost=replace(verdict.cost, blocks_scored=0, blocks_from_store=7))
    report = render(again, (), ())
    for text in (report.comment, report.html, report.terminal):
        assert "7 of 7 blocks came from the store: stored answers, repeated" in text
    assert "repeated" not in render(verdict, (), ()).comment


def test_a_pull_requests_comment_marks_estimates(sample: ModuleType, pulls: ModuleType) -> None:
    """In its table, in what changed since the previous push, and in small print; and it warns of the salt."""
    verdict = settled(sample)
    assert verdict.provenance is not None
    made = replace(verdict, provenance=replace(verdict.provenance, salt_made=True))
    run = pulls.ci_run(pulls.config_run("configs/full.yaml", "pass"))
    (rule,) = [it.rule for it in made.findings if "arc_easy" in it.rule]
    before = pulls.context(previous={"configs/full.yaml": {rule: -0.05}})
    comment = render_pull_request(run, {"configs/full.yaml": make_view(made, (), ())}, before)
    comment = comment.replace("\u00a0", " ").replace("\u2060", "")
    assert "≈ −0.4 (−1.5 to +0.4)" in comment
    assert "was −5.0, now ≈ −0.4" in comment
    assert "≈ is an estimate, with where the full benchmark’s own number can lie in brackets" in comment
    assert "salt was made in this run" in comment
    plain = render_pull_request(
        run, {"configs/full.yaml": pulls.view_of(sample, sample.passing())}, pulls.context()
    )
    assert "≈" not in plain
