"""Documents put into blocks at random: the unit of scoring and storing. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

from gate.records import Block


def make_blocks(
    task_id: str, leaf: str, hashes: Sequence[str], salt: bytes, planned: int, size: int = 32
) -> tuple[Block, ...]:
    """Blocks of `size` documents in a random order of the leaf's documents; the first `planned` of them.

    The order is by HMAC-SHA256 under the secret salt: a uniformly random permutation to anyone without it,
    the same for both models and for every task that holds the leaf. A limit is therefore a random subset,
    and its whole blocks are those of the full run. Duplicates differ by their number.
    Raises ValueError where more documents are planned than there are.
    """
    if not 0 <= planned <= len(hashes):
        raise ValueError(f"{planned} of {len(hashes)} documents of {leaf} planned")
    keys = [_place(salt, leaf, each, number) for number, each in enumerate(hashes)]
    order = sorted(range(len(hashes)), key=keys.__getitem__)[:planned]
    return tuple(
        Block(task=task_id, leaf=leaf, index=start // size, documents=tuple(order[start : start + size]))
        for start in range(0, planned, size)
    )


def _place(salt: bytes, leaf: str, document: str, number: int) -> bytes:
    return hmac.digest(salt, json.dumps([leaf, document, number]).encode(), "sha256")


def block_key(parts: Mapping[str, str]) -> str:
    """Hex SHA-256 over the parts, whatever their order: the key of one model's answers to one block."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()
