"""Models and data from the hub at pinned revisions: the only user of the network.

A gated model's token is used here, in the parent, and never reaches a child. The hub's many exceptions
become ours at this one border.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from gate.errors import DataError, InfrastructureError, ModelError, UsageError

MODEL_FILES = (
    "*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.py",
)  # fmt: skip
NOT_THE_MODEL = ("original/*", "onnx/*", "consolidated*", "checkpoint-*/*")


def fetch_model(name: str, revision: str | None, *, environ: Mapping[str, str]) -> tuple[Path, str | None]:
    """The folder of a model or adapter, and the commit it is at (None for a local folder).

    A local folder is returned as it is; a hub name is downloaded (safetensors, no pickle) or, offline or
    with the hub out of reach, found complete in the cache. Raises ModelError (unknown, gated, no such
    revision) and InfrastructureError (network, disk).
    """
    return _local(name, ModelError) or _fetch(name, revision, "model", environ)


def fetch_dataset(name: str, revision: str | None, *, environ: Mapping[str, str]) -> tuple[Path, str | None]:
    """The folder of a dataset, and the commit it is at (None for a local folder or file).

    `datasets` offline finds a hub dataset by its folder and not by its name: hand the folder to the child.
    Raises DataError and InfrastructureError like `fetch_model`.
    """
    return _local(name, DataError) or _fetch(name, revision, "dataset", environ)


def _local(name: str, error: type[UsageError]) -> tuple[Path, None] | None:
    path = Path(name).expanduser()
    if os.path.exists(path):  # False where no file can have that name; Path.exists raises
        return path, None
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise error(f"there is nothing at {path}", hint="check the path")
    return None


def _fetch(name: str, revision: str | None, what: str, environ: Mapping[str, str]) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    offline = environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    try:
        folder = snapshot_download(
            name,
            repo_type=what,
            revision=revision,
            allow_patterns=list(MODEL_FILES) if what == "model" else None,
            ignore_patterns=list(NOT_THE_MODEL) if what == "model" else None,
            cache_dir=_cache(environ),
            endpoint=environ.get("HF_ENDPOINT"),
            token=environ.get("HF_TOKEN"),
            local_files_only=offline,
        )
    except HFValidationError as error:
        kind = ModelError if what == "model" else DataError
        raise kind(f"{name} is neither a folder nor a hub name", hint="check the path") from error
    except Exception as error:  # the hub's client raises its own, httpx's and the system's, by version
        raise _renamed(error, name, revision, what, offline) from error
    return Path(folder), Path(folder).name


def _cache(environ: Mapping[str, str]) -> str | None:
    if "HF_HUB_CACHE" in environ:
        return environ["HF_HUB_CACHE"]
    return str(Path(environ["HF_HOME"]) / "hub") if "HF_HOME" in environ else None


def _renamed(
    error: Exception, name: str, revision: str | None, what: str, offline: bool
) -> UsageError | InfrastructureError:
    """Our error for the hub client's: by HTTP status where there was an answer, else by what failed."""
    from huggingface_hub.errors import LocalEntryNotFoundError, RevisionNotFoundError

    mistake = ModelError if what == "model" else DataError
    if isinstance(error, RevisionNotFoundError):
        return mistake(f"the {what} {name} has no revision {revision}", hint="check the revision")
    if offline and isinstance(error, LocalEntryNotFoundError):
        return mistake(
            f"the {what} {name} is neither a folder here nor in the cache, and HF_HUB_OFFLINE is set",
            hint="fetch it once while online, or name a local folder",
        )
    status = _status(error)
    if status in (401, 403):
        return mistake(
            f"the hub does not give access to the {what} {name} (HTTP {status})",
            hint="check the name; if it is gated or private, ask for access and set HF_TOKEN",
        )
    if status == 404:
        return mistake(
            f"there is no {what} {name}, neither a folder here nor on the hub", hint="check the name"
        )
    if status is not None:
        return InfrastructureError(
            f"the hub answered HTTP {status} for the {what} {name}", hint="try again later"
        )
    if isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return InfrastructureError(
            f"cannot store the {what} {name}: {error.strerror}: {error.filename}",
            hint="make room, or point HF_HOME to another disk",
        )
    return InfrastructureError(
        f"the hub could not be reached for the {what} {name}: {_root(error)}",
        hint="check the network; HF_HUB_OFFLINE=1 uses what was fetched before",
    )


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException | None) -> int | None:
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None
