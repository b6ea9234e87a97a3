"""Soundness cells of real pairs: the documents of stored runs, base against tuned, right or wrong each.

Three questions of every run. At a task's own drop, the hardest case, does early stopping hold its error? At
round margins, how many documents does `score` use, and does it ever differ from `full` where the full drop
is clear of the margin by two standard errors? And of harmless models, made of the same documents by turning
each changed one about by a coin: does `score` decide as `full` does, and is what is blocked what `plan` says?
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.trials import ERROR, Found, counted, orders, play
from gate.runfolder import RunFolder
from gate.stats.claims import Limit
from gate.stats.power import Design, blocked, family

MARGINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1)
MARGIN, TASKS = 0.02, 8  # of the harmless models
CLEAR = 2.0  # standard errors
Drops = NDArray[np.int8]  # a document's: 1 lost, -1 won


def pairs_of(folder: Path) -> dict[str, Drops]:
    """The drops of every task of a run whose documents are right or wrong and whose models differ on some;
    a group's leaves are one by one."""
    found: dict[str, Drops] = {}
    for measured in RunFolder.open(folder).read_measurements().measurements:
        base, tuned = np.array(measured.base), np.array(measured.tuned)
        if base.size and np.isin([base, tuned], (0, 1)).all() and (base != tuned).any():
            found[measured.leaf] = (base - tuned).astype(np.int8)
    return found


def real_pairs(folders: Sequence[Path], trials: int) -> Iterator[Found]:
    """Every run's cells, and what all runs together say."""
    for folder in folders:
        pairs = pairs_of(folder)
        for task, drops in pairs.items():
            yield from at_its_own_drop(f"{folder.name}, {task[:24]}", drops, trials)
        if pairs:
            yield clear_of_the_margin(folder.name, pairs, trials)
            yield from harmless_models(folder.name, pairs, trials)


def at_its_own_drop(name: str, drops: Drops, trials: int) -> Iterator[Found]:
    """The margin on the task's own drop, then one document less: nothing is harder to decide."""
    n, net = drops.size, int(drops.sum())
    flips = f"{np.abs(drops).mean():.0%} of {n} flipped"
    for where, most in (("kept: false fail", net), ("broken: false pass", net - 1)):
        rng = np.random.default_rng([15, n, most + n])
        played = play(counted(orders(drops, trials, rng)), Limit(most / n, (most + 1) / n))
        yield Found(f"{name}, {where}", int((played.breaks != (net > most)).sum()), trials, flips)


def clear_of_the_margin(name: str, pairs: dict[str, Drops], trials: int) -> Found:
    """Every task at every round margin that its full drop is clear of: many orders each, one table line."""
    wrong = cases = documents = every = 0
    some = max(1, trials // 10)  # orders a case; there are many cases
    for drops in pairs.values():
        n, drop = drops.size, float(drops.mean())
        error = math.sqrt(float(drops.var(ddof=1)) / n)
        for margin in MARGINS:
            if abs(drop - margin) <= CLEAR * error:
                continue
            rng = np.random.default_rng([17, n, round(1000 * margin), int(drops.sum()) + n])
            limit = Limit.at(margin, n)
            played = play(counted(orders(drops, some, rng)), limit, (ERROR, ERROR / len(pairs)))
            wrong += int((played.breaks != (drop > limit.kept + 1e-12)).sum())
            documents, every, cases = documents + int(played.documents.sum()), every + n * some, cases + 1
    notes = f"{cases} tasks and margins; documents used {documents / max(every, 1):.1%}"
    return Found(f"{name}, clear of the margin: score is not full", wrong, max(1, cases * some), notes)


def harmless_models(name: str, pairs: dict[str, Drops], trials: int) -> Iterator[Found]:
    """Benchmarks drawn from a run's documents, each changed one turned about by a coin: no drop on the
    population, the flips of the pair. Margins of 2 points on the (at most eight) largest tasks."""
    chosen = sorted(pairs.items(), key=lambda pair: -pair[1].size)[:TASKS]
    errors = (ERROR, ERROR / len(chosen))
    fails, full, used = np.zeros(trials, bool), np.zeros(trials, bool), 0
    for number, (_, drops) in enumerate(chosen):
        rng = np.random.default_rng([16, number, drops.size])
        drawn = rng.choice(drops, (trials, drops.size))
        drawn *= rng.choice(np.array([-1, 1], np.int8), drawn.shape)
        limit = Limit.at(MARGIN, drops.size)
        played = play(counted(drawn), limit, errors)
        fails |= played.breaks
        full |= drawn.sum(axis=1) > round(limit.kept * drops.size)
        used += int(played.documents.sum())
    designs = [Design(d.size, float(np.abs(d).mean()), MARGIN, rules=len(chosen)) for _, d in chosen]
    said = family(np.array([blocked(design, 0.0) for design in designs]))[0]
    every = trials * sum(drops.size for _, drops in chosen)
    notes = (
        f"{len(chosen)} tasks; documents used {used / every:.1%}; blocked: score {fails.mean():.1%}, "
        f"full {full.mean():.1%}, plan says {said:.1%}"
    )
    yield Found(f"{name}, harmless: score is not full", int((fails != full).sum()), trials, notes)
    error = math.sqrt(max(said * (1 - said), 1 / trials) / trials)
    off = abs(float(full.mean()) - said) > 4 * error
    yield Found(f"{name}, harmless: plan is not what full blocks", trials if off else 0, trials, notes)
