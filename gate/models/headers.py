"""Safetensors headers: names, shapes and places of tensors, checked against the file's size.

Format: 8 bytes (little-endian length n), n bytes of JSON `{name: {dtype, shape, data_offsets}}`, data.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.errors import ModelError
from gate.models.files import INDEX, WHOLE, read_json, weight_names

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
CHUNK = 1 << 22  # bytes that are read at once
MAX_DIMENSIONS, MAX_SIZE = 16, 2**48  # of a tensor; far above any, and their product is computed at once
BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a safetensors file; `start` and `end` are bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(file: Path) -> Mapping[str, Tensor]:
    """All tensors of a safetensors file by name.

    Raises ModelError where header or data are truncated, overlap or leave gaps.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(MAX_HEADER_BYTES, size - 8):
                raise _damaged(file, "it ends inside its header")
            text = stream.read(length)
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror or error}") from error
    try:
        entries = json.loads(text)
        tensors = {name: _tensor(entry) for name, entry in entries.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(file, "its header is not readable") from error
    _check_places(file, tensors, size - 8 - length)
    return tensors


def _tensor(entry: Mapping[str, object]) -> Tensor:
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or not isinstance(offsets, list):
        raise TypeError("shape and data_offsets must be lists")
    if len(shape) > MAX_DIMENSIONS or not all(type(each) is int for each in (*shape, *offsets)):
        raise TypeError("shape and data_offsets must hold a few whole numbers")
    start, end = offsets
    sizes = tuple(shape)
    if any(not 0 <= each <= MAX_SIZE for each in (*sizes, start)):
        raise ValueError("a size that no tensor has")
    return Tensor(dtype=str(entry["dtype"]), shape=sizes, start=start, end=end)


def _check_places(file: Path, tensors: Mapping[str, Tensor], data_bytes: int) -> None:
    place = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        bits = BITS.get(tensor.dtype)
        expected = None if bits is None else math.prod(tensor.shape) * bits // 8
        if tensor.start != place or (expected is not None and tensor.end - tensor.start != expected):
            raise _damaged(file, f"the bytes of {name} do not match its shape")
        place = tensor.end
    if place != data_bytes:
        raise _damaged(file, f"it has {data_bytes:,} bytes of weights where its header says {place:,}")


def _damaged(file: Path, how: str) -> ModelError:
    return ModelError(
        f"{file} is damaged: {how}",
        hint="the file was truncated or is not safetensors; save or fetch it again",
    )


def weight_files(path: Path) -> tuple[Path, ...]:
    """The safetensors files of a model folder. Raises ModelError where one of the index is missing."""
    for name in weight_names(path):
        if not (path / name).is_file():
            raise ModelError(
                f"{path} lacks the shard {name} that its index names",
                hint="the model was not saved or copied completely; save or fetch it again",
            )
    return tuple(path / name for name in weight_names(path))


def check_index(path: Path) -> None:
    """Raises ModelError where the index of a sharded model names a tensor that its shard does not hold."""
    if not (path / INDEX).is_file() or weight_names(path)[0] == WHOLE:
        return
    placed = read_json(path / INDEX)["weight_map"]
    held = {file.name: read_header(file) for file in weight_files(path)}
    for tensor, shard in placed.items() if isinstance(placed, dict) else ():
        if tensor not in held[str(shard)]:
            raise ModelError(
                f"{path / str(shard)} lacks {tensor} that the index places there",
                hint="shards of two models were mixed; save or fetch the model again",
            )


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a model folder or of one safetensors file, from the headers alone."""
    files = weight_files(path) if path.is_dir() else (path,)
    return {name: tensor.shape for file in files for name, tensor in read_header(file).items()}


def digest_weights(path: Path) -> str:
    """`sha256:...` over names, types, shapes and bytes of all tensors of a model folder, and of nothing else:
    neither how they are spread over files, nor metadata, nor what lies beside them. Raises ModelError."""
    found: list[str] = []
    for file in weight_files(path):
        tensors = read_header(file)
        with file.open("rb") as stream:
            start = 8 + int.from_bytes(stream.read(8), "little")
            for name, tensor in tensors.items():
                stream.seek(start + tensor.start)
                hasher = hashlib.sha256()
                for place in range(tensor.start, tensor.end, CHUNK):
                    hasher.update(stream.read(min(CHUNK, tensor.end - place)))
                found.append(repr((name, tensor.dtype, tensor.shape, hasher.hexdigest())))
    return f"sha256:{hashlib.sha256(repr(sorted(found)).encode()).hexdigest()}"
