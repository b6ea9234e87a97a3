"""What does not matter to a base model's ability and yet moves its scores: the changes that are tried."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from checks import OpenTask
from gate.models import inspect_model
from gate.records import Evaluation, ModelRef, Policy
from gate.scoring import Way
from gate.scoring.noise import copy_with_noise
from gate.scoring.settings import Settings
from gate.sealed import disk_errors

SHARE, SEED = 0.02, 1  # of a weight matrix' root mean square, and of the noise that is added to it
OTHER_DTYPE: Mapping[str, Literal["float32", "bfloat16"]] = {
    "float32": "bfloat16", "bfloat16": "float32", "float16": "float32",
}  # fmt: skip
OTHER_EXAMPLES = 4321  # the seed of the other few-shot examples; lm-eval's own is 1234

BATCH, ORDER, DTYPE, EXAMPLES, WEIGHTS = (
    "other batch size", "other order", "other dtype", "other examples", "2 % weight noise",
)  # fmt: skip


def as_it_is(way: Way) -> Way:
    """The size of every check."""
    return way


def other_size(way: Way) -> Way:
    """Half the size; where it is the smallest, batches of 2."""
    return way.smaller() or replace(way, batch=2)


@dataclass(frozen=True)
class Setting:
    """How the base is scored once: with what settings, in which blocks, which tasks, and as which model."""

    evaluation: Evaluation
    salt: bytes
    tasks: tuple[OpenTask, ...]
    model: Callable[[], AbstractContextManager[ModelRef]]
    sized: Callable[[Way], Way] = as_it_is  # the size in which the scorer is asked


@dataclass(frozen=True)
class Change:
    """One change, its name, and what it is in this case."""

    name: str
    what: str
    setting: Setting


def plain_setting(base: ModelRef, policy: Policy, salt: bytes, tasks: Sequence[OpenTask]) -> Setting:
    """How the base is scored in every check."""
    return Setting(policy.evaluation, salt, tuple(tasks), lambda: nullcontext(base))


def changes_of(
    plain: Setting, base: ModelRef, policy: Policy, settings: Settings, way: Way, folder: Path
) -> Iterator[Change]:
    """Each change on its own; `settings` and `way` are the plain ones. `folder` takes a copy of the base."""
    dtype, device = settings.dtype, settings.device
    yield Change(BATCH, f"{other_size(way).sizes}, not {way.sizes}", replace(plain, sized=other_size))
    salt = hashlib.sha256(b"calibrate" + plain.salt).digest()
    yield Change(ORDER, "documents share other blocks", replace(plain, salt=salt))
    wide = OTHER_DTYPE.get(dtype)
    if wide == "float32" or (wide and device.startswith("cuda")):  # a CPU is many times slower in bfloat16
        yield Change(
            DTYPE, f"{wide}, not {dtype}", replace(plain, evaluation=replace(plain.evaluation, dtype=wide))
        )
    reseeded = (task.with_examples(OTHER_EXAMPLES) for task in plain.tasks)
    if tasks := tuple(task for task in reseeded if task is not None):
        yield Change(
            EXAMPLES, f"drawn by seed {OTHER_EXAMPLES}, {len(tasks)} tasks", replace(plain, tasks=tasks)
        )
    noisy = replace(plain, model=lambda: noisy_copy(base, policy, folder))
    yield Change(WEIGHTS, f"{100 * SHARE:g} % of each matrix' root mean square", noisy)


@contextmanager
def noisy_copy(base: ModelRef, policy: Policy, folder: Path) -> Iterator[ModelRef]:
    """The base with noise on its weights, on this disk for as long as it is needed."""
    with disk_errors(f"write a copy of the model to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        place = TemporaryDirectory(prefix="noise-", dir=folder)
    with place as name:
        with disk_errors(f"write a copy of the model to {folder}"):
            copy_with_noise(Path(base.path), Path(name), SHARE, SEED)
        yield inspect_model(Path(name), f"{base.name} with noise", remote_code=policy.trust.remote_code)
