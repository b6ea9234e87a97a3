"""Documents put into blocks at random: the unit of scoring and storing. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

from gate.records import Block

LIMIT_SEED = b"ftgate-limit"


def make_blocks(
    task_id: str, leaf: str, hashes: Sequence[str], salt: bytes, planned: int, size: int = 32
) -> tuple[Block, ...]:
    """Blocks of `size` documents in a random order of `planned` of the leaf's documents.

    A limit draws with a fixed, public seed: the documents of the smallest SHA-256, a random subset that is
    the same on every machine and in every run, and grows with the limit. The order is by HMAC-SHA256 under
    the secret salt: a uniformly random permutation to anyone without it, the same for both models and for
    every task that holds the leaf. Duplicates differ by their number. Raises ValueError
    where more documents are planned than there are.
    """
    if not 0 <= planned <= len(hashes):
        raise ValueError(f"{planned} of {len(hashes)} documents of {leaf} planned")
    names = [json.dumps([leaf, each, number]).encode() for number, each in enumerate(hashes)]
    drawn = sorted(range(len(hashes)), key=lambda number: _draw(names[number]))[:planned]
    order = sorted(drawn, key=lambda number: hmac.digest(salt, names[number], "sha256"))
    return tuple(
        Block(task=task_id, leaf=leaf, index=start // size, documents=tuple(order[start : start + size]))
        for start in range(0, planned, size)
    )


def draw_order(blocks: Sequence[Block], salt: bytes, inputs: str) -> tuple[Block, ...]:
    """One leaf's blocks in the order in which they are drawn until its rules are settled.

    `inputs` is the digest of what is judged. Which documents share a block is random by the salt, and so is
    this order, by HMAC-SHA256 over other names: together one uniformly random permutation of the documents
    to anyone without the salt, independent between leaves. The same inputs have the same order for ever.
    """

    def place(block: Block) -> bytes:
        name = json.dumps(["order", inputs, block.task, block.leaf, block.index])
        return hmac.digest(salt, name.encode(), "sha256")

    return tuple(sorted(blocks, key=place))


def _draw(name: bytes) -> bytes:
    return hashlib.sha256(LIMIT_SEED + name).digest()


def block_key(parts: Mapping[str, str]) -> str:
    """Hex SHA-256 over the parts, whatever their order: the key of one model's answers to one block."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()
