"""`seeds: k`: a config trained k times, each training measured like any other, the recipe judged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gate.configs.seeds import seed_of, with_seed
from gate.errors import UsageError
from gate.inputs import order_of
from gate.judging import conclude_recipe
from gate.records import Override, Plan, Policy, RunFacts
from gate.runfolder import PLAN, RUN, SEEDS, RunFolder
from gate.seeds import Listed, Recipe, folder_of, sum_costs
from gate.shell import Shell
from gate.stages import Run, Stage, Trained, config_ref, measure_trained, tune
from gate.verdict import Result

if TYPE_CHECKING:
    from checks import OpenTask


def policy_with_seeds(policy: Policy, seeds: int | None, *, given: bool) -> Policy:
    """The policy with as many trainings as the command line asks for.

    `given` where the model was trained before (`--tuned`). Raises `UsageError` where several trainings are
    asked for and cannot be had: of one model nothing is known about its recipe.
    """
    asked = policy if seeds is None else replace(policy, seeds=seeds)
    if given and asked.seeds > 1:
        raise UsageError(
            f"the policy judges a recipe by {asked.seeds} trainings, and one model was given",
            hint="leave out --tuned, or judge this model alone with --seeds 1: nothing of its recipe",
        )
    return asked


def check_seeds(run: Run, plan: Plan, tasks: tuple[OpenTask, ...], stage: Stage, shell: Shell) -> Result:
    """Train with every seed, measure every model, judge each and the recipe. `stage` says where it is.

    The store has each training under its own seed's key, so an interrupted check goes on and a seed that
    was trained before is not trained again; the base model is measured once.
    """
    runs = [_seed_run(run, plan, number) for number in range(run.policy.seeds)]
    trained: list[Trained] = []
    for own, planned, seed in runs:
        shell.say(f"seed {seed}: training {len(trained) + 1} of {len(runs)}")
        trained.append(Trained(own, planned, tune(own, planned, shell)))
    stage.name = "measure"
    # One order for all, that of the config as it is written: no training's seed draws another.
    inputs = order_of(plan, trained[0].tuned.model, run.store)
    facts = measure_trained(trained, tasks, inputs, shell)
    stage.name = "judge"
    seeds = tuple(seed for *_, seed in runs)
    run.folder.write_record(SEEDS, Recipe(tuple(Listed(seed, folder_of(seed)) for seed in seeds)))
    of_recipe = _facts(run, plan, facts, seeds, shell)
    run.folder.write_record(RUN, of_recipe)
    return conclude_recipe(run.folder, run.policy, of_recipe, shell)


def _seed_run(run: Run, plan: Plan, number: int) -> tuple[Run, Plan, int]:
    """One training's own folder and plan, and its seed."""
    assert plan.config is not None
    config = with_seed(plan.config, number, run.policy.seeds)
    seed = seed_of(plan.config) + number
    folder = RunFolder.begin(run.folder.path / folder_of(seed))
    with run.options.at_policy():
        folder.write_policy(run.policy)
    folder.write_config(config)
    planned = replace(plan, config=config)
    folder.write_record(PLAN, planned)
    return replace(run, config=config, folder=folder, seed=seed), planned, seed


def _facts(run: Run, plan: Plan, facts: list[RunFacts], seeds: tuple[int, ...], shell: Shell) -> RunFacts:
    first = facts[0]
    heard = dict.fromkeys(warning for each in facts for warning in each.provenance.warnings)
    config = config_ref(run, plan)
    assert config is not None
    listed = ", ".join(map(str, seeds))
    trained = Override("seed", seeds[0], listed, "trained once with each; the mean is judged")
    # The first training may have gone on alone: the last has the documents of all.
    made = replace(first.provenance, warnings=tuple(heard), order_digest=facts[-1].provenance.order_digest)
    return replace(
        first,
        config=replace(config, overrides=(*config.overrides, trained)),
        cost=sum_costs([each.cost for each in facts], shell.clock() - run.started),
        provenance=made,
        seed=None,
        trainings=1,
    )
