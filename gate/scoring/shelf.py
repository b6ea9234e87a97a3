"""The place in memory for the model that answers: base, tuned model, adapter on the base that lies there."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.errors import MeasurementError
from gate.models import digest_model, has_tokenizer
from gate.records import Evaluation, ModelRef, Trust
from gate.scoring import settings as settings_room
from gate.scoring.protocol import FellBack, Side
from gate.scoring.settings import Settings
from gate.scoring.tokenizing import check_same_ids, load_tokenizer
from gate.scoring.way import Way

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from gate.scoring.answering import TreeModel
    from gate.scoring.company import Company
    from gate.scoring.hf import HarnessModel
    from gate.scoring.loading import Loaded
    from gate.scoring.vllm import Make


@dataclass
class Shelf:
    """One model in memory, what answers around it, and both tokenizers.

    An adapter is put on the base that lies there and taken off again. The base is then what it was: its
    layers are bare and its logits equal, to the bit, those from before; else it is loaded anew.
    """

    base: ModelRef
    tuned: ModelRef
    evaluation: Evaluation
    trust: Trust
    training_bits: int | None
    believed: MutableMapping[str, str] = field(
        default_factory=dict
    )  # self-tests: "" for exact, or the reason
    slower: dict[Side, list[str]] = field(default_factory=dict)  # why not the fastest kind of the tree scorer
    company: dict[Side, Company] = field(default_factory=dict)  # whether other blocks moved scores here
    side: Side | None = None
    model: Any = None
    served: Side | None = None  # by vLLM, which holds its model itself
    tokenizers: dict[Side, PreTrainedTokenizerBase] = field(default_factory=dict)
    answering: dict[Way, Any] = field(default_factory=dict)  # what answers, around `model`
    _before: Any = None  # the bare base's logits, from before the adapter that is on it

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

    def identity(self, side: Side, way: Way) -> dict[str, str]:
        """Everything that changes a log-likelihood; computed from files, without weights."""
        base = self.base if self.leans_on_base(side) else None
        return dict(settings_room.identity(self.ref(side), base, self.settings, way))

    def tokenizer(self, side: Side) -> PreTrainedTokenizerBase:
        """The tokenizer that a side is served with. Raises ModelError where the base's ids changed."""
        if side not in self.tokenizers:
            loaded = load_tokenizer(self.ref(side), self.base, self.trust.remote_code)
            if side == "tuned":
                check_same_ids(self.tokenizer("base"), loaded, self.tuned.name)
            self.tokenizers[side] = loaded
        return self.tokenizers[side]

    def take(self, side: Side) -> Loaded:
        """The model of a side, in memory."""
        from gate.scoring import loading

        tokenizer = self.tokenizer(side)
        if self.side != side:
            self._change_to(side)
        if side == "base":
            loading.require_bare(self.model)
        else:
            loading.check_rows(self.model, tokenizer, self.tuned.name)
        return loading.Loaded(self.model, tokenizer)

    def harness(self, side: Side, batch_size: int) -> HarnessModel:
        """lm-eval's model around the one of a side."""
        from gate.scoring import hf

        loaded, way = self.take(side), Way("hf", batch_size)
        if way not in self.answering:
            self.answering[way] = hf.harness_model(loaded, self.settings, batch_size)
        model: HarnessModel = self.answering[way]
        return model

    def tree(self, side: Side, way: Way) -> TreeModel:
        """The tree scorer around the model of a side. Raises FellBack where it is not exact for that."""
        from gate.scoring.answering import tree_model
        from gate.scoring.readings import reader

        loaded = self.take(side)
        if way not in self.answering:
            key = settings_room.self_test_key(self.identity(side, way))
            name, known = self.settings.device_name, self.believed.get(key)
            length = self.settings.max_length or self.harness(side, way.batch).max_length
            read = reader(loaded.tokenizer, length)
            found, reason = tree_model(
                loaded,
                way,
                name,
                known,
                read,
                lambda: self.harness(side, way.batch),
                partial(self._refuse, side, way),
            )
            if known is None and not (found and reason):  # "" stands for the fastest kind
                self.believed[key] = reason
            if found is None:
                raise FellBack("tree", self.ref(side).name, reason)
            if reason:
                self._note(side, f"not by the fastest kind: {reason}")
            self.company[side] = found.company()
            self.answering[way] = found
        model: TreeModel = self.answering[way]
        return model

    def _note(self, side: Side, reason: str) -> None:
        told = self.slower.setdefault(side, [])
        if reason not in told:
            told.append(reason)

    def texts_key(self, side: Side, way: Way) -> str:
        """Under which it is remembered whether a side's texts can be made by rows."""
        return settings_room.self_test_key({**self.identity(side, way), "texts": "rows"})

    def _refuse(self, side: Side, way: Way, reason: str) -> None:
        self.believed[self.texts_key(side, way)] = reason
        raise FellBack("tree", self.ref(side).name, reason, texts=True)

    def vllm(self, side: Side, way: Way, make: Make | None = None) -> Any:
        """lm-eval's vLLM model of a side, in the place of any other. Raises FellBack if it is not exact.

        Two copies of a model do not fit: transformers scores the self-test first, and leaves.
        """
        from gate.scoring import vllm
        from gate.scoring.selftest import reference

        if self.side is None and self.served == side and way in self.answering:
            return self.answering[way]
        key = settings_room.self_test_key(self.identity(side, way))
        wanted = None if self.believed.get(key) == "" else reference(self.take(side).model)
        self.clear()
        model = vllm.vllm_model(self.ref(side), self.base, self.settings, self.trust.remote_code, make)
        if wanted is not None:
            self.believed[key] = vllm.reason_against(model, wanted)
            if self.believed[key]:
                raise FellBack("vLLM", self.ref(side).name, self.believed[key])
        require_unchanged(self.ref(side))
        self.answering[way], self.served = model, side
        return model

    def _change_to(self, side: Side) -> None:
        from gate.scoring import loading

        adapter = self.tuned.kind == "adapter"
        bare = self._bare_base() if adapter else None
        self.clear()
        if bare is None:
            wanted = self.base if adapter else self.ref(side)
            bare = loading.load_full(wanted, self.settings, self.trust.remote_code)
            require_unchanged(wanted)
        if side == "tuned" and adapter:
            self._before = loading.probe(bare)
            self.model = loading.put_adapter_on(bare, self.tuned)
            require_unchanged(self.tuned)
        else:
            self.model = bare
        self.side = side

    def _bare_base(self) -> Any:
        """The base in memory, an adapter taken off it; None where none is there that is what it was."""
        from gate.scoring import loading

        if self.side != "tuned":
            return self.model
        bare = loading.take_adapter_off(self.model)
        same = bare is not None and loading.same_logits(self._before, loading.probe(bare))
        return bare if same else None

    def clear(self) -> None:
        """Take the model out of memory."""
        if self.model is not None or self.answering:
            from gate.scoring import loading

            self.model, self.side, self.served, self._before = None, None, None, None
            self.answering.clear()
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
