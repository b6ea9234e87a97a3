"""What a verdict can hold and what it cannot; rules, groups and averages against fractions."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate import stats
from gate.errors import ConfigErrors, GateError, Interrupted, MeasurementError, OutOfMemory, UsageError
from gate.records import (
    Bound,
    Cost,
    Finding,
    Interval,
    Leaf,
    Measurement,
    Measurements,
    ModelRef,
    Place,
    Policy,
    Provenance,
    Rule,
    RunError,
    TaskInfo,
    TaskSpec,
)
from gate.verdict import Failure, Verdict, exit_code, judge, judge_what_there_is

BASE = ModelRef("base", "/models/base", "sha256:b")
TUNED = ModelRef("tuned", "/models/tuned", "sha256:t")
WHERE = Provenance("0.1.0", "2026-11-24T00:00:00Z", "", "", "cpu", "float32", "hf", "none", 16, "", {})


# ── Builders ─────────────────────────────────────────────────────────────────────────────────────


def measured(
    task: str,
    base: list[float],
    tuned: list[float],
    *,
    leaf: str = "",
    total: int | None = None,
    **changes: Any,
) -> Measurement:
    """One leaf's paired values of accuracy, unless `changes` say otherwise."""
    n = len(base)
    fields: dict[str, Any] = {
        "task": task,
        "leaf": leaf or task.split("/")[1],
        "check": "benchmarks",
        "metric": "acc",
        "filter": "none",
        "unit": "accuracy",
        "higher_is_better": True,
        "aggregation": "mean",
        "numbers": tuple(range(n)),
        "hashes": tuple(f"{task}-{leaf}-{k}" for k in range(n)),
        "base": tuple(base),
        "tuned": tuple(tuned),
        "documents_total": total or n,
    }
    return Measurement(**(fields | changes))


def info_of(*leaves: Measurement, weights: tuple[float, ...] = (1.0,)) -> TaskInfo:
    """The plan that these measurements of one task fulfil."""
    first = leaves[0]
    return TaskInfo(
        task=first.task,
        check=first.check,
        metric=first.metric,
        filter=first.filter,
        unit=first.unit,
        higher_is_better=first.higher_is_better,
        leaves=tuple(
            Leaf(m.leaf, m.documents_total, len(m.numbers), weight)
            for m, weight in zip(leaves, weights, strict=True)
        ),
        num_fewshot=0,
    )


def run_of(*tasks: tuple[TaskInfo, tuple[Measurement, ...]]) -> Measurements:
    return Measurements(BASE, TUNED, tuple(t for t, _ in tasks), tuple(m for _, ms in tasks for m in ms))


def single(task: str, base: list[float], tuned: list[float], **changes: Any) -> Measurements:
    """A run of one task with one leaf."""
    one = measured(task, base, tuned, **changes)
    return run_of((info_of(one), (one,)))


def policy_of(*rules: Rule, **changes: Any) -> Policy:
    """A policy with these rules and a task for each that they name."""
    names = dict.fromkeys((r.kind, r.task) for r in rules if r.kind != "average")
    specs = changes.pop("tasks", tuple(TaskSpec(kind, task) for kind, task in names))
    return Policy(rules, specs, path="thresholds.yaml", **changes)


def decide(measurements: Measurements, *rules: Rule, **changes: Any) -> Verdict:
    return judge(measurements, policy_of(*rules, **changes), None, Cost(), WHERE)


def flips(n: int, right: int, lost: int, won: int) -> tuple[list[float], list[float]]:
    """`n` documents, `right` of them right for the base; then `lost` go wrong and `won` come right."""
    base = [1.0] * right + [0.0] * (n - right)
    tuned = [0.0] * lost + [1.0] * (right - lost) + [1.0] * won + [0.0] * (n - right - won)
    return base, tuned


def good_finding(**changes: Any) -> Finding:
    """A finding of a drop of 1 point where 2 are allowed."""
    fields: dict[str, Any] = {
        "rule": "general/x/max_drop",
        "kind": "general",
        "check": "benchmarks",
        "task": "x",
        "metric": "acc",
        "filter": "none",
        "unit": "accuracy",
        "bound": "max_drop",
        "base": 0.70,
        "tuned": 0.69,
        "difference": -0.01,
        "interval": Interval(-0.03, 0.01, 0.95, "population", "Tango score"),
        "margin": 0.02,
        "outcome": "pass",
        "documents_scored": 100,
        "documents_total": 100,
        "fell": 5,
        "rose": 4,
        "unchanged": 91,
    }
    return Finding(**(fields | changes))


def verdict_of(*findings: Finding, base: ModelRef = BASE, tuned: ModelRef = TUNED) -> Verdict:
    return Verdict(findings, base, tuned, None, Cost(), WHERE)


# ── What a verdict cannot hold ───────────────────────────────────────────────────────────────────


def test_a_good_finding_makes_a_pass() -> None:
    """The builder's finding is sound, so that each refusal below is for its own reason."""
    assert verdict_of(good_finding()).outcome == "pass"


ABOUT_BENCHMARK = Interval(-0.02, 0.0, 0.95, "benchmark", "exact hypergeometric")


@pytest.mark.parametrize(
    "changes",
    [
        {"base": math.nan},
        {"tuned": math.inf},
        {"difference": math.nan},
        {"margin": math.nan},
        {"margin": None},
        {"difference": -0.011},
        {"outcome": "fail"},
        {"outcome": "reported"},
        {"margin": 0.005},
        {"bound": "report", "rule": "general/x/report"},
        {"rule": "target/x/max_drop"},
        {"rule": "general/x/max_rise"},
        {"documents_scored": 0, "fell": 0, "rose": 0, "unchanged": 0},
        {"documents_total": 99},
        {"documents_total": 101},
        {"remaining": ABOUT_BENCHMARK},
        {"fell": 6},
        {"fell": -1, "rose": 10},
        {"interval": Interval(0.01, -0.03, 0.95, "population", "")},
        {"interval": Interval(0.0, 0.01, 0.95, "population", "")},
        {"interval": Interval(math.nan, 0.01, 0.95, "population", "")},
        {"interval": Interval(-math.inf, 0.01, 0.95, "population", "")},
        {"interval": Interval(-0.03, 0.01, 1.0, "population", "")},
        {"interval": Interval(-0.03, 0.01, 0.95, "benchmark", "")},
        {"documents_total": 200, "remaining": Interval(-0.02, 0.0, 0.95, "population", "")},
    ],
    ids=str,
)
def test_a_verdict_refuses_a_broken_finding(changes: dict[str, Any]) -> None:
    """Numbers that are not finite or contradict each other make no verdict, let alone a pass."""
    with pytest.raises(MeasurementError):
        verdict_of(good_finding(**changes))


@pytest.mark.parametrize(
    "build",
    [
        lambda: verdict_of(),
        lambda: verdict_of(
            good_finding(rule="general/x/report", bound="report", margin=None, outcome="reported")
        ),
        lambda: verdict_of(good_finding(), good_finding()),
        lambda: verdict_of(good_finding(), tuned=replace(TUNED, digest=BASE.digest)),
        lambda: verdict_of(good_finding(), base=replace(BASE, digest="")),
    ],
    ids=["empty", "reported only", "rule twice", "same model", "no digest"],
)
def test_a_verdict_refuses_to_be_empty_or_about_nothing(build: Callable[[], Verdict]) -> None:
    """No findings, only reported ones, a rule twice, or no two models: an error."""
    with pytest.raises(MeasurementError):
        build()


def test_outcomes_and_exit_codes() -> None:
    """fail beats undecided beats pass; reported findings change nothing; codes are 0, 1, 4."""
    passed = good_finding()
    failed = good_finding(rule="general/y/max_drop", margin=0.005, outcome="fail")
    undecided = good_finding(rule="general/z/max_drop", outcome="undecided")
    reported = good_finding(rule="general/w/report", bound="report", margin=None, outcome="reported")
    cases = (
        ((passed, reported), "pass", 0),
        ((passed, undecided), "undecided", 4),
        ((failed, undecided, passed), "fail", 1),
    )
    for findings, outcome, code in cases:
        verdict = verdict_of(*findings)
        assert (verdict.outcome, exit_code(verdict)) == (outcome, code)


def test_a_failure_is_never_a_pass() -> None:
    """Its outcome is error whatever findings it keeps, and its exit code the error's own."""
    failure = Failure.of(OutOfMemory("no memory", hint="halve the batch"), "measure")
    assert replace(failure, findings=(good_finding(),)).outcome == "error"
    assert (exit_code(failure), failure.error) == (3, RunError("out_of_memory", "measure", "no memory"))
    assert [Failure.of(e, "plan").exit_code for e in (UsageError("x"), Interrupted("x"))] == [2, 130]
    for code in (0, 1, 4):
        with pytest.raises(ValueError, match="exit code"):
            replace(failure, exit_code=code)


# ── Rules ────────────────────────────────────────────────────────────────────────────────────────


def test_the_220_documents() -> None:
    """22 lost and 7 won of 220: blocked at two points; the interval and the exact test stand beside it."""
    verdict = decide(single("general/x", *flips(220, 181, 22, 7)), Rule("general", "x", "max_drop", 0.02))
    (finding,) = verdict.findings
    assert verdict.outcome == "fail"
    assert (finding.fell, finding.rose, finding.unchanged) == (22, 7, 191)
    assert finding.difference == -15 / 220
    expected = stats.tango(22, 7, 220, 0.95)
    assert (finding.interval.low, finding.interval.high) == (expected.low, expected.high)
    assert (finding.interval.about, finding.interval.level, finding.remaining) == ("population", 0.95, None)
    assert finding.note == "exact McNemar p = 0.0081"


@pytest.mark.parametrize("n", [50, 150, 350, 700, 1050, 14_050])
def test_a_drop_equal_to_the_margin_passes(n: int) -> None:
    """A drop of exactly one in fifty keeps max_drop: 0.02, whatever binary makes of it; one more fails."""
    rule = Rule("general", "x", "max_drop", 0.02)
    assert decide(single("general/x", *flips(n, n // 2, n // 50, 0)), rule).outcome == "pass"
    assert decide(single("general/x", *flips(n, n // 2, n // 50 + 1, 0)), rule).outcome == "fail"


def test_a_drop_of_decimal_values_equal_to_the_margin_passes() -> None:
    """Values such as 0.1 and 0.7 are not exact in binary; their mean drop of 0.02 still is the margin."""
    base, tuned = [0.7, 0.3, 0.1, 0.9, 0.5], [0.68, 0.28, 0.08, 0.88, 0.48]
    assert decide(single("general/x", base, tuned), Rule("general", "x", "max_drop", 0.02)).outcome == "pass"


@pytest.mark.parametrize(
    ("kind", "bound", "margin", "higher", "tuned_right", "outcome"),
    [
        ("target", "min_gain", 0.2, True, 7, "pass"),
        ("target", "min_gain", 0.2, True, 6, "fail"),
        ("target", "min_gain", 0.2, False, 3, "pass"),
        ("target", "min_gain", 0.2, False, 7, "fail"),
        ("target", "min_score", 0.7, True, 7, "pass"),
        ("target", "min_score", 0.7, True, 6, "fail"),
        ("general", "max_drop", 0.2, True, 3, "pass"),
        ("general", "max_drop", 0.2, True, 2, "fail"),
        ("general", "max_drop", 0.2, False, 7, "pass"),
        ("general", "max_drop", 0.2, False, 8, "fail"),
        ("general", "max_drop", 0.0, True, 5, "pass"),
        ("text", "max_rise", 0.2, False, 7, "pass"),
        ("text", "max_rise", 0.2, False, 8, "fail"),
        ("text", "max_rise", 0.2, False, 1, "pass"),
    ],
)
def test_bounds(kind: Any, bound: Bound, margin: float, higher: bool, tuned_right: int, outcome: str) -> None:
    """Each bound on both sides of its margin, in both directions; base is right on 5 of 10."""
    base, tuned = [1.0] * 5 + [0.0] * 5, [1.0] * tuned_right + [0.0] * (10 - tuned_right)
    run = single(f"{kind}/x", base, tuned, higher_is_better=higher)
    assert decide(run, Rule(kind, "x", bound, margin)).outcome == outcome


def test_the_interval_of_min_score_is_the_tuned_models() -> None:
    """Wilson about the tuned score, and a word where the margin lies in it."""
    run = single("target/x", *flips(100, 50, 0, 32))
    (finding,) = decide(run, Rule("target", "x", "min_score", 0.8)).findings
    expected = stats.wilson(82, 100, 0.95)
    assert (finding.interval.low, finding.interval.high) == (expected.low, expected.high)
    assert finding.note.startswith("the margin is within noise of the score")


@pytest.mark.parametrize(
    ("lost", "won", "higher", "words"),
    [
        (4, 3, True, "the drop is within noise"),
        (3, 4, True, "the gain is within noise"),
        (3, 4, False, "the rise is within noise"),
        (4, 3, False, "the gain is within noise"),
        (3, 3, True, "no difference"),
        (0, 0, True, "no difference"),
    ],
)
def test_noise_is_said(lost: int, won: int, higher: bool, words: str) -> None:
    """Where the interval holds 0, the note says so in the metric's direction."""
    run = single("general/x", *flips(100, 50, lost, won), higher_is_better=higher)
    (finding,) = decide(run, Rule("general", "x", "max_drop", 0.5)).findings
    assert finding.note.split(";")[0] == words


def test_reported_rules_are_shown_and_not_judged() -> None:
    """A rule without margin gives a reported finding; alone it is no policy."""
    run = single("general/x", *flips(100, 50, 20, 0))
    report = Rule("general", "x", "report", None)
    verdict = decide(run, report, Rule("general", "x", "max_drop", 0.3))
    assert [f.outcome for f in verdict.findings] == ["reported", "pass"]
    with pytest.raises(UsageError, match="judges nothing"):
        decide(run, report)


# ── Groups, averages, ratios, corpora ────────────────────────────────────────────────────────────


def test_a_group_is_weighted_by_its_leaves() -> None:
    """Weights are the plan's, not the documents' counts; the interval is MOVER of Tango's."""
    a = measured("general/g", *flips(10, 5, 1, 0), leaf="a")
    b = measured("general/g", *flips(90, 45, 0, 9), leaf="b")
    run = run_of((info_of(a, b, weights=(0.75, 0.25)), (a, b)))
    (finding,) = decide(run, Rule("general", "g", "max_drop", 0.05)).findings
    assert finding.difference == pytest.approx(-0.75 * 0.1 + 0.25 * 0.1)
    expected = stats.mover([stats.tango(1, 0, 10, 0.95), stats.tango(0, 9, 90, 0.95)], [0.75, 0.25])
    assert (finding.interval.low, finding.interval.high) == pytest.approx((expected.low, expected.high))
    assert (finding.documents_scored, finding.fell, finding.rose) == (100, 1, 9)
    assert (finding.outcome, finding.interval.method) == ("pass", "MOVER of 2 leaves: Tango score")


def test_leaves_of_every_sort_make_one_interval() -> None:
    """A group with a 0/1 leaf, a graded leaf and a leaf of one document joins all three."""
    leaves = (
        measured("general/g", *flips(10, 5, 1, 0), leaf="a"),
        measured("general/g", [0.5, 0.6, 0.9], [0.4, 0.6, 0.7], leaf="b"),
        measured("general/g", [0.5], [0.5], leaf="c"),
    )
    run = run_of((info_of(*leaves, weights=(0.5, 0.25, 0.25)), leaves))
    (finding,) = decide(run, Rule("general", "g", "max_drop", 0.5)).findings
    assert finding.interval.method == "MOVER of 3 leaves: Tango score, paired t, exact, no spread seen"
    assert finding.interval.high - finding.interval.low > 2 * 0.975 * 0.25


def test_graded_values_get_the_paired_t_interval() -> None:
    """Not 0/1: the interval is the paired t, cut to what a fraction's difference can be."""
    rng = np.random.default_rng(1)
    base, tuned = rng.random(30).tolist(), rng.random(30).tolist()
    (finding,) = decide(single("general/x", base, tuned), Rule("general", "x", "max_drop", 1.0)).findings
    expected = stats.stratified_t([stats.mean_moments(np.array(tuned) - np.array(base))], [1.0], 0.95)
    assert (finding.interval.low, finding.interval.high) == pytest.approx((expected.low, expected.high))
    (wide,) = decide(
        single("general/x", [0.1, 0.9], [0.9, 0.2]), Rule("general", "x", "max_drop", 1.0)
    ).findings
    assert (wide.interval.low, wide.interval.high) == (-1, 1)


def test_the_average_is_the_mean_of_the_general_tasks() -> None:
    """Unweighted over the policy's general tasks, each in its own metric; intervals joined by MOVER."""
    a = measured("general/a", *flips(100, 50, 6, 0))
    b = measured("general/b", *flips(20, 10, 0, 1), metric="acc_norm")
    target = measured("target/t", *flips(10, 0, 0, 9))
    run = run_of(*((info_of(m), (m,)) for m in (a, b, target)))
    rules = (Rule("general", "a", "max_drop", 0.1), Rule("average", "general", "max_drop", 0.01))
    tasks = (TaskSpec("general", "a"), TaskSpec("general", "b"), TaskSpec("target", "t"))
    finding = decide(run, *rules, tasks=tasks).findings[1]
    assert finding.difference == pytest.approx((-0.06 + 0.05) / 2)
    expected = stats.mover([stats.tango(6, 0, 100, 0.95), stats.tango(0, 1, 20, 0.95)], [0.5, 0.5])
    assert (finding.interval.low, finding.interval.high) == pytest.approx((expected.low, expected.high))
    assert (finding.rule, finding.documents_total, finding.outcome) == (
        "average/general/max_drop",
        120,
        "pass",
    )
    assert (finding.fell, finding.rose, finding.unchanged) == (6, 1, 113)


def test_only_fractions_can_be_averaged() -> None:
    """A perplexity among the general tasks is named, and nothing is averaged."""
    a = measured("general/a", *flips(10, 5, 0, 0))
    b = measured(
        "general/b", [9.0, 8.0], [9.5, 8.5], metric="perplexity", unit="perplexity", higher_is_better=False
    )
    run = run_of((info_of(a), (a,)), (info_of(b), (b,)))
    tasks = (TaskSpec("general", "a"), TaskSpec("general", "b"))
    with pytest.raises(UsageError, match=r"general/b \(perplexity,none, perplexity\)"):
        decide(run, Rule("average", "general", "max_drop", 0.01), tasks=tasks)
    with pytest.raises(UsageError, match="no general tasks"):
        decide(run, Rule("average", "general", "max_drop", 0.01), tasks=())


BITS = {"metric": "bits_per_byte", "unit": "bits per byte", "higher_is_better": False, "aggregation": "ratio"}


def test_bits_per_byte_is_bits_over_bytes() -> None:
    """A ratio of sums, not a mean of ratios; max_rise is about tuned minus base."""
    sizes = (100.0, 300.0, 50.0)
    run = single("text/c", [100.0, 310.0, 60.0], [110.0, 330.0, 55.0], weights=sizes, **BITS)
    verdict = decide(run, Rule("text", "c", "max_rise", 0.05), Rule("text", "c", "report", None))
    judged, shown = verdict.findings
    assert judged.base == pytest.approx(470 / 450)
    assert judged.difference == pytest.approx(25 / 450)
    assert (judged.outcome, shown.outcome) == ("fail", "reported")
    assert (judged.fell, judged.rose) == (2, 1)
    moments = stats.ratio_moments(np.array([10.0, 20.0, -5.0]), np.array(sizes))
    expected = stats.stratified_t([moments], [1.0], 0.95)
    assert (judged.interval.low, judged.interval.high) == pytest.approx((expected.low, expected.high))


def test_one_text_carries_no_interval() -> None:
    """A corpus of a single document cannot say how noisy it is: an error, not zero width."""
    run = single("text/c", [100.0], [110.0], weights=(100.0,), **BITS)
    with pytest.raises(MeasurementError, match="spread of one document"):
        decide(run, Rule("text", "c", "max_rise", 1.0))


def corpus_run(n: int = 5, total: int = 5, replicates: int = 400) -> Measurements:
    """BLEU 30 to 28, with replicates about those."""
    rng = np.random.default_rng(2)
    pairs = [(float(a), float(b)) for a, b in rng.normal((30.0, 28.0), 1.0, (replicates, 2))]
    one = measured(
        "general/mt", [], [], metric="bleu", unit="bleu", aggregation="corpus", corpus=(30.0, 28.0),
        replicates=tuple(pairs), numbers=tuple(range(n)), hashes=("h",) * n, total=total,
    )  # fmt: skip
    return run_of((info_of(one), (one,)))


def test_a_corpus_metric_uses_its_replicates() -> None:
    """Percentiles of the paired differences; documents have no value of their own to count."""
    run = corpus_run()
    (finding,) = decide(run, Rule("general", "mt", "max_drop", 2.0)).findings
    replicates = np.array(run.measurements[0].replicates)
    low, high = np.quantile(replicates[:, 1] - replicates[:, 0], [0.025, 0.975])
    assert (finding.interval.low, finding.interval.high) == pytest.approx((low, high))
    assert (finding.outcome, finding.interval.method) == ("pass", "bootstrap percentile")
    assert finding.fell == finding.rose == finding.unchanged == 0


def test_a_corpus_metric_with_few_replicates_at_a_high_level() -> None:
    """100 replicates have no 99.5 % quantile: the standard bootstrap interval, and it says so."""
    rule = Rule("general", "mt", "max_drop", 2.0)
    (finding,) = decide(corpus_run(replicates=100), rule, confidence=0.99).findings
    assert finding.interval.method == "standard bootstrap"
    with pytest.raises(MeasurementError, match="too few"):
        decide(corpus_run(replicates=10), rule)


# ── When not all documents were scored ───────────────────────────────────────────────────────────


def test_a_limited_run_says_so_and_what_remains() -> None:
    """Half of the documents: `remaining` is about the benchmark, narrower than the noise, and noted."""
    run = single("general/x", *flips(100, 50, 5, 1), total=200)
    rule = Rule("general", "x", "max_drop", 0.1)
    (finding,) = decide(run, rule, tasks=(TaskSpec("general", "x", limit=100),)).findings
    assert finding.note.endswith("judged on 100 of 200 documents")
    assert finding.remaining is not None
    assert finding.remaining.about == "benchmark"
    expected = stats.finite_difference(5, 1, 100, 200, 0.95)
    assert (finding.remaining.low, finding.remaining.high) == (expected.low, expected.high)


@pytest.mark.parametrize("bound", ["max_drop", "min_score"])
def test_what_remains_vanishes_leaf_by_leaf(bound: Bound) -> None:
    """A leaf scored in full adds nothing to `remaining`; graded and 0/1 leaves that were not, do."""
    margin = 0.0 if bound == "min_score" else 1.0
    graded = {"leaf": "b", "total": 4}
    full = measured("general/g", *flips(10, 5, 1, 0), leaf="a")
    rest = measured("general/g", [0.5, 0.6, 0.9], [0.4, 0.6, 0.7], **graded)
    same = measured("general/g", [0.5, 0.6, 0.9], [0.5, 0.6, 0.9], **graded)
    for part in (rest, same):
        run = run_of((info_of(full, part, weights=(0.5, 0.5)), (full, part)))
        spec = TaskSpec("general", "g", limit=13)
        (finding,) = decide(run, Rule("general", "g", bound, margin), tasks=(spec,)).findings
        assert finding.remaining is not None
        assert "complete" in finding.remaining.method
        width = finding.remaining.high - finding.remaining.low
        assert 0 < width < finding.interval.high - finding.interval.low


def test_what_remains_of_a_corpus_metric_and_of_an_average() -> None:
    """Replicates shrink towards the estimate; the average joins what its tasks leave open."""
    spec = TaskSpec("general", "mt", limit=4)
    (finding,) = decide(corpus_run(4, 8), Rule("general", "mt", "max_drop", 3.0), tasks=(spec,)).findings
    assert finding.remaining is not None
    noise = finding.interval.high - finding.interval.low
    assert finding.remaining.high - finding.remaining.low == pytest.approx(noise * math.sqrt(0.5), rel=1e-6)
    a = measured("general/a", *flips(10, 5, 1, 0))
    b = measured("general/b", *flips(10, 5, 1, 0), total=20)
    run = run_of((info_of(a), (a,)), (info_of(b), (b,)))
    tasks = (TaskSpec("general", "a"), TaskSpec("general", "b", limit=10))
    (average,) = decide(run, Rule("average", "general", "max_drop", 0.2), tasks=tasks).findings
    alone = stats.finite_difference(1, 0, 10, 20, 0.95)
    assert average.remaining is not None
    assert average.remaining.high - average.difference == pytest.approx((alone.high - alone.estimate) / 2)


# ── Another policy on the same run ───────────────────────────────────────────────────────────────


def two_metrics() -> Measurements:
    """acc (the task's own) rose, acc_norm fell, over the same documents."""
    acc = measured("general/x", *flips(100, 50, 0, 10))
    norm = measured("general/x", *flips(100, 50, 10, 0), metric="acc_norm")
    strict = measured("general/x", *flips(100, 50, 1, 0), metric="em", filter="strict")
    loose = measured("general/x", *flips(100, 50, 2, 0), metric="em", filter="loose")
    return run_of((info_of(acc), (acc, norm, strict, loose)))


def test_a_rule_may_name_another_stored_metric() -> None:
    """By metric, by metric and filter, or through the policy's task; the id says which."""
    run = two_metrics()
    rules = (
        Rule("general", "x", "max_drop", 0.05),
        Rule("general", "x", "max_drop", 0.05, metric="acc_norm"),
        Rule("general", "x", "max_drop", 0.05, metric="em", filter="loose"),
    )
    verdict = decide(run, *rules)
    assert [f.outcome for f in verdict.findings] == ["pass", "fail", "pass"]
    assert [f.rule for f in verdict.findings][1:] == [
        "general/x/acc_norm/max_drop",
        "general/x/em,loose/max_drop",
    ]
    spec = TaskSpec("general", "x", metric="acc_norm")
    assert decide(run, rules[0], tasks=(spec,)).outcome == "fail"


def test_what_the_run_lacks_is_told_at_once() -> None:
    """Every rule about something that was not measured, with its line and what there is."""
    place = Place("new.yaml", 7)
    rules = (
        Rule("general", "y", "max_drop", 0.05, place=place),
        Rule("general", "x", "max_drop", 0.05, metric="f1"),
        Rule("general", "x", "max_drop", 0.05, metric="em"),
        Rule("general", "x", "max_rise", 0.05),
        Rule("general", "x", "max_drop", 0.05),
        Rule("general", "x", "max_drop", 0.06),
    )
    with pytest.raises(ConfigErrors) as caught:
        decide(two_metrics(), *rules)
    said = [str(problem) for problem in caught.value.problems]
    assert len(said) == 5
    assert said[0].startswith(
        "new.yaml:7: general/y/max_drop: this run did not measure general/y (it measured"
    )
    assert "no f1 of general/x (it has acc,none; acc_norm,none; em,strict; em,loose)" in said[1]
    assert "more than one filter of em" in said[2]
    assert "max_rise needs a metric where lower is better" in said[3]
    assert "twice" in said[4]


@pytest.mark.parametrize(
    ("asks", "words"),
    [
        ({"limit": None}, "asks for 200 documents"),
        ({"limit": 150}, "asks for 150 documents"),
        ({"limit": 100, "num_fewshot": 5}, "num_fewshot 5"),
        ({"limit": 100, "chat_template": "tuned"}, "chat_template tuned"),
    ],
)
def test_a_policy_that_asks_for_more_than_was_measured_is_refused(asks: dict[str, Any], words: str) -> None:
    """A limited run cannot pass a policy that wants all documents, nor 0-shot one that wants five."""
    run = single("general/x", *flips(100, 50, 0, 0), total=200)
    with pytest.raises(UsageError, match=words):
        decide(run, Rule("general", "x", "max_drop", 0.1), tasks=(TaskSpec("general", "x", **asks),))


def test_min_score_needs_a_score() -> None:
    """On a metric where lower is better, min_score would praise the worst model: refused."""
    run = single("target/x", *flips(10, 5, 0, 0), higher_is_better=False)
    with pytest.raises(UsageError, match="higher is better"):
        decide(run, Rule("target", "x", "min_score", 0.1))


def test_what_there_is_keeps_the_findings_of_complete_tasks() -> None:
    """With one task broken there is no verdict, but the other's finding is kept for the report."""
    a, b = measured("general/a", *flips(10, 5, 0, 0)), measured("general/b", *flips(10, 5, 0, 0))
    run = run_of((info_of(a), (a,)), (info_of(b), (replace(b, tuned=(math.nan, *b.tuned[1:])),)))
    policy = policy_of(Rule("general", "a", "max_drop", 0.1), Rule("general", "b", "max_drop", 0.1))
    with pytest.raises(MeasurementError):
        judge(run, policy, None, Cost(), WHERE)
    assert [f.rule for f in judge_what_there_is(run, policy)] == ["general/a/max_drop"]


# ── Corruption ───────────────────────────────────────────────────────────────────────────────────


def whole_run() -> tuple[Measurements, Policy]:
    """A run that passes: a target, a group of two leaves with two metrics, a text corpus, a corpus metric."""
    target = measured("target/t", *flips(12, 4, 0, 8))
    leaves = [
        measured("general/g", *flips(10, 6, 0, 1), leaf=leaf, metric=metric)
        for metric in ("acc", "acc_norm")
        for leaf in ("a", "b")
    ]
    text = measured("text/c", [9.0, 8.0, 7.0], [9.0, 8.1, 7.0], weights=(3.0, 3.0, 2.0), **BITS)
    mt = corpus_run()
    run = run_of(
        (info_of(target), (target,)),
        (info_of(*leaves[:2], weights=(0.5, 0.5)), tuple(leaves)),
        (info_of(text), (text,)),
        (mt.tasks[0], mt.measurements),
    )
    policy = policy_of(
        Rule("target", "t", "min_gain", 0.1),
        Rule("target", "t", "min_score", 0.5),
        Rule("general", "g", "max_drop", 0.02),
        Rule("general", "mt", "max_drop", 3.0),
        Rule("text", "c", "max_rise", 0.1),
    )
    return run, policy


def test_the_whole_run_passes_uncorrupted() -> None:
    """So that each corruption below is what undoes it; one finding a rule, in the policy's order."""
    run, policy = whole_run()
    verdict = judge(run, policy, None, Cost(), WHERE, expected_base=BASE.digest)
    assert verdict.outcome == "pass"
    assert [f.rule for f in verdict.findings] == [rule.id for rule in policy.rules]


def bad_number(row: tuple[float, ...], at: int, value: Any) -> tuple[Any, ...]:
    return (*row[: at % len(row)], value, *row[at % len(row) + 1 :])


def shuffled(row: tuple[Any, ...], at: int) -> tuple[Any, ...]:
    """Two neighbours swapped."""
    k = at % (len(row) - 1)
    return (*row[:k], row[k + 1], row[k], *row[k + 2 :])


SPOIL: dict[str, Callable[[Measurement, int], Measurement]] = {
    "fewer numbers": lambda m, k: replace(m, numbers=m.numbers[:-1]),
    "fewer hashes": lambda m, k: replace(m, hashes=m.hashes[1:]),
    "one document less": lambda m, k: replace(
        m, numbers=m.numbers[1:], hashes=m.hashes[1:], base=m.base[1:], tuned=m.tuned[1:]
    ),
    "a number twice": lambda m, k: replace(m, numbers=(*m.numbers[:-1], m.numbers[0])),
    "a negative number": lambda m, k: replace(m, numbers=bad_number(m.numbers, k, -1)),
    "a number that is none": lambda m, k: replace(m, numbers=bad_number(m.numbers, k, 0.5)),
    "an empty hash": lambda m, k: replace(m, hashes=bad_number(m.hashes, k, "")),
    "another leaf": lambda m, k: replace(m, leaf="elsewhere"),
    "another task": lambda m, k: replace(m, task="general/elsewhere"),
    "another metric": lambda m, k: replace(m, metric="f1"),
    "another filter": lambda m, k: replace(m, filter="first"),
    "another unit": lambda m, k: replace(m, unit="points"),
    "the other direction": lambda m, k: replace(m, higher_is_better=not m.higher_is_better),
    "another total": lambda m, k: replace(m, documents_total=m.documents_total + 1),
}
SPOIL_VALUES: dict[str, Callable[[Measurement, int], Measurement]] = {
    "shorter base": lambda m, k: replace(m, base=m.base[:-1]),
    "longer tuned": lambda m, k: replace(m, tuned=(*m.tuned, 1.0)),
    "no tuned": lambda m, k: replace(m, tuned=()),
    "NaN": lambda m, k: replace(m, tuned=bad_number(m.tuned, k, math.nan)),
    "infinite": lambda m, k: replace(m, base=bad_number(m.base, k, -math.inf)),
    "huge": lambda m, k: replace(m, tuned=bad_number(m.tuned, k, 1e308)),
    "None": lambda m, k: replace(m, tuned=bad_number(m.tuned, k, None)),
    "text": lambda m, k: replace(m, tuned=bad_number(m.tuned, k, "right")),
}
SPOIL_FRACTION: dict[str, Callable[[Measurement, int], Measurement]] = {
    "above 1": lambda m, k: replace(m, tuned=bad_number(m.tuned, k, 1.5)),
    "below 0": lambda m, k: replace(m, base=bad_number(m.base, k, -0.1)),
}
SPOIL_GROUP: dict[str, Callable[[Measurement, int], Measurement]] = {
    "hashes swapped": lambda m, k: replace(m, hashes=shuffled(m.hashes, k)),
    "numbers shuffled": lambda m, k: replace(m, numbers=shuffled(m.numbers, k)),
}
SPOIL_RATIO: dict[str, Callable[[Measurement, int], Measurement]] = {
    "no weights": lambda m, k: replace(m, weights=None),
    "a weight less": lambda m, k: replace(m, weights=(m.weights or ())[1:]),
    "a negative weight": lambda m, k: replace(m, weights=bad_number(m.weights or (), k, -1.0)),
    "weights of nothing": lambda m, k: replace(m, weights=(0.0,) * 3),
}
SPOIL_CORPUS: dict[str, Callable[[Measurement, int], Measurement]] = {
    "no number": lambda m, k: replace(m, corpus=None),
    "NaN number": lambda m, k: replace(m, corpus=(30.0, math.nan)),
    "no replicates": lambda m, k: replace(m, replicates=()),
    "an infinite replicate": lambda m, k: replace(m, replicates=bad_number(m.replicates, k, (1.0, math.inf))),
    "half values": lambda m, k: replace(m, tuned=(1.0,)),
}


def spoilers(m: Measurement) -> dict[str, Callable[[Measurement, int], Measurement]]:
    """What can go wrong with this measurement and must be noticed."""
    if m.aggregation == "corpus":
        return SPOIL | SPOIL_CORPUS
    if m.aggregation == "ratio":
        return SPOIL | SPOIL_VALUES | SPOIL_RATIO
    return SPOIL | SPOIL_VALUES | SPOIL_FRACTION | (SPOIL_GROUP if m.task == "general/g" else {})


@settings(max_examples=300)
@given(st.data())
def test_no_corruption_of_a_measurement_passes(data: st.DataObject) -> None:
    """Whatever is dropped, doubled, swapped or made non-finite, anywhere: an error, never a verdict."""
    run, policy = whole_run()
    at = data.draw(st.integers(0, len(run.measurements) - 1))
    victim = run.measurements[at]
    how = data.draw(st.sampled_from(sorted(spoilers(victim))))
    spoiled = spoilers(victim)[how](victim, data.draw(st.integers(0, 50)))
    rows = (*run.measurements[:at], spoiled, *run.measurements[at + 1 :])
    with pytest.raises(MeasurementError):
        judge(replace(run, measurements=rows), policy, None, Cost(), WHERE)


@given(st.integers(0, 6), st.sampled_from(["missing", "twice"]))
def test_a_missing_or_doubled_measurement_never_passes(at: int, how: str) -> None:
    """Every leaf of every metric once: one less or one more is an error."""
    run, policy = whole_run()
    rows = list(run.measurements)
    rows[at : at + 1] = [] if how == "missing" else [rows[at], rows[at]]
    with pytest.raises(MeasurementError):
        judge(replace(run, measurements=tuple(rows)), policy, None, Cost(), WHERE)


def with_leaves(run: Measurements, *leaves: Leaf) -> Measurements:
    """The run with another plan for its group."""
    tasks = tuple(replace(t, leaves=leaves) if t.task == "general/g" else t for t in run.tasks)
    return replace(run, tasks=tasks)


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda run: replace(run, tasks=()),
        lambda run: replace(run, tasks=run.tasks[1:]),
        lambda run: replace(run, tasks=(*run.tasks, run.tasks[0])),
        lambda run: replace(run, tasks=(*run.tasks, replace(run.tasks[0], task="general/other"))),
        lambda run: replace(run, tasks=(replace(run.tasks[0], metric="f1"), *run.tasks[1:])),
        lambda run: replace(run, measurements=()),
        lambda run: replace(run, tuned=BASE),
        lambda run: replace(run, base=replace(BASE, digest="sha256:other")),
        lambda run: with_leaves(run),
        lambda run: with_leaves(run, Leaf("a", 10, 10, 0.5), Leaf("a", 10, 10, 0.5)),
        lambda run: with_leaves(run, Leaf("a", 10, 10, 0.5), Leaf("b", 10, 10, 0.6)),
        lambda run: with_leaves(run, Leaf("a", 10, 10, 1.5), Leaf("b", 10, 10, -0.5)),
        lambda run: with_leaves(run, Leaf("a", 10, 10, math.nan), Leaf("b", 10, 10, 0.5)),
        lambda run: with_leaves(run, Leaf("a", 10, 10, 0.5), Leaf("b", 10, 0, 0.5)),
        lambda run: with_leaves(run, Leaf("a", 10, 10, 0.5), Leaf("b", 10, 11, 0.5)),
        lambda run: with_leaves(run, Leaf("a", 10, 10, 0.4), Leaf("b", 10, 10, 0.3), Leaf("c", 10, 10, 0.3)),
    ],
)
def test_no_corruption_of_the_run_passes(corrupt: Callable[[Measurements], Measurements]) -> None:
    """Tasks, plan or models that do not fit what was measured: an error."""
    run, policy = whole_run()
    with pytest.raises(MeasurementError):
        judge(corrupt(run), policy, None, Cost(), WHERE, expected_base=BASE.digest)


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (Rule("general", "g", "max_drop", None),),
        (Rule("target", "t", "min_gain", 0.1), Rule("general", "g", "max_drop", None)),
        (Rule("target", "t", "min_gain", 0.1), Rule("general", "g", "report", 0.1)),
        (Rule("target", "t", "min_gain", 0.1), Rule("general", "nowhere", "max_drop", 0.1)),
        (Rule("target", "t", "min_gain", math.nan),),
        (Rule("target", "t", "min_gain", -math.inf),),
    ],
)
def test_no_corruption_of_the_policy_passes(rules: tuple[Rule, ...]) -> None:
    """No rules, none that judges, margins that are none, tasks that were not measured: an error."""
    run, _ = whole_run()
    with pytest.raises((UsageError, MeasurementError)):
        judge(run, Policy(rules, ()), None, Cost(), WHERE)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1.5, math.nan])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    """A level outside of (0, 1) is a usage error, not a traceback."""
    run, policy = whole_run()
    with pytest.raises(UsageError, match="confidence"):
        judge(run, replace(policy, confidence=confidence), None, Cost(), WHERE)


# ── Against fractions, and in time ───────────────────────────────────────────────────────────────


@st.composite
def judged_groups(draw: st.DrawFn) -> tuple[list[tuple[list[int], list[int]]], list[int], Fraction]:
    """Some leaves of 0/1 pairs, whole-number weights, and a margin in thousandths."""
    leaves = []
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 25))
        row = st.lists(st.integers(0, 1), min_size=n, max_size=n)
        leaves.append((draw(row), draw(row)))
    weights = [draw(st.integers(1, 9)) for _ in leaves]
    return leaves, weights, Fraction(draw(st.integers(0, 1000)), 1000)


@settings(max_examples=200)
@given(judged_groups(), st.sampled_from(["min_gain", "min_score", "max_drop"]), st.booleans())
def test_outcomes_equal_exact_arithmetic(
    case: tuple[list[tuple[list[int], list[int]]], list[int], Fraction], bound: Bound, at_margin: bool
) -> None:
    """Pass or fail is what fractions say, also when the margin is exactly what was measured."""
    leaves, counts, margin = case
    shares = [Fraction(count, sum(counts)) for count in counts]
    base, tuned = (
        sum(w * Fraction(sum(leaf[side]), len(leaf[side])) for w, leaf in zip(shares, leaves, strict=True))
        for side in (0, 1)
    )
    value = {"min_gain": tuned - base, "min_score": tuned, "max_drop": base - tuned}[bound]
    margin = value if at_margin else margin
    kept = value <= margin if bound == "max_drop" else value >= margin
    rows = tuple(
        measured("general/g", [float(v) for v in b], [float(v) for v in t], leaf=str(k))
        for k, (b, t) in enumerate(leaves)
    )
    run = run_of((info_of(*rows, weights=tuple(float(w) for w in shares)), rows))
    verdict = decide(run, Rule("general", "g", bound, float(margin)))
    assert verdict.outcome == ("pass" if kept else "fail")


@settings(max_examples=50)
@given(
    st.integers(1, 30).flatmap(lambda n: st.tuples(*[st.lists(st.floats(0, 1), min_size=n, max_size=n)] * 2))
)
def test_swapping_the_models_mirrors_the_finding(rows: tuple[list[float], list[float]]) -> None:
    """Difference, interval and counts of tuned against base are those of base against tuned, mirrored."""
    rule = Rule("general", "x", "max_drop", 1.0)
    (one,) = decide(single("general/x", *rows), rule).findings
    (other,) = decide(single("general/x", *reversed(rows)), rule).findings
    assert one.difference == pytest.approx(-other.difference, abs=1e-12)
    assert (one.interval.low, one.interval.high) == pytest.approx(
        (-other.interval.high, -other.interval.low), abs=1e-9
    )
    assert (one.fell, one.rose) == (other.rose, other.fell)


def test_sixty_tasks_of_fourteen_thousand_documents_take_under_a_second() -> None:
    """The size of a large suite, in processor time; and the average over all of it."""
    n = 14_000
    rng = np.random.default_rng(3)
    base, tuned = ((rng.random(n) < p).astype(float).tolist() for p in (0.6, 0.59))
    hashes = tuple(f"{k:x}" for k in range(n))
    rows = [measured(f"general/{k}", base, tuned, hashes=hashes) for k in range(60)]
    run = run_of(*((info_of(m), (m,)) for m in rows))
    rules = [Rule("general", str(k), "max_drop", 0.1) for k in range(60)]
    policy = policy_of(*rules, Rule("average", "general", "max_drop", 0.1))
    start = time.process_time()
    verdict = judge(run, policy, None, Cost(), WHERE)
    assert time.process_time() - start < 1.0
    assert len(verdict.findings) == 61


def test_importing_the_verdict_brings_nothing_heavy() -> None:
    """Neither torch nor scipy, lm_eval, pyarrow or a network library: judging is instant on a laptop."""
    code = "import sys, gate.verdict; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    names = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"torch", "scipy", "lm_eval", "transformers", "pyarrow", "msgspec", "requests", "github3"}
    assert heavy.isdisjoint(names)
    assert "numpy" in names


def test_errors_are_worded_for_people() -> None:
    """An error names the task, the leaf and the metric, and is a GateError with exit code 3."""
    run = single("general/x", [1.0, 0.0], [1.0, math.nan])
    with pytest.raises(
        GateError, match=re.escape("general/x, x, acc: value 2 of 2 is not a finite number")
    ) as e:
        decide(run, Rule("general", "x", "max_drop", 0.1))
    assert e.value.exit_code == 3
