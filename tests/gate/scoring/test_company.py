"""How far scores depend on what is scored beside them: counted, and none on a CPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from tiny_models import tiny

from gate.records import Evaluation, ModelRef, Request, Trust
from gate.scoring import ModelSession
from gate.scoring.company import Company, differences, look
from gate.scoring.engine import Scores, TreeEngine
from gate.scoring.readings import Reading


@pytest.mark.parametrize("attention", ["dense", "blocks"])
def test_no_company_moves_a_bit_on_a_cpu(attention: Any) -> None:
    """A crafted block alone and between two others."""
    found = look(TreeEngine(tiny("llama"), attention=attention))
    assert found == Company(6, 0, 0.0)
    assert str(found) == "0 of 6 scores had other bits among other blocks than alone"


class Moved(TreeEngine):
    """A planted fault: company moves the first score of every block by one bit or so."""

    def loglikelihoods(self, groups: Iterable[Sequence[Reading]]) -> list[Scores]:
        found = super().loglikelihoods(groups)
        if len(found) > 1:
            for scores in found:
                scores[0] = (scores[0][0] + 1e-6, scores[0][1])
        return found


def test_a_moved_bit_is_counted() -> None:
    """How many, and by how much; without patching anything on the way."""
    found = look(Moved(tiny("llama")))
    assert (found.scores, found.differ) == (6, 1)
    assert found.apart == pytest.approx(1e-6, rel=1e-3)
    assert str(found).endswith(
        "1 of 6 scores had other bits among other blocks than alone, by at most 1e-06 nats"
    )
    assert differences([1.0, 2.0], [1.0, 2.5]) == Company(2, 1, 0.5)
    assert differences([], []) == Company(0, 0, 0.0)


def test_a_session_looks_and_says_what_it_saw(base: ModelRef) -> None:
    """Nothing before a model was asked; on a CPU nothing after, unless a score moved."""
    with ModelSession(base, base, Evaluation(dtype="float32", device="cpu"), Trust()) as session:
        assert session.company == ""
        session.scorer("base").score([Request("loglikelihood", "It rains", " again")])
        seen = session._shelf.company
        assert seen == {"base": Company(6, 0, 0.0)}
        assert session.company == ""
        seen["tuned"] = Company(6, 2, 1e-3)
        assert (
            session.company
            == "2 of 6 scores had other bits among other blocks than alone, by at most 0.001 nats"
        )
