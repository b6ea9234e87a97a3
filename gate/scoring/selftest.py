"""Whether a model scored through a tree gives the model's own numbers, found out before it is believed.

Two questions. *Is the architecture sound?* A small twin of the model, of its class and configuration with few
layers, short windows and large weights, in float32: one by one through its own code and through the tree must
agree to 1e-4, where a mask, position, window or cap that is off moves scores by much more. *Does it hold for
this model, dtype and device?* Its own scores of the same forest, no further from one by one than its own are
between batch 1 and batch 16, above a floor: 1e-4 in float32, a step of a logit a token in smaller dtypes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gate.scoring.attention import Attention, takes_blocks
from gate.scoring.engine import TreeEngine, shape_for
from gate.scoring.forward import Unsound, bare_model
from gate.scoring.readings import Reading

TOLERANCE = 1e-4  # nats, of a sum of log-probabilities in float32
ROOM = 3.0  # times the model's own noise, of which a few readings show a part
TWIN_WINDOW = 11  # tokens; readings of the forest are longer
TWIN_WORDS = 512
SHORT, LONG = 19, 300  # tokens that the forest shares: a few, and more than two of FlexAttention's blocks
LONGEST = 4096 + 256  # tokens of a text; a window that is wider than this is not reached
BATCH = 16

Build = Callable[[Any], TreeEngine]
_SOUND: set[str] = set()  # architectures whose twin was exact in this process: base and tuned model share one


def reason_against(model: Any, build: Build, twin: bool = True) -> str:
    """ "" where the tree scorer is exact for `model`, else one line that says why not.

    `build` makes the engine that is to be believed, around the model and around its twin. Without `twin` the
    architecture is known to be sound.
    """
    try:
        engine = build(model)
        bare = bare_model(model)
        if twin:
            _check_twin(bare, build)
        _check_own(bare, engine)
    except Unsound as unsound:
        return str(unsound)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # each architecture raises its own where it is called as it cannot be
        return f"it cannot be called through a tree ({type(error).__name__}: {_line(error)})"
    return ""


def choose(model: Any, limit: int) -> tuple[TreeEngine | None, str]:
    """The fastest exact engine for `model` with packs of `limit` tokens, and what kept others from it.

    On a GPU: FlexAttention with compiled layers, without, then dense masks; on a CPU attention by blocks,
    then dense masks. None where nothing is exact.
    """
    try:
        device, bare = bare_device(model), bare_model(model)
    except Unsound as unsound:
        return None, str(unsound)
    tries: list[tuple[Attention, bool]] = [(fastest_on_cpu(bare), False), ("dense", False)]
    if device.type == "cuda":
        tries = [("flex", True), ("flex", False), ("dense", False)]
    tries = list(dict.fromkeys(tries))
    reasons: dict[str, str] = {}
    for attention, compiled in tries:

        def build(each: Any, attention: Attention = attention, compiled: bool = compiled) -> TreeEngine:
            where = bare_device(each)
            if where != device:
                return TreeEngine(each, shape_for(where, limit, "dense"))
            # Compiling the twin's layers as well would take longer than everything else here.
            own = bare_model(each) is bare
            return TreeEngine(each, shape_for(where, limit, attention), attention, compiled and own)

        kind = _kind(bare, attention)
        reason = reason_against(model, build, twin=kind not in _SOUND)
        if not reason:
            _SOUND.add(kind)
            return build(model), "; ".join(f"{name}: {said}" for name, said in reasons.items())
        reasons[f"{attention}{', compiled' if compiled else ''}"] = reason
    return None, _told(reasons)


def _told(reasons: dict[str, str]) -> str:
    """Reasons by kind, in one line; what all kinds share once."""
    different = set(reasons.values())
    if len(different) == 1:
        return different.pop()
    return "; ".join(f"{kind}: {reason}" for kind, reason in reasons.items())


def fastest_on_cpu(model: Any) -> Attention:
    """The attention that is tried first for a bare model."""
    return "blocks" if takes_blocks(model) else "dense"


def _kind(model: Any, attention: Attention) -> str:
    """All that its twin depends on."""
    return f"{type(model)} {attention} {bare_device(model)} {model.config.to_json_string(use_diff=False)}"


def bare_device(model: Any) -> torch.device:
    """Where a model's inputs go."""
    found: torch.device = model.get_input_embeddings().weight.device
    return found


def forest(words: int, longest: int, shared: int = SHORT) -> list[Reading]:
    """A crafted tree of texts of at most `longest` tokens below `words`, most of which share a beginning.

    Branches of several depths, a context that is another's continuation, an option under two contexts, one
    that begins another, one of a single token, and one text alone.
    """
    rng = np.random.default_rng(6)

    def some(count: int) -> list[int]:
        return [int(token) for token in rng.integers(1, words, count)]

    start, two = some(shared), [some(17), some(6)]
    option, near = some(9), some(3)
    texts = [
        (start + branch, end) for branch in two for end in (option, near + some(4), near + some(8), some(1))
    ]
    texts += [(start + two[0], option[:4]), (start, two[0]), (start[:7], some(5)), (some(4), some(33))]
    fitting = [(context[: longest - len(end)], end) for context, end in texts if len(end) < longest]
    return [Reading(np.array(context + end, np.int32), len(context)) for context, end in fitting]


def _check_twin(model: Any, build: Build) -> None:
    """Raises Unsound where the twin's scores through the tree are not its own: on the CPU, and on the
    model's GPU with texts of several of FlexAttention's blocks."""
    twin = make_twin(model)
    _check_float32(twin, build, SHORT)
    if bare_device(model).type != "cpu":
        _check_float32(twin.to(bare_device(model)), build, LONG)


def _check_float32(twin: Any, build: Build, shared: int) -> None:
    readings = forest(twin.config.get_text_config(decoder=True).vocab_size, _longest(twin), shared)
    found = [score for score, _ in build(twin).loglikelihoods([readings])[0]]
    apart = np.abs(np.array(_alone(twin, readings)) - found).max()
    if not apart <= TOLERANCE:
        raise Unsound(f"scores through the tree are off by {apart:.2g} nats in a small model of its kind")


def make_twin(model: Any) -> Any:
    """A small float32 model of the same class and configuration on the CPU, with weights that show faults."""
    config = copy.deepcopy(model.config)
    text = config.get_text_config(decoder=True)
    kinds = sorted(set(getattr(text, "layer_types", None) or []))
    text.num_hidden_layers = max(2, len(kinds))
    if kinds:
        text.layer_types = (kinds * 2)[: text.num_hidden_layers]
    if getattr(text, "sliding_window", None):
        text.sliding_window = min(text.sliding_window, TWIN_WINDOW)
    for name in ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "ffn_dim"):
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, min(getattr(text, name), 128))
    text.vocab_size = min(text.vocab_size, TWIN_WORDS)
    text.pad_token_id = None
    for each in (config, text):
        each.tie_word_embeddings = False
        if hasattr(each, "quantization_config"):
            del each.quantization_config
    before = torch.random.get_rng_state()
    try:
        torch.manual_seed(6)
        twin = (
            type(model)._from_config(config, dtype=torch.float32, attn_implementation=_masked(model)).eval()
        )
        _enlarge(twin)
    finally:
        torch.random.set_rng_state(before)
    return twin


def _masked(model: Any) -> str:
    """The attention of a model that takes dense masks, its own if it does."""
    own: str = model.config._attn_implementation
    return own if own in ("eager", "sdpa") else "sdpa" if model._supports_sdpa else "eager"


@torch.no_grad()
def _enlarge(twin: Any) -> None:
    """Weights of variance 1 / inputs keep hidden states in size; logits spread enough for a cap to show."""
    for weight in twin.parameters():
        if weight.dim() >= 2:
            weight.normal_(std=weight.shape[-1] ** -0.5)
    twin.get_input_embeddings().weight.normal_(std=1.0)
    if (head := twin.get_output_embeddings()) is not None:
        head.weight.mul_(4.0)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A model's own scores of a forest, by its own code, and how far from them others may be. In nats."""

    readings: Sequence[Reading]
    own: NDArray[np.float64]
    allowed: NDArray[np.float64]

    def check(self, scores: Sequence[float], how: str) -> None:
        """Raises Unsound where `scores`, made in the way `how`, are further off than they may be."""
        apart = np.abs(self.own - np.array(scores))
        worst = int((apart - self.allowed).argmax())
        if not (apart <= self.allowed).all():
            scored = len(self.readings[worst].tokens) - self.readings[worst].start
            raise Unsound(
                f"its scores {how} are off by {apart[worst]:.2g} nats in {scored} tokens, "
                f"where {self.allowed[worst]:.2g} is allowed"
            )


def reference(model: Any) -> Reference:
    """The model's own scores one by one; below float32 its noise between batches is allowed."""
    config = model.config.get_text_config(decoder=True)
    readings = forest(min(config.vocab_size, 32_000), _longest(model), _shared(model))
    own, together = np.array(_alone(model, readings)), np.array(_in_batch(model, readings))
    scored = np.array([len(each.tokens) - each.start for each in readings])
    least = logit_step(model, readings[0].tokens[:-1].tolist()) * scored + TOLERANCE
    return Reference(readings, own, np.maximum(least, ROOM * np.abs(own - together).max()))


def _check_own(model: Any, engine: TreeEngine) -> None:
    """Raises Unsound where the model's scores through the tree are further from its own than they may be."""
    wanted = reference(model)
    wanted.check([score for score, _ in engine.loglikelihoods([wanted.readings])[0]], "through the tree")


def _shared(model: Any) -> int:
    """Tokens that the forest shares: on a GPU enough to leave a sliding window and to fill whole blocks."""
    if bare_device(model).type == "cpu":
        return SHORT
    window = getattr(model.config.get_text_config(decoder=True), "sliding_window", None) or 0
    return max(LONG, min(window + SHORT, LONGEST - 64))


def _longest(model: Any) -> int:
    config = model.config.get_text_config(decoder=True)
    return int(min(getattr(config, "max_position_embeddings", None) or LONGEST, LONGEST))


def _alone(model: Any, readings: Sequence[Reading]) -> list[float]:
    """One by one, by the model's own forward pass."""
    return [score for reading in readings for score in _own(model, [reading])]


def _in_batch(model: Any, readings: Sequence[Reading]) -> list[float]:
    """In batches, padded on the right, as lm-eval does it."""
    starts = range(0, len(readings), BATCH)
    return [score for start in starts for score in _own(model, readings[start : start + BATCH])]


@torch.no_grad()
def _own(model: Any, readings: Sequence[Reading]) -> list[float]:
    device = model.get_input_embeddings().weight.device
    rows = [torch.from_numpy(reading.tokens[:-1]).long() for reading in readings]
    inputs = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
    logits = model(input_ids=inputs, use_cache=False).logits
    found = []
    for reading, row in zip(readings, logits, strict=True):
        scored = torch.from_numpy(reading.tokens[reading.start :]).long().to(device)
        logprobs = row[reading.start - 1 : len(reading.tokens) - 1].float().log_softmax(-1)
        found.append(float(logprobs.gather(1, scored[:, None]).double().sum()))
    return found


@torch.no_grad()
def logit_step(model: Any, tokens: Sequence[int]) -> float:
    """Nats between two neighbouring logits of the size of the largest after these tokens; 0 in float32."""
    if model.dtype not in (torch.bfloat16, torch.float16):
        return 0.0
    row = torch.tensor([list(tokens)], device=bare_device(model))
    largest = float(model(input_ids=row, use_cache=False).logits.float().abs().max())
    return float(torch.finfo(model.dtype).eps) * 2.0 ** math.floor(math.log2(max(largest, 1e-6)))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:120]
