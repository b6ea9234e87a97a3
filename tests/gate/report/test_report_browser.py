"""The HTML report in a real browser: quiet, alone, and never wider than the screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options

from gate.records import Flip, Override, Place
from gate.report import render, render_pull_request

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>console.error(1)</script><img src=https://evil.example/x.png>" + "w" * 300


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        assert "CI" not in os.environ, "in CI nothing is left out: see scripts/install-browser.sh"
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def pages(sample: ModuleType) -> dict[str, str]:
    reports = {name: render(make(), sample.FLIPS, sample.TASKS).html for name, make in sample.RESULTS.items()}
    hostile = render(sample.dressed(HOSTILE), sample.dressed_flips(HOSTILE), sample.dressed_tasks(HOSTILE))
    return reports | {"hostile": hostile.html}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["pass", "fail", "undecided", "error", "hostile"])
def test_the_report_opens_quietly_and_fits(
    sample: ModuleType, browser: Any, tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    """No console message, no request but the file itself, no sideways scrolling, in light and dark."""
    path = tmp_path / "report.html"
    path.write_text(pages(sample)[name], encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert told == []
    assert asked == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert page.locator("h1").count() == 1
    page.close()


def test_the_report_prints(sample: ModuleType, browser: Any, tmp_path: Path) -> None:
    """On paper the flipped documents are unfolded and nothing is wider than it, also in dark mode."""
    path = tmp_path / "report.html"
    path.write_text(pages(sample)["fail"], encoding="utf-8")
    page = browser.new_page(viewport={"width": 700, "height": 990}, color_scheme="dark")
    page.goto(path.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("details .doc").first.bounding_box()["height"] > 20
    assert len(page.pdf(format="A4")) > 10_000
    page.close()


def test_every_picture_is_named(sample: ModuleType, browser: Any, tmp_path: Path) -> None:
    """Each plot tells a screen reader its numbers; the others are hidden from it."""
    path = tmp_path / "report.html"
    path.write_text(pages(sample)["fail"], encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    unnamed = page.evaluate(
        "[...document.querySelectorAll('svg')].filter(it => !it.parentElement.closest('svg')"
        " && !it.closest('[aria-hidden=true]') && !it.getAttribute('aria-label')).length"
    )
    assert unnamed == 0
    assert page.evaluate("[...document.querySelectorAll('th')].every(it => it.scope)")
    page.close()


def planted(sample: ModuleType, words: list[str]) -> str:
    """The HTML report of a verdict in which every string stands once as each kind of data."""
    its = [
        replace(
            sample.finding(f"general/{word}{number}/max_drop", 0.5, 0.4, 0.02, 0.01),
            metric=word,
            filter=word,
            note=word,
            place=Place(word, 3),
            unit=word if number % 2 else "accuracy",
        )
        for number, word in enumerate(words)
    ]
    flips = [
        Flip(f"general/{word}{n}", word, n, word, word, word, word, True) for n, word in enumerate(words)
    ]
    tasks = [info for word in words for info in sample.dressed_tasks(word)]
    everything = "\n".join(words)
    verdict = sample.verdict(*its, tuned=replace(sample.TUNED, name=everything))
    facts = replace(sample.PROVENANCE, warnings=tuple(words), device=everything, policy_path=everything)
    config = replace(sample.CONFIG, path=everything, overrides=tuple(Override(w, w, w, w) for w in words))
    return render(replace(verdict, provenance=facts, config=config), flips, tasks).html


def commented(sample: ModuleType, pulls: ModuleType, words: list[str]) -> str:
    """A page of comments, one a string."""
    comments = [render_pull_request(*pulls.dressed_pull(sample, word)) for word in words]
    unsafe = Options.CMARK_OPT_UNSAFE
    parts = [cmarkgfm.github_flavored_markdown_to_html(comment, options=unsafe) for comment in comments]
    return f"<!doctype html><meta charset=utf-8>{''.join(parts)}"


@pytest.mark.parametrize("text", ["report", "comment"])
def test_a_report_with_the_whole_corpus_stays_quiet(
    sample: ModuleType,
    pulls: ModuleType,
    corpus: dict[str, list[str]],
    browser: Any,
    tmp_path: Path,
    text: str,
) -> None:
    """Every hostile string planted at once: no script runs, nothing is asked for, nothing is said; the same
    for comments as GitHub's parser makes HTML of them, even without GitHub's sanitiser."""
    words = [word for group in corpus.values() for word in group]
    path = tmp_path / "page.html"
    html = planted(sample, words) if text == "report" else commented(sample, pulls, words[::4])
    path.write_text(html, encoding="utf-8")
    page = browser.new_page()
    page.add_init_script("window.alert = () => console.error('alert ran')")
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert told == []
    assert asked == [path.as_uri()]
    active = page.locator(
        "script, img, iframe, object, embed, form, video, link, base, meta[http-equiv=refresh]"
    )
    assert active.count() == 0
    assert page.locator("a").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('*')].every(it => ![...it.attributes]"
        ".some(a => a.name.startsWith('on')))"
    )
    page.close()
