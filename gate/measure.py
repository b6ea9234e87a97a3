"""Measure base and tuned model on the same documents, block by block, from the store where it can.

The unit is the block: what is scored, stored and, later, sampled and distributed. Requests are
built once for both models, and a block is scored for both with the same batch size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import msgspec

from checks import OpenTask, PreparedLeaf, PreparedTask, block_result, flips, pair
from gate.errors import OutOfMemory
from gate.records import Block, BlockResult, Evaluation, Measurements, Request, Response
from gate.scoring import ModelSession, Scorer, Side, block_key, check_applied, make_blocks
from gate.shell import Shell
from gate.store import Store

R = TypeVar("R")
SIDES: tuple[Side, Side] = ("base", "tuned")


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements, and what they took: seconds, and blocks of either origin."""

    measurements: Measurements
    blocks_scored: int
    blocks_from_store: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """One block of one prepared leaf, with the digest of what it asks."""

    leaf: PreparedLeaf
    block: Block
    digest: str


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's result for one block, and whether the store had it."""

    result: BlockResult
    from_store: bool


Results = dict[tuple[Side, Block], Scored]


def measure(
    tasks: Sequence[OpenTask], session: ModelSession, store: Store, evaluation: Evaluation, shell: Shell
) -> Measured:
    """Score every planned block of `tasks` with both models of `session`; pair the results.

    Raises `MeasurementError` where the two sides do not match or a number is not finite, and
    `OutOfMemory` where a block does not fit even one request at a time.
    """
    started = shell.clock()
    prepared = [prepare(task, session, shell) for task in tasks]
    shell.progress.done("preparing")
    work = [item for task in prepared for item in plan_blocks(task, store.salt)]
    results = score_all(work, block_scorer(session, store, shell.clock), evaluation.batch_size, shell)
    check_in_use([_sides(results, item.block) for item in work], work, session)
    measurements = Measurements(
        base=session.base,
        tuned=session.tuned,
        tasks=tuple(task.info for task in prepared),
        measurements=tuple(_each(pair, prepared, work, results)),
        flips=tuple(flip for found in _each(flips, prepared, work, results) for flip in found),
    )
    from_store = sum(scored.from_store for scored in results.values())
    return Measured(measurements, len(results) - from_store, from_store, shell.clock() - started)


def check_in_use(
    pairs: Sequence[tuple[BlockResult, BlockResult]], work: Sequence[Work], session: ModelSession
) -> None:
    """Raise `MeasurementError` where the tuned weights were not in use: see `check_applied`.

    Equal texts prove nothing by themselves, so where there are only texts and all are equal, both models
    are asked for the log-likelihood of one.
    """
    check_applied(session.tuned, pairs)
    if any(base.responses != tuned.responses for base, tuned in pairs):
        return
    asked = work[0].leaf.documents[work[0].block.documents[0]].requests[0].context
    probe = Request("loglikelihood", asked or "The", " the")
    base, tuned = (_probe_result(session.scorer(side).score([probe])) for side in SIDES)
    check_applied(session.tuned, [(base, tuned)])


def _probe_result(answers: Sequence[Response]) -> BlockResult:
    return BlockResult(numbers=(0,), hashes=("",), responses=(tuple(answers),), values={})


def prepare(task: OpenTask, session: ModelSession, shell: Shell) -> PreparedTask:
    """Build a task's requests, and make sure that both models read them as the same tokens."""
    shell.progress.update("preparing", 0, 0, task.info.task)
    prepared = task.build(session.chat_template_for(task.info.chat_template))
    session.check_like_for_like(
        request for leaf in prepared.leaves for document in leaf.documents for request in document.requests
    )
    return prepared


def plan_blocks(task: PreparedTask, salt: bytes) -> Iterator[Work]:
    """The blocks of a task, a leaf after the other, each with the digest of its requests."""
    for planned, leaf in zip(task.info.leaves, task.leaves, strict=True):
        hashes = [document.hash for document in leaf.documents]
        for block in make_blocks(task.info.task, leaf.name, hashes, salt, planned.documents_planned):
            yield Work(leaf, block, _requests_digest(leaf, block))


def _requests_digest(leaf: PreparedLeaf, block: Block) -> str:
    documents = [leaf.documents[position] for position in block.documents]
    asked = [(document.number, document.hash, document.requests) for document in documents]
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()


def score_all(
    work: Sequence[Work], score: Callable[[Work, Side, int], Scored], batch_size: int, shell: Shell
) -> Results:
    """Every block's result for both models, the base first.

    A block that does not fit is scored by both models with half the batch, and so is what was not
    scored yet: a batch size moves a score a little, so the two sides of a pair must share it.
    """
    sizes = dict.fromkeys((item.block for item in work), batch_size)
    pending = [(side, item) for side in SIDES for item in work]
    results: Results = {}
    while pending:
        side, item = pending.pop(0)
        try:
            results[side, item.block] = score(item, side, sizes[item.block])
        except OutOfMemory:
            if sizes[item.block] == 1:
                raise
            pending = [(side, item), *pending, *_halve(item, side, sizes, results)]
            shell.warn(f"out of memory in {item.leaf.name}: batches of {sizes[item.block]} for both models")
        total = len(results) + len(pending)
        shell.progress.update(f"measuring the {side} model", len(results), total, item.leaf.name)
    for side in SIDES:
        shell.progress.done(f"measuring the {side} model")
    return results


def _halve(item: Work, side: Side, sizes: dict[Block, int], results: Results) -> list[tuple[Side, Work]]:
    """Half the batch for this block and for those without any answer; what the other model must do again."""
    size = sizes[item.block] // 2
    for block in sizes.keys() - {scored for _, scored in results} | {item.block}:
        sizes[block] = min(size, sizes[block])
    other: Side = "tuned" if side == "base" else "base"
    return [] if results.pop((other, item.block), None) is None else [(other, item)]


def block_scorer(
    session: ModelSession, store: Store, clock: Callable[[], float]
) -> Callable[[Work, Side, int], Scored]:
    """How a block is scored: from the store, else by the model, and then stored."""

    @lru_cache(maxsize=2)
    def scorer(side: Side, batch_size: int) -> Scorer:
        return session.with_batch_size(batch_size).scorer(side)

    @lru_cache(maxsize=2)
    def identity(side: Side, batch_size: int) -> tuple[tuple[str, str], ...]:
        return tuple(scorer(side, batch_size).identity.items())

    def score(item: Work, side: Side, batch_size: int) -> Scored:
        key = block_key(
            {**dict(identity(side, batch_size)), "task": item.leaf.digest, "requests": item.digest}
        )
        stored = store.get_block(key, side)
        if stored is not None:
            return Scored(stored, from_store=True)
        started = clock()
        responses = _answers(item, scorer(side, batch_size))
        result = block_result(item.leaf, item.block.documents, responses, clock() - started)
        store.put_block(key, result)
        return Scored(result, from_store=False)

    return score


def _answers(item: Work, scorer: Scorer) -> list[list[Response]]:
    documents = [item.leaf.documents[position] for position in item.block.documents]
    requests: list[Request] = [request for document in documents for request in document.requests]
    answers = iter(scorer.score(requests))
    return [[next(answers) for _ in document.requests] for document in documents]


def _sides(results: Results, block: Block) -> tuple[BlockResult, BlockResult]:
    return results["base", block].result, results["tuned", block].result


def _each(
    make: Callable[..., R], prepared: Sequence[PreparedTask], work: Sequence[Work], results: Results
) -> Iterator[R]:
    """`make(info, leaf, base results, tuned results)` of every leaf."""
    for task in prepared:
        for leaf in task.leaves:
            blocks = [item.block for item in work if item.leaf is leaf]
            pairs = [_sides(results, block) for block in blocks]
            yield make(task.info, leaf, [base for base, _ in pairs], [tuned for _, tuned in pairs])
