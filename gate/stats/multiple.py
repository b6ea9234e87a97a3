"""Errors over several rules: which correction each claim uses, and why.

Let e be `1 - confidence`, K the number of rules that judge, counted before anything is scored. The verdict
that `decide` defines is "pass" if all rules keep, else "fail". For each rule one of two things is true, and
`gate.stats.sequential` (or a fixed-sample test) claims either at a stated error.

- **"The verdict is pass" needs no correction.** It is made only when every rule was claimed to keep. If the
  true verdict is fail, some rule truly breaks; fix one such. The verdict is wrong only if that one rule
  was claimed to keep: at most e (an intersection-union test; Berger 1982, Technometrics 24, 295). So each
  rule's KEEPS claim uses the whole of e. A single "keeps" in a report that fails has error e for itself.
- **"The verdict is fail" needs one.** A single false BREAKS makes it. Each uses e / K (Bonferroni), or Holm's
  steps, under any dependence between rules: the chance of any false BREAKS claim is then at most e.
- **"This one of k models passes" needs one, where any may be picked.** At most k of them truly fail, and a
  false pass among them needs one of these to be claimed to pass. So each model's KEEPS claims use e / k. Its
  BREAKS claims let nothing through.
- **Both together.** The true verdict is one of the two, and only the claim of the other can be wrong: at
  most e of verdicts differ from what `decide` defines. No error is shared between the two.

Holm's steps, while documents come in: once j rules have been claimed to break, each other one may use
e / (K - j). An anytime p value is 1 / (largest evidence so far), by Ville; a rule that was scored in full and
breaks has 0. On these the steps are as valid at any look as on ordinary p values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gate.stats.estimate import Array


def anytime_p(log_peak: Array) -> Array:
    """The p values of claims from the largest `log_evidence` that each had at any look so far."""
    return np.asarray(np.exp(-np.maximum(log_peak, 0.0)))


def holm(p_values: Sequence[float] | Array) -> Array:
    """p values adjusted for their number: those at most e are claimed together, with at most e for any false
    one among them, under any dependence. Holm 1979, Scandinavian Journal of Statistics 6, 65."""
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p values are a row of numbers from 0 to 1")
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, steps)
    return adjusted
