"""`decide: proven`: what is proven, what is undecided, and that only a proof passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.errors import MeasurementError
from gate.records import (
    Cost,
    Finding,
    Leaf,
    Measurement,
    Measurements,
    ModelRef,
    Policy,
    Rule,
    TaskInfo,
    TaskSpec,
)
from gate.records import Provenance as Where
from gate.stats.proportions import noninferior_p, range_bounds
from gate.verdict import Verdict, judge

BASE = ModelRef("base", "/models/base", "sha256:b")
TUNED = ModelRef("tuned", "/models/tuned", "sha256:t")
WHERE = Where("0.1.0", "2026-11-24T00:00:00Z", "", "", "cpu", "float32", "hf", "none", 16, "", {})


def leaf_of(
    task: str, base: np.ndarray, tuned: np.ndarray, name: str = "", clusters: tuple[str, ...] | None = None
) -> Measurement:
    n, name = len(base), name or task
    return Measurement(
        task=f"general/{task}",
        leaf=name,
        check="benchmarks",
        metric="acc",
        filter="none",
        unit="accuracy",
        higher_is_better=True,
        aggregation="mean",
        numbers=tuple(range(n)),
        hashes=tuple(f"{name} {at}" for at in range(n)),
        base=tuple(base.tolist()),
        tuned=tuple(tuned.tolist()),
        documents_total=n,
        clusters=clusters,
    )


def flips(n: int, lost: int, won: int) -> tuple[np.ndarray, np.ndarray]:
    base, tuned = np.zeros(n), np.zeros(n)
    base[:lost], tuned[lost : lost + won] = 1, 1
    return base, tuned


def run_of(*tasks: tuple[Measurement, ...]) -> Measurements:
    infos = []
    for leaves in tasks:
        one = leaves[0]
        parts = tuple(Leaf(m.leaf, len(m.numbers), len(m.numbers), 1 / len(leaves)) for m in leaves)
        infos.append(TaskInfo(one.task, "benchmarks", "acc", "none", "accuracy", True, parts))
    return Measurements(BASE, TUNED, tuple(infos), tuple(m for leaves in tasks for m in leaves))


def decided(run: Measurements, *rules: Rule, confidence: float = 0.95) -> Verdict:
    specs = tuple(TaskSpec("general", info.task.partition("/")[2]) for info in run.tasks)
    policy = Policy(rules, specs, decide="proven", path="thresholds.yaml", confidence=confidence)
    return judge(run, policy, None, Cost(), WHERE)


def drop(margin: float, task: str = "a") -> Rule:
    return Rule("general", task, "max_drop", margin)


def only(verdict: Verdict) -> Finding:
    (finding,) = verdict.findings
    return finding


@pytest.mark.parametrize(
    ("lost", "won", "outcome", "exit_code"),
    [(5, 5, "pass", 0), (30, 15, "undecided", 4), (80, 10, "fail", 1)],
)
def test_a_drop_is_proven_undecided_or_there(lost: int, won: int, outcome: str, exit_code: int) -> None:
    """Proven below the margin passes; below it, but not proven, is undecided; above it fails."""
    verdict = decided(run_of((leaf_of("a", *flips(1000, lost, won)),)), drop(0.02))
    finding = only(verdict)
    assert (finding.outcome, verdict.exit_code) == (outcome, exit_code)
    assert finding.proven is (noninferior_p(lost, won, 1000, 0.02) <= 0.05)
    assert "exact p = " in finding.note


def test_a_high_confidence_can_be_proven_too() -> None:
    """At 0.9995 and 0.999999: what nothing speaks against passes, what is near the margin does not."""
    for confidence in (0.9995, 0.999999):
        found = [
            only(decided(run_of((leaf_of("a", *flips(5000, n, n)),)), drop(0.02), confidence=confidence))
            for n in (5, 900)
        ]
        assert [finding.outcome for finding in found] == ["pass", "undecided"]


def test_a_pass_without_its_proof_is_no_verdict() -> None:
    """Whoever builds one: `proven` false and a pass contradict each other."""
    finding = only(decided(run_of((leaf_of("a", *flips(1000, 5, 5)),)), drop(0.02)))
    with pytest.raises(MeasurementError, match="without the proof"):
        Verdict((replace(finding, proven=False),), BASE, TUNED, None, Cost(), WHERE)


def test_few_clusters_prove_nothing() -> None:
    """The same documents: independent they prove it, in 10 passages of 100 they are undecided."""
    base, tuned = flips(1000, 5, 5)
    of_ten = tuple(f"passage {at % 10}" for at in range(1000))
    finding = only(decided(run_of((leaf_of("a", base, tuned, clusters=of_ten),)), drop(0.02)))
    assert (finding.outcome, finding.proven) == ("undecided", False)
    assert "10 clusters" in finding.note
    assert "20 are needed" in finding.note


def test_clusters_that_move_together_prove_less() -> None:
    """Losses and gains that fill whole passages are worth fewer documents than scattered ones."""
    base, tuned = flips(1000, 50, 50)
    scattered, together = (
        tuple(f"passage {at % 200 if spread else at // 5}" for at in range(1000)) for spread in (True, False)
    )
    alone, moved = (
        only(decided(run_of((leaf_of("a", base, tuned, clusters=each),)), drop(0.025)))
        for each in (scattered, together)
    )
    assert (alone.outcome, moved.outcome) == ("pass", "undecided")


def graded(unit: str, seed: int) -> Verdict:
    """Of 200 documents half gain two points and two, on average, are lost altogether: no drop, no gain."""
    rng = np.random.default_rng([3, seed])
    base, drawn = np.full(200, 0.98), rng.random(200)
    base[drawn < 0.01] = 1.0
    tuned = np.where(drawn < 0.01, 0.0, np.where(drawn < 0.51, 1.0, base))
    leaf = replace(leaf_of("a", base, tuned), unit=unit)
    run = run_of((leaf,))
    return decided(replace(run, tasks=(replace(run.tasks[0], unit=unit),)), drop(0.0))


def test_a_rare_loss_that_is_not_in_the_sample_is_reckoned_with() -> None:
    """Graded values whose drop is the margin are "proven" below it in at most 5 % of samples."""
    proven = sum(only(graded("fraction", seed)).proven is True for seed in range(100))
    assert proven <= 5


def test_a_metric_without_a_known_range_is_not_proven() -> None:
    """Right or wrong as its values may look: a rare loss may have any size. The finding says so."""
    run = run_of((leaf_of("a", *flips(1000, 0, 5)),))
    info = replace(run.tasks[0], unit="points")
    run = replace(run, tasks=(info,), measurements=(replace(run.measurements[0], unit="points"),))
    finding = only(decided(run, drop(0.5)))
    assert (finding.outcome, finding.proven) == ("undecided", False)
    assert "no known range" in finding.note


def test_groups_and_averages_are_proven_as_one_mean() -> None:
    """The bound is about the weighted mean: subtasks of unlike size count as the group counts them."""
    rng = np.random.default_rng(1)
    small, large = flips(200, 10, 10), flips(2000, 100, 100)
    order = [rng.permutation(n) for n in (200, 2000)]
    group = tuple(
        leaf_of("a", each[0][at], each[1][at], name)
        for each, at, name in zip((small, large), order, "xy", strict=True)
    )
    other = (leaf_of("b", *flips(1000, 50, 50)),)
    run = run_of(group, other)
    rules = drop(0.05), drop(0.05, "b"), Rule("average", "general", "max_drop", 0.05)
    verdict = decided(run, *rules)
    assert [finding.outcome for finding in verdict.findings] == ["pass"] * 3
    tight = decided(run, drop(0.01), Rule("average", "general", "max_drop", 0.005))
    assert [finding.outcome for finding in tight.findings] == ["undecided"] * 2
    assert "clusters" in tight.findings[0].note


def test_a_small_task_weighs_as_much_as_its_share_also_where_all_of_it_is_lost() -> None:
    """Of a mean of two tasks a document of the small one counts ten times as much, so the further cluster
    does; documents of two tasks are never one, whatever their numbers."""
    large, small = flips(1000, 40, 35), flips(100, 6, 5)
    run = run_of((leaf_of("a", *large),), (leaf_of("b", *small),))
    said = decided(run, Rule("average", "general", "max_drop", 0.01)).findings[0].note
    scales = 0.5 * 1100 / 1000, 0.5 * 1100 / 100
    losses = np.concatenate(
        [(base - tuned) * s for (base, tuned), s in zip((large, small), scales, strict=True)]
    )
    high = range_bounds(losses, [str(at) for at in range(1100)], 0.05, (-scales[1], scales[1])).high
    assert f"the drop is below {high:.4g}" in said
    assert "over 1,100 clusters" in said


def test_documents_that_stand_in_it_twice_prove_no_more_than_once() -> None:
    """A group beside one of its own tasks: the same documents are one cluster each, not further evidence, and
    the interval is that of one task; where not the same were scored nothing is proven."""
    base, tuned = flips(1000, 55, 45)
    rule, other = Rule("average", "general", "max_drop", 0.025), (base[::-1].copy(), tuned[::-1].copy())
    once = decided(run_of((leaf_of("a", base, tuned),), (leaf_of("b", *other),)), rule).findings[0]
    again = leaf_of("b", base, tuned, name="a")
    shared = decided(run_of((leaf_of("a", base, tuned),), (again,)), rule).findings[0]
    single = decided(run_of((leaf_of("a", base, tuned),)), drop(0.025)).findings[0]
    widths = [each.interval.high - each.interval.low for each in (once, shared, single)]
    assert widths[0] < 0.8 * widths[2]
    assert widths[1] == pytest.approx(widths[2])
    assert "that share documents" in shared.interval.method
    assert (once.outcome, shared.outcome) == ("pass", "undecided")
    short = leaf_of("b", base[:900], tuned[:900], name="a")
    unlike = decided(run_of((leaf_of("a", base, tuned),), (short,)), rule).findings[0]
    assert "stands in it twice" in unlike.note


def test_a_target_is_judged_in_full() -> None:
    """Only what must not be forgotten needs a proof."""
    run = run_of((leaf_of("a", *flips(1000, 5, 5)),))
    target = replace(
        run,
        tasks=(replace(run.tasks[0], task="target/a"),),
        measurements=(replace(run.measurements[0], task="target/a"),),
    )
    policy = Policy((Rule("target", "a", "min_gain", 0.0),), (TaskSpec("target", "a"),), decide="proven")
    finding = only(judge(target, policy, None, Cost(), WHERE))
    assert (finding.outcome, finding.proven) == ("pass", None)
