"""A rule over the parts of a task: one finding, with all slices in it, the worst first. Pure.

A slice breaks the rule where its own drop exceeds the margin and its simultaneous interval holds losses alone
(`gate.stats.slices`): more was lost than chance takes from the worst of so many slices. All rules over slices
share the policy's error, so that together they block a harmless model in at most so many cases.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gate.errors import MeasurementError, UsageError
from gate.records import Finding, Interval, Policy, Rule, SeedSpread, Slice
from gate.stats import Array, Bounds
from gate.stats.slices import QUARTERS, part_bounds, part_proven, quarters
from gate.stats.trainings import deviation, over_trainings
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


def sliced_finding(subject: Subject, policy: Policy, trainings: Sequence[Subject] = ()) -> Finding:
    """The finding of a rule over slices; its own numbers are those of the worst one. Of a recipe `subject` is
    the mean over `trainings`, whose spread widens every slice's interval."""
    rule, metric = subject.rule, subject.metrics[0]
    assert rule.slices is not None
    slices = _slices(subject, policy, trainings)
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
        seeds=worst.seeds,
        sliced_by=rule.slices.by,
        slices=slices,
    )


def _slices(subject: Subject, policy: Policy, trainings: Sequence[Subject]) -> tuple[Slice, ...]:
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
    documents, own = _documents(metric), [_documents(each.metrics[0]) for each in trainings]
    slices = [
        judged.slice(group, documents.some(of == at), [each.some(of == at) for each in own])
        for at, group in enumerate(groups)
    ]
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

    @property
    def changes(self) -> Array:
        return self.tuned - self.base

    @property
    def mean_change(self) -> float:
        return math.fsum(self.changes.tolist()) / self.base.size

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

    def slice(self, group: tuple[str, ...], documents: _Documents, trainings: Sequence[_Documents]) -> Slice:
        margin, better = self.rule.margin, self.metric.higher_is_better
        assert margin is not None
        count, difference = documents.base.size, documents.mean_change
        losses = -documents.changes if better else documents.changes
        clusters = None if documents.clusters is None else documents.clusters.tolist()
        bounds, method = part_bounds(losses, clusters, self.error, self._limits)
        own = [-each.mean_change if better else each.mean_change for each in trainings]
        interval, seeds = self._intervals(bounds, method, own)
        proven = None
        if self.policy.decide == "proven" and self.rule.judges:
            # A pass needs the proof of all slices, so none is corrected (intersection-union).
            proven = part_proven(losses, clusters, margin, 1 - self.policy.confidence, self._limits, own)
        found = Slice(
            name=group[0] if len(group) == 1 else "other",
            documents=count,
            base=math.fsum(documents.base.tolist()) / count,
            tuned=math.fsum(documents.tuned.tolist()) / count,
            difference=difference,
            interval=interval,
            fell=int((losses > 0).sum()),
            rose=int((losses < 0).sum()),
            outcome="pass",
            pooled=0 if len(group) == 1 else len(group),
            proven=proven,
            seeds=seeds,
        )
        return replace(found, outcome=slice_outcome(found, margin, higher_is_better=better))

    @property
    def _limits(self) -> tuple[float, float] | None:
        return (-1.0, 1.0) if self.metric.is_fraction else None

    def _intervals(
        self, losses: Bounds, method: str, trainings: Sequence[float]
    ) -> tuple[Interval, SeedSpread | None]:
        """Of the difference, from the bounds of the loss; of a recipe with its trainings' own losses."""
        measuring = self._interval(losses, method)
        if not trainings:
            return measuring, None
        wider = over_trainings(losses, trainings, 1 - 2 * self.error)
        values = tuple(0.0 - each if self.metric.higher_is_better else each for each in trainings)
        method = f"{method}; with {len(values)} trainings by MOVER"
        return self._interval(wider, method), SeedSpread(values, deviation(values), measuring)

    def _interval(self, losses: Bounds, method: str) -> Interval:
        """Of the difference, from the bounds of the loss."""
        low, high = losses.low, losses.high
        if self._limits is not None:
            low, high = max(low, self._limits[0]), min(high, self._limits[1])
        ends = (-high, -low) if self.metric.higher_is_better else (low, high)
        return Interval(*ends, 1 - 2 * self.error, "population", method, simultaneous=True)


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
