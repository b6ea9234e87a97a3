#!/usr/bin/env python3
"""Pictures of the pull request's comment and of a check run, from the demo's own runs.

    python scripts/picture_comment.py DEMO [--before RUN] [--out docs/img] [--width 980]

DEMO is a folder that `ftgate demo` left; RUN is an earlier run of configs/full.yaml, for what changed since
the previous push. The Markdown is the report's, turned into HTML by GitHub's own cmark-gfm, and shown by the
system's Chromium under a stylesheet like GitHub's.
"""

from __future__ import annotations

import argparse
import html
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import cmarkgfm
from cmarkgfm.cmark import Options
from playwright.sync_api import sync_playwright

from gate.judging import judge_run
from gate.progress import SilentProgress
from gate.records import ChangedConfig, CiRun, ConfigRun, Event, TrainingConfig
from gate.report import CheckRunText, PullContext, View, make_view, render_check_run, render_pull_request
from gate.runfolder import RESOLVED_CONFIG, RunFolder
from gate.shell import Shell
from gate.verdict import Failure, Verdict

METHODS = ("full", "lora")
HEAD = "4be1d2a90c7f3358c6b1a0f5d7e2964b8c03f1da"
TRUST = (
    "Trained and judged in one job, as one user: for trusted authors; a pull request's code could have "
    "changed this result. This check can be edited by the pull request unless a required workflow or "
    "an App's check is set up (docs/security.md)."
)


def judged(run: Path) -> tuple[Verdict | Failure, View]:
    """A run's verdict, judged again in a copy of its folder, and its view."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(run, copy)
        quiet = Shell(
            environ={}, say=lambda _: None, warn=lambda _: None, progress=SilentProgress(), quiet=True
        )
        result = judge_run(copy, None, quiet)
        measured = RunFolder.open(copy).read_measurements()
    return result, make_view(result, measured.flips, measured.tasks)


def pull_request(demo: Path) -> tuple[CiRun, Mapping[str, View]]:
    """The demo's runs as one pull request's."""
    runs, views = [], {}
    for method in METHODS:
        path = f"configs/{method}.yaml"
        result, views[path] = judged(demo / "runs" / method)
        runs.append(
            ConfigRun(ChangedConfig(path, "edited"), result.outcome, result.exit_code, method, method)
        )
    worst = max(runs, key=lambda run: run.exit_code)
    event = Event(
        "pull_request", "acme/assistant", HEAD, "0" * 40, base_ref="main", pull=42, run_id=7, run_attempt=1
    )
    run = CiRun(event, "check", tuple(runs), outcome=worst.outcome, exit_code=worst.exit_code, trust=TRUST)
    return run, views


def context_of(before: Path | None) -> PullContext:
    """Links, and the previous push where an earlier run is at hand."""
    at = "https://github.com/acme/assistant/actions/runs/7"
    if before is None:
        return PullContext(at, f"{at}/artifacts/1", policy_path="thresholds.yaml")
    result, view = judged(before)
    previous = {"configs/full.yaml": {finding.rule: finding.difference for finding in result.findings}}
    return PullContext(at, f"{at}/artifacts/1", previous, view.device_seconds / 3600, "thresholds.yaml")


def markdown(text: str) -> str:
    """GitHub's own parser; what GitHub's sanitiser would take out is not there to begin with."""
    return str(cmarkgfm.github_flavored_markdown_to_html(text, options=Options.CMARK_OPT_UNSAFE))


def page(body: str) -> str:
    style = Path(__file__).with_name("github.css").read_text(encoding="utf-8")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return f"<!doctype html><html><head>{head}<style>{style}</style></head><body>{body}</body></html>"


def comment_page(text: str) -> str:
    who = '<header><b>github-actions</b><span class="bot">bot</span> commented 2 minutes ago</header>'
    box = f'<div class="box">{who}<div class="markdown">{markdown(text)}</div></div>'
    return page(f'<div class="timeline"><div class="avatar">ft</div>{box}</div>')


def check_page(check: CheckRunText, name: str, passed: bool) -> str:
    state = "success" if passed else "failure"
    remarks = "".join(
        f'<div class="remark {it.level}"><p class="place">{html.escape(f"{it.path}, line {it.line}")}</p>'
        f"<p><b>{html.escape(it.title)}</b></p><p>{html.escape(it.message)}</p></div>"
        for it in check.remarks
    )
    parts = "".join(
        f'<section class="box"><div class="markdown">{markdown(it)}</div></section>'
        for it in (check.summary, check.text)
    )
    return page(
        f'<div class="check"><h2>{html.escape(name)}</h2><p class="state {state}"><b>{state}</b> · '
        f"{html.escape(check.title)}</p>{parts}<h5>Annotations</h5>{remarks}</div>"
    )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("demo", type=Path)
    options.add_argument("--before", type=Path)
    options.add_argument("--out", type=Path, default=Path("docs/img"))
    options.add_argument("--width", type=int, default=980)
    asked = options.parse_args()
    run, views = pull_request(asked.demo)
    context = context_of(asked.before)
    config = RunFolder.open(asked.demo / "runs" / "full").read_record(RESOLVED_CONFIG, TrainingConfig)
    check = render_check_run(views["configs/full.yaml"], run.runs[0], run, context, config=config)
    pages = {
        "comment": comment_page(render_pull_request(run, views, context)),
        "check-run": check_page(check, "ftgate: configs/full.yaml", run.runs[0].outcome == "pass"),
    }
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": asked.width, "height": 400}, device_scale_factor=2)
        for name, text in pages.items():
            tab.set_content(text)
            tab.screenshot(path=asked.out / f"{name}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
