"""Blocks scored by both models: from the store where it has them, the base first, in batches that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from checks import PreparedLeaf, block_result
from gate.errors import OutOfMemory
from gate.records import Block, BlockResult, Request, Response, TaskInfo
from gate.schedule import key_of
from gate.scoring import ModelSession, Scorer, Side, block_key
from gate.shell import Shell
from gate.store import Store
from gate.verdict.settling import Key


@dataclass(frozen=True, slots=True)
class Work:
    """One block of one prepared leaf, with the digest of what it asks."""

    leaf: PreparedLeaf
    block: Block
    digest: str
    info: TaskInfo

    @property
    def key(self) -> Key:
        """The name of the values that its documents get."""
        return key_of(self.info, self.leaf.name)


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's result for one block, and whether the store had it."""

    result: BlockResult
    from_store: bool


Results = dict[tuple[Side, Block], Scored]


class Bench:
    """The results so far, and how more of them are made: the base first: one model is in memory.

    A block that does not fit is scored by both models with half the batch, and so is what was not
    scored yet: a batch size moves a score a little, so the two sides of a pair must share it.
    """

    def __init__(self, score: Callable[[Work, Side, int], Scored], batch_size: int, shell: Shell) -> None:
        self.results: Results = {}
        self.what = "measuring the base model"
        self._score, self._batch_size, self._shell = score, batch_size, shell
        self._sizes: dict[Block, int] = {}

    def add(self, work: Sequence[Work], ahead: Sequence[Work] = ()) -> None:
        """Every block's result for both models. Where the base has to be asked, so it is about `ahead`."""
        for item in (*work, *ahead):
            self._sizes.setdefault(item.block, self._batch_size)
        new = [item for item in work if ("base", item.block) not in self.results]
        self._run([("base", item) for item in work], len(work))
        if not all(self.results["base", item.block].from_store for item in new):
            self._run([("base", item) for item in ahead], len(work))
        self._run([("tuned", item) for item in work], 0)

    def sides(self, block: Block) -> tuple[BlockResult, BlockResult]:
        """Both models' answers to a block."""
        return self.results["base", block].result, self.results["tuned", block].result

    def _run(self, asked: Sequence[tuple[Side, Work]], later: int) -> None:
        pending = [(side, item) for side, item in asked if (side, item.block) not in self.results]
        while pending:
            side, item = pending.pop(0)
            try:
                self.results[side, item.block] = self._score(item, side, self._sizes[item.block])
            except OutOfMemory:
                if self._sizes[item.block] == 1:
                    raise
                pending = [(side, item), *pending, *self._halve(item, side)]
                size = self._sizes[item.block]
                self._shell.warn(f"out of memory in {item.leaf.name}: batches of {size} for both models")
            self.what, total = f"measuring the {side} model", len(self.results) + len(pending) + later
            self._shell.progress.update(self.what, len(self.results), total, item.leaf.name)

    def _halve(self, item: Work, side: Side) -> list[tuple[Side, Work]]:
        """Half the batch for this block and those without any answer; what the other model must do again."""
        size = self._sizes[item.block] // 2
        self._batch_size = min(size, self._batch_size)
        for block in self._sizes.keys() - {scored for _, scored in self.results} | {item.block}:
            self._sizes[block] = min(size, self._sizes[block])
        other: Side = "tuned" if side == "base" else "base"
        return [] if self.results.pop((other, item.block), None) is None else [(other, item)]


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
