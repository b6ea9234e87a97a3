"""How both models are measured, resolved from files and this machine; no weights are read."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gate.errors import InfrastructureError, ModelError
from gate.models import read_header, read_json, weight_files
from gate.records import Evaluation, ModelRef

SCORER = "lm-eval-hf"
SCORER_VERSION = "1"  # raised whenever the same inputs would give other numbers
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
LENGTH_KEYS = ("n_positions", "max_position_embeddings", "n_ctx")  # lm-eval's, in its order


@dataclass(frozen=True, slots=True)
class Settings:
    """Same for base and tuned model, so that their scores differ by their weights alone."""

    dtype: str  # float32, bfloat16, float16
    device: str  # as torch names it
    device_name: str
    quantization: str  # none, nf4, int8
    max_length: int | None  # tokens; None where the config does not say and the tokenizer decides


def resolve(base: ModelRef, evaluation: Evaluation, training_bits: int | None) -> Settings:
    """Settings from the policy's `evaluation`, the base's files and the devices that are there.

    `auto` is the base's own dtype for both models, and a GPU where there is one. Raises ModelError for a
    base that is no decoder, InfrastructureError for a device that is not there.
    """
    config = text_config(Path(base.path))
    if config.get("is_encoder_decoder"):
        raise ModelError(f"{base.name} is an encoder-decoder model", hint="ftgate measures causal models")
    device = _device(evaluation.device)
    lengths = [config[key] for key in LENGTH_KEYS if config.get(key) is not None]
    return Settings(
        dtype=_dtype(base, config) if evaluation.dtype == "auto" else evaluation.dtype,
        device=device,
        device_name=_device_name(device),
        quantization=_quantization(evaluation, training_bits),
        max_length=int(str(lengths[0])) if lengths else None,
    )


def text_config(path: Path) -> Mapping[str, object]:
    """The model's config; of a multimodal model, that of its text part."""
    config = read_json(path / "config.json")
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def identity(
    model: ModelRef, base: ModelRef | None, settings: Settings, batch_size: int
) -> Mapping[str, str]:
    """All that changes this model's scores, for a store's key. `base` is given where `model` leans on it."""
    packages = ["torch", "transformers", "tokenizers", "accelerate", "lm_eval"]
    packages += ["peft"] if model.kind == "adapter" else []
    packages += ["bitsandbytes"] if settings.quantization != "none" else []
    return {
        "scorer": SCORER,
        "scorer_version": SCORER_VERSION,
        "model": model.digest,
        "base": base.digest if base else "",
        "dtype": settings.dtype,
        "softmax_dtype": "float32",
        "quantization": settings.quantization,
        "device": settings.device_name,
        "batch_size": str(batch_size),
        "max_length": str(settings.max_length),
        **{package: _version(package) for package in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise InfrastructureError(
            f"{package} is not installed", hint="install ftgate with its dependencies; see `ftgate doctor`"
        ) from error


def _dtype(base: ModelRef, config: Mapping[str, object]) -> str:
    named = str(config.get("dtype") or config.get("torch_dtype") or "")
    if named in DTYPES.values():
        return named
    found = Counter(
        tensor.dtype for file in weight_files(Path(base.path)) for tensor in read_header(file).values()
    )
    common = next((DTYPES[dtype] for dtype, _ in found.most_common() if dtype in DTYPES), None)
    return common or "float32"


def _quantization(evaluation: Evaluation, training_bits: int | None) -> str:
    if evaluation.quantization == "none":
        return "none"
    return {4: "nf4", 8: "int8"}.get(training_bits or 0, "none")


def _device(asked: str) -> str:
    import torch

    there = torch.cuda.is_available()
    device = ("cuda" if there else "cpu") if asked == "auto" else asked
    kind, _, number = device.partition(":")
    if kind == "cuda" and not (there and int(number or 0) < torch.cuda.device_count()):
        raise InfrastructureError(
            f"there is no device {device} here", hint="`evaluation: {device: auto}` takes what there is"
        )
    return device


def _device_name(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device} {platform.machine()}"
