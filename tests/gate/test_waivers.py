"""Waivers: what a policy takes and refuses, what a verdict makes of one, and that every report shows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from small_runs import WHERE, leaf_of, run_of

from gate.errors import ConfigErrors, MeasurementError
from gate.policy import load_policy
from gate.records import (
    Cost,
    Interval,
    Policy,
    Rule,
    TaskSpec,
    Waiver,
)
from gate.sealed import from_json, to_json
from gate.verdict import Verdict, judge
from gate.verdict.waive import unneeded

TODAY = date(2026, 11, 24)
POLICY = """\
version: 1
target: [{task: mine, min_gain: 0.1}]
general: {tasks: [{task: arc, max_drop: 0.03}, {task: piqa, max_drop: 0.02}]}
text: [{corpus: text.jsonl, report: true}]
waivers:
"""
GOOD = "  - {rule: general/arc/max_drop, max_drop: 0.06, reason: no science, until: 2026-11-24}\n"


def load(folder: Path, waivers: str) -> Policy:
    (folder / "text.jsonl").write_text('{"text": "a"}\n')
    path = folder / "thresholds.yaml"
    path.write_text(POLICY + waivers)
    return load_policy(path, today=TODAY)


def test_a_waiver_gives_its_rule_another_margin_through_its_last_day(tmp_path: Path) -> None:
    """The rule holds the waiver's margin and remembers its own; no other rule changes."""
    policy = load(tmp_path, GOOD)
    rules = {rule.id: rule for rule in policy.rules}
    arc = rules["general/arc/max_drop"]
    assert arc.margin == 0.06
    assert arc.waiver is not None
    assert (arc.waiver.own_margin, arc.waiver.until, arc.waiver.place.line) == (0.03, "2026-11-24", 6)
    assert arc.judges
    assert rules["general/piqa/max_drop"].margin == 0.02
    assert [rule.id for rule in policy.rules if rule.waiver] == ["general/arc/max_drop"]


def test_a_skipped_rule_keeps_its_margin_and_does_not_judge(tmp_path: Path) -> None:
    """`skip: true` leaves the number to be seen."""
    policy = load(tmp_path, "  - {rule: target/mine/min_gain, skip: true, reason: soon, until: 2026-12-01}\n")
    rule = policy.rules[0]
    assert (rule.margin, rule.skipped, rule.judges) == (0.1, True, False)


WRONG = {
    "ended": (GOOD.replace("11-24", "11-23"), ".until", "ended on 2026-11-23, today is 2026-11-24"),
    "no such rule": (GOOD.replace("arc", "arx"), ".rule", "did you mean `general/arc/max_drop`?"),
    "no reason": (GOOD.replace("reason: no science, ", ""), "", "needs `reason`"),
    "empty reason": (GOOD.replace("no science", "''"), ".reason", "empty text"),
    "no date": (GOOD.replace(", until: 2026-11-24", ""), "", "needs `until`"),
    "no such day": (GOOD.replace("2026-11-24", "2026-02-30"), ".until", "expected a date"),
    "a week": (GOOD.replace("2026-11-24", "2026-W48-2"), ".until", "expected a date"),
    "a number": (GOOD.replace("2026-11-24", "20261124"), ".until", "expected a date"),
    "stricter": (GOOD.replace("0.06", "0.01"), ".max_drop", "0.01 is not looser than the rule's own 0.03"),
    "the same": (GOOD.replace("0.06", "0.03"), ".max_drop", "0.03 is not looser"),
    "nothing": (GOOD.replace("max_drop: 0.06, ", ""), "", "needs `max_drop` or `skip: true`"),
    "skip is false": (GOOD.replace("max_drop: 0.06", "skip: false"), "", "needs `max_drop` or `skip: true`"),
    "both": (GOOD.replace("0.06", "0.06, skip: true"), ".skip", "excludes `max_drop`"),
    "another key": (GOOD.replace("max_drop: 0", "min_gain: 0"), ".min_gain", "bound is `max_drop`"),
    "a text": (GOOD.replace("0.06", "much"), ".max_drop", "expected a number"),
    "no mapping": ("  - general/arc/max_drop\n", "", "expected a mapping"),
    "unknown key": (GOOD.replace("until", "untill"), ".untill", "did you mean `until`?"),
    "only reported": (
        "  - {rule: text/text/report, skip: true, reason: a, until: 2027-01-01}\n", ".rule", "only reported"
    ),
}  # fmt: skip


@pytest.mark.parametrize("waiver", WRONG)
def test_a_waiver_that_is_wrong_names_its_line(tmp_path: Path, waiver: str) -> None:
    """Each mistake is a config error at the entry's line and key."""
    text, key, words = WRONG[waiver]
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, text)
    told = [(problem.line, problem.key, str(problem)) for problem in caught.value.problems]
    assert caught.value.exit_code == 2
    assert any(line == 6 and name == f"waivers[0]{key}" and words in said for line, name, said in told), told


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Three entries, each with its own fault, and one that waives a rule twice."""
    text = GOOD + GOOD + GOOD.replace("arc", "arx") + GOOD.replace("2026-11-24", "soon")
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, text)
    assert [problem.line for problem in caught.value.problems] == [7, 8, 9, 9]
    assert "first in line 6" in str(caught.value.problems[0])


def test_a_policy_whose_every_rule_is_skipped_judges_nothing(tmp_path: Path) -> None:
    """Such a policy is refused like one without rules."""
    skip = "  - {{rule: {}, skip: true, reason: a, until: 2027-01-01}}\n"
    rules = ("target/mine/min_gain", "general/arc/max_drop", "general/piqa/max_drop")
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, "".join(map(skip.format, rules)))
    assert "no rule that can fail" in str(caught.value.problems[0])


def test_without_a_day_the_clock_says_which(tmp_path: Path) -> None:
    """A caller that gives no day cannot let an old waiver through."""
    path = tmp_path / "thresholds.yaml"
    (tmp_path / "text.jsonl").write_text('{"text": "a"}\n')
    path.write_text(POLICY + GOOD.replace("2026-11-24", "2020-01-01"))
    with pytest.raises(ConfigErrors):
        load_policy(path)


def test_a_stored_policy_keeps_its_waivers(tmp_path: Path) -> None:
    """What a run's folder holds is judged with them, whatever the day."""
    skip = "  - {rule: general/piqa/max_drop, skip: true, reason: a, until: 2026-11-24}\n"
    policy = load(tmp_path, GOOD + skip)
    assert from_json(to_json(policy), Policy) == policy


# ── Verdicts ─────────────────────────────────────────────────────────────────────────────────────

WAIVER = Waiver("general/arc/max_drop", 0.06, 0.03, "no science", "2026-12-31")


def verdict_of(lost: int, waiver: Waiver | None, scored: int = 100, total: int = 100) -> Verdict:
    """The verdict over two tasks of 100 documents, `lost` of them lost on the one that is waived."""
    leaves = [
        leaf_of(
            [1.0] * scored,
            [0.0] * fallen + [1.0] * (scored - fallen),
            task=f"general/{name}",
            documents_total=total,
        )
        for name, fallen in (("arc", lost), ("piqa", 0))
    ]
    rules = [Rule("general", "arc", "max_drop", waiver.shown_margin if waiver else 0.03, waiver=waiver)]
    rules.append(Rule("general", "piqa", "max_drop", 0.02))
    specs = tuple(TaskSpec("general", name, limit=scored) for name in ("arc", "piqa"))
    return judge(run_of(*leaves), Policy(tuple(rules), specs), None, Cost(), WHERE)


@pytest.mark.parametrize(
    ("lost", "waiver", "outcome", "needed"),
    [
        (2, None, "pass", True),
        (2, WAIVER, "pass", False),
        (5, None, "fail", True),
        (5, WAIVER, "pass", True),
        (7, WAIVER, "fail", True),
        (3, replace(WAIVER, margin=None), "reported", False),
        (50, replace(WAIVER, margin=None), "reported", True),
    ],
)
def test_a_verdict_judges_by_the_waivers_margin(
    lost: int, waiver: Waiver | None, outcome: str, needed: bool
) -> None:
    """The waiver's margin decides, a skipped rule is shown; a waiver that could go is a warning."""
    verdict = verdict_of(lost, waiver)
    assert verdict.findings[0].outcome == outcome
    assert verdict.outcome == ("fail" if outcome == "fail" else "pass")
    said = "the waiver of general/arc/max_drop until 2026-12-31 is not needed: the rule's own 0.03 is kept"
    assert verdict.provenance.warnings == (() if needed else (said,))


@pytest.mark.parametrize("margin", [0.2, None])
@pytest.mark.parametrize(("low", "high", "needed"), [(-0.029, 0.2, False), (-0.031, 0.2, True)])
def test_after_an_early_stop_all_that_can_still_be_must_keep_the_rules_own_margin(
    low: float, high: float, needed: bool, margin: float | None
) -> None:
    """Of the estimate alone nothing follows: the full benchmark's own number may lie beyond."""
    finding = verdict_of(0, replace(WAIVER, margin=margin), scored=50, total=100).findings[0]
    remaining = Interval(low, high, 0.9, "benchmark", "betting martingale, at all looks")
    early = replace(finding, documents_planned=100, remaining=remaining)
    assert bool(unneeded([early], "score")) is not needed


@pytest.mark.parametrize(("low", "high", "needed"), [(0.51, 0.9, False), (0.49, 0.9, True)])
def test_a_score_that_was_settled_early_may_need_no_waiver(low: float, high: float, needed: bool) -> None:
    """A `min_score` is held against the lowest score that is still possible."""
    finding = verdict_of(0, WAIVER, scored=50, total=100).findings[0]
    remaining = Interval(low, high, 0.9, "benchmark", "betting martingale, at all looks")
    waiver = replace(WAIVER, own_margin=0.5, margin=0.2)
    early = replace(
        finding, bound="min_score", margin=0.2, waiver=waiver, documents_planned=100, remaining=remaining
    )
    assert bool(unneeded([early], "score")) is not needed


@pytest.mark.parametrize("margin", [0.2, None])
def test_a_number_within_the_margin_is_no_proof_that_a_waiver_could_go(margin: float | None) -> None:
    """Under `proven` the rule's own margin would have to be proven: without the waiver this is undecided."""
    finding = verdict_of(2, replace(WAIVER, margin=margin)).findings[0]
    assert len(unneeded([finding], "full")) == 1
    assert unneeded([finding], "proven") == ()


def test_a_verdict_refuses_a_margin_that_no_waiver_gave() -> None:
    """A finding cannot hold another margin than its waiver's, nor pass as skipped."""
    verdict = verdict_of(5, WAIVER)
    finding = verdict.findings[0]
    for broken in (
        replace(finding, margin=0.5),
        replace(finding, waiver=replace(WAIVER, rule="general/piqa/max_drop")),
        replace(finding, outcome="reported"),
        replace(finding, waiver=None, margin=0.03),
    ):
        with pytest.raises(MeasurementError):
            replace(verdict, findings=(broken, verdict.findings[1]))
