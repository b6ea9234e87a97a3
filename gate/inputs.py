"""Base model, tuned model and training data: found, fetched and proven before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gate.errors import ConfigErrors, DataError, ModelError, Problem, UsageError
from gate.fetch import fetch_dataset, fetch_model
from gate.models import check_adapter_fits, check_same_family, inspect_model
from gate.records import Dataset, ModelRef, TrainingConfig
from gate.scoring import prove_finite, prove_weights


def find_base(
    given: str | None, config: TrainingConfig | None, environ: Mapping[str, str], *, remote_code: bool
) -> ModelRef:
    """The base model on this disk, at a pinned revision: `given`, else what the config names.

    Raises `ConfigErrors` at the config's line, or at `--base`, and `InfrastructureError`.
    """
    name = given or (config.base_model if config else "")
    asked = config.base_revision if config and not given else None
    try:
        path, revision = fetch_model(name, asked, environ=environ)
        base = inspect_model(path, name, remote_code=remote_code, revision=revision)
        if base.kind == "adapter":
            raise ModelError(f"{name} is an adapter, not a base model", hint="name the model under it")
    except UsageError as error:
        asking = None if given else config
        raise ConfigErrors([_placed(error, asking, "model_name_or_path", "--base")]) from error
    return base


def find_data(config: TrainingConfig, environ: Mapping[str, str]) -> TrainingConfig:
    """The config with its data on this disk, hub data at a pinned revision: the child has no network.

    Raises `ConfigErrors` with every dataset that cannot be had, and `InfrastructureError`.
    """
    found: list[Dataset] = []
    problems: list[Problem] = []
    for data in config.datasets:
        try:
            found.append(_fetched(data, config, environ))
        except UsageError as error:
            problems.append(_placed(error, config, "dataset_name", "datasets"))
    if problems:
        raise ConfigErrors(problems)
    return replace(config, datasets=tuple(found))


def _fetched(data: Dataset, config: TrainingConfig, environ: Mapping[str, str]) -> Dataset:
    path, revision = fetch_dataset(data.name, data.revision, environ=environ)
    if revision and "dataset_name" not in config.settings:
        raise DataError(
            f"{data.name} is hub data in a list, which cannot be pinned for an offline training",
            hint="name it with `dataset_name`, or list a local copy",
        )
    return replace(data, name=str(path), revision=revision)


def _placed(error: UsageError, config: TrainingConfig | None, *keys: str) -> Problem:
    """The error at the first of `keys` that the config has; without a config, at the last as an option."""
    if config is None:
        return Problem(keys[-1], error.message, hint=error.hint)
    key = next((key for key in keys if key in config.lines), keys[0])
    return Problem(config.path, error.message, config.lines.get(key), key, error.hint)


def find_tuned(folder: Path, base: ModelRef, *, remote_code: bool) -> ModelRef:
    """The model given with `--tuned`, proven to be a whole and finite fine-tune of `base`."""
    tuned = inspect_model(folder, str(folder), remote_code=remote_code)
    prove(base, tuned)
    return tuned


def prove(base: ModelRef, tuned: ModelRef) -> None:
    """Raise `ModelError` unless `tuned` fits `base`, both are finite, and they differ."""
    if tuned.kind == "adapter":
        check_adapter_fits(Path(tuned.path), Path(base.path), base.name)
    else:
        check_same_family(Path(base.path), Path(tuned.path))
    prove_finite(Path(base.path))
    prove_weights(Path(base.path), Path(tuned.path))
