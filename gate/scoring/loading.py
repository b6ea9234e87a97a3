"""Models from files: base, full tuned model, an adapter put on its base and taken off again."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from gate.errors import InfrastructureError, MeasurementError, ModelError
from gate.models import tensor_shapes
from gate.records import ModelRef
from gate.scoring.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to answer, with its tokenizer."""

    model: Any
    tokenizer: PreTrainedTokenizerBase


def load_full(ref: ModelRef, settings: Settings, remote_code: bool) -> Any:
    """A model of safetensors alone, on the device, in the dtype and quantisation of `settings`.

    Raises ModelError where it cannot be loaded or weights are missing (transformers would make them up
    at random), InfrastructureError where it does not fit into memory.
    """
    bars: Any = transformers_logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            ref.path,
            dtype=getattr(torch, settings.dtype),
            device_map={"": settings.device} if settings.spread == 1 else "balanced",
            quantization_config=quantization_config(settings),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=remote_code,
            output_loading_info=True,
        )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise InfrastructureError(
            f"{ref.name} does not fit into the memory of {settings.device_name}",
            hint="measure on a larger device, or set `evaluation: {quantization: match_training}`",
        ) from error
    except Exception as error:  # each architecture raises its own on files that do not suit it
        raise ModelError(f"{ref.name} cannot be loaded: {error}", hint="try it with transformers") from error
    finally:
        if shown:
            bars.enable_progress_bar()
    model, info = loaded
    missing = sorted(info["missing_keys"])
    if missing or info["mismatched_keys"]:
        raise ModelError(
            f"{ref.name} lacks weights: {(missing or sorted(info['mismatched_keys']))[0]}",
            hint="the model was not saved completely; save or fetch it again",
        )
    return model.eval()


def quantization_config(settings: Settings) -> Any:
    """bitsandbytes as TRL sets it for QLoRA (NF4, one level, computing in the model's dtype); or None."""
    if settings.quantization == "none":
        return None
    from transformers import BitsAndBytesConfig

    make: Any = BitsAndBytesConfig
    if settings.quantization == "int8":
        return make(load_in_8bit=True)
    return make(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=getattr(torch, settings.dtype),
    )


def put_adapter_on(base: Any, adapter: ModelRef) -> Any:
    """`base` with the adapter applied, as peft serves it. `base` itself is changed by this.

    Raises ModelError where the adapter's weights do not all find their place.
    """
    from peft import PeftModel, get_peft_model_state_dict

    require_bare(base)
    saved = tensor_shapes(Path(adapter.path))
    _grow_embeddings(base, saved)
    try:
        model = PeftModel.from_pretrained(base, adapter.path, is_trainable=False)
    except Exception as error:  # peft and torch raise their own on an adapter that does not fit
        raise ModelError(f"{adapter.name} cannot be put on its base: {error}") from error
    placed = get_peft_model_state_dict(model, save_embedding_layers=False)
    unmatched = sorted({name for name in {*placed} ^ {*saved} if ".lora_" in name})
    if unmatched:
        raise ModelError(
            f"{adapter.name} does not fit its base: {unmatched[0]} is on one side only",
            hint="it was tuned from another base; name that one",
        )
    return model.eval()


def take_adapter_off(wrapped: Any) -> Any:
    """The bare base under an adapter, its own layers back in place; None where peft leaves any of its own."""
    bare = wrapped.unload()
    if hasattr(bare, "peft_config"):
        del bare.peft_config
    try:
        require_bare(bare)
    except MeasurementError:
        return None
    return bare.eval()


PROBED = 24  # tokens


@torch.no_grad()
def probe(model: Any) -> torch.Tensor:
    """Logits of a few fixed tokens, [PROBED, vocabulary], on the CPU: do they stay, the weights did."""
    rows = model.get_input_embeddings().weight.shape[0]
    device = model.get_input_embeddings().weight.device
    tokens = torch.arange(PROBED, device=device) * 7919 % rows
    found: torch.Tensor = model(input_ids=tokens[None], use_cache=False).logits[0].cpu()
    return found


def same_logits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal to the bit."""
    return one.shape == other.shape and torch.equal(one, other)


def _grow_embeddings(base: Any, saved: dict[str, tuple[int, ...]]) -> None:
    """Give the base the rows that an adapter with appended tokens saved, before its weights are put there."""
    ends = ("embed_tokens.weight", "wte.weight", "lm_head.weight", "embed_tokens.base_layer.weight")
    rows = [shape[0] for name, shape in saved.items() if name.endswith(ends)]
    if rows and rows[0] != base.get_input_embeddings().weight.shape[0]:
        base.resize_token_embeddings(rows[0], mean_resizing=False)


def require_bare(model: Any) -> None:
    """Raises MeasurementError where a model that is about to be the base has peft's layers in it."""
    for name, module in model.named_modules():
        if type(module).__module__.partition(".")[0] == "peft":
            raise MeasurementError(
                f"the base would be measured through an adapter: {name or 'the model'} is a "
                f"{type(module).__name__}",
                hint="this is a mistake in ftgate; please report it",
            )


def check_rows(model: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raises ModelError where the tokenizer has ids that the model does not embed."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelError(
            f"the tokenizer of {name} has {len(tokenizer)} tokens, its model embeds {rows}",
            hint="call resize_token_embeddings before training, and save the embeddings with the adapter",
        )


def free() -> None:
    """Give back the memory of models that are no longer referred to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
