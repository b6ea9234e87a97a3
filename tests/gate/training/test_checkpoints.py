"""Which checkpoints may be resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.training.checkpoints import MARKER, last_complete, mark_complete, read_checkpoint


def checkpoint(output: Path, step: int, *, fingerprint: str = "this", max_steps: int = 60) -> Path:
    """A marked checkpoint as the trainer writes it, in small."""
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt", "trainer_state.json"):
        (folder / name).write_bytes(b"0" * step)
    mark_complete(folder, fingerprint=fingerprint, step=step, max_steps=max_steps, seconds=float(step))
    return folder


def test_the_highest_whole_checkpoint_is_resumed_by_number(tmp_path: Path) -> None:
    """100 comes after 20, and what lies beside the checkpoints is cleared away."""
    checkpoint(tmp_path, 20, max_steps=200)
    last = checkpoint(tmp_path, 100, max_steps=200)
    (tmp_path / "model.safetensors").write_bytes(b"of an earlier try")
    (tmp_path / "runs").mkdir()
    found = last_complete(tmp_path, "this")
    assert found is not None
    assert (found.path, found.step, found.seconds) == (last, 100, 100.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-100", "checkpoint-20"]


def no_marker(folder: Path) -> None:
    (folder / MARKER).unlink()


def half_a_file(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(b"0")


def a_file_less(folder: Path) -> None:
    (folder / "optimizer.pt").unlink()


def half_a_marker(folder: Path) -> None:
    (folder / MARKER).write_text('{"fingerprint": "this", ')


@pytest.mark.parametrize("damage", [no_marker, half_a_file, a_file_less, half_a_marker])
def test_what_is_not_whole_is_deleted_and_the_one_before_resumed(tmp_path: Path, damage: object) -> None:
    """No marker, a file too short, a file missing, a broken marker: each time step 20 is resumed."""
    checkpoint(tmp_path, 20)
    folder = checkpoint(tmp_path, 40)
    damage(folder)  # type: ignore[operator]
    found = last_complete(tmp_path, "this")
    assert found is not None
    assert found.step == 20
    assert not folder.exists()


def test_a_checkpoint_of_another_training_is_not_resumed(tmp_path: Path) -> None:
    """Another config or base leaves another fingerprint."""
    assert read_checkpoint(checkpoint(tmp_path, 20, fingerprint="other"), "this") is None
    assert last_complete(tmp_path, "this") is None


def test_a_checkpoint_of_the_last_step_is_not_resumed(tmp_path: Path) -> None:
    """The trainer would take one step too many from there."""
    checkpoint(tmp_path, 40)
    checkpoint(tmp_path, 60)
    found = last_complete(tmp_path, "this")
    assert found is not None
    assert found.step == 40


def test_nothing_to_resume(tmp_path: Path) -> None:
    """A first try has no output folder."""
    assert last_complete(tmp_path / "trainer", "this") is None
