"""Base and tuned model of one run: what they are, and answers from them, loaded as late as possible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from gate.errors import MeasurementError, ModelError
from gate.models import digest_model, has_tokenizer
from gate.records import Evaluation, ModelRef, Request, Response, Trust
from gate.scoring import settings as settings_room
from gate.scoring.chat import ChatTemplate, chat_template
from gate.scoring.protocol import Scorer, Side
from gate.scoring.settings import Settings
from gate.scoring.tokenizing import check_same_ids, check_same_reading, load_tokenizer, same_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from gate.scoring.hf import HarnessModel
    from gate.scoring.loading import Loaded


class ModelSession:
    """Both models of a run, one in memory at a time: score the base first, then the tuned model.

    The base stays in memory for an adapter that is put on it. Going back to the base loads it anew, so
    that it is never measured through an adapter. Nothing is loaded until a request has to be answered.
    """

    def __init__(
        self,
        base: ModelRef,
        tuned: ModelRef,
        evaluation: Evaluation,
        trust: Trust,
        training_bits: int | None = None,
    ) -> None:
        self.base, self.tuned = base, tuned
        self.batch_size = evaluation.batch_size
        self._shelf = Shelf(base, tuned, evaluation, trust, training_bits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shelf.clear()

    @property
    def settings(self) -> Settings:
        """Device, dtype, quantisation and length, the same for both models."""
        return self._shelf.settings

    @property
    def loaded(self) -> Side | None:
        """Which model is in memory now."""
        return self._shelf.side

    def with_batch_size(self, batch_size: int) -> ModelSession:
        """The same session, and the same models in memory, asked in batches of another size."""
        other = object.__new__(ModelSession)
        other.base, other.tuned, other.batch_size = self.base, self.tuned, batch_size
        other._shelf = self._shelf
        return other

    def scorer(self, side: Side) -> Scorer:
        """Answers of one of the models; loads it at the first request."""
        return HarnessScorer(self._shelf, side, self.batch_size)

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


@dataclass
class Shelf:
    """The place in memory for one model, and both tokenizers."""

    base: ModelRef
    tuned: ModelRef
    evaluation: Evaluation
    trust: Trust
    training_bits: int | None
    side: Side | None = None
    model: Any = None
    tokenizers: dict[Side, PreTrainedTokenizerBase] = field(default_factory=dict)
    harnesses: dict[int, HarnessModel] = field(default_factory=dict)  # by batch size, around `model`

    @cached_property
    def settings(self) -> Settings:
        """Resolved once: they look at files and devices."""
        return settings_room.resolve(self.base, self.evaluation, self.training_bits)

    def ref(self, side: Side) -> ModelRef:
        """Which model folder stands behind a side."""
        return self.base if side == "base" else self.tuned

    def leans_on_base(self, side: Side) -> bool:
        """Whether the tuned folder needs the base's weights or tokenizer to be a model."""
        return side == "tuned" and (self.tuned.kind == "adapter" or not has_tokenizer(Path(self.tuned.path)))

    def tokenizer(self, side: Side) -> PreTrainedTokenizerBase:
        """The tokenizer that a side is served with. Raises ModelError where the base's ids changed."""
        if side not in self.tokenizers:
            loaded = load_tokenizer(self.ref(side), self.base, self.trust.remote_code)
            if side == "tuned":
                check_same_ids(self.tokenizer("base"), loaded, self.tuned.name)
            self.tokenizers[side] = loaded
        return self.tokenizers[side]

    def take(self, side: Side) -> Loaded:
        """The model of a side, in memory. The other one has to go, unless it is the adapter's base."""
        from gate.scoring import loading

        tokenizer = self.tokenizer(side)
        if self.side != side:
            if self.side != "base" or self.tuned.kind == "full":
                self.clear()
            self.harnesses.clear()
            self.model = self._load(side)
            self.side = side
        if side == "base":
            loading.require_bare(self.model)
        else:
            loading.check_rows(self.model, tokenizer, self.tuned.name)
        return loading.Loaded(self.model, tokenizer)

    def harness(self, side: Side, batch_size: int) -> HarnessModel:
        """lm-eval's model around the one of a side."""
        from gate.scoring import hf

        loaded = self.take(side)
        if batch_size not in self.harnesses:
            self.harnesses[batch_size] = hf.harness_model(loaded, self.settings, batch_size)
        return self.harnesses[batch_size]

    def _load(self, side: Side) -> Any:
        from gate.scoring import loading

        code = self.trust.remote_code
        if side == "tuned" and self.tuned.kind == "adapter":
            base, self.model, self.side = self.model, None, None
            bare = base if base is not None else loading.load_full(self.base, self.settings, code)
            require_unchanged(self.base)
            model = loading.put_adapter_on(bare, self.tuned)
        else:
            model = loading.load_full(self.ref(side), self.settings, code)
        require_unchanged(self.ref(side))
        return model

    def clear(self) -> None:
        """Take the model out of memory."""
        if self.model is not None:
            from gate.scoring import loading

            self.model, self.side = None, None
            self.harnesses.clear()
            loading.free()


def require_unchanged(model: ModelRef) -> None:
    """Raises MeasurementError where a model's files are no longer those that its digest stands for.

    Answers are stored under that digest: those of other files would be found again in later runs.
    """
    if digest_model(Path(model.path)) != model.digest:
        raise MeasurementError(
            f"the files of {model.name} changed while the run was going on",
            hint="run again once nothing writes to that folder any more",
        )


@dataclass(frozen=True, slots=True)
class HarnessScorer:
    """A `Scorer` by lm-eval's HF model."""

    shelf: Shelf
    side: Side
    batch_size: int

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything that changes a score; computed from files, without weights."""
        base = self.shelf.base if self.shelf.leans_on_base(self.side) else None
        return settings_room.identity(self.shelf.ref(self.side), base, self.shelf.settings, self.batch_size)

    def score(self, requests: Sequence[Request]) -> list[Response]:
        """An answer to each request, in order. Raises ModelError, OutOfMemory and MeasurementError."""
        from gate.scoring import hf

        model = self.shelf.harness(self.side, self.batch_size)
        return hf.answer(model, requests, self.shelf.settings.device_name)
