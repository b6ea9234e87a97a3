"""A model's attention and compiled layers, switched for the tree and back for everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from torch import nn

from gate.scoring import sparse
from gate.scoring.forward import Caller

Attention = Literal["dense", "blocks", "flex"]
NAMES = {"blocks": sparse.ATTENTION, "flex": "flex_attention"}
MASKED = ("sdpa", "eager")  # implementations that take a dense mask


@contextmanager
def switched(caller: Caller, attention: Attention, compiled: bool) -> Iterator[None]:
    """The model of `caller` with that attention, and with compiled layers if wished, while inside.

    Compiled layers are kept on the model, out of use, for the next time.
    """
    model = caller.model
    before: str = model.config._attn_implementation
    wanted = NAMES.get(attention) or (before if before in MASKED else "sdpa")
    layers = _layers(caller.body) if compiled else []
    if wanted != before:
        model.set_attn_implementation(wanted)
    for layer in layers:
        _compile(layer)
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None
        if wanted != before:
            model.set_attn_implementation(before)


def _layers(body: nn.Module) -> list[Any]:
    """The decoder's layers: its longest list of modules."""
    lists = [module for module in body.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))


def _compile(layer: Any) -> None:
    """One layer at a time, for any size: all share one compiled code, where a whole model takes minutes."""
    kept = layer.__dict__.get("_compiled_for_tree")
    if kept is None:
        layer.compile(dynamic=True)
        layer.__dict__["_compiled_for_tree"] = layer._compiled_call_impl
    else:
        layer._compiled_call_impl = kept


def takes_attention(model: Any) -> bool:
    """Whether the model's attention can be another one; the older ones have it written into their layers."""
    asked = getattr(model, "_can_set_attn_implementation", None)
    return asked is None or bool(asked())


def takes_blocks(model: Any) -> bool:
    """Whether `gate.scoring.sparse` may do for the attention of a bare model: no caps and no sinks."""
    config = model.config.get_text_config(decoder=True)
    capped = getattr(config, "attn_logit_softcapping", None)
    sinks = any(name.endswith("sinks") for name, _ in model.named_parameters())
    return takes_attention(model) and model._supports_sdpa and not capped and not sinks
