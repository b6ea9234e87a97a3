"""A job's `container:`, as far as it can be played without one: its environment, home and options.

Not played: another root, user and process namespace (its processes see the machine's files), and the paths of
the machine that the runner translates in variables and inputs. What this double does not know, it refuses.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.expressions import Unknown

KEYS = {"image", "options", "env"}
FLAGS = {"--cap-drop", "--gpus", "--security-opt", "--shm-size", "--user"}


@dataclass(frozen=True)
class Container:
    """The container that the steps of a job run in."""

    image: str
    options: Mapping[str, str]
    environ: Mapping[str, str]

    @property
    def opens_socket(self) -> bool:
        """Whether its processes can open Docker's socket, `root:docker` and in every job's container.

        Root can, whatever was taken from it; a user without a group of its own gets root's or the image's;
        any other needs a way to become root: a file of the image with its bit set, or a capability.
        """
        user = re.fullmatch(r"(\d+):(\d+)", self.options.get("--user", ""))
        named = user is not None and "0" not in (user[1], user[2])
        held = self.options.get("--cap-drop") == "ALL"
        return not (named and held and self.options.get("--security-opt") == "no-new-privileges")


def read_container(written: Any) -> Container:
    """A job's `container:`. Raises `Unknown` for keys and options that this double does not know."""
    found: dict[str, Any] = {"image": written} if isinstance(written, str) else dict(written)
    words = shlex.split(found.get("options", ""))
    flags = words[::2]
    if unknown := (found.keys() - KEYS) | (set(flags) - FLAGS):
        raise Unknown(f"of a container: {', '.join(sorted(unknown))}")
    if len(words) % 2 or len(set(flags)) != len(flags):
        raise Unknown(f"options of a container: {found['options']}")
    environ = {key: str(value) for key, value in found.get("env", {}).items()}
    return Container(found["image"], dict(zip(flags, words[1::2], strict=True)), environ)
