"""How many scores move with what is scored beside them; prints one table.

    python -m benchmarks.company --model FOLDER [--device auto] [--dtype auto] [--share 0.1] [--only MIX ...]

Blocks of 32 documents of lm-eval's kinds of requests, by the tree scorer as a check uses it: each block
alone, all in one call, and all spread over two processes (on two GPUs of a kind where there are, else on the
same device). *differ* counts log-likelihoods whose bits are others than alone, *apart* is the largest
difference in nats. On a CPU both are 0.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.mixes import KINDS, make_mix
from gate.models import inspect_model
from gate.records import Evaluation, ModelRef, Request, Response, Trust
from gate.scoring import ModelSession
from gate.scoring.company import Company, differences
from gate.scoring.team import LocalTeam, devices_of_a_kind

Groups = Sequence[Sequence[Request]]


def values(answers: Sequence[Sequence[Response]]) -> list[float]:
    """All log-likelihoods in order."""
    return [each.logprob or 0.0 for group in answers for each in group]


def compare(model: ModelRef, evaluation: Evaluation, groups: Groups, team: LocalTeam) -> list[Company]:
    """Among other blocks, and on two processes, against alone."""
    with ModelSession(model, model, evaluation, Trust()) as session:
        scorer = session.scorer("base")
        alone = values([scorer.score(group) for group in groups])
        among = values(scorer.score_groups(groups))
    with ModelSession(model, model, evaluation, Trust(), team=team) as session:
        spread = values(session.scorer("base").score_groups(groups))
    return [differences(alone, among), differences(alone, spread)]


def main() -> None:
    """A row a mix, as soon as it is known."""
    options = arguments()
    model = inspect_model(options.model, options.model.name)
    evaluation = Evaluation(dtype=options.dtype, device=options.device, scorer="tree")
    gpus = [] if options.device == "cpu" else devices_of_a_kind()
    devices = (gpus * 2)[:2] if len(gpus) < 2 else gpus[:2]
    team = LocalTeam((devices[0], devices[1]) if devices else ("cpu", "cpu"), os.environ)
    print("| mix | log-likelihoods | among others: differ | apart | two processes: differ | apart |")
    print("|---|---|---|---|---|---|", flush=True)
    try:
        for name in options.only or KINDS:
            mix = make_mix(name, options.share)
            among, spread = compare(model, evaluation, mix.blocks, team)
            print(
                f"| {name} | {among.scores} | {among.differ} | {among.apart:.1e} "
                f"| {spread.differ} | {spread.apart:.1e} |",
                flush=True,
            )
        team.dismiss()
    finally:
        team.end()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--only", choices=list(KINDS), nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    main()
