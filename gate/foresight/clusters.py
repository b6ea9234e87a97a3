"""Documents that belong together, as `plan` takes them: what a rule's figures are simulated from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gate.records import Policy, Rule, TaskInfo
from gate.stats.proof_power import Clusters, worth
from gate.stats.proportions import LEAST_CLUSTERS
from gate.stats.sequential import Stratum

# Of the documents of one cluster, where nothing was measured. Nobody knows it beforehand, so the figures at 0
# and 1 stand beside it.
ALIKE = 0.3


def strata_of(measured: Sequence[TaskInfo]) -> tuple[Stratum, ...]:
    """Leaves with their weights in the rule's mean; one that several tasks hold counts once."""
    found: dict[str, tuple[int, float]] = {}
    for info in measured:
        for leaf in info.leaves:
            size, weight = found.get(leaf.name, (leaf.documents_planned, 0.0))
            found[leaf.name] = (max(size, leaf.documents_planned), weight + leaf.weight / len(measured))
    return tuple(Stratum(size, weight) for size, weight in found.values() if size and weight)


def clusters_of(measured: Sequence[TaskInfo]) -> tuple[Clusters, ...]:
    """All clusters of a rule's tasks as `gate.verdict.proving` weighs them: a document is one of its own
    where no field is named."""
    total = sum(info.documents_planned for info in measured)
    found: Counter[tuple[int, float]] = Counter()
    for info in measured:
        for leaf in info.leaves:
            if leaf.documents_planned and leaf.weight:
                scale = leaf.weight / len(measured) * total / leaf.documents_planned
                for size, number in leaf.clusters or ((1, leaf.documents_planned),):
                    found[size, round(scale, 12)] += number
    return tuple(Clusters(number, size, scale) for (size, scale), number in sorted(found.items()))


def simulated(rule: Rule, policy: Policy, measured: Sequence[TaskInfo]) -> tuple[Clusters, ...]:
    """What the rule's figures need a simulation for; empty where a formula has them."""
    clusters = clusters_of(measured)
    shared = any(each.size > 1 for each in clusters)
    proves = policy.decide == "proven" and rule.bound == "max_drop"
    if rule.bound == "min_score":
        return ()
    several = sum(len(info.leaves) for info in measured) > 1
    named = any(leaf.clusters for info in measured for leaf in info.leaves)
    return clusters if shared or (proves and (several or named)) else ()


def too_few_clusters(rule: Rule, policy: Policy, measured: Sequence[TaskInfo]) -> tuple[str, str]:
    """(problem, what would work) of a proof from so few clusters that it is always undecided."""
    clusters = simulated(rule, policy, measured)
    if policy.decide != "proven" or rule.bound != "max_drop" or not clusters:
        return "", ""
    if (found := worth(clusters)) >= LEAST_CLUSTERS - 1e-9:
        return "", ""
    number = sum(each.number for each in clusters)
    return (
        f"{number:,} clusters{_by(measured)}, worth {found:.1f} of one size; {LEAST_CLUSTERS} are needed, so "
        "under `decide: proven` it is always undecided",
        "take documents of more clusters, name another `cluster_by`, or judge it with `decide: score` or "
        "`full`, which need no clusters",
    )


def said_clusters(clusters: Sequence[Clusters], measured: Sequence[TaskInfo]) -> str:
    """How many there are, in words."""
    return f"{sum(each.number for each in clusters):,} clusters{_by(measured)}"


def _by(measured: Sequence[TaskInfo]) -> str:
    fields = list(dict.fromkeys(info.cluster_by for info in measured if info.cluster_by))
    return f" by {', '.join(fields)}" if fields else ""
