"""A fine-tune: its config in one vocabulary, the model it makes, what it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Method = Literal["full", "lora", "qlora"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Override:
    """A setting of the training config that the gate had to change, and why."""

    key: str
    was: Scalar
    now: Scalar
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training data as the config names it: a local path or a hub name.

    Once fetched, `name` is the folder, `revision` its commit and `hub` the name that the config has.
    """

    name: str
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    hub: str = ""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A training config of any trainer, in one vocabulary. `settings` are the file's own keys."""

    trainer: str  # trl, later axolotl, llamafactory, command
    method: Method
    base_model: str
    base_revision: str | None
    datasets: tuple[Dataset, ...]
    settings: Mapping[str, object]
    lines: Mapping[str, int]  # key -> line of the file
    path: str = ""
    digest: str = ""  # of the file's bytes
    learning_rate: float | None = None
    batch_size: int | None = None  # per device
    gradient_accumulation: int | None = None
    epochs: float | None = None
    max_steps: int | None = None
    quantization_bits: int | None = None
    processes: int = 1
    trust_remote_code: bool = False
    environment: tuple[str, ...] = ()  # names of variables that the config reads or sets
    environment_digest: str = ""  # of the values that it sets; they may be secrets and are not kept
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model folder on disk. `digest` covers weights, tokenizer, chat template and configs."""

    name: str  # as the user wrote it
    path: str
    digest: str
    kind: Literal["full", "adapter"] = "full"
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What a training took; `from_store` when nothing was trained this time."""

    seconds: float
    steps: int
    peak_resident_bytes: int
    peak_gpu_bytes: int | None = None
    tokens_per_second: float | None = None
    final_loss: float | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    from_store: bool = False


@dataclass(frozen=True, slots=True)
class TunedModel:
    """A proven model or adapter, and what it took. `training` is None for `--tuned`."""

    model: ModelRef
    training: TrainingCost | None = None
