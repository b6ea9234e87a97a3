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
from gate.records import Cost, Measurements, Policy, Provenance, RunFacts, SeedRun
from gate.report import StoredVerdict
from gate.runfolder import AUDIT, RUN, SEEDS, RunFolder
from gate.verdict import Result, Training, Verdict, judge, judge_recipe, mean_measurements

ReadChampion = Callable[[RunFolder], Measurements | None]


@dataclass(frozen=True, slots=True)
class Listed:
    """One training of a recipe: its seed, and its run's folder below the recipe's."""

    seed: int
    folder: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """`seeds.json`."""

    trained: tuple[Listed, ...]


def folder_of(seed: int) -> str:
    """Where a training's run folder lies in the recipe's."""
    return f"seeds/{seed}"


def is_recipe(folder: RunFolder) -> bool:
    """Whether a run folder holds several trainings."""
    return (folder.path / SEEDS).is_file()


@dataclass(frozen=True, slots=True)
class JudgedRecipe:
    """What came of a recipe: its verdict over the mean of its trainings, and each one's own."""

    verdict: Verdict
    mean: Measurements
    trained: tuple[tuple[RunFolder, Verdict, Measurements], ...]


def judge_seeds(
    folder: RunFolder, policy: Policy, facts: RunFacts, read_champion: ReadChampion
) -> JudgedRecipe:
    """Judge each training and the recipe; nothing is written, so all or none of it can be.

    Any training's model may be the one that ships, so each is judged as one choice among them all.
    `read_champion` gives a run's pairs with the champion.

    Raises as `judge` does, and `StoreError` where a folder is damaged.
    """
    base, listed = facts.base_digest or None, folder.read_record(SEEDS, Recipe).trained
    alone: list[tuple[RunFolder, Verdict, Measurements]] = []
    trained: list[Training] = []
    for one in listed:
        own = RunFolder.open(folder.path / one.folder)
        found, champion = own.read_measurements(), read_champion(own)
        its = replace(own.read_record(RUN, RunFacts), seed=one.seed, trainings=len(listed))
        verdict = judge_model(found, policy, its, champion, base)
        alone.append((own, verdict, found))
        run = SeedRun(one.seed, found.tuned.digest, verdict.outcome, one.folder)
        trained.append(Training(run, found, champion))
    name = facts.config.path if facts.config else folder.path.name
    mean = mean_measurements([each.measured for each in trained], name)
    against = [each.champion for each in trained if each.champion is not None]
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
    return JudgedRecipe(verdict, mean, tuple(alone))


def judge_model(
    found: Measurements, policy: Policy, facts: RunFacts, champion: Measurements | None, base: str | None
) -> Verdict:
    """The verdict on one model of a run with these facts, maybe one training of a recipe; `base` is the
    digest that its base must have. Raises as `judge` does."""
    verdict = judge(
        found,
        policy,
        facts.config,
        facts.cost,
        _under(policy, facts),
        expected_base=base,
        champion=champion,
        trainings=facts.trainings,
    )
    return replace(verdict, seed=facts.seed)


def _under(policy: Policy, facts: RunFacts) -> Provenance:
    return replace(facts.provenance, policy_path=policy.path, policy_digest=policy.digest)


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
        return f"the recipe passed, its seed {known.seed} alone did not: {known.outcome}{_why(known)}"
    return ""


def _why(run: SeedRun) -> str:
    return ", what it was scored on does not settle its own rules" if run.outcome == "undecided" else ""


def refuse_seed(result: Result, run: Path) -> None:
    """Raise `UsageError` where a result is one training's of a recipe: alone it stands for nothing."""
    if isinstance(result, Verdict) and result.seed is not None:
        raise UsageError(
            f"the verdict in {run} is of seed {result.seed} alone, one training of a recipe",
            hint="name the recipe's run folder, the one that holds seeds.json",
        )


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
        how = "was not trained" if chosen is None else f"is {chosen.outcome} by itself{_why(chosen)}"
        hint = f"seeds that passed alone: {passed}; name one, --seed"
        if chosen is not None and chosen.outcome == "undecided":
            hint += f"; `ftgate audit {run}` scores the rest, then promote from {run / AUDIT}"
        raise UsageError(f"seed {wanted} {how}", hint=hint)
    return chosen.digest, run / chosen.folder
