"""The tuned models of a run, one or a recipe's several, which answer in turns: one is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property

from checks import PreparedTask
from gate.bench import Bench, Work
from gate.records import Block
from gate.scoring import ModelSession


@dataclass(eq=False)
class Asked:
    """One tuned model: its session, its tasks and blocks, their results, and the seconds that it took."""

    session: ModelSession
    prepared: list[PreparedTask]
    planned: list[Work]
    seconds: float = 0.0
    bench: Bench = field(init=False)
    rounds: list[list[Block]] | None = None  # that were drawn; None where all that is planned is scored

    @property
    def blocks(self) -> list[Block]:
        """What is scored of it."""
        if self.rounds is None:
            return [item.block for item in self.planned]
        return [block for each in self.rounds for block in each]

    def work(self, blocks: Iterable[Block]) -> list[Work]:
        """These blocks, as this model is asked about them."""
        return [self._of_block[block] for block in blocks]

    @cached_property
    def _of_block(self) -> dict[Block, Work]:
        return {item.block: item for item in self.planned}


class Turns:
    """Who answers next. A round begins with the model that is in memory; `holds` takes the last one out."""

    def __init__(self, models: Sequence[Asked], holds: ExitStack, clock: Callable[[], float]) -> None:
        self._order, self._holds, self._clock = list(models), holds, clock
        self._held: Asked | None = None

    def take(self, ask: Callable[[Asked], None], models: Sequence[Asked]) -> None:
        """`ask` each of `models`, in its turn."""
        for model in [each for each in self._order if each in models]:
            started = self._clock()
            if model is not self._held and len(self._order) > 1:
                self._holds.close()
                self._holds.enter_context(model.session)
                self._held = model
            ask(model)
            model.seconds += self._clock() - started
        self._order.reverse()
