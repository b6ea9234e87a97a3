"""Do the decisions hold their error? Simulated benchmarks in random orders, one table; exit code 1 if not.

    python benchmarks/soundness.py [--trials 3000]

A cell is one benchmark (its documents' values are fixed) under many random orders. "false" is the share of
orders in which `score` settled on what the full benchmark does not say, with its 99.9 % Wilson interval; a
cell is bad if that interval lies above the 5 % that the policy allows. Boundary cells have the full drop
on the margin's last document (kept) or one document beyond it (broken). Planted faults go through the same
judgement and must be found bad. Seeds are fixed.
"""

# make soundness

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gate.stats import DegenerateData, wilson
from gate.stats.claims import Limit, decide, log_evidence
from gate.stats.power import Design, blocked, course, documents_needed, family
from gate.stats.proportions import cluster_bounds, noninferior_p, tango_p
from gate.stats.sequential import BREAKS, KEEPS, Block, Evidence, Stratum, observe, start

ERROR, BLOCK = 0.05, 32
TERNARY = np.array([-1.0, 0.0, 1.0])
Ints = NDArray[np.int_]
Bools = NDArray[np.bool_]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """One line of the table: how often the answer was wrong, and what is shown beside it."""

    name: str
    wrong: int
    trials: int
    notes: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        bounds = wilson(self.wrong, self.trials, 0.999)
        return bounds.low, bounds.high

    @property
    def bad(self) -> bool:
        return self.interval[0] > ERROR

    def line(self) -> str:
        low, high = self.interval
        share = self.wrong / self.trials
        return f"{self.name:<58} {share:7.2%} [{low:6.2%}, {high:6.2%}]  {self.notes}"


# ── Benchmarks and orders ────────────────────────────────────────────────────────────────────────


def benchmark(n: int, flips: float, net: int) -> NDArray[np.int8]:
    """Differences of `n` documents of which `flips` change, `net` more lost than won."""
    changed = max(round(n * flips), abs(net))
    lost = (changed + net) // 2
    values = np.zeros(n, np.int8)
    values[:lost], values[lost : 2 * lost - net] = 1, -1
    return values


def orders(values: NDArray[np.int8], trials: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """(trials, n): the documents in random orders."""
    return rng.permuted(np.broadcast_to(values, (trials, values.size)), axis=1)


def counted(ordered: NDArray[np.int8], block: int = BLOCK) -> list[Values]:
    """For every block (trials, 3): how many documents are -1, 0, 1."""
    parts = (ordered[:, at : at + block] for at in range(0, ordered.shape[1], block))
    return [np.stack([(part == v).sum(axis=1) for v in (-1, 0, 1)], axis=1).astype(float) for part in parts]


# ── Playing a rule over its blocks ───────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Played:
    """Of every trial: documents until it was settled (all: never early), and on what."""

    documents: Ints
    breaks: Bools


Test = Callable[[Evidence, Limit], Values]  # log evidence at a look; the planted faults are other ones


def play(
    blocks: Sequence[Values],
    limit: Limit,
    errors: tuple[float, float] = (ERROR, ERROR),
    test: Test = log_evidence,
) -> Played:
    """One task: all trials at once, those that are settled leave."""
    trials, sizes = len(blocks[0]), [int(block[0].sum()) for block in blocks]
    n = sum(sizes)
    lost = sum(block[:, 2] - block[:, 0] for block in blocks)
    breaks = np.asarray(lost / n > limit.kept + 1e-12)
    documents, still, evidence = np.full(trials, n), np.arange(trials), start([Stratum(n)], (trials,))
    for look, block in enumerate(blocks[:-1]):
        evidence = observe(evidence, [Block(TERNARY, block[still])])
        found = test(evidence, limit) >= -np.log(errors)
        done = np.asarray(found.any(axis=1))
        documents[still[done]] = sum(sizes[: look + 1])
        breaks[still[done]] = ~found[done, KEEPS]
        still, evidence = still[~done], only(evidence, ~done)
        if not still.size:
            break
    return Played(documents, breaks)


def only(e: Evidence, runs: Bools) -> Evidence:
    """Some of its runs."""
    return Evidence(e.strata, e.seen, e.sums[runs], e.squares[runs], e.gains[runs], e.slopes[runs])


def one_rule(n: int, flips: float, margin: float, net: int, trials: int, seed: int) -> tuple[Played, bool]:
    """Many orders of one benchmark, and whether its full drop breaks the margin."""
    limit = Limit.at(margin, n)
    rng = np.random.default_rng([seed, n, round(1000 * flips), net + n])
    played = play(counted(orders(benchmark(n, flips, net), trials, rng)), limit)
    return played, net > round(limit.kept * n)


# ── Cells ────────────────────────────────────────────────────────────────────────────────────────


def single_rules(trials: int) -> Iterator[Found]:
    """One rule over sizes and flip rates, on both sides of the margin and beyond."""
    margin = 0.02
    for n in (100, 500, 1319, 5000, 14042):
        for flips in (0.02, 0.1, 0.3):
            last = math.floor(n * margin + 1e-9)
            for where, net in (
                ("no drop", 0),
                ("kept", last),
                ("broken", last + 1),
                ("2 x margin", 2 * last),
            ):
                played, truly = one_rule(n, flips, margin, net, trials, 1)
                wrong = int((played.breaks != truly).sum())
                kind = "false pass" if truly else "false fail"
                name = f"N {n}, flips {flips:.0%}, {where}: {kind}"
                notes = f"documents used {played.documents.mean() / n:.1%}"
                if net in (0, 2 * last) and abs(net - last) / n > 0:
                    notes += beside(n, flips, abs(net - last) / n, played)
                yield Found(name, wrong, trials, notes)


def beside(n: int, flips: float, effect: float, played: Played) -> str:
    """The fixed sample that knows the effect: as large as 80 % power at the same error needs."""
    infinite = documents_needed(effect, flips)
    fixed = min(n, math.ceil(infinite / (1 + infinite / n)))
    return f"; fixed sample {fixed / n:.1%}, settled by then {(played.documents <= fixed).mean():.0%}"


def verdicts(
    rules: Sequence[tuple[int, float, float, int]],
    trials: int,
    seed: int,
    *,
    correct: bool = True,
    one_order: bool = False,
) -> tuple[Bools, Bools, Values]:
    """Policies of several rules (documents, flips, margin, net): what was claimed (trials,), the truth, and
    the share of documents used. Breaks are corrected for the number of rules unless told otherwise."""
    errors = (ERROR, ERROR / len(rules) if correct else ERROR)
    fails, truth = np.zeros(trials, bool), False
    used = np.zeros(trials)
    for number, (n, flips, margin, net) in enumerate(rules):
        rng = np.random.default_rng([seed, 0 if one_order else number])
        limit = Limit.at(margin, n)
        played = play(counted(orders(benchmark(n, flips, net), trials, rng)), limit, errors)
        fails |= played.breaks
        truth |= net > round(limit.kept * n)
        used += played.documents
    return fails, np.full(trials, truth), used / sum(n for n, *_ in rules)


def several_rules(trials: int) -> Iterator[Found]:
    """A verdict of 8, 57 and 60 rules: all on the margin (only a false fail is possible), or one beyond."""
    for count, n, flips, margin in ((8, 1319, 0.1, 0.02), (57, 246, 0.1, 0.05), (60, 100, 0.1, 0.1)):
        last = math.floor(n * margin + 1e-9)
        what = "slices" if count == 60 else "rules"
        kept = [(n, flips, margin, last)] * count
        one = [(n, flips, margin, last + 1)] + [(n, flips, margin, 0)] * (count - 1)
        for name, rules, together in (
            ("all kept: false fail", kept, False),
            ("all kept, in one order: false fail", kept, True),
            ("one broken, others no drop: false pass", one, False),
        ):
            fails, truth, used = verdicts(rules, trials, 2 + count, one_order=together)
            notes = f"documents used {used.mean():.1%}"
            yield Found(f"{count} {what} of {n}, {name}", int((fails != truth).sum()), trials, notes)


def clustered(trials: int) -> Iterator[Found]:
    """Passages of ten documents, lost or won as one: the order is over documents, so nothing changes."""
    n, margin = 1320, 0.02
    for name, net in (("kept: false fail", 26), ("broken: false pass", 27)):
        values = np.repeat(benchmark(n // 10, 0.1, 3), 10)  # 80 lost, 50 won, or 30 more lost
        values[np.flatnonzero(values == 1)[: 30 - net]] = 0
        rng = np.random.default_rng([3, net])
        limit = Limit.at(margin, n)
        played = play(counted(orders(values, trials, rng)), limit)
        wrong = int((played.breaks != (net > 26)).sum())
        yield Found(f"N {n} in clusters of 10, {name}", wrong, trials)


def means(trials: int) -> Iterator[Found]:
    """A mean over tasks or leaves, its drop just on the margin, or a millionth beyond."""
    macro = [(n, 1 / 8) for n in (500, 800, 1319, 1319, 2000, 3000, 4000, 5000)]
    leaves = [(n, n / 14042) for n in [100] * 19 + [200] * 19 + [439] * 18 + [440]]
    for name, strata, margin in (("mean of 8 tasks", macro, 0.01), ("57 leaves by size", leaves, 0.02)):
        for where, drop in (
            ("no drop", 0.0),
            ("kept", margin),
            ("broken", margin),
            ("2 x margin", 2 * margin),
        ):
            yield average(f"{name}, {where}", strata, drop, margin, where, trials)


def average(
    name: str, sizes: Sequence[tuple[int, float]], drop: float, margin: float, where: str, trials: int
) -> Found:
    """A round takes one block of every task until none is left. Tasks drop by 0 and twice `drop` in turn."""
    rng = np.random.default_rng([4, len(sizes), round(1000 * drop)])
    values = [benchmark(n, 0.1, round(n * drop * 2 * (k % 2))) for k, (n, _) in enumerate(sizes)]
    true = math.fsum(w * v.mean() for (_, w), v in zip(sizes, values, strict=True))
    # At the boundary it is the margin that is put on the drop.
    limit = Limit.at({"kept": true, "broken": true - 1e-6}.get(where, margin))
    blocks = [counted(orders(v, trials, rng)) for v in values]
    evidence = start([Stratum(n, w) for n, w in sizes], (trials,))
    documents, answer = np.full(trials, sum(n for n, _ in sizes)), np.full(trials, true > limit.kept + 1e-12)
    truth, open_ = answer.copy(), np.ones(trials, bool)
    for turn in range(max(map(len, blocks))):
        drawn = [Block(TERNARY, b[turn]) if turn < len(b) else None for b in blocks]
        evidence = observe(evidence, drawn)
        found = log_evidence(evidence, limit) >= -math.log(ERROR)
        new = open_ & found.any(axis=1) & (not evidence.complete)
        documents[new], answer[new] = sum(evidence.seen), ~found[new, KEEPS]
        open_ &= ~new
    used = documents.mean() / sum(n for n, _ in sizes)
    kind = "false pass" if truth[0] else "false fail"
    return Found(f"{name}: {kind}", int((answer != truth).sum()), trials, f"documents used {used:.1%}")


def adaptive(trials: int) -> Iterator[Found]:
    """Two tasks; the next block is of the one that looks worse so far: seen, so allowed."""
    sizes = (160, 320)
    values = [benchmark(160, 0.2, 4), benchmark(320, 0.2, 24)]
    for where, limit in (("kept: false fail", 0.05), ("broken: false pass", 0.05 - 1e-6)):
        wrong = 0
        for trial in range(trials):
            rng = np.random.default_rng([5, trial])
            order = [rng.permutation(v).astype(float) for v in values]
            evidence, answer = start([Stratum(n, 0.5) for n in sizes]), None
            while answer is None:
                evidence = observe(evidence, worse(evidence, order))
                answer = decide(evidence, Limit.at(limit), keep_error=ERROR, break_error=ERROR)
            wrong += answer != ("keeps" if limit == 0.05 else "breaks")
        yield Found(f"mean of 2 tasks, blocks follow the results, {where}", wrong, trials)


def worse(evidence: Evidence, order: Sequence[Values]) -> list[Block | None]:
    """A block of both first, then of the task with the larger drop so far that has any left."""
    seen = evidence.seen
    left = [k for k in (0, 1) if seen[k] < order[k].size]
    means = [float(evidence.sums[k]) / max(1, seen[k]) for k in (0, 1)]
    chosen = left if not any(seen) else [max(left, key=lambda k: means[k])]
    return [Block(order[k][seen[k] : seen[k] + 16]) if k in chosen else None for k in (0, 1)]


def other_values(trials: int) -> Iterator[Found]:
    """Graded differences, and a score of 0/1 documents against a floor."""
    rng = np.random.default_rng(6)
    graded = np.round(rng.beta(0.4, 0.4, 800) - rng.beta(0.4, 0.4, 800), 3)
    score = -(np.arange(800) < 640).astype(float)
    for name, values, low, high in (("graded", graded, -1.0, 1.0), ("min_score", score, -1.0, 0.0)):
        for where, shift in (("kept: false fail", 0.0), ("broken: false pass", -1e-6)):
            limit = Limit.at(float(values.mean()) + shift)
            wrong = graded_errors(values, Stratum(values.size, 1.0, low, high), limit, trials, shift < 0)
            yield Found(f"{name}, N 800, {where}", wrong, trials)


def graded_errors(values: Values, stratum: Stratum, limit: Limit, trials: int, breaks: bool) -> int:
    """How many of the trials settled early on the wrong side."""
    rng = np.random.default_rng([7, breaks])
    ordered = rng.permuted(np.broadcast_to(values, (trials, values.size)), axis=1)
    evidence, hit = start([stratum], (trials,)), np.zeros((trials, 2), bool)
    for at in range(0, values.size - BLOCK, BLOCK):
        evidence = observe(evidence, [Block(ordered[:, at : at + BLOCK])])
        hit |= log_evidence(evidence, limit) >= -math.log(ERROR)
    return int(hit[:, KEEPS if breaks else BREAKS].sum())


def proven(trials: int) -> Iterator[Found]:
    """Samples of a population whose drop is the margin: how often it is "proven" to be below."""
    for n, flips, margin in ((100, 0.03, 0.03), (100, 0.1, 0.05), (500, 0.02, 0.02), (1319, 0.1, 0.02)):
        rng = np.random.default_rng([8, n, round(1000 * flips)])
        chances = [(flips + margin) / 2, (flips - margin) / 2, 1 - flips]
        draws, times = np.unique(rng.multinomial(n, chances, trials), axis=0, return_counts=True)
        exact = approximate = 0
        for (lost, won, _), count in zip(draws.tolist(), times.tolist(), strict=True):
            p = tango_p(lost, won, n, margin)
            approximate += count * (p <= ERROR)
            exact += count * (p < 0.2 and noninferior_p(lost, won, n, margin) <= ERROR)
        name = f"proven: n {n}, flips {flips:.0%}, drop = margin {margin:.0%}"
        yield Found(name, exact, trials, f"Tango's test without the exact tail {approximate / trials:.2%}")
    for clusters, per, share in ((25, 20, 0.9), (60, 10, 0.5), (200, 5, 0.12), (400, 5, 0.05)):
        yield proven_clusters(clusters, per, share, trials)


def proven_clusters(clusters: int, per: int, share: float, trials: int) -> Found:
    """In a `share` of clusters a common chance of loss; the margin is the population's own drop."""
    rng = np.random.default_rng([9, clusters])
    wrong = undecided = 0
    names = np.repeat(np.arange(clusters), per)
    for _ in range(trials):
        chance = np.where(rng.random(clusters) < share, rng.beta(1, 2, clusters), 0.0)
        lost = (rng.random((clusters, per)) < chance[:, None]).astype(float).ravel()
        try:
            wrong += cluster_bounds(lost, names, ERROR).high < share / 3
        except DegenerateData:
            undecided += 1
    name = f"proven: {clusters} clusters of {per}, drop = margin {share / 3:.1%}"
    return Found(name, wrong, trials, f"undecided for too few {undecided / trials:.1%}")


def harmless(trials: int) -> Iterator[Found]:
    """Eight harmless tasks of their populations: is `score` what `full` is, and is `plan` right?"""
    for n in (200, 1550):
        designs = [Design(n, 0.1, 0.02, rules=8)] * 8
        fails, full = np.zeros(trials, bool), np.zeros(trials, bool)
        for number in range(8):
            rng = np.random.default_rng([10, n, number])
            ordered = rng.choice(np.array([-1, 0, 1], np.int8), (trials, n), p=[0.05, 0.9, 0.05])
            limit = Limit.at(0.02, n)
            fails |= play(counted(ordered), limit, (ERROR, ERROR / 8)).breaks
            full |= ordered.sum(axis=1) > round(limit.kept * n)
        said = family(np.array([blocked(d, 0.0) for d in designs]))[0]
        notes = f"blocked: score {fails.mean():.1%}, full {full.mean():.1%}, plan says {said:.1%}"
        yield Found(f"8 harmless tasks of {n}: score is not full", int((fails != full).sum()), trials, notes)


# ── Planted faults ───────────────────────────────────────────────────────────────────────────────


class Forgiving:
    """A broken martingale: what was lost is forgiven, the logarithm never falls below 0."""

    def __init__(self) -> None:
        self.wealth = self.last = np.zeros((1, 2))

    def __call__(self, evidence: Evidence, limit: Limit) -> Values:
        now = log_evidence(evidence, limit)
        self.wealth, self.last = np.maximum(0, self.wealth + now - self.last), now
        return self.wealth


def peeking(evidence: Evidence, limit: Limit) -> Values:
    """A z test at 5 %, at every look, as if it were the only one."""
    seen, size = evidence.seen[0], evidence.strata[0].size
    mean = evidence.sums[:, 0] / seen
    spread = np.maximum(evidence.squares[:, 0] / seen - mean**2, 1e-9) / seen * (1 - seen / size)
    z = (mean - ((limit.kept + limit.broken) / 2 + 1) / 2) / np.sqrt(spread)
    return np.stack([np.where(s * z > 1.645, np.inf, 0.0) for s in (-1, 1)], axis=-1)


def faults(trials: int) -> Iterator[Found]:
    """Each is run at the boundary, as the honest test was, and must be found bad."""
    n, margin, last = 1319, 0.02, 26
    limit = Limit.at(margin, n)
    for name, test in (("losses forgiven", Forgiving()), ("a z test at every look", peeking)):
        rng = np.random.default_rng([11])
        blocks = counted(orders(benchmark(n, 0.1, last + 1), trials, rng))
        wrong = sum_wrong(blocks, limit, test)
        yield Found(f"{name}: false pass", wrong, trials)
    fails, truth, _ = verdicts([(246, 0.1, 0.05, 12)] * 57, trials, 12, correct=False)
    yield Found("57 rules without a correction: false fail", int((fails != truth).sum()), trials)
    passed = np.zeros(trials, bool)
    for draw in range(10):
        rng = np.random.default_rng([13, draw])
        passed |= ~play(counted(orders(benchmark(n, 0.1, last + 1), trials, rng)), limit).breaks
    yield Found("ten orders drawn until one passes: false pass", int(passed.sum()), trials)
    by_file = np.repeat(np.sort(benchmark(n, 0.1, last + 1))[None], trials, axis=0)
    yield Found("documents in the file's order: false pass", sum_wrong(counted(by_file), limit), trials)


def sum_wrong(blocks: Sequence[Values], limit: Limit, test: Test = log_evidence) -> int:
    """False passes of a benchmark that breaks the limit, asking `test` at every look of all trials."""
    trials, evidence = (
        len(blocks[0]),
        start([Stratum(sum(int(b[0].sum()) for b in blocks))], (len(blocks[0]),)),
    )
    hit = np.zeros((trials, 2), bool)
    for block in blocks[:-1]:
        evidence = observe(evidence, [Block(TERNARY, block)])
        hit |= test(evidence, limit) >= -math.log(ERROR)
    return int((hit[:, KEEPS]).sum())


# ── The rest of the table ────────────────────────────────────────────────────────────────────────


def rule_of_thumb() -> str:
    """Block if the score fell by more than the margin on 200 documents, at 10 % flips and no drop."""
    one = blocked(Design(200, 0.1, 0.02, "full"), 0.0)
    return (
        f'"block if it fell by over 2 points at n = 200", harmless at 10 % flips: blocked {one:.1%} a task, '
        f"{family(np.full(8, one))[0]:.1%} over eight"
    )


def documents_used() -> Iterator[str]:
    """What `plan` prints: mean documents until a decision, margin 2 points, 10 % flips."""
    for n in (500, 1319, 5000, 14042):
        gone = [course(Design(n, 0.1, 0.02), drop, runs=1000) for drop in (0.0, 0.01, 0.02, 0.04)]
        shares = "  ".join(f"{c.documents / n:5.1%}" for c in gone)
        yield f"N {n:>6}: mean share of documents at no drop, margin/2, margin, 2 x margin   {shares}"


def cost() -> str:
    """Deciding: 60 tasks of 14,042 documents, 4 blocks of each a round, all rules asked after it."""
    n, tasks, rounds = 14042, 60, 8
    rng = np.random.default_rng(14)
    values = rng.choice(TERNARY, (tasks, rounds * 4 * BLOCK), p=[0.05, 0.9, 0.05])
    evidence, limit = [start([Stratum(n)]) for _ in range(tasks)], Limit.at(0.02, n)
    began = time.process_time()
    for at in range(0, values.shape[1], BLOCK):
        evidence = [observe(e, [Block(values[k, at : at + BLOCK])]) for k, e in enumerate(evidence)]
        if (at // BLOCK) % 4 == 3:
            for one in evidence:
                decide(one, limit, keep_error=ERROR, break_error=ERROR / tasks)
    took = (time.process_time() - began) / rounds
    documents = tasks * 4 * BLOCK
    return (
        f"deciding after a round of {documents:,} documents, 60 rules: {took * 1e3:.0f} ms of processor time"
    )


SECTIONS: tuple[tuple[str, Callable[[int], Iterator[Found]]], ...] = (
    ("One rule, margin 2 points", single_rules),
    ("Several rules", several_rules),
    ("Clustered documents", clustered),
    ("Means over tasks", means),
    ("Allocation that follows the results", adaptive),
    ("Other values", other_values),
    ("Proven", proven),
    ("Harmless fine-tunes", harmless),
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Do the decisions hold their error?")
    parser.add_argument("--trials", type=int, default=3000)
    trials = parser.parse_args().trials
    ill = []
    for title, cells in SECTIONS:
        began = time.monotonic()
        print(f"\n{title}: share of {trials} trials that went wrong, at most {ERROR:.0%} allowed", flush=True)
        for found in cells(trials):
            print(found.line() + ("  BAD" if found.bad else ""), flush=True)
            ill += [found.name] if found.bad else []
        print(f"  ({time.monotonic() - began:.0f} s)")
    print("\nPlanted faults, which must be found bad")
    for found in faults(trials):
        found = replace(found, notes="caught" if found.bad else "NOT CAUGHT")
        print(found.line(), flush=True)
        ill += [] if found.bad else [found.name]
    print("\nCost and use")
    for line in (rule_of_thumb(), *documents_used(), cost()):
        print(line, flush=True)
    print(f"\n{'all hold' if not ill else 'NOT SOUND: ' + '; '.join(ill)}")
    return 1 if ill else 0


if __name__ == "__main__":
    sys.exit(main())
