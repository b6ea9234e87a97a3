"""What a policy can see before anything is measured: its rules, and all of them together. Pure.

`gate.stats.power` has the mathematics. Here a rule and its task become a `Design`, at the share of documents
whose answer a fine-tune flips: known from earlier runs, else assumed, with other shares beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gate.errors import ConfigErrors, Problem
from gate.foresight.clusters import said_clusters, strata_of, too_few_clusters
from gate.foresight.rule import (
    BESIDE,
    SCORES,
    Decides,
    Flips,
    RuleForesight,
    Sharpness,
    Sight,
    said_source,
)
from gate.foresight.slices import SlicesSight
from gate.records import Policy, Rule, TaskInfo
from gate.stats.power import family

FRACTION = "accuracy"  # the unit of metrics that are 0 or 1 a document


@dataclass(frozen=True, slots=True)
class Family:
    """The chance that some rule about what must not be lost blocks a fine-tune that loses nothing."""

    flips: float
    independent: float  # if the rules' documents have nothing to do with each other
    at_most: float


@dataclass(frozen=True, slots=True)
class Foresight:
    """All rules in the policy's order, and the family."""

    decide: Decides
    confidence: float
    rules: tuple[RuleForesight, ...]
    judging: int  # rules that can fail
    family: tuple[Family, ...]
    documents: int  # of all tasks, each once
    expected_share: float  # of them that are scored of a fine-tune that changes nothing


def foresee(
    policy: Policy,
    tasks: Sequence[TaskInfo],
    known: Mapping[str, Flips] | None = None,
    *,
    brief: bool = False,
) -> Foresight:
    """What the policy's rules can see on these tasks. `known` has flip rates that were measured, by
    `TaskInfo.task`; an average's is the mean of its tasks' where all are known. `brief` leaves
    out what takes long and is not needed to find rules that cannot work: other rates, and documents until a
    decision."""
    infos = {info.task: info for info in tasks}
    judging = sum(rule.judges for rule in policy.rules)
    found = tuple(_rule(rule, policy, infos, known or {}, judging, brief) for rule in policy.rules)
    return Foresight(
        policy.decide,
        policy.confidence,
        found,
        judging,
        _families(found),
        sum(info.documents_planned for info in tasks),
        _share(policy, infos, found),
    )


def problems_of(foresight: Foresight, policy: Policy) -> tuple[Problem, ...]:
    """A problem for each rule that cannot work, at its line, in the policy's order."""
    places = {rule.id: rule.place for rule in policy.rules}
    return tuple(
        Problem(
            places[each.rule].file or policy.path,
            each.problem,
            places[each.rule].line or None,
            each.rule,
            each.hint,
        )
        for each in foresight.rules
        if each.problem
    )


def doubts_of(foresight: Foresight, policy: Policy) -> tuple[Problem, ...]:
    """The problems that something assumed makes: what to be warned of. Raises `ConfigErrors` with those at
    measured flip rates, and those that no rate could mend."""
    firm = {each.rule for each in foresight.rules if each.firm}
    problems = problems_of(foresight, policy)
    if errors := [each for each in problems if each.key in firm]:
        raise ConfigErrors(errors)
    return problems


def warnings_of(
    policy: Policy, tasks: Sequence[TaskInfo], known: Mapping[str, Flips], most: int = 5
) -> tuple[str, ...]:
    """What to be warned of before anything is trained: a line a rule that cannot work, `most` of them.

    Also at flip rates that were measured: these change from check to check, and a verdict is due all the
    same. `ftgate plan` refuses there.
    """
    problems = problems_of(foresee(policy, tasks, known, brief=True), policy)
    said = [f"{each.key}: {each.message}; {each.hint}" for each in problems[:most]]
    if len(problems) > most:
        said.append(f"{len(problems) - most} more rules cannot be told from noise: see `ftgate plan`")
    return tuple(said)


# ── One rule ─────────────────────────────────────────────────────────────────────────────────────


def _rule(
    rule: Rule,
    policy: Policy,
    infos: Mapping[str, TaskInfo],
    known: Mapping[str, Flips],
    judging: int,
    brief: bool,
) -> RuleForesight:
    measured = measured_tasks(rule, policy, infos)
    rates = known if rule.reference == "base" else {}  # what was seen is of base and tuned model
    flips = Flips.mean([rates.get(info.task, Flips()) for info in measured])
    planned = sum(info.documents_planned for info in measured)
    total = sum(info.documents_total for info in measured)
    unit = measured[0].unit if measured else ""
    plain = RuleForesight(rule.id, rule.bound, rule.margin, unit, planned, total, flips)
    note = _no_figures(rule, policy, measured)
    if note:
        endless = rule.judges and any(info.unit != FRACTION for info in measured)
        problem, hint = _never_proven(rule, policy, unit) if endless else ("", "")
        return replace(plain, note=note, problem=problem, hint=hint, endless=endless, firm=endless)
    beside = () if flips.known or brief else BESIDE
    if rule.slices is not None and measured:
        parts = SlicesSight.of(rule, policy, measured[0])
        sharpness = parts.at((flips.rate, *beside))
        problem, hint = parts.cannot_work(flips, sharpness)
        found = replace(plain, sharpness=sharpness, note=parts.note, firm=flips.known)
        return replace(found, problem=problem, hint=hint)
    if (few := too_few_clusters(rule, policy, measured)) != ("", ""):
        return replace(plain, note=few[0].partition(",")[0], problem=few[0], hint=few[1], firm=True)
    sight = Sight.of(rule, policy, measured, judging)
    sharpness = tuple(sight.at(rate) for rate in (flips.rate, *beside))
    problem, hint = sight.cannot_work(flips, sharpness[0], planned)
    found = replace(plain, sharpness=sharpness, problem=problem, hint=hint, firm=flips.known)
    return found if brief else _in_full(found, sight, measured)


def _in_full(found: RuleForesight, sight: Sight, measured: Sequence[TaskInfo]) -> RuleForesight:
    """With what takes longer, and changes no problem but how firm it is."""
    rates = [each.flips for each in found.sharpness]
    first, *beside = sight.expected(rates) or (None,)
    scores = sight.expected_score()
    found = replace(found, expected=first, expected_beside=tuple(beside), expected_score=scores)
    if not sight.clustered:
        return found
    rate = found.flips.rate
    apart, as_one = (sight.mistaken(rate, alike) for alike in (0.0, 1.0))
    note = (
        f"{said_clusters(sight.clusters, measured)}; mistaken {100 * apart:.1f} % if their documents change "
        f"independently, {100 * as_one:.1f} % as one"
    )
    # How alike they change is assumed: a rule that works where they do not at all may work.
    works = not sight.cannot_work(found.flips, replace(found.sharpness[0], mistaken=apart), 0)[0]
    return replace(found, note=note, firm=found.firm and not works)


def measured_tasks(rule: Rule, policy: Policy, infos: Mapping[str, TaskInfo]) -> tuple[TaskInfo, ...]:
    """The tasks that a rule is about, as far as they were found."""
    if rule.kind == "average":
        names = [spec.id for spec in policy.tasks if spec.kind == "general"]
    else:
        names = [f"{rule.kind}/{rule.task}"]
    return tuple(infos[name] for name in names if name in infos)


def _no_figures(rule: Rule, policy: Policy, measured: Sequence[TaskInfo]) -> str:
    if rule.skipped and rule.waiver is not None:
        return f"skipped by a waiver until {rule.waiver.until}"
    if rule.margin is None:
        return "shown, not judged"
    if any(info.unit != FRACTION for info in measured):
        return "not right or wrong a document: no figures before it was measured"
    if policy.seeds > 1:
        return "the spread between trainings is unknown"
    return ""


def _never_proven(rule: Rule, policy: Policy, unit: str) -> tuple[str, str]:
    """(problem, what would work) of a drop in a metric without a known range, where it is to be proven: no
    sample bounds a mean whose values have no end (docs/how-it-decides.md, `proven`). Slices have a test of
    their own."""
    if policy.decide != "proven" or rule.bound != "max_drop" or rule.slices is not None:
        return "", ""
    return (
        f"{unit} has no known range, so no data prove a drop in it: under `decide: proven` it never passes",
        "name a metric that is right or wrong with `metric`, or judge it with `decide: score` or `full`",
    )


# ── All rules ────────────────────────────────────────────────────────────────────────────────────


def _families(rules: Sequence[RuleForesight]) -> tuple[Family, ...]:
    """At the rules' own flip rates, then at those beside where one is assumed."""
    held = [rule.sharpness for rule in rules if rule.bound == "max_drop" and rule.sharpness]
    if not held:
        return ()
    widest = max(held, key=len)
    found = []
    for k, sharpness in enumerate(widest):
        chances = np.array([each[min(k, len(each) - 1)].mistaken for each in held], dtype=np.float64)
        found.append(Family(sharpness.flips, *family(chances)))
    return tuple(found)


def _share(policy: Policy, infos: Mapping[str, TaskInfo], rules: Sequence[RuleForesight]) -> float:
    """The share of all documents that is scored at no change: of a task, what its hungriest rule needs."""
    shares = dict.fromkeys(infos, 0.0)
    for rule, found in zip(policy.rules, rules, strict=True):
        share = found.expected[0] / found.documents if found.expected and found.documents else 1.0
        counts = not rule.skipped or rule.slices is not None or policy.decide != "score"
        for info in measured_tasks(rule, policy, infos) if counts else ():
            shares[info.task] = max(shares[info.task], share)
    documents = {name: info.documents_planned for name, info in infos.items()}
    whole = sum(documents.values())
    return sum(shares[name] * documents[name] for name in infos) / whole if whole else 0.0


__all__ = [
    "BESIDE",
    "SCORES",
    "Family",
    "Flips",
    "Foresight",
    "RuleForesight",
    "Sharpness",
    "doubts_of",
    "foresee",
    "measured_tasks",
    "problems_of",
    "said_source",
    "strata_of",
    "warnings_of",
]
