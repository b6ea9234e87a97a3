"""A recipe's trainings judged again in their own folders: none ships alone, none keeps another policy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from small_runs import WHERE, drawn, leaf_of, run_of

from gate.ci.finished import Target, publish_run
from gate.ci.record import read_result
from gate.ci.run import Effects
from gate.errors import GateError, UsageError
from gate.github.token import Token
from gate.judging import conclude_recipe, judge_run, promote_run, render_run, verify_model
from gate.progress import SilentProgress
from gate.recording import record_verdict
from gate.records import Cost, Measurements, ModelRef, Policy, Rule, RunFacts, TaskSpec
from gate.report import read_document
from gate.runfolder import RESOLVED_POLICY, RUN, SEEDS, RunFolder
from gate.seeds import Listed, Recipe
from gate.shell import Shell
from gate.verdict import order_digest

FACTS = RunFacts(None, Cost(), WHERE, "", "sha256:b")
N = 200


def silent(_: str) -> None:
    """Say nothing."""


def unreachable(*_: object) -> NoReturn:
    """Stands in for GitHub, which nothing here may ask."""
    raise AssertionError("GitHub was asked")


SHELL = Shell({}, say=silent, warn=silent, progress=SilentProgress(), clock=lambda: 9.0)


def policy_of(margin: float) -> Policy:
    rules = (Rule("general", "a", "max_drop", margin),)
    return Policy(rules, (TaskSpec("general", "a"),), path="thresholds.yaml", seeds=2)


def measured(seed: int, lost: int) -> Measurements:
    """One training on documents that the base has all right, and that lost so many of them."""
    tuned = [0.0] * lost + [1.0] * (N - lost)
    return run_of(leaf_of([1.0] * N, tuned), tuned=ModelRef(f"seed {seed}", "", f"sha256:{seed}"))


def recipe(place: Path) -> RunFolder:
    """A recipe's folder as a check leaves it: seeds that lost 5 and 30 points, judged at 0.2."""
    return judged(place, policy_of(0.2), [measured(42, 10), measured(43, 60)])


def judged(place: Path, policy: Policy, runs: list[Measurements]) -> RunFolder:
    """The same of any trainings."""
    folder, facts = RunFolder.begin(place), facts_of(runs[-1])
    folder.write_policy(policy)
    folder.write_record(RUN, facts)
    listed = tuple(Listed(42 + at, f"seeds/{42 + at}") for at in range(len(runs)))
    folder.write_record(SEEDS, Recipe(listed))
    for one, run in zip(listed, runs, strict=True):
        own = RunFolder.begin(place / one.folder)
        own.write_policy(policy)
        own.write_record(RUN, replace(facts_of(run), seed=one.seed, trainings=len(runs)))
        own.write_measurements(run)
    conclude_recipe(folder, policy, facts, SHELL)
    return folder


def facts_of(run: Measurements) -> RunFacts:
    return replace(FACTS, provenance=replace(WHERE, order_digest=order_digest(run)))


def outcomes(place: Path) -> list[str]:
    return [read_document(place / name / "verdict.json").outcome for name in ("seeds/42", "seeds/43", ".")]


def test_a_training_that_is_judged_again_is_still_one_of_a_recipe(tmp_path: Path) -> None:
    """Its verdict names the seed, and its pass ships nothing."""
    recipe(tmp_path / "run")
    own, model = tmp_path / "run/seeds/42", tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    assert render_run(own, SHELL).outcome == "pass"
    assert read_document(own / "verdict.json").seed == 42
    with pytest.raises(UsageError, match="seed 42 alone"):
        promote_run(own, tmp_path / "shipped", SHELL)
    said: list[str] = []
    assert verify_model(own, model, replace(SHELL, say=said.append), signer=None) == 1
    assert "seed 42 alone" in said[0]


def test_a_training_alone_is_neither_published_nor_remembered(tmp_path: Path) -> None:
    """Both are told to name the recipe's folder; the history stays as it was."""
    recipe(tmp_path / "run")
    own, history = tmp_path / "run/seeds/42", tmp_path / "history"
    with pytest.raises(UsageError, match="seed 42 alone") as raised:
        publish_run(own, Target("team/models", 7, "a" * 40), Token("t"), SHELL, Effects(connect=unreachable))
    assert "the recipe's run folder" in raised.value.hint
    with pytest.raises(UsageError, match="seed 42 alone"):
        record_verdict(read_result(own / "verdict.json"), own, history, "a" * 40)
    assert not history.exists()
    recipe_result = read_result(tmp_path / "run/verdict.json")
    assert record_verdict(recipe_result, tmp_path / "run", history, "a" * 40).is_file()


def test_another_policy_is_that_of_every_training(tmp_path: Path) -> None:
    """After judging the recipe by a wider one, a training rendered again has the same outcome."""
    folder = recipe(tmp_path)
    assert outcomes(tmp_path) == ["pass", "fail", "pass"]
    wide = policy_of(0.4)
    conclude_recipe(folder, wide, FACTS, SHELL, another_policy=True)
    assert outcomes(tmp_path) == ["pass", "pass", "pass"]
    for seed in (42, 43):
        own = RunFolder.open(tmp_path / f"seeds/{seed}")
        assert own.read_record(RESOLVED_POLICY, Policy) == wide
        assert judge_run(own.path, None, SHELL).outcome == "pass"


def test_a_recipe_that_cannot_be_judged_leaves_its_trainings_verdicts(tmp_path: Path) -> None:
    """Its trainings became incomparable: the new policy's verdicts are written for all or for none."""
    folder = recipe(tmp_path)
    other = measured(43, 60)
    (one,) = other.measurements
    moved = replace(one, hashes=tuple(f"x{number}" for number in range(N)))
    RunFolder.open(tmp_path / "seeds/43").write_measurements(replace(other, measurements=(moved,)))
    with pytest.raises(GateError):
        conclude_recipe(folder, policy_of(0.01), FACTS, SHELL, another_policy=True)
    assert outcomes(tmp_path) == ["pass", "fail", "pass"]
    assert folder.read_record(RESOLVED_POLICY, Policy) == policy_of(0.2)


def test_an_early_recipe_and_its_trainings_are_judged_again_alike(tmp_path: Path) -> None:
    """From their own folders too, each as one choice of two: the one that went on until it was settled, and
    the one that its recipe left undecided. The recipe's report has the path that settled it."""
    policy = policy_of(0.02)
    base = np.repeat([1.0, 0.0], 2_000)
    tuned = [base.copy(), base.copy()]
    for at, one in enumerate(tuned):
        one[at * 200 : at * 200 + 200], one[3_000 + at * 200 : 3_200 + at * 200] = 0.0, 1.0
    judged(tmp_path, policy, drawn(policy, base, tuned))
    assert outcomes(tmp_path) == ["pass", "undecided", "pass"]
    assert "How rules were settled early" in (tmp_path / "report.html").read_text()
    for seed in (42, 43):
        place, names = tmp_path / f"seeds/{seed}", ("verdict.json", "report.html")
        before = [(place / name).read_bytes() for name in names]
        render_run(place, SHELL)
        assert [(place / name).read_bytes() for name in names] == before
        (finding,) = json.loads(before[0])["findings"]
        assert finding["remaining"]["level"] == pytest.approx(1 - 0.05 / 2 - 0.05)
    assert judge_run(tmp_path, None, SHELL).outcome == "pass"
