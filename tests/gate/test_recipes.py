"""gate.configs.recipes, and data by rows: configs that train the same weights have one order of documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.configs import load_config
from gate.configs.recipes import recipe_of
from gate.configs.trl_keys import DEFAULTS, KEYS
from gate.keys import dataset_digest, rows_digest
from gate.records import TrainingConfig

HEAD = "model_name_or_path: org/base\ndataset_name: org/data\nuse_peft: true\n"


def recipe(tmp_path: Path, text: str) -> dict[str, object]:
    (tmp_path / "sft.yaml").write_text(HEAD + text)
    return recipe_of(load_config(tmp_path / "sft.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        "weight_decay: 0.0",
        "weight_decay: 0",
        "seed: 42",
        "skip_memory_metrics: false",
        "save_total_limit: 2",
        "save_steps: 7",
        "save_strategy: epoch",
        "logging_steps: 1",
        "report_to: wandb",
        "run_name: another",
        "output_dir: elsewhere",
        "dataloader_num_workers: 4",
        "dataloader_pin_memory: false",
        "dataset_num_proc: 8",
        "push_to_hub: true",
        "eval_steps: 9",
        "per_device_eval_batch_size: 1",
        "load_in_4bit: false",
        "bnb_4bit_quant_type: fp4",
        "lora_target_modules: null",
        "dtype: float32",
        "env: {FOO: bar}",
        "max_steps: -1",
    ],
)
def test_what_cannot_change_the_weights_is_no_part_of_a_recipe(tmp_path: Path, text: str) -> None:
    """Defaults that are written out; saving, logging, reporting, workers; keys of what is not used."""
    assert recipe(tmp_path, text + "\n") == recipe(tmp_path, "")


@pytest.mark.parametrize(
    "text",
    [
        "weight_decay: 0.1",
        "seed: 43",
        "lora_r: 8",
        "max_length: null",
        "max_steps: 60",
        "learning_rate: 1e-4",
        "packing: true",
        "data_seed: 42",
        "lr_scheduler_kwargs: {num_cycles: 1}",
        "eval_strategy: steps",
        "load_in_4bit: true",
        "dataset_train_split: other",
        "lora_target_modules: [q_proj]",
    ],
)
def test_what_can_change_the_weights_is_part_of_a_recipe(tmp_path: Path, text: str) -> None:
    """Each of these alone makes another order."""
    assert recipe(tmp_path, text + "\n") != recipe(tmp_path, "")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("lora_target_modules: [q_proj, v_proj]", "lora_target_modules: [v_proj, q_proj]", True),
        ("lora_target_modules: [q_proj]", "lora_target_modules: q_proj", True),
        ("lr_scheduler_kwargs: {num_cycles: 1}", "lr_scheduler_kwargs: {num_cycles: 1.0}", True),
        ("lr_scheduler_kwargs: {num_cycles: 1}", "lr_scheduler_kwargs: '{\"num_cycles\": 1}'", True),
        ("max_steps: 60", "max_steps: 60\nnum_train_epochs: 9", True),
        ("num_train_epochs: 2", "num_train_epochs: 9", False),
        (
            "load_best_model_at_end: true\neval_strategy: steps\nsave_steps: 7",
            "load_best_model_at_end: true\neval_strategy: steps\nsave_steps: 8",
            False,
        ),
        ("eval_strategy: steps\neval_steps: 7", "eval_strategy: steps\neval_steps: 8", False),
        ("load_in_4bit: true", "load_in_4bit: true\nbnb_4bit_quant_type: fp4", False),
    ],
)
def test_a_recipe_is_one_however_it_is_written(tmp_path: Path, one: str, other: str, same: bool) -> None:
    """Sets of names, numbers and JSON texts have one form; a key counts where another makes use of it."""
    assert (recipe(tmp_path, one + "\n") == recipe(tmp_path, other + "\n")) is same


def test_a_mixture_is_its_data_and_not_their_places(tmp_path: Path) -> None:
    """Where files lie has a digest; which columns and how much of them are taken is the recipe's."""

    def mixture(entry: dict[str, object]) -> object:
        config = TrainingConfig("trl", "full", "base", None, (), {"datasets": [entry]}, {})
        return recipe_of(config)

    plain = mixture({"path": "here", "columns": ["text"]})
    assert mixture({"path": "there", "columns": ["text"]}) == plain
    assert mixture({"path": "here", "columns": ["other"]}) != plain
    assert mixture({"path": "here", "columns": ["text"], "fraction": 0.5}) != plain


def test_defaults_are_of_keys_that_there_are() -> None:
    """A misspelt one would never be left out."""
    assert DEFAULTS.keys() <= KEYS


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": "b"}\n', '\n{"text":"a"}\n\n{"text": "b"}', True),
        ("a.jsonl", '{"text": "a", "x": 1}\n', '{"x": 1, "text": "a"}\n', True),
        ("a.jsonl", '{"text": "a"}\n{"text": "b"}\n', '{"text": "b"}\n{"text": "a"}\n', False),
        ("a.jsonl", '{"text": "a"}\n', '{"text": "b"}\n', False),
        ("a.json", '[{"text": "a"}]', '[\n {"text": "a"}\n]\n', True),
        ("a.json", '[{"text": "a"}]', '[{"text": "a"}, {"text": "a"}]', False),
        ("a.csv", "text,label\na,1\n", 'text,label\n\n"a",1\n\n', True),
        ("a.csv", "text,label\na,1\n", "text,label\na,2\n", False),
        ("a.txt", "a\nb\n", "a\n\nb\n", False),
        ("a.jsonl", "no JSON\n", "no  JSON\n", False),
        ("a.jsonl", '{"text": "a"}\n{broken', '{"text": "a"}\n{other', False),
    ],
)
def test_data_are_their_rows(tmp_path: Path, name: str, one: str, other: str, same: bool) -> None:
    """Empty lines and spaces make no other data where rows can be read; else every byte counts."""
    (tmp_path / name).write_text(one)
    first = dataset_digest(tmp_path, rows_digest)
    (tmp_path / name).write_text(other)
    assert (dataset_digest(tmp_path, rows_digest) == first) is same
