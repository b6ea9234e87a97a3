"""`ftgate`, a model class of lm-eval: its HF model, with prefix trees where they are exact.

`simple_evaluate(model="ftgate", model_args="pretrained=...,dtype=float32,peft=...")` takes what `hf` takes.
The log-softmax is fp32; a batch size is that of what lm-eval's own code still answers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from lm_eval.api.instance import Instance

from gate.errors import OutOfMemory
from gate.records import Request, Response
from gate.scoring.answering import TreeModel, tree_model
from gate.scoring.hf import HarnessModel
from gate.scoring.loading import Loaded
from gate.scoring.readings import reader
from gate.scoring.settings import CPU_PACK, CPU_ROWS, GPU_ROWS
from gate.scoring.way import PACKS, Way

TOGETHER = 512  # requests whose prefixes are looked for among each other

logger = logging.getLogger("lm_eval.ftgate")


class TreeLM(HarnessModel):
    """lm-eval's HF model whose log-likelihoods and greedy texts come from the tree scorer if it is exact."""

    def __init__(self, *args: Any, softmax_dtype: str | None = "float32", **kwargs: Any) -> None:
        super().__init__(*args, softmax_dtype=softmax_dtype, **kwargs)
        on_gpu = self.device.type == "cuda"
        pack, rows = (PACKS[0], GPU_ROWS) if on_gpu else (CPU_PACK, CPU_ROWS)
        batch = self.batch_size if isinstance(self.batch_size, int) else 1
        self._way = Way("tree", batch, pack, rows)

    @cached_property
    def _tree(self) -> TreeModel | None:
        """None, with a line in the log, where lm-eval's own code has to answer."""
        return self._made(None)

    def _made(self, known: str | None) -> TreeModel | None:
        read = reader(self.tokenizer, self.max_length, self.add_bos_token, self.custom_prefix_token_id)
        loaded = Loaded(self.model, self.tokenizer)
        found, reason = tree_model(
            loaded, self._way, str(self.device), known, read, lambda: self, logger.warning
        )
        if found is None:
            logger.warning("lm-eval's HF model answers: the tree scorer is not exact here: %s", reason)
        return found

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(log-probability in nats, whether it is the greedy one) of each continuation after its context."""
        found = self._ask(requests, "loglikelihood")
        if found is None:
            answers: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
            return answers
        pairs = [(each.logprob or 0.0, bool(each.greedy)) for each in found]
        self._remember("loglikelihood", requests, pairs)
        return pairs

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Log-probability in nats of each whole text."""
        found = self._ask(requests, "loglikelihood_rolling")
        if found is None:
            return super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)
        sums = [each.logprob or 0.0 for each in found]
        self._remember("loglikelihood_rolling", requests, sums)
        return sums

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The text of each request; what asks for more than greedy decoding is lm-eval's."""
        tree = self._tree
        texts: list[str | None] = [None] * len(requests)
        if tree is not None:
            asked = [
                Request("generate_until", each.args[0], generation=json.dumps(each.args[1]))
                for each in requests
            ]
            texts = tree.texts(asked)
        left = [each for each, text in zip(requests, texts, strict=True) if text is None]
        others = iter(super().generate_until(left, disable_tqdm=disable_tqdm) if left else [])
        for instance, text in zip(requests, texts, strict=True):
            if text is not None:
                self.cache_hook.add_partial("generate_until", instance.args, text)
        return [next(others) if text is None else text for text in texts]

    def _ask(self, instances: Sequence[Instance], kind: Any) -> list[Response] | None:
        requests = [Request(kind, *instance.args[:2]) for instance in instances]
        groups = [requests[start : start + TOGETHER] for start in range(0, len(requests), TOGETHER)]
        while self._tree is not None:
            try:
                return [answer for group in self._tree.answer(groups) for answer in group]
            except OutOfMemory:
                smaller = self._way.smaller()
                if smaller is None or smaller.pack == self._way.pack:
                    raise
                logger.warning("out of memory: %s", smaller.sizes)
                self._way = smaller
                self.__dict__["_tree"] = self._made("")
        return None

    def _remember(self, kind: str, requests: Sequence[Instance], answers: Sequence[Any]) -> None:
        for instance, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial(kind, instance.args, answer)
