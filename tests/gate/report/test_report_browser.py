"""The HTML report in a real browser: quiet, alone, and never wider than the screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gate.report import render

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
