"""Rules over the parts of a task: what a policy takes, what a verdict makes of them, what plan says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_runs
from small_runs import BASE, TUNED, WHERE

from gate.errors import ConfigErrors, MeasurementError
from gate.foresight import RuleForesight, foresee
from gate.plan import build_plan
from gate.policy import load_policy
from gate.records import (
    Block,
    Cost,
    Finding,
    Leaf,
    Measurement,
    Measurements,
    Policy,
    Rule,
    Slices,
    TaskInfo,
    TaskSpec,
)
from gate.schedule import key_of, make_schedule
from gate.sealed import from_json, to_json
from gate.stats import tango
from gate.tables import add_pairs, head_of, pairs_to_bytes
from gate.verdict import Verdict, judge, order_digest

RULE = "general/mmlu/slices:subject/max_drop"
POLICY = """\
version: 1
general:
  tasks:
    - task: mmlu
      max_drop: 0.02
      slices: {by: subject, max_drop: 0.10}
"""
WAIVED = POLICY + "waivers: [{rule: " + RULE + ", %s, reason: r, until: 2999-01-01}]\n"
Load = Callable[[str], Policy]
Part = tuple[str, int, int, int]  # name, documents, lost, won


def leaf_of(parts: Sequence[Part], /, name: str = "mmlu", **changes: Any) -> Measurement:
    """Documents that are right or wrong; what did not change was wrong."""
    base: list[float] = []
    tuned: list[float] = []
    for _, n, lost, won in parts:
        base += [1.0] * lost + [0.0] * (n - lost)
        tuned += [0.0] * lost + [1.0] * won + [0.0] * (n - lost - won)
    of = tuple(part for part, n, _, _ in parts for _ in range(n))
    fields = {"task": "general/mmlu", "leaf": name, "parts": of, **changes}
    return small_runs.leaf_of(base, tuned, **fields)


def run_of(*leaves: Measurement, slice_by: str = "subject") -> Measurements:
    return small_runs.run_of(*leaves, slice_by=slice_by)


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """A policy from its text."""

    def load(text: str) -> Policy:
        path = tmp_path / "thresholds.yaml"
        path.write_text(text)
        return load_policy(path)

    return load


def rule_of(margin: float = 0.1, by: str = "subject", least: int = 50) -> Rule:
    return Rule("general", "mmlu", "max_drop", margin, slices=Slices(by, least))


def judged(run: Measurements, *rules: Rule, **policy: Any) -> Verdict:
    specs = (TaskSpec("general", "mmlu"),)
    return judge(run, Policy(rules, specs, path="thresholds.yaml", **policy), None, Cost(), WHERE)


def only(verdict: Verdict) -> Finding:
    (finding,) = verdict.findings
    return finding


def subjects(count: int = 57, n: int = 60, collapsed: int = 0, lost: int = 12) -> list[Part]:
    """As many parts of which some lost documents; the others won a few, so that the mean holds."""
    return [
        (f"subject {k:02}", n, *((lost, 0) if k < collapsed else (3, 4 if collapsed else 3)))
        for k in range(count)
    ]


# ── The verdict ──────────────────────────────────────────────────────────────────────────────────


def test_a_mean_that_holds_does_not_hide_a_part_that_collapsed() -> None:
    """One of 57 subjects lost 12 of 60: the task's mean keeps 1 point, the rule over subjects does not."""
    run = run_of(leaf_of(subjects(collapsed=1)))
    mean = Rule("general", "mmlu", "max_drop", 0.01)
    verdict = judged(run, mean, rule_of())
    assert verdict.outcome == "fail"
    whole, sliced = verdict.findings
    assert (whole.outcome, sliced.outcome) == ("pass", "fail")
    assert (sliced.rule, sliced.sliced_by, len(sliced.slices)) == (RULE, "subject", 57)
    worst = sliced.slices[0]
    assert (worst.name, worst.documents, worst.fell, worst.rose, worst.outcome) == (
        "subject 00", 60, 12, 0, "fail",
    )  # fmt: skip
    assert (sliced.difference, sliced.interval, sliced.documents_scored) == (-0.2, worst.interval, 60)
    assert sliced.note.startswith("12 of 60 lost, 0 won; 1 of 57 slices lost more than the limit")
    assert [each.outcome for each in sliced.slices[1:]] == ["pass"] * 56


def test_the_interval_is_simultaneous_over_the_slices() -> None:
    """Tango's at an error of 5 % shared by 57 slices, each end with its share."""
    finding = only(judged(run_of(leaf_of(subjects(collapsed=1))), rule_of()))
    error = 0.05 / 57
    expected = tango(12, 0, 60, 1 - 2 * error)
    assert finding.interval.simultaneous
    assert (finding.interval.low, finding.interval.high) == pytest.approx((expected.low, expected.high))
    assert finding.interval.level == pytest.approx(1 - 2 * error)


def test_a_loss_beyond_the_margin_is_noise_where_many_were_looked_at() -> None:
    """8 of 60 lost and 1 won are beyond noise among two slices, and not among 57; the note says so."""
    some = [("law", 60, 8, 1), *subjects(56)]
    finding = only(judged(run_of(leaf_of(some)), rule_of()))
    assert (finding.outcome, finding.slices[0].name) == ("pass", "law")
    assert "1 lost more than the limit, but no more than noise" in finding.note
    alone = only(judged(run_of(leaf_of([("law", 60, 8, 1), ("art", 60, 3, 3)])), rule_of()))
    assert alone.outcome == "fail"


def test_a_drop_at_the_margin_keeps_it() -> None:
    """However sure it is: 20 of 200 with a margin of a tenth."""
    parts = [("law", 200, 20, 0), ("art", 200, 1, 1)]
    assert only(judged(run_of(leaf_of(parts)), rule_of(0.10))).outcome == "pass"
    assert only(judged(run_of(leaf_of(parts)), rule_of(0.099))).outcome == "fail"


def test_rules_over_slices_share_the_error() -> None:
    """Two rules: each slice's interval is wider than with one; a rule that a waiver skips takes no share."""
    run = run_of(leaf_of([("law", 60, 8, 1), ("art", 60, 3, 3)], name="a"))
    one, other = rule_of(), rule_of(0.2, by="subtask")
    both = run_of(leaf_of([("law", 60, 8, 1)], name="a"), leaf_of([("art", 60, 3, 3)], name="b"))
    alone = only(judged(run, one))
    shared = judged(both, one, other).findings[0]
    assert shared.interval.level == pytest.approx(1 - (1 - alone.interval.level) / 2)


def test_small_slices_are_judged_together() -> None:
    """Three of 20 documents are one of 60, called other, and it can fail; the finding counts them."""
    parts = [("law", 60, 1, 1), *[(f"small {k}", 20, 6, 0) for k in range(3)]]
    finding = only(judged(run_of(leaf_of(parts)), rule_of()))
    worst = finding.slices[0]
    assert (worst.name, worst.pooled, worst.documents, worst.fell) == ("other", 3, 60, 18)
    assert finding.outcome == "fail"
    assert "3 small ones judged as one with 60 documents" in finding.note


def test_too_few_documents_for_two_slices_are_no_pass() -> None:
    """The rule is undecided, and its exit code is no 0."""
    verdict = judged(run_of(leaf_of([("law", 30, 0, 0), ("art", 15, 0, 0)])), rule_of())
    assert (verdict.outcome, verdict.exit_code) == ("undecided", 4)
    assert only(verdict).note == "not judged: there are no two slices of 50 documents"


def test_slices_by_subtask_need_nothing_stored() -> None:
    """A run of an older version, or another policy's: the leaves are their own labels."""
    leaves = [leaf_of([("", 60, k, 0)], name=name, parts=None) for name, k in (("law", 12), ("art", 0))]
    finding = only(judged(run_of(*leaves, slice_by=""), rule_of(by="subtask")))
    assert [each.name for each in finding.slices] == ["law", "art"]
    assert finding.outcome == "fail"


def test_slices_by_length_are_quarters() -> None:
    """Named by the lengths that are in them; the longest prompts are what broke."""
    lengths = [(str(10 + k), 60, 15 if k == 7 else 0, 0) for k in range(8)]
    finding = only(judged(run_of(leaf_of(lengths), slice_by="length"), rule_of(by="length")))
    assert [each.name for each in finding.slices] == [
        "16 to 17 characters", "10 to 11 characters", "12 to 13 characters", "14 to 15 characters",
    ]  # fmt: skip
    assert [each.documents for each in finding.slices] == [120] * 4
    assert finding.outcome == "fail"


def test_quarters_of_one_length_are_four_slices() -> None:
    """380 of 400 prompts are as long: four slices of 100, as `plan` counts them, each with its own name."""
    lengths = [("30", 380, 0, 0), *[(str(31 + k), 1, 0, 0) for k in range(20)]]
    run = run_of(leaf_of(lengths), slice_by="length")
    finding = only(judged(run, rule_of(by="length")))
    assert sorted((each.name, each.documents) for each in finding.slices) == [
        ("30 to 30 characters, quarter 1", 100),
        ("30 to 30 characters, quarter 2", 100),
        ("30 to 30 characters, quarter 3", 100),
        ("30 to 50 characters", 100),
    ]
    assert finding.outcome == "pass"
    assert sorted(run.tasks[0].sizes("length").values()) == [100] * 4


@pytest.mark.parametrize(("slice_by", "parts"), [("", None), ("topic", ()), ("subject", None)])
def test_a_run_without_these_labels_is_refused(slice_by: str, parts: tuple[str, ...] | None) -> None:
    """Of an older version, or measured for slices by something else: words and a hint, no guess."""
    leaf = leaf_of([("law", 60, 0, 0), ("art", 60, 0, 0)])
    leaf = leaf if parts == () else replace(leaf, parts=parts)
    with pytest.raises(ConfigErrors) as refused:
        judged(run_of(leaf, slice_by=slice_by), rule_of())
    (problem,) = refused.value.problems
    assert problem.key == RULE
    assert "did not store which document is in which" in problem.message
    assert problem.hint == "run ftgate check again"


def test_a_label_too_few_is_no_measurement() -> None:
    """A part for every document, or none at all."""
    leaf = replace(leaf_of([("law", 60, 0, 0)]), parts=("law",) * 59)
    with pytest.raises(MeasurementError, match="59 parts for 60 documents"):
        judged(run_of(leaf), rule_of())


def test_graded_values_and_losses_are_judged_by_their_own_direction() -> None:
    """Lower is better: the part that rose by 0.3 fails, the one that fell by as much does not."""
    rng = np.random.default_rng(7)
    base = rng.uniform(1, 2, 160)
    tuned = base + rng.normal(0, 0.05, 160) + np.repeat([0.3, -0.3], 80)
    values = {"base": tuple(base.tolist()), "tuned": tuple(tuned.tolist())}
    parts = [("law", 80, 0, 0), ("art", 80, 0, 0)]
    leaf = leaf_of(parts, unit="nats", higher_is_better=False, **values)
    finding = only(judged(run_of(leaf), rule_of(0.2)))
    assert (finding.outcome, finding.slices[0].name) == ("fail", "law")
    assert finding.interval.low > 0
    assert finding.slices[1].outcome == "pass"


def test_clusters_are_respected() -> None:
    """12 documents lost of two passages are two draws, and no loss beyond noise."""
    parts = [("law", 60, 12, 0), ("art", 60, 0, 0)]
    of_six = tuple(f"passage {at // 6}" for at in range(120))
    assert only(judged(run_of(leaf_of(parts)), rule_of())).outcome == "fail"
    assert only(judged(run_of(leaf_of(parts, clusters=of_six)), rule_of())).outcome == "pass"


@pytest.mark.parametrize(
    ("lost", "outcome", "proven"), [(0, "pass", True), (6, "undecided", False), (40, "fail", False)]
)
def test_under_proven_only_a_proof_of_every_slice_passes(lost: int, outcome: str, proven: bool) -> None:
    """Nothing lost of 200 proves 5 points; 3 points are neither proven nor a fail; 20 are one."""
    parts = [("law", 200, lost, 0), ("art", 200, 0, 0)]
    finding = only(judged(run_of(leaf_of(parts)), rule_of(0.05), decide="proven"))
    assert (finding.outcome, finding.proven) == (outcome, proven)
    assert finding.slices[1].proven is True


@pytest.mark.parametrize(
    ("waived", "outcome"), [("max_drop: 0.3", "pass"), ("max_drop: 0.15", "fail"), ("skip: true", "reported")]
)
def test_a_waiver_loosens_or_skips_the_rule_by_its_id(loaded: Load, waived: str, outcome: str) -> None:
    """As any other rule's."""
    run = run_of(leaf_of([("law", 60, 12, 0), ("art", 120, 0, 10)]))
    verdict = judge(run, loaded(WAIVED % waived), None, Cost(), WHERE)
    assert [each.outcome for each in verdict.findings] == ["pass", outcome]


def test_a_waiver_that_no_slice_needs_is_pointed_out(loaded: Load) -> None:
    """Where all keep the rule's own margin, or lost no more than noise."""
    policy = loaded(WAIVED % "max_drop: 0.3")
    for lost, said in ((0, 1), (12, 0)):
        run = run_of(leaf_of([("law", 60, lost, 0), ("art", 60, 0, 12)]))
        assert len(judge(run, policy, None, Cost(), WHERE).provenance.warnings) == said


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "pass"},
        {"slices": ()},
        {"sliced_by": ""},
        {"base": 0.5, "tuned": 0.3},
        {"documents_scored": 61, "documents_total": 61, "documents_planned": 61, "unchanged": 49},
    ],
)
def test_a_finding_that_its_slices_contradict_makes_no_verdict(changes: dict[str, Any]) -> None:
    """Whoever builds one: outcome and numbers follow from the worst slice."""
    verdict = judged(run_of(leaf_of(subjects(collapsed=1))), rule_of())
    with pytest.raises(MeasurementError):
        replace(verdict, findings=(replace(only(verdict), **changes),))


def test_a_slice_that_broke_cannot_be_called_a_pass() -> None:
    """Nor one whose interval says noise a fail: the outcome is asked again of every slice's numbers."""
    finding = only(judged(run_of(leaf_of(subjects(collapsed=1))), rule_of()))
    worst = finding.slices[0]
    noisy = replace(worst, interval=replace(worst.interval, high=0.01), outcome="fail")
    with pytest.raises(MeasurementError):
        Verdict(
            (replace(finding, interval=noisy.interval, slices=(noisy, *finding.slices[1:])),),
            BASE, TUNED, None, Cost(), WHERE,
        )  # fmt: skip


# ── Storing and drawing ──────────────────────────────────────────────────────────────────────────


def test_labels_are_stored_with_the_documents() -> None:
    """As Parquet and back; what has none has none."""
    for leaf in (leaf_of([("law|x\n", 2, 0, 0), ("", 1, 0, 0)]), leaf_of([("a", 3, 1, 0)], parts=None)):
        assert add_pairs(head_of(leaf), pairs_to_bytes(leaf)) == leaf


def test_a_policy_with_slices_is_stored_and_read(loaded: Load) -> None:
    """The resolved policy of a run holds the rule as it was."""
    policy = loaded(POLICY)
    assert from_json(to_json(policy), Policy) == policy


@pytest.mark.parametrize("collapsed", [0, 1])
def test_score_comes_to_what_full_comes_to(collapsed: int) -> None:
    """All documents were drawn in the first round: the same slices, the same outcome."""
    leaf = leaf_of(subjects(collapsed=collapsed))
    drawn = run_of(replace(leaf, rounds=(0,) * len(leaf.numbers)))
    rules = Rule("general", "mmlu", "max_drop", 0.02), rule_of()
    where = replace(WHERE, order_digest=order_digest(drawn))
    policy = Policy(rules, (TaskSpec("general", "mmlu"),), decide="score", path="thresholds.yaml")
    assert judge(drawn, policy, None, Cost(), where).findings == judged(run_of(leaf), *rules).findings


def test_a_run_that_stopped_early_is_no_run_of_slices() -> None:
    """Under a policy with a rule over slices it has too few documents, and says so."""
    leaf = leaf_of([("law", 60, 0, 0), ("art", 60, 0, 0)])
    run = run_of(replace(leaf, rounds=(0,) * 120))
    info = replace(run.tasks[0], leaves=(Leaf("mmlu", 500, 500),))
    early = replace(run, tasks=(info,), measurements=(replace(run.measurements[0], documents_total=500),))
    where = replace(WHERE, order_digest=order_digest(early))
    policy = Policy((rule_of(),), (TaskSpec("general", "mmlu"),), decide="score", path="thresholds.yaml")
    with pytest.raises(ConfigErrors, match="needs all 500 documents"):
        judge(early, policy, None, Cost(), where)


@pytest.mark.parametrize("text", [POLICY, WAIVED % "skip: true"])
def test_a_task_with_slices_is_scored_in_full_under_score(loaded: Load, text: str) -> None:
    """Its leaves are drawn whole in the first round, also where a waiver skips the rule."""
    info = run_of(leaf_of([("law", 60, 0, 0)])).tasks[0]
    key = key_of(info, "mmlu")
    order = {key: tuple(Block(info.task, "mmlu", k, (k,)) for k in range(60))}
    schedule, standing = make_schedule(replace(loaded(text), decide="score"), [info], {key: "mean"}, order)
    assert schedule.whole == {key}
    assert len(schedule.next_round(standing)[key]) == 60


# ── The policy and the plan ──────────────────────────────────────────────────────────────────────


def test_slices_are_a_rule_of_their_own(loaded: Load) -> None:
    """With an id, a line, a default of 50 documents, and a task that stores the labels."""
    policy = loaded(POLICY)
    assert [rule.id for rule in policy.rules] == ["general/mmlu/max_drop", RULE]
    rule = policy.rules[1]
    assert (rule.margin, rule.slices, rule.place.line) == (0.1, Slices("subject", 50), 6)
    assert policy.tasks[0].slice_by == "subject"
    named = loaded(POLICY.replace("max_drop: 0.02", "metric: acc_norm").replace("}", ", min_documents: 30}"))
    assert [rule.id for rule in named.rules] == ["general/mmlu/acc_norm/slices:subject/max_drop"]
    assert named.rules[0].slices == Slices("subject", 30)


WRONG = {
    "no parts": ("{max_drop: 0.1}", "general.tasks[0].slices", "needs `by`"),
    "no margin": ("{by: subject}", "general.tasks[0].slices", "needs `max_drop`"),
    "a word": ("subject", "general.tasks[0].slices", "expected a mapping"),
    "no word": ("{by: 3, max_drop: 0.1}", "general.tasks[0].slices.by", "expected text"),
    "less than nothing": ("{by: a, max_drop: -1}", "general.tasks[0].slices.max_drop", "at least 0"),
    "no document": (
        "{by: a, max_drop: 0.1, min_documents: 0}",
        "general.tasks[0].slices.min_documents",
        "at least 1",
    ),
    "odd key": ("{by: a, max_drop: 0.1, min_gain: 1}", "general.tasks[0].slices.min_gain", "unknown key"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_slices_are_told_with_their_line(loaded: Load, case: str) -> None:
    """Before anything is downloaded."""
    text, key, message = WRONG[case]
    with pytest.raises(ConfigErrors) as refused:
        loaded(POLICY.replace("{by: subject, max_drop: 0.10}", text))
    assert [(each.key, each.line) for each in refused.value.problems] == [(key, 6)]
    assert message in refused.value.problems[0].message


@pytest.mark.parametrize("where", ["defaults", "target"])
def test_slices_belong_to_a_general_task(loaded: Load, where: str) -> None:
    """Neither to `defaults`, as tasks have different parts, nor to a target."""
    text = {
        "defaults": "general: {defaults: {max_drop: 0.1, slices: {by: a, max_drop: 0.1}}, tasks: [b]}",
        "target": "target: [{task: a, min_gain: 0.1, slices: {by: a, max_drop: 0.1}}]",
    }[where]
    with pytest.raises(ConfigErrors) as refused:
        loaded(f"version: 1\n{text}\n")
    assert [each.message for each in refused.value.problems] == ["unknown key"]


def found(parts: dict[str, int], limit: int | None = None) -> TaskInfo:
    total = sum(parts.values())
    leaf = Leaf("mmlu", total, limit or total)
    return TaskInfo(
        "general/mmlu", "benchmarks", "acc", "none", "accuracy", True, (leaf,),
        slice_by="subject", parts=tuple(parts.items()),
    )  # fmt: skip


def test_slices_that_cannot_be_are_an_error_before_training(loaded: Load) -> None:
    """At the rule's line: one value, or too few documents for two."""
    policy = loaded(POLICY)
    build_plan(policy, BASE, (found({"law": 60, "art": 50}),))
    for parts in ({"law": 500}, {"law": 60, "art": 30}):
        with pytest.raises(ConfigErrors) as refused:
            build_plan(policy, BASE, (found(parts),))
        (problem,) = refused.value.problems
        assert (problem.line, problem.key) == (6, RULE)
        assert "slices by subject are no two of 50 documents" in problem.message


@pytest.mark.parametrize(
    ("decide", "margin", "works"), [("proven", 0.1, False), ("proven", 0.3, True), ("full", 0.1, True)]
)
def test_plan_says_that_slices_cannot_be_proven(
    loaded: Load, decide: Any, margin: float, works: bool
) -> None:
    """40 slices of 50 documents hardly ever prove 10 points, all of them at once; what it says would work,
    does."""
    policy = replace(loaded(POLICY), decide=decide)
    info = found({f"subject {k}": 50 for k in range(40)})

    def at(most: float) -> RuleForesight:
        rules = (replace(policy.rules[1], margin=most),)
        return foresee(replace(policy, rules=rules), (info,)).rules[0]

    rule = at(margin)
    assert (rule.problem == "") == works
    if not works:
        assert "40 slices by subject, the smallest of 50 documents, cannot be told from noise" in rule.problem
        assert "leaves 100 % of harmless fine-tunes unproven" in rule.problem
        said = float(rule.hint.removeprefix("use a max_drop of at least ").partition(",")[0])
        assert at(said).problem == ""
        assert at(said - 0.02).problem != ""


def test_plan_says_what_slices_see(loaded: Load) -> None:
    """The smallest slice's drop, how many there are, and how rarely a harmless model is blocked."""
    info = found({f"subject {k}": 60 + k for k in range(56)} | {"small": 5, "smaller": 4})
    rule = foresee(loaded(POLICY), (info,)).rules[1]
    assert rule.note == "56 slices by subject, the smallest of 61 documents"
    assert [each.flips for each in rule.sharpness] == [0.10, 0.05, 0.20]
    assert 0.15 < rule.sharpness[0].seen < 0.25
    assert all(each.mistaken is not None and 0 < each.mistaken <= 0.05 for each in rule.sharpness)
    assert rule.expected is None
    half = foresee(loaded(POLICY), (found({"law": 400, "art": 200}, limit=300),)).rules[1]
    assert half.note == "2 slices by subject, the smallest of 100 documents"
