"""A small real config for the demo's base model, and a progress that keeps what it was told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import gate
from gate.configs import load_config
from gate.models import inspect_model
from gate.records import ModelRef, TrainingConfig

BASE = Path(gate.__file__).parent / "demo" / "base"
DATA = Path(__file__).parent / "data"
SETTINGS = {
    "model_name_or_path": str(BASE),
    "dataset_name": str(DATA),
    "output_dir": "elsewhere",
    "max_steps": 12,
    "save_steps": 2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "learning_rate": 5e-4,
    "use_cpu": True,
    "bf16": False,
}
METHODS: dict[str, dict[str, object]] = {
    "full": {},
    "lora": {"use_peft": True, "lora_r": 4, "lora_dropout": 0.1, "learning_rate": 2e-3},
    "qlora": {"use_peft": True, "lora_r": 4, "load_in_4bit": True, "learning_rate": 2e-3},
}


def write(path: Path, method: str, **changed: object) -> Path:
    """Write a config of a method, with some settings changed."""
    path.write_text(json.dumps({**SETTINGS, **METHODS[method], **changed}))  # JSON is YAML
    return path


@pytest.fixture(scope="session")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A config file of each method."""
    folder = tmp_path_factory.mktemp("configs")
    return {method: write(folder / f"{method}.yaml", method) for method in METHODS}


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., TrainingConfig]:
    """Makes a full config with some settings changed, read as ftgate reads it."""
    return lambda **changed: load_config(write(tmp_path / "config.yaml", "full", **changed))


@pytest.fixture
def base() -> ModelRef:
    """The demo's base model, under the name that the configs give it."""
    return inspect_model(BASE, str(BASE))


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """This process' environment, with one thread and data caches of its own."""
    cache = tmp_path_factory.mktemp("cache")
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(cache)}


@dataclass
class Told:
    """A progress that keeps what it was told and calls `act` with the steps done."""

    act: Callable[[int], object] = lambda done: None
    updates: list[tuple[str, int, int, str]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        """Keep a report."""
        self.updates.append((what, done, total, note))
        self.act(done)

    def done(self, what: str) -> None:
        """Keep the end of a stage."""
        self.ended.append(what)


@pytest.fixture
def told() -> type[Told]:
    """A progress that keeps what it was told."""
    return Told
