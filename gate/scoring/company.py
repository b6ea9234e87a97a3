"""How far a block's scores depend on what is scored beside it: not at all on a CPU, counted on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gate.scoring.engine import TreeEngine
from gate.scoring.selftest import SHORT, forest

FEW = 6  # readings of each crafted block: a look, no measurement


@dataclass(frozen=True, slots=True)
class Company:
    """Of `scores` log-likelihoods `differ` had other bits in other company, by `apart` nats at most."""

    scores: int
    differ: int
    apart: float

    def __str__(self) -> str:
        by = f", by at most {self.apart:.1g} nats" if self.differ else ""
        return f"{self.differ} of {self.scores} scores had other bits among other blocks than alone{by}"


def differences(alone: Sequence[float], among: Sequence[float]) -> Company:
    """Scores of the same requests in two companies, in nats, compared bit by bit."""
    apart = [abs(one - other) for one, other in zip(alone, among, strict=True)]
    return Company(len(apart), sum(each != 0.0 for each in apart), max(apart, default=0.0))


def look(engine: TreeEngine) -> Company:
    """A crafted block scored alone, and between two others."""
    config = engine.caller.model.config.get_text_config(decoder=True)
    words = min(config.vocab_size, 32_000)
    longest = min(getattr(config, "max_position_embeddings", None) or 1024, 1024)
    block, other = (forest(words, longest, shared)[:FEW] for shared in (SHORT, 3 * SHORT))
    (alone,) = engine.loglikelihoods([block])
    among = engine.loglikelihoods([other, block, other[:2]])[1]
    return differences([score for score, _ in alone], [score for score, _ in among])
