"""What a config's result depends on where the policy names a champion: its content, wherever it lies."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from gate.errors import GateError
from gate.models import digest_model
from gate.records import Champion
from gate.runfolder import MEASUREMENTS, RUN, SEEDS

_COMMIT = re.compile(r"[0-9a-f]{40}")


def champion_content(champion: Champion | None, root: Path) -> str | None:
    """Digest of a champion, its path counted from `root`; None where only its use can tell what it is.

    That is a hub name without a commit, and what is not here or cannot be read. "" where the policy's own
    words say it all: there is no champion, or it is a stored model's digest or a commit.
    """
    if champion is None or champion.model.startswith("sha256:"):
        return ""
    place = root / os.path.expanduser(champion.name)
    try:
        if champion.run:
            return _run_digest(place)
        if place.exists():
            return digest_model(place)
    except (GateError, OSError):
        return None
    return "" if _COMMIT.fullmatch(champion.revision or "") else None


def _run_digest(place: Path) -> str:
    """Of the record of its measurements, which names each file's digest, and of how they were made."""
    digest = hashlib.sha256(hashlib.sha256((place / MEASUREMENTS).read_bytes()).digest())
    for file in (place / RUN, place / SEEDS):
        content = file.read_bytes() if file.is_file() else b""
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
