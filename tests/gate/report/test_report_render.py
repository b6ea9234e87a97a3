"""What each rendering holds: structure, limits, colours, and a failure that is never green."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

import gate.report
from gate.records import Flip
from gate.report import COMMENT_LIMIT, SHEDDING, comparison_row, comparison_sentence, comparison_table, render
from gate.report.quantities import scale_of
from gate.report.rows import make_row
from gate.report.svg import bar, forest, make_axis
from gate.report.text import columns
from gate.report.view import count_documents, make_view

OUTCOMES = ["pass", "fail", "undecided", "error"]


def long_flips(count: int) -> list[Flip]:
    prompt = "Question: why? " * 40
    return [
        Flip(f"general/task{n % 30}", f"task{n % 30}", n, prompt, "yes", "yes", "no " * 90, True)
        for n in range(count)
    ]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_rendering_opens_with_the_sentence(sample: ModuleType, outcome: str) -> None:
    """The first line says whether to merge, in the same words everywhere."""
    report = render(sample.RESULTS[outcome](), sample.FLIPS, sample.TASKS)
    label = {"pass": "may merge", "fail": "blocked", "undecided": "undecided", "error": "could not measure"}
    assert report.terminal.startswith(f"{label[outcome]}: ")
    assert report.comment.splitlines()[0].split(" ", 2)[2].startswith(f"{label[outcome]}: ")
    assert f'<span class="label">{label[outcome]}:</span>' in report.html


def test_the_first_screen_has_what_a_reviewer_needs(sample: ModuleType) -> None:
    """Target, worst general change, counts, device-hours with the store, three documents, a folded count."""
    comment = render(sample.blocked(), sample.FLIPS, sample.TASKS).comment
    first = comment.partition("<details>")[0]
    assert "| **target** | `banking77` | 13.0 % | 25.4 % | +12.4 ± 1.5 points | needs +5.0 |" in first
    assert "| **worst general** | `arc_easy` | 50.0 % | 46.9 % | \u22123.1 ± 0.6 points |" in first
    assert "757 fell, 1,015 rose, 15,384 unchanged, 9,042 not measured" in first
    assert "0.047 device-hours (2 min 48 s); 96 of 193 blocks came from the store" in first
    assert first.count("| base: right | tuned: wrong |") == 3
    assert "`general/hellaswag` 1,000 of 10,042" in first
    assert (
        "<summary>10 rules hold, 1 shown and not judged; 15,384 of 26,198 documents unchanged</summary>"
        in comment
    )


def test_the_scorer_and_why_not_a_faster_one(sample: ModuleType) -> None:
    """Which scorer ran stands among the facts, after a fall-back with the reason, and in verdict.json."""
    plain = sample.passing()
    reason = "the tree scorer is not exact for base: ALiBi"
    slower = replace(
        plain, provenance=replace(sample.PROVENANCE, scorer="lm-eval HF model", scorer_reason=reason)
    )
    assert ("scorer", "hf 1") in make_view(plain, (), ()).facts
    assert ("scorer", f"lm-eval HF model; {reason}") in make_view(slower, (), ()).facts
    report = render(slower, (), ())
    assert reason in report.html
    assert json.loads(report.document)["provenance"]["scorer_reason"] == reason


def test_broken_documents_come_from_the_worst_tasks_in_turn(sample: ModuleType) -> None:
    """The failing task comes first; what the tuned model got right is not shown as broken."""
    view = make_view(sample.blocked(), sample.FLIPS, sample.TASKS)
    assert [flip.task for flip in view.three] == ["general/arc_easy", "general/hellaswag", "general/piqa"]
    assert view.broken[0].total == 142
    assert all(flip.fell for group in view.broken for flip in group.flips)


def test_documents_are_counted_once_a_task(sample: ModuleType) -> None:
    """A second rule of a task, a mean over tasks and text count no document again."""
    its = sample.findings()
    doubled = [*its, replace(its[2], rule="general/arc_easy/report", bound="report", margin=None)]
    assert count_documents(its) == count_documents(doubled)


def test_noise_and_remaining_uncertainty_have_their_own_words(sample: ModuleType) -> None:
    """A rule on a part of its documents shows both, each under its own name."""
    report = render(sample.blocked(), sample.FLIPS, sample.TASKS)
    for text in (report.comment, report.html):
        assert "benchmark noise" in text
        assert "remaining uncertainty" in text
        assert not re.search(r"remaining noise|benchmark uncertainty", text)
    whole = render(sample.verdict(sample.finding("general/a/max_drop", 0.5, 0.49, 0.02, 0.02)), (), ())
    assert "remaining uncertainty" not in whole.comment
    assert "within noise" in whole.comment
    assert "within&nbsp;noise" in whole.html


def test_a_failure_is_never_green(sample: ModuleType) -> None:
    """No check mark and no rule that holds, even for rules that had been computed and would pass."""
    partial = replace(sample.failure(), findings=sample.findings(arc_easy=0.4958))
    report = render(partial, (), ())
    assert "could not measure" in report.terminal
    for text in (report.terminal, report.comment, report.html):
        assert "✓" not in text
        assert "✅" not in text
        assert not re.search(r"\bholds?\b", text)
        assert "set per_device_train_batch_size: 8" in text
    assert 'class="is-error"' in report.html
    assert "<error " in report.junit


def test_a_failure_with_nothing_known_still_renders(sample: ModuleType) -> None:
    """A run that stopped before base or policy were found has a report as well."""
    bare = replace(sample.failure(), base=None, config=None, provenance=None, hint="")
    report = render(bare, (), ())
    assert "smaller batch with more accumulation" in report.comment


def test_a_long_comment_sheds_whole_sections_and_says_so(sample: ModuleType) -> None:
    """Too much text goes section by section, in a fixed order, and the comment says what is missing."""
    word = "w" * 110
    its = [sample.finding(f"general/{word}{n}/max_drop", 0.5, 0.4, 0.02, 0.01) for n in range(400)]
    comment = render(sample.verdict(*its), long_flips(3000), sample.TASKS).comment
    assert len(comment) < COMMENT_LIMIT
    assert comment.startswith("### ❌ blocked: ")
    left_out = re.search(r"Left out to fit GitHub.s limit: (.*)\. `report.html` has everything", comment)
    assert left_out
    words = list(SHEDDING.values())
    assert left_out[1] == ", ".join(words[: left_out[1].count(", ") + 1])


def test_a_huge_verdict_keeps_its_head(sample: ModuleType) -> None:
    """Two thousand failing rules still make a comment that GitHub takes."""
    its = [sample.finding(f"general/{'long' * 20}{n}/max_drop", 0.5, 0.4, 0.02, 0.01) for n in range(2000)]
    report = render(sample.verdict(*its), (), ())
    assert len(report.comment) < COMMENT_LIMIT
    assert "1999 more rules" in report.comment.replace(",", "")
    assert len(report.terminal.splitlines()) < 45


def test_the_terminal_fits_a_screen(sample: ModuleType) -> None:
    """At most 100 columns and 45 lines; colours only when asked for."""
    plain = render(sample.blocked(), sample.FLIPS, sample.TASKS, folder=Path("ftgate-runs/x")).terminal
    assert max(columns(line) for line in plain.splitlines()) <= 100
    assert len(plain.splitlines()) <= 45
    assert "\x1b" not in plain
    assert "ftgate-runs/x/report.html" in plain
    coloured = render(
        sample.blocked(), sample.FLIPS, sample.TASKS, colour=True, folder=Path("ftgate-runs/x")
    ).terminal
    assert "\x1b[31m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_junit_has_one_case_a_rule(sample: ModuleType) -> None:
    """A rule that does not hold is a failure, an undecided one too, a reported one is skipped."""
    suite = ElementTree.fromstring(render(sample.blocked(), (), ()).junit)
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert len(cases) == 12
    assert [name for name, case in cases.items() if case.find("failure") is not None] == [
        "general/arc_easy/max_drop"
    ]
    assert [name for name, case in cases.items() if case.find("skipped") is not None] == [
        "text/general/report"
    ]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("12", "1", "0")
    undecided = ElementTree.fromstring(render(sample.undecided(), (), ()).junit)
    assert undecided.get("failures") == "1"


def test_the_html_needs_nothing_else(sample: ModuleType) -> None:
    """No script, no address, and a policy that forbids fetching anything."""
    html = render(sample.blocked(), sample.FLIPS, sample.TASKS).html
    assert "default-src 'none'" in html
    assert not re.search(r"<script|<link|src=|href=|url\(|@import|https?://", html)


def test_settings_that_the_gate_changed_are_shown(sample: ModuleType) -> None:
    """Every override, with what it was and why, in the comment and in the HTML."""
    report = render(sample.blocked(), (), ())
    assert (
        "| `push_to_hub` | `true` | `false` | a gate does not upload what it has not judged |"
        in report.comment
    )
    assert "What the gate changed in the config" in report.html


def test_bars_show_limit_noise_and_change(sample: ModuleType) -> None:
    """The bar in characters has the estimate left of the limit when a drop is too large."""
    panel = forest([make_row(sample.finding("general/a/max_drop", 0.5, 0.44, 0.02, 0.01))])[0]
    drawn = bar(panel.marks[0], panel, 23)
    assert len(drawn) == 23
    assert drawn.index("●") < drawn.index("┃") < drawn.index("┊")
    assert panel.marks[0].forbidden == (0.0, panel.marks[0].edge)


@pytest.mark.parametrize("values", [[0.0, 0.0], [-0.031, 0.002], [14.2, 15.9], [1e-9, 2e-9], [-5000.0, 12.0]])
def test_an_axis_holds_its_values_with_round_ticks(values: list[float]) -> None:
    """Every value is inside, ticks are in order and few."""
    axis = make_axis(values, scale_of("perplexity"), signed=True)
    assert axis.low < min(values) <= max(values) < axis.high
    places = [place for place, _ in axis.ticks]
    assert places == sorted(places)
    assert 2 <= len(places) <= 8


def test_the_comparison_says_what_happened(sample: ModuleType) -> None:
    """A table for people, a table for GitHub, and one line; the target alone would merge the blocked."""
    rows = [
        comparison_row("full", sample.blocked()),
        comparison_row("lora", sample.passing()),
        comparison_row("qlora", sample.failure()),
    ]
    table = comparison_table(rows)
    assert [line.split()[0] for line in table.splitlines()] == [
        "method",
        table.splitlines()[1].split()[0],
        "full",
        "lora",
        "qlora",
    ]
    assert max(columns(line) for line in table.splitlines()) <= 120
    markdown = comparison_table(rows, "markdown")
    assert {line.count("|") for line in markdown.splitlines()} == {9}
    assert (
        "| `full` | +12.4 ± 1.5 | 1.2 ± 0.5 | 1.155 (+13.0 %) | 1 min 1 s | 6.7 GiB | 135 M | blocked |"
        in markdown
    )
    said = comparison_sentence(rows)
    assert said.startswith("lora may merge (target +12.4 points")
    assert said.endswith(
        "qlora could not be measured; judged on the target alone, full would have been merged."
    )
    assert "\n" not in said


def test_text_colours_have_contrast() -> None:
    """Every text colour on every background of the HTML reaches 4.5 to 1, light, dark and in print."""
    css = (Path(gate.report.__file__).parent / "templates" / "report.css").read_text()
    blocks = [
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(blocks) == 3
    for colours in blocks:
        for ink in ("ink", "soft", "good", "bad", "unsure"):
            for paper in ("paper", "wash"):
                assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two hexadecimal colours."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
