"""Base and tuned model of one run: what they are, and answers from them, loaded as late as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Literal, Self

from gate.errors import ModelError
from gate.records import Evaluation, ModelRef, Request, Response, Trust
from gate.scoring import settings as settings_room
from gate.scoring.chat import ChatTemplate, chat_template
from gate.scoring.protocol import FellBack, Scorer, Side
from gate.scoring.settings import Settings
from gate.scoring.shelf import Shelf
from gate.scoring.team import Ask, Groups, Models, Team
from gate.scoring.tokenizing import check_same_reading, same_files
from gate.scoring.way import Way

SIDES: tuple[Side, Side] = ("base", "tuned")


class ModelSession:
    """Both models of a run, one in memory at a time: score the base first, then the tuned model.

    The base stays in memory for an adapter that is put on it, and the adapter is taken off again. Nothing is
    loaded until a request has to be answered. `believed` remembers self-tests, here or beyond this run; a
    `team` of processes shares the blocks.
    """

    def __init__(
        self,
        base: ModelRef,
        tuned: ModelRef,
        evaluation: Evaluation,
        trust: Trust,
        training_bits: int | None = None,
        believed: MutableMapping[str, str] | None = None,
        team: Team | None = None,
    ) -> None:
        self.base, self.tuned, self.evaluation = base, tuned, evaluation
        self._shelf = Shelf(
            base, tuned, evaluation, trust, training_bits, {} if believed is None else believed
        )
        self._fallen: str | None = None
        self._texts: str | None = None
        self._team = team

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shelf.clear()
        if self._team is not None and error is None:
            self._team.forget()

    @property
    def processes(self) -> int:
        """How many share the blocks; one where a model lies on all devices."""
        return 1 if self._team is None or self.settings.spread > 1 else self._team.size

    @property
    def settings(self) -> Settings:
        """Device, dtype, quantisation and length, the same for both models."""
        return self._shelf.settings

    @property
    def loaded(self) -> Side | None:
        """Which model is in memory now."""
        return self._shelf.side

    @property
    def way(self) -> Way:
        """How both models are asked, before memory says otherwise.

        Raises FellBack where `scorer: tree` is asked for and a remembered self-test speaks against it, and
        UsageError where vLLM is asked for and not installed.
        """
        first = settings_room.first_way(self.base, self.evaluation, self.settings)
        self._recall(first)
        if first.scorer == "hf" or self._fallen is not None:
            return Way("hf", first.batch)
        return first if self._texts is None else replace(first, rows=0)

    @property
    def note(self) -> str:
        """One line on why not the fastest scorer answers; "" where it does."""
        told = dict.fromkeys(reason for reasons in self._shelf.slower.values() for reason in reasons)
        return self._fallen or "; ".join([*told, *([self._texts] if self._texts else [])])

    @property
    def company(self) -> str:
        """One line on how many scores other blocks beside a block moved; "" where nobody looked, and on a CPU
        where none was, as promised."""
        seen = self._shelf.company.values() if self._fallen is None else ()
        worst = max(seen, key=lambda each: (each.differ, each.apart), default=None)
        hidden = worst is None or (self.settings.device == "cpu" and not worst.differ)
        return "" if hidden else str(worst)

    def _recall(self, first: Way) -> None:
        """What earlier self-tests said of these models, asked in this way."""
        if first.scorer != "tree" or self._fallen is not None:
            return
        for side in SIDES:
            key, name = (
                settings_room.self_test_key(self._shelf.identity(side, first)),
                self._shelf.ref(side).name,
            )
            if reason := self._shelf.believed.get(key):
                self.fall_back(FellBack("tree", name, reason))
            if reason := self._shelf.believed.get(self._shelf.texts_key(side, first)):
                self.fall_back(FellBack("tree", name, reason, texts=True))

    def fall_back(self, error: FellBack) -> None:
        """lm-eval's HF model answers from now on, for both, or makes the texts that the tree cannot make.

        Raises `error` if the policy names a scorer that is not exact.
        """
        if error.texts:
            self._texts = error.message
        elif self.evaluation.scorer != "auto":
            raise error
        else:
            self._fallen = error.message
        self._shelf.answering.clear()

    def scorer(self, side: Side, way: Way | None = None) -> Scorer:
        """Answers of one of the models; loads it at the first request."""
        shared = None
        if self._team is not None and self.processes > 1:
            models = Models(
                self.base,
                self.tuned,
                self.evaluation,
                self._shelf.trust,
                self._shelf.training_bits,
                self.settings.device_name,
            )
            shared = partial(self._team.score, models)
        return ModelScorer(self._shelf, side, way or self.way, shared)

    def chat_template(self, side: Side) -> ChatTemplate | None:
        """The model's own chat template; None where it has none."""
        return chat_template(self._shelf.tokenizer(side), side)

    def chat_template_for(
        self, choice: Literal["auto", "none", "base", "tuned"] | str
    ) -> ChatTemplate | None:
        """The template that a task's `chat_template` means: `auto` is the base's own, or none.

        Raises ModelError where a template is asked for by name that its model does not have.
        """
        if choice == "none":
            return None
        side: Side = "tuned" if choice == "tuned" else "base"
        found = self.chat_template(side)
        if found is None and choice != "auto":
            raise ModelError(
                f"the {side} model has no chat template, which `chat_template: {choice}` asks for",
                hint="say `chat_template: none`, or save the template with the tokenizer",
            )
        return found

    def check_like_for_like(self, requests: Iterable[Request]) -> None:
        """Raises NotLikeForLike where base and tuned model read a request's text as other tokens."""
        if not same_files(self.base, self.tuned):
            texts = (request.context + request.continuation for request in requests)
            check_same_reading(self._shelf.tokenizer("base"), self._shelf.tokenizer("tuned"), texts)


@dataclass(frozen=True, slots=True)
class ModelScorer:
    """A `Scorer` by one model of a shelf."""

    shelf: Shelf
    side: Side
    way: Way
    shared: Callable[[Side, Way, Groups, Ask], list[list[Response]]] | None = None

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything that changes a log-likelihood; computed from files, without weights."""
        return self.shelf.identity(self.side, self.way)

    @property
    def generation(self) -> Mapping[str, str]:
        """What changes a text besides: rows, and the batch of the texts that the tree leaves to lm-eval's."""
        if self.way.scorer != "tree":
            return {}
        return {"rows": str(self.way.rows), "generation_batch": str(self.way.batch)}

    def score(self, requests: Sequence[Request]) -> list[Response]:
        """An answer to each request, in order. Raises ModelError, OutOfMemory, MeasurementError, FellBack."""
        return self.score_groups([requests])[0]

    def score_groups(self, groups: Sequence[Sequence[Request]]) -> list[list[Response]]:
        """The same for several blocks, none of which changes another's answers."""
        if self.shared is not None:
            return self.shared(self.side, self.way, groups, self._own)
        return self._own(groups)

    def _own(self, groups: Groups) -> list[list[Response]]:
        from gate.scoring import hf

        if self.way.scorer == "tree":
            return self.shelf.tree(self.side, self.way).answer(groups)
        if self.way.scorer == "vllm":
            model = self.shelf.vllm(self.side, self.way)
        else:
            model = self.shelf.harness(self.side, self.way.batch)
        return [hf.answer(model, group, self.shelf.settings.device_name) for group in groups]
