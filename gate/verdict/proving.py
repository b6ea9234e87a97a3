"""`decide: proven`: whether the data prove that the drop on the population is at most the margin. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gate.stats import Array, Bounds, DegenerateData
from gate.stats.proportions import cluster_bounds, noninferior_p
from gate.stats.trainings import over_trainings
from gate.verdict.arrange import MeasuredMetric, PairedLeaf, Subject


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the drop is proven to be at most the margin, and what says so."""

    proven: bool
    note: str


def prove(subject: Subject, error: float) -> Proof:
    """The proof of a `max_drop`, one-sided at `error`; what cannot be proven is not.

    Documents that are right or wrong and independent: the exact test. Else the cluster-robust interval of
    the weighted mean, each document a cluster of its own where the policy names none. The spread between
    subtasks and tasks is counted as noise there, which makes the interval wider and never narrower.
    """
    margin, metrics = subject.rule.margin, subject.metrics
    assert margin is not None
    if any(metric.aggregation != "mean" for metric in metrics):
        return Proof(False, "not proven: only means over documents can be")
    leaves = [leaf for metric in metrics for leaf in metric.leaves]
    alone = len(leaves) == 1 and leaves[0].binary and leaves[0].clusters is None
    if alone and margin < 1:
        return _exact(leaves[0], margin, error, higher_is_better=metrics[0].higher_is_better)
    values, clusters = _weighted(metrics)
    try:
        bound = cluster_bounds(values, clusters, error)
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
    if any(metric.aggregation != "mean" for metric in metrics):
        return Proof(False, "not proven: only means over documents can be")
    values, clusters = _weighted(metrics)
    try:
        over = cluster_bounds(values, clusters, error)
    except DegenerateData as degenerate:
        return Proof(False, f"not proven: {degenerate}")
    documents = Bounds(over.estimate, min(over.low, over.estimate), max(over.high, over.estimate))
    high = over_trainings(documents, differences, 1 - 2 * error).high
    count = len(set(clusters))
    said = f"the drop is below {high:.4g} with an error of {error:.2g}, over {count:,} clusters"
    return Proof(high <= margin, f"{said} and {len(differences)} trainings")


def _exact(leaf: PairedLeaf, margin: float, error: float, *, higher_is_better: bool) -> Proof:
    lost, won = int((leaf.base > leaf.tuned).sum()), int((leaf.base < leaf.tuned).sum())
    if not higher_is_better:
        lost, won = won, lost
    p = noninferior_p(lost, won, leaf.scored, margin)
    return Proof(p <= error, f"exact p = {p:.2g} of a drop at the margin or beyond")


def _weighted(metrics: tuple[MeasuredMetric, ...]) -> tuple[Array, list[str]]:
    """Losses whose plain mean is the rule's own drop, and each document's cluster."""
    parts = [(metric, leaf) for metric in metrics for leaf in metric.leaves]
    total = sum(leaf.scored for _, leaf in parts)
    values: list[Array] = []
    clusters: list[str] = []
    for metric, leaf in parts:
        loss = leaf.base - leaf.tuned if metric.higher_is_better else leaf.tuned - leaf.base
        values.append(loss * (leaf.weight / len(metrics) * total / leaf.scored))
        named = leaf.clusters or tuple(f"document {at}" for at in range(leaf.scored))
        clusters += [f"{metric.task}/{leaf.name}/{name}" for name in named]
    return np.concatenate(values), clusters
