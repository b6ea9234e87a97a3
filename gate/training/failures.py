"""The one border where the trainer's failures become ftgate's errors; pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gate.errors import (
    DataError,
    GateError,
    NonFiniteLoss,
    OutOfMemory,
    StoreError,
    TrainingError,
    UsageError,
)
from gate.training.job import Failed


@dataclass(frozen=True, slots=True)
class Known:
    """A foreign error by a class name, a pattern of its message and its stage ("" is any), and its meaning.

    `{0}` in `message` (and there alone) is the foreign error's own message.
    """

    name: str
    words: str
    stage: str
    kind: type[GateError]
    message: str
    hint: str = ""


MEMORY = r"out of memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED|DefaultCPUAllocator"
KNOWN = (
    Known("LossNotFinite", "", "", NonFiniteLoss, "{0}", "a lower learning_rate, or max_grad_norm: 1.0"),
    Known(
        "",
        "No space left on device|Disk quota exceeded|PytorchStreamWriter failed writing",
        "",
        StoreError,
        "the disk is full: {0}",
        "free some space; the next try resumes from the last complete checkpoint",
    ),
    Known(
        "",
        "Read-only file system|Permission denied",
        "saving",
        StoreError,
        "cannot write the model: {0}",
    ),
    Known(
        "",
        "OfflineModeIsEnabled|offline mode|LocalEntryNotFound|outgoing traffic has been disabled",
        "",
        DataError,
        "training asked for something that is not on this machine: {0}",
        "a local folder must exist; what the trainer fetches itself needs `trust: {env: [HF_HUB_OFFLINE]}`",
    ),
    Known("EmptyDatasetError", "", "", DataError, "{0}", "put JSON lines, CSV or Parquet there"),
    Known("StopIteration", "^$", "loading", DataError, "the training data have no rows"),
    Known("DatasetGenerationError", "", "", DataError, "the training data cannot be read: {0}"),
    Known("DataFilesNotFoundError", "", "", DataError, "{0}"),
    Known("FileNotFoundError", "", "loading", DataError, "{0}", "relative paths start in the current folder"),
    Known(
        "KeyError",
        "^'(train|test|validation)'$",
        "loading",
        DataError,
        "the training data have no split {0}",
        "name one that they have: dataset_train_split",
    ),
    Known(
        "KeyError",
        "^'(text|prompt|completion|messages)'$",
        "loading",
        DataError,
        "the training data lack the column {0}",
        "TRL's sft reads `text`, `prompt` and `completion`, or `messages`",
    ),
    Known(
        "ValueError",
        "doesn't support bf16",
        "",
        UsageError,
        "this machine cannot train the config as it stands: {0}",
        "on a CPU: `use_cpu: true` and `bf16: false`",
    ),
    Known(
        "ImportError",
        "bitsandbytes|flash_attn|FlashAttention|deepspeed|liger",
        "",
        UsageError,
        "the config needs a package that is not installed: {0}",
        "install it beside ftgate, then run `ftgate doctor`",
    ),
)


def memory_advice(batch: int, accumulation: int) -> str:
    """The batch and accumulation that need less memory and keep the recipe: the same rows in each step."""
    if batch > 1:
        factor = next(n for n in range(2, batch + 1) if batch % n == 0)
        return (
            f"`per_device_train_batch_size: {batch // factor}` with "
            f"`gradient_accumulation_steps: {accumulation * factor}` keeps the recipe "
            f"({batch * accumulation} rows a step, as now) and needs less memory"
        )
    return (
        "a batch of 1 cannot be halved. `gradient_checkpointing: true` computes the same and needs less; a "
        "shorter `max_length`, LoRA or 4 bits are other recipes, and yours to choose"
    )


def renamed(failures: Iterable[Failed], *, log: Path, batch: int, accumulation: int) -> GateError:
    """What a failed training means. The first failure counts: the other processes fail because of it."""
    first = next(iter(failures))
    if _is(first, "OutOfMemoryError", "MemoryError") or re.search(MEMORY, first.message):
        return OutOfMemory(
            f"training ran out of memory: {_short(first.message)}", hint=memory_advice(batch, accumulation)
        )
    for known in KNOWN:
        if (
            (not known.name or _is(first, known.name))
            and re.search(known.words, first.message)
            and known.stage in ("", first.stage)
        ):
            return known.kind(known.message.format(_short(first.message)), hint=known.hint or _see(log))
    name = first.types[0].rpartition(".")[2]
    words = f"{name}: {_short(first.message)}" if first.message else name
    return TrainingError(f"training failed while {_doing(first.stage)}: {words}", hint=_see(log))


def unexplained(status: int, text: str, *, log: Path, batch: int, accumulation: int) -> GateError:
    """What it means that a child ended without a word: the signal, or the last lines of its log."""
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL) or "Signal 9 (SIGKILL)" in text:
        return OutOfMemory(
            "the training process was killed (signal 9), as Linux does when memory runs out",
            hint=memory_advice(batch, accumulation),
        )
    if status < 0:
        return TrainingError(
            f"the training process died of {signal.Signals(-status).name}: {last_words(text)}", hint=_see(log)
        )
    ending = f"with exit status {status}" if status else "without saying that it had finished"
    return TrainingError(f"the training process ended {ending}: {last_words(text)}", hint=_see(log))


EXCEPTION = re.compile(
    r"^(?:\[rank\d+\]: ?)?(?:[A-Za-z_][\w.]*\.)?[A-Za-z_]\w*(?:Error|Exception|Interrupt)\b.*"
)
NOISE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def last_words(text: str, *, lines: int = 3) -> str:
    """The line of the last exception in a log, else its last lines; progress bars and colours left out."""
    shown = (line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n"))
    clean = [line.rstrip() for line in (NOISE.sub("", line) for line in shown) if line.strip()]
    raised = [line for line in clean if EXCEPTION.match(line)]
    return _short(raised[-1] if raised else " | ".join(clean[-lines:])) or "it wrote nothing"


def _is(failure: Failed, *names: str) -> bool:
    return any(kind.rpartition(".")[2] in names for kind in failure.types)


def _doing(stage: str) -> str:
    return {"loading": "loading model and data", "saving": "saving the model"}.get(stage, stage)


def _short(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= 400 else line[:400] + " ..."


def _see(log: Path) -> str:
    return f"the trainer's own words are in {log}"
