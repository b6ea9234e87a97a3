"""gate.scoring.weights: finite, changed, and in use."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gate.errors import MeasurementError, ModelError
from gate.inputs import prove
from gate.records import BlockResult, ModelRef, Response
from gate.scoring import check_applied, prove_finite, prove_weights


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the tensors of a folder's only weight file."""
    file = next(folder.glob("*.safetensors"))
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def poison(tensors: dict[str, torch.Tensor]) -> None:
    tensors[sorted(tensors)[-1]].view(-1)[0] = float("nan")


def to_float32(tensors: dict[str, torch.Tensor]) -> None:
    tensors.update({name: tensor.float() for name, tensor in tensors.items()})


def test_a_tuned_model_and_an_adapter_pass(
    base: ModelRef, tuned_full: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef]
) -> None:
    """Finite and changed weights are proven without a word."""
    for tuned in (tuned_full, *adapter_and_merged):
        prove_weights(Path(base.path), Path(tuned.path))


def test_one_changed_number_is_a_difference(base: ModelRef, demo_copy: Callable[[str], Path]) -> None:
    """A single weight that moved makes another model."""
    tuned = demo_copy("tuned")
    rewrite(tuned, lambda tensors: tensors[sorted(tensors)[-1]].view(-1)[0].add_(1))
    prove_weights(Path(base.path), tuned)


@pytest.mark.parametrize("change", [lambda tensors: None, to_float32], ids=["copied", "another dtype"])
def test_base_and_tuned_the_same(
    change: Callable[[dict[str, torch.Tensor]], None], base: ModelRef, demo_copy: Callable[[str], Path]
) -> None:
    """A copy of the base is no fine-tune, in whatever dtype it was saved."""
    tuned = demo_copy("tuned")
    rewrite(tuned, change)
    with pytest.raises(ModelError, match="the same weights"):
        prove_weights(Path(base.path), tuned)
    with pytest.raises(ModelError, match="the same weights"):
        prove_weights(Path(base.path), Path(base.path))


def test_nan_weights_are_named(base: ModelRef, demo_copy: Callable[[str], Path]) -> None:
    """One NaN in the last tensor is found, and its name told."""
    tuned = demo_copy("tuned")
    rewrite(tuned, poison)
    with pytest.raises(ModelError, match=r"NaN or infinite weights in model\.norm\.weight"):
        prove_weights(Path(base.path), tuned)


def test_a_base_with_nan_is_refused_under_either_kind(
    base: ModelRef,
    tuned_full: ModelRef,
    adapter_and_merged: tuple[ModelRef, ModelRef],
    demo_copy: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """Under a finite fine-tune or adapter, a base with one NaN would make every comparison meaningless."""
    prove_finite(Path(base.path))
    broken = demo_copy("broken")
    rewrite(broken, poison)
    adapter = tmp_path / "adapter"
    shutil.copytree(adapter_and_merged[0].path, adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None  # it fits whatever has the shapes
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    for tuned in (tuned_full, replace(adapter_and_merged[0], path=str(adapter))):
        prove(base, tuned)
        with pytest.raises(ModelError, match=r"NaN or infinite weights in model\.norm\.weight of .*broken"):
            prove(replace(base, path=str(broken)), tuned)


def test_adapter_with_nan_or_without_effect(
    base: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef], tmp_path: Path
) -> None:
    """An adapter with a NaN is refused; so is one whose B matrices are all zero."""
    shutil.copytree(adapter_and_merged[0].path, tmp_path / "nan")
    rewrite(tmp_path / "nan", poison)
    with pytest.raises(ModelError, match=r"NaN or infinite weights in .*lora_B"):
        prove_weights(Path(base.path), tmp_path / "nan")

    def zero_all(tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            if "lora_B" in name:
                tensor.zero_()

    shutil.copytree(adapter_and_merged[0].path, tmp_path / "zero")
    rewrite(tmp_path / "zero", zero_all)
    with pytest.raises(ModelError, match="changes nothing"):
        prove_weights(Path(base.path), tmp_path / "zero")
    rewrite(tmp_path / "zero", lambda tensors: tensors[sorted(tensors)[1]].view(-1)[0].add_(1))
    prove_weights(Path(base.path), tmp_path / "zero")


def result(*responses: Response) -> BlockResult:
    return BlockResult(numbers=(0,), hashes=("h",), responses=(responses,), values={})


def test_an_adapter_that_was_not_applied(
    adapter_and_merged: tuple[ModelRef, ModelRef], tuned_full: ModelRef
) -> None:
    """All log-likelihoods equal: not applied. One that moved, or texts alone: no reason to say so."""
    same = result(Response(logprob=-1.5), Response(logprob=-2.0))
    moved = result(Response(logprob=-1.5), Response(logprob=-2.0000001))
    texts = result(Response(text="a"))
    adapter = adapter_and_merged[0]
    with pytest.raises(MeasurementError, match="adapter was loaded but not applied"):
        check_applied(adapter, [(same, same), (texts, texts)])
    with pytest.raises(MeasurementError, match="tuned model was not used"):
        check_applied(tuned_full, [(same, same)])
    check_applied(adapter, [(same, same), (same, moved)])
    check_applied(adapter, [(texts, texts)])
