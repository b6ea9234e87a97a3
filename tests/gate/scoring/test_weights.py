"""gate.scoring.weights: finite, changed, and in use."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gate.errors import MeasurementError, ModelError
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float8_e5m2], ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_in_any_dtype_is_found(dtype: torch.dtype, bad: float, tmp_path: Path) -> None:
    """NaN and both infinities, wherever they stand; finite extremes, empty tensors and integers are fine."""
    (tmp_path / "config.json").write_text("{}")
    most = torch.finfo(dtype).max
    good = {
        "a": torch.tensor([0.0, most, -most, 1.0]).to(dtype),
        "b": torch.zeros(0, dtype=dtype),
        "c": torch.arange(3),
    }
    save_file(good, tmp_path / "model.safetensors")
    prove_finite(tmp_path)
    save_file({**good, "d": torch.tensor([1.0, bad, 2.0]).to(dtype)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="NaN or infinite weights in d of"):
        prove_finite(tmp_path)


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
