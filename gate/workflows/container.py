"""The container that `ftgate train` runs in: which images may be named, and the job's lines for it."""

from __future__ import annotations

import re

from gate.errors import UsageError

# GitHub's own runners run as 1001. The group is nobody's, so that no image's `/etc/group` makes it Docker's.
USER = "1001:65534"
OPTIONS = f"--user {USER} --cap-drop ALL --security-opt no-new-privileges --shm-size 8g"
DEVICES = "--gpus all"
PYTHON = "# Python is the image's own. Where ftgate is in the image, too: `install: none`"

_HOST = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REGISTRY = rf"{_HOST}(?:\.{_HOST})*(?::[0-9]{{1,5}})?/"
_TAG = r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_NAME = rf"(?:{_REGISTRY})?{_PART}(?:/{_PART})*(?:{_TAG})?"
_IMAGE = re.compile(_NAME)
_PINNED = re.compile(rf"{_NAME}@sha256:[0-9a-f]{{64}}")


def check_image(image: str) -> None:
    """Raise `UsageError` for what is no image's name, or names no digest."""
    if _PINNED.fullmatch(image):
        return
    if _IMAGE.fullmatch(image):
        raise UsageError(
            f"--container: {image} can be another image tomorrow: name its digest, IMAGE@sha256:DIGEST",
            hint=f"`docker buildx imagetools inspect {image}` says it, behind `Digest:`",
        )
    raise UsageError(
        f"--container: expected IMAGE@sha256:DIGEST, got {image!r}",
        hint="as `docker pull` takes it, with a digest of 64 hexadecimal digits: python:3.12@sha256:...",
    )


def job_lines(image: str, *, devices: bool) -> str:
    """The key `container` of a job, as YAML that is not indented; `devices` hands the GPUs in.

    GitHub's runner mounts Docker's socket into every job's container, and its work folder writable. Whoever
    may open the socket is root on the machine: root must not be in there, nor a way to become it.
    """
    options = f"{OPTIONS} {DEVICES}" if devices else OPTIONS
    return "\n".join(
        [
            "# The runner mounts Docker's socket in here: no root and no way to it, or the socket opens.",
            "# 1001 must be the runner's own user (`id -u`), which the job's folders belong to.",
            "container:",
            f"  image: {image}",
            f"  options: {options}",
            "  env:",
            "    LOGNAME: ftgate # the user has no name in the image, and PyTorch asks for one",
        ]
    )
