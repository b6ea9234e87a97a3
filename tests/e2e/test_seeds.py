"""`seeds: 2` from outside: two real trainings, one recipe, and what of it may ship."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_recipe_of_two_seeds(repository: Any, settings: dict[str, Any], policy: dict[str, Any]) -> None:
    """Each seed is trained and judged; the mean decides; the base is measured once; a seed's model ships only
    through the recipe's verdict; the stored run is judged again; a second check computes nothing."""
    repository.write("sft.yaml", {**settings, "max_steps": 2})
    repository.write("thresholds.yaml", {**policy, "seeds": 2})
    checked = repository.ftgate("check", "sft.yaml", "--run-dir", "run")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    verdict = repository.verdict()
    seeds = verdict["seeds"]
    assert [(one["seed"], one["outcome"], one["folder"]) for one in seeds] == [
        (42, "pass", "seeds/42"),
        (43, "pass", "seeds/43"),
    ]
    alone = [repository.verdict(f"run/{one['folder']}") for one in seeds]
    assert [each["tuned"]["digest"] for each in alone] == [one["digest"] for one in seeds]
    assert len({verdict["tuned"]["digest"], *(one["digest"] for one in seeds)}) == 3
    for number, finding in enumerate(verdict["findings"]):
        each = [one["findings"][number] for one in alone]
        wanted = [one["tuned" if finding["bound"] == "min_score" else "difference"] for one in each]
        assert finding["seeds"]["values"] == pytest.approx(wanted)
        assert finding["difference"] == pytest.approx(sum(one["difference"] for one in each) / 2)
    blocks = [each["cost"]["blocks_scored"] for each in alone]
    assert blocks[0] == 2 * blocks[1]  # the second finds the base's answers in the store
    trained = [each["cost"]["training_seconds"] for each in alone]
    assert verdict["cost"]["training_seconds"] == pytest.approx(sum(trained))

    assert repository.ftgate("promote", "run", "shipped", "--seed", "43").returncode == 0
    assert repository.ftgate("verify", "run", "shipped", "--unsigned").returncode == 0
    assert repository.ftgate("verify", "run/seeds/43", "shipped", "--unsigned").returncode == 1
    assert repository.ftgate("judge", "run/seeds/43").returncode == 0
    assert repository.verdict("run/seeds/43")["seed"] == 43
    assert repository.ftgate("verify", "run/seeds/43", "shipped", "--unsigned").returncode == 1
    again = repository.ftgate("judge", "run")
    assert again.returncode == 0
    assert repository.verdict()["findings"] == verdict["findings"]

    repeated = repository.ftgate("check", "sft.yaml", "--run-dir", "run")
    assert repeated.returncode == 0
    cost = repository.verdict()["cost"]
    assert (cost["training_from_store"], cost["blocks_scored"]) == (True, 0)

    given = repository.ftgate("check", "sft.yaml", "--tuned", "shipped", "--run-dir", "given")
    assert given.returncode == 2
    assert "one model was given" in given.stderr


def test_a_recipe_fails_as_a_whole(repository: Any, settings: dict[str, Any], policy: dict[str, Any]) -> None:
    """`--seeds 2` where the mean breaks a rule: exit 1, and nothing of it ships, whatever one seed did."""
    repository.write("sft.yaml", {**settings, "max_steps": 1})
    repository.write("thresholds.yaml", {**policy, "target": [{"task": "banking12", "min_score": 0.999}]})
    checked = repository.ftgate("check", "sft.yaml", "--run-dir", "run", "--seeds", "2")
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert json.loads((repository.path / "run/verdict.json").read_text())["outcome"] == "fail"
    refused = repository.ftgate("promote", "run", "shipped")
    assert refused.returncode == 2
    assert "the verdict is fail" in refused.stderr
