"""Proofs about weights: finite, and not the base's; and after scoring, that they were in use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.errors import MeasurementError, ModelError
from gate.models import model_kind, weight_files
from gate.records import BlockResult, ModelRef

if TYPE_CHECKING:
    import torch

SAME = "base and tuned are the same weights"
DIVERGED = "the training diverged; lower the learning rate or train in another dtype"


def prove_weights(base: Path, tuned: Path) -> None:
    """Raises ModelError unless all weights of `tuned` are finite and change what the base computes.

    Reads tensor by tensor from disk: memory stays at two tensors. An adapter changes nothing when, in
    each of its pairs, A or B is all zero and it saved no weights whole.
    """
    if model_kind(tuned) == "adapter":
        active = _finite_adapter_is_active(tuned)
        reason = f"{tuned} changes nothing: in each pair of the adapter A or B is zero"
    else:
        active = _finite_model_differs(base, tuned)
        reason = f"{tuned}: {SAME} as in {base}"
    if not active:
        raise ModelError(
            reason, hint="was anything trained? check the learning rate and which model was saved"
        )


def prove_finite(path: Path) -> None:
    """Raises ModelError where a weight of the model in `path` is NaN or infinite; reads tensor by tensor."""
    for name, weight in _tensors(path):
        _require_finite(name, weight, path, hint="the file is damaged; save or fetch it again")


def _finite_model_differs(base: Path, tuned: Path) -> bool:
    import torch

    differs = compared = False
    with ExitStack() as stack:
        ours = _places(base, stack)
        for name, weight in _tensors(tuned):
            _require_finite(name, weight, tuned)
            if differs or name not in ours:
                continue
            original = ours[name].get_tensor(name)
            compared = True
            differs = original.shape != weight.shape or not torch.equal(original.to(weight.dtype), weight)
    return differs or not compared  # stored under other names: the scores will tell


def _finite_adapter_is_active(adapter: Path) -> bool:
    zero: dict[str, bool] = {}
    whole = False
    for name, weight in _tensors(adapter):
        _require_finite(name, weight, adapter)
        if ".lora_A" in name or ".lora_B" in name or ".lora_embedding_" in name:
            module = name.split(".lora_")[0]
            zero[module] = zero.get(module, False) or not bool(weight.any())
        else:
            whole = True
    return whole or not all(zero.values())


def _require_finite(name: str, weight: torch.Tensor, path: Path, hint: str = DIVERGED) -> None:
    if weight.is_floating_point() and weight.numel() and not _is_finite(weight):
        raise ModelError(f"NaN or infinite weights in {name} of {path}", hint=hint)


def _is_finite(weight: torch.Tensor) -> bool:
    """By smallest and largest, which are NaN where anything is: fifteen times as quick as `isfinite`."""
    import torch

    wide = weight.float() if weight.element_size() == 1 else weight  # 8 bits have no extremes in torch
    return all(math.isfinite(end) for end in torch.aminmax(wide))


def _places(path: Path, stack: ExitStack) -> dict[str, Any]:
    """Open files by the names of the tensors that they hold."""
    from safetensors import safe_open

    opened = [stack.enter_context(safe_open(file, framework="pt")) for file in weight_files(path)]
    return {name: file for file in opened for name in file.keys()}  # noqa: SIM118 - no mapping


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    with ExitStack() as stack:
        for name, file in _places(path, stack).items():
            yield name, file.get_tensor(name)


def check_applied(tuned: ModelRef, results: Sequence[tuple[BlockResult, BlockResult]]) -> None:
    """Raises MeasurementError where each of the tuned model's log-likelihoods equals the base's exactly.

    Weights that differ move every log-likelihood, so the tuned weights were then not in use (or the
    answers are the base's). Generated texts may well be equal and say nothing. `results` are (base, tuned).
    """
    pairs = [
        (ours.logprob, theirs.logprob)
        for base, changed in results
        for mine, other in zip(base.responses, changed.responses, strict=True)
        for ours, theirs in zip(mine, other, strict=True)
        if ours.logprob is not None
    ]
    if pairs and all(ours == theirs for ours, theirs in pairs):
        what = "adapter was loaded but not applied" if tuned.kind == "adapter" else "tuned model was not used"
        raise MeasurementError(
            f"all {len(pairs)} log-likelihoods of {tuned.name} equal the base's exactly: the {what}",
            hint="or its change is too small to survive rounding; see `evaluation: {dtype: float32}`",
        )
