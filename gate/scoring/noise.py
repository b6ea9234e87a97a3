"""A copy of a model whose weights carry a little noise: another model that is as good, and harmless."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from gate.models import model_files, weight_files

if TYPE_CHECKING:
    import torch


def copy_with_noise(source: Path, folder: Path, share: float, seed: int = 0) -> None:
    """Copy the model in `source` to `folder`; each weight matrix gets Gaussian noise of `share` of its root
    mean square. The same seed makes the same bytes. Raises OSError where the disk refuses.

    One file of weights is in memory at a time.
    """
    weights = {file.name for file in weight_files(source)}
    for name in model_files(source):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.name not in weights:
            shutil.copyfile(source / name, target)
    for file in weight_files(source):
        _copy_weights(file, folder / file.name, share, seed)


def _copy_weights(source: Path, target: Path, share: float, seed: int) -> None:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    with safe_open(source, framework="pt") as opened:
        names = list(opened.keys())
        metadata = opened.metadata()
        tensors = {name: _noisy(opened.get_tensor(name), name, share, seed) for name in names}
    try:
        save_file(tensors, target, metadata=metadata)
    except SafetensorError as error:  # what the disk says, in words of its own
        raise OSError(f"{target}: {error}") from error


def _noisy(weight: torch.Tensor, name: str, share: float, seed: int) -> torch.Tensor:
    import torch

    if weight.ndim < 2 or not weight.is_floating_point():
        return weight
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
    wide = weight.float()
    spread = share * wide.square().mean().sqrt()
    return (wide + spread * torch.randn(wide.shape, generator=generator)).to(weight.dtype)
