"""Training configs -> `TrainingConfig`. Another trainer is another module in `READERS`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from gate.configs import trl
from gate.errors import ConfigErrors, Problem
from gate.records import TrainingConfig
from gate.yamlfile import YamlFile, load_yaml, shown

# What a text in double quotes may spell a letter with, or leave out.
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|\r?\n[ \t]*)")


class Reader(Protocol):
    """What a module here offers: the trainer's name, is it mine, and read it.

    One of `MARKS`, keys at the top of the file, stands in every config that is its own.
    """

    NAME: str
    MARKS: tuple[str, ...]

    def matches(self, file: YamlFile) -> bool:
        """Whether the file, a mapping, is a config of this trainer."""

    def read(self, file: YamlFile, base: str | None, trains: bool) -> TrainingConfig:
        """The config in the common vocabulary; raises `ConfigErrors`."""


READERS: tuple[Reader, ...] = (trl,)

# Trainers that are known by keys of their own, but not read by this version.
FOREIGN: Mapping[str, tuple[str, ...]] = {
    "Axolotl": ("base_model", "micro_batch_size", "base_model_config"),
    "LLaMA-Factory": ("finetuning_type", "dataset_dir", "cutoff_len", "quant_config", "peft_config"),
    "torchtune": ("checkpointer", "recipe", "metric_logger"),
    "Unsloth": ("training",),
}


def load_config(path: Path, *, base: str | None = None, trains: bool = True) -> TrainingConfig:
    """Read a training config as the team has it; `base` replaces the base model that it names.

    Where nothing is trained (`--tuned`), its training data may be elsewhere. Read as trainers do,
    YAML 1.1: `no` is false. Raises `ConfigErrors` with every problem.
    """
    file = load_yaml(path, version="1.1")
    if not isinstance(file.data, dict):
        raise ConfigErrors([file.problem((), f"expected a training config, got {shown(file.data)}")])
    reader = find_reader(file)
    if reader is None:
        raise ConfigErrors([_unread(file)])
    return reader.read(file, base, trains)


def find_reader(file: YamlFile) -> Reader | None:
    """The reader of a file, None where it is no training config of a trainer in `READERS`."""
    if not isinstance(file.data, dict) or _foreign(file) is not None:
        return None
    return next((reader for reader in READERS if reader.matches(file)), None)


def may_be_config(content: bytes) -> bool:
    """Whether a YAML file can be a config at all: quick, and never wrong about one that is.

    A key that is spelled with escapes has a backslash.
    """
    return b"\\" in content or any(mark.encode() in content for reader in READERS for mark in reader.MARKS)


def looks_like_config(content: bytes) -> bool:
    """Whether a file that is no YAML of ours, but perhaps a trainer's, has a key that marks a config,
    however it is written: in braces, with an anchor, with escapes."""
    marks = "|".join(re.escape(mark) for reader in READERS for mark in reader.MARKS)
    text = _ESCAPE.sub(_unescaped, content.decode("utf-8", "replace"))
    return re.search(rf"(?<![\w.-])(?:{marks})[\"']?\s*:", text) is not None


def _unescaped(found: re.Match[str]) -> str:
    digits = found[1] or found[2] or found[3]
    return chr(min(int(digits, 16), sys.maxunicode)) if digits else ""


def _foreign(file: YamlFile) -> tuple[str, str] | None:
    """(trainer, key that gives it away)."""
    found = ((trainer, key) for trainer, keys in FOREIGN.items() for key in keys if key in file.data)
    return next(found, None)


def _unread(file: YamlFile) -> Problem:
    hint = f"supported: {', '.join(reader.NAME for reader in READERS)}"
    foreign = _foreign(file)
    if foreign is None:
        hint += ", known by `model_name_or_path`"
        return file.problem((), "is no training config that this version knows", hint)
    trainer, key = foreign
    return file.problem((key,), f"is a config of {trainer}, which is not supported by this version", hint)
