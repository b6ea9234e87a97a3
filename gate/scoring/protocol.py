"""What answers requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from gate.records import Request, Response

Side = Literal["base", "tuned"]


class Scorer(Protocol):
    """One model at one batch size."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything about model, device, dtype and versions that changes a score; needs no weights."""

    def score(self, requests: Sequence[Request]) -> list[Response]:
        """An answer to each request, in order. Raises OutOfMemory and MeasurementError."""
