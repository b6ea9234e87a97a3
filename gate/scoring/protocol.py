"""What answers requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from gate.errors import MeasurementError
from gate.records import Request, Response

Side = Literal["base", "tuned"]


class FellBack(MeasurementError):
    """A fast scorer's self-test says that it is not exact for this model: lm-eval's HF model has to answer.

    Where the policy leaves the choice to ftgate, it is caught and the run begins again with the other scorer;
    with `texts`, with the other one for generated texts alone.
    """

    def __init__(self, scorer: str, model: str, reason: str, *, texts: bool = False) -> None:
        self.reason, self.texts = reason, texts
        hint = "`evaluation: {scorer: auto}` takes lm-eval's HF model where another one is not exact"
        what = f"the {scorer} scorer" if not texts else f"the {scorer} scorer's making of texts"
        super().__init__(f"{what} is not exact for {model}: {reason}", hint=hint)


class Scorer(Protocol):
    """One model, asked in one way."""

    @property
    def identity(self) -> Mapping[str, str]:
        """All of model, device, dtype and versions that changes a log-likelihood; needs no weights."""

    @property
    def generation(self) -> Mapping[str, str]:
        """What changes a generated text besides."""

    def score(self, requests: Sequence[Request]) -> list[Response]:
        """An answer to each request, in order. Raises OutOfMemory, MeasurementError and FellBack."""

    def score_groups(self, groups: Sequence[Sequence[Request]]) -> list[list[Response]]:
        """The same for several blocks: each one's answers are those that it would get alone."""
