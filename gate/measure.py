"""Measure base and tuned model on the same documents, block by block, from the store where it can.

The unit is the block: what is scored, stored, drawn and, later, distributed. Requests are
built once for both models, and a block is scored for both in the same way. Which blocks are
scored under `decide: score`, `gate.schedule` says.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
import numpy as np

from checks import OpenTask, PreparedLeaf, PreparedTask, flips, pair
from gate.bench import Bench, StoredOrAsked, Work
from gate.errors import MeasurementError
from gate.records import Block, BlockResult, Measurements, Policy, Request, Response
from gate.schedule import Schedule, key_of, make_schedule
from gate.scoring import SIDES, FellBack, ModelSession, check_applied, draw_order, make_blocks
from gate.shell import Shell
from gate.stats import Array
from gate.store import Store
from gate.turns import Asked, Turns
from gate.verdict import mean_values, order_digest
from gate.verdict.settling import Key, Standing, advance

R = TypeVar("R")


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
    return measure_together(tasks, [session], store, shell, policy, inputs)[0]


def measure_together(
    tasks: Sequence[OpenTask],
    sessions: Sequence[ModelSession],
    store: Store,
    shell: Shell,
    policy: Policy | None = None,
    inputs: str = "",
) -> list[Measured]:
    """The same of several tuned models of one base: all answer the same documents, in the same rounds, by one
    scorer, until the rules of `policy` about the mean of their values are settled. The first, the one that
    ships unless another is asked for, then goes on alone until its own are settled too."""
    models = [_plan(tasks, session, store, shell) for session in sessions]
    shell.progress.done("preparing")
    blocks = [item.block for item in models[0].planned]
    if any([item.block for item in model.planned] != blocks for model in models):
        raise MeasurementError("the trainings of this recipe do not read the same documents")

    def score() -> None:
        for model in models:
            model.bench = Bench(StoredOrAsked(model.session, store, shell.clock), model.session.way, shell)
        with ExitStack() as holds:
            turns = Turns(models, holds, shell.clock)
            if policy is not None and policy.decide == "score":
                draw_rounds(models, policy, turns, store.salt, inputs)
            turns.take(lambda model: score_and_check(model, shell), models)

    exactly(score, sessions, shell)
    return [_measured(model) for model in models]


def _plan(tasks: Sequence[OpenTask], session: ModelSession, store: Store, shell: Shell) -> Asked:
    started = shell.clock()
    prepared = [prepare(task, session, shell) for task in tasks]
    planned = [item for task in prepared for item in plan_blocks(task, store.salt)]
    return Asked(session, prepared, planned, shell.clock() - started)


def _measured(model: Asked) -> Measured:
    work, bench = model.work(model.blocks), model.bench
    asked = None if model.rounds is None else [model.work(each) for each in model.rounds]
    session, prepared = model.session, model.prepared
    measurements = Measurements(
        base=session.base,
        tuned=session.tuned,
        tasks=tuple(task.info for task in prepared),
        measurements=tuple(_each(pair, prepared, work, bench, asked)),
        flips=tuple(flip for found in _each(flips, prepared, work, bench, asked) for flip in found),
    )
    from_store = sum(scored.from_store for scored in bench.results.values())
    scored = len(bench.results) - from_store
    return Measured(measurements, scored, from_store, model.seconds, order_digest(measurements))


def score_and_check(model: Asked, shell: Shell) -> None:
    """Every block's results for both models, of weights that were in use."""
    work, bench = model.work(model.blocks), model.bench
    bench.add(work)
    shell.progress.done(bench.what)
    check_in_use([bench.sides(item.block) for item in work], work, model.session)


def exactly(score: Callable[[], R], sessions: Sequence[ModelSession], shell: Shell) -> R:
    """What `score` gives; from the beginning with lm-eval's HF model, and a warning, where the sessions'
    scorer is not exact for one of the models: both sides of a pair come from one scorer."""
    while True:
        try:
            found = score()
            break
        except FellBack as error:
            for session in sessions:
                session.fall_back(error)
    for note in dict.fromkeys(session.note for session in sessions if session.note):
        shell.warn(f"not by the fastest scorer: {note}")
    return found


def draw_rounds(models: Sequence[Asked], policy: Policy, turns: Turns, salt: bytes, inputs: str) -> None:
    """Score round after round until every rule is settled, of several models about their mean; then the first
    one's own, unless the run fails anyway."""
    prepared = models[0].prepared
    order = {key: draw_order(blocks, salt, inputs) for key, blocks in _by_leaf(models[0].planned).items()}
    kinds = {key_of(task.info, leaf.name): leaf.aggregation for task in prepared for leaf in task.leaves}
    schedule, standing = make_schedule(policy, [task.info for task in prepared], kinds, order)
    own = replace(standing, choices=len(models))
    for model in models:
        model.rounds = []
    while taken := schedule.next_round(standing):
        _score_round(models, taken, schedule, turns)
        failed, standing = standing.broken, _advanced(standing, taken, models)
        own = _advanced(own, taken, models[:1]) if len(models) > 1 else standing
        schedule = schedule.after(taken, failed=failed)
    schedule = replace(schedule, models=1)
    while not (standing.broken or own.broken) and (taken := schedule.next_round(own)):
        _score_round(models[:1], taken, schedule, turns)
        own, schedule = _advanced(own, taken, models[:1]), schedule.after(taken, failed=False)


def _score_round(
    models: Sequence[Asked], taken: Mapping[Key, Sequence[Block]], schedule: Schedule, turns: Turns
) -> None:
    new, ahead = [block for blocks in taken.values() for block in blocks], schedule.ahead(taken)
    for model in models:
        assert model.rounds is not None
        model.rounds.append(new)
    turns.take(lambda model: model.bench.add(model.work(new), ahead=model.work(ahead)), models)


def _advanced(standing: Standing, taken: Mapping[Key, Sequence[Block]], models: Sequence[Asked]) -> Standing:
    """After a round: what open rules need is the mean of the models' values."""
    judged = {key for question in standing.open for key in question.keys}
    return advance(standing, {key: _mean_values(taken[key], models, key) for key in taken if key in judged})


def _by_leaf(work: Iterable[Work]) -> dict[Key, tuple[Block, ...]]:
    found: dict[Key, list[Block]] = {}
    for item in work:
        found.setdefault(item.key, []).append(item.block)
    return {key: tuple(blocks) for key, blocks in found.items()}


def _mean_values(blocks: Sequence[Block], models: Sequence[Asked], key: Key) -> tuple[Array, Array]:
    """The base's values of some blocks, and the means of the tuned models'."""
    pairs = [_values(blocks, model.bench, key) for model in models]
    return pairs[0][0], mean_values([tuned for _, tuned in pairs])


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
