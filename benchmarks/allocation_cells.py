"""Soundness cells of the schedule itself: which blocks come next follows from what was seen.

Each trial is played through `gate.schedule` and `gate.verdict.settling`, as `ftgate check` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.trials import BLOCK, Found, Values, benchmark
from gate.records import Block, Leaf, Policy, Rule, TaskInfo, TaskSpec
from gate.schedule import Schedule, key_of, make_schedule
from gate.verdict.settling import Key, RuleState, Standing, advance

SIZES, NOISY = (500, 800, 1319, 1319, 2000, 3000, 4000, 5000), (0.02, 0.3)


@dataclass(frozen=True, slots=True)
class Case:
    """Tasks (documents, flips, net loss), held to one mean's margin or each to its own."""

    tasks: tuple[tuple[int, float, int], ...]
    margin: float
    mean: bool = False
    on_fail: str = "complete"
    block: int = BLOCK

    @property
    def values(self) -> list[Values]:
        return [benchmark(n, flips, net).astype(float) for n, flips, net in self.tasks]

    @property
    def breaks(self) -> bool:
        """What the full benchmark says."""
        means = [values.mean() for values in self.values]
        worst = math.fsum(means) / len(means) if self.mean else max(means)
        return bool(worst > self.margin + 1e-12)


class Even(Schedule):
    """The schedule without worth: of every leaf that is needed as many blocks as of any other."""

    def _share(self, state: RuleState, blocks: int = 0) -> dict[Key, int]:
        return {key: self._grown(key) for key in state.question.keys}

    def _suspect(self, standing: Standing) -> RuleState | None:
        return None


def make(case: Case, rng: np.random.Generator, kind: type[Schedule]) -> tuple[Schedule, Standing]:
    """The policy's schedule over one random order of each task's documents."""
    names = [f"task{number}" for number in range(len(case.tasks))]
    sizes = [n for n, *_ in case.tasks]
    infos = [
        TaskInfo(
            f"general/{name}",
            "benchmarks",
            "acc",
            "none",
            "accuracy",
            True,
            (Leaf(name, n, n),),
            right_or_wrong=True,
        )
        for name, n in zip(names, sizes, strict=True)
    ]
    rules = [Rule("general", name, "max_drop", case.margin) for name in names]
    if case.mean:
        rules = [Rule("average", "general", "max_drop", case.margin)]
    specs = tuple(TaskSpec("general", name) for name in names)
    policy = Policy(tuple(rules), specs, decide="score", on_fail=case.on_fail, fail_budget=1.0)  # type: ignore[arg-type]
    order: dict[Key, tuple[Block, ...]] = {}
    for info, n in zip(infos, sizes, strict=True):
        (leaf,) = info.leaves
        drawn, size = rng.permutation(n).tolist(), case.block
        blocks = (Block(info.task, leaf.name, at, tuple(drawn[at : at + size])) for at in range(0, n, size))
        order[key_of(info, leaf.name)] = tuple(blocks)
    schedule, standing = make_schedule(policy, infos, dict.fromkeys(order, "mean"), order)
    return kind(schedule.order, schedule.whole, schedule.on_fail, schedule.budget, schedule.drawn), standing


def play(
    case: Case, values: Mapping[Key, Values], schedule: Schedule, standing: Standing
) -> tuple[bool, int]:
    """Whether a rule was claimed to break, and the documents drawn when the run ended."""
    while taken := schedule.next_round(standing):
        drawn = {}
        for key, blocks in taken.items():
            lost = values[key][[at for block in blocks for at in block.documents]]
            drawn[key] = (lost, np.zeros_like(lost))
        failed = standing.broken
        standing = advance(standing, drawn)
        schedule = schedule.after(taken, failed=failed)
    used = sum(len(block.documents) for key, n in schedule.drawn.items() for block in schedule.order[key][:n])
    return standing.broken, used


def cell(name: str, case: Case, trials: int, kind: type[Schedule] = Schedule) -> Found:
    """One benchmark under many orders: wrong verdicts, and the mean share of documents."""
    wrong, shares = 0, []
    values, total = case.values, sum(n for n, *_ in case.tasks)
    for trial in range(trials):
        schedule, standing = make(case, np.random.default_rng([20, trial]), kind)
        broke, used = play(case, dict(zip(schedule.order, values, strict=True)), schedule, standing)
        wrong += broke != case.breaks
        shares.append(used / total)
    error = float(np.std(shares)) / math.sqrt(trials)
    what = "false pass" if case.breaks else "false fail"
    notes = f"documents used {np.mean(shares):.1%} ± {error:.1%}"
    return Found(f"{name}: {what}", wrong, trials, notes)


def boundary(trials: int) -> Iterator[Found]:
    """Small benchmarks at the margin, where nearly every look is a chance to be wrong."""
    three = ((160, 0.02, 0), (320, 0.2, 16), (480, 0.3, 48))
    kept = math.fsum(net / n for n, _, net in three) / 3
    for where, margin in (("kept", kept), ("broken", kept - 1e-6)):
        case = Case(three, margin, mean=True, block=16)
        yield cell(f"mean of 3 tasks, blocks by worth, {where}", case, trials)
    eight = ((200, 0.1, 4),) * 4
    stop = Case(eight, 0.02, on_fail="stop", block=16)
    yield cell("4 rules of 200, stop, all kept", stop, trials)
    beyond = replace(stop, tasks=((200, 0.1, 5), *((200, 0.1, 0),) * 3))
    yield cell("4 rules of 200, stop, one broken", beyond, trials)


def shares(trials: int) -> Iterator[Found]:
    """What the schedule saves beside one that draws every leaf alike, in fewer trials: a share needs few."""
    few = max(1, trials // 30)
    for name, flips in (("flips 10 %", (0.1, 0.1)), ("flips 2 and 30 %", NOISY)):
        tasks = tuple((n, flips[at % 2], 0) for at, n in enumerate(SIZES))
        case = Case(tasks, 0.01, mean=True)
        for how, kind in (("by worth", Schedule), ("alike", Even)):
            yield cell(f"mean of 8 tasks, {name}, no drop, {how}", case, few, kind)
    for n in (1319, 5000):
        one = ((n, 0.1, round(0.04 * n) - 1), *((n, 0.1, 0),) * 7)
        for how, kind in (("the suspect first", Schedule), ("alike", Even)):
            name = f"8 rules of {n}, one at 2 x margin, stop, {how}"
            yield cell(name, Case(one, 0.02, on_fail="stop"), few, kind)


def allocation(trials: int) -> Iterator[Found]:
    """Error at the boundary, then documents used."""
    yield from boundary(trials)
    yield from shares(trials)
