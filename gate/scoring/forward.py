"""How one model is called: its decoder body over a pack, its own head at the scored nodes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Normalise = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Score = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
ROWS_AT_ONCE = 1024  # scored nodes whose logits exist at the same time
ROWS_IN_CACHE = 8  # of them that a CPU normalises at a time


class Unsound(Exception):
    """Why a model cannot be scored through a tree; its text is one line for the report."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """How masks reach a body: sliding windows by the name of the layer type, None for a full one."""

    body: str  # the body's path within the model
    windows: dict[str, int | None]
    by_layer_type: bool  # one mask for each layer type in a dict, or one for all


def bare_model(model: Any) -> Any:
    """The transformers model inside peft's wrapper, with the adapter's layers in it.

    Raises Unsound where the adapter adds tokens before the text (prompt and prefix tuning).
    """
    if type(model).__module__.partition(".")[0] != "peft":
        return model
    if any(config.is_prompt_learning for config in model.peft_config.values()):
        raise Unsound("its adapter puts tokens of its own before the text")
    return model.get_base_model()


def wire(model: Any) -> Wiring:
    """How to call `model`, a bare one. Raises Unsound where its configuration rules a tree out."""
    config = model.config.get_text_config(decoder=True)
    if getattr(config, "is_encoder_decoder", False):
        raise Unsound("it is an encoder-decoder")
    if getattr(config, "alibi", False):
        raise Unsound("its attention counts distances by place (ALiBi)")
    if rope := _length_dependent(config):
        raise Unsound(f"its rotary positions depend on the text's length ({rope})")
    path = _body_path(model)
    body = model.get_submodule(path)
    if "position_ids" not in inspect.signature(body.forward).parameters:
        raise Unsound("its forward pass takes no positions")
    windows = _windows(config)
    by_type = _takes_dict(body)
    if len(windows) > 1 and not by_type:
        raise Unsound("its layers differ in attention and take one mask")
    return Wiring(path, windows, by_type)


def _length_dependent(config: Any) -> str | None:
    """The first length-dependent kind of rotary positions; `rope_parameters` may hold one a layer type."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    each = [found, *(value for value in found.values() if isinstance(value, dict))]
    kinds = {str(one.get("rope_type", one.get("type"))) for one in each}
    return next((kind for kind in ("dynamic", "longrope") if kind in kinds), None)


def _body_path(model: Any) -> str:
    body = model.get_decoder() if hasattr(model, "get_decoder") else None
    if body is None or body is model:
        body = getattr(model, model.base_model_prefix, None)
    path = next((name for name, module in model.named_modules() if module is body), "")
    if not path:
        raise Unsound("no decoder was found in it")
    return path


def _windows(config: Any) -> dict[str, int | None]:
    window: int | None = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    if not types:
        return {"all": window}
    windows: dict[str, int | None] = {}
    for kind in sorted(set(types)):
        if kind not in ("full_attention", "sliding_attention"):
            raise Unsound(f"it has layers of {kind.replace('_', ' ')}")
        windows[kind] = window if kind == "sliding_attention" else None
    return windows


def _takes_dict(body: Any) -> bool:
    """Whether the body takes masks by layer type: its code then asks whether the mask is a dict."""
    try:
        source = inspect.getsource(inspect.unwrap(type(body).forward))
    except (OSError, TypeError):
        return False
    return "attention_mask, dict)" in source


class _Given(nn.Module):
    """Stands where the body was and returns what it was given: the model's own code makes the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Any = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.output


class Caller:
    """A model's body and head, called apart. `model` is a bare one, in evaluation mode."""

    def __init__(self, model: Any, wiring: Wiring) -> None:
        self.model, self.wiring = model, wiring
        self.body = model.get_submodule(wiring.body)
        self._given = _Given()
        self._head = _with_body(model, wiring.body, self._given)
        self._output: Any = None

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        found: torch.device = self.model.get_input_embeddings().weight.device
        return found

    def hidden(self, tokens: torch.Tensor, depth: torch.Tensor, masks: dict[str, Any]) -> torch.Tensor:
        """[n, width] last hidden states of one pack; `masks` by layer type."""
        mask: Any = masks if self.wiring.by_layer_type else next(iter(masks.values()))
        if self.wiring.by_layer_type and "all" in masks:
            mask = {"full_attention": masks["all"], "sliding_attention": masks["all"]}
        output = self.body(
            input_ids=tokens[None], position_ids=depth[None], attention_mask=mask, use_cache=False
        )
        self._output = output
        states: torch.Tensor = output[0]
        return states[0].to(tokens.device)  # of a model over several devices they lie on the last

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """[r, vocabulary] logits of r hidden states in the model's dtype, by its own head and caps."""
        fields = {**self._output, "last_hidden_state": hidden[None]}
        self._given.output = type(self._output)(**fields)
        found: torch.Tensor = self._head(
            input_ids=torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device), use_cache=False
        ).logits
        return found[0]


def _with_body(model: Any, path: str, body: nn.Module) -> Any:
    """A shallow copy of `model`, the same weights, in which `body` stands at `path`."""
    twin = copy.copy(model)
    twin.__dict__.pop("forward", None)  # accelerate's, of a model over several devices: it calls the original
    twin._modules = dict(model._modules)
    name, _, rest = path.partition(".")
    twin._modules[name] = _with_body(model._modules[name], rest, body) if rest else body
    return twin


def score_rows(
    caller: Caller,
    hidden: torch.Tensor,
    pair_row: torch.Tensor,
    pair_token: torch.Tensor,
    spans: list[int],
    score: Score,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities in nats (fp32, [p]) of each pair's token and whether it is the likeliest ([p] bool).

    `hidden` [r, width] are the scored nodes; pairs are in ascending order of their row, and `spans[i]` of
    them lie before row `i * ROWS_AT_ONCE`; `score` is `at_once` or `by_rows`. At most ROWS_AT_ONCE rows of
    logits exist at once, in fp32 too.
    """
    logprobs, greedy = [], []
    for chunk, begin in enumerate(range(0, len(hidden), ROWS_AT_ONCE)):
        logits = caller.logits(hidden[begin : begin + ROWS_AT_ONCE])
        pairs = slice(spans[chunk], spans[chunk + 1])
        rows, tokens = (each.to(logits.device) for each in (pair_row[pairs] - begin, pair_token[pairs]))
        value, likeliest = score(logits, rows, tokens)
        logprobs.append(value)
        greedy.append(likeliest)
    return torch.cat(logprobs), torch.cat(greedy)


def normalise(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each row the logarithm of its sum of exponentials, in fp32, and its likeliest token."""
    return torch.logsumexp(logits.float(), -1), logits.argmax(-1)


def at_once(
    logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor, normalise: Normalise = normalise
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of `tokens` at `rows` of [r, vocabulary] logits, and whether they are the likeliest;
    `normalise` may be it compiled."""
    total, best = normalise(logits)
    return logits[rows, tokens].float() - total[rows], best[rows] == tokens


def by_rows(
    logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same on a CPU: a few rows at a time, which stay in its cache, and the likeliest token, the first of
    equals, looked for only where the token may be it."""
    found = []
    for part in torch.split(logits, ROWS_IN_CACHE):
        top = part.amax(-1).float()
        found.append((top, (part.float() - top[:, None]).exp_().sum(-1).log_().add_(top)))
    tops, totals = map(torch.cat, zip(*found, strict=True))
    value = logits[rows, tokens].float()
    greedy = value == tops[rows]
    (places,) = greedy.nonzero(as_tuple=True)
    greedy[places] = logits[rows[places]].argmax(-1) == tokens[places]
    return value - totals[rows], greedy
