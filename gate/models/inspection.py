"""Is this folder a model that the gate can use? Every refusal says what to do."""

from __future__ import annotations

from pathlib import Path

from gate.errors import ModelError
from gate.models.files import (
    asks_for_code,
    digest_model,
    has_tokenizer,
    model_files,
    model_kind,
    read_json,
)
from gate.models.headers import check_index, read_header, weight_files
from gate.records import ModelRef

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
NOT_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth")


def inspect_model(
    path: Path,
    name: str,
    *,
    remote_code: bool = False,
    revision: str | None = None,
    need_tokenizer: bool = True,
) -> ModelRef:
    """The model or adapter in `path`, checked to be whole and safe, with its digest.

    An adapter needs no tokenizer of its own. Raises ModelError: no folder, no model, pickle weights,
    remote code that `remote_code` does not allow, damaged or missing weights, unreadable JSON, no tokenizer.
    """
    _check_folder(path)
    kind = model_kind(path)
    if kind == "adapter":
        _check_adapter_config(path)
    else:
        _check_config(path)
    _check_code(path, remote_code)
    _check_weights(path, kind)
    for file in model_files(path):
        if file.suffix == ".json":
            read_json(path / file)
    if need_tokenizer and kind == "full" and not has_tokenizer(path):
        raise ModelError(
            f"there is no tokenizer in {path}",
            hint="save it beside the model: tokenizer.save_pretrained(folder)",
        )
    return ModelRef(name=name, path=str(path), digest=digest_model(path), kind=kind, revision=revision)


def _check_folder(path: Path) -> None:
    try:
        if not path.exists():
            raise ModelError(f"there is no model folder at {path}", hint="check the path")
        if not path.is_dir():
            raise ModelError(f"{path} is a file, expected a model folder", hint=f"perhaps {path.parent}")
        next(path.iterdir(), None)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


def _check_adapter_config(path: Path) -> None:
    if not read_json(path / "adapter_config.json").get("peft_type"):
        raise ModelError(
            f"{path / 'adapter_config.json'} has no peft_type", hint="expected an adapter saved by peft"
        )


def _check_config(path: Path) -> None:
    if not (path / "config.json").is_file():
        inside = sorted(each.name for each in path.iterdir() if (each / "config.json").is_file())
        inside += sorted(each.name for each in path.iterdir() if (each / "adapter_config.json").is_file())
        raise ModelError(
            f"there is no model in {path}: no config.json and no adapter_config.json",
            hint=f"perhaps {path / inside[-1]}" if inside else "name the folder that the trainer saved into",
        )
    if not read_json(path / "config.json").get("model_type"):
        raise ModelError(
            f"{path / 'config.json'} has no model_type", hint="expected a model saved by transformers"
        )


def _check_code(path: Path, allowed: bool) -> None:
    asking = asks_for_code(path)
    if asking and not allowed:
        raise ModelError(
            f"{path} brings its own code (auto_map in {asking})",
            hint="allow it with `trust: {remote_code: true}` in the policy if you trust its authors",
        )


def _check_weights(path: Path, kind: str) -> None:
    files = weight_files(path)
    if not files:
        raise _no_weights(path, kind)
    for file in files:
        if not read_header(file):
            raise ModelError(f"{file} holds no tensors", hint="the model was not saved completely")
    if kind == "full":
        check_index(path)


def _no_weights(path: Path, kind: str) -> ModelError:
    expected = "adapter_model.safetensors" if kind == "adapter" else "model.safetensors"
    pickled = [file for pattern in PICKLES for file in sorted(path.glob(pattern))]
    pickled = [file for file in pickled if not any(file.match(each) for each in NOT_WEIGHTS)]
    if pickled:
        return ModelError(
            f"{path} has pickle weights only ({pickled[0].name}), which run code when they are loaded",
            hint=f"save it as {expected}: model.save_pretrained(folder, safe_serialization=True)",
        )
    gguf = next(iter(sorted(path.glob("*.gguf"))), None)
    if gguf is not None:
        return ModelError(f"{path} has GGUF weights only ({gguf.name})", hint=f"convert it to {expected}")
    return ModelError(
        f"there are no weights in {path}: expected {expected}",
        hint="the model was not saved or copied completely; save or fetch it again",
    )
