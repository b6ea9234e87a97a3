"""Blocks over several processes: equal bits, whoever scores them; errors of followers told by the leader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gate.errors import InfrastructureError, MeasurementError, OutOfMemory
from gate.records import Evaluation, ModelRef, Request, Response, Trust
from gate.scoring import FellBack, ModelSession
from gate.scoring.team import Failed, LocalTeam, attempt, leading, raise_first, share_out

FLOAT32 = Evaluation(dtype="float32", batch_size=4, device="cpu")
GROUPS = [
    [
        Request("loglikelihood", f"Question {group}: what is {number}? Answer:", ending)
        for number in range(3 + group)
        for ending in (" a number", " nothing", " it")
    ]
    + [Request("loglikelihood_rolling", f"Text {group} goes on and on.")]
    + [
        Request(
            "generate_until",
            f"Text {group} says that {who}",
            generation='{"until": ["."], "max_gen_toks": 8}',
        )
        for who in ("the cat", "nobody")
    ]
    for group in range(5)
]


@pytest.fixture(scope="module")
def team() -> Iterator[LocalTeam]:
    """This process and another one, both on the CPU."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    two = LocalTeam(("cpu", "cpu"), environ)
    try:
        yield two
    finally:
        two.end()


def answers(both: ModelSession) -> list[list[list[Response]]]:
    return [both.scorer(side).score_groups(GROUPS) for side in ("base", "tuned")]  # type: ignore[arg-type]


@pytest.mark.parametrize("scorer", ["tree", "hf"])
def test_equal_bits_alone_among_others_and_on_two_processes(
    scorer: Any, base: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef], team: LocalTeam
) -> None:
    """Every block of base and adapter: scored alone, among the others, and by two gloo processes."""
    evaluation = replace(FLOAT32, scorer=scorer)
    adapter = adapter_and_merged[0]
    with ModelSession(base, adapter, evaluation, Trust()) as one:
        together = answers(one)
        alone = [[one.scorer(side).score(group) for group in GROUPS] for side in ("base", "tuned")]  # type: ignore[arg-type]
    with ModelSession(base, adapter, evaluation, Trust(), team=team) as two:
        spread = answers(two)
        assert two.processes == 2
    assert together == alone == spread
    assert len(team.children) == 1


def test_an_error_of_a_follower_is_the_leaders(base: ModelRef, team: LocalTeam) -> None:
    """A request that cannot be scored, in a block that the other process has; then it answers again."""
    broken = [GROUPS[4], [Request("loglikelihood", "text", "")], GROUPS[3]]
    with ModelSession(base, base, FLOAT32, Trust(), team=team) as both:
        with pytest.raises(MeasurementError, match=r"cannot be scored"):
            both.scorer("base").score_groups(broken)
        assert len(both.scorer("base").score_groups(GROUPS)) == len(GROUPS)


def test_a_follower_that_dies_ends_the_run(base: ModelRef, team: LocalTeam) -> None:
    """In words, and without a hang."""
    with ModelSession(base, base, FLOAT32, Trust(), team=team) as both:
        both.scorer("base").score_groups(GROUPS[:2])
        team.children[0].kill()
        with pytest.raises(InfrastructureError, match="a process that scores is gone"):
            both.scorer("base").score_groups(GROUPS)


def test_work_is_shared_out_evenly() -> None:
    """The longest blocks first, each to whoever has least; every block once, the same way every time."""
    groups = [[Request("loglikelihood", "x" * size, "y")] for size in (5, 40, 10, 30, 20, 1)]
    shares = share_out(groups, 2)
    assert sorted(place for share in shares for place in share) == list(range(6))
    loads = [sum(len(groups[place][0].context) for place in share) for share in shares]
    assert max(loads) - min(loads) <= 6
    assert shares == share_out(groups, 2)
    assert share_out(groups[:1], 3) == [[0], [], []]


def test_what_went_wrong_first() -> None:
    """A scorer that is not exact goes before memory, memory before the rest: each is dealt with by itself."""

    def fail(error: Exception) -> Any:
        def ask() -> list[list[Response]]:
            raise error

        return attempt(ask)

    failed: Sequence[Failed] = [
        fail(ValueError("odd")),
        fail(OutOfMemory("full", hint="less")),
        fail(FellBack("tree", "a model", "ALiBi")),
    ]
    with pytest.raises(FellBack, match="ALiBi"):
        raise_first(failed)
    with pytest.raises(OutOfMemory, match="full") as caught:
        raise_first(failed[:2])
    assert caught.value.hint == "less"
    with pytest.raises(MeasurementError, match="ValueError: odd"):
        raise_first(failed[:1])
    raise_first([[]])


def test_one_process_has_no_team() -> None:
    """Without a launcher nothing is joined."""
    with leading({}) as nobody:
        assert nobody is None
