"""The trainer that a child runs: TRL's `SFTTrainer`, watched. Imports torch and TRL.

It adds one callback and looks at the loss of every step; it changes no number. A non-finite loss ends the
training before the optimizer sees it. At the time limit it saves a checkpoint and stops. Each checkpoint is
marked complete once all processes have written their part.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.trainer.sft_trainer import SFTTrainer

from gate.training.checkpoints import mark_complete
from gate.training.job import Event, Finished, Job, Started, Step, Stopped


class LossNotFinite(ArithmeticError):
    """The loss of a step, or a trained weight, is NaN or infinite."""


class TimeIsUp(Exception):
    """The time limit came before the last step."""


class Watch(TrainerCallback):
    """Sees every optimizer step. `tell` passes an event to the parent; rank 0 alone tells progress.

    `began` is the `time.monotonic()` of the process's start, imports included.
    """

    def __init__(self, job: Job, tell: Callable[[Event], None], began: float) -> None:
        self.job, self.tell = job, tell
        self.trainer: WatchedTrainer | None = None
        self.report: Finished | None = None
        self.began = began
        self.stage = "loading"
        self.stopped = False
        self._loss: torch.Tensor | None = None
        self._last = math.nan
        self._train_began = 0.0
        self._tokens: tuple[float, float] | None = None  # tokens, seconds since training began

    def add(self, loss: torch.Tensor) -> None:
        """Add one micro-batch's share of its step's loss."""
        self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()

    def seconds(self) -> float:
        """Seconds spent on this training, resumed steps included."""
        return self.job.seconds_before + time.monotonic() - self.began

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Training starts now: speed is measured from here."""
        assert self.trainer is not None
        self.stage, self._train_began = "training", time.monotonic()
        if state.is_world_process_zero:
            self.tell(started(self.trainer))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse to step on a loss that is not finite. Raises LossNotFinite."""
        assert self.trainer is not None
        assert self._loss is not None
        late = self.job.deadline is not None and time.time() > self.job.deadline
        # One reduction for both, so that all processes agree and none waits for another that has stopped.
        seen = torch.stack([self._loss.float(), torch.tensor(float(late), device=self._loss.device)])
        loss, late_somewhere = self.trainer.accelerator.reduce(seen, reduction="mean").tolist()
        self._loss, self._last, self.stopped = None, loss, late_somewhere > 0
        if not math.isfinite(loss):
            raise LossNotFinite(f"the loss of step {state.global_step + 1} of {state.max_steps} is {loss}")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell the step; at the time limit ask for a checkpoint that can be resumed, and for the end."""
        if state.is_world_process_zero:
            self.tell(Step(state.global_step, state.max_steps, self._last))
        self.stopped = self.stopped and state.global_step < state.max_steps
        if self.stopped:
            args.save_only_model = False
            control.should_save = control.should_training_stop = True

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remember how many tokens had been seen, and when."""
        tokens = kwargs.get("logs", {}).get("num_tokens")
        if tokens is not None:
            self._tokens = (float(tokens), time.monotonic() - self._train_began)

    def finished(self, state: TrainerState) -> Finished:
        """What the training took; every process must call it. Memory: resident over all, GPU the largest."""
        assert self.trainer is not None
        accelerator, cuda = self.trainer.accelerator, torch.cuda.is_available()
        memory = [_resident_bytes(), torch.cuda.max_memory_allocated() if cuda else 0]
        everyone = accelerator.gather(torch.tensor([memory], device=accelerator.device))
        tokens, seconds = self._tokens or (0.0, 0.0)
        return Finished(
            steps=state.global_step,
            max_steps=state.max_steps,
            peak_resident_bytes=int(everyone[:, 0].sum()),
            peak_gpu_bytes=int(everyone[:, 1].max()) if cuda else None,
            tokens_per_second=tokens / seconds if tokens and seconds else None,
        )


class WatchedTrainer(SFTTrainer):
    """`SFTTrainer` with a `Watch` on it."""

    def __init__(self, *args: Any, watch: Watch, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.watch = watch
        watch.trainer = self
        self.add_callback(watch)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, then prove that all steps were taken and that the weights are finite."""
        output = super().train(*args, **kwargs)
        if self.watch.stopped:
            if self.state.is_world_process_zero:
                self.watch.tell(Stopped(self.state.global_step, self.state.max_steps))
            raise TimeIsUp(f"stopped after step {self.state.global_step} of {self.state.max_steps}")
        model: Any = self.model
        for name, weight in model.named_parameters():
            if weight.requires_grad and not torch.isfinite(weight).all():
                raise LossNotFinite(f"after the last step the weight {name} is not finite")
        self.watch.report, self.watch.stage = self.watch.finished(self.state), "saving"
        return output

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One micro-batch, its loss noted."""
        trainer: Any = super()
        loss: torch.Tensor = trainer.training_step(*args, **kwargs)
        self.watch.add(loss)
        return loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        trainer: Any = super()
        trainer._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # the others' random states belong to a whole checkpoint
        if self.args.should_save and not self.args.save_only_model:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            mark_complete(
                folder,
                fingerprint=self.watch.job.fingerprint,
                step=self.state.global_step,
                max_steps=self.state.max_steps,
                seconds=self.watch.seconds(),
            )


def started(trainer: SFTTrainer) -> Started:
    """What is about to run, from the trainer itself."""
    trainable, total = parameters(trainer.model)
    args = trainer.args
    data: Any = trainer.train_dataset
    return Started(
        step=trainer.state.global_step,
        max_steps=trainer.state.max_steps,
        rows=len(data) if hasattr(data, "__len__") else None,
        batch_size=trainer._train_batch_size,
        accumulation=args.gradient_accumulation_steps,
        processes=args.world_size,
        epochs=float(args.num_train_epochs),
        drop_last=args.dataloader_drop_last,
        trainable_parameters=trainable,
        total_parameters=total,
    )


def parameters(model: Any) -> tuple[int, int]:
    """Trainable and all parameters; a 4-bit weight counts what it stands for and not its bytes."""
    trainable = total = 0
    for weight in model.parameters():
        state = getattr(weight, "quant_state", None)
        count = math.prod(state.shape) if state is not None else weight.numel()
        total += count
        trainable += count if weight.requires_grad else 0
    return trainable, total


def _resident_bytes() -> int:
    """The largest resident memory of this process so far (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
