"""Margins from noise: the stated rule against a simulation, and the proposal's text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.calibrate import CalibrateOptions, check_place
from gate.errors import UsageError
from gate.foresight.noise import Noise, rates_by_task, rounded_up, suggest
from gate.policy import load_policy
from gate.policy.proposing import propose
from gate.records import Leaf, Policy, Rule, TaskInfo, TaskSpec
from gate.report.calibration import calibration_text, proposal_note

RUNS = 40_000


def info(task: str, n: int, unit: str = "accuracy") -> TaskInfo:
    return TaskInfo(task, "benchmarks", "acc", "none", unit, unit == "accuracy", (Leaf(task, n, n),))


def noise(task: str, n: int, changed: int | None, difference: float = 0.0, **changes: Any) -> Noise:
    made = {"change": "weights", "error": 0.001, **changes}
    return Noise(task=task, documents=n, changed=changed, difference=difference, **made)


def margins(policy: Policy, infos: list[TaskInfo], *found: Noise) -> dict[str, float]:
    return {each.rule: each.margin for each in suggest(policy, infos, found)}


def general(*names: str, **changes: Any) -> Policy:
    rules = tuple(Rule("general", name, "max_drop", 0.02) for name in names)
    return Policy(rules, tuple(TaskSpec("general", name) for name in names), **changes)


@pytest.mark.parametrize("decide", ["full", "score"])
def test_all_rules_together_block_a_harmless_model_as_rarely_as_promised(decide: Any) -> None:
    """Three tasks with their own flip rates, drawn without a drop: blocked in at most 5 %, and one step of
    0.001 less would not be enough for some rule's share of that."""
    sizes, changed = {"a": 300, "b": 1000, "c": 5000}, {"a": 60, "b": 100, "c": 250}
    infos = [info(f"general/{name}", n) for name, n in sizes.items()]
    found = [noise(f"general/{name}", sizes[name], changed[name]) for name in sizes]
    proposed = margins(general(*sizes, decide=decide), infos, *found)
    rng, blocked, alone = np.random.default_rng(1), np.zeros(RUNS, bool), []
    for name, n in sizes.items():
        flips, margin = changed[name] / n, proposed[f"general/{name}/max_drop"]
        lost, won, _ = rng.multinomial(n, [flips / 2, flips / 2, 1 - flips], RUNS).T
        over = (lost - won) / n > margin + 1e-9
        blocked |= over
        finer = (lost - won) / n > margin - max(0.001, 1 / n) + 1e-9
        alone.append(float(finer.mean()))
        assert over.mean() < 0.05 / 3 + 4 * math.sqrt(0.05 / 3 / RUNS)
    assert blocked.mean() < 0.05
    assert all(share > 0.05 / 3 - 4 * math.sqrt(0.05 / 3 / RUNS) for share in alone)


def test_a_margin_is_never_below_what_was_seen() -> None:
    """A difference larger than its flips explain is the margin, in either direction."""
    policy, infos = general("a"), [info("general/a", 10_000)]
    assert margins(policy, infos, noise("general/a", 10_000, 100, -0.031)) == {"general/a/max_drop": 0.031}
    assert margins(policy, infos, noise("general/a", 10_000, 100, 0.0312)) == {"general/a/max_drop": 0.032}


def test_the_worst_change_counts() -> None:
    """Of several changes the one that flips most, and no flip at all is not proof of none."""
    policy, infos = general("a"), [info("general/a", 1000)]
    quiet, loud = noise("general/a", 1000, 0), noise("general/a", 1000, 200, change="dtype")
    both = suggest(policy, infos, [quiet, loud])[0]
    assert both.why == "dtype: 20.0 % of answers changed"
    assert both.margin == margins(policy, infos, loud)["general/a/max_drop"]
    assert margins(policy, infos, quiet)["general/a/max_drop"] > 0


def test_text_and_other_metrics_take_the_standard_error() -> None:
    """Bits per byte: what was seen and 1.64 standard errors; a corpus that was only shown gets a margin."""
    rules = (Rule("text", "t", "report", None),)
    policy = Policy(rules, (TaskSpec("text", "t"),))
    found = suggest(policy, [info("text/t", 50, "bits per byte")], [noise("text/t", 50, None, 0.01)])
    assert [(each.bound, each.now, each.margin) for each in found] == [("max_rise", None, 0.012)]


def test_a_target_is_only_raised() -> None:
    """A gain that noise gives is no gain; a policy that asks for more keeps it; a score is no such thing."""
    specs = (TaskSpec("target", "a"),)
    infos, found = [info("target/a", 100)], noise("target/a", 100, 10)
    for asked, proposed in ((0.01, 0.051), (0.3, 0.3)):
        rules = (Rule("target", "a", "min_gain", asked), Rule("target", "a", "min_score", 0.8))
        assert margins(Policy(rules, specs), infos, found) == {"target/a/min_gain": pytest.approx(proposed)}


def test_what_a_fine_tune_needs_stands_beside_the_noise() -> None:
    """Noise of 1.7 % of the answers proposes 0.013 where a rule had 0.05; a fine-tune that changes 10 % needs
    more, and both screen and proposal say so. Where the noise itself changes as much nothing is added."""
    policy = Policy((Rule("general", "a", "max_drop", 0.05),), (TaskSpec("general", "a"),))
    infos = [info("general/a", 240)]
    (found,) = suggest(policy, infos, [noise("general/a", 240, 4)])
    assert (found.now, found.margin) == (0.05, 0.013)
    loud = margins(policy, infos, noise("general/a", 240, 24))
    assert found.tuned == loud["general/a/max_drop"] == 0.034
    note = proposal_note("base", "2026-11-24", [found])
    assert "real ones change 10 to 80 %" in note
    assert "0.05 -> 0.013 (weights: 1.7 % of answers changed; 0.034 if a fine-tune changes 10 %)" in note
    text = calibration_text("base", [], [noise("general/a", 240, 4)], [], [found])
    assert "0.034" in text
    assert "Real ones change 10 to 80 %." in text
    (same,) = suggest(policy, infos, [noise("general/a", 240, 30)])
    assert same.tuned is None
    assert "real ones" not in proposal_note("base", "2026-11-24", [same])


def test_an_average_is_steadier_than_its_tasks() -> None:
    """Four tasks of one size and rate: their mean's margin is half of each one's, about."""
    names = "abcd"
    policy = general(*names)
    average = Rule("average", "general", "max_drop", 0.01)
    policy = Policy((*policy.rules, average), policy.tasks)
    infos = [info(f"general/{name}", 1000) for name in names]
    found = margins(policy, infos, *(noise(f"general/{name}", 1000, 100) for name in names))
    assert found["average/general/max_drop"] == pytest.approx(found["general/a/max_drop"] / 2, abs=0.001)


def test_a_task_that_was_not_measured_gets_no_margin() -> None:
    """No noise, no proposal."""
    assert margins(general("a"), [info("general/a", 100)]) == {}


def test_rounding_never_goes_below() -> None:
    """Three digits; what is exact stays."""
    assert [rounded_up(x) for x in (0.02, 0.0201, 0.0, 1.0)] == [0.02, 0.021, 0.0, 1.0]


def test_a_tasks_rate_is_that_of_its_worst_change() -> None:
    """What `plan` gets; a text corpus has none."""
    found = dict(
        rates_by_task([noise("a", 10, 1), noise("a", 10, 3, change="other"), noise("text/t", 5, None)])
    )
    assert {task: each.changed for task, each in found.items()} == {"a": 3}


# ── The proposal ─────────────────────────────────────────────────────────────────────────────────

POLICY = """\
# Ours, and it stays ours.
version: 1
target:
  - {task: mine, min_gain: 0.05}  # what it is for
general:
  defaults: {max_drop: 0.02, num_fewshot: 0}
  tasks:
    - hellaswag   # common sense
    - task: "arc_easy"
      max_drop: 0.1  # wide
    - {task: evals.yaml, max_drop: 0.5}
  average: {max_drop: 0.01}

# Text.
text:
  - {corpus: text.jsonl, report: true}
evaluation: {dtype: float32, batch_size: 64}
"""
MARGINS = {
    ("general", "hellaswag", "max_drop"): 0.031,
    ("general", "arc_easy", "max_drop"): 0.04,
    ("general", "evals", "max_drop"): 0.06,
    ("average", "general", "max_drop"): 0.015,
    ("text", "text", "max_rise"): 0.012,
}


def test_a_proposal_is_the_policy_with_other_margins(tmp_path: Path) -> None:
    """Every comment, key and order is kept; what was not proposed is as it was; it is a policy again."""
    (tmp_path / "text.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "evals.yaml").write_text("task: evals\n")
    text = propose(POLICY, MARGINS, "From noise.\nTwo lines.")
    assert text.startswith("# From noise.\n# Two lines.\n\n# Ours, and it stays ours.\nversion: 1\n")
    for kept in ("# what it is for", "# common sense", "# wide", "# Text.", "min_gain: 0.05", '"arc_easy"'):
        assert kept in text
    (tmp_path / "old.yaml").write_text(POLICY)
    (tmp_path / "new.yaml").write_text(text)
    old, new = load_policy(tmp_path / "old.yaml"), load_policy(tmp_path / "new.yaml")
    found = {(rule.kind, rule.task, rule.bound): rule.margin for rule in new.rules}
    assert found == {**MARGINS, ("target", "mine", "min_gain"): 0.05}
    assert [spec.id for spec in new.tasks] == [spec.id for spec in old.tasks]
    assert [spec.num_fewshot for spec in new.tasks] == [spec.num_fewshot for spec in old.tasks]
    assert new.evaluation == old.evaluation


def test_nothing_to_propose_changes_nothing_but_the_head() -> None:
    """The text below the note is the policy, byte for byte."""
    assert propose(POLICY, {}, "note") == f"# note\n\n{POLICY}"


def test_where_a_proposal_may_go(tmp_path: Path) -> None:
    """Beside the policy by default; never onto it, by any name; onto an earlier one only with --force."""
    policy = tmp_path / "thresholds.yaml"
    policy.write_text("version: 1\n")
    options = CalibrateOptions("base", policy)
    assert options.proposal == tmp_path / "thresholds.calibrated.yaml"
    check_place(options)
    (tmp_path / "link.yaml").symlink_to(policy)
    for out in (policy, tmp_path / "link.yaml"):
        with pytest.raises(UsageError, match="never changes"):
            check_place(CalibrateOptions("base", policy, out, force=True))
    options.proposal.write_text("mine\n")
    with pytest.raises(UsageError, match="is there already"):
        check_place(options)
    check_place(CalibrateOptions("base", policy, force=True))
    with pytest.raises(UsageError, match="is a folder"):
        check_place(CalibrateOptions("base", policy, tmp_path))


def test_what_is_said_fits_a_terminal() -> None:
    """A line a task and change, the margins beside their reason; commands of a runner are no commands."""
    policy = general("a" * 60)
    infos = [info(f"general/{'a' * 60}", 1000)]
    found = [noise(infos[0].task, 1000, 50, -0.01)]
    proposed = suggest(policy, infos, found)
    text = calibration_text("::error::x", [("weights", "2 %")], found, ["dtype: too large"], proposed)
    assert max(map(len, text.splitlines())) <= 110
    assert "5.0 %" in text
    assert "-0.0100 ± 0.0010" in text
    assert "left out: dtype: too large" in text
    assert "\n::" not in f"\n{text}"
    note = proposal_note("base", "2026-11-24", proposed)
    assert "0.02 -> " in note
