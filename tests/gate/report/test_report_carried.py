"""A report that is carried over: read back as it was written, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.records import CarriedReport
from gate.report import render_check_run, render_pull_request
from gate.report.carried import carried_title, is_ours, read_carried

RUNS = "https://github.com/acme/assistant/actions/runs/"
SHA, LATER = "a" * 40, "d" * 40
PATH = "configs/full.yaml"


@pytest.fixture
def context(pulls: ModuleType) -> object:
    return pulls.context(url=f"{RUNS}7", artifact_url=f"{RUNS}7#artifacts")


@pytest.mark.parametrize("result", ["passing", "blocked"])
def test_our_own_report_is_read_back(
    sample: ModuleType, pulls: ModuleType, context: object, result: str
) -> None:
    """Rendered, read, rendered again: the same words, the same standing; a second time too."""
    verdict = getattr(sample, result)()
    run = pulls.config_run(PATH, verdict.outcome)
    said = render_check_run(pulls.view_of(sample, verdict), run, pulls.ci_run(run), context)
    sha, report = read_carried(said.title, said.summary, said.text, SHA, path=PATH, runs=RUNS)
    assert report
    again = replace(run, carried_from=sha, carried=report)
    shown = render_check_run(None, again, pulls.ci_run(again), context)
    assert shown.title.startswith(said.title[:170])
    assert shown.summary.split("\n\n", 2)[2] == said.summary.split("\n\n", 1)[1]
    assert shown.text == said.text
    assert read_carried(shown.title, shown.summary, shown.text, LATER, path=PATH, runs=RUNS) == (sha, report)
    comment = render_pull_request(pulls.ci_run(again), {}, context)
    assert report.summary in comment
    assert f"Carried over from `{SHA}`" in comment


def test_what_could_not_be_copied_is_said(pulls: ModuleType, context: object) -> None:
    """The label and the claim of the title stay; the next push says the same of the same commit."""
    sha, report = read_carried("blocked, target missed: gained 1", "x", "", SHA, path=PATH, runs=RUNS)
    assert (sha, report) == (SHA, CarriedReport("blocked, target missed", "gained 1"))
    run = pulls.config_run(PATH, "fail", carried_from=sha, carried=report)
    shown = render_check_run(None, run, pulls.ci_run(run), context)
    assert shown.title == f"blocked, target missed: gained 1 (carried over from {SHA[:6]}…)"
    assert "could not be copied" in shown.summary
    assert read_carried(shown.title, shown.summary, shown.text, LATER, path=PATH, runs=RUNS) == (SHA, report)


def test_many_carried_reports_stay_within_the_limit(pulls: ModuleType, context: object) -> None:
    """Their details go first, then their tables; what was left out is named."""
    report = CarriedReport("may merge", "gained 1", "a table " * 2_000, "details " * 2_000)
    runs = [pulls.config_run(f"c/{n}.yaml", "pass", carried_from=SHA, carried=report) for n in range(9)]
    comment = render_pull_request(pulls.ci_run(*runs), {}, context)
    assert len(comment.encode()) < 60_000
    assert "the details of reports that were carried over" in comment
    assert comment.count(f"Carried over from `{SHA}`") == 9


def test_a_title_keeps_where_it_came_from() -> None:
    """Within 200 characters."""
    assert carried_title("x" * 300, SHA) == "x" * 172 + " (carried over from aaaaaa…)"


@pytest.mark.parametrize(
    "text",
    [
        "plain **words**, ± 1.2 points",
        "`@team` and ``a ` b``",
        "| a | `b\\|c` |",
        "<details>\n<summary>5 more</summary>\n\n```text\n<img> @team\n```\n\n</details>",
        f"[the run]({RUNS}7) · [the artifact, with report.html]({RUNS}7#artifacts)",
        "<sub>± is noise.<br>`docs/security.md`</sub>",
        f"`{SHA}` and 123,456 documents, 999999 more",
        "```diff\n- a\n+ $b\n```\n\n```sh\necho `x`\n```",
    ],
)
def test_what_our_templates_write_is_ours(text: str) -> None:
    """Data in code, folds, links to the repository's own runs."""
    assert is_ours(text, RUNS)


@pytest.mark.parametrize(
    "text",
    [
        "@team",
        "<b>x</b>",
        "<!-- ftgate {} -->",
        "![x](y)",
        "[x](https://evil.example)",
        f"[x]({RUNS}7/../../../evil)",
        "[x]: //evil.example",
        "www.evil.example",
        "see #7",
        "GH-7",
        "&#64;team",
        "\\` @team `",
        "`\n` @team `",
        "| ` | @team ` |",
        "<details>\n` @team `",
        "<sub>\n` @team `",
        "<details>\n\nnever closed",
        "</details>",
        "```text\nnever closed",
        "``` a`b\n@team\n```",
        "- a\n  ```\n@team\n```",
        "~~~\n```\n~~~\n@team\n```",
        "```text\n  ```\n@team\n```",
        "```\rx\n\r```\r@team\n```",
        "\u202e",
        f"![the run]({RUNS}7)",
        '```mermaid\ngraph TD\nclick A "https://evil.example"\n```',
        "```math\n\\href{https://evil.example}{x}\n```",
        "```geojson\n{}\n```",
        "```suggestion\nx\n```",
        "```\nno language\n```",
        "$`\\href{https://evil.example}{x}`$",
        "costs $5",
        "<details>\n\n    </details>\n\nx",
        "<details>\n\n- a\n\n  </details>\n\nx",
        "<details>\n\n- ~~~\n  </details>\n\nx",
        "x <details>\n</details>",
        "<details>\n<summary>one\n\n</details>",
        "<details>\n</summary>\n\n</details>",
        "<sub>never closed",
        "</sub>",
        "see 31efe46aa",
        f"see {SHA}",
        f"acme/assistant@{SHA}",
    ],
)
def test_what_acts_or_hides_is_not(text: str) -> None:
    """A mention, a link, an image, HTML, a reference: also where it only looks as if it were code."""
    assert not is_ours(text, RUNS)


WORDS = (
    "` `` ``` ```text ~~~ @team | \\ <details> </details> x <summary> </summary> <sub> <br> [a](b) ![a](b) #7"
)
PIECES = st.sampled_from([*WORDS.split(" "), "\n", "\n\n", " ", "    ", "\t", "- ", "> ", "1. "])


@given(st.lists(PIECES, max_size=14).map("".join))
@settings(max_examples=500, deadline=None)
def test_nothing_that_is_taken_for_ours_acts(oracle: ModuleType, text: str) -> None:
    """GitHub's own parser finds no mention, link, image or foreign element in whatever passes."""
    if not is_ours(text, RUNS):
        return
    page = oracle.github_page(text)
    assert not oracle.ACTS.search(" ".join(page.spoken))
    assert not {element.split()[0] for element in page.elements} & {"a", "img", "script", "iframe"}
