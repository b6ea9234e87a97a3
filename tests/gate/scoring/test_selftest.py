"""The tree scorer over many architectures: exact or refused with a reason, and mistakes are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from tiny_models import CONFIGS, one_by_one, texts, tiny

from gate.scoring.engine import TreeEngine
from gate.scoring.forward import Caller
from gate.scoring.selftest import choose, reason_against

REFUSED = {
    "llama, dynamic rope": "rotary positions depend on the text's length (dynamic)",
    "phi 3, longrope": "rotary positions depend on the text's length (longrope)",
    "falcon, alibi": "ALiBi",
    "bloom": "takes no positions",
    "mamba": "takes no positions",
    "qwen3 next": "linear attention",
    "gpt-neo": "are off by",  # local attention that no configuration key tells
}


DENSE = {"falcon", "gemma 2", "gpt-oss"}  # their attention is their own, caps scores, or has sinks


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - set(REFUSED)))
def test_a_sound_architecture_gives_its_own_numbers(name: str) -> None:
    """Believed by the self-test, and exact on texts that the self-test never saw, to is_greedy."""
    model = tiny(name)
    engine, why = choose(model, 2048)
    assert engine is not None, why
    assert (engine.attention, why) == ("dense" if name in DENSE else "blocks", "")
    readings = texts(5, seed=3)
    found, own = engine.loglikelihoods([readings])[0], one_by_one(model, readings)
    assert [score for score, _ in found] == pytest.approx([score for score, _ in own], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in own]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_unsound_architecture_is_refused_with_a_reason(name: str) -> None:
    """Never wrong: no engine, and one line that says why."""
    engine, why = choose(tiny(name), 2048)
    assert engine is None
    assert REFUSED[name] in why
    assert "\n" not in why


def test_prefix_tuning_is_refused_and_lora_is_exact() -> None:
    """An adapter that puts tokens before the text cannot be scored in a tree; one in the weights can."""
    prefixed = get_peft_model(tiny("llama"), PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    engine, why = choose(prefixed, 2048)
    assert engine is None
    assert "before the text" in why
    plain = one_by_one(tiny("llama"), texts(3))
    model = get_peft_model(tiny("llama"), LoraConfig(task_type="CAUSAL_LM", r=2, init_lora_weights=False))
    engine, why = choose(model, 2048)
    assert engine is not None, why
    found = [score for score, _ in engine.loglikelihoods([texts(3)])[0]]
    assert found == pytest.approx([score for score, _ in one_by_one(model.eval(), texts(3))], abs=1e-4)
    assert np.abs(np.array(found) - [score for score, _ in plain]).min() > 1e-3


class PositionsByOrder(Caller):
    """Takes a token's place in the pack for its position in the text."""

    def hidden(self, tokens: torch.Tensor, depth: torch.Tensor, masks: dict[str, Any]) -> torch.Tensor:
        return super().hidden(tokens, torch.arange(len(depth)), masks)


class NoWindow(Caller):
    """Forgets the sliding window."""

    def __init__(self, model: Any, wiring: Any) -> None:
        super().__init__(model, replace(wiring, windows=dict.fromkeys(wiring.windows)))


class NoCap(Caller):
    """Forgets the soft-cap, or the scale, of the logits."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model.get_output_embeddings()(hidden)
        return found


class OffByOne(TreeEngine):
    """Lets a subtree end one token late."""

    def _dense(self, parts: dict[str, torch.Tensor]) -> dict[str, Any]:
        return super()._dense({**parts, "subtree_end": parts["subtree_end"] + 1})


class BlocksOffByOne(TreeEngine):
    """The same where attention is by blocks."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, attention="blocks")

    def _blocks(self, parts: dict[str, torch.Tensor]) -> dict[str, Any]:
        return super()._blocks({**parts, "subtree_end": parts["subtree_end"] + 1})


def wide_blocks(model: Any) -> TreeEngine:
    """The window one token too wide, and attention by blocks."""
    return TreeEngine(model, attention="blocks", caller=WindowOffByOne)


class WindowOffByOne(Caller):
    """Takes the window one token too wide."""

    def __init__(self, model: Any, wiring: Any) -> None:
        wider = {kind: width and width + 1 for kind, width in wiring.windows.items()}
        super().__init__(model, replace(wiring, windows=wider))


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("llama", OffByOne),
        ("gpt-2", OffByOne),
        ("llama", BlocksOffByOne),
        ("gemma 3", BlocksOffByOne),
        ("mistral, window", wide_blocks),
        ("llama", lambda model: TreeEngine(model, caller=PositionsByOrder)),
        ("gpt-2", lambda model: TreeEngine(model, caller=PositionsByOrder)),
        ("mistral, window", lambda model: TreeEngine(model, caller=NoWindow)),
        ("mistral, window", lambda model: TreeEngine(model, caller=WindowOffByOne)),
        ("gemma 3", lambda model: TreeEngine(model, caller=NoWindow)),
        ("gemma 2", lambda model: TreeEngine(model, caller=NoCap)),
        ("granite", lambda model: TreeEngine(model, caller=NoCap)),
    ],
)
@pytest.mark.parametrize("weights", ["spread", "as initialised", "bfloat16"])
def test_a_planted_fault_is_found(name: str, build: Callable[[Any], TreeEngine], weights: str) -> None:
    """However flat the model's own scores are, and however coarse its dtype."""
    model = tiny(name)
    if weights == "as initialised":
        model = type(model)(CONFIGS[name]()).eval()
    elif weights == "bfloat16":
        model = model.to(torch.bfloat16)
    assert reason_against(model, TreeEngine) == ""
    assert "off by" in reason_against(model, build)


def test_a_fault_of_the_device_alone_is_found() -> None:
    """The twin is sound; what only happens around the model itself shows in its own scores."""
    model = tiny("llama").to(torch.bfloat16)

    def build(each: Any) -> TreeEngine:
        return TreeEngine(each, caller=PositionsByOrder if each is model else Caller)

    assert "its scores through the tree are off by" in reason_against(model, build)


def test_the_self_test_leaves_no_trace() -> None:
    """Neither random numbers nor the model change."""
    model = tiny("gemma 3")
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.random.get_rng_state()
    assert choose(model, 2048)[0] is not None
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.config.sliding_window == 8
