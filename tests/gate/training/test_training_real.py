"""Real trainings of the demo's base model, against what plain `trl sft` makes of the same configs."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_hub import serving

from gate.configs import load_config
from gate.errors import NonFiniteLoss, OutOfMemory, TrainingError
from gate.inputs import find_data
from gate.progress import SilentProgress
from gate.records import ModelRef, TrainingConfig
from gate.training import train
from gate.training.checkpoints import MARKER

pytestmark = pytest.mark.slow
WEIGHTS = {"full": "model.safetensors", "lora": "adapter_model.safetensors"}
# TRL's own script, as `trl sft` launches it; a fork for each config, so that TRL is imported once.
PLAIN = """
import os, runpy, sys
import trl.scripts.sft
from trl import SFTTrainer
for config, output in zip(sys.argv[1::2], sys.argv[2::2]):
    if os.fork() == 0:
        sys.argv = ["sft.py", "--config", config, "--output_dir", output, "--report_to", "none"]
        runpy.run_path(trl.scripts.sft.__file__, run_name="__main__")
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.fixture(scope="module")
def plain(
    configs: Mapping[str, Path], environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The weights that plain TRL makes of a full and a LoRA config, without interruption."""
    out = tmp_path_factory.mktemp("plain")
    arguments = [str(word) for method in WEIGHTS for word in (configs[method], out / method)]
    offline = {**environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", PLAIN, *arguments], env=offline, check=True, capture_output=True)
    return {method: (out / method / name).read_bytes() for method, name in WEIGHTS.items()}


def shadows(folder: Path) -> Path:
    """Packages in the user's repository that are named as what a child imports."""
    for name in ("trl", "gate", "checks", "torch", "json"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise SystemExit('shadowed')")
    return folder


def children() -> list[int]:
    """Process ids of this process' children."""
    return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_a_killed_training_resumes_from_a_whole_checkpoint_to_the_weights_of_plain_trl(
    configs: Mapping[str, Path],
    base: ModelRef,
    environ: Mapping[str, str],
    plain: Mapping[str, bytes],
    told: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Kill -9, a half-written checkpoint with a higher number, resume: every byte as plain `trl sft`."""
    config, folder = load_config(configs["full"]), tmp_path / "training"

    def kill(done: int) -> None:
        if done >= 3:
            for child in children():
                os.kill(child, signal.SIGKILL)

    with pytest.raises(OutOfMemory, match="signal 9"):
        train(config, base, folder, progress=told(kill), environ=environ)
    whole = [path.parent for path in (folder / "trainer").glob(f"checkpoint-*/{MARKER}")]
    assert whole
    assert not (folder / "model").exists()

    half = folder / "trainer" / "checkpoint-11"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    seen = told()
    tuned = train(config, base, folder, progress=seen, environ=environ)

    assert any(note.startswith("resumed after step") for _, _, _, note in seen.updates)
    assert (folder / "model" / "model.safetensors").read_bytes() == plain["full"]
    assert tuned.training is not None
    assert tuned.training.steps == 12
    assert tuned.training.trainable_parameters == tuned.training.total_parameters
    left = {path.name for path in (folder / "model").iterdir()}
    assert left == {
        *("config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert not (folder / "trainer").exists()

    again = train(config, base, folder, progress=seen, environ={}, command=lambda job: ["/bin/false"])
    assert again.model == tuned.model
    assert again.training is not None
    assert again.training.from_store


def test_a_time_limit_ends_a_training_cleanly_and_foreign_folders_shadow_nothing(
    configs: Mapping[str, Path],
    base: ModelRef,
    environ: Mapping[str, str],
    plain: Mapping[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A LoRA run stops at its limit, says how far it came, and goes on to plain TRL's adapter."""
    config, folder = load_config(configs["lora"]), tmp_path / "training"
    monkeypatch.chdir(shadows(tmp_path))

    with pytest.raises(TrainingError, match="time limit of 0 s came after step 1 of 12") as stopped:
        train(config, base, folder, progress=SilentProgress(), environ=environ, timeout=0.1)
    assert "resumes" in stopped.value.hint
    assert (folder / "trainer" / "checkpoint-1" / MARKER).exists()

    tuned = train(config, base, folder, progress=SilentProgress(), environ=environ)
    assert (folder / "model" / "adapter_model.safetensors").read_bytes() == plain["lora"]
    assert tuned.model.kind == "adapter"
    named = json.loads((folder / "model" / "adapter_config.json").read_text())
    assert named["base_model_name_or_path"] == base.name
    cost = tuned.training
    assert cost is not None
    assert cost.steps == 12
    assert cost.trainable_parameters is not None
    assert cost.total_parameters is not None
    assert cost.trainable_parameters < cost.total_parameters / 10
    assert cost.peak_resident_bytes > 100e6


def test_a_mixture_with_hub_data_trains_offline_as_its_copies_do(
    make_config: Callable[..., TrainingConfig], base: ModelRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """Fetched before, found by its folder in the child: the very weights of the same data on this disk."""
    rows = (Path(__file__).parent / "data" / "train.jsonl").read_bytes().splitlines(keepends=True)
    copies = [tmp_path / name / "train.jsonl" for name in ("one", "two")]
    for file, part in zip(copies, (rows[:40], rows[40:]), strict=True):
        file.parent.mkdir()
        file.write_bytes(b"".join(part))

    def weights(first: str, environ_of_parent: Mapping[str, str], folder: Path) -> bytes:
        entries = [{"path": first, "split": "train[:50%]"}, {"path": str(copies[1].parent)}]
        config = make_config(dataset_name=None, datasets=entries, max_steps=2)
        fetched = find_data(config, environ_of_parent)
        tuned = train(fetched, base, folder, progress=SilentProgress(), environ=environ)
        return Path(tuned.model.path, "model.safetensors").read_bytes()

    with serving({"datasets/org/one": {"train.jsonl": copies[0].read_bytes()}}) as hub:
        of_the_hub = weights("org/one", hub.environ(tmp_path / "home"), tmp_path / "a")
    assert of_the_hub == weights(str(copies[0].parent), {}, tmp_path / "b")


def test_qlora_trains_on_a_cpu(
    configs: Mapping[str, Path], base: ModelRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """An adapter over 4-bit weights is trained, and its parameters are counted unpacked."""
    tuned = train(
        load_config(configs["qlora"]), base, tmp_path / "training", progress=SilentProgress(), environ=environ
    )
    assert tuned.model.kind == "adapter"
    cost = tuned.training
    assert cost is not None
    assert cost.final_loss is not None
    assert math.isfinite(cost.final_loss)
    assert cost.total_parameters == 3_221_952 + (cost.trainable_parameters or 0)


def test_a_loss_that_is_not_finite_ends_a_training(
    make_config: Callable[..., TrainingConfig], base: ModelRef, environ: Mapping[str, str], tmp_path: Path
) -> None:
    """A learning rate that blows up is NonFiniteLoss at its step, and leaves no model."""
    config, folder = make_config(learning_rate=1e12, logging_steps=100), tmp_path / "training"
    with pytest.raises(NonFiniteLoss, match="the loss of step 2 of 12 is nan"):
        train(config, base, folder, progress=SilentProgress(), environ=environ)
    assert not (folder / "model").exists()


def test_two_processes_train_as_one_setting(
    make_config: Callable[..., TrainingConfig],
    base: ModelRef,
    environ: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`num_processes: 2` trains on two CPU processes, steps counted over both, epochs and not max_steps."""
    monkeypatch.chdir(shadows(tmp_path))
    config = make_config(num_processes=2, max_steps=-1, num_train_epochs=1, save_strategy="no")
    tuned = train(config, base, tmp_path / "training", progress=SilentProgress(), environ=environ)
    assert tuned.training is not None
    assert tuned.training.steps == 4  # 64 rows, 4 a device, 2 devices, 2 accumulated
