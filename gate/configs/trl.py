"""TRL `sft` configs: read, checked and normalised without importing TRL; they stay as they are.

What TRL does with a config was read in TRL 1.16 (`trl/scripts/sft.py`, `trl/scripts/utils.py`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

from gate.configs.launch import count_processes
from gate.configs.secrets import SECRET
from gate.configs.sources import read_datasets
from gate.configs.values import read_settings
from gate.errors import ConfigErrors, Problem
from gate.records import Method, Override, Scalar, TrainingConfig
from gate.yamlfile import YamlFile, key_name, shown

NAME = "trl"
MARKS: tuple[str, ...] = (
    "model_name_or_path",
    "dataset_name",
    "dataset_mixture",
    "dataset_mixer",
    "use_peft",
)
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")


def matches(file: YamlFile) -> bool:
    """Is this a TRL config? A base model, a dataset or an adapter in TRL's own words says so."""
    return any(mark in file.data for mark in MARKS)


def read(file: YamlFile, base: str | None, trains: bool) -> TrainingConfig:
    """Normalise a TRL sft config; `base` stands for the file's own base model.

    Where nothing is trained, training data that is not here is no problem.
    Raises `ConfigErrors` with every problem of the file and of training data on this disk.
    """
    problems: list[Problem] = []
    settings = read_settings(file, problems)
    method, bits = _method(file, settings, problems)
    _check_together(file, settings, problems)
    environment = _environment(file, problems)
    base_model = base or _base_model(file, settings, problems)
    datasets = read_datasets(file, settings, problems if trains else [])
    processes = count_processes(file, settings, problems)
    if problems:
        raise ConfigErrors(problems)
    init = _init_kwargs(settings)
    revision = init.get("revision") or settings.get("model_revision")
    return TrainingConfig(
        trainer=NAME,
        method=method,
        base_model=base_model,
        base_revision=None if base or revision == "main" else revision,
        datasets=datasets,
        settings={key: value for key, value in settings.items() if key not in SECRET},
        lines={key_name(keys): line for keys, line in file.lines.items() if keys},
        path=file.path,
        digest=file.digest,
        learning_rate=settings.get("learning_rate", 2e-5),
        batch_size=settings.get("per_device_train_batch_size", 8),
        gradient_accumulation=settings.get("gradient_accumulation_steps", 1),
        epochs=settings.get("num_train_epochs", 3.0),
        max_steps=_max_steps(settings),
        quantization_bits=bits,
        processes=processes,
        trust_remote_code=bool(settings.get("trust_remote_code") or init.get("trust_remote_code")),
        environment=environment,
        environment_digest=hashlib.sha256(repr(file.data.get("env")).encode()).hexdigest(),
    )


def overrides(settings: Mapping[str, object], output_dir: str) -> tuple[Override, ...]:
    """What the gate must change of a config, and why; only what differs. None of it changes the weights.

    Evaluation during training stays: it draws random numbers, so that leaving it out would change them.
    """
    asked: list[tuple[str, Scalar, Scalar, str]] = [
        ("output_dir", None, output_dir, "the gate keeps the model until it was judged"),
        ("push_to_hub", False, False, "nothing is published before it passed"),
        ("report_to", "none", "none", "the training runs without network"),
        ("logging_nan_inf_filter", True, False, "it hides a loss that is not finite"),
        ("logging_strategy", "steps", _unless_no(settings, "logging_strategy"), "the loss must be seen"),
        ("save_strategy", "steps", _unless_no(settings, "save_strategy"), "an interrupted training resumes"),
        ("save_only_model", False, False, "a checkpoint without optimizer cannot be resumed"),
        ("auto_find_batch_size", False, False, "running out of memory must not change the recipe silently"),
    ]
    if settings.get("save_strategy") == "no":
        asked.append(("save_total_limit", None, 1, "checkpoints that the config did not ask for stay few"))
    changes = []
    for key, default, now, reason in asked:
        was = _scalar(settings.get(key, default))
        if was != now:
            changes.append(Override(key, was, now, reason))
    return tuple(changes)


def _unless_no(settings: Mapping[str, object], key: str) -> Scalar:
    value = settings.get(key, "steps")
    return "steps" if value == "no" else _scalar(value)


def _scalar(value: object) -> Scalar:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _method(
    file: YamlFile, settings: Mapping[str, Any], problems: list[Problem]
) -> tuple[Method, int | None]:
    adapter = settings.get("use_peft", False)
    bits = [n for n in (4, 8) if settings.get(f"load_in_{n}bit")]
    for n in bits if not adapter else ():
        hint = "set `use_peft: true`, or leave it out for a full fine-tune"
        message = "needs an adapter, quantised weights cannot train"
        problems.append(file.problem((f"load_in_{n}bit",), message, hint))
    if len(bits) > 1:
        problems.append(file.problem(("load_in_8bit",), "excludes `load_in_4bit`"))
    if not adapter:
        return "full", None
    return ("qlora", bits[0]) if bits else ("lora", None)


def _check_together(file: YamlFile, settings: Mapping[str, Any], problems: list[Problem]) -> None:
    if settings.get("fp16") and settings.get("bf16"):
        problems.append(file.problem(("fp16",), "excludes `bf16`", "set one of them to false"))
    if settings.get("resume_from_checkpoint"):
        message = "would go on with another training, so that this config alone did not make the model"
        hint = "leave it out; the gate resumes by itself"
        problems.append(file.problem(("resume_from_checkpoint",), message, hint))
    if settings.get("load_best_model_at_end") and settings.get("save_strategy") == "no":
        problems.append(file.problem(("load_best_model_at_end",), "needs a `save_strategy` other than `no`"))


def _base_model(file: YamlFile, settings: Mapping[str, Any], problems: list[Problem]) -> str:
    name = settings.get("model_name_or_path")
    if not name:
        if "model_name_or_path" not in file.data or not file.data["model_name_or_path"]:
            hint = "set it here, or say --base MODEL"
            problems.append(file.problem(("model_name_or_path",), "names no base model", hint))
        return ""
    if not os.path.isdir(name) and not _HUB_NAME.fullmatch(name):
        hint = "paths start at the folder where ftgate runs, as with trl"
        problems.append(file.problem(("model_name_or_path",), f"no such folder: {name[:200]}", hint))
    return str(name)


def _init_kwargs(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    init = settings.get("model_init_kwargs")
    return init if isinstance(init, dict) else {}


def _max_steps(settings: Mapping[str, Any]) -> int | None:
    steps: int = settings.get("max_steps", -1)
    return steps if steps > 0 else None


def _environment(file: YamlFile, problems: list[Problem]) -> tuple[str, ...]:
    value = file.data.get("env", {})
    if not isinstance(value, dict):
        problems.append(file.problem(("env",), f"expected a mapping of variables, got {shown(value)}"))
        return ()
    for name, text in value.items():
        if isinstance(text, dict | list) or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            problems.append(file.problem(("env", name), "expected NAME: text"))
    return tuple(value)
