"""Several trainings of one config: the recipe's verdict, about the mean over its seeds. Pure.

Every rule's number is the mean over the seeds of the number that each training has for itself: documents are
paired over all of them, so it is also the number of the documents' mean values. Under `decide: score` these
means are the fixed numbers that are drawn: with k trainings multiples of 1 / k, of which the test assumes
no more than of ones and zeros.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gate.errors import MeasurementError
from gate.records import (
    ConfigRef,
    Cost,
    Finding,
    Flip,
    Measurement,
    Measurements,
    ModelRef,
    Policy,
    Provenance,
    SeedRun,
)
from gate.stats import Array
from gate.verdict.findings import compared, finding_of, subjects_of, verdict_of
from gate.verdict.playing import require_settled, settle
from gate.verdict.result import Verdict


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a recipe, with its own verdict in `run`, and what was measured of it."""

    run: SeedRun
    measured: Measurements
    champion: Measurements | None = None  # its pairs with the champion


def judge_recipe(
    trained: Sequence[Training],
    mean: Measurements,
    policy: Policy,
    config: ConfigRef | None,
    cost: Cost,
    provenance: Provenance,
    *,
    expected_base: str | None = None,
    champion: Measurements | None = None,
) -> Verdict:
    """The verdict about the mean over the trainings, each of which was judged by the same policy before.

    `mean` is `mean_measurements` of theirs, `champion` that of their pairs with the champion.
    Raises as `judge` does.
    """
    runs = tuple(each.run for each in trained)
    subjects = subjects_of(mean, policy, provenance, expected_base, champion)
    settled = settle(subjects, policy)
    own = zip(*(compared(each.measured, policy, each.champion) for each in trained), strict=True)
    findings = tuple(
        finding_of(subject, policy, settled.get(subject.rule.id), each)
        for subject, each in zip(subjects, own, strict=True)
    )
    require_settled(findings, policy)
    said = (*_same_models(runs), *_none_ships(runs, findings))
    provenance = replace(provenance, warnings=(*provenance.warnings, *said))
    return verdict_of(findings, mean, policy, config, cost, provenance, champion, runs)


def _same_models(runs: Sequence[SeedRun]) -> tuple[str, ...]:
    if len({run.digest for run in runs}) == len(runs):
        return ()
    return (
        "seeds made the same model, file by file: this training does not depend on its seed, and the spread "
        "between seeds says nothing",
    )


def _none_ships(runs: Sequence[SeedRun], findings: Sequence[Finding]) -> tuple[str, ...]:
    passes = all(finding.outcome in ("pass", "reported") for finding in findings)
    if not passes or any(run.outcome == "pass" for run in runs):
        return ()
    return (
        "the mean holds and no training does alone, so no model of this recipe can ship: see each seed's own",
    )


# ── The mean over trainings ──────────────────────────────────────────────────────────────────────


def mean_measurements(measured: Sequence[Measurements], name: str) -> Measurements:
    """The recipe's: per document the base's value and the mean of the tuned models'.

    Rounds for which one training went on alone, to settle its own rules, are left out. Raises
    MeasurementError where the trainings were else not measured on the same documents: a mean over what was
    drawn of one and not of another is of nothing.
    """
    measured = _shared(measured)
    first = measured[0]
    if any(each.tasks != first.tasks or each.base.digest != first.base.digest for each in measured):
        raise MeasurementError("the trainings of this recipe were not measured on the same tasks and base")
    columns = zip(*(each.measurements for each in measured), strict=True)
    return Measurements(
        base=first.base,
        tuned=recipe_model([each.tuned for each in measured], name),
        tasks=first.tasks,
        measurements=tuple(_mean(column) for column in columns),
        flips=_flips(measured),
    )


def _shared(measured: Sequence[Measurements]) -> list[Measurements]:
    """Each until the last round that all of them had."""
    last = min(
        max((at for one in each.measurements for at in one.rounds or ()), default=0) for each in measured
    )
    return [_until(each, last) for each in measured]


def _until(measured: Measurements, last: int) -> Measurements:
    """What had been drawn by the end of round `last`."""
    kept = tuple(_leaf_until(one, last) for one in measured.measurements)
    numbers = {(one.task, one.leaf): frozenset(one.numbers) for one in kept}
    flips = (flip for flip in measured.flips if flip.number in numbers[flip.task, flip.leaf])
    return replace(measured, measurements=kept, flips=tuple(flips))


def _leaf_until(one: Measurement, last: int) -> Measurement:
    if one.rounds is None or max(one.rounds) <= last:
        return one
    at = [place for place, number in enumerate(one.rounds) if number <= last]
    columns = ("numbers", "hashes", "base", "tuned", "weights", "rounds", "clusters", "parts")
    whole: dict[str, Any] = {name: getattr(one, name) for name in columns}
    drawn: dict[str, Any] = {
        name: values and tuple(values[place] for place in at) for name, values in whole.items()
    }
    return replace(one, **drawn)


def recipe_model(models: Sequence[ModelRef], name: str) -> ModelRef:
    """What stands for the models of a recipe: no model has its digest, so that it alone never ships one."""
    digest = hashlib.sha256("\n".join(["recipe", *(model.digest for model in models)]).encode()).hexdigest()
    return ModelRef(name, "", f"sha256:{digest}", models[0].kind)


def _mean(column: Sequence[Measurement]) -> Measurement:
    first = column[0]
    for other in column:
        plain = replace(other, tuned=first.tuned, corpus=first.corpus, replicates=first.replicates)
        if plain != first:
            where = f"{first.task}, {first.leaf}, {first.metric}"
            raise MeasurementError(f"{where}: the trainings were not measured on the same documents alike")
    tuned = mean_values([np.array(each.tuned) for each in column])
    return replace(
        first,
        tuned=tuple(tuned.tolist()),
        corpus=_mean_pair([each.corpus for each in column]),
        replicates=_mean_replicates(column),
    )


def mean_values(trainings: Sequence[Array]) -> Array:
    """Document by document, the mean of the trainings' values."""
    return np.asarray(np.mean(trainings, axis=0))


def _mean_pair(pairs: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [pair for pair in pairs if pair is not None]
    return None if not known else (known[0][0], math.fsum(tuned for _, tuned in known) / len(known))


def _mean_replicates(column: Sequence[Measurement]) -> tuple[tuple[float, float], ...]:
    """Replicate by replicate: every training's were drawn with the same seed, so of the same documents."""
    replicates = [each.replicates for each in column]
    if len({tuple(base for base, _ in each) for each in replicates}) != 1:
        raise MeasurementError(
            f"{column[0].task}, {column[0].metric}: the trainings' bootstrap was not of the same documents"
        )
    rows = zip(*replicates, strict=True)
    return tuple((row[0][0], math.fsum(tuned for _, tuned in row) / len(row)) for row in rows)


def _flips(measured: Sequence[Measurements]) -> tuple[Flip, ...]:
    """Documents that fell, or rose, in more trainings than the other way; those of most trainings first."""
    seen: dict[tuple[str, str, int], list[Flip]] = {}
    for each in measured:
        for flip in each.flips:
            seen.setdefault((flip.task, flip.leaf, flip.number), []).append(flip)
    ranked: list[tuple[int, Flip]] = []
    for flips in seen.values():
        net = sum(1 if flip.fell else -1 for flip in flips)
        if net:
            ranked.append((-abs(net), next(flip for flip in flips if flip.fell == (net > 0))))
    return tuple(flip for _, flip in sorted(ranked, key=lambda entry: entry[0]))
