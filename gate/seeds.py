"""A recipe's run folder: its trainings, each a run folder of its own below it, judged alone and together.

RUN/seeds.json            which trainings there are
RUN/seeds/SEED/           one training's whole run folder; its verdict is its own
RUN/                      the recipe's verdict and report; its measurements are means over the trainings
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gate.errors import UsageError
from gate.records import Cost, Flip, Measurements, Policy, Provenance, RunFacts, SeedRun, TaskInfo
from gate.report import StoredVerdict
from gate.runfolder import RUN, SEEDS, RunFolder
from gate.shell import Shell
from gate.verdict import Result, Verdict, judge, judge_recipe, mean_measurements

Conclude = Callable[[Result, Sequence[Flip], Sequence[TaskInfo], RunFolder, Shell], Result]
ReadChampion = Callable[[RunFolder], Measurements | None]


@dataclass(frozen=True, slots=True)
class Trained:
    """One training of a recipe: its seed, and its run's folder below the recipe's."""

    seed: int
    folder: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """`seeds.json`."""

    trained: tuple[Trained, ...]


def folder_of(seed: int) -> str:
    """Where a training's run folder lies in the recipe's."""
    return f"seeds/{seed}"


def is_recipe(folder: RunFolder) -> bool:
    """Whether a run folder holds several trainings."""
    return (folder.path / SEEDS).is_file()


def judge_seeds(
    folder: RunFolder,
    policy: Policy,
    facts: RunFacts,
    shell: Shell,
    conclude: Conclude,
    read_champion: ReadChampion,
) -> tuple[Verdict, Measurements]:
    """Judge each training and write its report into its own folder; the recipe's verdict, still to be
    written, and its measurements. `read_champion` gives a run's pairs with the champion.

    Raises as `judge` does, and `StoreError` where a folder is damaged.
    """
    base = facts.base_digest or None
    quiet = replace(shell, say=_nothing)
    trained: list[tuple[SeedRun, Verdict]] = []
    measured: list[Measurements] = []
    against: list[Measurements] = []
    for one in folder.read_record(SEEDS, Recipe).trained:
        own = RunFolder.open(folder.path / one.folder)
        its, found, champion = own.read_record(RUN, RunFacts), own.read_measurements(), read_champion(own)
        made = _under(policy, its)
        verdict = judge(found, policy, its.config, its.cost, made, expected_base=base, champion=champion)
        verdict = replace(verdict, seed=one.seed)
        conclude(verdict, found.flips, found.tasks, own, quiet)
        trained.append((SeedRun(one.seed, found.tuned.digest, verdict.outcome, one.folder), verdict))
        measured.append(found)
        against += [] if champion is None else [champion]
    name = facts.config.path if facts.config else folder.path.name
    mean = mean_measurements(measured, name)
    verdict = judge_recipe(
        trained,
        mean,
        policy,
        facts.config,
        facts.cost,
        _under(policy, facts),
        expected_base=base,
        champion=mean_measurements(against, name) if against else None,
    )
    return verdict, mean


def _under(policy: Policy, facts: RunFacts) -> Provenance:
    return replace(facts.provenance, policy_path=policy.path, policy_digest=policy.digest)


def _nothing(_text: str) -> None:
    """A training's own report is in its folder; the recipe's is said."""


def sum_costs(costs: Sequence[Cost], total_seconds: float) -> Cost:
    """What all trainings and measurements of a recipe took together; the largest memory of any."""
    first = costs[0]
    gpus = [cost.peak_gpu_bytes for cost in costs if cost.peak_gpu_bytes is not None]
    steps = [cost.training_steps for cost in costs if cost.training_steps is not None]
    return replace(
        first,
        training_seconds=math.fsum(cost.training_seconds for cost in costs),
        measuring_seconds=math.fsum(cost.measuring_seconds for cost in costs),
        total_seconds=total_seconds,
        peak_resident_bytes=max(cost.peak_resident_bytes for cost in costs),
        peak_gpu_bytes=max(gpus) if gpus else None,
        blocks_scored=sum(cost.blocks_scored for cost in costs),
        blocks_from_store=sum(cost.blocks_from_store for cost in costs),
        training_from_store=all(cost.training_from_store for cost in costs),
        training_steps=sum(steps) if steps else None,
    )


# ── What may ship ────────────────────────────────────────────────────────────────────────────────


def why_not_shipped(verdict: StoredVerdict, digest: str) -> str:
    """Why the model with this digest is not one that `verdict` lets through, in words; "" where it is."""
    if verdict.seed is not None:
        return f"this is the verdict of seed {verdict.seed} alone: name the recipe's, in the folder above"
    if verdict.outcome != "pass":
        return f"the verdict is {verdict.outcome}, not a pass"
    if not verdict.seeds:
        return "" if digest == verdict.tuned_digest else f"it judged {verdict.tuned_digest}"
    known = next((one for one in verdict.seeds if one.digest == digest), None)
    if known is None:
        return f"it judged {', '.join(one.digest for one in verdict.seeds)}"
    if not any(one.digest == digest and one.outcome == "pass" for one in verdict.seeds):
        return f"the recipe passed, its seed {known.seed} alone did not: {known.outcome}"
    return ""


def to_promote(verdict: StoredVerdict, run: Path, seed: int | None) -> tuple[str, Path]:
    """The digest of the model that a run lets through, and its run's folder.

    Of a recipe, that of `seed`, else of the config's own: never the luckiest. Raises `UsageError` where that
    one did not pass alone, or the recipe did not.
    """
    if verdict.outcome != "pass" or verdict.seed is not None:
        reason = why_not_shipped(verdict, verdict.tuned_digest)
        raise UsageError(f"{run}: {reason}; only a model that passed is promoted")
    if not verdict.seeds:
        if seed is not None:
            raise UsageError(f"{run} trained one model: there is no --seed to choose")
        return verdict.tuned_digest, run
    wanted = verdict.seeds[0].seed if seed is None else seed
    chosen = next((one for one in verdict.seeds if one.seed == wanted), None)
    passed = ", ".join(str(one.seed) for one in verdict.seeds if one.outcome == "pass") or "none"
    if chosen is None or chosen.outcome != "pass":
        how = "was not trained" if chosen is None else f"is {chosen.outcome} by itself"
        raise UsageError(f"seed {wanted} {how}", hint=f"seeds that passed alone: {passed}; name one, --seed")
    return chosen.digest, run / chosen.folder
