"""The parent's side of a training, with children that are a few lines of Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from gate.errors import ConfigErrors, DataError, GateError, OutOfMemory, StoreError, TrainingError
from gate.progress import SilentProgress
from gate.records import ModelRef, TrainingConfig, TunedModel
from gate.training import planned_overrides, train

Make = Callable[..., TrainingConfig]
BEGIN = """
import json, os, pathlib, shutil, sys
job = json.load(open(sys.argv[1]))
given = dict(zip(job["arguments"][::2], job["arguments"][1::2]))
out = pathlib.Path(given["--output_dir"])
def tell(event, **fields):
    with open(job["events"], "a") as events:
        events.write(json.dumps({"event": event, **fields}) + "\\n")
tell("Started", step=0, max_steps=2, rows=64, batch_size=4, accumulation=2, processes=1, epochs=3.0,
     drop_last=False, trainable_parameters=10, total_parameters=20)
tell("Step", step=1, max_steps=2, loss=3.0)
"""
END = """
tell("Step", step=2, max_steps=2, loss=2.0)
tell("Finished", steps=2, max_steps=2, peak_resident_bytes=5, peak_gpu_bytes=None, tokens_per_second=7.0)
"""
MODEL = """
shutil.copytree(given["--model_name_or_path"], out)
(out / "training_args.bin").write_bytes(b"pickle")
(out / "checkpoint-2").mkdir()
"""


@pytest.fixture
def run(make_config: Make, base: ModelRef, tmp_path: Path) -> Callable[..., TunedModel]:
    """Train with a child of the given code."""

    def run(code: str, key: str = "") -> TunedModel:
        def command(job: Path) -> Sequence[str]:
            return [sys.executable, "-c", BEGIN + code, str(job)]

        config = make_config(max_steps=2)
        folder = tmp_path / "training"
        quietly = SilentProgress()
        return train(config, base, folder, progress=quietly, environ=os.environ, key=key, command=command)

    return run


def test_a_proven_training_leaves_a_model_and_its_cost(run: Callable[..., TunedModel]) -> None:
    """What was trained is told, and neither pickles nor checkpoints stay with the model."""
    tuned = run(MODEL + END)
    assert tuned.training is not None
    cost = tuned.training
    assert (cost.steps, cost.final_loss, cost.peak_resident_bytes) == (2, 2.0, 5)
    assert (cost.trainable_parameters, cost.total_parameters) == (10, 20)
    names = {path.name for path in Path(tuned.model.path).iterdir()}
    assert "model.safetensors" in names
    assert not names & {"training_args.bin", "checkpoint-2"}


@pytest.mark.parametrize("ending", [MODEL + END, "sys.exit(1)", "os.kill(os.getpid(), 9)"])
def test_the_trainers_config_is_its_own_and_goes_with_it(
    run: Callable[..., TunedModel], ending: str, tmp_path: Path
) -> None:
    """The very bytes, which may hold a token: only ours to read, not in the run's folder, gone at any end."""
    seen = tmp_path / "seen"
    look = (
        "config = pathlib.Path(job['config'])\n"
        f"pathlib.Path({str(seen)!r}).write_text(f'{{config}} {{oct(config.parent.stat().st_mode)}}')\n"
    )
    with suppress(GateError):
        run(look + ending)
    copy, mode = seen.read_text().split()
    assert mode == "0o40700"
    assert not Path(copy).is_relative_to(tmp_path)
    assert not Path(copy).parent.exists()


def test_a_model_that_was_touched_is_trained_again(run: Callable[..., TunedModel]) -> None:
    """A finished training is returned only while its model's digest is the recorded one."""
    first = run(MODEL + END)
    assert run("raise SystemExit('not needed')").model == first.model
    with (Path(first.model.path) / "tokenizer_config.json").open("a") as file:
        file.write("\n")
    with pytest.raises(TrainingError, match="status 1"):
        run("raise SystemExit('needed')")


def test_a_training_on_other_data_is_not_gone_on_with(run: Callable[..., TunedModel]) -> None:
    """Config and base are the same; the key says that data, versions or device are not."""
    first = run(MODEL + END, key="data as it was")
    assert run("raise SystemExit('not needed')", key="data as it was").model == first.model
    with pytest.raises(TrainingError, match="status 1"):
        run("raise SystemExit('needed')", key="other data")


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (END, TrainingError, "no complete model"),
        (
            MODEL + "(out / 'model.safetensors').write_bytes(b'half')" + END,
            TrainingError,
            "no complete model",
        ),
        (MODEL, TrainingError, "without training"),
        (MODEL + END.replace("loss=2.0", "loss=float('nan')"), TrainingError, "loss of step 2"),
        (MODEL + END.replace("max_steps=2", "max_steps=3"), TrainingError, "2 optimizer steps"),
        ("print('ValueError: odd'); sys.exit(3)", TrainingError, "status 3: ValueError: odd"),
        ("os.kill(os.getpid(), 9)", OutOfMemory, "signal 9"),
        ("os.abort()", TrainingError, "SIGABRT"),
        (
            "tell('Failed', types=['builtins.KeyError'], message=\"'text'\", stage='loading'); sys.exit(1)",
            DataError,
            "lack the column 'text'",
        ),
        (MODEL + END + "sys.exit(1)", TrainingError, "status 1"),
    ],
)
def test_nothing_is_believed_without_proof(
    run: Callable[..., TunedModel], code: str, kind: type[Exception], words: str, tmp_path: Path
) -> None:
    """No model, half a model, no end, a NaN, too few steps, a crash, a kill: never a tuned model."""
    with pytest.raises(kind, match=words):
        run(code)
    assert not (tmp_path / "training" / "trained.json").exists()


def test_a_config_that_changed_since_it_was_read_is_not_trained(
    make_config: Make, base: ModelRef, tmp_path: Path
) -> None:
    """What was checked and digested is what is trained."""
    config = make_config()
    with Path(config.path).open("a") as file:
        file.write("\n")
    with pytest.raises(ConfigErrors, match="has changed"):
        train(config, base, tmp_path / "training", progress=SilentProgress(), environ={})


def test_a_full_disk_is_a_store_error(make_config: Make, base: ModelRef, tmp_path: Path) -> None:
    """Running out of space in the parent, and a folder that is a file, are told as such."""
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "job.json").symlink_to("/dev/full")
    (tmp_path / "file").touch()
    for name, words in (("training", "No space left"), ("file", "cannot write")):
        with pytest.raises(StoreError, match=words):
            train(make_config(), base, tmp_path / name, progress=SilentProgress(), environ={})


def test_what_the_gate_changes_is_shown(make_config: Make, base: ModelRef, tmp_path: Path) -> None:
    """Only what differs is an override; another base model is one."""
    config = make_config(push_to_hub=True, report_to="wandb")
    changed = {each.key: each.now for each in planned_overrides(config, base, tmp_path)}
    assert changed["push_to_hub"] is False
    assert changed["report_to"] == "none"
    assert "model_name_or_path" not in changed
    other = ModelRef(name="other", path="/other", digest="")
    assert {each.key: each.now for each in planned_overrides(config, other, tmp_path)}[
        "model_name_or_path"
    ] == "other"
