"""Llamas of known shapes with random weights: what speed is measured on."""

from __future__ import annotations

from typing import Any

import torch

VOCABULARY = 128_256
SHAPES: dict[str, dict[str, Any]] = {
    "small": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 8,
              "num_attention_heads": 8, "num_key_value_heads": 4},
    "1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
             "num_attention_heads": 12, "num_key_value_heads": 2},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
           "num_attention_heads": 32, "num_key_value_heads": 8},
}  # fmt: skip


def device() -> str:
    """A GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def random_llama(shape: str, dtype: torch.dtype, seed: int = 0, **settings: Any) -> Any:
    """A Llama of that shape in evaluation mode, made on the device; `settings` go into its config."""
    from transformers import LlamaConfig, LlamaForCausalLM

    given = {"vocab_size": VOCABULARY, "max_position_embeddings": 8192, **SHAPES[shape], **settings}
    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device()):
            model: Any = LlamaForCausalLM(LlamaConfig(**given))
    finally:
        torch.set_default_dtype(before)
    return model.eval()
