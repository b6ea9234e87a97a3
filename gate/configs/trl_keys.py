"""The keys that `trl sft` takes, by the type of their value, as TRL 1.16 and transformers 5 declare them.

Importing TRL takes seconds, so the table is written out here; a test holds it against the installed TRL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


BOOLS = _keys(
    """
    activation_checkpointing activation_offloading assistant_only_loss auto_find_batch_size
    average_tokens_across_devices batch_eval_metrics bf16 bf16_full_eval completion_only_loss
    dataloader_drop_last dataloader_in_order dataloader_persistent_workers dataloader_pin_memory
    dataset_streaming ddp_broadcast_buffers ddp_find_unused_parameters ddp_static_graph disable_tqdm
    do_eval do_predict do_train enable_jit_checkpoint eval_do_concat_batches eval_on_start
    eval_packing eval_use_gather_object fp16 fp16_full_eval full_determinism gradient_checkpointing
    greater_is_better hub_always_push hub_private_repo ignore_bias_buffers ignore_data_skip
    load_best_model_at_end load_in_4bit load_in_8bit log_on_each_node logging_first_step
    logging_nan_inf_filter packing padding_free prediction_loss_only push_to_hub
    remove_unused_columns restore_callback_states_from_checkpoint save_on_each_node save_only_model
    shuffle_dataset skip_memory_metrics streaming tf32 torch_compile trust_remote_code
    use_bnb_nested_quant use_cache use_cpu use_dora use_liger_kernel use_peft use_rslora
    """
)

WHOLE = _keys(
    """
    data_seed dataloader_num_workers dataloader_prefetch_factor dataset_num_proc ddp_bucket_cap_mb
    ddp_timeout eval_accumulation_steps gradient_accumulation_steps local_rank lora_alpha lora_r
    max_length max_steps per_device_eval_batch_size per_device_train_batch_size save_total_limit
    seed torch_empty_cache_steps
    """
)

NUMBERS = _keys(
    """
    adam_beta1 adam_beta2 adam_epsilon eval_delay eval_steps label_smoothing_factor learning_rate
    logging_steps lora_dropout max_grad_norm neftune_noise_alpha num_train_epochs
    router_aux_loss_coef save_steps test_split_size warmup_steps weight_decay
    """
)

WORDS = _keys(
    """
    attn_implementation bnb_4bit_quant_storage bnb_4bit_quant_type chat_template_path
    dataloader_multiprocessing_context dataset_config dataset_name dataset_test_split
    dataset_text_field dataset_train_split ddp_backend dtype eos_token eval_strategy fsdp
    hub_model_id hub_revision hub_strategy hub_token length_column_name log_level log_level_replica
    logging_strategy lora_task_type loss_type lr_scheduler_type metric_for_best_model
    model_name_or_path model_revision optim optim_args output_dir packing_strategy pad_token project
    resume_from_checkpoint run_name save_strategy torch_compile_backend torch_compile_mode
    trackio_bucket_id trackio_space_id train_sampling_strategy truncation_mode
    """
)

LISTS = _keys(
    """
    debug include_for_metrics label_names lora_modules_to_save lora_target_modules
    lora_target_parameters optim_target_modules report_to
    """
)

MAPPINGS = _keys(
    """
    accelerator_config activation_checkpointing_kwargs dataset_kwargs deepspeed fsdp_config
    gradient_checkpointing_kwargs liger_kernel_config lr_scheduler_kwargs model_init_kwargs
    """
)

MIXED = _keys(
    """
    include_num_input_tokens_seen pad_to_multiple_of parallelism_config trackio_static_space_id
    """
)

OPTIONAL = _keys(
    """
    accelerator_config activation_checkpointing activation_checkpointing_kwargs attn_implementation
    bf16 bnb_4bit_quant_storage chat_template_path completion_only_loss data_seed
    dataloader_multiprocessing_context dataloader_prefetch_factor dataset_config dataset_kwargs
    dataset_name dataset_num_proc ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb
    ddp_find_unused_parameters ddp_static_graph deepspeed disable_tqdm dtype eos_token
    eval_accumulation_steps eval_packing eval_steps fsdp fsdp_config gradient_checkpointing_kwargs
    greater_is_better hub_model_id hub_private_repo hub_revision hub_token label_names
    liger_kernel_config lora_modules_to_save lora_target_modules lora_target_parameters
    lr_scheduler_kwargs max_length metric_for_best_model model_init_kwargs model_name_or_path
    neftune_noise_alpha optim_args optim_target_modules output_dir pad_to_multiple_of pad_token
    parallelism_config report_to resume_from_checkpoint router_aux_loss_coef run_name
    save_total_limit test_split_size tf32 torch_compile_backend torch_compile_mode
    torch_empty_cache_steps trackio_bucket_id trackio_space_id trackio_static_space_id
    """
)

CHOICES: Mapping[str, tuple[str, ...]] = {
    "bnb_4bit_quant_type": ("fp4", "nf4"),
    "dataloader_multiprocessing_context": ("fork", "spawn", "forkserver"),
    "ddp_backend": ("nccl", "gloo", "mpi", "xccl", "hccl", "cncl", "mccl"),
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "eval_strategy": ("no", "steps", "epoch"),
    "hub_strategy": ("end", "every_save", "checkpoint", "all_checkpoints"),
    "log_level": ("detail", "debug", "info", "warning", "error", "critical", "passive"),
    "log_level_replica": ("detail", "debug", "info", "warning", "error", "critical", "passive"),
    "logging_strategy": ("no", "steps", "epoch"),
    "loss_type": ("nll", "dft", "chunked_nll"),
    "lr_scheduler_type": ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant",
        "constant_with_warmup", "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr",
        "cosine_warmup_with_min_lr", "warmup_stable_decay", "greedy"),
    "optim": ("adamw_torch", "adamw_torch_fused", "adamw_torch_xla", "adamw_torch_npu_fused", "adafactor",
        "adamw_anyprecision", "adamw_torch_4bit", "adamw_torch_8bit", "ademamix", "sgd", "adagrad",
        "adamw_bnb_8bit", "adamw_8bit", "ademamix_8bit", "lion_8bit", "lion_32bit", "paged_adamw_32bit",
        "paged_adamw_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit", "paged_lion_32bit",
        "paged_lion_8bit", "rmsprop", "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit",
        "galore_adamw", "galore_adamw_8bit", "galore_adafactor", "galore_adamw_layerwise",
        "galore_adamw_8bit_layerwise", "galore_adafactor_layerwise", "lomo", "adalomo", "grokadamw",
        "schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd", "apollo_adamw",
        "apollo_adamw_layerwise", "stable_adamw"),
    "packing_strategy": ("bfd", "bfd_split", "wrapped"),
    "save_strategy": ("no", "steps", "epoch", "best"),
    "train_sampling_strategy": ("random", "sequential", "group_by_length", "batch_rebalance"),
    "truncation_mode": ("keep_end", "keep_start"),
}  # fmt: skip

KEYS = BOOLS | WHOLE | NUMBERS | WORDS | LISTS | MAPPINGS | MIXED | {"datasets"}

# Keys that came with a later transformers than the oldest that ftgate runs with. Under an older one TRL would
# take such a key for an argument of the launcher, and train without it.
SINCE: Mapping[str, str] = dict.fromkeys(
    ("activation_checkpointing", "activation_checkpointing_kwargs"), "5.23"
)

# What TRL takes where a key is left out, of the keys that can change what is trained; the others: None.
DEFAULTS: Mapping[str, object] = {
    **dict.fromkeys(
        _keys(
            """
            activation_offloading assistant_only_loss auto_find_batch_size bf16_full_eval dataloader_drop_last
            dataset_streaming eval_on_start fp16 fp16_full_eval full_determinism ignore_bias_buffers
            load_best_model_at_end load_in_4bit load_in_8bit packing padding_free shuffle_dataset
            streaming torch_compile use_bnb_nested_quant use_cpu use_dora use_liger_kernel use_peft use_rslora
            """
        ),
        False,
    ),
    **dict.fromkeys(
        _keys("average_tokens_across_devices gradient_checkpointing remove_unused_columns"), True
    ),
    "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8, "bnb_4bit_quant_type": "nf4",
    "dataset_test_split": "test", "dataset_text_field": "text", "dataset_train_split": "train",
    "dtype": "float32", "eval_delay": 0, "eval_strategy": "no", "gradient_accumulation_steps": 1,
    "label_smoothing_factor": 0.0, "learning_rate": 2e-5, "length_column_name": "length", "lora_alpha": 32,
    "lora_dropout": 0.05, "lora_r": 16, "lora_task_type": "CAUSAL_LM", "loss_type": "nll",
    "lr_scheduler_type": "linear", "max_grad_norm": 1.0, "max_length": 1024, "max_steps": -1,
    "num_train_epochs": 3.0, "optim": "adamw_torch_fused", "packing_strategy": "bfd",
    "pad_to_multiple_of": "auto", "per_device_eval_batch_size": 8, "per_device_train_batch_size": 8,
    "save_steps": 500, "save_strategy": "steps", "seed": 42, "train_sampling_strategy": "random",
    "truncation_mode": "keep_start", "warmup_steps": 0, "weight_decay": 0.0,
}  # fmt: skip

# One entry of `datasets:`.
DATASET_KEYS = ("path", "name", "data_dir", "data_files", "split", "columns", "fraction")

# What `trl sft` does not take itself but hands to `accelerate launch`, and `env`, which it exports.
LAUNCH_KEYS = frozenset(("accelerate_config", "config_file", "num_processes", "mixed_precision", "gpu_ids"))
EXTRA_KEYS = LAUNCH_KEYS | {"env"}

# Keys that older configs carry, and what stands in their place.
REPLACED: Mapping[str, str] = {
    "torch_dtype": "write `dtype`",
    "max_seq_length": "write `max_length`",
    "evaluation_strategy": "write `eval_strategy`",
    "no_cuda": "write `use_cpu`",
    "warmup_ratio": "write `warmup_steps`, which takes a share below 1 as well",
    "group_by_length": "write `train_sampling_strategy: group_by_length`",
    "dataset_mixture": "write `datasets:`, a list with `path` in each entry",
    "dataset_mixer": "write `datasets:`, a list with `path` in each entry",
    "overwrite_output_dir": "leave it out, it is gone from transformers 5",
    "logging_dir": "leave it out, it is gone from transformers 5",
    "save_safetensors": "leave it out, weights are always saved so",
    "gradient_checkpointing_use_reentrant": "write `gradient_checkpointing_kwargs: {use_reentrant: ...}`",
    "tokenizer_name_or_path": "leave it out, the tokenizer is the model's own",
}

# Lowest and highest value, and whether the ends belong to it. Any other number has to be finite.
_FROM_ZERO = """
    learning_rate weight_decay adam_epsilon max_grad_norm warmup_steps seed data_seed dataloader_num_workers
    neftune_noise_alpha eval_delay
"""
_FROM_ONE = """
    per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps lora_r lora_alpha
    max_length save_total_limit dataset_num_proc num_processes
"""
_ABOVE_ZERO = "num_train_epochs logging_steps save_steps eval_steps test_split_size"
_SHARES = "adam_beta1 adam_beta2 lora_dropout label_smoothing_factor"
RANGES: Mapping[str, tuple[float, float, bool]] = {
    **dict.fromkeys(_keys(_FROM_ZERO), (0.0, math.inf, True)),
    **dict.fromkeys(_keys(_FROM_ONE), (1.0, math.inf, True)),
    **dict.fromkeys(_keys(_ABOVE_ZERO), (0.0, math.inf, False)),
    **dict.fromkeys(_keys(_SHARES), (0.0, 1.0, True)),
    "max_steps": (-1.0, math.inf, True),
}
