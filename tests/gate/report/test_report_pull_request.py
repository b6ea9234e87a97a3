"""One comment for all configs of a pull request: what it says first, in which order, and what it sheds."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from types import ModuleType

import pytest

from gate.records import PolicyChange
from gate.report import render_pull_request, render_summary
from gate.report.pull_request import PULL_LIMIT, PULL_SHEDDING
from gate.report.sections import PullContext, shell_word


def one(sample: ModuleType, pulls: ModuleType, outcome: str = "fail", **context: object) -> str:
    """The comment about a single config."""
    run = pulls.ci_run(pulls.config_run("configs/full.yaml", outcome))
    view = pulls.view_of(sample, sample.RESULTS[outcome]())
    return render_pull_request(run, {"configs/full.yaml": view}, pulls.context(**context))


def headings(text: str) -> list[str]:
    return re.findall(r"(?m)^#### (.*)$", text)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("pass", "### ✅ may merge: `configs/full.yaml` gained 12.4 points on `banking77`"),
        (
            "fail",
            "### ❌ blocked, capability lost: `configs/full.yaml` gained 12.4 points on `banking77` but",
        ),
        (
            "undecided",
            "### ❔ undecided: `configs/full.yaml` gained 12.4 points on `banking77` but the loss is not",
        ),
        ("error", "### ⚠️ could not measure: `configs/full.yaml`: `out of memory` while `training`"),
    ],
)
def test_one_config_is_told_in_the_first_line(
    sample: ModuleType, pulls: ModuleType, outcome: str, expected: str
) -> None:
    """The verdict, the config and the numbers, and no second heading that says it again."""
    text = one(sample, pulls, outcome)
    assert text.startswith(expected)
    assert headings(text) == []


def test_every_way_to_stand_has_its_own_words(sample: ModuleType, pulls: ModuleType) -> None:
    """Lost capability, a missed target, an error of the config and what could not be measured are apart."""
    run, views = pulls.every_way(sample)
    text = render_pull_request(run, views, pulls.context())
    assert text.splitlines()[0] == (
        "### ⚠️ could not measure: 1 of 8 configs could not be measured, 1 cannot be read, 1 lost capability, "
        "1 missed the target, 1 cannot be judged, 1 undecided, 2 may merge"
    )
    labels = [heading.split(" ", 1)[1].split(": ")[0] for heading in headings(text)]
    assert labels == [
        "could not measure",
        "config error",
        "blocked, capability lost",
        "blocked, target missed",
        "blocked, not judged",
        "undecided",
        "may merge",
        "may merge",
    ]
    for words in (
        "**Blocked, whatever was measured:** its policy brings new target rules",
        "1. merge the task and its rule\n2. merge the config",
        "carried over from `aaaaaaaaaaaa`",
        "**Deleted, nothing to judge:** `configs/old.yaml`",
        "configs/typo.yaml:12: lora_r: is negative",
        "This is not a verdict on the model",
    ):
        assert words in text


def test_a_policy_that_changes_is_shown_and_not_used(sample: ModuleType, pulls: ModuleType) -> None:
    """The base ref's policy was used; the difference is in a fence, new rules are proposed, not judged."""
    run, views = pulls.every_way(sample)
    text = render_pull_request(run, views)
    assert "The `thresholds.yaml` of the base ref `main` was used" in text
    assert "| `target/new_task/min_gain` | 0.1 | proposed, not judged |" in text
    assert (
        "```diff\n--- a/thresholds.yaml\n+++ b/thresholds.yaml\n-  max_drop: 0.05\n+  max_drop: 0.50\n```"
        in text
    )
    assert "`tasks/new_task.yaml`" in text
    unchanged = render_pull_request(replace(run, policy=PolicyChange()), views)
    assert "This pull request changes the policy" not in unchanged
    assert "proposed" not in unchanged


def test_rules_stand_with_numbers_limit_and_bar(sample: ModuleType, pulls: ModuleType) -> None:
    """What does not hold comes first, then the target; the rest is folded and counted."""
    text = one(sample, pulls)
    table = [line for line in text.partition("<details>")[0].splitlines() if line.startswith("| ")]
    assert table[0] == "| | rule | base | tuned | change | limit | limit ┃, noise ━, change ● |"
    first, second = ([part.strip() for part in line.strip("|").split("|")] for line in table[1:])
    spaced = [part.replace("\u00a0", " ") for part in first]
    assert spaced[:6] == ["✗", "`arc_easy`", "50.0 %", "46.9 %", "−3.1 ± 0.6", "allowed −2.0"]
    assert re.fullmatch(r"`[·━●┃┊]{15}`", first[6])
    assert second[:2] == ["✓", "target `banking77`"]
    assert "<summary>10 more rules: 9 hold, 1 shown, not judged</summary>" in text
    assert "<summary>369 documents flipped from right to wrong</summary>" in text
    assert "**Limit in use:** 1 of 5 tasks was measured on only a part of the documents" in text


def test_what_changed_since_the_previous_push(sample: ModuleType, pulls: ModuleType) -> None:
    """Only numbers that read differently, each task once; nothing where no push came before."""
    before = {"general/arc_easy/max_drop": -0.061, "general/piqa/max_drop": 0.0, "gone/x/max_drop": 0.5}
    text = one(sample, pulls, previous={"configs/full.yaml": before})
    assert "**Since the previous push:** `arc_easy` was −6.1, now −3.1\n" in text
    same = {"general/piqa/max_drop": 0.0}
    assert "previous push:** no rule changed" in one(sample, pulls, previous={"configs/full.yaml": same})
    assert "previous push" not in one(sample, pulls, previous={"configs/other.yaml": before})
    for absurd in (float("nan"), float("-inf"), 10**400):
        hostile = {"configs/full.yaml": {"general/arc_easy/max_drop": absurd}}
        assert "previous push:** no rule" in one(sample, pulls, previous=hostile)


def test_cost_counts_all_pushes_and_nothing_that_was_carried_over(
    sample: ModuleType, pulls: ModuleType
) -> None:
    """Device-hours of this push and so far, with links to the run and its artifact."""
    text = one(sample, pulls, spent=1.5)
    assert "**Cost:** 0.047 device-hours for this push, 1.55 device-hours so far on this pull request" in text
    assert f"[the run]({pulls.AT})" in text
    carried = pulls.ci_run(pulls.config_run("configs/full.yaml", "fail", carried_from="b" * 40))
    view = pulls.view_of(sample, sample.blocked())
    assert "0.000 device-hours for this push" in render_pull_request(carried, {"configs/full.yaml": view})


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "https://x.example/)[x](y", "https://x.example/a b", ""]
)
def test_only_plain_addresses_become_links(sample: ModuleType, pulls: ModuleType, address: str) -> None:
    """Anything else is left out."""
    assert "the run](" not in one(sample, pulls, url=address)


@pytest.mark.parametrize(
    "path",
    [
        "configs/full.yaml",
        "a b.yaml",
        "a'b.yaml",
        "-rf.yaml",
        "a\nb.yaml",
        "$(id).yaml",
        "ü\u202e\x1b'\\.yaml",
    ],
)
def test_the_command_names_the_file_exactly(path: str) -> None:
    """A shell reads the word back as the file's name, whatever it holds, and every character is visible."""
    word = shell_word(path)
    assert word.isprintable()
    said = subprocess.run(
        ["bash", "-c", f"printf %s {word}"], capture_output=True, check=True
    ).stdout.decode()
    assert said.removeprefix("./") == path
    if path.isprintable() and "\u202e" not in path:
        assert shlex.split(word)[0].removeprefix("./") == path


def test_nothing_to_judge_is_one_line(pulls: ModuleType) -> None:
    """No changed config: one heading, no table; an error before any run has its message and hint."""
    text = render_pull_request(pulls.ci_run(message="no training config changed", trust=""), {})
    assert text == "### ✅ no training config changed\n"
    error = pulls.ci_run(
        outcome="error", exit_code=2, error="main has no policy", hint="commit one on main first"
    )
    said = render_pull_request(error, {})
    assert said.startswith("### ⚠️ config error: main has no policy\n")
    assert "**What to do:** commit one on main first" in said


def test_fifty_configs_fit_and_shed_in_order(sample: ModuleType, pulls: ModuleType) -> None:
    """Whole sections go, of all configs at once, in the fixed order, and the comment says which."""
    names = [f"configs/{number:02}.yaml" for number in range(50)]
    view = pulls.view_of(sample, sample.blocked())
    run = pulls.ci_run(*(pulls.config_run(name, "fail") for name in names))
    text = render_pull_request(run, dict.fromkeys(names, view), pulls.context())
    assert len(text) <= len(text.encode()) < PULL_LIMIT == 60_000
    assert all(f"`{name}`" in text for name in names)
    assert len(headings(text)) == 50
    left_out = re.search(r"Left out to fit GitHub’s limit: (.*?)\. Everything is in \[the artifact\]", text)
    assert left_out
    assert left_out[1] == ", ".join(list(PULL_SHEDDING.values())[: left_out[1].count(", ") + 1])
    assert "documents flipped" not in text
    assert text.count("`arc_easy`") >= 100  # the tables stay


def test_any_number_of_configs_fits(sample: ModuleType, pulls: ModuleType) -> None:
    """Long names in wide characters, every config blocked: the head stays, the rest is counted."""
    names = [f"{'漢' * 200}{number}.yaml" for number in range(300)]
    view = pulls.view_of(sample, sample.blocked())
    runs = [pulls.config_run(name, "fail", blocked="x" * 5000, hint="漢" * 5000) for name in names]
    policy = PolicyChange("漢" * 500, "漢\n" * 50_000, (), tuple("漢" * 300 for _ in range(100)))
    run = pulls.ci_run(*runs, policy=policy, deleted=tuple(names), error="漢" * 9000, hint="漢" * 9000)
    text = render_pull_request(replace(run, trust="漢" * 5000), dict.fromkeys(names, view))
    assert len(text.encode()) < PULL_LIMIT
    assert text.startswith("### ❌ blocked: 300 configs cannot be judged\n")
    assert re.search(r"\d+ more configs are in the artifact", text)


def test_the_summary_leaves_nothing_out(sample: ModuleType, pulls: ModuleType) -> None:
    """The job summary is the comment before anything was shed."""
    run, views = pulls.every_way(sample)
    runs = tuple(
        replace(it, change=replace(it.change, path=f"{n}/{it.change.path}"))
        for n in range(12)
        for it in run.runs
    )
    many = {f"{n}/{path}": view for n in range(12) for path, view in views.items()}
    big = replace(run, runs=runs)
    assert "Left out" in render_pull_request(big, many)
    summary = render_summary(big, many)
    assert "Left out" not in summary
    assert len(summary.encode()) < 1_000_000
    assert render_summary(run, views, PullContext()) == render_pull_request(
        run, views, PullContext(), limit=10**7
    )
