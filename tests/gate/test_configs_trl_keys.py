"""The shipped table of TRL's keys against the TRL that is installed."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from packaging.version import Version

from gate.configs import trl_keys
from gate.configs.recipes import recipe_of
from gate.configs.values import read_settings
from gate.errors import Problem
from gate.records import TrainingConfig
from gate.yamlfile import load_yaml

# Importing TRL takes seconds and leaves torch behind, so it is asked in a process of its own.
ASK = """
import dataclasses, enum, json, typing
from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments, SFTConfig
from trl.scripts.utils import DatasetConfig

def kind(types):
    if any(isinstance(t, type) and issubclass(t, enum.Enum) for t in types):
        return "WORDS"
    origins = {typing.get_origin(t) or t for t in types}
    for found, name in ((dict, "MAPPINGS"), (list, "LISTS")):
        if found in origins:
            return name
    one = {bool: "BOOLS", int: "WHOLE", float: "NUMBERS", str: "WORDS"}
    return one.get(next(iter(types)), "MIXED") if len(types) == 1 else "MIXED"

keys, optional, choices, defaults = {}, [], {}, {}
for config in (ScriptArguments, SFTConfig, ModelConfig, DatasetMixtureConfig):
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if not field.init or field.name == "datasets":
            continue
        hint = hints[field.name]
        optional_or_union = type(None) in typing.get_args(hint) or "|" in str(hint)
        union = typing.get_args(hint) if optional_or_union else (hint,)
        types = [t for t in union if t is not type(None)]
        if type(None) in union:
            optional.append(field.name)
        keys[field.name] = kind(types)
        made = field.default is dataclasses.MISSING
        value = field.default_factory() if made else field.default
        defaults[field.name] = getattr(value, "value", value)
        enums = [t for t in types if isinstance(t, type) and issubclass(t, enum.Enum)]
        words = field.metadata.get("choices") or ([word.value for word in enums[0]] if enums else None)
        if words and keys[field.name] == "WORDS":
            choices[field.name] = list(words)
entry = [field.name for field in dataclasses.fields(DatasetConfig)]
print(json.dumps({"keys": keys, "optional": optional, "choices": choices, "entry": entry,
    "defaults": defaults}))
"""

SOME = {"use_peft": True, "load_in_4bit": True, "eval_strategy": "steps", "load_best_model_at_end": True}


def test_the_table_is_that_of_the_installed_trl() -> None:
    """Every key, its type, whether it may be empty, and its words, as TRL's dataclasses declare them.

    All but those that this transformers is too old for.
    """
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    asked = json.loads(done.stdout.splitlines()[-1])
    groups = ("BOOLS", "WHOLE", "NUMBERS", "WORDS", "LISTS", "MAPPINGS", "MIXED")
    here = Version(version("transformers"))
    later = {key for key, since in trl_keys.SINCE.items() if here < Version(since)}
    shipped = {key: group for group in groups for key in getattr(trl_keys, group) - later}
    assert asked["keys"] == shipped
    assert set(asked["optional"]) == trl_keys.OPTIONAL - later
    assert asked["choices"] == {key: list(words) for key, words in trl_keys.CHOICES.items()}
    assert tuple(asked["entry"]) == trl_keys.DATASET_KEYS
    assert {key: asked["defaults"][key] for key in trl_keys.DEFAULTS} == trl_keys.DEFAULTS
    # What is not in the table has no default but None, or cannot change what is trained.
    counts = TrainingConfig("trl", "qlora", "base", None, (), SOME, {})
    others = {k: v for k, v in asked["defaults"].items() if k not in trl_keys.DEFAULTS and v is not None}
    for key, value in others.items():
        assert recipe_of(replace(counts, settings={**SOME, key: value})) == recipe_of(counts), key


def test_the_table_holds_together() -> None:
    """Ranges, optional keys and replaced keys speak of keys that are there, or are not."""
    assert set(trl_keys.RANGES) <= trl_keys.KEYS | trl_keys.EXTRA_KEYS
    assert trl_keys.OPTIONAL <= trl_keys.KEYS
    assert not set(trl_keys.REPLACED) & trl_keys.KEYS


def test_a_key_that_the_installed_transformers_lacks_is_refused(tmp_path: Path) -> None:
    """TRL would take it for the launcher's and train without it; newer ones have it."""
    (tmp_path / "sft.yaml").write_text("activation_checkpointing: true\n")
    file = load_yaml(tmp_path / "sft.yaml", version="1.1")
    problems: list[Problem] = []
    for old in ("5.17.0", "5.22.2"):
        assert read_settings(file, problems, lambda _, old=old: old) == {}
    assert [str(each).partition(":1: ")[2] for each in problems] == [
        f"activation_checkpointing: needs transformers 5.23, found {old} (upgrade transformers, or leave the "
        "key out)"
        for old in ("5.17.0", "5.22.2")
    ]
    assert read_settings(file, [], lambda _: "5.23.0") == {"activation_checkpointing": True}
