"""lm-eval's own models, answering our requests; its HF model is the reference that every scorer must equal.

One deviation from lm-eval 0.4.13, on purpose: a rolling log-likelihood under a tokenizer that adds a
start token gets one start token, where lm-eval puts its prefix token before the tokenizer's own.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from transformers import LogitsProcessor, LogitsProcessorList

from gate.errors import GateError, MeasurementError, OutOfMemory
from gate.records import Request, Response
from gate.scoring.loading import Loaded, free
from gate.scoring.settings import Settings
from gate.scoring.tokenizing import check_start

SEED = 1234  # lm-eval's; set before each block, so that a sampled answer does not depend on the order


OVERFLOWS = "the model overflows in its dtype; try `evaluation: {dtype: float32}`"


class FiniteLogits(LogitsProcessor):
    """Changes no logits; raises MeasurementError where one is NaN or +inf, and a text would be arbitrary."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if not bool((scores < math.inf).all()):  # transformers itself sets forbidden tokens to -inf
            raise MeasurementError("a generated text rests on logits that are not finite", hint=OVERFLOWS)
        return scores


class HarnessModel(HFLM):  # type: ignore[misc]
    """HFLM without progress bars, and with no doubled start token."""

    _rolling = False

    def tok_encode(self, string: str, *args: Any, **kwargs: Any) -> list[int]:
        ids: list[int] = super().tok_encode(string, *args, **kwargs)
        if self._rolling and ids[:1] == [self.prefix_token_id]:
            return ids[1:]
        check_start(ids, self.tokenizer.bos_token_id, string)
        return ids

    def tok_batch_encode(self, strings: list[str], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        ids, mask = super().tok_batch_encode(strings, *args, **kwargs)
        for row, real, text in zip(ids, mask.bool(), strings, strict=True):
            check_start(row[real][:3].tolist(), self.tokenizer.bos_token_id, text)
        return ids, mask

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        self._rolling = True
        try:
            answers: list[float] = super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)
            return answers
        finally:
            self._rolling = False

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = True, **kwargs: Any) -> Any:
        return super()._loglikelihood_tokens(requests, disable_tqdm=True, **kwargs)

    def _model_generate(self, *args: Any, **kwargs: Any) -> Any:
        return super()._model_generate(
            *args, logits_processor=LogitsProcessorList([FiniteLogits()]), **kwargs
        )


def harness_model(loaded: Loaded, settings: Settings, batch_size: int) -> HarnessModel:
    """lm-eval's model around one in memory: fixed batch, fp32 log-softmax, start token as the tokenizer's."""
    logger = logging.getLogger("lm_eval.models.huggingface")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of a model in memory, which is what is meant
    try:
        return HarnessModel(
            pretrained=loaded.model,
            tokenizer=loaded.tokenizer,
            backend="causal",
            batch_size=batch_size,
            max_length=settings.max_length,
            softmax_dtype="float32",
        )
    finally:
        logger.setLevel(level)


def answer(model: LM, requests: Sequence[Request], device_name: str) -> list[Response]:
    """An answer to each request, in order.

    Raises OutOfMemory where a batch does not fit, and MeasurementError where a request cannot be scored or
    its score is not finite.
    """
    answers: dict[int, Response] = {}
    for kind, ask in _ASK.items():
        places = [place for place, request in enumerate(requests) if request.kind == kind]
        if places:
            with renamed(f"batches of {model.batch_size}", device_name, "lm-eval"):
                torch.manual_seed(SEED)
                found = ask(model, [_instance(requests[place]) for place in places])
            answers.update(zip(places, found, strict=True))
    for place, given in answers.items():
        if given.logprob is not None and not math.isfinite(given.logprob):
            raise MeasurementError(
                f"a log-likelihood is {given.logprob}: {requests[place].context[-60:]!r}",
                hint=OVERFLOWS,
            )
    return [answers[place] for place in range(len(requests))]


def _instance(request: Request) -> Instance:
    arguments: tuple[Any, ...] = {
        "loglikelihood": (request.context, request.continuation),
        "loglikelihood_rolling": (request.context,),
        "generate_until": (request.context, json.loads(request.generation or "{}")),
    }[request.kind]
    return Instance(request_type=request.kind, doc={}, arguments=arguments, idx=0)


def _loglikelihood(model: LM, instances: list[Instance]) -> list[Response]:
    pairs = model.loglikelihood(instances, disable_tqdm=True)
    return [Response(logprob=logprob, greedy=greedy) for logprob, greedy in pairs]


def _rolling(model: LM, instances: list[Instance]) -> list[Response]:
    return [Response(logprob=each) for each in model.loglikelihood_rolling(instances, disable_tqdm=True)]


def _generate(model: LM, instances: list[Instance]) -> list[Response]:
    return [Response(text=text) for text in model.generate_until(instances, disable_tqdm=True)]


_ASK: dict[str, Callable[[LM, list[Instance]], list[Response]]] = {
    "loglikelihood": _loglikelihood,
    "loglikelihood_rolling": _rolling,
    "generate_until": _generate,
}


@contextmanager
def renamed(sizes: str, device_name: str, who: str) -> Iterator[None]:
    """Our errors for torch's and those of `who` scores; `sizes` says how much at a time."""
    try:
        yield
    except (GateError, KeyboardInterrupt):
        raise
    except Exception as error:  # lm-eval asserts, and each architecture raises its own
        if is_out_of_memory(error):
            error.__traceback__ = None  # its frames hold the tensors that did not fit
            free()
            raise OutOfMemory(
                f"scoring in {sizes} does not fit into the memory of {device_name}",
                hint="lower `evaluation: {batch_size: ...}`",
            ) from error
        raise MeasurementError(f"{who} could not score a request: {type(error).__name__}: {error}") from error


def is_out_of_memory(error: Exception) -> bool:
    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in told or "out of memory" in told)
    )
