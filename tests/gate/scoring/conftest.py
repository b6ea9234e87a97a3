"""Small real models made from the demo's base: a full tuned one, an adapter, and the adapter merged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import gate
from gate.models import inspect_model
from gate.records import ModelRef

DEMO = Path(gate.__file__).parent / "demo" / "base"


@dataclass(frozen=True)
class Maker:
    """Makes model folders below `root`."""

    root: Path

    def load(self, path: Path = DEMO) -> tuple[Any, Any]:
        """Model (float32) and tokenizer of a folder."""
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        return model, AutoTokenizer.from_pretrained(path)

    def save(self, name: str, model: Any, tokenizer: Any = None) -> ModelRef:
        model.save_pretrained(self.root / name)
        if tokenizer is not None:
            tokenizer.save_pretrained(self.root / name)
        return inspect_model(self.root / name, name)

    def copy(self, name: str, source: Path = DEMO) -> Path:
        shutil.copytree(source, self.root / name)
        for file in (self.root / name).iterdir():
            file.chmod(0o644)
        return self.root / name

    def disturb(self, model: Any, share: float = 0.02) -> None:
        """Random noise on all weights, as a stand-in for training."""
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(share * weight.std() * torch.randn_like(weight))

    def with_adapter(self, model: Any, **config: Any) -> Any:
        """A LoRA on the attention, B at random."""
        torch.manual_seed(1)
        settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], **config}
        wrapped = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
        with torch.no_grad():
            for name, weight in wrapped.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.05)
        return wrapped


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small models are faster on one thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base() -> ModelRef:
    return inspect_model(DEMO, "demo-base")


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture(scope="session")
def shared_maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tuned_full(shared_maker: Maker) -> ModelRef:
    model, tokenizer = shared_maker.load()
    shared_maker.disturb(model)
    return shared_maker.save("full", model, tokenizer)


@pytest.fixture(scope="session")
def adapter_and_merged(shared_maker: Maker) -> tuple[ModelRef, ModelRef]:
    model, tokenizer = shared_maker.load()
    wrapped = shared_maker.with_adapter(model)
    adapter = shared_maker.save("adapter", wrapped)
    return adapter, shared_maker.save("merged", wrapped.merge_and_unload(), tokenizer)


@pytest.fixture
def demo_copy(maker: Maker) -> Callable[[str], Path]:
    """A writable copy of the demo's base."""
    return maker.copy
