"""Documents that one model had right and the other wrong, worst first, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from checks.pairing import Scored, pair_documents
from checks.protocol import PreparedLeaf
from gate.records import BlockResult, Flip, TaskInfo

CAP = 200  # a leaf; the counts of all flips come from the measurement


def flips(
    info: TaskInfo,
    leaf: PreparedLeaf,
    base: Sequence[BlockResult],
    tuned: Sequence[BlockResult],
    rounds: Mapping[int, int] | None = None,
    *,
    cap: int = CAP,
) -> tuple[Flip, ...]:
    """Documents whose value changed, up to `cap`: what fell first, and of that the most lost first.

    Only for metrics that say right or wrong (unit "accuracy"); others have no flips.
    """
    if info.unit != "accuracy" or leaf.aggregation != "mean":
        return ()
    paired = pair_documents(info, leaf, base, tuned, rounds)
    changed = [
        (_gain(info, one, other), _confidence(one, other), number, one, other)
        for number, one, other in zip(paired.numbers, paired.base, paired.tuned, strict=True)
        if one.value != other.value
    ]
    changed.sort(key=lambda row: row[:3])
    return tuple(
        _flip(info, leaf, number, one, other, gain < 0) for gain, _, number, one, other in changed[:cap]
    )


def _flip(info: TaskInfo, leaf: PreparedLeaf, number: int, one: Scored, other: Scored, fell: bool) -> Flip:
    document = leaf.documents[number]
    return Flip(
        task=info.task,
        leaf=leaf.name,
        number=number,
        prompt=document.prompt,
        target=document.target,
        base_answer=leaf.answer(number, one.responses),
        tuned_answer=leaf.answer(number, other.responses),
        fell=fell,
    )


def _gain(info: TaskInfo, one: Scored, other: Scored) -> float:
    gain = (other.value or 0.0) - (one.value or 0.0)
    return gain if info.higher_is_better else -gain


def _confidence(one: Scored, other: Scored) -> float:
    """Minus how far the answers moved, in nats, so that the largest move sorts first; 0 for text."""
    moves = [
        abs((b.logprob or 0.0) - (a.logprob or 0.0))
        for a, b in zip(one.responses, other.responses, strict=True)
    ]
    return -max(moves, default=0.0)
