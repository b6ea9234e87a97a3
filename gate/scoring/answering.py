"""Requests of all kinds, in groups, answered by one model: log-likelihoods by prefix trees, texts by rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from gate.errors import MeasurementError
from gate.records import Request, Response
from gate.scoring.company import Company, look
from gate.scoring.engine import TreeEngine, shape_for
from gate.scoring.forward import bare_model
from gate.scoring.generating import Generator, generate
from gate.scoring.hf import OVERFLOWS, answer, renamed
from gate.scoring.readings import Reader, Reading
from gate.scoring.rowtest import choose_rows
from gate.scoring.selftest import choose, fastest_on_cpu

if TYPE_CHECKING:
    from gate.scoring.hf import HarnessModel
    from gate.scoring.loading import Loaded
    from gate.scoring.way import Way


@dataclass(frozen=True, slots=True)
class TreeModel:
    """One model's answers. `harness` is lm-eval's model around the same one, for texts that need it."""

    engine: TreeEngine
    generator: Callable[[], Generator | None]  # looked for when the first text is asked for
    reader: Reader
    harness: Callable[[], HarnessModel]
    way: Way
    device_name: str
    used: list[Generator] = field(default_factory=list)  # the one that has made texts, if any has

    def release(self) -> None:
        """Give back the memory that is kept for the next texts."""
        for each in self.used:
            each.release()

    def company(self) -> Company:
        """Whether other blocks beside one move its scores here. Raises OutOfMemory."""
        with renamed(self.way.sizes, self.device_name, "the self-test"):
            return look(self.engine)

    def answer(self, groups: Sequence[Sequence[Request]]) -> list[list[Response]]:
        """An answer to each request, in order; no group changes another's answers.

        Raises OutOfMemory where a pack does not fit, and MeasurementError where a request cannot be scored
        or its score is not finite.
        """
        found = iter(self._scored(groups))
        texts = iter(self._generated(groups))
        return [
            [next(texts) if request.kind == "generate_until" else next(found) for request in group]
            for group in groups
        ]

    def _scored(self, groups: Sequence[Sequence[Request]]) -> list[Response]:
        asked = [[each for each in group if each.kind != "generate_until"] for group in groups]
        if not any(asked):
            return []
        of_group: list[list[tuple[Reading, ...]]] = []

        def readings() -> Iterator[list[Reading]]:
            """Each group's when the engine asks for it: on a GPU, while that computes the one before."""
            for group in asked:
                of_group.append(self.reader.read(group))
                yield [one for each in of_group[-1] for one in each]

        self.release()
        with renamed(self.way.sizes, self.device_name, "the tree scorer"):
            scores = self.engine.loglikelihoods(readings())
        found = []
        for group, parts, scored in zip(asked, of_group, scores, strict=True):
            each = iter(scored)
            found += [_response(request, part, each) for request, part in zip(group, parts, strict=True)]
        return found

    def _generated(self, groups: Sequence[Sequence[Request]]) -> list[Response]:
        asked = [[each for each in group if each.kind == "generate_until"] for group in groups]
        if not any(asked):
            return []
        texts = self.texts([request for group in asked for request in group])
        found: list[Response] = []
        for group in asked:
            made, texts = texts[: len(group)], texts[len(group) :]
            left = [request for request, text in zip(group, made, strict=True) if text is None]
            others = iter(answer(self.harness(), left, self.device_name) if left else [])
            found += [next(others) if text is None else Response(text=text) for text in made]
        return found

    def texts(self, requests: Sequence[Request]) -> list[str | None]:
        """Generated texts, whatever their groups; None where lm-eval's model has to make one."""
        with renamed(f"{self.way.rows} rows", self.device_name, "the tree scorer"):
            generator = self.generator() if self.way.rows else None
            if generator is None:
                return [None] * len(requests)
            self.used[:] = [generator]
            return generate(generator, self.harness(), requests)


def generator_of(loaded: Loaded, way: Way) -> tuple[Generator | None, str]:
    """What makes texts by rows, and what its self-test said; None where a model cannot be decoded so."""
    places = getattr(loaded.model, "hf_device_map", None) or {}
    if len(set(places.values())) > 1:
        return None, "the model lies on several devices"
    return choose_rows(loaded.model, lambda tokens: str(loaded.tokenizer.decode(tokens)), way.rows)


def _response(request: Request, parts: Sequence[Reading], scores: Any) -> Response:
    own = [next(scores) for _ in parts]
    logprob = math.fsum(score for score, _ in own)
    if not math.isfinite(logprob):
        raise MeasurementError(f"a log-likelihood is {logprob}: {request.context[-60:]!r}", hint=OVERFLOWS)
    return Response(logprob, own[0][1] if request.kind == "loglikelihood" else None)


def believed_engine(model: Any, limit: int) -> TreeEngine:
    """The fastest kind on a CPU, of which a self-test said before that it is exact."""
    kind = fastest_on_cpu(bare_model(model))
    return TreeEngine(model, shape_for(model.device, limit, kind), kind)


def tree_model(
    loaded: Loaded,
    way: Way,
    device_name: str,
    known: str | None,
    reader: Reader,
    harness: Callable[[], HarnessModel],
    refuse: Callable[[str], None],
) -> tuple[TreeModel | None, str]:
    """The tree scorer around a model in memory, if a self-test finds it exact, else None; what the test said.

    That is why it is not exact, or why not the fastest kind of it, or "". `known` is what a self-test said
    before of the same model here, None where there was none: on a CPU the fastest kind is then believed.
    `refuse` is told, when a first text is asked for, why none can be made by rows, if that is so.
    """
    if known is not None and loaded.model.device.type == "cpu":
        engine, reason = None if known else believed_engine(loaded.model, way.pack), known
    else:
        with renamed(way.sizes, device_name, "the self-test"):
            engine, reason = choose(loaded.model, way.pack)
    if engine is None:
        return None, reason

    @cache
    def generator() -> Generator | None:
        found, said = generator_of(loaded, way)
        if found is None:
            refuse(said)
        return found

    return TreeModel(engine, generator, reader, harness, way, device_name), reason
