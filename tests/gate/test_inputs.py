"""gate.inputs: what a check needs is found and proven before anything is trained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_hub import COMMIT, serving
from safetensors.torch import load_file, save_file

import gate
from gate.configs import load_config
from gate.errors import ConfigErrors
from gate.inputs import find_base, find_data, order_inputs, order_of
from gate.models import digest_model
from gate.records import Dataset, ModelRef, Override, Plan, Policy, TrainingConfig
from gate.store import Store
from gate.training import planned_overrides

DEMO = Path(gate.__file__).parent / "demo"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The demo's base with one NaN in its last tensor."""
    folder = tmp_path / "broken"
    shutil.copytree(DEMO / "base", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][-1] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_base_with_nan_is_told_at_the_config_line_or_the_option(broken: Path) -> None:
    """Any comparison with it would be meaningless, whatever is trained."""
    config = TrainingConfig(
        "trl", "full", str(broken), None, (), {}, {"model_name_or_path": 3}, path="sft.yaml"
    )
    with pytest.raises(
        ConfigErrors, match=r"sft.yaml:3: model_name_or_path: NaN or infinite weights in model"
    ):
        find_base(None, config, {}, remote_code=False)
    with pytest.raises(ConfigErrors, match=r"--base: NaN or infinite weights in model\.norm\.weight"):
        find_base(str(broken), config, {}, remote_code=False)
    fine = replace(config, base_model=str(DEMO / "base"))
    assert find_base(None, fine, {}, remote_code=False).kind == "full"


MIXTURE = """
model_name_or_path: org/base
datasets:
  - {path: org/one, columns: [text]}
  - {path: LOCAL}
  - {path: org/two, name: french, split: "train[:50%]"}
  - {path: json, data_files: LOCAL/train.jsonl}
  - {path: org/one}
"""
ROWS = b'{"text": "a"}\n'


def test_hub_data_in_a_mixture_is_fetched_and_pinned(tmp_path: Path) -> None:
    """Each hub entry at the commit that was found; local entries as they are; shown as changed."""
    local = tmp_path / "local"
    local.mkdir()
    (local / "train.jsonl").write_bytes(ROWS)
    (tmp_path / "sft.yaml").write_text(MIXTURE.replace("LOCAL", str(local)))
    config = load_config(tmp_path / "sft.yaml")
    repositories = {"datasets/org/one": {"train.jsonl": ROWS}, "datasets/org/two": {"train.jsonl": ROWS * 2}}
    with serving(repositories) as hub:
        found = find_data(config, hub.environ(tmp_path / "home"))
    assert [data.hub for data in found.datasets] == ["org/one", "", "org/two", "", "org/one"]
    assert [data.revision for data in found.datasets] == [COMMIT, None, COMMIT, None, COMMIT]
    assert (found.datasets[2].config, found.datasets[2].split) == ("french", "train[:50%]")
    one, two = Path(found.datasets[0].name), Path(found.datasets[2].name)
    assert (one / "train.jsonl").read_bytes() == ROWS
    assert (two / "train.jsonl").read_bytes() == ROWS * 2
    changed = planned_overrides(found, ModelRef("org/base", "", ""), tmp_path)
    shown = [(each.key, each.was, each.now) for each in changed if "datasets" in each.key]
    assert shown == [
        ("datasets[0].path", "org/one", str(one)),
        ("datasets[2].path", "org/two", str(two)),
        ("datasets[4].path", "org/one", str(one)),
    ]


def test_hub_data_that_is_not_there_is_told_at_the_config(tmp_path: Path) -> None:
    """Every dataset that cannot be had, at the line of the list."""
    (tmp_path / "sft.yaml").write_text(
        "model_name_or_path: a/b\ndatasets: [{path: org/one}, {path: org/two}]\n"
    )
    with serving({}) as hub, pytest.raises(ConfigErrors) as caught:
        find_data(load_config(tmp_path / "sft.yaml"), hub.environ(tmp_path / "home"))
    assert [problem.line for problem in caught.value.problems] == [2, 2]
    assert "there is no dataset org/two" in caught.value.problems[1].message


# ── What fixes the order of documents ────────────────────────────────────────────────────────────

HERE = ModelRef("base", "/here/base", "sha256:b")
MADE = ModelRef("tuned", "/here/tuned", "sha256:t")


def plan_of(config: TrainingConfig | None, base: ModelRef = HERE, policy: Policy | None = None) -> Plan:
    return Plan(policy or Policy((), (), decide="score"), base, (), config)


def test_the_order_belongs_to_what_is_judged(tmp_path: Path) -> None:
    """Base, recipe and data count; the policy, places, names, and the weights of another try do not."""
    data = tmp_path / "train.jsonl"
    data.write_text("{}\n")
    moved = tmp_path / "moved.jsonl"
    moved.write_text("{}\n")
    settings = {"learning_rate": 1e-4, "output_dir": "out", "model_name_or_path": "base"}
    config = TrainingConfig("trl", "lora", "base", None, (Dataset(str(data)),), settings, {}, path="a.yaml")
    own = order_inputs(plan_of(config), MADE)
    other_place = replace(
        config,
        path="b.yaml",
        base_model="/elsewhere/base",
        datasets=(Dataset(str(moved)),),
        settings={**settings, "output_dir": "other", "model_name_or_path": "/elsewhere/base"},
    )
    assert order_inputs(plan_of(other_place), MADE) == own
    assert order_inputs(plan_of(config, replace(HERE, path="/there", name="b")), MADE) == own
    assert order_inputs(plan_of(config, policy=Policy((), (), confidence=0.9, decide="score")), MADE) == own
    assert order_inputs(plan_of(config), replace(MADE, digest="sha256:u")) == own
    assert order_inputs(plan_of(config, policy=Policy((), (), seeds=3)), MADE) == own  # one order for all
    moved.write_text("{}\n{}\n")
    assert order_inputs(plan_of(config, policy=Policy((), (), decide="full")), MADE) == ""  # all are scored
    others = [
        plan_of(other_place),
        plan_of(config, replace(HERE, digest="sha256:c")),
        plan_of(replace(config, settings={**settings, "learning_rate": 2e-4})),
        plan_of(replace(config, overrides=(Override("seed", 1, 2, "asked"),))),
        plan_of(replace(config, datasets=(Dataset("org/data", revision="1" * 40, hub="org/data"),))),
    ]
    digests = {order_inputs(each, MADE) for each in others}
    assert len(digests | {own}) == len(others) + 1


def test_without_a_config_the_order_is_that_of_the_tuned_weights(tmp_path: Path) -> None:
    """Nothing else says which fine-tune it is; what lies beside the weights does not."""
    own = order_inputs(plan_of(None), tuned_in(tmp_path / "one", [1.0, 2.0]))
    assert order_inputs(plan_of(None), tuned_in(tmp_path / "same", [1.0, 2.0])) == own
    assert order_inputs(plan_of(None), tuned_in(tmp_path / "other", [1.0, 2.5])) != own


def tuned_in(folder: Path, weights: list[float]) -> ModelRef:
    """An adapter, its config written in an order of its own: peft writes sets of names."""
    folder.mkdir()
    save_file({"lora_A": torch.tensor(weights)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "was": folder.name}))
    return ModelRef("tuned", str(folder), digest_model(folder), "adapter")


def test_the_same_weights_are_never_drawn_anew(tmp_path: Path) -> None:
    """Whatever another config says: what it trained keeps the order of its first judgement, per base."""
    store = Store(tmp_path / "store")
    config = TrainingConfig("trl", "lora", "base", None, (), {"learning_rate": 1e-4}, {})
    other = replace(config, settings={"learning_rate": 1e-4, "tf32": True})
    one, again, new = (
        tuned_in(tmp_path / name, weights) for name, weights in {"a": [1.0], "b": [1.0], "c": [2.0]}.items()
    )
    first = order_of(plan_of(config), one, store)
    assert first == order_inputs(plan_of(config), one)
    assert one.digest != again.digest
    assert order_inputs(plan_of(other), again) != first
    assert order_of(plan_of(other), again, store) == first
    assert order_of(plan_of(None), again, store) == first
    assert order_of(plan_of(other), new, store) == order_inputs(plan_of(other), new)
    elsewhere = plan_of(other, replace(HERE, digest="sha256:c"))
    assert order_of(elsewhere, again, store) == order_inputs(elsewhere, again)
    assert order_of(plan_of(config, policy=Policy((), (), decide="full")), one, store) == ""
