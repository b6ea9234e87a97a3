"""Several trainings of one config: the recipe's verdict, about the mean over its seeds. Pure.

Every rule's number is the mean over the seeds of the number that each training has for itself: documents are
paired over all of them, so it is also the number of the documents' mean values.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gate.errors import MeasurementError, UsageError
from gate.records import (
    ConfigRef,
    Cost,
    Finding,
    Flip,
    Interval,
    Measurement,
    Measurements,
    ModelRef,
    Policy,
    Provenance,
    Rule,
    SeedRun,
    SeedSpread,
)
from gate.stats import Bounds
from gate.stats.trainings import deviation, over_trainings
from gate.verdict.arrange import FRACTIONS
from gate.verdict.findings import arrange, judge, noise_note
from gate.verdict.proving import Proof, prove_recipe
from gate.verdict.result import Verdict
from gate.verdict.subjects import find_subjects


def judge_recipe(
    trained: Sequence[tuple[SeedRun, Verdict]],
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
    Raises as `judge` does, and UsageError where slices must be proven: their drops move between
    trainings, and a slice's proof knows the documents alone.
    """
    if policy.proves_slices:
        raise UsageError(
            "slices cannot be proven of several trainings: their spread is in no slice's proof",
            hint="judge the recipe with `decide: full`, or leave the slices out",
        )
    runs = tuple(run for run, _ in trained)
    same = _same_models(runs)
    provenance = replace(provenance, warnings=(*provenance.warnings, *same))
    verdict = judge(mean, policy, config, cost, provenance, expected_base=expected_base, champion=champion)
    own = [{finding.rule: finding for finding in seed.findings} for _, seed in trained]
    proofs = _proofs(mean, policy, own, champion) if policy.decide == "proven" else {}
    rules = {rule.id: rule for rule in policy.rules}
    findings = tuple(
        _of_recipe(finding, rules.get(finding.rule), [each[finding.rule] for each in own], policy, proofs)
        for finding in verdict.findings
    )
    return replace(verdict, findings=findings, seeds=runs)


def _same_models(runs: Sequence[SeedRun]) -> tuple[str, ...]:
    if len({run.digest for run in runs}) == len(runs):
        return ()
    return (
        "seeds made the same model, file by file: this training does not depend on its seed, and the spread "
        "between seeds says nothing",
    )


def _number(finding: Finding) -> float:
    return finding.tuned if finding.bound == "min_score" else finding.difference


def _of_recipe(
    finding: Finding, rule: Rule | None, own: Sequence[Finding], policy: Policy, proofs: dict[str, Proof]
) -> Finding:
    """The finding with the spread between seeds, which widens its interval about the population."""
    values, estimate = tuple(_number(each) for each in own), _number(finding)
    size = max(1e-3, *map(abs, values))
    if rule is None or rule.slices or abs(math.fsum(values) / len(values) - estimate) > 1e-9 * size:
        return (
            finding  # no mean over the seeds' numbers, such as the worst part of a task: see the seeds' own
        )
    measuring = finding.interval
    interval = _widened(measuring, estimate, values, bounded=finding.unit in FRACTIONS, of=finding.bound)
    spread = SeedSpread(values, deviation(values), measuring)
    said = finding.note.split("; ")
    kept = [part for part in said if part and "within noise" not in part and part != "no difference"]
    noise = noise_note(rule, interval, finding.difference, finding.higher_is_better)
    changed = replace(finding, interval=interval, seeds=spread)
    proof = proofs.get(finding.rule)
    if proof is not None:
        kept = [part for part in kept if "exact p = " not in part and "proven" not in part]
        kept = [part for part in kept if not part.startswith("the drop is below")] + [proof.note]
        outcome = finding.outcome if finding.outcome == "fail" else "pass" if proof.proven else "undecided"
        changed = replace(changed, outcome=outcome, proven=proof.proven)
    return replace(changed, note="; ".join(filter(None, (noise, *kept))))


def _widened(
    measuring: Interval, estimate: float, values: Sequence[float], *, bounded: bool, of: str
) -> Interval:
    found = over_trainings(Bounds(estimate, measuring.low, measuring.high), values, measuring.level)
    low, high = found.low, found.high
    if bounded:
        low, high = max(low, 0.0 if of == "min_score" else -1.0), min(high, 1.0)
    method = f"{measuring.method}; with {len(values)} trainings by MOVER"
    return Interval(low, high, measuring.level, measuring.about, method)


def _proofs(
    mean: Measurements,
    policy: Policy,
    own: Sequence[dict[str, Finding]],
    champion: Measurements | None,
) -> dict[str, Proof]:
    """Of each rule that must be proven, over documents and trainings."""
    found: dict[str, Proof] = {}
    pairs = None if champion is None else arrange(champion)
    for subject in find_subjects(policy, arrange(mean), pairs):
        rule = subject.rule
        if rule.bound == "max_drop" and rule.judges and not rule.slices:
            changes = [each[rule.id].difference for each in own]
            found[rule.id] = prove_recipe(subject, changes, 1 - policy.confidence)
    return found


# ── The mean over trainings ──────────────────────────────────────────────────────────────────────


def mean_measurements(measured: Sequence[Measurements], name: str) -> Measurements:
    """The recipe's: per document the base's value and the mean of the tuned models'.

    Raises MeasurementError where the trainings were not measured on the same documents, or where documents
    were left out: a mean over what was drawn of one seed and not of another is of nothing.
    """
    first = measured[0]
    if any(each.tasks != first.tasks or each.base.digest != first.base.digest for each in measured):
        raise MeasurementError("the trainings of this recipe were not measured on the same tasks and base")
    columns = zip(*(each.measurements for each in measured), strict=True)
    return Measurements(
        base=first.base,
        tuned=recipe_model([each.tuned for each in measured], name),
        tasks=tuple(replace(info, right_or_wrong=False) for info in first.tasks),
        measurements=tuple(_mean(column) for column in columns),
        flips=_flips(measured),
    )


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
        if other.rounds is not None:
            raise MeasurementError(f"{first.task}: a recipe is judged on all documents, not on those drawn")
    tuned = np.mean([each.tuned for each in column], axis=0)
    return replace(
        first,
        tuned=tuple(tuned.tolist()),
        corpus=_mean_pair([each.corpus for each in column]),
        replicates=_mean_replicates(column),
    )


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
