"""The trainer's failures in ftgate's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.errors import (
    DataError,
    GateError,
    NonFiniteLoss,
    OutOfMemory,
    StoreError,
    TrainingError,
    UsageError,
)
from gate.training.failures import last_words, memory_advice, renamed, unexplained
from gate.training.job import Failed

LOG = Path("train.log")


@pytest.mark.parametrize(
    ("batch", "accumulation", "words"),
    [
        (8, 1, "`per_device_train_batch_size: 4` with `gradient_accumulation_steps: 2`"),
        (9, 2, "`per_device_train_batch_size: 3` with `gradient_accumulation_steps: 6`"),
        (7, 1, "`per_device_train_batch_size: 1` with `gradient_accumulation_steps: 7`"),
        (1, 4, "other recipes"),
    ],
)
def test_memory_advice_keeps_the_rows_of_a_step(batch: int, accumulation: int, words: str) -> None:
    """The advice divides the batch and multiplies the accumulation by the same number, or says it cannot."""
    assert words in memory_advice(batch, accumulation)


# As seen from TRL 1.16, transformers 5.23, datasets 5.2 and torch 2.13.
SEEN = [
    ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB.", "training", OutOfMemory),
    ("builtins.RuntimeError", "DefaultCPUAllocator: can't allocate memory", "loading", OutOfMemory),
    ("builtins.MemoryError", "", "training", OutOfMemory),
    ("gate.training.watch.LossNotFinite", "the loss of step 2 of 12 is nan", "training", NonFiniteLoss),
    ("builtins.OSError", "[Errno 28] No space left on device: 'x'", "training", StoreError),
    (
        "builtins.ConnectionError",
        "Couldn't reach 'nope/none' on the Hub (OfflineModeIsEnabled)",
        "loading",
        DataError,
    ),
    ("builtins.StopIteration", "", "loading", DataError),
    ("datasets.data_files.EmptyDatasetError", "The directory at x doesn't contain", "loading", DataError),
    ("builtins.KeyError", "'text'", "loading", DataError),
    ("builtins.KeyError", "'train'", "loading", DataError),
    (
        "builtins.ValueError",
        "Your setup doesn't support bf16/gpu. You need to assign use_cpu",
        "reading the config",
        UsageError,
    ),
    ("builtins.ImportError", "Using `bitsandbytes` 4-bit quantization requires", "loading", UsageError),
    ("builtins.KeyError", "'text'", "training", TrainingError),
    ("builtins.ValueError", "something new", "loading", TrainingError),
]


@pytest.mark.parametrize(("name", "message", "stage", "kind"), SEEN)
def test_foreign_errors_are_renamed(name: str, message: str, stage: str, kind: type[GateError]) -> None:
    """Each foreign error becomes one of ours, with a hint, and never a traceback."""
    error = renamed([Failed((name,), message, stage)], log=LOG, batch=4, accumulation=2)
    assert type(error) is kind
    assert error.hint
    assert "Traceback" not in error.message


def test_an_unknown_error_says_what_where_and_which_log() -> None:
    """What we do not know is told in the trainer's own words, with the log's path."""
    failure = Failed(("some.WeirdError", "builtins.Exception"), "very\nweird", "training")
    error = renamed([failure], log=LOG, batch=4, accumulation=2)
    assert error.message == "training failed while training: WeirdError: very weird"
    assert "train.log" in error.hint


def test_a_child_that_died_without_a_word() -> None:
    """Signal 9 is memory, another signal is named, a status comes with the log's exception."""
    known = {"log": LOG, "batch": 4, "accumulation": 2}
    killed = unexplained(-9, "", **known)  # type: ignore[arg-type]
    assert isinstance(killed, OutOfMemory)
    assert "`gradient_accumulation_steps: 4`" in killed.hint
    assert "SIGSEGV" in unexplained(-11, "", **known).message  # type: ignore[arg-type]
    log = "Traceback (most recent call last):\n  File x\nValueError: no such thing\n"
    assert "status 1: ValueError: no such thing" in unexplained(1, log, **known).message  # type: ignore[arg-type]


def test_last_words_are_the_exception_and_no_progress_bar() -> None:
    """The line of the exception is found under bars, colours and later chatter."""
    text = (
        "  0%|   | 0/3\r 33%|#  | 1/3\rdone\n"
        'Traceback (most recent call last):\n  File "x.py", line 1\n'
        "\x1b[31mtorch.cuda.OutOfMemoryError: CUDA out of memory\x1b[0m\n"
        "[W1124] destroy_process_group was not called\n"
    )
    assert last_words(text) == "torch.cuda.OutOfMemoryError: CUDA out of memory"
    assert last_words(" 10%|#  \r 20%|## \none\ntwo\n\nthree\nfour\n") == "two | three | four"
    assert last_words("") == "it wrote nothing"
