"""Trees, packs, batches and masks, held against their definitions. No model."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.scoring.batches import ALIGN, Batch, alone, filled
from gate.scoring.flex import Blocks, find_blocks
from gate.scoring.masks import additive, allowed
from gate.scoring.readings import Reading
from gate.scoring.sparse import BLOCK, attend, block_mask
from gate.scoring.tree import Pack, PackShape, cut, make_packs, sort_readings

SMALL = PackShape(limit=24, step=1, overhead=2)


@st.composite
def groups(draw: st.DrawFn) -> list[Reading]:
    """Readings over three tokens, so that beginnings are shared often."""
    found = []
    for _ in range(draw(st.integers(1, 12))):
        tokens = draw(st.lists(st.integers(0, 2), min_size=2, max_size=9))
        found.append(Reading(np.array(tokens, np.int32), draw(st.integers(1, len(tokens) - 1))))
    return found


def ancestors(pack: Pack, node: int) -> list[int]:
    """Tokens from the root to a node, by the definition of subtree_end."""
    return [int(pack.tokens[k]) for k in range(node + 1) if k <= node < pack.subtree_end[k]]


@given(groups(), st.sampled_from([SMALL, PackShape(limit=9), PackShape(limit=500, square=40)]))
@settings(max_examples=150, deadline=None)
def test_every_scored_token_is_seen_after_exactly_its_own_text(
    group: list[Reading], shape: PackShape
) -> None:
    """Whatever the cuts: each scored token once, at a node whose ancestors are the tokens before it."""
    seen = []
    for pack in make_packs(group, shape):
        assert len(pack) <= max(shape.limit, *(len(reading.tokens) - 1 for reading in group))
        for row, token, number in zip(pack.pair_row, pack.pair_token, pack.pair_reading, strict=True):
            node = int(pack.rows[row])
            before = ancestors(pack, node)
            place = len(before)
            assert pack.depth[node] == place - 1
            assert before == group[number].tokens[:place].tolist()
            assert token == group[number].tokens[place]
            seen.append((int(number), place))
    wanted = [(n, p) for n, each in enumerate(group) for p in range(each.start, len(each.tokens))]
    assert sorted(seen) == wanted


@given(groups())
@settings(max_examples=60, deadline=None)
def test_one_pack_holds_each_shared_beginning_once(group: list[Reading]) -> None:
    """As many nodes as there are different beginnings, and rows without repeats."""
    (pack,) = make_packs(group, PackShape(limit=1000, overhead=1000))
    beginnings = {tuple(each.tokens[:n].tolist()) for each in group for n in range(1, len(each.tokens))}
    assert len(pack) == len(beginnings)
    assert len(set(pack.rows.tolist())) == len(pack.rows)
    assert (np.diff(pack.pair_row) >= 0).all()


def test_cuts_fall_where_little_is_shared() -> None:
    """Two documents that do not fit together are cut apart, not within one of them."""

    def options(seed: int) -> list[Reading]:
        rng = np.random.default_rng(seed)
        context = rng.integers(0, 99, 20)
        return [Reading(np.append(context, rng.integers(0, 99, 5)).astype(np.int32), 20) for _ in range(4)]

    group = options(1) + options(2)
    packs = make_packs(group, PackShape(limit=50))
    assert [sorted(set(pack.pair_reading.tolist()) ) for pack in packs] in (
        [[0, 1, 2, 3], [4, 5, 6, 7]], [[4, 5, 6, 7], [0, 1, 2, 3]]
    )  # fmt: skip


def test_cuts_cost_least() -> None:
    """Against every way of cutting, for a shape with all terms."""
    rng = np.random.default_rng(0)
    group = [Reading(rng.integers(0, 2, 8).astype(np.int32), 7) for _ in range(7)]
    shape = PackShape(limit=20, step=4, overhead=3, square=50)
    leaves = sort_readings(group)

    def cost(ranges: list[tuple[int, int]]) -> float:
        total = 0.0
        for first, stop in ranges:
            tokens = int(leaves.length[first] + (leaves.length - leaves.shared)[first + 1 : stop].sum())
            if tokens > shape.limit and stop - first > 1:
                return np.inf
            total += -(-tokens // 4) * 4 + 3 + tokens**2 / 50
        return total

    every = []
    for bits in range(2 ** (len(group) - 1)):
        edges = [0, *(n + 1 for n in range(len(group) - 1) if bits >> n & 1), len(group)]
        every.append(cost(list(pairwise(edges))))
    assert cost(cut(leaves, shape)) == pytest.approx(min(every))


def test_a_group_s_packs_are_its_own() -> None:
    """The same readings give the same packs, to the byte, in any process and company."""
    rng = np.random.default_rng(5)
    group = [Reading(rng.integers(0, 3, 9).astype(np.int32), 4) for _ in range(20)]
    one, two = make_packs(group, SMALL), make_packs(list(group), SMALL)
    for mine, other in zip(one, two, strict=True):
        for name in Pack.__slots__:
            assert getattr(mine, name).tobytes() == getattr(other, name).tobytes()
    assert make_packs([], SMALL) == []


def made(sizes: list[int], seed: int = 0) -> list[tuple[Pack, int]]:
    """Packs of about those numbers of nodes, each numbered from 100 times its place."""
    rng = np.random.default_rng(seed)
    packs = []
    for place, size in enumerate(sizes):
        shared = rng.integers(0, 50, size // 2)
        ends = [rng.integers(0, 50, size // 4 + 1) for _ in range(2)]
        group = [Reading(np.concatenate([shared, end]).astype(np.int32), len(shared)) for end in ends]
        packs += [(pack, 100 * place) for pack in make_packs(group, PackShape(limit=10_000, overhead=9_999))]
    return packs


def check_batch(batch: Batch, packs: dict[int, Pack]) -> None:
    """Each pack lies in one piece at a multiple of ALIGN and sees itself alone, as in its own."""
    seen = allowed(*(torch.from_numpy(each) for each in (batch.subtree_end, batch.depth)), None).numpy()
    outside = seen.copy()
    np.fill_diagonal(outside, False)
    for first in sorted({int(owner) // 100 * 100 for owner in batch.owners}):
        pack = packs[first]
        own = np.flatnonzero(batch.owners // 100 * 100 == first)
        begin = int(batch.rows[batch.pair_row[own]].min()) - int(pack.rows.min())
        here = slice(begin, begin + len(pack))
        assert begin % ALIGN == 0
        assert (batch.tokens[here] == pack.tokens).all()
        mask = allowed(*(torch.from_numpy(each) for each in (pack.subtree_end, pack.depth)), None)
        assert (seen[here, here] == mask.numpy()).all()
        assert (batch.rows[batch.pair_row[own]] - begin == pack.rows[pack.pair_row]).all()
        assert (batch.owners[own] - first == pack.pair_reading).all()
        outside[here, here] = False
    assert not outside.any()


def test_batches_hold_every_pack_once_and_apart() -> None:
    """Fixed sizes, a longer one for a longer pack; all packs in; none sees another."""
    packs = made([100, 700, 300, 500, 40, 900, 2500, 60, 512, 20, 333])
    by_number = {first: pack for pack, first in packs}
    batches = list(filled(packs, (256, 1024)))
    owners = np.concatenate([batch.owners for batch in batches])
    assert sorted(owners.tolist()) == sorted(
        first + n for pack, first in packs for n in pack.pair_reading.tolist()
    )
    assert {len(batch.tokens) for batch in batches} <= {256, 1024, 3072}
    assert max(len(batch.tokens) for batch in batches) == 3072
    for batch in batches:
        check_batch(batch, by_number)


def test_most_of_a_batch_is_filled() -> None:
    """Packs of all sizes leave less than a seventh of the passes empty."""
    sizes = np.random.default_rng(1).integers(60, 1024, 300).tolist()
    packs = made(sizes)
    batches = list(filled(packs, (256, 1024)))
    assert sum(len(pack) for pack, _ in packs) > 6 / 7 * sum(len(batch.tokens) for batch in batches)


def test_a_pack_alone_has_no_padding() -> None:
    """On a CPU nothing is computed that is not asked for."""
    for (pack, _), batch in zip(made([30, 70]), alone(made([30, 70])), strict=True):
        assert len(batch.tokens) == len(pack)


def seen_by(blocks: Blocks, exact: np.ndarray) -> np.ndarray:
    """What FlexAttention sees by the tables: elements of partial blocks as `exact` says, full ones whole."""
    found = np.zeros_like(exact)
    for row in range(len(blocks.full)):
        here = slice(row * ALIGN, (row + 1) * ALIGN)
        for column in blocks.partial[row][: blocks.partial_count[row]]:
            there = slice(column * ALIGN, (column + 1) * ALIGN)
            found[here, there] = exact[here, there]
        for column in blocks.full[row][: blocks.full_count[row]]:
            found[here, column * ALIGN : (column + 1) * ALIGN] = True
    return found


@pytest.mark.parametrize("window", [None, 1, 40, 200, 5000])
def test_block_tables_see_what_the_mask_allows(window: int | None) -> None:
    """No element more, none less, with and without a sliding window; and most of what is dark is skipped."""
    chain = [Reading(np.arange(length + 1, dtype=np.int32), length) for length in (255, 256, 257, 383)]
    chains = [(pack, 900) for each in chain for pack in make_packs([each], PackShape(limit=512))]
    for batch in filled([*made([1300, 90, 400, 700, 60, 2000], seed=2), *chains], (512, 2048)):
        exact = allowed(torch.from_numpy(batch.subtree_end), torch.from_numpy(batch.depth), window).numpy()
        blocks = find_blocks(batch.subtree_end, batch.depth, window)
        assert (seen_by(blocks, exact) == exact).all()
        visited = int(blocks.partial_count.sum() + blocks.full_count.sum())
        if len(batch.tokens) == 2048 and window == 40:
            assert visited < blocks.full.size / 4  # half of what causal attention visits


def test_the_mask_by_its_definition() -> None:
    """Itself and its ancestors, within the window by depth; a dense mask adds nothing or minus infinity."""
    (pack,) = made([12], seed=3)[0][:1]
    ends, depth = torch.from_numpy(pack.subtree_end), torch.from_numpy(pack.depth)
    for window in (None, 3):
        seen = allowed(ends, depth, window)
        for q in range(len(pack)):
            for k in range(len(pack)):
                near = window is None or pack.depth[q] - pack.depth[k] < window
                assert bool(seen[q, k]) == (k <= q < pack.subtree_end[k] and near)
        mask = additive(seen, torch.bfloat16)
        assert mask.shape == (1, 1, len(pack), len(pack))
        assert mask.dtype == torch.bfloat16
        assert ((mask[0, 0] == 0) == seen).all()
        assert torch.isinf(mask[0, 0][~seen]).all()


@pytest.mark.parametrize("window", [None, 1, 40, 200])
@pytest.mark.parametrize("sizes", [[1], [BLOCK], [BLOCK + 1], [60, 500, 30, 90, 400]])
def test_attention_by_blocks_is_the_mask_s(window: int | None, sizes: list[int]) -> None:
    """The same weighted values as with the whole dense mask, heads sharing keys, and fewer looked at."""
    rng = np.random.default_rng(4)
    documents = [rng.integers(0, 50, size) for size in sizes]
    ends = [rng.integers(0, 50, 150) for _ in range(3)]
    group = [
        Reading(np.concatenate([text, end]).astype(np.int32), len(text)) for text in documents for end in ends
    ]
    (pack,) = make_packs(group, PackShape(limit=10_000, overhead=9_999))
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, heads, len(pack), 8) for heads in (4, 2, 2))
    exact = allowed(torch.from_numpy(pack.subtree_end), torch.from_numpy(pack.depth), window)
    wanted = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=additive(exact, torch.float32), enable_gqa=True
    )
    mask = block_mask(pack.subtree_end, pack.depth, window, torch.float32)
    found, _ = attend(None, query, key, value, mask)
    torch.testing.assert_close(found.transpose(1, 2), wanted, atol=1e-5, rtol=0)
    looked = sum(part.mask.numel() for part in mask.parts)  # type: ignore[attr-defined]
    assert looked < exact.numel() * (0.75 if len(sizes) > 1 else 1.01)


def test_attention_by_blocks_takes_no_other_mask() -> None:
    """Nor caps: then the self-test goes on to dense masks."""
    states = torch.zeros(1, 2, 5, 8)
    mask = block_mask(np.arange(1, 6, dtype=np.int32), np.zeros(5, np.int32), None, torch.float32)
    with pytest.raises(ValueError, match="softcap"):
        attend(None, states, states, states, mask, softcap=30.0)
    with pytest.raises(ValueError, match="no other mask"):
        attend(None, states, states, states, mask.clone())
