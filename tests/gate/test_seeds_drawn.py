"""Recipes of several trainings under `decide: score`, and the parts of a task: pure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from small_runs import WHERE, drawn, leaf_of, run_of

from gate.ci.record import read_result
from gate.errors import ConfigErrors, UsageError
from gate.records import (
    Block,
    Cost,
    Measurements,
    ModelRef,
    Policy,
    Rule,
    SeedRun,
    Slices,
    TaskSpec,
)
from gate.report import SCHEMA_FILE, StoredVerdict, render
from gate.schedule import GROWTH, key_of, make_schedule
from gate.seeds import to_promote, why_not_shipped
from gate.stats import Array, Bounds
from gate.stats.slices import part_proven
from gate.stats.trainings import over_trainings
from gate.verdict import Training, Verdict, judge, judge_recipe, mean_measurements, order_digest
from gate.verdict.paths import paths_of
from gate.verdict.settling import advance

N, BLOCK = 4_000, 32
RULE = Rule("general", "a", "max_drop", 0.02)


def policy_of(*rules: Rule, **changes: Any) -> Policy:
    asked = {"seeds": 3, **changes}
    return Policy(rules or (RULE,), (TaskSpec("general", "a"),), path="thresholds.yaml", **asked)


def answers(*lost: int, won: int = 160, n: int = N) -> tuple[Array, list[Array]]:
    """The base's, half of them right, and those of trainings that each lost so many and won others, which
    differ between trainings."""
    rng = np.random.default_rng([3, n, len(lost)])
    base = np.zeros(n)
    base[: n // 2] = 1
    tuned = []
    for count in lost:
        one = base.copy()
        one[rng.choice(n // 2, count, replace=False)] = 0
        one[n // 2 + rng.choice(n // 2, won, replace=False)] = 1
        tuned.append(one)
    return base, tuned


def judged(runs: list[Measurements], policy: Policy) -> tuple[Verdict, list[Verdict]]:
    """The recipe's verdict, and each training's own, as `gate.seeds` judges them."""
    places = [replace(WHERE, order_digest=order_digest(run)) for run in runs]
    own = [
        replace(judge(run, policy, None, Cost(), where, trainings=len(runs)), seed=42 + at)
        for at, (run, where) in enumerate(zip(runs, places, strict=True))
    ]
    trained = [
        Training(SeedRun(42 + at, run.tuned.digest, verdict.outcome, f"seeds/{42 + at}"), run)
        for at, (run, verdict) in enumerate(zip(runs, own, strict=True))
    ]
    mean = mean_measurements(runs, "sft.yaml")
    return judge_recipe(trained, mean, policy, None, Cost(), places[-1]), own


# ── decide: score ────────────────────────────────────────────────────────────────────────────────


def test_a_recipe_is_settled_by_the_mean_of_its_trainings() -> None:
    """From fewer documents than one training alone needs, all trainings on the same ones; their numbers are
    of these documents, and the recipe's is their mean, though the first goes on alone."""
    base, tuned = answers(160, 160, 160)
    runs = drawn(policy_of(), base, tuned)
    verdict, _ = judged(runs, policy_of())
    (finding,) = verdict.findings
    assert (verdict.outcome, finding.early) == ("pass", True)
    assert finding.seeds is not None
    assert finding.difference == pytest.approx(np.mean(finding.seeds.values))
    assert finding.remaining is not None
    assert finding.remaining.low >= -0.02
    assert finding.documents_scored == len(runs[1].measurements[0].numbers)
    each = [np.array(run.measurements[0].tuned) - run.measurements[0].base for run in runs[1:]]
    assert finding.seeds.values[1:] == pytest.approx([one.mean() for one in each])
    alone = drawn(policy_of(seeds=1), base, tuned[:1])
    assert finding.documents_scored < len(alone[0].measurements[0].numbers) / 2


def test_the_trainings_numbers_are_of_the_documents_that_settled_each_rule() -> None:
    """A rule that was settled rounds before the run ended has its own documents, after every training."""
    policy = policy_of(RULE, Rule("general", "a", "min_score", 0.3))
    runs = drawn(policy, *answers(150, 160, 170))
    drop, score = judged(runs, policy)[0].findings
    assert score.documents_scored < drop.documents_scored == len(runs[1].measurements[0].numbers)
    assert score.seeds is not None
    assert drop.seeds is not None
    assert np.mean(score.seeds.values) == pytest.approx(score.tuned)
    assert np.mean(drop.seeds.values) == pytest.approx(drop.difference)


@pytest.mark.parametrize(("extra", "outcome"), [(0, "pass"), (1, "fail")])
def test_the_last_third_of_a_document_decides(extra: int, outcome: str) -> None:
    """Three trainings whose mean drop is the margin exactly, and a third of one document beyond."""
    lost = 10 + round(0.02 * 600)
    base, tuned = answers(lost, lost - 3, lost + 3 + extra, won=10, n=600)
    verdict, own = judged(drawn(policy_of(), base, tuned, seed=1), policy_of())
    (finding,) = verdict.findings
    assert (finding.outcome, finding.documents_scored) == (outcome, 600)
    assert [each.outcome for each in own] == ["pass", "pass", "fail"]  # each by its own number


def test_a_training_that_its_recipe_left_unsettled_is_undecided_in_words() -> None:
    """The config's own goes on until it is settled, and ships. Another claims nothing, its report says why,
    and it cannot be promoted; how it can is said."""
    verdict, own = judged(drawn(policy_of(), *answers(160, 160, 160)), policy_of())
    (finding,) = own[2].findings
    assert (own[0].outcome, own[2].outcome, finding.early) == ("pass", "undecided", True)
    assert own[0].findings[0].documents_scored > 2 * finding.documents_scored
    assert "no more was scored of it" in finding.note
    assert "no more was scored of it" in render(own[2], (), ()).html
    stored = StoredVerdict("pass", verdict.tuned.digest, "sha256:b", {}, verdict.seeds)
    assert to_promote(stored, Path("run"), None) == ("sha256:42", Path("run/seeds/42"))
    assert "does not settle its own rules" in why_not_shipped(stored, "sha256:44")
    with pytest.raises(UsageError, match="seed 44 is undecided by itself") as raised:
        to_promote(stored, Path("run"), 44)
    assert "ftgate audit run" in raised.value.hint


def test_who_may_be_picked_needs_more_evidence() -> None:
    """The same documents pass a model that was judged for itself and not one of three: e against e / 3."""
    policy = policy_of(seeds=1)
    (run,) = drawn(policy, *answers(160))
    where = replace(WHERE, order_digest=order_digest(run))
    (one,) = judge(run, policy, None, Cost(), where).findings
    (of_three,) = judge(run, policy, None, Cost(), where, trainings=3).findings
    assert (one.outcome, of_three.outcome) == ("pass", "undecided")
    assert one.remaining is not None
    assert of_three.remaining is not None
    assert of_three.remaining.level == pytest.approx(1 - 0.05 / 3 - 0.05)
    assert of_three.remaining.low < -0.02 <= one.remaining.low


def test_a_recipe_that_is_not_settled_is_no_verdict() -> None:
    """Where documents are missing it says so, as for one training: a seed's "undecided" is no way out."""
    runs = drawn(policy_of(), *answers(160, 160, 160))
    narrow = policy_of(replace(RULE, margin=0.001))
    with pytest.raises(ConfigErrors, match="is not settled by"):
        judged(runs, narrow)


def test_a_round_of_several_models_is_as_many_times_larger() -> None:
    """Each round loads every model, so k of them take k twentieths of what was drawn."""
    info = run_of(leaf_of([1.0] * N, [1.0] * N)).tasks[0]
    key = key_of(info, "a")
    blocks = tuple(Block(info.task, "a", at, (at,)) for at in range(N))
    for seeds in (1, 3):
        policy = policy_of(seeds=seeds)
        schedule, standing = make_schedule(policy, [info], {key: "mean"}, {key: blocks})
        (first,) = schedule.next_round(standing).values()
        assert len(first) == 1
        later = replace(schedule, drawn={key: 1000})
        standing = advance(standing, {key: (np.ones(1), np.ones(1))})
        assert len(later.next_round(standing)[key]) == 1000 * seeds / GROWTH


def test_the_report_shows_how_a_recipe_was_settled() -> None:
    """The mean with its ≈, each seed's number behind it, the path, and that a seed alone is undecided."""
    policy = policy_of()
    runs = drawn(policy, *answers(150, 160, 170))
    verdict, _ = judged(runs, policy)
    mean = mean_measurements(runs, "sft.yaml")
    paths = paths_of(mean, policy, [verdict.findings[0].rule])
    report = render(verdict, mean.flips, mean.tasks, paths=paths)
    assert paths[0].settled
    assert paths[0].looks[-1].documents == verdict.findings[0].documents_scored
    for text in (report.html, report.comment):
        assert "settled after" in text
        assert "undecided" in text
        assert "ftgate audit" in text
        assert "compared on the documents that settled their mean" in text


# ── Slices ───────────────────────────────────────────────────────────────────────────────────────

PARTS = {"law": 100, "art": 100, "sport": 200}
SLICED = Rule("general", "a", "max_drop", 0.1, slices=Slices("subject"))


def sliced(*law: int, art: tuple[int, ...] = (), **changes: Any) -> list[Measurements]:
    """Trainings that lost so many of the hundred documents about law, and of those about art."""
    runs = []
    for at, lost in enumerate(law):
        others = art[at] if art else 0
        tuned = [0.0] * lost + [1.0] * (100 - lost) + [0.0] * others + [1.0] * (100 - others) + [1.0] * 200
        parts = tuple(name for name, count in PARTS.items() for _ in range(count))
        one = leaf_of([1.0] * 400, tuned, parts=parts, **changes)
        model = ModelRef(f"seed {42 + at}", "", f"sha256:{42 + at}")
        runs.append(run_of(one, tuned=model, slice_by="subject"))
    return runs


def test_a_slice_fails_where_the_trainings_agree_on_it() -> None:
    """The same mean loss of 30 of 100: blocked after trainings that agree, noise after ones that differ."""
    policy = policy_of(SLICED, decide="full")
    agree, own = judged(sliced(29, 30, 31), policy)
    differ, _ = judged(sliced(0, 30, 60), policy)
    assert (agree.outcome, differ.outcome) == ("fail", "pass")
    assert [each.outcome for each in own] == ["fail"] * 3
    for verdict in (agree, differ):
        (finding,) = verdict.findings
        worst = finding.slices[0]
        assert worst.name == "law"
        assert worst.difference == pytest.approx(-0.3)
        assert worst.seeds is not None
        assert finding.seeds == worst.seeds
        assert (
            worst.interval.low < worst.seeds.measuring.low < worst.seeds.measuring.high < worst.interval.high
        )
        assert all(each.seeds is not None and len(each.seeds.values) == 3 for each in finding.slices)


def test_a_recipe_of_which_nothing_can_ship_says_so() -> None:
    """Each training's slice collapsed beyond the documents' noise; for their mean they differ too much."""
    policy = policy_of(SLICED, decide="full")
    verdict, own = judged(sliced(20, 30, 40), policy)
    assert [verdict.outcome, *(each.outcome for each in own)] == ["pass", "fail", "fail", "fail"]
    assert "no model of this recipe can ship" in verdict.provenance.warnings[0]
    one_ships, _ = judged(sliced(5, 30, 40), policy)
    assert one_ships.provenance.warnings == ()


def test_a_slices_interval_is_simultaneous_over_both_noises() -> None:
    """t with k - 1 degrees at the level corrected for three slices, joined to the documents' bounds."""
    (finding,) = judged(sliced(20, 30, 40), policy_of(SLICED, decide="full"))[0].findings
    worst = finding.slices[0]
    assert worst.seeds is not None
    assert worst.interval.level == pytest.approx(1 - 2 * 0.05 / 3)
    assert worst.seeds.values == pytest.approx((-0.2, -0.3, -0.4))
    measuring = worst.seeds.measuring
    wider = over_trainings(
        Bounds(-0.3, measuring.low, measuring.high), worst.seeds.values, worst.interval.level
    )
    assert (worst.interval.low, worst.interval.high) == pytest.approx((max(-1, wider.low), wider.high))


def test_the_worst_slice_is_the_recipes_and_not_the_documents() -> None:
    """Two slices lost beyond the limit: the one on which the trainings agree fails and comes first, though
    the other lost more."""
    (finding,) = judged(sliced(10, 50, 90, art=(29, 30, 31)), policy_of(SLICED, decide="full"))[0].findings
    assert [(each.name, each.outcome) for each in finding.slices[:2]] == [("art", "fail"), ("law", "pass")]
    assert finding.difference == pytest.approx(-0.3)


def test_slices_are_proven_over_documents_and_trainings() -> None:
    """All slices below the limit, the trainings alike: proven, also the one where nothing changed; the
    trainings apart: undecided, though one of them alone would be proven."""
    policy = policy_of(replace(SLICED, margin=0.3), decide="proven")
    art = (11, 12, 13)
    alike, _ = judged(sliced(11, 12, 13, art=art), policy)
    apart, own = judged(sliced(0, 12, 24, art=art), policy)
    assert [each.proven for each in alike.findings[0].slices] == [True] * 3
    assert {each.name: each.proven for each in apart.findings[0].slices}["law"] is False
    assert [alike.outcome, apart.outcome, own[1].outcome] == ["pass", "undecided", "pass"]


def test_a_proof_counts_the_spread() -> None:
    """`part_proven` alone: the same documents, trainings that agree and that do not."""
    losses = np.repeat([1 / 3, 0.0], [60, 140])
    assert part_proven(losses, None, 0.2, 0.05, (-1, 1), (0.1, 0.1, 0.1))
    assert not part_proven(losses, None, 0.2, 0.05, (-1, 1), (0.0, 0.1, 0.2))


def test_the_report_shows_the_worst_slice_and_its_spread() -> None:
    """Each seed's number of the slice that is worst, and the deviation of every slice."""
    report = render(judged(sliced(20, 30, 40), policy_of(SLICED, decide="full"))[0], (), ())
    assert "general/a/slices:subject/max_drop: law" in report.comment
    assert "between seeds |" in report.comment
    for text in (report.html, report.comment):
        assert "−40.0" in text
        assert "10.0" in text


def test_every_form_of_a_recipe_is_read_back(tmp_path: Path) -> None:
    """Settled early, or over slices: verdict.json fits its schema, and publishing reads the same verdict."""
    sliced_one, _ = judged(sliced(20, 30, 40), policy_of(SLICED, decide="full"))
    early, own = judged(drawn(policy_of(), *answers(150, 160, 170)), policy_of())
    schema = json.loads(SCHEMA_FILE.read_text())
    for verdict in (sliced_one, early, *own):
        document = render(verdict, (), ()).document
        jsonschema.validate(json.loads(document), schema)
        (tmp_path / "verdict.json").write_bytes(document)
        assert read_result(tmp_path / "verdict.json") == verdict
