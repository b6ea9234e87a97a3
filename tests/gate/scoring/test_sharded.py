"""A model over several devices: chosen by its size, and scored as the same model on one device is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from gate.records import ModelRef
from gate.scoring.engine import TreeEngine
from gate.scoring.selftest import choose, forest
from gate.scoring.settings import devices_needed, weight_bytes

GIB = 1 << 30


@pytest.mark.parametrize(
    ("weights", "memories", "needed"),
    [
        (16, [80, 80], 1),
        (60, [80, 80], 1),
        (70, [80, 80], 2),  # with too little room left to compute
        (140, [80, 80, 80, 80], 4),
        (140, [], 1),
    ],
)
def test_a_model_is_spread_by_its_size(weights: int, memories: list[int], needed: int) -> None:
    """Over all devices where its weights leave the first one no room, else on that one."""
    assert devices_needed(weights * GIB, [memory * GIB for memory in memories]) == needed


def test_weights_are_counted_as_they_are_measured(base: ModelRef) -> None:
    """From the files' headers, in the dtype and quantisation that the run has."""
    half = weight_bytes(base, "bfloat16", "none")
    assert weight_bytes(base, "float32", "none") == 2 * half
    assert weight_bytes(base, "bfloat16", "nf4") < half / 3
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.bfloat16)
    assert half == pytest.approx(2 * sum(weight.numel() for weight in model.parameters()), rel=0.01)


def test_layers_that_lie_elsewhere_score_alike(base: ModelRef, tmp_path: Path) -> None:
    """Some layers on the CPU, others fetched by accelerate's hooks: the bits of the model in one place."""
    whole = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    names = [f"model.layers.{number}" for number in range(whole.config.num_hidden_layers)]
    places: dict[str, str | int] = dict.fromkeys(("model.embed_tokens", "model.norm", "lm_head"), "cpu")
    places |= {"model.rotary_emb": "cpu", **{name: ("cpu", "disk")[at % 2] for at, name in enumerate(names)}}
    parts = AutoModelForCausalLM.from_pretrained(
        base.path, dtype=torch.float32, device_map=places, offload_folder=str(tmp_path)
    )
    assert {"cpu", "disk"} == set(parts.hf_device_map.values())
    readings = forest(1000, 200)
    engine, reason = choose(parts, 1024)
    assert engine is not None, reason
    assert engine.loglikelihoods([readings]) == TreeEngine(whole, engine.shape).loglikelihoods([readings])
