"""Time and money of a training and of its measurement on a named device: rough, with what is assumed said.

A model of P parameters takes 2P operations a token to read a text. To train takes 6P a token in full (2P
forward, 2P for the gradients of activations, 2P for those of weights); 4P where the base is frozen, as the
adapter's own are few; and 2P more where gradient checkpointing computes activations again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gate.devices import SCORING, TRAINING, Device
from gate.records import TrainingConfig

CHARACTERS_PER_TOKEN = 4.0
MAX_LENGTH = 1024  # TRL's default, in tokens
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([MB])(?![A-Za-z0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rows:
    """Training data as it lies on disk: how many rows, and their text with its markup, in characters."""

    number: int
    characters: float


@dataclass(frozen=True, slots=True)
class Work:
    """What a check has to compute, in tokens, as far as that is known; `unknown` says what is not."""

    parameters: int | None = None
    parameters_from: str = ""  # its files, or its name
    training_tokens: float | None = None
    operations_a_parameter: int = 6  # and token, of the training
    measuring_tokens: float | None = None  # of one model
    processes: int = 1
    unknown: tuple[str, ...] = ()
    trainings: int = 1  # of the config, each with another seed; the base is measured once


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds, device-hours and money on one device; None for what is not known.

    `again_seconds` is the measurement where the store has the base's answers already.
    """

    device: str
    training_seconds: float | None
    measuring_seconds: float | None
    again_seconds: float | None
    device_hours: float | None
    money: float | None


def cost_on(device: Device, work: Work, price: float | None) -> Cost:
    """What `work` costs on `device`, at `price` an hour."""
    training = measuring = again = hours = None
    if work.parameters and work.training_tokens is not None:
        flops = work.operations_a_parameter * work.parameters * work.training_tokens
        training = work.trainings * device.seconds(flops, TRAINING) / work.processes
    if work.parameters and work.measuring_tokens is not None:
        one = device.seconds(2 * work.parameters * work.measuring_tokens, SCORING)
        measuring, again = (1 + work.trainings) * one, work.trainings * one
    if training is not None and measuring is not None:
        hours = (training * work.processes + measuring) / 3600
    money = None if price is None or hours is None else price * hours
    return Cost(device.name, training, measuring, again, hours, money)


def operations_of(config: TrainingConfig) -> int:
    """Floating-point operations that a training takes for each parameter and token."""
    checkpoints = config.settings.get("gradient_checkpointing", True)  # TRL's default
    return (6 if config.method == "full" else 4) + (2 if checkpoints else 0)


def training_tokens(config: TrainingConfig, rows: Rows | None) -> float | None:
    """Tokens that a training reads, its padding left out; None where its data are not known."""
    if rows is None or not rows.number:
        return None
    longest: Any = config.settings.get("max_length", MAX_LENGTH)
    a_row = rows.characters / rows.number / CHARACTERS_PER_TOKEN
    if isinstance(longest, int) and longest > 0:
        a_row = min(a_row, float(longest))
    if config.max_steps:
        at_once = (config.batch_size or 1) * (config.gradient_accumulation or 1) * config.processes
        return a_row * config.max_steps * at_once
    return a_row * rows.number * (config.epochs or 1.0)


def parameters_by_name(name: str) -> int | None:
    """How many parameters a model's name says that it has: `Llama-3.1-8B`, `SmolLM2-135M-Instruct`.

    None where it says none, or several numbers, as names of mixtures (`8x7B`, `30B-A3B`) do.
    """
    found = _SIZE.findall(name.rpartition("/")[2].replace("_", "-"))
    if len(found) != 1 or re.search(r"\d[xX]\d|-[aA]\d", name):
        return None
    return round(float(found[0][0]) * {"m": 1e6, "b": 1e9}[found[0][1].lower()])
