"""Base model, tuned model and training data: found, fetched and proven before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gate.environment import find_device, installed_versions
from gate.errors import ConfigErrors, DataError, ModelError, Problem, UsageError
from gate.fetch import fetch_dataset, fetch_model
from gate.keys import recipe_digest, rows_digest
from gate.models import (
    base_in_doubt,
    check_adapter_fits,
    check_same_family,
    digest_weights,
    inspect_model,
)
from gate.records import Dataset, ModelRef, Plan, TrainingConfig
from gate.scoring import prove_finite, prove_weights
from gate.store import Store, dataset_digest, training_key

# Settings that name a place for output, or what has a digest of its own.
NOT_INPUTS = ("output_dir", "logging_dir", "model_name_or_path", "dataset_name")


def find_base(
    given: str | None,
    config: TrainingConfig | None,
    environ: Mapping[str, str],
    *,
    remote_code: bool,
    folder: Path | None = None,
) -> ModelRef:
    """The base model on this disk, at a pinned revision: `given`, else what the config names.

    `folder` holds the model of that name where it must not be looked for. It is whole and finite: a
    training from anything else would be for nothing. Raises `ConfigErrors` at the config's line, or at
    `--base`, and `InfrastructureError`.
    """
    name = given or (config.base_model if config else "")
    asked = config.base_revision if config and not given else None
    try:
        path, revision = (folder, None) if folder else fetch_model(name, asked, environ=environ)
        base = inspect_model(path, name, remote_code=remote_code, revision=revision)
        if base.kind == "adapter":
            raise ModelError(f"{name} is an adapter, not a base model", hint="name the model under it")
        prove_finite(path)
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
            found.append(_fetched(data, environ))
        except UsageError as error:
            problems.append(_placed(error, config, "dataset_name", "datasets"))
    if problems:
        raise ConfigErrors(problems)
    return replace(config, datasets=tuple(found))


def _fetched(data: Dataset, environ: Mapping[str, str]) -> Dataset:
    path, revision = fetch_dataset(data.name, data.revision, environ=environ)
    return replace(data, name=str(path), revision=revision, hub=data.name if revision else "")


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
    """Raise `ModelError` unless `tuned` fits `base`, is finite, and differs from it."""
    if tuned.kind == "adapter":
        check_adapter_fits(Path(tuned.path), Path(base.path), base.name, base.revision)
    else:
        check_same_family(Path(base.path), Path(tuned.path))
    prove_weights(Path(base.path), Path(tuned.path))


def doubts(base: ModelRef, tuned: ModelRef | None) -> tuple[str, ...]:
    """What the report must say about a model given with `--tuned`: that its base is known by shape alone."""
    if tuned is None or tuned.kind != "adapter":
        return ()
    doubt = base_in_doubt(Path(tuned.path), Path(base.path), base.name)
    return (doubt,) if doubt else ()


def key_of_training(
    config: TrainingConfig, base: ModelRef, env_names: Sequence[str], environ: Mapping[str, str]
) -> str:
    """The store's key of a training: its config, base, data, the files it names, versions and device."""
    digests = {data.name: dataset_digest(Path(data.name)) for data in config.datasets}
    for name, value in config.settings.items():
        if isinstance(value, str) and value and name not in NOT_INPUTS and os.path.exists(value):
            digests[f"{name}: {value}"] = dataset_digest(Path(value))
    wide = replace(config, environment=tuple(sorted({*config.environment, *env_names})))
    return training_key(wide, base, digests, installed_versions(), training_device(config), environ)


def order_of(plan: Plan, tuned: ModelRef, store: Store) -> str:
    """`order_inputs`, or those with which these very weights were judged before: whatever a config says, what
    it trained is not drawn anew. "" where nothing is drawn."""
    inputs = order_inputs(plan, tuned)
    return store.first_order(plan.base.digest, digest_weights(Path(tuned.path)), inputs) if inputs else ""


def order_inputs(plan: Plan, tuned: ModelRef) -> str:
    """The digest of what is judged, by which its documents are drawn in one order: the base, and the
    training config as a recipe with the rows of its data; without a config, the tuned model's weights. ""
    where none are drawn.

    Neither the policy nor where files lie is part of it, nor what cannot change the weights, and a config
    that is trained again keeps its order. The tasks are part of each block's name.
    """
    if plan.policy.decide != "score":
        return ""
    if plan.config is None:
        return recipe_digest(None, plan.base, {"tuned": digest_weights(Path(tuned.path))})
    data = {str(number): _data_named(each) for number, each in enumerate(plan.config.datasets)}
    return recipe_digest(plan.config, plan.base, data)


def _data_named(data: Dataset) -> str:
    """The digest of the rows of data on this disk; of the hub's, and of what is not here with `--tuned`, the
    name."""
    named = f"{data.hub or data.name} {data.revision}"
    if data.revision or not os.path.exists(data.name):
        return named
    try:
        return dataset_digest(Path(data.name), rows_digest)
    except DataError:  # an empty folder: nothing is trained from it, or that was refused before
        return named


def training_device(config: TrainingConfig) -> str:
    """The kind and name of the device that a training runs on: weights differ between devices."""
    return str(find_device("cpu" if config.settings.get("use_cpu") else "auto"))
