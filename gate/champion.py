"""The champion of a run: found before anything is trained, measured like the tuned model, kept beside it.

RUN/champion/   the pairs of champion and tuned model, as measurements of their own: `judge` needs no more
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gate.errors import ConfigErrors, ModelError, Problem, StoreError, UsageError
from gate.fetch import fetch_model
from gate.inputs import prove
from gate.models import inspect_model
from gate.records import (
    BlockResult,
    Champion,
    Measurements,
    ModelRef,
    Plan,
    Policy,
    Provenance,
    RunFacts,
    TaskInfo,
)
from gate.runfolder import CHAMPION, RUN, SEEDS, RunFolder
from gate.scoring import HF_NAME, ModelSession
from gate.shell import Shell
from gate.store import Side, Store, store_root
from gate.verdict.champion import MODEL_INSTEAD, champion_tasks, pair_with_champion, task_differences

if TYPE_CHECKING:
    from checks import OpenTask

KEY = "champion"


@dataclass(frozen=True, slots=True)
class Took:
    """What measuring the champion took: seconds, and blocks of either origin."""

    seconds: float = 0.0
    blocks_scored: int = 0
    blocks_from_store: int = 0


def find_champion(policy: Policy, base: ModelRef, tasks: Sequence[TaskInfo], shell: Shell) -> ModelRef | None:
    """The policy's champion on this disk; of a run, the model that it judged. None where there is none.

    Raises `ConfigErrors` where it cannot be had, does not fit `base`, or was not measured on these `tasks`.
    """
    champion = policy.champion
    if champion is None:
        return None
    if policy.seeds > 1:
        raise _refused(policy, "goes with one training, not with a recipe", "leave out `seeds`")
    try:
        if champion.run:
            return _of_run(champion, policy, tasks)
        return _of_model(champion, policy, base, shell)
    except ConfigErrors:
        raise
    except (UsageError, StoreError) as error:
        raise _refused(policy, error.message, error.hint) from error


def _refused(policy: Policy, message: str, hint: str) -> ConfigErrors:
    return ConfigErrors([Problem(policy.path, message, None, KEY, hint)])


def _of_run(champion: Champion, policy: Policy, tasks: Sequence[TaskInfo]) -> ModelRef:
    folder = RunFolder.open(Path(champion.run))
    if (folder.path / SEEDS).is_file():
        hint = f"name one training's folder, such as {champion.run}/seeds/1"
        raise UsageError(f"{champion.run} is a recipe of several trainings", hint=hint)
    theirs = folder.read_measurements()
    wanted, known = champion_tasks(policy), {info.task: info for info in theirs.tasks}
    problems = [
        Problem(policy.path, f"{champion.run}: {text}", None, info.task, MODEL_INSTEAD)
        for info in tasks
        if info.task in wanted
        for text in task_differences(info, known.get(info.task))
    ]
    if problems:
        raise ConfigErrors(problems)
    name = folder.path.resolve().name
    return ModelRef(name, theirs.tuned.path, theirs.tuned.digest, theirs.tuned.kind, theirs.tuned.revision)


def _of_model(champion: Champion, policy: Policy, base: ModelRef, shell: Shell) -> ModelRef:
    name, revision = champion.model, champion.revision
    if name.startswith("sha256:"):
        # Only what a merged ref stored: a pull request must not bring the model that it is compared with.
        trusted = Store(store_root(shell.environ), warn=shell.warn)
        if not trusted.has_model(name):
            hint = "run the check that made it again, or name its folder or a hub name"
            raise UsageError(f"the store holds no model {name}", hint=hint)
        path = trusted.model_path(name)
    else:
        path, revision = fetch_model(name, revision, environ=shell.environ)
    found = inspect_model(
        path.absolute(), name, remote_code=policy.trust.remote_code, revision=revision, need_tokenizer=False
    )
    if found.digest == base.digest:
        raise ModelError(f"{name} is the base model itself", hint="leave out `champion` and its rules")
    prove(base, found)
    return found


# ── Measuring ────────────────────────────────────────────────────────────────────────────────────


class TrustedFirst(Store):
    """A store in which every answer of the champion is looked for as the base's is: at the root first.

    A pull request's own place may hold what its code wrote, and a champion that is made worse lets
    anything pass.
    """

    def get_block(self, key: str, side: Side) -> BlockResult | None:
        """The block's result, what a merged ref measured first."""
        return super().get_block(key, "base")

    @classmethod
    def like(cls, store: Store) -> TrustedFirst:
        """The same store, read so."""
        other = copy.copy(store)
        other.__class__ = cls
        assert isinstance(other, cls)
        return other


def measure_champion(
    folder: RunFolder,
    plan: Plan,
    tasks: Sequence[OpenTask],
    ours: Measurements,
    made: Provenance,
    store: Store,
    shell: Shell,
) -> Took:
    """Put the champion's answers beside `ours` and keep the pairs in the run's folder.

    A champion that is a model is scored here, on all documents of the tasks that its rules are about; the
    store keeps its blocks under its digest, so that is done once. Raises `ConfigErrors` with all that differs
    where a champion's run was not measured on the same documents in the same way as `made` says of ours.
    """
    policy, champion = plan.policy, plan.champion
    assert policy.champion is not None
    assert champion is not None
    took = Took()
    if policy.champion.run:
        theirs = _stored(policy, ours, made)
    elif champion.digest == ours.tuned.digest:
        shell.warn("the champion is this very model: rules against it hold by themselves")
        theirs = ours
    else:
        theirs, took = _scored(plan, champion, tasks, made.scorer, store, shell)
    named = Measurements(theirs.base, champion, theirs.tasks, theirs.measurements)
    keep_pairs(folder, pair_with_champion(ours, named, policy))
    return took


def keep_pairs(folder: RunFolder, pairs: Measurements) -> None:
    """Keep the pairs of champion and tuned model in a run's folder, in the place of those there."""
    place = folder.path / CHAMPION
    shutil.rmtree(place, ignore_errors=True)
    RunFolder.begin(place).write_measurements(pairs)


def _stored(policy: Policy, ours: Measurements, made: Provenance) -> Measurements:
    assert policy.champion is not None
    folder = RunFolder.open(Path(policy.champion.run))
    theirs, facts = folder.read_measurements(), folder.read_record(RUN, RunFacts)
    said = [*settings_differ(made, facts.provenance, ours.base, theirs.base)]
    if said:
        raise ConfigErrors(
            Problem(policy.path, f"its run was measured otherwise: {text}", None, KEY, MODEL_INSTEAD)
            for text in said
        )
    return theirs


def settings_differ(
    ours: Provenance, theirs: Provenance, our_base: ModelRef, their_base: ModelRef
) -> Iterator[str]:
    """What makes two runs' scores incomparable, in words: each of these moves a score by itself."""
    for what in ("dtype", "device", "scorer", "quantization", "batch_size"):
        mine, other = getattr(ours, what), getattr(theirs, what)
        if mine != other:
            yield f"{what.replace('_', ' ')} {other}, here {mine}"
    if our_base.digest != their_base.digest:
        yield f"base model {their_base.name} ({their_base.digest}), here {our_base.name} ({our_base.digest})"


def _scored(
    plan: Plan, champion: ModelRef, tasks: Sequence[OpenTask], scorer: str, store: Store, shell: Shell
) -> tuple[Measurements, Took]:
    """Raises MeasurementError where the champion could not be scored by `scorer`, as the tuned model was."""
    from gate.measure import measure

    policy, wanted = plan.policy, champion_tasks(plan.policy)
    bits = plan.config.quantization_bits if plan.config else None
    asked = [task for task in tasks if task.info.task in wanted]
    evaluation = policy.evaluation
    if evaluation.scorer == "auto":
        evaluation = replace(evaluation, scorer="hf" if scorer == HF_NAME else "tree")
    believed = store.self_tests
    with ModelSession(plan.base, champion, evaluation, policy.trust, bits, believed, shell.team) as session:
        found = measure(asked, session, TrustedFirst.like(store), shell)
    return found.measurements, Took(found.seconds, found.blocks_scored, found.blocks_from_store)
