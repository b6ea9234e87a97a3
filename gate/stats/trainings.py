"""Two noises in one interval: which documents were asked, and which training of a recipe was looked at.

A recipe's number is the mean over its trainings, which answer the same documents. With d_ij the difference on
document i after training j, a crossed layout of two random effects (Searle, Casella & McCulloch 1992,
*Variance Components*, ch. 4): d_ij = mu + a_i + b_j + e_ij. Over n documents and k trainings

    Var(mean) = Var(a) / n + Var(b) / k + Var(e) / (n k).

The spread of the documents' means estimates Var(a) + Var(e) / k, that of the trainings' means Var(b) +
Var(e) / n; divided by n and by k and added they count the last term twice, so the interval is a little wider
than it need be and never narrower. The two are joined by MOVER (Zou & Donner 2008, *Statistics in Medicine*
27, 1693): distances from the estimate to each one's bound add as roots of squares. The trainings' own is
t with k - 1 degrees of freedom, for normally distributed trainings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gate.stats.distributions import t_quantile
from gate.stats.estimate import Array, Bounds, DegenerateData
from gate.stats.proportions import range_bounds


def deviation(values: Sequence[float]) -> float:
    """The standard deviation between trainings. Raises DegenerateData for fewer than two."""
    if len(values) < 2:
        raise DegenerateData("the spread between trainings needs two of them")
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def over_trainings(documents: Bounds, values: Sequence[float], level: float) -> Bounds:
    """The interval of a recipe's number: of `documents` (about the same trainings on other documents),
    widened by the spread of the trainings' own `values`."""
    reach = t_quantile(level, len(values) - 1) * deviation(values) / math.sqrt(len(values))
    mean = documents.estimate
    return Bounds(
        mean, mean - math.hypot(mean - documents.low, reach), mean + math.hypot(documents.high - mean, reach)
    )


def recipe_bounds(
    losses: Array, clusters: Sequence[str], values: Sequence[float], error: float, limits: tuple[float, float]
) -> Bounds:
    """A recipe's mean loss on the population, each end wrong in at most `error` of samples: `range_bounds` of
    the documents' mean `losses`, widened by the spread of the trainings' own `values`. Raises DegenerateData
    as that does."""
    found = range_bounds(losses, clusters, error, limits)
    documents = Bounds(found.estimate, min(found.low, found.estimate), max(found.high, found.estimate))
    return over_trainings(documents, values, 1 - 2 * error)
