"""The smallest runs that a verdict can be about: two models, where they were measured, some documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gate.records import Block, Leaf, Measurement, Measurements, ModelRef, Policy, Provenance, TaskInfo
from gate.schedule import key_of, make_schedule
from gate.stats import Array
from gate.verdict import mean_values
from gate.verdict.settling import advance

BASE = ModelRef("base", "/models/base", "sha256:b")
TUNED = ModelRef("tuned", "/models/tuned", "sha256:t")
WHERE = Provenance("0.1.0", "2026-11-24T00:00:00Z", "", "", "cpu", "float32", "hf", "none", 16, "", {})


def leaf_of(base: Sequence[float], tuned: Sequence[float], /, **changes: Any) -> Measurement:
    """What both models got on every document of one leaf; any field may be another."""
    task = changes.get("task", "general/a")
    name = changes.setdefault("leaf", task.split("/")[-1])
    fields: dict[str, Any] = {
        "task": task,
        "check": "benchmarks",
        "metric": "acc",
        "filter": "none",
        "unit": "accuracy",
        "higher_is_better": True,
        "aggregation": "mean",
        "numbers": tuple(range(len(base))),
        "hashes": tuple(f"{name} {number}" for number in range(len(base))),
        "base": tuple(map(float, base)),
        "tuned": tuple(map(float, tuned)),
        "documents_total": len(base),
    }
    return Measurement(**(fields | changes))


def some_of(whole: Measurement, round_of: dict[int, int]) -> Measurement:
    """The documents of a leaf that were drawn, each with its round."""
    at = sorted(round_of)
    return replace(
        whole,
        numbers=tuple(at),
        hashes=tuple(whole.hashes[k] for k in at),
        base=tuple(whole.base[k] for k in at),
        tuned=tuple(whole.tuned[k] for k in at),
        rounds=tuple(round_of[k] for k in at),
    )


def run_of(*leaves: Measurement, base: ModelRef = BASE, tuned: ModelRef = TUNED, **info: Any) -> Measurements:
    """A run of these leaves, each task's weighted by their sizes; where they have rounds all documents were
    planned. `info` changes fields of the tasks."""
    tasks = dict.fromkeys(leaf.task for leaf in leaves)
    found = []
    for task in tasks:
        own = [leaf for leaf in leaves if leaf.task == task]
        one, planned = own[0], [_planned(leaf) for leaf in own]
        listed = tuple(
            Leaf(leaf.leaf, leaf.documents_total, size, size / sum(planned))
            for leaf, size in zip(own, planned, strict=True)
        )
        named = (task, one.check, one.metric, one.filter, one.unit, one.higher_is_better)
        found.append(replace(TaskInfo(*named, listed), **info))
    return Measurements(base, tuned, tuple(found), leaves)


def _planned(leaf: Measurement) -> int:
    return len(leaf.numbers) if leaf.rounds is None else leaf.documents_total


def drawn(policy: Policy, base: Array, tuned: Sequence[Array], seed: int = 0) -> list[Measurements]:
    """What a check leaves of each training of a recipe: rounds of one task are drawn until the policy's rules
    about the mean are settled, and then of the first training until its own are."""
    n, size = base.size, 32
    wholes = [leaf_of(base.tolist(), each.tolist()) for each in tuned]
    info = run_of(wholes[0]).tasks[0]
    key, order = key_of(info, "a"), np.random.default_rng(seed).permutation(n).tolist()
    blocks = tuple(Block(info.task, "a", at, tuple(order[at : at + size])) for at in range(0, n, size))
    schedule, standing = make_schedule(policy, [info], {key: "mean"}, {key: blocks})
    own, rounds = replace(standing, choices=len(tuned)), [dict[int, int]() for _ in tuned]
    for deciding, models in ((tuned, rounds), (tuned[:1], rounds[:1])):
        while taken := schedule.next_round(standing if deciding is tuned else own):
            at = [number for block in taken[key] for number in block.documents]
            for each in models:
                each |= dict.fromkeys(at, own.rounds)
            if deciding is tuned:
                standing = advance(standing, {key: (base[at], mean_values([each[at] for each in tuned]))})
            own = advance(own, {key: (base[at], tuned[0][at])})
            schedule = schedule.after(taken, failed=False)
        schedule = replace(schedule, models=1)
    models_of = [ModelRef(f"seed {42 + at}", "", f"sha256:{42 + at}") for at in range(len(tuned))]
    return [
        run_of(some_of(whole, each), tuned=model)
        for whole, each, model in zip(wholes, rounds, models_of, strict=True)
    ]
