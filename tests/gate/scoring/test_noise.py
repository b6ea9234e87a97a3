"""A copy of a model with noise on its weights: of the size that was asked, the same from the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gate.models import digest_model
from gate.scoring.noise import copy_with_noise


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a matrix, a vector and whole numbers, and a tokenizer beside them."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text('{"a": 1}')
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "matrix": 3 * torch.randn(400, 300, generator=generator),
        "half": torch.randn(64, 64, generator=generator).bfloat16(),
        "norm": torch.ones(300),
        "counts": torch.arange(16).reshape(4, 4),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_each_matrix_gets_noise_of_its_own_size(model: Path, tmp_path: Path) -> None:
    """2 % of the root mean square, around nothing; vectors, whole numbers and the tokenizer stay."""
    copy_with_noise(model, tmp_path / "copy", 0.02)
    old, new = load_file(model / "model.safetensors"), load_file(tmp_path / "copy/model.safetensors")
    moved = new["matrix"] - old["matrix"]
    assert float(moved.square().mean().sqrt() / old["matrix"].square().mean().sqrt()) == pytest.approx(
        0.02, rel=0.02
    )
    assert abs(float(moved.mean())) < 4 * float(moved.std()) / moved.numel() ** 0.5
    assert new["half"].dtype == torch.bfloat16
    assert not torch.equal(new["half"], old["half"])
    assert torch.equal(new["norm"], old["norm"])
    assert torch.equal(new["counts"], old["counts"])
    assert (tmp_path / "copy/tokenizer.json").read_text() == '{"a": 1}'


def test_the_same_seed_is_the_same_model(model: Path, tmp_path: Path) -> None:
    """So that what was scored of it is found again; another seed is another model, and so is the original."""
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        copy_with_noise(model, tmp_path / name, 0.02, seed)
    digests = [digest_model(path) for path in (model, tmp_path / "one", tmp_path / "other")]
    assert len(set(digests)) == 3
    assert digest_model(tmp_path / "again") == digests[1]


def test_a_disk_that_refuses_is_an_error_of_the_disk(model: Path, tmp_path: Path) -> None:
    """OSError, which the caller tells as the store's."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        copy_with_noise(model, tmp_path / "file/copy", 0.02)
