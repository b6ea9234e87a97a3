"""The plan: can these tasks judge these rules?"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import ConfigErrors
from gate.plan import allocate_limit, build_plan, finest_step
from gate.records import (
    Evaluation,
    Leaf,
    ModelRef,
    Place,
    Policy,
    Rule,
    TaskInfo,
    TaskSpec,
    TrainingConfig,
    Trust,
)

BASE = ModelRef("base", "/base", "d")
CONFIG = TrainingConfig(
    "trl", "full", "base", None, (), {}, {"trust_remote_code": 7}, path="c.yaml", trust_remote_code=True
)


def info(
    task: str, *sizes: int, unit: str = "accuracy", higher: bool = True, planned: int | None = None
) -> TaskInfo:
    total = sum(sizes)
    leaves = tuple(
        Leaf(f"{task}-{i}", size, size if planned is None else planned, size / total if total else 1.0)
        for i, size in enumerate(sizes)
    )
    return TaskInfo(task, "benchmarks", "acc", "none", unit, higher, leaves)


def policy(*rules: Rule) -> Policy:
    names = {(rule.kind, rule.task): None for rule in rules if rule.kind != "average"}
    specs = tuple(TaskSpec(kind, task, place=Place("t.yaml", 3)) for kind, task in names)
    return Policy(rules, specs, path="t.yaml")


def drop(task: str, margin: float) -> Rule:
    return Rule("general", task, "max_drop", margin, place=Place("t.yaml", 5))


def score(margin: float) -> Rule:
    return Rule("target", "a", "min_score", margin, place=Place("t.yaml", 5))


def problems(policy: Policy, *tasks: TaskInfo, config: TrainingConfig | None = None) -> list[str]:
    try:
        build_plan(policy, BASE, tasks, config)
    except ConfigErrors as errors:
        return [str(problem) for problem in errors.problems]
    return []


def test_a_plan_holds_what_it_was_made_of() -> None:
    """A policy that its tasks can judge becomes a plan without warnings."""
    asked, task = policy(drop("a", 0.02)), info("general/a", 100)
    plan = build_plan(asked, BASE, (task,), replace(CONFIG, trust_remote_code=False), BASE)
    assert (plan.policy, plan.base, plan.tasks, plan.tuned, plan.warnings) == (asked, BASE, (task,), BASE, ())


@pytest.mark.parametrize(
    ("margin", "sizes", "fine"),
    [
        (0.01, (100,), True),
        (0.0099, (100,), False),
        (0.0, (100,), True),
        (1e-9, (100_000,), False),
        (0.005, (100, 100), True),
        (0.004, (100, 100), False),
        (0.5, (2,), True),
    ],
)
def test_margins_against_documents(margin: float, sizes: tuple[int, ...], fine: bool) -> None:
    """A margin between nothing and one document cannot be told; exactly nothing can."""
    found = problems(policy(drop("a", margin)), info("general/a", *sizes))
    assert (found == []) is fine


def test_what_is_told_of_a_fine_margin() -> None:
    """The place, the rule, the step, and a margin that would do."""
    (found,) = problems(policy(drop("a", 0.001)), info("general/a", 300))
    assert found.startswith("t.yaml:5: general/a/max_drop: 0.001 is finer than one document: 300 documents")
    assert "use at least 0.0034" in found


def test_the_limit_counts_and_not_the_benchmark() -> None:
    """Steps are those of the documents that will be scored."""
    assert problems(policy(drop("a", 0.01)), info("general/a", 1000, planned=50))
    assert finest_step(info("general/a", 1000, planned=50)) == pytest.approx(1 / 50)


def test_an_average_moves_in_finer_steps() -> None:
    """Over two tasks of 100 documents, one document is half a point."""
    average = Rule("average", "general", "max_drop", 0.005)
    tasks = info("general/a", 100), info("general/b", 100)
    rules = drop("a", 0.02), drop("b", 0.02)
    assert problems(policy(*rules, average), *tasks) == []
    assert problems(policy(*rules, replace(average, margin=0.004)), *tasks)


def test_only_accuracies_are_averaged() -> None:
    """A perplexity among accuracies has no mean with them."""
    average = Rule("average", "general", "max_drop", 0.01)
    tasks = info("general/a", 100), info("general/b", 100, unit="word_perplexity", higher=False)
    (found,) = problems(policy(drop("a", 0.02), drop("b", 1.5), average), *tasks)
    assert "only accuracies can be averaged, and not general/b (word_perplexity)" in found


def test_margins_of_other_units_are_their_own() -> None:
    """A BLEU drop of 2 points is no fraction, and documents set no step."""
    assert problems(policy(drop("a", 2)), info("general/a", 10, unit="bleu")) == []


@pytest.mark.parametrize(
    ("rule", "task", "message"),
    [
        (score(80), info("target/a", 100), "80 is out of range"),
        (score(1.01), info("target/a", 100), "an accuracy is a fraction from 0 to 1"),
        (score(0.801), info("target/a", 100), ""),
        (score(5), info("target/a", 100, unit="perplexity", higher=False), "where higher is better"),
        (drop("a", 2), info("general/a", 100), "2 points are 0.02"),
    ],
)
def test_margins_out_of_range(rule: Rule, task: TaskInfo, message: str) -> None:
    """A bound that the metric cannot reach is refused before anything runs."""
    found = problems(policy(rule), task)
    assert message in "".join(found)
    assert bool(found) is bool(message)


def test_missing_and_empty_tasks() -> None:
    """Every task of the policy must be there and have documents."""
    asked = policy(drop("a", 0.02), drop("b", 0.02))
    assert problems(asked, info("general/a", 0)) == [
        "t.yaml:3: general/a: this task has no documents",
        "t.yaml:3: general/b: this task was not found",
    ]


def test_remote_code_needs_the_policy() -> None:
    """A config that runs a model's code is refused unless the policy trusts it."""
    asked, task = policy(drop("a", 0.02)), info("general/a", 100)
    (found,) = problems(asked, task, config=CONFIG)
    assert found.startswith("c.yaml:7: trust_remote_code: the policy does not allow remote code")
    assert problems(replace(asked, trust=Trust(remote_code=True)), task, config=CONFIG) == []


MATCH = Evaluation(quantization="match_training")
QLORA = replace(CONFIG, method="qlora", quantization_bits=4, trust_remote_code=False)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "t.yaml: evaluation.quantization: `match_training` needs the training config"),
        (replace(QLORA, method="full", quantization_bits=None), ""),
        (QLORA, ""),
        (replace(QLORA, settings={"bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": False}), ""),
        (replace(QLORA, quantization_bits=8, settings={"use_bnb_nested_quant": True}), ""),
        (
            replace(QLORA, settings={"bnb_4bit_quant_type": "fp4"}),
            "c.yaml: bnb_4bit_quant_type: fp4 cannot be",
        ),
        (
            replace(QLORA, settings={"use_bnb_nested_quant": True}),
            "True cannot be matched: only plain NF4 and int8 are measured",
        ),
    ],
)
def test_quantisation_that_cannot_be_matched(config: TrainingConfig | None, message: str) -> None:
    """`match_training` without a training to match, or with one that is quantised in another way."""
    asked, task = policy(drop("a", 0.02)), info("general/a", 100)
    found = problems(replace(asked, evaluation=MATCH), task, config=config)
    assert message in "".join(found)
    assert bool(found) is bool(message)
    assert problems(asked, task, config=config) == []


def test_a_limit_is_said_loudly() -> None:
    """Fewer documents than there are is a warning of the plan."""
    plan = build_plan(policy(drop("a", 0.1)), BASE, (info("general/a", 1000, planned=50),))
    assert [text.split(" (")[0] for text in plan.warnings] == ["general/a: 50 of 1000 documents"]


@pytest.mark.parametrize(
    ("limit", "sizes", "counts"),
    [
        (None, (3, 0, 5), (3, 0, 5)),
        (8, (3, 5), (3, 5)),
        (100, (3, 5), (3, 5)),
        (4, (100, 100), (2, 2)),
        (3, (100, 100), (2, 1)),
        (10, (900, 90, 10), (8, 1, 1)),
        (3, (1000, 1, 1), (1, 1, 1)),
        (2, (1000, 1, 1), (2, 0, 0)),
        (5, (0, 10), (0, 5)),
        (1, (), ()),
    ],
)
def test_limits_are_shared_in_proportion(
    limit: int | None, sizes: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    """Largest remainder, at least one document a leaf where the limit allows it."""
    assert allocate_limit(limit, sizes) == counts


@given(limit=st.integers(1, 300), sizes=st.lists(st.integers(0, 60), max_size=12))
def test_any_limit_is_shared_out(limit: int, sizes: list[int]) -> None:
    """All of the limit is given out, never more than there is, no leaf forgotten that could have one."""
    counts = allocate_limit(limit, sizes)
    assert sum(counts) == min(limit, sum(sizes))
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))
    filled = sum(size > 0 for size in sizes)
    if limit >= filled:
        assert sum(count > 0 for count in counts) == filled
        ideal = [min(limit, sum(sizes)) * size / sum(sizes) if sum(sizes) else 0 for size in sizes]
        assert all(count <= want + 1 or count == 1 for count, want in zip(counts, ideal, strict=True))


@pytest.mark.parametrize(("limit", "sizes"), [(0, (1,)), (-1, (1,)), (1, (-1,))])
def test_limits_that_make_no_sense(limit: int, sizes: tuple[int, ...]) -> None:
    """A caller's mistake is an error."""
    with pytest.raises(ValueError, match="at least 1"):
        allocate_limit(limit, sizes)
