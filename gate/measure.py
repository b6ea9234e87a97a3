"""Measure base and tuned model on the same documents, block by block, from the store where it can.

The unit is the block: what is scored, stored, drawn and, later, distributed. Requests are
built once for both models, and a block is scored for both in the same way. Which blocks are
scored under `decide: score`, `gate.schedule` says.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np

from checks import OpenTask, PreparedLeaf, PreparedTask, flips, pair
from gate.bench import Bench, StoredOrAsked, Work
from gate.errors import MeasurementError
from gate.records import Block, BlockResult, Measurements, Policy, Request, Response
from gate.schedule import key_of, make_schedule
from gate.scoring import SIDES, FellBack, ModelSession, check_applied, draw_order, make_blocks
from gate.shell import Shell
from gate.stats import Array
from gate.store import Store
from gate.verdict import order_digest
from gate.verdict.settling import Key, advance

R = TypeVar("R")
Rounds = list[list[Work]] | None


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements, and what they took: seconds, and blocks of either origin."""

    measurements: Measurements
    blocks_scored: int
    blocks_from_store: int
    seconds: float
    order_digest: str = ""  # of the order in which documents were drawn; "" where all were scored


def measure(
    tasks: Sequence[OpenTask],
    session: ModelSession,
    store: Store,
    shell: Shell,
    policy: Policy | None = None,
    inputs: str = "",
) -> Measured:
    """Score the planned blocks of `tasks` with both models of `session`; pair the results.

    Under a `policy` with `decide: score`, blocks are drawn until its rules are settled, in the order that
    the salt gives to `inputs`, the digest of what is judged. Else every block is scored.

    Raises `MeasurementError` where the two sides do not match or a number is not finite, and
    `OutOfMemory` where a block does not fit even in the smallest size.
    """
    started = shell.clock()
    prepared = [prepare(task, session, shell) for task in tasks]
    shell.progress.done("preparing")
    planned = [item for task in prepared for item in plan_blocks(task, store.salt)]
    judging = policy if policy is not None and policy.decide == "score" else None

    def score() -> tuple[Bench, Rounds]:
        bench = Bench(StoredOrAsked(session, store, shell.clock), session.way, shell)
        rounds = draw_rounds(planned, prepared, judging, bench, store.salt, inputs) if judging else None
        score_and_check(bench, drawn_in(rounds, planned), session, shell)
        return bench, rounds

    bench, rounds = exactly(score, session, shell)
    measurements = _paired(session, prepared, drawn_in(rounds, planned), bench, rounds)
    from_store = sum(scored.from_store for scored in bench.results.values())
    return Measured(
        measurements,
        len(bench.results) - from_store,
        from_store,
        shell.clock() - started,
        order_digest(measurements),
    )


def _paired(
    session: ModelSession,
    prepared: Sequence[PreparedTask],
    work: Sequence[Work],
    bench: Bench,
    rounds: Rounds,
) -> Measurements:
    return Measurements(
        base=session.base,
        tuned=session.tuned,
        tasks=tuple(task.info for task in prepared),
        measurements=tuple(_each(pair, prepared, work, bench, rounds)),
        flips=tuple(flip for found in _each(flips, prepared, work, bench, rounds) for flip in found),
    )


def drawn_in(rounds: Rounds, planned: list[Work]) -> list[Work]:
    """The work of all rounds; all that is planned where there are none."""
    return planned if rounds is None else [item for each in rounds for item in each]


def score_and_check(bench: Bench, work: Sequence[Work], session: ModelSession, shell: Shell) -> None:
    """Every block's results for both models, of weights that were in use."""
    bench.add(work)
    shell.progress.done(bench.what)
    check_in_use([bench.sides(item.block) for item in work], work, session)


def exactly(score: Callable[[], R], session: ModelSession, shell: Shell) -> R:
    """What `score` gives; from the beginning with lm-eval's HF model, and a warning, where the session's
    scorer is not exact for one of the models: both sides of a pair come from one scorer."""
    while True:
        try:
            found = score()
            break
        except FellBack as error:
            session.fall_back(error)
    if session.note:
        shell.warn(f"not by the fastest scorer: {session.note}")
    return found


def draw_rounds(
    work: Sequence[Work],
    prepared: Sequence[PreparedTask],
    policy: Policy,
    bench: Bench,
    salt: bytes,
    inputs: str,
) -> list[list[Work]]:
    """Score round after round until every rule is settled; the work of each round."""
    of_block = {item.block: item for item in work}
    order = {key: draw_order(blocks, salt, inputs) for key, blocks in _by_leaf(work).items()}
    infos = [task.info for task in prepared]
    kinds = {key_of(task.info, leaf.name): leaf.aggregation for task in prepared for leaf in task.leaves}
    schedule, standing = make_schedule(policy, infos, kinds, order)
    rounds: list[list[Work]] = []
    while taken := schedule.next_round(standing):
        new = [of_block[block] for blocks in taken.values() for block in blocks]
        bench.add(new, ahead=[of_block[block] for block in schedule.ahead(taken)])
        rounds.append(new)
        failed = standing.broken
        judged = {key for question in standing.open for key in question.keys}
        standing = advance(standing, {key: _values(taken[key], bench, key) for key in taken if key in judged})
        schedule = schedule.after(taken, failed=failed)
    return rounds


def _by_leaf(work: Iterable[Work]) -> dict[Key, tuple[Block, ...]]:
    found: dict[Key, list[Block]] = {}
    for item in work:
        found.setdefault(item.key, []).append(item.block)
    return {key: tuple(blocks) for key, blocks in found.items()}


def _values(blocks: Sequence[Block], bench: Bench, key: Key) -> tuple[Array, Array]:
    """Both models' values of some blocks. Raises MeasurementError where one is missing or not finite."""
    name, sides = f"{key[2]},{key[3]}", [bench.sides(block) for block in blocks]
    columns = [[value for pair in sides for value in pair[at].values.get(name, (math.nan,))] for at in (0, 1)]
    base, tuned = (np.array(column, dtype=np.float64) for column in columns)
    if base.shape != tuned.shape or not (np.isfinite(base).all() and np.isfinite(tuned).all()):
        raise MeasurementError(f"{key[0]}, {key[1]}: a document has no finite {name}")
    return base, tuned


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
            yield Work(leaf, block, _requests_digest(leaf, block), task.info)


def _requests_digest(leaf: PreparedLeaf, block: Block) -> str:
    documents = [leaf.documents[position] for position in block.documents]
    asked = [(document.number, document.hash, document.requests) for document in documents]
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()


def _each(
    make: Callable[..., R],
    prepared: Sequence[PreparedTask],
    work: Sequence[Work],
    bench: Bench,
    rounds: Sequence[Sequence[Work]] | None,
) -> Iterator[R]:
    """`make(info, leaf, base results, tuned results, rounds)` of every leaf."""
    for task in prepared:
        for leaf in task.leaves:
            blocks = [item.block for item in work if item.leaf is leaf]
            pairs = [bench.sides(block) for block in blocks]
            drawn = None if rounds is None else _rounds_of(leaf, rounds)
            yield make(task.info, leaf, [base for base, _ in pairs], [tuned for _, tuned in pairs], drawn)


def _rounds_of(leaf: PreparedLeaf, rounds: Sequence[Sequence[Work]]) -> dict[int, int]:
    """The round in which each document was drawn, by its number."""
    return {
        leaf.documents[position].number: number
        for number, work in enumerate(rounds)
        for item in work
        if item.leaf is leaf
        for position in item.block.documents
    }
