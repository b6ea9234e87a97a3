"""Whether a training did what its config asks; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gate.errors import NonFiniteLoss, TrainingError
from gate.records import TrainingConfig
from gate.training.job import Event, Finished, Started, Step


def expected_steps(
    *,
    max_steps: int | None,
    epochs: float,
    rows: int | None,
    batch_size: int,
    accumulation: int,
    processes: int = 1,
    drop_last: bool = False,
) -> int | None:
    """Optimizer steps that a config asks for, as the HF trainer counts them; None where it cannot be told.

    `max_steps` if it is positive. Else each epoch has ceil(batches / accumulation) steps, where a process
    gets ceil(ceil(rows / batch) / processes) batches (rounded down with `drop_last`), and the epochs,
    which may be a fraction, are rounded up to a whole step.
    """
    if max_steps is not None and max_steps > 0:
        return max_steps
    if rows is None:
        return None
    share = math.floor if drop_last else math.ceil
    batches = share(share(rows / batch_size) / processes)
    return math.ceil(epochs * max(math.ceil(batches / accumulation), 1))


def prove(events: Sequence[Event], config: TrainingConfig) -> tuple[Started, Step, Finished]:
    """Started, last step and end of a training that took every step asked for, each with a finite loss.

    Raises NonFiniteLoss, and TrainingError for steps that are missing or another recipe than the config's.
    """
    started = next((event for event in events if isinstance(event, Started)), None)
    finished = next((event for event in events if isinstance(event, Finished)), None)
    steps = [event for event in events if isinstance(event, Step)]
    if started is None or finished is None or not steps:
        raise TrainingError("the trainer ended without training")
    for step in steps:
        if not math.isfinite(step.loss):
            raise NonFiniteLoss(f"the loss of step {step.step} of {step.max_steps} is {step.loss}")
    if [step.step for step in steps] != list(range(started.step + 1, finished.max_steps + 1)):
        raise TrainingError(f"{finished.steps} optimizer steps were taken, but {finished.max_steps} planned")
    _same_recipe(started, config)
    asked = _asked(started, config)
    if asked is not None and not asked == finished.steps == finished.max_steps:
        raise TrainingError(f"{finished.steps} optimizer steps were taken, but the config asks for {asked}")
    return started, steps[-1], finished


def _same_recipe(started: Started, config: TrainingConfig) -> None:
    wanted = (
        ("per_device_train_batch_size", config.batch_size, started.batch_size),
        ("gradient_accumulation_steps", config.gradient_accumulation, started.accumulation),
        ("processes", config.processes, started.processes),
    )
    for key, asked, ran in wanted:
        if asked is not None and asked != ran:
            raise TrainingError(f"the trainer ran with {key} {ran}, but the config asks for {asked}")


def _asked(started: Started, config: TrainingConfig) -> int | None:
    if "accelerator_config" in config.settings:  # it may split or dispatch batches in other ways
        return None
    return expected_steps(
        max_steps=config.max_steps,
        epochs=started.epochs if config.epochs is None else config.epochs,
        rows=started.rows,
        batch_size=started.batch_size,
        accumulation=started.accumulation,
        processes=started.processes,
        drop_last=started.drop_last,
    )
