"""`seeds: 2` from outside: two real trainings, one recipe, and what of it may ship."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gate

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DEMO = Path(gate.__file__).parent / "demo/data/blimp"
DRAWN, SLICED = "adjunct_island", "determiner_noun_agreement_irregular_2"


@pytest.fixture(scope="module")
def recipe(make_repository: Callable[[], Any], settings: dict[str, Any], policy: dict[str, Any]) -> Any:
    """A repository in which a recipe of two seeds was checked in full; its folder is `run`."""
    repository = make_repository()
    data = repository.path / f"data/blimp/{SLICED}.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    kinds = ["plain"] * 30 + ["odd"] * 30
    shutil.copy(DEMO / f"{DRAWN}.jsonl", repository.path / f"data/blimp/{DRAWN}.jsonl")  # all of it
    data.write_text("".join(json.dumps({**row, "kind": kinds[k]}) + "\n" for k, row in enumerate(rows)))
    repository.write("sft.yaml", {**settings, "max_steps": 2})
    repository.write("thresholds.yaml", {**policy, "seeds": 2})
    checked = repository.ftgate("check", "sft.yaml", "--run-dir", "run")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return repository


def test_a_recipe_of_two_seeds(recipe: Any) -> None:
    """Each seed is trained and judged; the mean decides; the base is measured once; a seed's model ships only
    through the recipe's verdict; the stored run is judged again; a second check computes nothing."""
    verdict = recipe.verdict()
    seeds = verdict["seeds"]
    assert [(one["seed"], one["outcome"], one["folder"]) for one in seeds] == [
        (42, "pass", "seeds/42"),
        (43, "pass", "seeds/43"),
    ]
    alone = [recipe.verdict(f"run/{one['folder']}") for one in seeds]
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

    assert recipe.ftgate("promote", "run", "shipped", "--seed", "43").returncode == 0
    assert recipe.ftgate("verify", "run", "shipped", "--unsigned").returncode == 0
    assert recipe.ftgate("verify", "run/seeds/43", "shipped", "--unsigned").returncode == 1
    assert recipe.ftgate("judge", "run/seeds/43").returncode == 0
    assert recipe.verdict("run/seeds/43")["seed"] == 43
    assert recipe.ftgate("verify", "run/seeds/43", "shipped", "--unsigned").returncode == 1
    again = recipe.ftgate("judge", "run")
    assert again.returncode == 0
    assert recipe.verdict()["findings"] == verdict["findings"]

    repeated = recipe.ftgate("check", "sft.yaml", "--run-dir", "run")
    assert repeated.returncode == 0
    cost = recipe.verdict()["cost"]
    assert (cost["training_from_store"], cost["blocks_scored"]) == (True, 0)

    given = recipe.ftgate("check", "sft.yaml", "--tuned", "shipped", "--run-dir", "given")
    assert given.returncode == 2
    assert "one model was given" in given.stderr


def test_a_recipe_fails_as_a_whole(recipe: Any, policy: dict[str, Any]) -> None:
    """`--seeds 2` where the mean breaks a rule: exit 1, and nothing of it ships, whatever one seed did."""
    strict = {**policy, "target": [{"task": "banking12", "min_score": 0.999}]}
    recipe.write("strict.yaml", strict)
    asked = ("check", "sft.yaml", "--thresholds", "strict.yaml", "--run-dir", "strict", "--seeds", "2")
    checked = recipe.ftgate(*asked)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert recipe.verdict("strict")["outcome"] == "fail"
    refused = recipe.ftgate("promote", "strict", "nowhere")
    assert refused.returncode == 2
    assert "the verdict is fail" in refused.stderr


def test_a_recipe_is_settled_early_and_audited(recipe: Any, policy: dict[str, Any]) -> None:
    """Under `score` all trainings answer the same documents in one order, which a second check repeats; the
    config's own goes on until it may ship; a sliced task is scored whole; the audit scores the rest of every
    training, and what passed there ships."""
    general = [
        {"task": DRAWN, "max_drop": 0.05},
        {"task": SLICED, "slices": {"by": "kind", "max_drop": 0.9, "min_documents": 25}},
    ]
    early = {key: value for key, value in policy.items() if key not in ("decide", "target")}
    recipe.write("early.yaml", {**early, "seeds": 2, "general": {"tasks": general}})
    asked = ("check", "sft.yaml", "--thresholds", "early.yaml", "--run-dir", "early")
    checked = recipe.ftgate(*asked)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    verdict = recipe.verdict("early")
    drawn, sliced = verdict["findings"]
    assert drawn["documents_scored"] < drawn["documents_planned"] == 300
    assert drawn["difference"] == pytest.approx(sum(drawn["seeds"]["values"]) / 2)
    assert {each["name"] for each in sliced["slices"]} == {"plain", "odd"}
    assert sliced["seeds"] == sliced["slices"][0]["seeds"]
    alone = [recipe.verdict(f"early/seeds/{seed}") for seed in (42, 43)]
    own = alone[0]["findings"][0]  # of the config's own seed, which goes on until it is settled
    assert own["outcome"] == "pass"
    assert verdict["provenance"]["order_digest"] == alone[1]["provenance"]["order_digest"]
    page, comment = ((recipe.path / "early" / name).read_text() for name in ("report.html", "comment.md"))
    for text in (page, comment):
        assert "settled after" in text
        worst = f"slices:kind/max_drop: {sliced['slices'][0]['name']}"
        assert worst in text.replace("<wbr>", "").replace("\\", "")

    assert recipe.ftgate(*asked).returncode == 0
    repeated = recipe.verdict("early")
    assert repeated["cost"]["blocks_scored"] == 0
    assert repeated["provenance"]["order_digest"] == verdict["provenance"]["order_digest"]
    assert recipe.ftgate("promote", "early", "promoted").returncode == 0
    assert recipe.ftgate("judge", "early").returncode == 0
    assert recipe.verdict("early")["findings"] == verdict["findings"]

    audited = recipe.ftgate("audit", "early")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert "the same (pass)" in audited.stdout
    full = recipe.verdict("early/audit")
    assert [each["documents_scored"] for each in full["findings"]] == [300, 30]
    assert [one["outcome"] for one in full["seeds"]] == ["pass", "pass"]
    assert recipe.ftgate("promote", "early/audit", "audited").returncode == 0
    seed = recipe.ftgate("audit", "early/seeds/42")
    assert seed.returncode == 2
    assert "seed 42 alone" in seed.stderr
