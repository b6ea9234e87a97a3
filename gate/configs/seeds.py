"""The same recipe with another seed: a config's own keys, overridden as the trainer's command line does."""

from __future__ import annotations

from dataclasses import replace

from gate.records import Override, TrainingConfig

DEFAULT_SEED = 42  # transformers' own


def seed_of(config: TrainingConfig) -> int:
    """The seed that the config trains with."""
    seed = config.settings.get("seed", DEFAULT_SEED)
    return seed if isinstance(seed, int) else DEFAULT_SEED


def with_seed(config: TrainingConfig, number: int, of: int) -> TrainingConfig:
    """The `number`-th (from 0) of a recipe's trainings: the config's own seed, and those after it.

    Initialisation and the order of the data follow: `seed` decides both unless `data_seed` is set, which then
    moves on as well. The first is the config as it is.
    """
    if not number:
        return config
    reason = f"training {number + 1} of {of} of this recipe"
    changes = [Override("seed", seed_of(config), seed_of(config) + number, reason)]
    data_seed = config.settings.get("data_seed")
    if isinstance(data_seed, int):
        changes.append(Override("data_seed", data_seed, data_seed + number, reason))
    return replace(config, overrides=(*config.overrides, *changes))
