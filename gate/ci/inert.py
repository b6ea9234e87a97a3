"""Is a handed-over model nothing but data? What could make a library run code, read elsewhere or dial out.

Weights are safetensors, so nothing is unpickled. What is left are settings that name code, files or hosts.
Each is refused by name here, although today's libraries guard most of them: with remote code off, offline,
local files only. Not judged here is how long a harmless-looking thing takes: a chat template (rendered only
under `chat_template: tuned`) or a tokenizer's pattern may loop for ever. The job's time limit ends that, and
a judge that did not end is no pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gate.errors import ModelError
from gate.models import model_files, model_kind, read_header, read_json, weight_files

SETTINGS = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.json",
)
RUNS_CODE = ("auto_map", "custom_pipelines", "custom_generate", "trust_remote_code")
# What peft's LoRA has and what names neither code, files nor other models; anything else must be unset.
ADAPTER_KEYS = (
    *("alpha_pattern", "base_model_name_or_path", "bias", "ensure_weight_tying", "exclude_modules"),
    *("fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform"),
    *("lora_alpha", "lora_bias", "lora_dropout", "modules_to_save", "peft_type", "peft_version"),
    *("qalora_group_size", "r", "rank_pattern", "revision", "target_modules", "target_parameters"),
    *("task_type", "trainable_token_indices", "use_dora", "use_qalora", "use_rslora"),
)
HINT = "a judge takes weights, tokenizer and settings, never code; train without it"


def check_inert(folder: Path) -> None:
    """Raise `ModelError` unless all that lies in `folder` is one model, readable, and nothing but data."""
    _check_all_of_one_model(folder)
    for name in SETTINGS:
        if (folder / name).is_file():
            settings = read_json(folder / name)
            for path, key, value in _entries(settings):
                _check_setting(f"{name}: {path}", key, value)
            if name == "adapter_config.json":
                _check_adapter(settings)
    for file in folder.glob("*.json"):
        read_json(file)
    for file in weight_files(folder):
        read_header(file)


def _check_all_of_one_model(folder: Path) -> None:
    ours = {name.as_posix() for name in model_files(folder)}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if there - ours:
        raise ModelError(f"{min(there - ours)} is no file of a {model_kind(folder)} model", hint=HINT)


def _check_setting(where: str, key: str, value: object) -> None:
    if not value:
        return
    if key in RUNS_CODE:
        raise ModelError(f"{where} asks for code of its own", hint=HINT)
    if key.endswith("_implementation") and not _plain_names(value):
        raise ModelError(f"{where} names an implementation on a hub", hint=HINT)
    if key == "quantization_config":
        raise ModelError(
            f"{where}: packed weights are not taken", hint="hand over the adapter, or full weights"
        )
    names_files = key.endswith(("_file", "_files")) and key != "special_tokens_map_file"
    if (names_files or key == "init_inputs") and not where.startswith("adapter_config"):
        raise ModelError(
            f"{where} names a file to read", hint="save the tokenizer again with save_pretrained"
        )


def _plain_names(value: object) -> bool:
    """Whether an implementation setting has transformers' own words alone (`sdpa`), no repositories."""
    if isinstance(value, Mapping):
        return all(_plain_names(each) for each in value.values())
    return value is None or (isinstance(value, str) and value.replace("_", "a").isalnum())


def _check_adapter(settings: Mapping[str, object]) -> None:
    if settings.get("peft_type") != "LORA":
        raise ModelError("adapter_config.json: only LoRA adapters are taken", hint="train with peft's LoRA")
    for key, value in settings.items():
        if key == "megatron_core" and value == "megatron.core":
            continue  # peft's default; used only with a megatron_config
        if key == "auto_mapping" and _of_transformers(value):
            continue
        if value and key not in ADAPTER_KEYS:
            raise ModelError(f"adapter_config.json: {key} is not taken", hint=HINT)
    named = settings.get("base_model_name_or_path")
    if isinstance(named, str) and "://" in named:
        raise ModelError(
            "adapter_config.json: base_model_name_or_path is an address", hint="name the base model"
        )


def _of_transformers(value: object) -> bool:
    library = value.get("parent_library") if isinstance(value, Mapping) else ""
    return isinstance(library, str) and library.partition(".")[0] == "transformers"


def _entries(value: object, path: str = "") -> Iterator[tuple[str, str, object]]:
    """Every (path, key, value) of nested settings."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield f"{path}{key}", str(key), each
            yield from _entries(each, f"{path}{key}.")
    elif isinstance(value, list):
        for each in value:
            yield from _entries(each, path)
