"""Soundness cells of `decide: score`: one benchmark a cell, many random orders of its documents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.trials import (
    BLOCK,
    ERROR,
    TERNARY,
    Found,
    Played,
    Values,
    benchmark,
    counted,
    one_rule,
    orders,
    play,
    verdicts,
)
from gate.stats.claims import Limit, decide, log_evidence
from gate.stats.power import documents_needed
from gate.stats.sequential import BREAKS, KEEPS, Block, Evidence, Stratum, observe, start

# (documents, weight): tasks of a policy's average, and subjects of a group that is weighted by size.
TASKS = tuple((n, 1 / 8) for n in (500, 800, 1319, 1319, 2000, 3000, 4000, 5000))
LEAVES = tuple((n, n / 14042) for n in [100] * 19 + [200] * 19 + [439] * 18 + [440])


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


def several_rules(trials: int) -> Iterator[Found]:
    """A verdict of 8, 57 and 60 rules: all on the margin (only a false fail is possible), or one beyond."""
    for count, n, flips, margin in (
        (8, 1319, 0.1, 0.02),
        (8, 5000, 0.02, 0.01),
        (57, 246, 0.1, 0.05),
        (60, 100, 0.1, 0.1),
    ):
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
            yield Found(
                f"{count} {what} of {n}, flips {flips:.0%}, {name}",
                int((fails != truth).sum()),
                trials,
                notes,
            )


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
    for name, strata, margin in (("mean of 8 tasks", TASKS, 0.01), ("57 leaves by size", LEAVES, 0.02)):
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
