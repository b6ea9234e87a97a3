"""A config as what it trains: neither its defaults, nor what says where, how fast and how loudly.

For the order in which documents are drawn, and for nothing else: whether a training may be reused is asked
of the config as it is (`gate.keys.training_key`). Two configs that train the same weights should be equal
here; where two that do not are equal, they share an order, which no error depends on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from gate.configs.trl_keys import DEFAULTS, LISTS
from gate.records import TrainingConfig

# Saving, logging, reporting, workers and connections; and names of what has a digest of its own.
_WEIGHTLESS = re.compile(
    r"output_dir|run_name|project|report_to|disable_tqdm|push_to_hub|(hub|logging|log|wandb|trackio)_\w+"
    r"|save_only_model|save_on_each_node|save_total_limit|enable_jit_checkpoint|ignore_data_skip|env"
    r"|restore_callback_states_from_checkpoint|skip_memory_metrics|include_num_input_tokens_seen|debug"
    r"|include_for_metrics|dataloader_(num_workers|prefetch_factor|persistent_workers|pin_memory|in_order)"
    r"|dataloader_multiprocessing_context|dataset_num_proc|local_rank|torch_empty_cache_steps|use_cache"
    r"|ddp_(backend|timeout|bucket_cap_mb|find_unused_parameters|static_graph)|do_(train|eval|predict)"
    r"|prediction_loss_only|eval_(accumulation_steps|do_concat_batches|use_gather_object)|batch_eval_metrics"
    r"|gpu_ids|num_processes|trust_remote_code|model_name_or_path|model_revision|dataset_name"
)
_SAVING = re.compile(r"save_(strategy|steps)|metric_for_best_model|greater_is_better")
_EVALUATING = re.compile(r"eval_\w+|per_device_eval_batch_size|(bf16|fp16)_full_eval|dataset_test_split")
_ADAPTER = re.compile(r"lora_\w+|use_rslora|use_dora")
_QUANTIZED = re.compile(r"(use_)?bnb_\w+")
_PLACES = ("path", "data_dir", "data_files")  # of an entry of `datasets`, whose data have digests


def recipe_of(config: TrainingConfig) -> dict[str, object]:
    """What a config trains, without base model and data, as plain values that compare equal where it does."""
    settings = {**config.settings, **{each.key: each.now for each in config.overrides}}
    kept = {key: value for key, value in settings.items() if not _left_out(key, settings)}
    plain = {key: _plain(key, value) for key, value in kept.items()}
    recipe = {key: value for key, value in plain.items() if value != _plain(key, DEFAULTS.get(key))}
    about = (config.trainer, config.method, config.quantization_bits, config.processes)
    return {"settings": recipe, "about": list(about)}


def _left_out(key: str, settings: Mapping[str, object]) -> bool:
    """Whether a key cannot change the weights, beside these other settings."""
    steps = settings.get("max_steps")
    unless = (
        (_SAVING, settings.get("load_best_model_at_end")),
        (_EVALUATING, settings.get("eval_strategy", "no") != "no" or settings.get("eval_on_start")),
        (_ADAPTER, settings.get("use_peft")),
        (_QUANTIZED, settings.get("load_in_4bit")),
        (re.compile("num_train_epochs"), not (isinstance(steps, int) and steps > 0)),
    )
    return bool(_WEIGHTLESS.fullmatch(key)) or any(not used and keys.fullmatch(key) for keys, used in unless)


def _plain(key: str, value: object) -> object:
    """A value in one form: numbers as floats, JSON texts read, lists of names as sets of them."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if key in LISTS:
        return sorted({value} if isinstance(value, str) else map(str, value)) if value else None  # type: ignore[call-overload]
    if key == "datasets" and isinstance(value, list):
        entries = (each for each in value if isinstance(each, dict))
        value = [{name: item for name, item in each.items() if name not in _PLACES} for each in entries]
    return _number_free(value)


def _number_free(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _number_free(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_number_free(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return value
