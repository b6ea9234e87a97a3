"""`decide: proven`: whether the data prove that the drop on the population is at most the margin. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gate.stats import Array, DegenerateData
from gate.stats.proportions import noninferior_p, range_bounds
from gate.stats.trainings import recipe_bounds
from gate.verdict.arrange import MeasuredMetric, PairedLeaf, Subject


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the drop is proven to be at most the margin, and what says so."""

    proven: bool
    note: str


def prove(subject: Subject, error: float) -> Proof:
    """The proof of a `max_drop`, one-sided at `error`; what cannot be proven is not.

    Documents that are right or wrong and independent: the exact test. Else the cluster-robust interval of
    the weighted mean, each document a cluster of its own where the policy names none, with one more cluster
    that is all lost (`range_bounds`). The spread between subtasks and tasks is counted as noise there, which
    makes the interval wider and never narrower.
    """
    margin, metrics = subject.rule.margin, subject.metrics
    assert margin is not None
    if refused := _refused(metrics):
        return refused
    leaves = [leaf for metric in metrics for leaf in metric.leaves]
    alone = len(leaves) == 1 and leaves[0].binary and leaves[0].clusters is None
    if alone and margin < 1:
        return _exact(leaves[0], margin, error, higher_is_better=metrics[0].higher_is_better)
    values, clusters, most = _weighted(metrics)
    try:
        bound = range_bounds(values, clusters, error, (-most, most))
    except DegenerateData as degenerate:
        return Proof(False, f"not proven: {degenerate}")
    count = len(set(clusters))
    said = f"the drop is below {bound.high:.4g} with an error of {error:.2g}, over {count:,} clusters"
    return Proof(bound.high <= margin, said)


def prove_recipe(subject: Subject, differences: Sequence[float], error: float) -> Proof:
    """The same of a recipe, of whose trainings these are the rule's own differences: the bound over documents
    is widened by the spread between trainings. Documents' means over trainings are no longer right or wrong,
    so it is the cluster-robust one throughout."""
    margin, metrics = subject.rule.margin, subject.metrics
    assert margin is not None
    if refused := _refused(metrics):
        return refused
    values, clusters, most = _weighted(metrics)
    try:
        high = recipe_bounds(values, clusters, differences, error, (-most, most)).high
    except DegenerateData as degenerate:
        return Proof(False, f"not proven: {degenerate}")
    count = len(set(clusters))
    said = f"the drop is below {high:.4g} with an error of {error:.2g}, over {count:,} clusters"
    return Proof(high <= margin, f"{said} and {len(differences)} trainings")


def _refused(metrics: tuple[MeasuredMetric, ...]) -> Proof | None:
    """What no sample can prove: a rare loss may be of any size where a metric has no end."""
    if any(metric.aggregation != "mean" for metric in metrics):
        return Proof(False, "not proven: only means over documents can be")
    if endless := [metric.name for metric in metrics if not metric.is_fraction]:
        return Proof(False, f"not proven: {endless[0]} has no known range, and a rare loss may have any size")
    return None


def _exact(leaf: PairedLeaf, margin: float, error: float, *, higher_is_better: bool) -> Proof:
    lost, won = int((leaf.base > leaf.tuned).sum()), int((leaf.base < leaf.tuned).sum())
    if not higher_is_better:
        lost, won = won, lost
    p = noninferior_p(lost, won, leaf.scored, margin)
    return Proof(p <= error, f"exact p = {p:.2g} of a drop at the margin or beyond")


def _weighted(metrics: tuple[MeasuredMetric, ...]) -> tuple[Array, list[str], float]:
    """Losses whose plain mean is the rule's own drop, each document's cluster, and the largest loss there
    can be: that of a document with the largest weight, of metrics between 0 and 1."""
    parts = [(metric, leaf) for metric in metrics for leaf in metric.leaves]
    total = sum(leaf.scored for _, leaf in parts)
    scales = [leaf.weight / len(metrics) * total / leaf.scored for _, leaf in parts]
    values: list[Array] = []
    clusters: list[str] = []
    for (metric, leaf), scale in zip(parts, scales, strict=True):
        loss = leaf.base - leaf.tuned if metric.higher_is_better else leaf.tuned - leaf.base
        values.append(loss * scale)
        named = leaf.clusters or tuple(f"document {at}" for at in range(leaf.scored))
        clusters += [f"{metric.task}/{leaf.name}/{name}" for name in named]
    return np.concatenate(values), clusters, max(scales)
