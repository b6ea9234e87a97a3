"""gate.scoring.blocks: random blocks that a limit shares with the full run."""

from __future__ import annotations

from collections import Counter

import pytest

from gate.scoring import block_key, make_blocks

HASHES = [f"hash{number}" for number in range(100)]


def order(
    hashes: list[str] = HASHES, salt: bytes = b"salt", planned: int = 100, leaf: str = "leaf"
) -> list[int]:
    blocks = make_blocks("general/task", leaf, hashes, salt, planned)
    return [number for block in blocks for number in block.documents]


def test_blocks_hold_every_document_once() -> None:
    """All documents, no one twice, 32 to a block, and the rest in the last."""
    blocks = make_blocks("general/task", "leaf", HASHES, b"salt", 100)
    assert sorted(order()) == list(range(100))
    assert [len(block.documents) for block in blocks] == [32, 32, 32, 4]
    assert [block.index for block in blocks] == [0, 1, 2, 3]
    assert {(block.task, block.leaf) for block in blocks} == {("general/task", "leaf")}


def test_a_limit_draws_the_same_documents_whatever_the_salt() -> None:
    """Emptying the store, which draws a new salt, cannot draw other documents; only their order changes."""
    drawn = order(planned=70)
    assert len(set(drawn)) == 70
    assert set(order(planned=70, salt=b"other")) == set(drawn) != set(range(70))
    assert order(planned=70, salt=b"other") != drawn
    assert drawn == [number for number in order() if number in set(drawn)]
    assert set(order(planned=20)) < set(drawn)
    assert set(order(planned=70, leaf="other")) != set(drawn)
    assert make_blocks("t", "leaf", HASHES, b"salt", 0) == ()


def test_a_limit_draws_uniformly() -> None:
    """Over 20,000 leaves each of 5 documents is among the two drawn equally often.

    The counts have a standard deviation of 69; five of them are allowed.
    """
    drawn = Counter(
        number for leaf in range(20_000) for number in order(HASHES[:5], planned=2, leaf=str(leaf))
    )
    assert all(abs(drawn[number] - 8_000) < 5 * 69 for number in range(5))


def test_the_order_depends_on_salt_leaf_and_content_alone() -> None:
    """Another salt or leaf is another order; another task that holds the leaf is not."""
    assert order(salt=b"other") != order() != order(leaf="other")
    other_task = make_blocks("target/other", "leaf", HASHES, b"salt", 100)
    assert [number for block in other_task for number in block.documents] == order()


def test_duplicates_stay_apart() -> None:
    """Documents with the same hash keep their numbers."""
    assert sorted(order(["same"] * 100)) == list(range(100))


def test_the_order_is_uniform() -> None:
    """Over many salts each document is first equally often, and each pair ordered either way.

    20,000 draws of 5 documents: counts have a standard deviation of 57 and 71; five of them are allowed.
    """
    first: Counter[int] = Counter()
    ahead = 0
    for number in range(20_000):
        drawn = order(HASHES[:5], salt=number.to_bytes(4, "big"), planned=5)
        first[drawn[0]] += 1
        ahead += drawn.index(1) < drawn.index(3)
    assert all(abs(count - 4_000) < 5 * 57 for count in first.values())
    assert abs(ahead - 10_000) < 5 * 71


def test_more_documents_than_there_are() -> None:
    """A plan that does not match the documents is a mistake, not a shorter measurement."""
    with pytest.raises(ValueError, match="101 of 100"):
        order(planned=101)


def test_block_key_is_of_all_parts_in_any_order() -> None:
    """Order does not matter; names and values do, and do not run into each other."""
    key = block_key({"a": "1", "b": "2"})
    assert key == block_key({"b": "2", "a": "1"})
    others = [{"a": "1", "b": "3"}, {"a": "1"}, {"a": "1b2"}, {"a": '1", "b": "2'}, {"a": "2", "b": "1"}]
    assert len({key, *map(block_key, others)}) == 6
