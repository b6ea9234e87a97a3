"""Several trainings of one config: the recipe's numbers and noise, what may ship, what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as oracle
from small_runs import BASE, WHERE, leaf_of, run_of

from gate.ci.record import read_result
from gate.ci.train import train_config
from gate.configs.seeds import seed_of, with_seed
from gate.errors import ConfigErrors, MeasurementError, UsageError
from gate.history import past_of
from gate.keys import training_key
from gate.policy import load_policy
from gate.progress import SilentProgress
from gate.recipe import policy_with_seeds
from gate.records import (
    Cost,
    Measurements,
    ModelRef,
    Policy,
    Rule,
    SeedRun,
    TaskSpec,
    TrainingConfig,
)
from gate.records.history import PastTask
from gate.report import StoredVerdict, parse_document, render
from gate.seeds import sum_costs, to_promote, why_not_shipped
from gate.shell import Shell
from gate.stages import CheckOptions
from gate.stats import Bounds, DegenerateData
from gate.stats.trainings import deviation, over_trainings
from gate.verdict import Training, Verdict, judge, judge_recipe, mean_measurements, order_digest

N = 200


def silent(_: str) -> None:
    """Say nothing."""


SHELL = Shell({}, say=silent, warn=silent, progress=SilentProgress(), clock=lambda: 9.0)


def rule(margin: float = 0.1, bound: str = "max_drop") -> Rule:
    return Rule("general", "a", bound, margin)  # type: ignore[arg-type]


def policy_of(*rules: Rule, **changes: Any) -> Policy:
    asked = {"decide": "full", **changes}
    return Policy(rules or (rule(),), (TaskSpec("general", "a"),), path="thresholds.yaml", **asked)


def measured(lost: int, won: int = 10, seed: int = 42, **changes: Any) -> Measurements:
    """One training on 200 documents of which the base has 120 right: `lost` go wrong, `won` come right."""
    base, tuned = np.zeros(N), np.zeros(N)
    base[:120] = tuned[:120] = 1
    tuned[:lost], tuned[120 : 120 + won] = 0, 1
    one = leaf_of(base.tolist(), tuned.tolist(), **changes)
    return run_of(one, tuned=ModelRef(f"seed {seed}", "", f"sha256:{seed}"))


def recipe_of(*lost: int, policy: Policy | None = None) -> tuple[Verdict, list[Verdict]]:
    """The recipe of trainings that lost so many documents, and each one's own verdict."""
    asked = policy or policy_of()
    runs = [measured(count, seed=42 + at) for at, count in enumerate(lost)]
    return judged(runs, asked)


def judged(runs: list[Measurements], asked: Policy) -> tuple[Verdict, list[Verdict]]:
    """The verdict of a recipe of these trainings, and each one's own, as `gate.seeds` judges them."""
    where, count = replace(WHERE, order_digest=order_digest(runs[0])), len(runs)
    own = [
        replace(judge(run, asked, None, Cost(), where, trainings=count), seed=42 + at)
        for at, run in enumerate(runs)
    ]
    trained = [
        Training(SeedRun(42 + at, run.tuned.digest, verdict.outcome, f"seeds/{42 + at}"), run)
        for at, (run, verdict) in enumerate(zip(runs, own, strict=True))
    ]
    mean = mean_measurements(runs, "sft.yaml")
    return judge_recipe(trained, mean, asked, None, Cost(), where), own


@pytest.mark.parametrize("lost", [(10, 10, 10), (0, 20, 40)])
def test_a_recipe_leaves_no_flip_rate(lost: tuple[int, ...]) -> None:
    """Its mean changes on every document that some training changed: three of 10 % each are no 30 %."""
    recipe, own = recipe_of(*lost)
    assert past_of(recipe).flips == ()
    assert past_of(recipe).rules
    assert [past_of(each).flips for each in own] == [(PastTask("general/a", n + 10, N),) for n in lost]


# ── Numbers ──────────────────────────────────────────────────────────────────────────────────────


def test_two_noises_are_joined() -> None:
    """The half-width is the root of measuring noise and of t times the trainings' own error, squared."""
    values = [-0.01, -0.03, -0.05, -0.02]
    found = over_trainings(Bounds(-0.0275, -0.05, 0.0), values, 0.95)
    reach = oracle.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert found.low == pytest.approx(-0.0275 - math.hypot(0.0225, reach))
    assert found.high == pytest.approx(-0.0275 + math.hypot(0.0275, reach))


def test_equal_trainings_add_no_noise_and_one_has_none_to_tell() -> None:
    """Without spread the interval is the documents' own; one training raises and never answers zero."""
    documents = Bounds(0.1, 0.05, 0.2)
    assert over_trainings(documents, [0.1, 0.1, 0.1], 0.95) == documents
    with pytest.raises(DegenerateData):
        deviation([0.1])


def test_a_recipe_is_judged_by_its_mean() -> None:
    """The number is the mean over seeds, whatever one of them did; the spread and each value are kept."""
    verdict, own = recipe_of(20, 30, 40)
    (finding,) = verdict.findings
    assert finding.difference == pytest.approx(-20 / N)
    assert [each.findings[0].difference for each in own] == pytest.approx([-10 / N, -20 / N, -30 / N])
    assert finding.seeds is not None
    assert finding.seeds.values == pytest.approx((-0.05, -0.1, -0.15))
    assert finding.seeds.deviation == pytest.approx(0.05)
    assert (verdict.outcome, [each.outcome for each in own]) == ("pass", ["pass", "pass", "fail"])
    worse, _ = recipe_of(20, 30, 41)
    assert worse.outcome == "fail"


def test_the_interval_holds_both_noises() -> None:
    """It is wider than benchmark noise alone, and the report's ± is this one."""
    verdict, _ = recipe_of(20, 30, 40)
    (finding,) = verdict.findings
    assert finding.seeds is not None
    alone = finding.seeds.measuring
    assert finding.interval.low < alone.low < finding.difference < alone.high < finding.interval.high
    same, _ = recipe_of(30, 30, 30)
    assert same.findings[0].interval.high == pytest.approx(same.findings[0].seeds.measuring.high)  # type: ignore[union-attr]


def test_what_is_within_noise_follows_from_both() -> None:
    """A drop that the documents alone tell from 0, and the trainings do not."""
    verdict, own = recipe_of(20, 60, policy=policy_of(rule(0.5)))
    assert "within noise" in verdict.findings[0].note
    assert "within noise" not in own[1].findings[0].note


def test_proven_counts_the_trainings_noise() -> None:
    """The same mean drop is proven over trainings that agree, and not over trainings that differ."""
    asked = policy_of(rule(0.2), decide="proven")
    agreed, _ = recipe_of(29, 30, 31, policy=asked)
    differ, _ = recipe_of(12, 30, 48, policy=asked)
    assert agreed.findings[0].proven is True
    assert (differ.findings[0].proven, differ.outcome) == (False, "undecided")
    assert "3 trainings" in agreed.findings[0].note


def test_trainings_must_be_of_the_same_documents() -> None:
    """Another document, another base, or documents that were drawn in other rounds: no mean of nothing."""
    ours = measured(20)
    other = measured(20, hashes=tuple(f"x{k}" for k in range(N)))
    for theirs in (other, replace(ours, base=replace(BASE, digest="sha256:z"))):
        with pytest.raises(MeasurementError):
            mean_measurements([ours, theirs], "sft.yaml")
    in_rounds = [measured(20, rounds=(0,) * 100 + (last,) * 100) for last in (1, 2)]
    with pytest.raises(MeasurementError, match="documents alike"):
        mean_measurements(in_rounds, "sft.yaml")


def test_seeds_that_make_one_model_are_pointed_out() -> None:
    """A training that does not depend on its seed has no spread to show, and the report says why."""
    asked, run = policy_of(), measured(20)
    verdict, _ = judged([run, run], asked)
    assert "same model" in verdict.provenance.warnings[0]


# ── Seeds and costs ──────────────────────────────────────────────────────────────────────────────


def config(**settings: Any) -> TrainingConfig:
    return TrainingConfig("trl", "full", "base", None, (), settings, {}, "sft.yaml", "sha256:c")


def test_the_first_training_is_the_config_itself() -> None:
    """So its training is found again where it was trained without seeds; each other one has its own key."""
    plain = config(seed=7)
    keys = [training_key(with_seed(plain, n, 3), BASE, {}, {}, "cpu") for n in range(3)]
    assert keys[0] == training_key(plain, BASE, {}, {}, "cpu")
    assert len(set(keys)) == 3


def test_seeds_count_from_the_configs_own() -> None:
    """transformers' default is 42; an order of data with a seed of its own moves along."""
    assert (seed_of(config()), seed_of(config(seed=7))) == (42, 7)
    changed = {each.key: each.now for each in with_seed(config(seed=7, data_seed=1), 2, 3).overrides}
    assert changed == {"seed": 9, "data_seed": 3}


def test_costs_are_summed() -> None:
    """Times and blocks add up, memory is the largest, "from the store" only where all were."""
    one = Cost(10.0, 5.0, 15.0, peak_resident_bytes=7, blocks_scored=3, training_from_store=True)
    two = Cost(20.0, 6.0, 26.0, peak_resident_bytes=9, blocks_from_store=2, training_steps=4)
    cost = sum_costs([one, two], 50.0)
    assert (cost.training_seconds, cost.measuring_seconds, cost.total_seconds) == (30.0, 11.0, 50.0)
    assert (cost.blocks_scored, cost.blocks_from_store, cost.peak_resident_bytes) == (3, 2, 9)
    assert (cost.training_steps, cost.training_from_store) == (4, False)


# ── What may ship ────────────────────────────────────────────────────────────────────────────────

SEEDS = (
    SeedRun(42, "sha256:42", "fail", "seeds/42"),
    SeedRun(43, "sha256:43", "pass", "seeds/43"),
)


def stored(outcome: str = "pass", **changes: Any) -> StoredVerdict:
    return replace(StoredVerdict(outcome, "sha256:recipe", "sha256:b", {}, SEEDS), **changes)


@pytest.mark.parametrize(
    ("verdict", "digest", "said"),
    [
        (stored(), "sha256:43", ""),
        (stored(), "sha256:42", "its seed 42 alone did not: fail"),
        (stored(), "sha256:recipe", "it judged sha256:42, sha256:43"),
        (stored("fail"), "sha256:43", "the verdict is fail"),
        (stored(seeds=(), seed=43, tuned_digest="sha256:43"), "sha256:43", "seed 43 alone"),
        (stored(seeds=(), tuned_digest="sha256:t"), "sha256:t", ""),
        (stored(seeds=(), tuned_digest="sha256:t"), "sha256:43", "it judged sha256:t"),
    ],
)
def test_a_model_ships_only_if_it_and_its_recipe_passed(
    verdict: StoredVerdict, digest: str, said: str
) -> None:
    """Neither the recipe's pass alone, nor the seed's, nor the recipe's own digest, which is no model's."""
    reason = why_not_shipped(verdict, digest)
    assert said in reason
    assert bool(reason) == bool(said)


def test_promotion_takes_the_configs_own_seed_or_the_one_that_is_named() -> None:
    """Never the luckiest: where the config's own did not pass, the choice is the user's."""
    run = Path("run")
    assert to_promote(stored(), run, 43) == ("sha256:43", run / "seeds/43")
    with pytest.raises(UsageError, match="seed 42 is fail by itself") as raised:
        to_promote(stored(), run, None)
    assert "43" in raised.value.hint
    with pytest.raises(UsageError, match="was not trained"):
        to_promote(stored(), run, 9)
    with pytest.raises(UsageError, match="not a pass"):
        to_promote(stored("undecided"), run, 43)
    assert to_promote(stored(seeds=()), run, None) == ("sha256:recipe", run)


# ── What is asked ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: 0", "between 1 and 16"),
        ("seeds: 17", "between 1 and 16"),
        ("seeds: two", "a whole number"),
    ],
)
def test_what_the_policy_may_ask(tmp_path: Path, text: str, said: str) -> None:
    """1 to 16."""
    path = tmp_path / "thresholds.yaml"
    path.write_text(f"version: 1\n{text}\ngeneral: {{tasks: [{{task: a, max_drop: 0.1}}]}}\n")
    with pytest.raises(ConfigErrors) as raised:
        load_policy(path)
    assert any(said in str(problem) for problem in raised.value.problems)


def test_the_command_line_asks_too() -> None:
    """`--seeds` takes the policy's place, whatever decides; of one given model several are refused."""
    assert policy_with_seeds(policy_of(), 3, given=False).seeds == 3
    assert policy_with_seeds(policy_of(seeds=3), 1, given=True).seeds == 1
    assert policy_with_seeds(policy_of(decide="score"), 2, given=False).decide == "score"
    with pytest.raises(UsageError, match="one model was given"):
        policy_with_seeds(policy_of(seeds=3), None, given=True)


def test_a_training_job_hands_over_one_model_and_refuses_a_recipe(tmp_path: Path) -> None:
    """Under a policy of several seeds it says so before anything is trained, and leaves an error."""
    (tmp_path / "sft.yaml").write_text("model_name_or_path: org/base\ndataset_name: org/data\n")
    rules = "general: {tasks: [{task: a, max_drop: 0.1}]}"
    (tmp_path / "thresholds.yaml").write_text(f"version: 1\nseeds: 2\n{rules}\n")
    asked = CheckOptions(tmp_path / "sft.yaml", tmp_path / "thresholds.yaml", run_dir=tmp_path / "run")
    with pytest.raises(UsageError, match="hands over one model"):
        train_config(asked, SHELL)
    assert json.loads((tmp_path / "run/verdict.json").read_text())["outcome"] == "error"


# ── The report ───────────────────────────────────────────────────────────────────────────────────


def test_the_report_shows_the_spread() -> None:
    """Each seed, its outcome and its numbers; the document holds them and is read back."""
    verdict, own = recipe_of(20, 30, 41)
    report = render(verdict, (), ())
    for text in (report.html, report.comment):
        assert "seeds 42, 43, 44" in text
        assert "−15.5" in text
    assert "their mean was judged" in report.terminal
    document = json.loads(report.document)
    assert [one["outcome"] for one in document["seeds"]] == ["pass", "pass", "fail"]
    assert parse_document(report.document).seeds == verdict.seeds
    assert "seed 42 alone" in render(own[0], (), ()).html


def test_a_recipes_verdict_is_read_back_for_publishing(tmp_path: Path) -> None:
    """From verdict.json alone, with its seeds, and a seed's own likewise: publishing needs nothing else."""
    verdict, own = recipe_of(20, 30)
    for result in (verdict, own[1]):
        (tmp_path / "verdict.json").write_bytes(render(result, (), ()).document)
        assert read_result(tmp_path / "verdict.json") == result


def test_one_training_says_that_its_variance_was_not_measured() -> None:
    """In one line of page and comment."""
    report = render(judge(measured(20), policy_of(), None, Cost(), WHERE), (), ())
    for text in (report.html, report.comment):
        assert "training variance was not" in text
