"""`decide: score`, pure: what is asked, when a rule is settled, what is drawn next, and judging again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import BASE, TUNED, WHERE, leaf_of, some_of

from gate.errors import ConfigErrors, MeasurementError
from gate.records import (
    Block,
    Cost,
    Finding,
    Leaf,
    Measurement,
    Measurements,
    Policy,
    Rule,
    TaskInfo,
    TaskSpec,
)
from gate.schedule import Schedule, key_of, make_schedule
from gate.scoring import draw_order, make_blocks
from gate.verdict import Verdict, judge, order_digest
from gate.verdict.settling import Series, Standing, advance, ask, begin

SIZE = 32
Pairs = tuple[np.ndarray, np.ndarray]


def rule_of(task: str, margin: float, bound: str = "max_drop", kind: str = "general") -> Rule:
    return Rule(kind, task, bound, margin)  # type: ignore[arg-type]


def policy_of(*rules: Rule, **changes: object) -> Policy:
    names = dict.fromkeys((r.kind, r.task) for r in rules if r.kind != "average")
    specs = changes.pop("tasks", tuple(TaskSpec(kind, task) for kind, task in names))
    return Policy(rules, specs, path="thresholds.yaml", decide="score", **changes)  # type: ignore[arg-type]


def info_of(task: str, size: int, kind: str = "general", unit: str = "accuracy") -> TaskInfo:
    leaves = (Leaf(task, size, size),)
    return TaskInfo(f"{kind}/{task}", "benchmarks", "acc", "none", unit, True, leaves, num_fewshot=0)


def pairs(size: int, lost: int, won: int, seed: int = 0) -> Pairs:
    """Right or wrong for both models: `lost` go wrong, `won` come right, the rest stay."""
    base, tuned = np.zeros(size), np.zeros(size)
    base[:lost], tuned[lost : lost + won] = 1, 1
    base[lost + won : size // 2 + lost] = tuned[lost + won : size // 2 + lost] = 1
    order = np.random.default_rng(seed).permutation(size)
    return base[order], tuned[order]


def blocks_of(infos: list[TaskInfo], inputs: str = "inputs") -> dict:
    """Each leaf's blocks in their order under one salt."""
    made = {}
    for info in infos:
        (leaf,) = info.leaves
        hashes = [f"{leaf.name} {at}" for at in range(leaf.documents_planned)]
        blocks = make_blocks(info.task, leaf.name, hashes, b"salt" * 8, leaf.documents_planned, SIZE)
        made[key_of(info, leaf.name)] = draw_order(blocks, b"salt" * 8, inputs)
    return made


def play(
    policy: Policy, infos: list[TaskInfo], values: dict[str, Pairs], aggregation: str = "mean"
) -> tuple[Measurements, Standing, list[dict]]:
    """Draw until the schedule ends, as `gate.measure` does; the measurements that are left then."""
    order = blocks_of(infos)
    schedule, standing = make_schedule(policy, infos, dict.fromkeys(order, aggregation), order)
    rounds = []
    while taken := schedule.next_round(standing):
        failed = standing.broken
        asked = {key for question in standing.open for key in question.keys}
        drawn = {}
        for key in taken.keys() & asked:
            at = [number for block in taken[key] for number in block.documents]
            base, tuned = values[key[1]]
            drawn[key] = (base[at], tuned[at])
        standing = advance(standing, drawn)
        schedule = schedule.after(taken, failed=failed)
        rounds.append(taken)
    return measurements_of(infos, values, rounds), standing, rounds


def measurements_of(infos: list[TaskInfo], values: dict[str, Pairs], rounds: list[dict]) -> Measurements:
    found = []
    for info in infos:
        (leaf,) = info.leaves
        key = key_of(info, leaf.name)
        number_of = {
            number: at
            for at, taken in enumerate(rounds)
            for block in taken.get(key, ())
            for number in block.documents
        }
        base, tuned = (column.tolist() for column in values[leaf.name])
        named = {"task": info.task, "leaf": leaf.name, "unit": info.unit}
        whole = leaf_of(base, tuned, **named, documents_total=leaf.documents_total)
        found.append(some_of(whole, number_of))
    return Measurements(BASE, TUNED, tuple(infos), tuple(found))


def decided(measurements: Measurements, policy: Policy) -> Verdict:
    where = replace(WHERE, order_digest=order_digest(measurements))
    return judge(measurements, policy, None, Cost(), where)


def only(verdict: Verdict) -> Finding:
    (finding,) = verdict.findings
    return finding


@cache
def stopped() -> tuple[Measurements, Policy]:
    """A run that was settled early, and its policy."""
    policy = policy_of(rule_of("a", 0.05))
    return play(policy, [info_of("a", 2000)], {"a": pairs(2000, 20, 20)})[0], policy


def without(values: tuple, at: int) -> tuple:
    return (*values[:at], *values[at + 1 :])


SPOIL: dict[str, Callable[[Measurement, int], Measurement]] = {
    "a document lost": lambda m, k: replace(
        m,
        **{name: without(getattr(m, name), k) for name in ("numbers", "hashes", "base", "tuned", "rounds")},
    ),
    "another round": lambda m, k: replace(
        m, rounds=(*(m.rounds or ())[:k], (m.rounds or ())[k] + 1, *(m.rounds or ())[k + 1 :])
    ),
    "no rounds": lambda m, k: replace(m, rounds=None),
    "a round less": lambda m, k: replace(m, rounds=without(m.rounds or (), k)),
    "a document twice": lambda m, k: replace(
        m, numbers=(*m.numbers[:k], m.numbers[k - 1], *m.numbers[k + 1 :])
    ),
    "NaN": lambda m, k: replace(m, tuned=(*m.tuned[:k], math.nan, *m.tuned[k + 1 :])),
    "a ratio": lambda m, k: replace(m, aggregation="ratio", weights=(1.0,) * len(m.numbers)),
}


# ── What is asked ────────────────────────────────────────────────────────────────────────────────


def series(name: str = "a", weight: float = 1.0, unit: str = "accuracy", aggregation: str = "mean") -> Series:
    return Series((f"general/{name}", name, "acc", "none"), 100, weight, unit, True, aggregation)


def test_what_has_no_known_range_is_scored_in_full() -> None:
    """Ratios, corpus metrics, unknown units, and a leaf that stands twice in a mean have no question."""
    rule = rule_of("a", 0.02)
    assert ask(rule, [series()]) is not None
    assert ask(rule, [series(unit="bits per byte", aggregation="ratio")]) is None
    assert ask(rule, [series(aggregation="corpus")]) is None
    assert ask(rule, [series(unit="nats")]) is None
    assert ask(rule, [series(weight=0.5), series(weight=0.5)]) is None


@pytest.mark.parametrize(
    ("bound", "kind", "margin", "kept"),
    [
        ("max_drop", "general", 0.02, 0.02),
        ("min_gain", "target", 0.3, -0.3),
        ("min_score", "target", 0.8, -0.8),
    ],
)
def test_every_bound_asks_for_its_harm(bound: str, kind: str, margin: float, kept: float) -> None:
    """All bounds become "the mean harm is at most a limit", with the margin's sign where more is better."""
    question = ask(rule_of("a", margin, bound, kind), [series()])
    assert question is not None
    assert question.limit.kept == kept
    base, tuned = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    harm = question.harm(base, tuned)
    assert harm.tolist() == ([0.0, -1.0] if bound == "min_score" else [1.0, -1.0])


def test_a_value_out_of_range_is_an_error() -> None:
    """The test's range is what its error rests on."""
    question = ask(rule_of("a", 0.02), [series()])
    assert question is not None
    with pytest.raises(MeasurementError, match="outside of"):
        advance(begin([question], 1, 0.95), {question.keys[0]: (np.array([2.5]), np.array([0.0]))})


# ── Settled ──────────────────────────────────────────────────────────────────────────────────────

CASES = {
    "no drop": (rule_of("a", 0.05), 20, 20, "pass"),
    "a drop far beyond": (rule_of("a", 0.05), 300, 20, "fail"),
    "a gain": (rule_of("a", 0.10, "min_gain", "target"), 10, 600, "pass"),
    "no gain": (rule_of("a", 0.10, "min_gain", "target"), 20, 20, "fail"),
    "a score": (rule_of("a", 0.30, "min_score", "target"), 20, 20, "pass"),
    "no score": (rule_of("a", 0.80, "min_score", "target"), 20, 20, "fail"),
}


@pytest.mark.parametrize(("rule", "lost", "won", "outcome"), CASES.values(), ids=CASES)
def test_a_clear_case_is_settled_early(rule: Rule, lost: int, won: int, outcome: str) -> None:
    """The outcome is the full benchmark's, from fewer documents; its own number lies in what remains open."""
    values = {"a": pairs(2000, lost, won)}
    policy, infos = policy_of(rule), [info_of("a", 2000, rule.kind)]
    measurements, _, _ = play(policy, infos, values)
    finding = only(decided(measurements, policy))
    base, tuned = values["a"]
    truth = tuned.mean() if rule.bound == "min_score" else (tuned - base).mean()
    assert finding.outcome == outcome
    assert finding.documents_scored < finding.documents_planned == finding.documents_total == 2000
    assert finding.remaining is not None
    assert finding.remaining.about == "benchmark"
    assert finding.remaining.low <= truth <= finding.remaining.high
    assert finding.note == ""  # noise and p values would be read as the benchmark's


def test_at_the_margin_every_document_is_scored_and_exact() -> None:
    """Twenty lost of a thousand keep 0.02, and one more breaks it: nothing is settled early here."""
    policy, infos = policy_of(rule_of("a", 0.02)), [info_of("a", 1000)]
    for lost, outcome in ((20, "pass"), (21, "fail")):
        measurements, _, _ = play(policy, infos, {"a": pairs(1000, lost, 0)})
        finding = only(decided(measurements, policy))
        if finding.documents_scored == 1000:  # else the order settled it, which the next lines hold to
            assert finding.remaining is None
        assert finding.outcome == outcome


def test_the_same_measurements_repeat_the_claims() -> None:
    """Judging again comes to the claims that ended the run, and to the same verdict every time."""
    rules = [rule_of("a", 0.05), rule_of("b", 0.05), Rule("average", "general", "max_drop", 0.03)]
    infos = [info_of("a", 1500), info_of("b", 900)]
    policy = policy_of(*rules)
    measurements, standing, rounds = play(policy, infos, {"a": pairs(1500, 30, 40), "b": pairs(900, 200, 10)})
    verdict = decided(measurements, policy)
    assert verdict == decided(measurements, policy)
    for finding, state in zip(verdict.findings, standing.rules, strict=True):
        assert state.claim is not None
        drawn = sum(
            len(block.documents)
            for taken in rounds[: state.claim.round + 1]
            for key, blocks in taken.items()
            for block in blocks
            if key in state.question.keys
        )
        assert finding.outcome == {"keeps": "pass", "breaks": "fail"}[state.claim.says]
        if finding.early:
            assert finding.documents_scored == drawn


def test_a_claim_stands_though_its_task_goes_on() -> None:
    """A rule that is settled keeps the numbers of its last look, while another rule draws on."""
    policy = policy_of(rule_of("a", 0.30), Rule("average", "general", "max_drop", 0.02))
    measurements, _, _ = play(policy, [info_of("a", 2000)], {"a": pairs(2000, 30, 20)})
    wide, narrow = decided(measurements, policy).findings
    assert (wide.outcome, narrow.outcome) == ("pass", "pass")
    assert wide.documents_scored < narrow.documents_scored


def test_another_policy_that_needs_more_is_refused() -> None:
    """A finer margin, and `decide: full`, cannot be judged from a run that stopped: never estimated."""
    policy, infos = policy_of(rule_of("a", 0.05)), [info_of("a", 2000)]
    measurements, _, _ = play(policy, infos, {"a": pairs(2000, 20, 20)})
    assert only(decided(measurements, policy_of(rule_of("a", 0.06)))).outcome == "pass"
    with pytest.raises(ConfigErrors, match=r"is not settled by the [0-9,]+ of 2,000 documents"):
        decided(measurements, policy_of(rule_of("a", 0.001)))
    for decide in ("full", "proven"):
        with pytest.raises(ConfigErrors, match="needs all 2,000 documents under this policy"):
            decided(measurements, replace(policy, decide=decide))  # type: ignore[arg-type]


def test_a_wider_policy_of_more_rules_shares_the_error_of_a_fail() -> None:
    """K counts all rules that judge: a break that one rule could claim needs more where there are 57."""
    question = ask(rule_of("a", 0.02), [replace(series(), size=1000)])
    assert question is not None
    key, (base, tuned) = question.keys[0], pairs(1000, 80, 10, seed=3)
    looks = {}
    for judging in (1, 57):
        standing, at = begin([question], judging, 0.95), 0
        while standing.open:
            standing = advance(standing, {key: (base[at : at + 10], tuned[at : at + 10])})
            at += 10
        claim = standing.rules[0].claim
        assert claim is not None
        assert claim.says == "breaks"
        looks[judging] = at, claim.break_error
    assert looks[1][0] < looks[57][0]
    assert looks[1][1] == pytest.approx(0.05)
    assert looks[57][1] == pytest.approx(0.05 / 57)


def test_holm_gives_the_second_fail_more() -> None:
    """Once one of two rules was claimed to break, the other may use the whole error."""
    asked = [ask(rule_of(name, 0.02), [replace(series(name), size=4000)]) for name in "ab"]
    questions = [question for question in asked if question is not None]
    values = {"a": pairs(4000, 2000, 0, seed=1), "b": pairs(4000, 300, 40, seed=2)}
    standing, at = begin(questions, 2, 0.95), 0
    while standing.open:
        drawn = {q.keys[0]: tuple(side[at : at + 20] for side in values[q.keys[0][1]]) for q in standing.open}
        standing = advance(standing, drawn)  # type: ignore[arg-type]
        at += 20
    first, second = (state.claim for state in standing.rules)
    assert first is not None
    assert second is not None
    assert (first.break_error, second.break_error) == (pytest.approx(0.025), pytest.approx(0.05))
    assert first.round < second.round


def test_claims_are_rarely_wrong() -> None:
    """Over 300 orders of a benchmark one document beyond its margin, at most 5 % (and chance) pass."""
    question = ask(rule_of("a", 0.05), [replace(series(), size=300)])
    assert question is not None
    wrong = 0
    for seed in range(300):
        base, tuned = pairs(300, 31, 15, seed=seed)
        standing, at = begin([question], 1, 0.95), 0
        while standing.open:
            standing = advance(standing, {question.keys[0]: (base[at : at + 32], tuned[at : at + 32])})
            at += 32
        claim = standing.rules[0].claim
        assert claim is not None
        wrong += claim.says == "keeps"
    assert wrong <= 25  # of 300, 15 are expected at most; 26 have a chance below 1 %


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SPOIL)), st.integers(0, 200))
def test_no_corruption_of_what_was_drawn_passes(how: str, at: int) -> None:
    """A document lost, moved to another round or doubled, or rounds that are gone: never a verdict."""
    measurements, policy = stopped()
    (one,) = measurements.measurements
    where = replace(WHERE, order_digest=order_digest(measurements))
    spoiled = replace(measurements, measurements=(SPOIL[how](one, at % len(one.numbers)),))
    with pytest.raises((MeasurementError, ConfigErrors)):
        judge(spoiled, policy, None, Cost(), where)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["min_gain", "min_score", "max_drop"]),
    st.floats(-0.2, 0.2),
    st.floats(0, 0.3),
    st.floats(0, 0.3),
    st.sampled_from(["pass", "fail"]),
)
def test_an_early_outcome_must_follow_from_what_is_left(
    bound: str, estimate: float, below: float, above: float, outcome: str
) -> None:
    """A finding of a part of the documents passes or fails only where all that is left open says so."""
    finding = only(decided(*stopped()))
    margin, size = 0.05, {"min_gain": 1, "min_score": 1, "max_drop": -1}[bound]
    low, high = size * margin + estimate - below, size * margin + estimate + above
    value = (low + high) / 2
    remaining = replace(finding.remaining, low=low, high=high)  # type: ignore[type-var]
    changed = replace(
        finding,
        rule=f"general/a/{bound}",
        bound=bound,  # type: ignore[arg-type]
        base=0.5 if bound != "min_score" else value,
        tuned=0.5 + value if bound != "min_score" else value,
        difference=value if bound != "min_score" else 0.0,
        interval=replace(finding.interval, low=value - 1, high=value + 1),
        remaining=remaining,
        margin=margin,
        outcome=outcome,  # type: ignore[arg-type]
    )
    allowed = size * margin
    keeps, breaks = low >= allowed - 1e-9, high <= allowed + 1e-9
    sure = keeps if outcome == "pass" else breaks and not keeps  # equality keeps
    if sure:
        assert Verdict((changed,), BASE, TUNED, None, Cost(), WHERE).outcome == outcome
    else:
        with pytest.raises(MeasurementError, match="contradict"):
            Verdict((changed,), BASE, TUNED, None, Cost(), WHERE)


def test_an_early_outcome_needs_its_level() -> None:
    """An interval that holds less often than the policy's confidence allows decides nothing."""
    finding = only(decided(*stopped()))
    assert finding.remaining is not None
    weak = replace(finding, remaining=replace(finding.remaining, level=0.5))
    with pytest.raises(MeasurementError, match="contradict"):
        Verdict((weak,), BASE, TUNED, None, Cost(), WHERE)


def test_a_limit_is_the_benchmark() -> None:
    """With a limit the question is about what it draws; the task's other documents play no part."""
    policy = policy_of(rule_of("a", 0.05), tasks=(TaskSpec("general", "a", limit=2000),))
    whole = info_of("a", 2000)
    limited = replace(whole, leaves=(replace(whole.leaves[0], documents_total=9000),))
    measurements, _, _ = play(policy, [limited], {"a": pairs(2000, 20, 20)})
    finding = only(decided(measurements, policy))
    assert finding.documents_scored < finding.documents_planned == 2000 < finding.documents_total == 9000
    assert finding.outcome == "pass"
    assert finding == replace(
        only(decided(*stopped())), documents_total=9000
    )  # the same as of a task that has no more


def test_a_complete_run_is_exact_under_score() -> None:
    """What `full` measured, `score` judges by its own numbers: no order, no claim, nothing left open."""
    policy = policy_of(rule_of("a", 0.05))
    whole = measurements_of([info_of("a", 500)], {"a": pairs(500, 25, 0)}, [blocks_of([info_of("a", 500)])])
    (one,) = whole.measurements
    measured = replace(whole, measurements=(replace(one, rounds=None),))
    finding = only(decided(measured, policy))
    assert (finding.outcome, finding.remaining, finding.early) == ("pass", None, False)
    assert order_digest(measured) == ""


# ── Drawn ────────────────────────────────────────────────────────────────────────────────────────


def test_only_what_an_open_rule_needs_is_drawn() -> None:
    """After the first round, the leaves of settled rules are left alone; a round is a twentieth at most."""
    policy = policy_of(rule_of("a", 0.30), rule_of("b", 0.021))
    infos = [info_of("a", 2000), info_of("b", 2000)]
    _, _, rounds = play(policy, infos, {"a": pairs(2000, 20, 20), "b": pairs(2000, 60, 20)})
    keys = [key_of(info, info.leaves[0].name) for info in infos]
    of_a, of_b = (sum(len(taken.get(key, ())) for taken in rounds) for key in keys)
    assert of_a < of_b
    drawn = 0
    for taken in rounds:
        count = len(taken.get(keys[1], ()))
        assert count <= max(1, math.ceil(drawn / 20))
        drawn += count


def test_what_is_scored_in_full_comes_at_once() -> None:
    """A leaf that no question covers is drawn whole in the first round."""
    policy = policy_of(rule_of("a", 0.05), rule_of("b", 0.05))
    infos = [info_of("a", 500), info_of("b", 500, unit="nats")]
    order = blocks_of(infos)
    schedule, standing = make_schedule(policy, infos, dict.fromkeys(order, "mean"), order)
    first = {key[1]: len(blocks) for key, blocks in schedule.next_round(standing).items()}
    assert first == {"a": 1, "b": 16}
    assert standing.judging == 2  # it counts for the correction all the same


@pytest.mark.parametrize("on_fail", ["stop", "complete"])
def test_a_certain_fail_may_end_the_run(on_fail: str) -> None:
    """`stop` ends at once, `complete` when its budget is used; what is open is undecided, the whole fails."""
    rules = rule_of("a", 0.02), rule_of("b", 0.02)
    policy = policy_of(*rules, on_fail=on_fail, fail_budget=0.1)
    infos = [info_of("a", 2000), info_of("b", 2000)]
    measurements, standing, rounds = play(policy, infos, {"a": pairs(2000, 900, 0), "b": pairs(2000, 60, 20)})
    verdict = decided(measurements, policy)
    assert [finding.outcome for finding in verdict.findings] == ["fail", "undecided"]
    assert verdict.outcome == "fail"
    assert "another rule fails" in verdict.findings[1].note
    drawn = [sum(len(block.documents) for blocks in taken.values() for block in blocks) for taken in rounds]
    first = standing.rules[0].claim
    assert first is not None
    more = sum(drawn[first.round + 1 :])
    assert more == 0 if on_fail == "stop" else 400 <= more < 600


def test_the_base_is_asked_ahead() -> None:
    """As many blocks again as were drawn, in the order in which they will be drawn."""
    infos = [info_of("a", 640)]
    order = blocks_of(infos)
    (key,) = order
    schedule = Schedule(order, frozenset(), "complete", 0, {key: 4})
    assert schedule.ahead({key: order[key][4:5]}) == list(order[key][5:10])


def test_one_order_for_the_same_inputs() -> None:
    """Inputs and salt fix the order; other inputs have another; the make-up of blocks is the salt's alone."""
    infos = [info_of("a", 3200)]
    (one,), (again,), (other,) = (
        blocks_of(infos, inputs).values() for inputs in ("inputs", "inputs", "others")
    )
    assert one == again != other
    assert set(one) == set(other)
    assert one != tuple(sorted(one, key=lambda block: block.index))


def test_orders_are_uniform() -> None:
    """Over many inputs every block is first about equally often, the short last one too."""
    blocks = [Block("general/a", "a", at, (at,)) for at in range(4)]
    first = [draw_order(blocks, b"s" * 32, str(seed))[0].index for seed in range(2000)]
    counts = np.bincount(first, minlength=4)
    assert (np.abs(counts - 500) < 100).all()


def noisy(size: int, share: float, seed: int) -> Pairs:
    """A share of documents goes wrong, as many come right."""
    return pairs(size, round(size * share / 2), round(size * share / 2), seed)


def test_a_means_blocks_go_where_they_are_worth_most() -> None:
    """Of two tasks alike but for their noise, most blocks are drawn of the noisy one; neither is left out."""
    infos = [info_of("quiet", 4000), info_of("noisy", 4000)]
    policy = policy_of(Rule("average", "general", "max_drop", 0.012), tasks=specs_of(infos))
    values = {"quiet": noisy(4000, 0.02, 1), "noisy": noisy(4000, 0.4, 2)}
    _, standing, rounds = play(policy, infos, values)
    quiet, loud = (key_of(info, info.leaves[0].name) for info in infos)
    assert not standing.open
    assert all(taken.get(quiet) for taken in rounds)
    drawn = {key: sum(len(taken.get(key, ())) for taken in rounds) for key in (quiet, loud)}
    assert drawn[loud] > 1.5 * drawn[quiet]


def specs_of(infos: list[TaskInfo]) -> tuple[TaskSpec, ...]:
    return tuple(TaskSpec("general", info.task.removeprefix("general/")) for info in infos)


@pytest.mark.parametrize("on_fail", ["stop", "complete"])
def test_where_a_fail_ends_the_run_the_suspect_comes_first(on_fail: str) -> None:
    """Once a rule is likely to break, `stop` draws of it alone; `complete` draws of all that are open."""
    rules = rule_of("a", 0.02), rule_of("b", 0.02)
    policy = (
        policy_of(*rules, on_fail=on_fail, fail_budget=1.0)
        if on_fail == "complete"
        else policy_of(*rules, on_fail=on_fail)
    )
    infos = [info_of("a", 4000), info_of("b", 4000)]
    _, standing, rounds = play(policy, infos, {"a": pairs(4000, 280, 120), "b": pairs(4000, 100, 90)})
    assert standing.broken
    keys = [key_of(info, info.leaves[0].name) for info in infos]
    first = standing.rules[0].claim
    assert first is not None
    until = rounds[: first.round + 1]
    of_a, of_b = (sum(len(taken.get(key, ())) for taken in until) for key in keys)
    assert of_b < of_a / 2 if on_fail == "stop" else of_b > of_a / 2


def contradicted() -> tuple[Policy, list[TaskInfo], dict[str, Pairs]]:
    """The first documents of a task lose half, later ones win it back: an early "breaks" that is false.
    Another rule of that task needs all of its documents, and one of another task goes on."""
    infos = [info_of("a", 320), info_of("b", 3000)]
    order = [at for block in blocks_of(infos)[key_of(infos[0], "a")] for at in block.documents]
    tuned = np.zeros(320)
    tuned[order[1::2]] = 1
    base = tuned.copy()
    base[order[0:64:2]], base[order[101:320:4]] = 1, 0
    rules = (rule_of("a", 0.02), rule_of("a", 0.5, "min_score"), rule_of("b", 0.02))
    return policy_of(*rules, fail_budget=0.2), infos, {"a": (base, tuned), "b": pairs(3000, 150, 90)}


def test_a_claim_that_all_documents_contradict_ends_no_run() -> None:
    """The budget that follows a fail is not one that follows a fail taken back: each rule gets its answer."""
    policy, infos, values = contradicted()
    measured, standing, rounds = play(policy, infos, values)
    claims = {state.question.rule: state.claim for state in standing.rules}
    early = standing_at(policy, infos, values, rounds)
    assert [state.claim.says for state in early.rules if state.claim] == ["breaks"]
    dropped = claims["general/a/max_drop"]
    assert dropped is not None
    assert (dropped.says, dropped.exact) == ("keeps", True)
    assert not standing.open
    verdict = decided(measured, policy)
    assert [finding.outcome for finding in verdict.findings] == ["pass", "pass", "pass"]


def standing_at(
    policy: Policy, infos: list[TaskInfo], values: dict[str, Pairs], rounds: list[dict]
) -> Standing:
    """How the rules stood when the first was claimed."""
    order = blocks_of(infos)
    _, standing = make_schedule(policy, infos, dict.fromkeys(order, "mean"), order)
    for taken in rounds:
        drawn = {}
        for key, blocks in taken.items():
            at = [number for block in blocks for number in block.documents]
            drawn[key] = (values[key[1]][0][at], values[key[1]][1][at])
        standing = advance(standing, drawn)
        if any(state.claim for state in standing.rules):
            break
    return standing
