"""Rules that were settled before every document was scored: said so, everywhere, and never as a score."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from gate.records import Finding, Interval
from gate.report import comparison_row, comparison_table, render
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
    assert "1 rule settled before every document was scored" in report.terminal
    assert "Every document was scored" not in report.comment + report.html


def test_an_estimate_is_never_a_score(sample: ModuleType) -> None:
    """Its numbers are marked, its ± is what is left uncertain, and noise is not spoken of."""
    report = render(settled(sample), (), ())
    (line,) = [line for line in report.comment.splitlines() if "arc_easy" in line and "412" in line]
    assert "≈ −0.4 ± 1.0" in line.replace("\u00a0", " ").replace("\u2060", "")
    assert "within noise" not in line
    assert "≈ marks what was settled before every document was scored" in report.comment
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
    assert "≈ 0.4 ± 1.0" in comparison_table([row])
