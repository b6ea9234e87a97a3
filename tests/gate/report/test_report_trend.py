"""Rules over the last verdicts: what is drawn, what is not, and that it fits."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gate.history import decode_past, encode_past, past_of
from gate.records.history import PastVerdict
from gate.report import make_view, render, render_check_run, render_pull_request
from gate.report.trend import LAST, LEFT, RIGHT, make_trends, sparkline

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def past(sample: ModuleType, count: int, change: float = 0.01, **changes: Any) -> tuple[PastVerdict, ...]:
    """Earlier verdicts on the sample's config, each with numbers a little higher."""
    now = past_of(sample.blocked())
    found = []
    for number in range(count):
        rules = tuple(replace(rule, value=rule.value + change * number) for rule in now.rules)
        created = f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T04:00:00+00:00"
        found.append(replace(now, **{"created": created, "rules": rules, **changes}))
    return tuple(found)


def test_nothing_is_drawn_without_a_history(sample: ModuleType) -> None:
    """Neither in the page nor in the comment; nor for rules that are new, or shown and not judged."""
    without = render(sample.blocked(), sample.FLIPS, sample.TASKS)
    assert "default branch" not in without.html + without.comment
    rows = make_view(sample.blocked(), (), ()).rows
    assert make_trends(rows, past(sample, 3, rules=())) == ()
    judged = [row.finding.rule for row in rows if row.outcome != "reported"]
    assert [trend.row.finding.rule for trend in make_trends(rows, past(sample, 3))] == judged


def test_a_failure_draws_no_trend(sample: ModuleType) -> None:
    """Its numbers are no verdict."""
    assert "default branch" not in render(sample.RESULTS["error"](), (), (), history=past(sample, 3)).html


def test_a_trend_is_placed_by_its_numbers(sample: ModuleType) -> None:
    """The oldest left, this verdict right; the margin between what is allowed and what is not."""
    rows = [row for row in make_view(sample.blocked(), (), ()).rows if row.outcome == "fail"]
    (trend,) = make_trends(rows, past(sample, 4, change=0.001))
    assert [spot.x for spot in trend.spots] == [LEFT, 23.75, 45.5, 67.25, 100 - RIGHT]
    heights = [spot.y for spot in trend.spots]
    assert heights[0] == heights[-1]  # the same number
    assert heights[:4] == sorted(heights[:4], reverse=True)  # a smaller drop stands higher
    assert trend.edge is not None
    assert trend.edge < heights[0]  # it breaks the margin
    assert trend.forbidden == (trend.edge, round(100 - trend.edge, 2))
    assert (trend.cells, trend.first) == ("▁▃▆█▁", "2026-01-01")
    assert trend.said.startswith("4 earlier verdicts since 2026-01-01: ")


def test_an_estimate_in_the_past_is_no_score(sample: ModuleType) -> None:
    """Beside "before", and in the words for who does not see the picture."""
    rows = [row for row in make_view(sample.blocked(), (), ()).rows if row.outcome == "fail"]
    earlier = past(sample, 2)
    early = replace(earlier[1], rules=tuple(replace(rule, early=True) for rule in earlier[1].rules))
    (plain,), (trend,) = make_trends(rows, earlier), make_trends(rows, (earlier[0], early))
    assert trend.before == f"≈ {plain.before}"
    assert trend.said.count("≈") == 1
    assert f", {trend.before}, " in trend.said


def test_only_the_last_verdicts_are_drawn(sample: ModuleType) -> None:
    """However long the history is."""
    rows = make_view(sample.blocked(), (), ()).rows
    assert {len(trend.spots) for trend in make_trends(rows, past(sample, 3 * LAST))} == {LAST + 1}


def test_another_unit_is_another_quantity(sample: ModuleType) -> None:
    """A rule that changed its metric under the same id is not compared with what it was."""
    rows = make_view(sample.blocked(), (), ()).rows
    (old,) = past(sample, 1)
    other = replace(old, rules=tuple(replace(rule, unit="nats") for rule in old.rules))
    assert make_trends(rows, (other,)) == ()


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([0.0, 1.0], "▁█"),
        ([2.0, 2.0, 2.0], "▄▄▄"),
        ([-0.0666667, -0.06666666666], "▄▄"),
        ([0.0, 0.0], "▄▄"),
        ([-1.0, 0.0, 1.0], "▁▅█"),
    ],
)
def test_bars_of_characters(values: list[float], cells: str) -> None:
    """The largest is a full one; what differs by a stored number's rounding is the same."""
    assert sparkline(values) == cells


def test_a_comment_with_a_past_keeps_its_limit(sample: ModuleType, corpus: dict[str, list[str]]) -> None:
    """Hostile names in a history act nowhere: rules are matched by their id, dates are dates."""
    word = corpus[next(iter(corpus))][0]
    history = past(sample, 2, commit=word, config=word)
    report = render(sample.blocked(), sample.FLIPS, sample.TASKS, history=history)
    assert "12 rules over the last" in report.comment or "11 rules over the last" in report.comment
    assert word not in report.comment + report.html


@pytest.mark.parametrize(("low", "high"), [(-1e100, 1e100), (1e100, 1e100), (-5e-324, 5e-324)])
def test_any_number_that_a_history_may_hold_is_drawn(sample: ModuleType, low: float, high: float) -> None:
    """Who can write the history can write any number there: a report is made all the same."""
    one, two = past(sample, 2)
    history = tuple(
        decode_past(encode_past(replace(it, rules=tuple(replace(rule, value=value) for rule in it.rules))))
        for it, value in ((one, low), (two, high))
    )
    assert "default branch" in render(sample.blocked(), (), (), history=history).comment


def test_a_pull_requests_comment_folds_the_trend(sample: ModuleType, pulls: ModuleType) -> None:
    """A line a judged rule in characters, in comment and check run alike; it goes before what was decided."""
    view = pulls.view_of(sample, sample.blocked())
    run = pulls.ci_run(pulls.config_run("configs/full.yaml", "fail"))
    comment = render_pull_request(run, {"configs/full.yaml": view}, pulls.context())
    head, _, folded = comment.partition("over the last verdicts on the default branch</summary>")
    assert head.rstrip().rpartition("\n\n")[2].startswith("<details>\n<summary>")
    lines = [line for line in folded.partition("</details>")[0].splitlines() if line.startswith("| `")]
    assert [line.split("|")[1].strip(" `") for line in lines] == [it.row.finding.rule for it in view.trends]
    assert all(re.search(r"\| `[▁▂▃▄▅▆▇█]{4}` \| `2026-11-01` \|", line) for line in lines)
    check = render_check_run(view, run.runs[0], run, pulls.context())
    assert "over the last verdicts on the default branch" in check.text
    smaller = render_pull_request(
        run, {"configs/full.yaml": view}, pulls.context(), limit=len(comment.encode()) - len(folded) // 2
    )
    assert "over the last verdicts on the default branch</summary>" not in smaller
    assert "the rules over the last verdicts" in smaller
    without = replace(view, trends=())
    assert "default branch" not in render_pull_request(run, {"configs/full.yaml": without}, pulls.context())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        assert "CI" not in os.environ, "in CI nothing is left out: see scripts/install-browser.sh"
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_trends_fit_and_stay_apart(
    sample: ModuleType, browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    """Labels lie within their picture and beside the line, on a phone as on a desk, also on paper."""
    path = tmp_path / "report.html"
    path.write_text(render(sample.blocked(), (), sample.TASKS, history=past(sample, 12)).html, "utf-8")
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto(path.as_uri())
    assert page.locator(".trend").count() > 5
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """[...document.querySelectorAll('.trend')].flatMap(plot => {
            const box = plot.getBoundingClientRect();
            const spots = [...plot.querySelectorAll('circle')].map(it => it.getBoundingClientRect());
            const right = Math.max(...spots.map(it => it.right));
            return [...plot.querySelectorAll('text')].map(text => text.getBoundingClientRect())
                .filter(it => it.top < box.top - 1 || it.right > box.right + 1 || it.left < right - 1);
        }).length"""
    )
    assert outside == 0
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
