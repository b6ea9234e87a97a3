"""Tiny models of many architectures, with weights at random that are large enough for mistakes to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers as hf

from gate.scoring.readings import Reading

WORDS = 128
_LLAMA: dict[str, Any] = {
    "vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 128, "pad_token_id": None,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_GROUPED = {**_LLAMA, "num_key_value_heads": 2}
_GPT2 = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128,
         "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
_GPT_NEO = {"vocab_size": WORDS, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 8,
            "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
_MOE = {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}
_FALCON = {key: value for key, value in _LLAMA.items() if key != "intermediate_size"}


def _rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **more}}


CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: hf.LlamaConfig(**_GROUPED, attention_dropout=0.5),
    "llama, tied": lambda: hf.LlamaConfig(**_GROUPED, tie_word_embeddings=True),
    "llama, dynamic rope": lambda: hf.LlamaConfig(**_LLAMA, **_rope("dynamic", factor=2.0)),
    "qwen2": lambda: hf.Qwen2Config(**_GROUPED),
    "qwen2, window": lambda: hf.Qwen2Config(
        **_GROUPED, use_sliding_window=True, sliding_window=8, max_window_layers=1
    ),
    "qwen3": lambda: hf.Qwen3Config(**_GROUPED, head_dim=8),
    "mistral, window": lambda: hf.MistralConfig(**_GROUPED, sliding_window=8),
    "gemma 2": lambda: hf.Gemma2Config(**_GROUPED, head_dim=8, sliding_window=8, final_logit_softcapping=3.0),
    "gemma 3": lambda: hf.Gemma3TextConfig(**_GROUPED, head_dim=8, sliding_window=8),
    "phi": lambda: hf.PhiConfig(**_LLAMA),
    "phi 3, longrope": lambda: hf.Phi3Config(
        **_GROUPED,
        original_max_position_embeddings=64,
        **_rope("longrope", factor=2.0, short_factor=[1.0] * 4, long_factor=[2.0] * 4),
    ),
    "gpt-2": lambda: hf.GPT2Config(**_GPT2),
    "gpt-neox": lambda: hf.GPTNeoXConfig(**_LLAMA),
    "gpt-neo": lambda: hf.GPTNeoConfig(**_GPT_NEO, attention_types=[[["global", "local"], 1]]),
    "opt": lambda: hf.OPTConfig(**_FALCON, ffn_dim=48, word_embed_proj_dim=16),
    "falcon": lambda: hf.FalconConfig(**_FALCON),
    "falcon, alibi": lambda: hf.FalconConfig(**_FALCON, alibi=True),
    "bloom": lambda: hf.BloomConfig(vocab_size=WORDS, hidden_size=32, n_layer=2, n_head=4),
    "mamba": lambda: hf.MambaConfig(vocab_size=WORDS, hidden_size=32, num_hidden_layers=2),
    "qwen3 next": lambda: hf.Qwen3NextConfig(**_GROUPED, **_MOE, head_dim=8),
    "mixtral": lambda: hf.MixtralConfig(**_GROUPED, num_local_experts=4),
    "qwen2 moe": lambda: hf.Qwen2MoeConfig(**_GROUPED, **_MOE),
    "gpt-oss": lambda: hf.GptOssConfig(**_GROUPED, head_dim=8, num_local_experts=4, sliding_window=8),
    "cohere": lambda: hf.CohereConfig(**_GROUPED, logit_scale=0.3),
    "granite": lambda: hf.GraniteConfig(**_GROUPED, logits_scaling=4.0),
}


def tiny(name: str, seed: int = 0) -> Any:
    """A model of that architecture in evaluation mode, float32; logits spread over several units."""
    torch.manual_seed(seed)
    model = hf.AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.normal_(std=weight.shape[-1] ** -0.5)
        model.get_output_embeddings().weight.mul_(3.0)
    return model


def texts(count: int, seed: int = 0, start: int = 23, options: int = 4) -> list[Reading]:
    """`count` documents that share a start, with options of one to nine tokens, half of which begin alike."""
    rng = np.random.default_rng(seed)
    shared = rng.integers(1, WORDS, start)
    found = []
    for _ in range(count):
        context = np.concatenate([shared, rng.integers(1, WORDS, rng.integers(1, 30))])
        beginning = rng.integers(1, WORDS, 3)
        for option in range(options):
            end = rng.integers(1, WORDS, rng.integers(1, 7))
            end = np.concatenate([beginning, end]) if option % 2 else end
            found.append(Reading(np.concatenate([context, end]).astype(np.int32), len(context)))
    return found


@torch.no_grad()
def one_by_one(model: Any, readings: list[Reading]) -> list[tuple[float, bool]]:
    """Each reading by the model's own forward pass."""
    found = []
    for reading in readings:
        tokens = torch.from_numpy(reading.tokens).long()
        logprobs = model(tokens[None, :-1], use_cache=False).logits[0].float().log_softmax(-1)
        scored, ends = logprobs[reading.start - 1 :], tokens[reading.start :]
        value = scored.gather(1, ends[:, None]).double().sum()
        found.append((float(value), bool((scored.argmax(-1) == ends).all())))
    return found
