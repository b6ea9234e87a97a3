"""A rule over the parts of a task: one finding, with all slices in it, the worst first. Pure.

A slice breaks the rule where its own drop exceeds the margin and its simultaneous interval holds losses alone
(`gate.stats.slices`): more was lost than chance takes from the worst of so many slices. All rules over slices
share the policy's error, so that together they block a harmless model in at most so many cases.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gate.errors import MeasurementError, UsageError
from gate.records import Finding, Interval, Policy, Rule, Slice
from gate.stats import Array
from gate.stats.slices import QUARTERS, part_bounds, part_proven, quarters
from gate.verdict.arrange import MeasuredMetric, PairedLeaf, Subject
from gate.verdict.slice_outcome import (
    LEAST_SLICES,
    beyond_noise,
    drops_beyond,
    outcome_of_slices,
    slice_loss,
    slice_outcome,
)

RANK = {"fail": 0, "undecided": 1, "pass": 2, "reported": 3}


def require_parts(rule: Rule, metric: MeasuredMetric, sliced_by: str) -> None:
    """Raise UsageError where the parts that the rule is about were not stored with the measurement."""
    assert rule.slices is not None
    by = rule.slices.by
    if metric.aggregation != "mean":
        raise UsageError(f"{metric.name} is one number over all documents, and has no slices")
    if by != "subtask" and (sliced_by != by or any(leaf.parts is None for leaf in metric.leaves)):
        stored = f"it stored {sliced_by}" if sliced_by else "it stored none"
        raise UsageError(
            f"the policy asks for slices by {by} of {rule.task}, and this run did not store which document "
            f"is in which: {stored}",
            hint="run ftgate check again",
        )


def sliced_finding(subject: Subject, policy: Policy) -> Finding:
    """The finding of a rule over slices; its own numbers are those of the worst one."""
    rule, metric = subject.rule, subject.metrics[0]
    assert rule.slices is not None
    slices = _slices(subject, policy)
    worst, proofs = slices[0], [each.proven for each in slices if each.proven is not None]
    return Finding(
        rule=rule.id,
        kind=rule.kind,
        check=metric.check,
        task=rule.task,
        metric=metric.metric,
        filter=metric.filter,
        unit=metric.unit,
        bound=rule.bound,
        base=worst.base,
        tuned=worst.tuned,
        difference=worst.difference,
        interval=worst.interval,
        margin=rule.margin,
        outcome="reported" if rule.skipped else outcome_of_slices([each.outcome for each in slices]),
        documents_scored=worst.documents,
        documents_total=worst.documents,
        higher_is_better=metric.higher_is_better,
        fell=worst.fell,
        rose=worst.rose,
        unchanged=worst.documents - worst.fell - worst.rose,
        note=_note(slices, rule, metric),
        place=rule.place,
        waiver=rule.waiver,
        documents_planned=worst.documents,
        proven=all(proofs) if proofs else None,
        sliced_by=rule.slices.by,
        slices=slices,
    )


def _slices(subject: Subject, policy: Policy) -> tuple[Slice, ...]:
    """Every slice, the worst first."""
    rule, metric = subject.rule, subject.metrics[0]
    assert rule.slices is not None
    parts = _parts(metric, rule.slices.by)
    groups = rule.slices.pooled(Counter(parts))
    group_of = {name: at for at, group in enumerate(groups) for name in group}
    of = np.array([group_of[name] for name in parts])
    # A rule that a waiver skips cannot block, so it takes no share of the error.
    sharing = max(1, sum(each.judges and each.slices is not None for each in policy.rules))
    judged = _Judged(rule, metric, policy, (1 - policy.confidence) / sharing / len(groups))
    documents = _documents(metric)
    slices = [judged.slice(group, documents.some(of == at)) for at, group in enumerate(groups)]
    if len(slices) < LEAST_SLICES:
        slices = [replace(each, outcome="undecided") for each in slices]
    better = metric.higher_is_better
    return tuple(
        sorted(slices, key=lambda it: (RANK[it.outcome], -slice_loss(it, higher_is_better=better), it.name))
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Documents:
    """Documents of a task: both models' values and, where they are known, clusters."""

    base: Array
    tuned: Array
    clusters: NDArray[np.str_] | None

    def some(self, chosen: NDArray[np.bool_]) -> _Documents:
        return _Documents(
            self.base[chosen],
            self.tuned[chosen],
            None if self.clusters is None else self.clusters[chosen],
        )


@dataclass(frozen=True, slots=True)
class _Judged:
    """What every slice of a rule is judged by; `error` is one end's of one interval."""

    rule: Rule
    metric: MeasuredMetric
    policy: Policy
    error: float

    def slice(self, group: tuple[str, ...], documents: _Documents) -> Slice:
        margin, better = self.rule.margin, self.metric.higher_is_better
        assert margin is not None
        changes = documents.tuned - documents.base
        losses, count = -changes if better else changes, changes.size
        clusters = None if documents.clusters is None else documents.clusters.tolist()
        limits = (-1.0, 1.0) if self.metric.is_fraction else None
        bounds, method = part_bounds(losses, clusters, self.error, limits)
        ends = (-bounds.high, -bounds.low) if better else (bounds.low, bounds.high)
        proven = None
        if self.policy.decide == "proven" and self.rule.judges:
            # A pass needs the proof of all slices, so none is corrected (intersection-union).
            proven = part_proven(losses, clusters, margin, 1 - self.policy.confidence, limits)
        found = Slice(
            name=group[0] if len(group) == 1 else "other",
            documents=count,
            base=math.fsum(documents.base.tolist()) / count,
            tuned=math.fsum(documents.tuned.tolist()) / count,
            difference=math.fsum(changes.tolist()) / count,
            interval=Interval(*ends, 1 - 2 * self.error, "population", method, simultaneous=True),
            fell=int((losses > 0).sum()),
            rose=int((losses < 0).sum()),
            outcome="pass",
            pooled=0 if len(group) == 1 else len(group),
            proven=proven,
        )
        return replace(found, outcome=slice_outcome(found, margin, higher_is_better=better))


def _documents(metric: MeasuredMetric) -> _Documents:
    leaves = metric.leaves
    clusters = None
    if any(leaf.clusters is not None for leaf in leaves):
        names = [f"{leaf.name}/{name}" for leaf in leaves for name in leaf.clusters or range(leaf.scored)]
        clusters = np.array(names)
    base = np.concatenate([leaf.base for leaf in leaves])
    return _Documents(base, np.concatenate([leaf.tuned for leaf in leaves]), clusters)


def _parts(metric: MeasuredMetric, by: str) -> list[str]:
    """The part of each document, leaf after leaf."""
    if by == "subtask":
        return [leaf.name for leaf in metric.leaves for _ in range(leaf.scored)]
    labels = [label for leaf in metric.leaves for label in _stored(metric, leaf)]
    return _lengths(metric, labels) if by == "length" else labels


def _stored(metric: MeasuredMetric, leaf: PairedLeaf) -> tuple[str, ...]:
    if leaf.parts is None:
        raise MeasurementError(
            f"{metric.task}, {leaf.name}: it is not stored which document is in which slice"
        )
    return leaf.parts


def _lengths(metric: MeasuredMetric, labels: list[str]) -> list[str]:
    """`41 to 87 characters`: the quarter of each document by the length of its prompt, equal ones in the
    order of the documents. Quarters of the same lengths have their number in their names."""
    if not all(label.isdecimal() for label in labels):
        raise MeasurementError(f"{metric.task}: the length of a prompt is no number")
    lengths = np.array([int(label) for label in labels])
    of = quarters(lengths.tolist())
    names = {
        k: f"{lengths[of == k].min()} to {lengths[of == k].max()} characters"
        for k in range(QUARTERS)
        if (of == k).any()
    }
    named = Counter(names.values())
    names = {k: name if named[name] == 1 else f"{name}, quarter {k + 1}" for k, name in names.items()}
    return [names[k] for k in of.tolist()]


def _note(slices: tuple[Slice, ...], rule: Rule, metric: MeasuredMetric) -> str:
    """What a reader must know beside the worst slice's numbers. No names of slices: those are data."""
    assert rule.slices is not None
    assert rule.margin is not None
    if len(slices) < LEAST_SLICES:
        return f"not judged: there are no two slices of {rule.slices.min_documents:,} documents"
    worst, better = slices[0], metric.higher_is_better
    parts = [f"{worst.fell:,} of {worst.documents:,} lost, {worst.rose:,} won"]
    broken = sum(each.outcome == "fail" for each in slices)
    open_ = sum(each.outcome == "undecided" for each in slices)
    parts.append(f"{broken:,} of {len(slices):,} slices lost more than the limit and more than noise")
    if open_:
        parts.append(f"{open_:,} not proven")
    noise = sum(
        drops_beyond(each, rule.margin, higher_is_better=better)
        and not beyond_noise(each.interval, higher_is_better=better)
        for each in slices
    )
    if noise:
        parts.append(f"{noise:,} lost more than the limit, but no more than noise")
    pooled = next((each for each in slices if each.pooled), None)
    if pooled is not None:
        parts.append(f"{pooled.pooled:,} small ones judged as one with {pooled.documents:,} documents")
    return "; ".join(parts)
