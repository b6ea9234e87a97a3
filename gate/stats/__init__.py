"""Paired estimates: one estimator a function, each with its source. Pure, numpy only.

A difference is tuned minus base. An interval is two-sided at `level`, holds its own estimate, and
widens with `level`. Data that cannot carry an interval raise DegenerateData; nothing here answers
zero width for want of data. Arguments that make no sense raise ValueError.
"""

from gate.stats.binary import finite_difference, hypergeometric, mcnemar_exact, tango, unvarying, wilson
from gate.stats.estimate import Array, Bounds, DegenerateData, Moments
from gate.stats.means import (
    comonotone,
    mean_moments,
    mover,
    percentile,
    ratio_moments,
    standard_bootstrap,
    stratified_t,
)

__all__ = [
    "Array",
    "Bounds",
    "DegenerateData",
    "Moments",
    "comonotone",
    "finite_difference",
    "hypergeometric",
    "mcnemar_exact",
    "mean_moments",
    "mover",
    "percentile",
    "ratio_moments",
    "standard_bootstrap",
    "stratified_t",
    "tango",
    "unvarying",
    "wilson",
]
