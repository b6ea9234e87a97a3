"""How both models are measured, resolved from files and this machine; no weights are read."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gate.errors import InfrastructureError, ModelError, UsageError
from gate.models import read_header, read_json, tensor_shapes, weight_files
from gate.records import Evaluation, ModelRef
from gate.scoring.way import KEYS, VERSIONS, Way, pack_that_fits

DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
CPU_PACK = 2048  # tokens; larger ones gain nothing there, and their masks cost
GPU_ROWS, CPU_ROWS = 256, 16  # texts at a time
FITS = 0.8  # of one GPU's memory that weights may take before they are laid over all of them
SHARE = 0.4  # of a GPU's memory beside the weights that a pack may take
LENGTH_KEYS = ("n_positions", "max_position_embeddings", "n_ctx")  # lm-eval's, in its order


@dataclass(frozen=True, slots=True)
class Settings:
    """Same for base and tuned model, so that their scores differ by their weights alone."""

    dtype: str  # float32, bfloat16, float16
    device: str  # as torch names it
    device_name: str
    quantization: str  # none, nf4, int8
    max_length: int | None  # tokens; None where the config does not say and the tokenizer decides
    spread: int = 1  # devices that one model lies on; `device_name` says so too


def resolve(base: ModelRef, evaluation: Evaluation, training_bits: int | None) -> Settings:
    """Settings from the policy's `evaluation`, the base's files and the devices that are there.

    `auto` is the base's own dtype for both models, and a GPU where there is one. Raises ModelError for a
    base that is no decoder, InfrastructureError for a device that is not there.
    """
    config = text_config(Path(base.path))
    if config.get("is_encoder_decoder"):
        raise ModelError(f"{base.name} is an encoder-decoder model", hint="ftgate measures causal models")
    device = _device(evaluation.device)
    dtype = _dtype(base, config) if evaluation.dtype == "auto" else evaluation.dtype
    quantization = _quantization(evaluation, training_bits)
    spread = _spread(weight_bytes(base, dtype, quantization), device)
    lengths = [config[key] for key in LENGTH_KEYS if config.get(key) is not None]
    return Settings(
        dtype=dtype,
        device=device,
        device_name=_device_name(device) + (f", one model over {spread} of them" if spread > 1 else ""),
        quantization=quantization,
        max_length=int(str(lengths[0])) if lengths else None,
        spread=spread,
    )


def weight_bytes(base: ModelRef, dtype: str, quantization: str) -> int:
    """What a model's weights take in memory, from its files' headers."""
    numbers = sum(math.prod(shape) for shape in tensor_shapes(Path(base.path)).values())
    each = {"nf4": 0.6, "int8": 1.1}.get(quantization, 4.0 if dtype == "float32" else 2.0)
    return int(numbers * each)


def _spread(weights: int, device: str) -> int:
    """Devices that one model needs: all where its weights do not fit into one and none is named."""
    if device != "cuda":
        return 1
    import torch

    memories = [torch.cuda.get_device_properties(n).total_memory for n in range(torch.cuda.device_count())]
    return devices_needed(weights, memories)


def devices_needed(weights: int, memories: Sequence[int]) -> int:
    """1 where the weights fit into the first device with room to compute, else all. Bytes."""
    return 1 if not memories or weights <= FITS * memories[0] else len(memories)


def text_config(path: Path) -> Mapping[str, object]:
    """The model's config; of a multimodal model, that of its text part."""
    config = read_json(path / "config.json")
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def first_way(base: ModelRef, evaluation: Evaluation, settings: Settings) -> Way:
    """How both models are asked unless something speaks against it: the policy's scorer, sizes by the shape.

    Raises UsageError where the policy wants vLLM and it is not installed.
    """
    if evaluation.scorer == "vllm":
        require_vllm()
        return Way("vllm", evaluation.batch_size)
    if evaluation.scorer == "hf":
        return Way("hf", evaluation.batch_size)
    if settings.device.startswith("cuda"):
        return Way("tree", evaluation.batch_size, _pack(base, settings), GPU_ROWS)
    return Way("tree", evaluation.batch_size, CPU_PACK, CPU_ROWS)


def _pack(base: ModelRef, settings: Settings) -> int:
    """Tokens a pack by the model's shape and the device's memory: no trial, so every run finds the same."""
    import torch

    config = text_config(Path(base.path))
    width, inner = (int(str(config.get(key) or 0)) for key in ("hidden_size", "intermediate_size"))
    number = 4 if settings.dtype == "float32" else 2
    weights = weight_bytes(base, settings.dtype, settings.quantization)
    total = torch.cuda.get_device_properties(settings.device).total_memory * settings.spread
    # One layer's activations at a time: attention's and the residual's widths, and the MLP's three.
    return pack_that_fits(number * (12 * width + 3 * (inner or 4 * width)), int(SHARE * (total - weights)))


def require_vllm(installed: Callable[[str], str] = version) -> None:
    """Raises UsageError where vLLM is not installed."""
    try:
        installed("vllm")
    except PackageNotFoundError as error:
        raise UsageError(
            "evaluation: {scorer: vllm}: vLLM is not installed here",
            hint="pip install 'finetune-gate[vllm]', or say `scorer: auto`",
        ) from error


def identity(model: ModelRef, base: ModelRef | None, settings: Settings, way: Way) -> Mapping[str, str]:
    """All that changes this model's scores, for a store's key. `base` is given where `model` leans on it."""
    packages = ["torch", "transformers", "tokenizers", "accelerate", "lm_eval"]
    packages += ["peft"] if model.kind == "adapter" else []
    packages += ["bitsandbytes"] if settings.quantization != "none" else []
    size = {"pack_size": str(way.pack)} if way.scorer == "tree" else {"batch_size": str(way.batch)}
    return {
        "scorer": KEYS[way.scorer],
        "scorer_version": VERSIONS[way.scorer],
        "model": model.digest,
        "base": base.digest if base else "",
        "dtype": settings.dtype,
        "softmax_dtype": "float32",
        "quantization": settings.quantization,
        "device": settings.device_name,
        **size,
        "max_length": str(settings.max_length),
        **{package: _version(package) for package in packages},
        **({"vllm": _vllm_version()} if way.scorer == "vllm" else {}),
    }


def self_test_key(identity: Mapping[str, str]) -> str:
    """Hex SHA-256 under which a self-test's outcome is kept: what changes an answer may change it."""
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()


def _vllm_version() -> str:
    try:
        return version("vllm")
    except PackageNotFoundError:
        return ""  # the policy's first look says so


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
