"""Which blocks are drawn next under `decide: score`: rounds, until every rule is settled. Pure.

What is drawn depends only on what was seen before, as the tests demand (`gate.stats.sequential`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gate.records import Block, Policy, Rule, TaskInfo
from gate.stats.sequential import deviations
from gate.verdict.settling import Key, Question, RuleState, Series, Standing, ask, begin

SUSPECT = 0.6  # a rule whose p value of keeping is below this is likely to break
GROWTH = 20  # a round takes a twentieth of what was drawn of a leaf, so at most so much is drawn in vain


def key_of(info: TaskInfo, leaf: str) -> Key:
    """The name of a leaf's values of its task's metric."""
    return info.task, leaf, info.metric, info.filter


def series_of(
    rule: Rule, policy: Policy, tasks: Mapping[str, TaskInfo], aggregations: Mapping[Key, str]
) -> list[Series]:
    """The leaves that a rule's number is made of; a mean over tasks counts every task alike."""
    names = [f"{rule.kind}/{rule.task}"]
    if rule.kind == "average":
        names = [spec.id for spec in policy.tasks if spec.kind == "general"]
    infos = [tasks[name] for name in names if name in tasks]
    return [
        Series(
            key_of(info, leaf.name),
            leaf.documents_planned,
            leaf.weight / len(infos),
            info.unit,
            info.higher_is_better,
            aggregations[key_of(info, leaf.name)],
        )
        for info in infos
        for leaf in info.leaves
    ]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Each leaf's blocks in the order in which they are drawn, and how many were; what needs all of them."""

    order: Mapping[Key, tuple[Block, ...]]
    whole: frozenset[Key]  # leaves of which all documents are scored, at once
    on_fail: str
    budget: int  # documents that may be drawn after the first certain fail
    drawn: Mapping[Key, int]
    after_fail: int = 0
    models: int = 1  # tuned models that answer every round

    def next_round(self, standing: Standing) -> dict[Key, tuple[Block, ...]]:
        """The blocks of the next round, by leaf; empty where the run may end.

        The first round takes a block of every leaf. A later one takes, of every leaf that an open rule needs,
        a twentieth of what was drawn of it, and at least a block; where several models take turns in memory
        as many twentieths, so that they are loaded no more often for it. Where a fail ends the run, all of it
        goes to the rule that is likeliest to break, if one is.
        """
        if not standing.rounds:
            return {
                key: self._take(key, len(self.order[key]) if key in self.whole else 1) for key in self.order
            }
        if standing.broken and (self.on_fail == "stop" or self.after_fail >= self.budget):
            return {}
        states = [state for state in standing.rules if state.claim is None]
        blocks = sum(self._grown(key) for key in {key for state in states for key in state.question.keys})
        suspect = self._suspect(standing)
        if suspect is not None:
            wanted = self._share(suspect, blocks)
        else:
            wanted = {}
            for state in states:
                for key, count in self._share(state).items():
                    wanted[key] = max(count, wanted.get(key, 0))
        taken = {key: self._take(key, count) for key, count in wanted.items()}
        return {key: blocks for key, blocks in taken.items() if blocks}

    def _suspect(self, standing: Standing) -> RuleState | None:
        """The rule that is likeliest to break, where that would end the run and is likely."""
        states = [state for state in standing.rules if state.claim is None and state.p_breaks < SUSPECT]
        if self.on_fail != "stop" or not states:
            return None
        return min(states, key=lambda state: state.p_breaks)

    def _grown(self, key: Key) -> int:
        share = math.ceil(self.drawn[key] * self.models / GROWTH)
        return min(len(self.order[key]) - self.drawn[key], share)

    def _share(self, state: RuleState, blocks: int = 0) -> dict[Key, int]:
        """Blocks of each leaf of an open rule: `blocks` together, or a twentieth of what was drawn.

        Those of a mean are spread one by one to where the variance of its estimate falls most (Neyman 1934),
        after one of each leaf that has any left: a leaf that is left out makes the splits of the limit
        unequal, which costs twice the documents.
        """
        keys = [key for key in state.question.keys if self.drawn[key] < len(self.order[key])]
        total = blocks or sum(map(self._grown, keys))
        counts = dict.fromkeys(keys, 1)
        left = {key: len(self.order[key]) - self.drawn[key] for key in keys}
        evidence = state.evidence
        weight = dict(zip(state.question.keys, deviations(evidence).tolist(), strict=True))
        seen = dict(zip(state.question.keys, evidence.seen, strict=True))

        def fall(key: Key) -> float:
            size = len(self.order[key][0].documents)
            documents = seen[key] + counts[key] * size
            return float(weight[key] ** 2 * (1 / documents - 1 / (documents + size)))

        for _ in range(min(total, sum(left.values())) - len(keys)):
            counts[max((key for key in keys if counts[key] < left[key]), key=fall)] += 1
        return counts

    def ahead(self, taken: Mapping[Key, Sequence[Block]]) -> list[Block]:
        """As many blocks again as were drawn of each leaf of a round: the base model is loaded for these in
        one go, so that it is loaded some few times and not in every round. Its answers stay good."""
        found: list[Block] = []
        for key, blocks in taken.items():
            after = self.drawn[key] + len(blocks)
            found += self.order[key][after : 2 * after]
        return found

    def after(self, taken: Mapping[Key, Sequence[Block]], *, failed: bool) -> Schedule:
        """The schedule once a round was scored; `failed` where a rule had failed before it. A fail that all
        documents took back has used up nothing."""
        drawn = {key: count + len(taken.get(key, ())) for key, count in self.drawn.items()}
        more = sum(len(block.documents) for blocks in taken.values() for block in blocks) if failed else 0
        return replace(self, drawn=drawn, after_fail=self.after_fail + more if failed else 0)

    def _take(self, key: Key, count: int) -> tuple[Block, ...]:
        done = self.drawn[key]
        return self.order[key][done : done + count]


def make_schedule(
    policy: Policy,
    tasks: Sequence[TaskInfo],
    aggregations: Mapping[Key, str],
    order: Mapping[Key, tuple[Block, ...]],
) -> tuple[Schedule, Standing]:
    """The schedule of a policy and its rules before anything is drawn."""
    infos = {info.task: info for info in tasks}
    judging = [rule for rule in policy.rules if rule.judges]
    asked: list[Question] = []
    whole: set[Key] = set()
    # A rule over slices or against the champion that a waiver skips is shown all the same, and that needs
    # all documents.
    for rule in (each for each in policy.rules if each.judges or each.slices or each.reference == "champion"):
        series = series_of(rule, policy, infos, aggregations)
        question = ask(rule, series)
        if question is None:
            whole.update(each.key for each in series)
        else:
            asked.append(question)
    # What no rule judges is shown, and shown of all documents: there is no claim that could settle it.
    whole |= order.keys() - {key for question in asked for key in question.keys}
    planned = sum(info.documents_planned for info in tasks)
    budget = math.ceil(policy.fail_budget * planned)
    nothing = dict.fromkeys(order, 0)
    schedule = Schedule(order, frozenset(whole), policy.on_fail, budget, nothing, models=policy.seeds)
    return schedule, begin(asked, len(judging), policy.confidence)
