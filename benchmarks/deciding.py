"""Does deciding cost anything beside scoring? Prints the share, and exits with 1 if it is 1 % or more.

    python -m benchmarks.deciding

A policy of 60 tasks of 14,042 documents and their average, `decide: score`. A round takes four blocks of 32
of every task; after it all evidence is updated and every open rule is asked, by the functions that `ftgate
check` calls. Beside it stands how long the embedded base model takes to score as many two-choice documents
of the demo, on one core: a model of 1.6 million parameters, far smaller than any that is tuned in earnest, so
that scoring is nowhere as cheap on the same processor. Processor time, both models of a pair.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

import gate
from benchmarks.trials import BLOCK, TERNARY
from gate.models import inspect_model
from gate.records import Evaluation, Policy, Request, Rule, TaskInfo, TaskSpec, Trust
from gate.records.plan import Leaf
from gate.schedule import key_of, make_schedule
from gate.scoring import ModelSession
from gate.verdict.settling import Drawn, advance

DOCUMENTS, TASKS, BLOCKS, ROUNDS, SAMPLE = 14_042, 60, 4, 10, 512


def policy_and_tasks() -> tuple[Policy, list[TaskInfo]]:
    """60 rules and their average."""
    names = [f"task{number}" for number in range(TASKS)]
    about = ("benchmarks", "acc", "none", "accuracy", True)
    infos = [TaskInfo(f"general/{name}", *about, (Leaf(name, DOCUMENTS, DOCUMENTS),)) for name in names]
    rules = [Rule("general", name, "max_drop", 0.02) for name in names]
    rules.append(Rule("average", "general", "max_drop", 0.01))
    return Policy(tuple(rules), tuple(TaskSpec("general", name) for name in names), decide="score"), infos


def deciding() -> float:
    """Processor seconds a round while nothing is settled: the drop lies at the margin."""
    policy, infos = policy_and_tasks()
    keys = [key_of(info, info.leaves[0].name) for info in infos]
    schedule, standing = make_schedule(policy, infos, dict.fromkeys(keys, "mean"), dict.fromkeys(keys, ()))
    rng = np.random.default_rng(14)
    rounds: list[Drawn] = []
    for _ in range(ROUNDS):
        values = rng.choice(TERNARY, (TASKS, BLOCKS * BLOCK), p=[0.04, 0.9, 0.06])
        rounds.append({key: (row, np.zeros_like(row)) for key, row in zip(keys, values, strict=True)})
    began = time.process_time()
    for drawn in rounds:
        standing = advance(standing, drawn)
        schedule.next_round(standing)
    return (time.process_time() - began) / ROUNDS


def scoring() -> float:
    """Processor seconds of one model for as many documents as a round has."""
    import torch

    torch.set_num_threads(1)
    demo = Path(gate.__file__).parent / "demo"
    lines = [
        line for file in sorted((demo / "data/blimp").iterdir()) for line in file.read_text().splitlines()
    ]
    rows = [json.loads(line) for line in lines[:SAMPLE]]
    sides = ("sentence_good", "sentence_bad")
    requests = [Request("loglikelihood", "", row[side]) for row in rows for side in sides]
    base = inspect_model(demo / "base", "base")
    evaluation = Evaluation(dtype="float32", device="cpu", batch_size=16)
    with ModelSession(base, base, evaluation, Trust()) as session:
        scorer = session.scorer("base")
        scorer.score(requests[:64])
        began = time.process_time()
        scorer.score(requests)
        took = time.process_time() - began
    return took / len(rows) * TASKS * BLOCKS * BLOCK


def main() -> int:
    """Print both, and their ratio."""
    decided, scored = deciding(), 2 * scoring()
    documents = TASKS * BLOCKS * BLOCK
    print(f"a round of {documents:,} documents, {TASKS} tasks of {DOCUMENTS:,} and their average")
    print(f"  deciding, {TASKS + 1} rules           {decided:8.3f} s of processor time")
    print(f"  scoring, both models (embedded)  {scored:8.3f} s of processor time on one core")
    print(f"  deciding / scoring               {decided / scored:8.2%}")
    return 0 if decided < 0.01 * scored else 1


if __name__ == "__main__":
    sys.exit(main())
