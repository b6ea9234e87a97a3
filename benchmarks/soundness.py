"""Do the decisions hold their error? Simulated benchmarks in random orders, one table; exit code 1 if not.

    python -m benchmarks.soundness [--trials 3000] [--runs FOLDER ...] [--only-runs]

A cell is one benchmark (its documents' values are fixed) under many random orders. "false" is the share of
orders in which `score` settled on what the full benchmark does not say, with its 99.9 % Wilson interval; a
cell is bad if that interval lies above the 5 % that the policy allows. Boundary cells have the full drop
on the margin's last document (kept) or one document beyond it (broken). Planted faults go through the same
judgement and must be found bad. Run folders of `ftgate check` or `ftgate demo` add real pairs. Seeds are
fixed.
"""

# make soundness

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import allocation_cells, real_cells, score_cells, seed_cells, slice_cells
from benchmarks.slice_cells import skewed
from benchmarks.trials import (
    BLOCK,
    ERROR,
    TERNARY,
    Found,
    Values,
    benchmark,
    counted,
    false_passes,
    orders,
    play,
    verdicts,
)
from gate.stats import DegenerateData
from gate.stats.claims import Limit, decide, log_evidence
from gate.stats.power import Design, blocked, course, family, sight, workable_margin
from gate.stats.proportions import cluster_bounds, noninferior_p, range_bounds, tango_p
from gate.stats.sequential import Block, Evidence, Stratum, observe, start


def proven(trials: int) -> Iterator[Found]:
    """Samples of a population whose drop is the margin: how often it is "proven" to be below."""
    for n, flips, margin in (
        (100, 0.027, 0.027),
        (100, 0.03, 0.03),
        (100, 0.1, 0.05),
        (500, 0.02, 0.02),
        (1319, 0.1, 0.02),
    ):
        rng = np.random.default_rng([8, n, round(1000 * flips)])
        chances = [(flips + margin) / 2, (flips - margin) / 2, 1 - flips]
        draws, times = np.unique(rng.multinomial(n, chances, trials), axis=0, return_counts=True)
        exact = approximate = 0
        for (lost, won, _), count in zip(draws.tolist(), times.tolist(), strict=True):
            p = tango_p(lost, won, n, margin)
            approximate += count * (p <= ERROR)
            exact += count * (p < 0.2 and noninferior_p(lost, won, n, margin) <= ERROR)
        name = f"proven: n {n}, flips {flips:.1%}, drop = margin {margin:.1%}"
        yield Found(name, exact, trials, f"Tango's test without the exact tail {approximate / trials:.2%}")
    for clusters, per, share in ((25, 20, 0.9), (60, 10, 0.5), (200, 5, 0.12), (400, 5, 0.05)):
        yield proven_clusters(clusters, per, share, trials)
    yield from proven_graded(trials)


def proven_graded(trials: int) -> Iterator[Found]:
    """Half of the documents gain two points and few lose all: the drop is the margin, and a small sample
    often shows no loss. Beside it without the further cluster, and how often five points are proven where
    every document changes by 15 points about 0."""
    for n, share in ((50, 0.04), (100, 0.02), (200, 0.01), (500, 0.01)):
        margin = share - 0.01
        rng = np.random.default_rng([13, n])
        wrong = plain = proofs = 0
        for _ in range(trials):
            losses = skewed(n, -0.02, 1.0, share, rng)
            wrong += range_bounds(losses, np.arange(n), ERROR, (-1.0, 1.0)).high <= margin
            plain += cluster_bounds(losses, np.arange(n), ERROR).high <= margin
            harmless = rng.normal(0, 0.15, n).clip(-1, 1)
            proofs += range_bounds(harmless, np.arange(n), ERROR, (-1.0, 1.0)).high <= 0.05
        said = f"without the further cluster {plain / trials:.1%}; 5 points, harmless {proofs / trials:.1%}"
        yield Found(f"proven: {n} graded, rare whole losses, drop = margin {margin:.1%}", wrong, trials, said)


def proven_clusters(clusters: int, per: int, share: float, trials: int) -> Found:
    """In a `share` of clusters a common chance of loss; the margin is the population's own drop."""
    rng = np.random.default_rng([9, clusters])
    wrong = undecided = 0
    names = np.repeat(np.arange(clusters), per)
    for _ in range(trials):
        chance = np.where(rng.random(clusters) < share, rng.beta(1, 2, clusters), 0.0)
        lost = (rng.random((clusters, per)) < chance[:, None]).astype(float).ravel()
        try:
            wrong += range_bounds(lost, names, ERROR, (-1.0, 1.0)).high < share / 3
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
        wrong = false_passes(blocks, limit, test)
        yield Found(f"{name}: false pass", wrong, trials)
    fails, truth, _ = verdicts([(246, 0.1, 0.05, 12)] * 57, trials, 12, correct=False)
    yield Found("57 rules without a correction: false fail", int((fails != truth).sum()), trials)
    passed = np.zeros(trials, bool)
    for draw in range(10):
        rng = np.random.default_rng([13, draw])
        passed |= ~play(counted(orders(benchmark(n, 0.1, last + 1), trials, rng)), limit).breaks
    yield Found("ten orders drawn until one passes: false pass", int(passed.sum()), trials)
    by_file = np.repeat(np.sort(benchmark(n, 0.1, last + 1))[None], trials, axis=0)
    yield Found("documents in the file's order: false pass", false_passes(counted(by_file), limit), trials)
    yield from slice_cells.faults(trials)
    yield from seed_cells.faults(trials)


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
    for leaves, margin, name in (
        (score_cells.TASKS, 0.01, "8 tasks"),
        (score_cells.LEAVES, 0.02, "57 leaves"),
    ):
        design = Design.of_mean([Stratum(n, weight) for n, weight in leaves], 0.1, margin)
        used = course(design, 0.0, runs=300).documents / sum(n for n, _ in leaves)
        yield f"mean of {name}: plan says a share of {used:.1%} at no drop"


def margins() -> Iterator[str]:
    """To choose a margin from: what a number of documents can tell from no drop, at 5, 10 and 20 % flips."""
    for n in (100, 200, 500, 1000, 1319, 2000, 5000, 10042, 14042):
        seen = [f"{100 * workable_margin(n, flips):5.1f}" for flips in (0.05, 0.1, 0.2)]
        yield f"N {n:>6}: smallest workable margin in points at 5, 10, 20 % flips {'  '.join(seen)}"


def operating_curve() -> Iterator[str]:
    """The chance of a block against the true drop, and of what is caught, 10 % flips, 2 points."""
    for n in (200, 1319, 14042):
        design = Design(n, 0.1, 0.02)
        chances = "  ".join(f"{blocked(design, points / 100):6.1%}" for points in (0, 1, 1.5, 2, 2.5, 3, 4))
        caught = f"80 % are blocked from {100 * sight(design).caught:.1f} points on"
        yield f"N {n:>6}: blocked at a true drop of 0, 1, 1.5, 2, 2.5, 3, 4 points {chances}; {caught}"


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


SECTIONS: dict[str, Callable[[int], Iterator[Found]]] = {
    "One rule, margin 2 points": score_cells.single_rules,
    "Several rules": score_cells.several_rules,
    "Clustered documents": score_cells.clustered,
    "Means over tasks": score_cells.means,
    "Allocation that follows the results": score_cells.adaptive,
    "The schedule's own allocation": allocation_cells.allocation,
    "Other values": score_cells.other_values,
    "Proven": proven,
    "Recipes of several trainings": seed_cells.seeds,
    "Harmless fine-tunes": harmless,
    "Rules over slices": slice_cells.cells,
}


def planted_and_cost(trials: int) -> list[str]:
    """Print whether each planted fault was found, and what deciding costs; the faults that were not."""
    missed = []
    print("\nPlanted faults, which must be found bad")
    for found in faults(trials):
        print(replace(found, notes="caught" if found.bad else "NOT CAUGHT").line(), flush=True)
        missed += [] if found.bad else [found.name]
    print("\nCost and use")
    for line in (rule_of_thumb(), *margins(), *operating_curve(), *documents_used(), cost()):
        print(line, flush=True)
    return missed


def main() -> int:
    """Print the table; 1 if a decision does not hold its error or a planted fault was not found."""
    parser = argparse.ArgumentParser(description="Do the decisions hold their error?")
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="run folders of ftgate: real pairs")
    parser.add_argument("--only-runs", action="store_true", help="real pairs alone, no simulated benchmarks")
    options = parser.parse_args()
    ill = []
    sections = {} if options.only_runs else dict(SECTIONS)
    if options.runs:
        sections["Real pairs"] = partial(real_cells.real_pairs, options.runs)
    for title, cells in sections.items():
        began = time.monotonic()
        print(
            f"\n{title}: share of {options.trials} trials that went wrong; {ERROR:.0%} are allowed",
            flush=True,
        )
        for found in cells(options.trials):
            print(found.line() + ("  BAD" if found.bad else ""), flush=True)
            ill += [found.name] if found.bad else []
        print(f"  ({time.monotonic() - began:.0f} s)")
    ill += [] if options.only_runs else planted_and_cost(options.trials)
    print(f"\n{'all hold' if not ill else 'NOT SOUND: ' + '; '.join(ill)}")
    return 1 if ill else 0


if __name__ == "__main__":
    sys.exit(main())
