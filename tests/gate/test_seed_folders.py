"""A recipe's trainings judged again in their own folders: none ships alone, none keeps another policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from gate.ci.finished import Target, publish_run
from gate.ci.record import read_result
from gate.ci.run import Effects
from gate.errors import GateError, UsageError
from gate.github.token import Token
from gate.judging import conclude_recipe, judge_run, promote_run, render_run, verify_model
from gate.progress import SilentProgress
from gate.recording import record_verdict
from gate.records import (
    Cost,
    Leaf,
    Measurement,
    Measurements,
    ModelRef,
    Policy,
    Provenance,
    Rule,
    RunFacts,
    TaskInfo,
    TaskSpec,
)
from gate.report import read_document
from gate.runfolder import RESOLVED_POLICY, RUN, SEEDS, RunFolder
from gate.seeds import Recipe, Trained
from gate.shell import Shell

BASE = ModelRef("base", "/models/base", "sha256:b")
WHERE = Provenance("0.1.0", "2026-11-24T00:00:00Z", "", "", "cpu", "float32", "hf", "none", 16, "", {})
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
    info = TaskInfo("general/a", "benchmarks", "acc", "none", "accuracy", True, (Leaf("a", N, N),))
    tuned = (0.0,) * lost + (1.0,) * (N - lost)
    hashes = tuple(f"h{number}" for number in range(N))
    one = Measurement(
        "general/a", "a", "benchmarks", "acc", "none", "accuracy", True, "mean", tuple(range(N)),
        hashes, (1.0,) * N, tuned, N,
    )  # fmt: skip
    return Measurements(BASE, ModelRef(f"seed {seed}", "", f"sha256:{seed}"), (info,), (one,))


def recipe(place: Path) -> RunFolder:
    """A recipe's folder as a check leaves it: seeds that lost 5 and 30 points, judged at 0.2."""
    folder, policy = RunFolder.begin(place), policy_of(0.2)
    folder.write_policy(policy)
    folder.write_record(RUN, FACTS)
    folder.write_record(SEEDS, Recipe((Trained(42, "seeds/42"), Trained(43, "seeds/43"))))
    for seed, run in ((42, measured(42, 10)), (43, measured(43, 60))):
        own = RunFolder.begin(place / f"seeds/{seed}")
        own.write_policy(policy)
        own.write_record(RUN, replace(FACTS, seed=seed))
        own.write_measurements(run)
    conclude_recipe(folder, policy, FACTS, SHELL)
    return folder


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
