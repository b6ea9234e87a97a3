"""Rough time and money: operations, tokens, names."""

from __future__ import annotations

from typing import Any

import pytest

from gate.devices import DEVICES, SCORING, TRAINING
from gate.foresight.costs import (
    Rows,
    Work,
    cost_on,
    operations_of,
    parameters_by_name,
    training_tokens,
)
from gate.records import Method, TrainingConfig

H100 = DEVICES["h100"]


def config(method: Method = "full", **changes: Any) -> TrainingConfig:
    fields: dict[str, Any] = {"settings": {}, "batch_size": 8, "gradient_accumulation": 2, "epochs": 3.0}
    fields |= changes
    return TrainingConfig("trl", method, "base", None, (), lines={}, **fields)


@pytest.mark.parametrize(
    ("method", "settings", "operations"),
    [("full", {}, 8), ("full", {"gradient_checkpointing": False}, 6),
     ("lora", {"gradient_checkpointing": False}, 4), ("qlora", {"gradient_checkpointing": True}, 6)],
)  # fmt: skip
def test_operations_a_token(method: Method, settings: dict[str, Any], operations: int) -> None:
    """6P in full, 4P with a frozen base, 2P more with gradient checkpointing, which TRL does by itself."""
    assert operations_of(config(method, settings=settings)) == operations


def test_tokens_of_a_training() -> None:
    """Rows times epochs, or steps times batch; a long row is cut."""
    rows = Rows(1000, 400_000.0)  # 100 tokens a row
    assert training_tokens(config(), rows) == 300_000
    assert training_tokens(config(max_steps=10, processes=2), rows) == 100 * 10 * 8 * 2 * 2
    assert training_tokens(config(settings={"max_length": 50}), rows) == 150_000
    assert training_tokens(config(settings={"max_length": None}), Rows(1, 1e6)) == 750_000
    assert training_tokens(config(), None) is None
    assert training_tokens(config(), Rows(0, 0.0)) is None


def test_cost_on_a_device() -> None:
    """Time is operations over the share of the peak that is reached; both models are measured."""
    work = Work(8_000_000_000, "its name", 1e9, 6, 1e8, processes=4)
    cost = cost_on(H100, work, 2.5)
    assert cost.training_seconds == pytest.approx(6 * 8e9 * 1e9 / (H100.peak * TRAINING) / 4)
    assert cost.measuring_seconds == pytest.approx(2 * 2 * 8e9 * 1e8 / (H100.peak * SCORING))
    assert cost.again_seconds == pytest.approx(cost.measuring_seconds / 2)
    hours = (4 * cost.training_seconds + cost.measuring_seconds) / 3600
    assert (cost.device_hours, cost.money) == (pytest.approx(hours), pytest.approx(2.5 * hours))
    assert cost_on(H100, work, None).money is None


def test_several_trainings_measure_the_base_once() -> None:
    """Three seeds: three trainings, four models measured, three where the base's answers are known."""
    one = cost_on(H100, Work(10**9, "its name", 1e9, 6, 1e8), None)
    three = cost_on(H100, Work(10**9, "its name", 1e9, 6, 1e8, trainings=3), None)
    assert three.training_seconds == pytest.approx(3 * (one.training_seconds or 0))
    assert three.measuring_seconds == pytest.approx(2 * (one.measuring_seconds or 0))
    assert three.again_seconds == pytest.approx(3 * (one.again_seconds or 0))


def test_what_is_not_known_has_no_number() -> None:
    """No parameters, no tokens: no time, no money."""
    cost = cost_on(H100, Work(None, "", 1e9, 6, 1e8), 2.5)
    assert (cost.training_seconds, cost.measuring_seconds, cost.device_hours, cost.money) == (None,) * 4
    assert cost_on(H100, Work(10**9, "", None, 6, 1e8), 2.5).money is None


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("meta-llama/Llama-3.1-8B", 8e9), ("HuggingFaceTB/SmolLM2-135M-Instruct", 135e6),
     ("Qwen/Qwen2.5-0.5B", 5e8), ("mistralai/Mixtral-8x7B-v0.1", None), ("Qwen/Qwen3-30B-A3B", None),
     ("org/model", None), ("org-7B/model", None), ("org/phi-2", None), ("org/a_1.5b_chat", 1.5e9)],
)  # fmt: skip
def test_parameters_by_name(name: str, parameters: float | None) -> None:
    """A size in the name is one; a mixture's two sizes are none."""
    assert parameters_by_name(name) == parameters
