"""vLLM through lm-eval's own class, believed only once its log-probabilities are those of transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gate.errors import UsageError
from gate.records import ModelRef
from gate.scoring.forward import Unsound
from gate.scoring.selftest import Reference
from gate.scoring.settings import Settings

Make = Callable[..., Any]


def lm_eval_class() -> Make:
    """lm-eval's class, whose import needs vLLM."""
    from lm_eval.models.vllm_causallms import VLLM

    made: Make = VLLM
    return made


def vllm_model(
    model: ModelRef, base: ModelRef, settings: Settings, remote_code: bool, make: Make | None = None
) -> Any:
    """lm-eval's vLLM model of a folder; an adapter over its base. `make` is lm-eval's class.

    Raises UsageError for a quantised measurement, which vLLM does in other ways than training.
    """
    if settings.quantization != "none":
        raise UsageError(
            f"evaluation: {{scorer: vllm}}: it does not measure in {settings.quantization}",
            hint="`quantization: none`, or another scorer",
        )
    adapter = {"lora_local_path": model.path} if model.kind == "adapter" else {}
    return (make or lm_eval_class())(
        pretrained=base.path if adapter else model.path,
        dtype=settings.dtype,
        max_model_len=settings.max_length,
        trust_remote_code=remote_code,
        **adapter,
    )


def reason_against(model: Any, wanted: Reference) -> str:
    """ "" where a vLLM model gives the log-probabilities that transformers gave, else how it differs."""
    asked = [
        (("", ""), each.tokens[: each.start].tolist(), each.tokens[each.start :].tolist())
        for each in wanted.readings
    ]
    found: Sequence[tuple[float, bool]] = model._loglikelihood_tokens(asked, disable_tqdm=True)
    try:
        wanted.check([score for score, _ in found], "through vLLM")
    except Unsound as unsound:
        return str(unsound)
    return ""
