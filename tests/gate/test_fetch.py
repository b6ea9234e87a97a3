"""gate.fetch: local folders, a hub on loopback, and the hub's errors in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_hub import COMMIT, Hub, environ, serving

from gate.errors import DataError, InfrastructureError, ModelError, UsageError
from gate.fetch import fetch_dataset, fetch_model

FILES = {"config.json": b'{"model_type": "llama"}', "pytorch_model.bin": b"pickle", "model.safetensors": b"w"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving({"models/org/model": FILES}) as server:
        yield server


def test_a_local_folder_is_returned_as_it_is(tmp_path: Path) -> None:
    """What lies on disk is never asked of the hub."""
    assert fetch_model(str(tmp_path), None, environ={}) == (tmp_path, None)
    assert fetch_dataset(str(tmp_path), "v1", environ={}) == (tmp_path, None)


@pytest.mark.parametrize("name", ["./gone", "/nowhere/model", "~/nowhere-model", "a/b/c"])
def test_a_missing_path_is_not_asked_of_the_hub(name: str) -> None:
    """A name that can only be a path is reported as missing."""
    with pytest.raises(ModelError, match="nothing at"):
        fetch_model(name, None, environ={"HF_ENDPOINT": "http://127.0.0.1:9"})


def test_fetch_pins_a_commit_and_leaves_pickles(hub: Hub, tmp_path: Path) -> None:
    """A branch becomes a commit, weights come as safetensors only, and offline the cache answers."""
    settings = environ(hub.server_port, tmp_path)
    folder, commit = fetch_model("org/model", None, environ=settings)
    assert commit == COMMIT
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == b"w"
    assert all(token == "Bearer hf_x" for _, token in hub.asked)
    asked = len(hub.asked)
    again = fetch_model("org/model", None, environ={**settings, "HF_HUB_OFFLINE": "1"})
    assert again == (folder, COMMIT)
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("fetch", "mistake"), [(fetch_model, ModelError), (fetch_dataset, DataError)], ids=["model", "dataset"]
)
@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "does not give access"), (403, "does not give access"), (404, "there is no")],
)
def test_refusals_are_usage_errors(
    fetch: Callable[..., object],
    mistake: type[UsageError],
    status: int,
    message: str,
    hub: Hub,
    tmp_path: Path,
) -> None:
    """Gated, private and unknown names are for the user to mend (exit 2)."""
    hub.status = status
    with pytest.raises(mistake, match=message) as caught:
        fetch("org/model", None, environ=environ(hub.server_port, tmp_path))
    assert caught.value.exit_code == 2
    assert "org/model" in caught.value.message


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_in_trouble_is_infrastructure(status: int, hub: Hub, tmp_path: Path) -> None:
    """The hub's own failures are exit 3, with the status."""
    hub.status = status
    with pytest.raises(InfrastructureError, match=f"HTTP {status}"):
        fetch_model("org/model", None, environ=environ(hub.server_port, tmp_path))


def test_no_network_is_infrastructure(tmp_path: Path) -> None:
    """A refused connection says so, and how to use the cache."""
    with pytest.raises(InfrastructureError, match=r"could not be reached.*refused") as caught:
        fetch_model("org/model", None, environ=environ(9, tmp_path))
    assert "HF_HUB_OFFLINE" in caught.value.hint


def test_offline_and_not_cached(tmp_path: Path) -> None:
    """Offline, a model that was never fetched is named as such."""
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        fetch_model("org/model", None, environ=environ(9, tmp_path, HF_HUB_OFFLINE="1"))


def test_unknown_revision(hub: Hub, tmp_path: Path) -> None:
    """A revision that the hub does not have is named."""
    with pytest.raises(ModelError, match="no revision v9"):
        fetch_model("org/model", "v9", environ=environ(hub.server_port, tmp_path))


def test_a_name_that_the_hub_cannot_have(tmp_path: Path) -> None:
    """Nonsense is neither a folder nor a hub name."""
    with pytest.raises(ModelError, match="neither a folder nor a hub name"):
        fetch_model("a--b..c d", None, environ=environ(9, tmp_path))


def test_a_cache_that_cannot_be_written(hub: Hub, tmp_path: Path) -> None:
    """A full or read-only disk is exit 3; here the cache's place is a file."""
    (tmp_path / "hub").write_text("in the way")
    with pytest.raises(InfrastructureError, match="cannot store"):
        fetch_model("org/model", None, environ=environ(hub.server_port, tmp_path))
