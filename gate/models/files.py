"""Which files make a model, and their digest."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from gate.errors import ModelError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "*.tiktoken",
)
TEXT_SIDE = (
    *TOKENIZER_FILES,
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
FULL = ("config.json", "generation_config.json", *TEXT_SIDE)
ADAPTER = ("adapter_config.json", *TEXT_SIDE)
WHOLE, INDEX, LORA = "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"


def model_kind(path: Path) -> Literal["full", "adapter"]:
    """`adapter` for a folder with adapter_config.json. Raises ModelError where both kinds lie."""
    adapter = (path / "adapter_config.json").is_file()
    if adapter and any((path / name).is_file() for name in (WHOLE, INDEX)):
        raise ModelError(
            f"{path} holds an adapter and a full model",
            hint="transformers would load the one on top of the other; keep them in two folders",
        )
    return "adapter" if adapter else "full"


def model_files(path: Path) -> tuple[Path, ...]:
    """The files that make the model, relative to `path`, sorted: exactly what digest and store cover.

    Remote code counts where the model's own config asks for it. Raises ModelError where there is no folder.
    """
    if not path.is_dir():
        raise ModelError(f"there is no model folder at {path}", hint="check the path")
    patterns = ADAPTER if model_kind(path) == "adapter" else FULL
    weights = weight_names(path)
    if weights and weights[0] not in (WHOLE, LORA):
        weights = (*weights, INDEX)
    if asks_for_code(path):
        patterns = (*patterns, "*.py")
    found = [file for file in (*path.glob("*"), *path.glob("additional_chat_templates/*")) if file.is_file()]
    names = [file.relative_to(path) for file in found]
    return tuple(
        sorted(
            name
            for name in names
            if name.as_posix() in weights or any(fnmatch(name.as_posix(), each) for each in patterns)
        )
    )


def weight_names(path: Path) -> tuple[str, ...]:
    """Names of the safetensors that hold the weights, as transformers and peft find them.

    `adapter_model.safetensors`; or `model.safetensors` if there is one, else the shards that the index
    names, there or not. Raises ModelError for an index that is unreadable or names other folders.
    """
    whole = LORA if model_kind(path) == "adapter" else WHOLE
    if whole == LORA or (path / WHOLE).is_file() or not (path / INDEX).is_file():
        return (whole,) if (path / whole).is_file() else ()
    placed = read_json(path / INDEX).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise ModelError(f"{path / INDEX} has no weight_map", hint="save the model again")
    shards = sorted({str(shard) for shard in placed.values()})
    for shard in shards:
        if Path(shard).name != shard:
            raise ModelError(f"{path / INDEX} names {shard}, which is not in its folder")
    return tuple(shards)


def has_tokenizer(path: Path) -> bool:
    """Whether the folder holds a tokenizer's vocabulary."""
    return any(file.is_file() for pattern in TOKENIZER_FILES for file in path.glob(pattern))


def digest_model(path: Path) -> str:
    """`sha256:...` over the sorted names and contents of the files that make the model.

    README, logs, optimizer state and checkpoints beside it change nothing. Raises ModelError where there
    is no folder, nothing in it, or a file cannot be read.
    """
    names = model_files(path)
    if not names:
        raise ModelError(f"there is no model in {path}", hint="expected config.json and *.safetensors")
    try:
        with ThreadPoolExecutor(max_workers=8) as pool:
            digests = list(pool.map(_file_digest, (path / name for name in names)))
    except OSError as error:
        raise ModelError(f"cannot read the model in {path}: {error.strerror or error}") from error
    manifest = {name.as_posix(): digest for name, digest in zip(names, digests, strict=True)}
    return "sha256:" + hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(file: Path) -> dict[str, object]:
    """The JSON object in `file`. Raises ModelError where it is unreadable or something else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{file} is not readable JSON: {error}",
            hint="the model was not saved or copied completely; save or fetch it again",
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"{file} holds a JSON {type(value).__name__}, expected an object")
    return value


def asks_for_code(path: Path) -> str | None:
    """The name of the config file that asks for remote code (`auto_map`, at any depth), or None."""
    for name in ("config.json", "tokenizer_config.json"):
        if (path / name).is_file() and _has_key(read_json(path / name), "auto_map"):
            return name
    return None


def _has_key(value: object, key: str) -> bool:
    if isinstance(value, dict):
        return bool(value.get(key)) or any(_has_key(each, key) for each in value.values())
    return isinstance(value, list) and any(_has_key(each, key) for each in value)
