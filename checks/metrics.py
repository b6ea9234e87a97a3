"""Which of a task's metrics is judged, in which unit: pure, and the shipped table for common tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

# Task name or pattern -> metric and filter, as reports of these benchmarks quote them. First match wins.
TABLE: tuple[tuple[str, str, str], ...] = (
    ("hellaswag*", "acc_norm", "none"),
    ("arc_easy*", "acc_norm", "none"),
    ("arc_challenge*", "acc_norm", "none"),
    ("openbookqa*", "acc_norm", "none"),
    ("logiqa*", "acc_norm", "none"),
    ("mathqa", "acc_norm", "none"),
    ("sciq", "acc", "none"),
    ("piqa*", "acc", "none"),
    ("winogrande*", "acc", "none"),
    ("lambada*", "acc", "none"),
    ("boolq", "acc", "none"),
    ("copa", "acc", "none"),
    ("cb", "acc", "none"),
    ("blimp*", "acc", "none"),
    ("truthfulqa_mc*", "acc", "none"),
    ("mmlu_pro*", "exact_match", "custom-extract"),
    ("mmlu*", "acc", "none"),
    ("gsm8k*", "exact_match", "strict-match"),
    ("minerva_math*", "exact_match", "none"),
    ("triviaqa", "exact_match", "remove_whitespace"),
    ("nq_open", "exact_match", "remove_whitespace"),
    ("coqa", "f1", "none"),
    ("drop", "f1", "none"),
    ("ifeval", "prompt_level_strict_acc", "none"),
    ("wikitext*", "bits_per_byte", "none"),
    ("humaneval*", "pass@1", "create_test"),
    ("mbpp*", "pass_at_1", "none"),
)

# Metrics that are 1 for a right and 0 for a wrong document, so that their mean is a fraction.
FRACTIONS = frozenset(
    (
        *("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "em", "math_verify"),
        *("prompt_level_strict_acc", "prompt_level_loose_acc", "pass@1", "pass_at_1"),
    )
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The metric and filter that a rule is judged by, and why these."""

    metric: str
    filter: str
    reason: str

    @property
    def key(self) -> str:
        return f"{self.metric},{self.filter}"


class NoChoice(ValueError):
    """The metric or filter cannot be told; the message lists what the task has."""


def unit_of(metric: str) -> str:
    """`accuracy` for a fraction of right documents, else the metric's own name."""
    return {"bits_per_byte": "bits per byte"}.get(metric, "accuracy" if metric in FRACTIONS else metric)


def choose(
    names: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    metric: str | None,
    filter: str | None,
    *,
    preferred: str | None = None,
) -> Choice:
    """Pick one of the (metric, filter) pairs of a task that goes by `names` (a group: its own, a leaf's).

    What the rule says, else the shipped table, else `preferred` (the metric a group aggregates), else
    the only one. Raises NoChoice with a list of what there is.
    """
    for name, had, which in (
        (metric, [m for m, _ in pairs], "metric"),
        (filter, [f for _, f in pairs], "filter"),
    ):
        if name is not None and name not in had:
            raise NoChoice(f"the task has no {which} {name!r}{_nearest(name, had)}; it has {_listed(had)}")
    fitting = [(m, f) for m, f in pairs if metric in (None, m) and filter in (None, f)]
    if not fitting:
        raise NoChoice(f"the task has no {metric},{filter}; it has {_listed([f'{m},{f}' for m, f in pairs])}")
    if len(fitting) == 1:
        return Choice(*fitting[0], "named by the rule" if metric or filter else "the only one")
    for name in names:
        tabled = next(((m, f) for pattern, m, f in TABLE if fnmatchcase(name, pattern)), None)
        if tabled in fitting:
            return Choice(*tabled, "shipped table")
    of_group = [(m, f) for m, f in fitting if m == preferred]
    if len(of_group) == 1:
        return Choice(*of_group[0], "the one its group aggregates")
    options = _listed([f"{m},{f}" for m, f in fitting])
    raise NoChoice(f"which of {options} is meant? name `metric` and `filter` in the rule")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _nearest(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
