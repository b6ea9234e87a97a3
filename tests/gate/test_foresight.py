"""What `plan` says a policy can see: against simulations, at its edges, over all rules."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from gate.errors import ConfigErrors
from gate.foresight import (
    BESIDE,
    Flips,
    Foresight,
    RuleForesight,
    doubts_of,
    foresee,
    problems_of,
    strata_of,
    warnings_of,
)
from gate.foresight.rule import SCORES, STEPS
from gate.records import Block, Leaf, Place, Policy, Rule, Slices, TaskInfo, TaskSpec, Waiver
from gate.schedule import key_of, make_schedule
from gate.stats.claims import Limit, decide
from gate.stats.estimate import DegenerateData
from gate.stats.power import Design, course
from gate.stats.proof_power import Clusters, unproven
from gate.stats.proportions import noninferior_p, range_bounds
from gate.stats.sequential import Block as Drawn
from gate.stats.sequential import Stratum, observe, start
from gate.verdict.settling import advance

RUNS = 20_000


def info_of(task: str, *sizes: int, **changes: Any) -> TaskInfo:
    leaves = tuple(Leaf(f"{task}/{k}", n, n, n / sum(sizes)) for k, n in enumerate(sizes))
    made = TaskInfo(task, "benchmarks", "acc", "none", "accuracy", True, leaves, right_or_wrong=True)
    return replace(made, **changes)


def seen_by(
    *rules: Rule, sizes: Mapping[str, tuple[int, ...]], known: Any = None, **policy: Any
) -> Foresight:
    specs = tuple(TaskSpec("target" if t.startswith("target") else "general", t.split("/")[1]) for t in sizes)
    infos = tuple(info_of(task, *found) for task, found in sizes.items())
    return foresee(Policy(rules, specs, path="p.yaml", **policy), infos, known)


def one(rule: Rule, n: int, **policy: Any) -> RuleForesight:
    return seen_by(rule, sizes={f"{rule.kind}/{rule.task}": (n,)}, **policy).rules[0]


def drops(n: int, flips: float, drop: float, seed: int = 1) -> np.ndarray[Any, Any]:
    """Drops of `RUNS` benchmarks of n documents, drawn from a population that drops by `drop`."""
    lost, won, _ = np.random.default_rng(seed).multinomial(
        n, [(flips + drop) / 2, (flips - drop) / 2, 1 - flips], RUNS
    ).T  # fmt: skip
    return np.asarray((lost - won) / n)


def near(share: float, expected: float) -> bool:
    """Whether a simulated share agrees, within four of its standard errors."""
    return abs(share - expected) < 4 * math.sqrt(max(expected * (1 - expected), 1e-4) / RUNS)


@pytest.mark.parametrize(("n", "margin"), [(100, 0.05), (500, 0.02), (1319, 0.02)])
def test_chances_of_a_general_rule_are_those_of_a_simulation(n: int, margin: float) -> None:
    """At every flip rate: blocked though harmless, and 80 % blocked at the drop that is seen."""
    found = one(Rule("general", "a", "max_drop", margin), n)
    assert [each.flips for each in found.sharpness] == [0.10, *BESIDE]
    for each in found.sharpness:
        assert each.mistaken is not None
        assert near(float((drops(n, each.flips, 0.0) > margin + 1e-9).mean()), each.mistaken)
        flips = max(each.flips, each.seen)
        assert near(float((drops(n, flips, each.seen) > margin + 1e-9).mean()), 0.8)


def test_chances_of_a_target_are_those_of_a_simulation() -> None:
    """`min_gain`: passed by luck, and 80 % passed at the gain that is seen; `min_score` likewise."""
    gain = one(Rule("target", "a", "min_gain", 0.05), 200).sharpness[0]
    assert gain.mistaken is not None
    assert near(float((-drops(200, 0.1, 0.0) >= 0.05 - 1e-9).mean()), gain.mistaken)
    assert near(float((-drops(200, 0.1, -gain.seen) >= 0.05 - 1e-9).mean()), 0.8)
    score = one(Rule("target", "a", "min_score", 0.8), 1000).sharpness[0]
    passed = np.random.default_rng(2).binomial(1000, score.seen, RUNS) >= 800
    assert score.mistaken is None
    assert float(passed.mean()) == pytest.approx(0.8, abs=0.015)  # Wilson's is the normal approximation


def test_chances_of_a_proof_are_those_of_a_simulation() -> None:
    """`proven`, by the test that judges: unproven though harmless, and 80 % unproven at what is seen."""
    n, margin, runs = 200, 0.08, 500
    found = one(Rule("general", "a", "max_drop", margin), n, decide="proven").sharpness[0]
    assert found.mistaken is not None
    assert found.seen < margin
    p = lru_cache(maxsize=None)(noninferior_p)
    for drop, expected in ((0.0, found.mistaken), (found.seen, 0.8)):
        draws = np.random.default_rng(7).multinomial(n, [(0.1 + drop) / 2, (0.1 - drop) / 2, 0.9], runs)
        unproven = np.mean([p(int(lost), int(won), n, margin) > 0.05 for lost, won, _ in draws])
        assert unproven == pytest.approx(expected, abs=0.06)  # a normal approximation of an exact test


def test_chances_of_an_average_are_those_of_a_simulation() -> None:
    """The mean of three tasks of unequal sizes: blocked though harmless, and 80 % at what is seen."""
    sizes, margin = (300, 500, 900), 0.015
    tasks = {f"general/{name}": (n,) for name, n in zip("abc", sizes, strict=True)}
    found = seen_by(Rule("average", "general", "max_drop", margin), sizes=tasks).rules[0].sharpness[0]
    assert found.mistaken is not None
    for drop, expected in ((0.0, found.mistaken), (found.seen, 0.8)):
        mean = sum(drops(n, 0.1, drop, seed=n) for n in sizes) / len(sizes)
        assert float((mean > margin + 1e-9).mean()) == pytest.approx(expected, abs=0.025)


@pytest.mark.parametrize(("bound", "kind", "sign"), [("max_drop", "general", 1), ("min_gain", "target", -1)])
@pytest.mark.parametrize("rules", [1, 8])
def test_expected_documents_are_those_of_a_check(bound: Any, kind: Any, sign: int, rules: int) -> None:
    """At no change, half the margin, the margin and twice that, alone and where eight rules share a fail's
    error: benchmarks drawn from the population and played through the product's own rounds and claims."""
    n, margin = 600, 0.04
    others = [Rule("general", f"other{k}", "max_drop", 0.05) for k in range(rules - 1)]
    sizes = {f"{kind}/a": (n,), **{f"general/{rule.task}": (40,) for rule in others}}
    rule = Rule(kind, "a", bound, margin)
    found = seen_by(rule, *others, sizes=sizes, decide="score").rules[0]
    assert found.expected is not None
    rng = np.random.default_rng(3)
    for step, expected in zip(STEPS, found.expected, strict=True):
        used = [checked(rule, [drawn(n, 0.1, sign * step * margin, rng)], rules) for _ in range(60)]
        assert agrees(used, expected, n, 300)


@pytest.mark.parametrize("flips", [0.02, 0.1])
def test_whole_documents_are_foreseen_as_a_check_counts_them(flips: float) -> None:
    """Of a hundred, where the next drop beyond five points is a whole document away: what a check saves by
    knowing that, on the same benchmarks, is what `plan` says; without it `plan` knows of none either."""
    n, rule, rng = 100, Rule("general", "a", "max_drop", 0.05), np.random.default_rng(4)
    benchmarks = [drawn(n, flips, 0.0, rng) for _ in range(200)]
    whole, plain = (
        np.array([checked(rule, [values], known=known) for values in benchmarks]) for known in (True, False)
    )
    foreseen, without = (
        course(Design(n, flips, 0.05, whole=known), 0.0, runs=2000).documents for known in (True, False)
    )
    error = float(np.std(plain - whole)) / math.sqrt(200)
    assert float(np.mean(plain - whole)) == pytest.approx(without - foreseen, abs=3 * error)
    assert without - foreseen > 4 * error
    assert agrees(whole.tolist(), foreseen, n, 2000)


def test_expected_documents_of_an_average_are_those_of_a_check() -> None:
    """Two tasks, at no change and at twice the margin."""
    sizes, margin = (300, 450), 0.04
    tasks = {f"general/{name}": (n,) for name, n in zip("ab", sizes, strict=True)}
    rule = Rule("average", "general", "max_drop", margin)
    found = seen_by(rule, sizes=tasks, decide="score").rules[0]
    assert found.expected is not None
    rng = np.random.default_rng(5)
    for step, expected in ((0.0, found.expected[0]), (2.0, found.expected[3])):
        used = [checked(rule, [drawn(n, 0.1, step * margin, rng) for n in sizes]) for _ in range(40)]
        assert agrees(used, expected, sum(sizes), 300)


def test_documents_are_expected_at_the_rates_beside_an_assumed_one() -> None:
    """At 5 and at 20 % too, as they are for a rule whose rate is known; none beside a known one."""
    rule = Rule("general", "a", "max_drop", 0.04)
    found = one(rule, 600, decide="score")
    for rate, expected in zip(BESIDE, found.expected_beside, strict=True):
        known = {"general/a": Flips(rate, True, "history", 3)}
        alone = seen_by(rule, sizes={"general/a": (600,)}, known=known, decide="score").rules[0]
        assert (alone.expected, alone.expected_beside) == (expected, ())


def test_documents_until_a_score_is_settled_are_those_of_a_check() -> None:
    """`min_score` ten and five points above the limit, at it, and five below: ones and zeros of the tuned
    model alone."""
    n, rule, rng = 400, Rule("target", "a", "min_score", 0.7), np.random.default_rng(6)
    found = one(rule, n, decide="score")
    assert found.expected is None
    assert found.expected_score is not None
    assert one(rule, n, decide="full").expected_score is None
    for above, expected in zip(SCORES, found.expected_score, strict=True):
        tuned = [rng.binomial(1, 0.7 + above, n).astype(float) for _ in range(60)]
        assert agrees([checked(rule, [-values]) for values in tuned], expected, n, 300)


def agrees(used: list[int], expected: float, n: int, runs: int) -> bool:
    """Whether documents that a check used agree with what was foreseen by so many runs: within three standard
    errors, and two points of all documents for the looks, which a long check spaces out."""
    spread = float(np.std(used))
    error = spread * math.sqrt(1 / len(used) + 1 / runs)
    return abs(float(np.mean(used)) - expected) < 3 * error + 0.02 * n


def drawn(n: int, flips: float, drop: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """The losses of a benchmark from a population that drops by `drop`."""
    flips = max(flips, abs(drop))
    return rng.choice([1.0, 0.0, -1.0], n, p=[(flips + drop) / 2, 1 - flips, (flips - drop) / 2])


def checked(rule: Rule, losses: list[np.ndarray[Any, Any]], rules: int = 1, *, known: bool = True) -> int:
    """Documents that a check draws until the rule is settled, of tasks with these losses in this order."""
    kind = "general" if rule.kind == "average" else rule.kind
    names = [rule.task] if len(losses) == 1 else list("ab")
    infos = [
        info_of(f"{kind}/{name}", len(each), right_or_wrong=known)
        for name, each in zip(names, losses, strict=True)
    ]
    specs = tuple(TaskSpec(kind, name) for name in names)
    order = {
        key_of(info, info.leaves[0].name): tuple(
            Block("", "", at, tuple(range(at, min(at + 32, len(each))))) for at in range(0, len(each), 32)
        )
        for info, each in zip(infos, losses, strict=True)
    }
    policy = Policy((rule,), specs, decide="score")
    schedule, standing = make_schedule(policy, infos, dict.fromkeys(order, "mean"), order)
    standing = replace(standing, judging=rules)
    while taken := schedule.next_round(standing):
        values = {}
        for (key, blocks), each in zip(
            taken.items(), [losses[list(order).index(k)] for k in taken], strict=True
        ):
            found = each[[at for block in blocks for at in block.documents]]
            values[key] = (np.zeros_like(found), -found)
        standing, schedule = advance(standing, values), schedule.after(taken, failed=standing.broken)
    return sum(len(block.documents) for key, k in schedule.drawn.items() for block in order[key][:k])


def test_a_rule_that_cannot_work_says_what_would() -> None:
    """The issue's own example: one point on 100 documents; eight points would work, and are told to."""
    found = one(Rule("general", "a", "max_drop", 0.01), 100)
    assert found.problem == (
        "max_drop 0.01 on 100 documents cannot be told from noise: "
        "with 10 % of answers changing (assumed) it blocks 32 % of harmless fine-tunes"
    )
    assert (
        found.hint == "use at least 0.08, or 6,183 documents, or judge the mean of several tasks: `average`"
    )
    assert one(Rule("general", "a", "max_drop", 0.08), 100).problem == ""
    assert one(Rule("general", "a", "max_drop", 0.01), 6183).problem == ""


@pytest.mark.parametrize(
    ("rule", "policy", "words"),
    [
        (Rule("general", "a", "max_drop", 0.0), {}, "blocks 44 % of harmless"),
        (Rule("target", "a", "min_gain", 0.01), {}, "passes 44 % of fine-tunes that gained nothing"),
        (Rule("target", "a", "min_gain", 0.0), {}, ""),  # not to be worse is all that is asked
        (Rule("target", "a", "min_score", 0.8), {}, ""),
        (Rule("general", "a", "max_drop", 0.05), {"decide": "proven"}, "leaves 58 % of harmless"),
        (Rule("target", "a", "min_gain", 0.1), {"decide": "proven"}, ""),
        (Rule("general", "a", "max_drop", 0.05), {"confidence": 0.6}, ""),
    ],
)
def test_what_cannot_work(rule: Rule, policy: dict[str, Any], words: str) -> None:
    """Rules of each sort on 100 documents."""
    problem = one(rule, 100, **policy).problem
    assert words in problem
    assert bool(words) is bool(problem)


def test_a_small_task_makes_an_average_worth_little() -> None:
    """Tasks count alike, so that 100 documents in one of two are worth some 400 in all, and it is said."""
    rule = Rule("average", "general", "max_drop", 0.02)
    problem = seen_by(rule, sizes={"general/a": (1319,), "general/b": (100,)}).rules[0].problem
    assert problem.startswith("max_drop 0.02 on 1,419 documents (worth 372 of one task) cannot be told")


def test_problems_stand_at_their_lines() -> None:
    """The policy's file and line, the rule's id, and what to do."""
    rule = Rule("general", "a", "max_drop", 0.01, place=Place("p.yaml", 7))
    policy = Policy((rule,), (TaskSpec("general", "a"),), path="p.yaml")
    problems = problems_of(foresee(policy, (info_of("general/a", 100),)), policy)
    assert [(each.file, each.line, each.key) for each in problems] == [("p.yaml", 7, rule.id)]
    assert "use at least 0.08" in problems[0].hint


def test_a_known_flip_rate_takes_the_place_of_the_assumed_one() -> None:
    """One column instead of three; an average knows its rate only where all of its tasks do."""
    rules = (Rule("general", "a", "max_drop", 0.02), Rule("average", "general", "max_drop", 0.02))
    sizes = {"general/a": (1000,), "general/b": (1000,)}
    rate, other = Flips(0.04, True, "history", 3), Flips(0.02, True, "calibrate", 4)
    partly = seen_by(*rules, sizes=sizes, known={"general/a": rate}).rules
    assert [(rule.flips.rate, rule.flips.known, len(rule.sharpness)) for rule in partly] == [
        (0.04, True, 1),
        (0.10, False, 3),
    ]
    wholly = seen_by(*rules, sizes=sizes, known={"general/a": rate, "general/b": other})
    assert wholly.rules[1].flips == Flips(pytest.approx(0.03), True, "calibrate", 3)
    assert len(wholly.family) == 1


def test_an_average_is_as_sharp_as_its_documents_together() -> None:
    """Four equal tasks are one of four times the size; a leaf in two tasks counts once, with both weights."""
    four = {f"general/{name}": (500,) for name in "abcd"}
    average = Rule("average", "general", "max_drop", 0.02)
    found = seen_by(average, sizes=four).rules[0]
    assert found.documents == 2000
    assert found.sharpness == one(Rule("general", "a", "max_drop", 0.02), 2000).sharpness
    twice = tuple(replace(info_of(f"general/{name}", 500), leaves=(Leaf("same", 500, 500),)) for name in "ab")
    policy = Policy((average,), (TaskSpec("general", "a"), TaskSpec("general", "b")))
    assert (
        foresee(policy, twice).rules[0].sharpness
        == one(replace(average, kind="general", task="a"), 500).sharpness
    )


def test_a_leaf_in_two_tasks_has_the_weights_of_both() -> None:
    """Unequal tasks, so that a weight that is lost or taken from one alone shows: a's leaf counts 1/2 there
    and 1/4 in b, b's other one 1/4."""
    shared, other = Leaf("shared", 400, 400), Leaf("other", 100, 100, 0.5)
    first = replace(info_of("general/a", 1), leaves=(shared,))
    second = replace(info_of("general/b", 1), leaves=(replace(shared, weight=0.5), other))
    assert strata_of((first, second)) == (Stratum(400, 0.75), Stratum(100, 0.25))
    assert strata_of((second, first)) == (Stratum(400, 0.75), Stratum(100, 0.25))


def test_the_family_is_that_of_its_rules() -> None:
    """Eight tasks of 200 documents, two points: 74 % of harmless fine-tunes are blocked, target or not."""
    rules = [Rule("general", name, "max_drop", 0.02) for name in "abcdefgh"]
    sizes = {f"general/{name}": (200,) for name in "abcdefgh"} | {"target/t": (200,)}
    found = seen_by(*rules, Rule("target", "t", "min_gain", 0.05), sizes=sizes)
    assert found.judging == 9
    assert found.family[0].independent == pytest.approx(0.742, abs=0.001)
    assert found.family[0].at_most == 1.0
    single = found.rules[0].sharpness[0].mistaken or 0.0
    assert found.family[0].independent == pytest.approx(1 - (1 - single) ** 8)


def test_what_has_no_figures_says_why() -> None:
    """Text, other metrics, what is only shown, what a waiver skips."""
    waiver = Waiver("general/b/max_drop", None, 0.02, "why", "2027-01-01")
    rules = (
        Rule("general", "a", "max_drop", 1.5),
        Rule("general", "b", "max_drop", 0.02, waiver=waiver),
        Rule("text", "c", "report", None),
    )
    specs = (TaskSpec("general", "a"), TaskSpec("general", "b"), TaskSpec("text", "c"))
    infos = (info_of("general/a", 100, unit="bleu"), info_of("general/b", 100), info_of("text/c", 9))
    found = foresee(Policy(rules, specs), infos)
    assert [rule.sharpness for rule in found.rules] == [(), (), ()]
    assert [rule.note.split()[0] for rule in found.rules] == ["not", "skipped", "shown,"]
    assert (found.judging, found.family) == (1, ())


@pytest.mark.parametrize("unit", ["f1", "bleu", "perplexity"])
def test_what_can_never_be_proven_is_an_error_at_any_flip_rate(unit: str) -> None:
    """A drop in a metric without a known range under `proven`: told before any measuring, with what works."""
    rules = (
        Rule("general", "a", "max_drop", 0.05, place=Place("p.yaml", 7)),
        Rule("general", "a", "max_drop", 0.05, reference="champion"),
        Rule("general", "a", "max_drop", 0.05, slices=Slices("subtask")),  # has a test of its own
        Rule("target", "b", "min_gain", 0.05),  # judged by its own number
        Rule("text", "c", "max_rise", 0.05),
    )
    specs = (TaskSpec("general", "a"), TaskSpec("target", "b"), TaskSpec("text", "c"))
    infos = tuple(info_of(spec.id, 100, unit=unit) for spec in specs)
    policy = Policy(rules, specs, path="p.yaml", decide="proven")
    with pytest.raises(ConfigErrors) as caught:
        doubts_of(foresee(policy, infos), policy)
    problems = caught.value.problems
    assert [(each.key, each.line) for each in problems] == [(rules[0].id, 7), (rules[1].id, None)]
    assert f"{unit} has no known range" in problems[0].message
    assert "`decide: score` or `full`" in problems[0].hint
    assert warnings_of(policy, infos, {})[0].startswith(f"{rules[0].id}: {unit} has no known range")
    for decides in ("score", "full"):
        other = replace(policy, decide=decides)
        assert doubts_of(foresee(other, infos), other) == ()
    skipped = replace(rules[0], waiver=Waiver(rules[0].id, None, 0.05, "why", "2027-01-01"))
    waived = replace(policy, rules=(skipped, *rules[2:]))
    assert doubts_of(foresee(waived, infos), waived) == ()


def test_of_several_trainings_no_figure_is_given() -> None:
    """Whatever the documents alone would say: no problem, no family, and what is unknown is named."""
    hopeless = Rule("general", "a", "max_drop", 0.001)
    assert one(hopeless, 500).problem
    found = one(hopeless, 500, seeds=2)
    assert (found.sharpness, found.problem, found.note) == ((), "", "the spread between trainings is unknown")
    assert seen_by(hopeless, sizes={"general/a": (500,)}, seeds=3).family == ()


def test_a_waived_margin_is_what_is_foreseen() -> None:
    """The margin that will judge, not the rule's own."""
    waiver = Waiver("general/a/max_drop", 0.08, 0.01, "why", "2027-01-01")
    found = one(Rule("general", "a", "max_drop", 0.08, waiver=waiver), 100)
    assert found.sharpness == one(Rule("general", "a", "max_drop", 0.08), 100).sharpness


def test_documents_are_expected_under_score_alone() -> None:
    """`full` and `proven` score all; under `score` the hungriest rule of a task says how many of it."""
    rule = Rule("general", "a", "max_drop", 0.02)
    assert one(rule, 5000, decide="full").expected is None
    assert one(rule, 5000, decide="proven").expected is None
    sizes = {"general/a": (5000,), "general/b": (5000,)}
    both = seen_by(rule, Rule("general", "b", "max_drop", 0.05), sizes=sizes, decide="score")
    expected = [found.expected[0] for found in both.rules if found.expected]
    assert both.expected_share == pytest.approx(sum(expected) / 10_000)
    assert expected[0] == pytest.approx(0.283 * 5000, rel=0.06)  # docs/soundness.md
    assert seen_by(rule, sizes=sizes, decide="full").expected_share == 0.5  # nothing asks for the other


# ── Proofs from several tasks, and clusters ──────────────────────────────────────────────────────

PASSAGES = ([(10, 50, 1.0)], [(5, 100, 1.0)], [(8, 20, 1.0), (3, 60, 1.0), (1, 80, 1.0)])


@pytest.mark.parametrize(
    ("sizes", "flips", "margin", "formula"),
    [((100, 100, 100), 0.03, 0.05, 0.005), ((200,) * 4, 0.01, 0.02, 0.001), ((50, 2000), 0.1, 0.06, 0.2)],
)
def test_a_proof_of_an_average_is_what_the_test_itself_proves(
    sizes: tuple[int, ...], flips: float, margin: float, formula: float
) -> None:
    """Fewer than ten changed documents prove nothing, and a further cluster is taken into account: harmless
    models drawn and judged by `prove`'s own bound, far from what a normal approximation says."""
    tasks = {f"general/{k}": (n,) for k, n in enumerate(sizes)}
    known = {task: Flips(flips, True, "history", 3) for task in tasks}
    rule = Rule("average", "general", "max_drop", margin)
    found = seen_by(rule, sizes=tasks, known=known, decide="proven").rules[0].sharpness[0]
    assert found.mistaken is not None
    assert found.mistaken > formula + 0.1
    groups = [(1, n, sum(sizes) / n / len(sizes)) for n in sizes]
    assert abs(unproven_of(groups, flips, 0.0, margin) - found.mistaken) < 0.07
    if 0 < found.seen < margin:
        assert abs(unproven_of(groups, flips, found.seen, margin) - 0.8) < 0.07


@pytest.mark.parametrize(
    "groups", [[(10, 50, 1.0)], [(5, 100, 1.0)], [(8, 20, 1.0), (3, 60, 1.0), (1, 80, 1.0)]]
)
@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
def test_a_proof_in_clusters_is_what_the_test_itself_proves(
    groups: list[tuple[int, int, float]], alike: float
) -> None:
    """Passages of one size and of several, whose documents change independently, somewhat alike, as one."""
    clusters = tuple(Clusters(number, size, scale) for size, number, scale in groups)
    for drop in (0.0, 0.02):
        said = unproven(clusters, 0.1, drop, 0.06, 0.05, alike)
        assert abs(unproven_of(groups, 0.1, drop, 0.06, alike) - said) < 0.07


def unproven_of(
    groups: list[tuple[int, int, float]], flips: float, drop: float, margin: float, alike: float = 0.0
) -> float:
    """The share of 500 samples of these clusters (size, number, scale), document by document, whose drop
    `range_bounds` does not prove to be below the margin."""
    rng, failed, most = np.random.default_rng(8), 0, max(scale for *_, scale in groups)
    chances = [(flips + drop) / 2, 1 - flips, (flips - drop) / 2]
    names = np.repeat(
        np.arange(sum(number for _, number, _ in groups)),
        np.concatenate([np.full(number, size) for size, number, _ in groups]),
    )
    for _ in range(500):
        parts = []
        for size, number, scale in groups:
            own = rng.choice([1.0, 0.0, -1.0], (number, size), p=chances)
            common = rng.choice([1.0, 0.0, -1.0], (number, 1), p=chances)
            joins = rng.random((number, size)) < math.sqrt(alike)
            parts.append((scale * np.where(joins, common, own)).ravel())
        try:
            failed += range_bounds(np.concatenate(parts), names, 0.05, (-most, most)).high > margin
        except DegenerateData:
            failed += 1
    return failed / 500


KNOWN = {"general/a": Flips(0.1, True, "history", 3, 100, 1000)}


def in_passages(*sizes: tuple[int, int], **policy: Any) -> tuple[Policy, tuple[TaskInfo, ...]]:
    """A rule of five points on a task in clusters: (documents, how many of so many)."""
    n = sum(size * number for size, number in sizes)
    leaf = Leaf("general/a/0", n, n, 1.0, sizes)
    rule = Rule("general", "a", "max_drop", policy.pop("margin", 0.05))
    info = info_of("general/a", n, leaves=(leaf,), cluster_by="passage")
    return Policy((rule,), (TaskSpec("general", "a"),), path="p.yaml", **policy), (info,)


def test_clusters_are_worth_fewer_documents() -> None:
    """500 documents in 100 passages of five, and in 50 of ten, where one further passage alone breaks it; it
    is said what would be if they changed by themselves, and as one."""
    policy, infos = in_passages((5, 100), decide="proven")
    (found,) = foresee(policy, infos, KNOWN).rules
    assert found.sharpness[0].mistaken == pytest.approx(0.5, abs=0.02)
    assert re.fullmatch(
        r"100 clusters by passage; mistaken 29.\d % if their documents change independently, 82.\d % as one",
        found.note,
    )
    policy, infos = in_passages((10, 50), decide="proven")
    (found,) = foresee(policy, infos, KNOWN).rules
    assert found.sharpness[0].mistaken == pytest.approx(0.88, abs=0.02)
    assert found.problem.startswith("max_drop 0.05 on 500 documents (worth 135 independent ones) cannot be")
    assert found.firm


def test_what_is_assumed_of_clusters_makes_no_error() -> None:
    """A problem that is gone if a passage's documents change independently is a warning, also at a known
    rate; one that is not is an error there; beside `proven` clusters count where the policy names them."""
    policy, infos = in_passages((5, 200), decide="proven", margin=0.03)
    (found,) = foresee(policy, infos, KNOWN).rules
    assert (bool(found.problem), found.firm) == (True, False)
    assert [each.key for each in doubts_of(foresee(policy, infos, KNOWN), policy)] == ["general/a/max_drop"]
    policy, infos = in_passages((10, 50), decide="proven", margin=0.02)
    with pytest.raises(ConfigErrors, match="cannot be told from noise"):
        doubts_of(foresee(policy, infos, KNOWN), policy)
    policy, infos = in_passages((10, 50), decide="full")
    apart = one(policy.rules[0], 500, decide="full").sharpness[0].mistaken
    together = foresee(policy, infos).rules[0].sharpness[0].mistaken
    assert together is not None
    assert apart is not None
    assert together > 10 * apart


def test_too_few_clusters_are_an_error_whatever_flips() -> None:
    """Twelve intents under `proven`: always undecided, so refused, at an assumed rate too; under the other
    ways to decide, and from twenty on, they are not."""
    policy, infos = in_passages((100, 12), decide="proven")
    with pytest.raises(ConfigErrors) as caught:
        doubts_of(foresee(policy, infos), policy)
    (problem,) = caught.value.problems
    assert problem.message.startswith("12 clusters by passage, worth 12.0 of one size; 20 are needed")
    assert "another `cluster_by`" in problem.hint
    assert warnings_of(policy, infos, {})[0].startswith("general/a/max_drop: 12 clusters")
    unequal, its = in_passages((300, 2), (10, 30), decide="proven")
    assert "worth 4.4 of one size" in foresee(unequal, its).rules[0].problem
    for sizes, how in (((100, 12), "full"), ((100, 20), "proven")):
        policy, infos = in_passages(sizes, decide=how, margin=0.3)
        assert foresee(policy, infos).rules[0].problem == ""


def test_a_proof_that_no_margin_makes_possible_says_so() -> None:
    """Where fewer than ten documents change no margin is proven, so none is named."""
    tasks = {f"general/{k}": (100,) for k in "abc"}
    known = {task: Flips(0.01, True, "history", 3) for task in tasks}
    rule = Rule("average", "general", "max_drop", 0.05)
    (found,) = seen_by(rule, sizes=tasks, known=known, decide="proven").rules
    assert found.hint.startswith("no margin would be proven: too few")
    wide = dict.fromkeys(known, Flips(0.2, True, "history", 3))
    (found,) = seen_by(replace(rule, margin=0.02), sizes=tasks, known=wide, decide="proven").rules
    named = float(re.search(r"use at least ([\d.]+)", found.hint)[1])  # type: ignore[index]
    (found,) = seen_by(replace(rule, margin=named), sizes=tasks, known=wide, decide="proven").rules
    assert found.sharpness[0].mistaken == pytest.approx(0.2, abs=0.05)


def of_hundred(margin: float) -> tuple[Policy, tuple[TaskInfo, ...]]:
    """Seven rules on 100 documents each."""
    rules = tuple(Rule("general", name, "max_drop", margin) for name in "abcdefg")
    specs = tuple(TaskSpec("general", name) for name in "abcdefg")
    infos = tuple(info_of(f"general/{name}", 100) for name in "abcdefg")
    return Policy(rules, specs, path="p.yaml"), infos


def known_or_not(known: dict[str, Flips], margin: float = 0.01) -> tuple[str, ...]:
    """What is said of them before training."""
    return warnings_of(*of_hundred(margin), known)


def test_before_training_there_is_one_line_a_rule_and_no_wall() -> None:
    """Five rules that cannot work at an assumed rate, each in its line, and how many more there are."""
    said = known_or_not({})
    assert len(said) == 6
    assert said[0].startswith("general/a/max_drop: max_drop 0.01 on 100 documents cannot be told from noise")
    assert "(assumed)" in said[0]
    assert "use at least 0.08" in said[0]
    assert said[-1] == "2 more rules cannot be told from noise: see `ftgate plan`"
    assert known_or_not({}, margin=0.1) == ()


def test_a_rule_that_cannot_work_at_a_measured_rate_is_an_error() -> None:
    """In `plan`: the one rule whose rate is known, and how it is."""
    policy, infos = of_hundred(0.01)
    with pytest.raises(ConfigErrors) as caught:
        doubts_of(foresee(policy, infos, {"general/b": Flips(0.2, True, "history", 3)}), policy)
    assert [each.key for each in caught.value.problems] == ["general/b/max_drop"]
    assert "with 20 % of answers changing (seen in 3 checks)" in caught.value.problems[0].message
    low = {"general/b": Flips(0.0001, True, "calibrate", 4)}
    assert len(doubts_of(foresee(policy, infos, low), policy)) == 6


@pytest.mark.parametrize("source", ["history", "calibrate"])
def test_before_training_a_measured_rate_only_warns(source: Any) -> None:
    """The first check of a model that passed makes its rate known: the same command passes again."""
    assert known_or_not({}, margin=0.1) == ()
    every = {f"general/{name}": Flips(0.5, True, source, 1) for name in "abcdefg"}
    said = known_or_not(every, margin=0.1)
    assert len(said) == 6
    assert said[0].startswith("general/a/max_drop: max_drop 0.1 on 100 documents cannot be told from noise")
    assert "with 50 % of answers changing" in said[0]
    assert said[-1] == "2 more rules cannot be told from noise: see `ftgate plan`"
    assert len(known_or_not({"general/b": Flips(0.0001, True, source, 4)})) == 6


def test_brief_foresight_finds_the_same_problems() -> None:
    """What is left out before training changes no problem."""
    rule = Rule("general", "a", "max_drop", 0.01)
    policy = Policy((rule,), (TaskSpec("general", "a"),), path="p.yaml", decide="score")
    info = (info_of("general/a", 300),)
    brief, whole = foresee(policy, info, brief=True), foresee(policy, info)
    assert doubts_of(brief, policy) == doubts_of(whole, policy)
    assert brief.rules[0].expected is None
    assert whole.rules[0].expected is not None


@pytest.mark.parametrize("decide", ["full", "score"])
@pytest.mark.parametrize("flips", [0.05, 0.1, 0.3])
def test_the_family_is_what_a_simulation_of_all_rules_blocks(flips: float, decide: Any) -> None:
    """Four tasks of unequal size, drawn without a drop: some rule blocks as often as `plan` says it will."""
    sizes = {"a": 150, "b": 400, "c": 800, "d": 1319}
    rules = [Rule("general", name, "max_drop", 0.02) for name in sizes]
    known = {f"general/{name}": Flips(flips, True, "history", 1) for name in sizes}
    tasks = {f"general/{name}": (n,) for name, n in sizes.items()}
    found = seen_by(*rules, sizes=tasks, known=known, decide=decide).family[0]
    blocks = [drops(n, flips, 0.0, seed=k) > 0.02 + 1e-9 for k, n in enumerate(sizes.values())]
    assert near(float(np.any(blocks, axis=0).mean()), found.independent)
    shared = [
        drops(n, flips, 0.0) > 0.02 + 1e-9 for n in sizes.values()
    ]  # one seed: they depend on each other
    assert float(np.any(shared, axis=0).mean()) <= found.at_most + 4 * math.sqrt(0.25 / RUNS)


@pytest.mark.parametrize(("n", "margin", "seed"), [(400, 0.05, 5), (1319, 0.03, 6)])
def test_what_score_blocks_is_what_plan_says(n: int, margin: float, seed: int) -> None:
    """Played decision by decision, a harmless model and one at the drop that is seen, within the error that
    stopping early is allowed and the trials' own."""
    found = one(Rule("general", "a", "max_drop", margin), n, decide="score").sharpness[0]
    rng, trials = np.random.default_rng(seed), 150
    for drop, said in ((0.0, found.mistaken or 0.0), (found.seen, 0.8)):
        chances = [(0.1 + drop) / 2, 0.9, (0.1 - drop) / 2]
        blocked = sum(settled(rng.choice([1.0, 0.0, -1.0], n, p=chances), margin) for _ in range(trials))
        error = math.sqrt(said * (1 - said) / trials)
        assert abs(blocked / trials - said) < 0.05 + 4 * error


def settled(values: np.ndarray[Any, Any], margin: float) -> bool:
    """Whether `drop <= margin` is settled as broken, looking after each block of 32."""
    evidence, limit = start([Stratum(len(values))]), Limit.at(margin, len(values))
    for at in range(0, len(values), 32):
        evidence = observe(evidence, [Drawn(values[at : at + 32])])
        found = decide(evidence, limit, keep_error=0.05, break_error=0.05)
        if found is not None:
            return found == "breaks"
    raise AssertionError("all documents settle it")
