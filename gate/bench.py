"""Blocks scored by both models: from the store where it has them, the base first, in sizes that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from checks import PreparedLeaf, block_result
from gate.errors import OutOfMemory
from gate.records import Block, BlockResult, Document, Request, TaskInfo
from gate.schedule import key_of
from gate.scoring import ModelSession, Scorer, Side, Way, block_key
from gate.shell import Shell
from gate.store import Store
from gate.verdict.settling import Key

SHORT, LONG, MOST = 3.0, 15.0, 64  # seconds of a call below and above which it takes more and fewer blocks


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


class Answers(Protocol):
    """Where results come from."""

    @property
    def processes(self) -> int:
        """How many share the blocks of a call."""

    def stored(self, item: Work, side: Side, way: Way) -> Scored | None:
        """What the store has."""

    def ask(self, items: Sequence[Work], side: Side, way: Way) -> list[Scored]:
        """What the model says, of several blocks at once; it is stored. Raises OutOfMemory."""


class Bench:
    """The results so far, and how more of them are made: the base first: one model is in memory.

    Blocks that do not fit are scored by both models in the next smaller size, and so is what was not
    scored yet: a size moves a score a little, so the two sides of a pair must share it. Without `shrinks`
    they end the run: where one size alone is wanted.
    """

    def __init__(self, answers: Answers, way: Way, shell: Shell, *, shrinks: bool = True) -> None:
        self.results: Results = {}
        self.what = ""
        self._answers, self._way, self._shell, self._shrinks = answers, way, shell, shrinks
        self._ways: dict[Block, Way] = {}
        self._pace = Pace(way, answers.processes)

    def add(self, work: Sequence[Work], ahead: Sequence[Work] = ()) -> None:
        """Every block's result for both models. Where the base has to be asked, so it is about `ahead`."""
        for item in (*work, *ahead):
            self._ways.setdefault(item.block, self._way)
        new = [item for item in work if ("base", item.block) not in self.results]
        self._run([("base", item) for item in work], len(work))
        if not all(self.results["base", item.block].from_store for item in new):
            self._run([("base", item) for item in ahead], len(work))
        self._run([("tuned", item) for item in work], 0)

    def add_base(self, work: Sequence[Work], what: str) -> None:
        """Every block's result for the base alone; `what` is said of the progress."""
        for item in work:
            self._ways.setdefault(item.block, self._way)
        self._shell.progress.update(what, 0, len(work))
        self._run([("base", item) for item in work], 0, what)

    def sides(self, block: Block) -> tuple[BlockResult, BlockResult]:
        """Both models' answers to a block."""
        return self.results["base", block].result, self.results["tuned", block].result

    def _run(self, asked: Sequence[tuple[Side, Work]], later: int, what: str = "") -> None:
        pending = [(side, item) for side, item in asked if (side, item.block) not in self.results]
        while pending:
            side, item = pending[0]
            again = self._next(pending, side, self._ways[item.block])
            pending = [each for each in pending if (each[0], each[1].block) not in self.results] + again
            self.what = what or f"measuring the {side} model"
            total = len(self.results) + len(pending) + later
            self._shell.progress.update(self.what, len(self.results), total, item.leaf.name)

    def _next(self, pending: Sequence[tuple[Side, Work]], side: Side, way: Way) -> list[tuple[Side, Work]]:
        """Results of the next blocks; what the other model must do again where they did not fit."""
        missing: list[Work] = []
        for whose, item in pending[: MOST * self._pace.least]:
            if (whose, self._ways[item.block]) != (side, way) or len(missing) == self._pace.blocks:
                break
            stored = self._answers.stored(item, side, way)
            if stored is None:
                missing.append(item)
            else:
                self.results[side, item.block] = stored
        if not missing:
            return []
        started = self._shell.clock()
        try:
            scored = self._answers.ask(missing, side, way)
        except OutOfMemory:
            smaller = way.smaller()
            if smaller is None or not self._shrinks:
                raise
            return self._shrink(missing, side, smaller)
        self._pace.took(len(missing), self._shell.clock() - started)
        self.results.update(zip([(side, item.block) for item in missing], scored, strict=True))
        return []

    def _shrink(self, missing: Sequence[Work], side: Side, way: Way) -> list[tuple[Side, Work]]:
        """`way` for these blocks and those without any answer; what the other model must do again."""
        self._way = min(way, self._way, key=_size)
        mine = {item.block for item in missing}
        for block in self._ways.keys() - {scored for _, scored in self.results} | mine:
            self._ways[block] = min(way, self._ways[block], key=_size)
        name = missing[0].leaf.name
        self._shell.warn(f"out of memory in {name}: {way.sizes} for both models")
        other: Side = "tuned" if side == "base" else "base"
        return [(other, each) for each in missing if self.results.pop((other, each.block), None) is not None]


def _size(way: Way) -> tuple[int, int]:
    return way.pack, way.batch


@dataclass
class Pace:
    """How many blocks are asked about in one call: as many as take some seconds; of lm-eval's models one a
    process."""

    way: Way
    least: int = 1

    def __post_init__(self) -> None:
        self.blocks = self.least

    def took(self, blocks: int, seconds: float) -> None:
        """Learn from a call."""
        if self.way.scorer == "tree" and blocks == self.blocks and seconds < SHORT:
            self.blocks = min(MOST * self.least, 2 * self.blocks)
        elif seconds > LONG:
            self.blocks = max(self.least, self.blocks // 2)


class StoredOrAsked:
    """Results from the store, else from the models of a session, and then stored."""

    def __init__(self, session: ModelSession, store: Store, clock: Callable[[], float]) -> None:
        self._session, self._store, self._clock = session, store, clock
        self._known = lru_cache(maxsize=4)(self._parts)

    @property
    def processes(self) -> int:
        """How many share the blocks of a call."""
        return self._session.processes

    def stored(self, item: Work, side: Side, way: Way) -> Scored | None:
        """What the store has."""
        found = self._store.get_block(self._key(item, side, way), side)
        return None if found is None else Scored(found, from_store=True)

    def ask(self, items: Sequence[Work], side: Side, way: Way) -> list[Scored]:
        """What the model says, of several blocks at once. Raises OutOfMemory, MeasurementError, FellBack."""
        started = self._clock()
        answers = self._session.scorer(side, way).score_groups([_requests(item) for item in items])
        seconds = (self._clock() - started) / len(items)
        found = []
        for item, responses in zip(items, answers, strict=True):
            each = iter(responses)
            grouped = [[next(each) for _ in document.requests] for document in _documents(item)]
            result = block_result(item.leaf, item.block.documents, grouped, seconds)
            self._store.put_block(self._key(item, side, way), result)
            found.append(Scored(result, from_store=False))
        return found

    def _key(self, item: Work, side: Side, way: Way) -> str:
        identity, generation = self._known(side, way)
        texts = any(request.kind == "generate_until" for request in _requests(item))
        more = generation if texts else ()
        return block_key({**dict(identity), **dict(more), "task": item.leaf.digest, "requests": item.digest})

    def _parts(self, side: Side, way: Way) -> tuple[Parts, Parts]:
        scorer: Scorer = self._session.scorer(side, way)
        return tuple(scorer.identity.items()), tuple(scorer.generation.items())


Parts = tuple[tuple[str, str], ...]


def _documents(item: Work) -> list[Document]:
    return [item.leaf.documents[position] for position in item.block.documents]


def _requests(item: Work) -> list[Request]:
    return [request for document in _documents(item) for request in document.requests]
