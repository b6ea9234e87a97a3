"""Steps, losses and recipe of a training against its config."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from gate.errors import NonFiniteLoss, TrainingError
from gate.records import TrainingConfig
from gate.training.job import Event, Finished, Started, Step
from gate.training.proof import expected_steps, prove

STARTED = Started(
    step=0,
    max_steps=3,
    rows=64,
    batch_size=4,
    accumulation=2,
    processes=1,
    epochs=3.0,
    drop_last=False,
    trainable_parameters=1,
    total_parameters=1,
)


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ({"max_steps": 7, "rows": None}, 7),
        ({"rows": None}, None),
        ({}, 24),  # 64 rows / 4 / 2 = 8 an epoch
        ({"rows": 65}, 27),  # 17 batches, 9 steps an epoch
        ({"rows": 65, "drop_last": True}, 24),
        ({"rows": 65, "processes": 2}, 15),  # 9 batches each, 5 steps
        ({"epochs": 0.3}, 3),  # 2.4 steps, rounded up
        ({"rows": 1}, 3),  # an epoch has a step at least
        ({"max_steps": -1}, 24),
    ],
)
def test_expected_steps(asked: dict[str, int], steps: int | None) -> None:
    """Steps as the HF trainer counts them: max_steps, or epochs of rounded-up batches."""
    known = {"max_steps": None, "epochs": 3.0, "rows": 64, "batch_size": 4, "accumulation": 2}
    assert expected_steps(**{**known, **asked}) == steps  # type: ignore[arg-type]


def events(*losses: float, max_steps: int = 3) -> list[Event]:
    """A training that ended after a step for each loss."""
    steps = [Step(n, max_steps, loss) for n, loss in enumerate(losses, 1)]
    return [STARTED, *steps, Finished(len(losses), max_steps, 1, None, None)]


def test_a_whole_training_is_proven(make_config: Callable[..., TrainingConfig]) -> None:
    """Every step asked for, each with a finite loss: the last one is the final loss."""
    _, last, finished = prove(events(3.0, 2.0, 1.0), make_config(max_steps=3))
    assert (last.loss, finished.steps) == (1.0, 3)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_one_loss_that_is_not_finite_is_enough(
    make_config: Callable[..., TrainingConfig], loss: float
) -> None:
    """A NaN in the middle is refused though the end looks fine."""
    with pytest.raises(NonFiniteLoss, match="step 2"):
        prove(events(3.0, loss, 1.0), make_config(max_steps=3))


def test_fewer_steps_than_asked_are_refused(make_config: Callable[..., TrainingConfig]) -> None:
    """Stopping early, skipping a step and planning fewer than the config asks are each refused."""
    with pytest.raises(TrainingError, match="2 optimizer steps were taken, but 3 planned"):
        prove(events(3.0, 2.0), make_config(max_steps=3))
    skipped = [event for event in events(3.0, 2.0, 1.0) if not (isinstance(event, Step) and event.step == 2)]
    with pytest.raises(TrainingError, match="planned"):
        prove(skipped, make_config(max_steps=3))
    with pytest.raises(TrainingError, match="the config asks for 4"):
        prove(events(3.0, 2.0, 1.0), make_config(max_steps=4))
    with pytest.raises(TrainingError, match="without training"):
        prove([], make_config(max_steps=3))


def test_another_recipe_is_refused(make_config: Callable[..., TrainingConfig]) -> None:
    """A batch that the trainer halved by itself is told, not passed over."""
    halved = [replace(STARTED, batch_size=2), *events(3.0, 2.0, 1.0)[1:]]
    with pytest.raises(TrainingError, match="per_device_train_batch_size 2, but the config asks for 4"):
        prove(halved, make_config(max_steps=3))
