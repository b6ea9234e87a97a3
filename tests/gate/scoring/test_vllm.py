"""`scorer: vllm`: what it needs, and that its log-probabilities are checked before they are believed.

vLLM itself is not run here: a class of its shape answers with a real small model.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest

from gate.errors import UsageError
from gate.records import Evaluation, ModelRef, Trust
from gate.scoring import FellBack, Way
from gate.scoring.settings import require_vllm, resolve
from gate.scoring.shelf import Shelf
from gate.scoring.vllm import vllm_model

VLLM = Way("vllm", 4)


@dataclass
class Served:
    """lm-eval's HF model in the clothes of its vLLM model; `off` nats are added to each score."""

    harness: Any
    off: float
    arguments: dict[str, Any]

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool) -> list[tuple[float, bool]]:
        found = self.harness._loglikelihood_tokens(requests, disable_tqdm=disable_tqdm)
        return [(score + self.off, greedy) for score, greedy in found]


def serving(base: ModelRef, off: float = 0.0) -> Any:
    """A maker of such models, around the base."""

    def make(**arguments: Any) -> Served:
        shelf = shelf_of(base)
        return Served(shelf.harness("base", 4), off, arguments)

    return make


def shelf_of(base: ModelRef, **changed: Any) -> Shelf:
    return Shelf(
        base, base, Evaluation(dtype="float32", device="cpu", scorer="vllm"), Trust(), None, **changed
    )


def test_it_has_to_be_installed() -> None:
    """Else the error says how."""

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    with pytest.raises(UsageError, match="vLLM is not installed") as caught:
        require_vllm(absent)
    assert "finetune-gate[vllm]" in caught.value.hint
    require_vllm(lambda name: "0.11")


def test_it_is_believed_where_its_scores_are_transformers(base: ModelRef) -> None:
    """The outcome is remembered, so that transformers need not load the model again."""
    believed: dict[str, str] = {}
    shelf = shelf_of(base, believed=believed)
    model = shelf.vllm("base", VLLM, serving(base))
    assert list(believed.values()) == [""]
    assert model.arguments["pretrained"] == base.path
    assert shelf.model is None
    assert shelf.vllm("base", VLLM) is model
    shelf.clear()
    assert not shelf.answering
    again = shelf_of(base, believed=believed)
    again.vllm("base", VLLM, serving(base, off=9.0))  # not asked a second time


def test_it_is_not_believed_where_they_differ(base: ModelRef) -> None:
    """A hundredth of a nat is too much in float32; the error says by how much, and what to do."""
    with pytest.raises(FellBack, match=r"through vLLM are off by 0.01 nats") as caught:
        shelf_of(base).vllm("base", VLLM, serving(base, off=0.01))
    assert "scorer: auto" in caught.value.hint


def test_adapters_and_quantised_models(base: ModelRef) -> None:
    """An adapter is served over its base; a quantised measurement is refused."""
    settings = resolve(base, Evaluation(device="cpu"), None)
    adapter = ModelRef("adapter", "/adapter", "sha256:a", kind="adapter")
    arguments = vllm_model(adapter, base, settings, False, dict)
    assert (arguments["pretrained"], arguments["lora_local_path"]) == (base.path, "/adapter")
    quantised = resolve(base, Evaluation(device="cpu", quantization="match_training"), 4)
    with pytest.raises(UsageError, match="does not measure in nf4"):
        vllm_model(base, base, quantised, False, dict)
