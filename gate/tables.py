"""Records of many documents <-> Parquet bytes, with explicit schemas. No files, no names.

A float column keeps NaN as NaN and an absent value as null; neither ever becomes the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from gate.records import BlockResult, Flip, Measurement, Response
from gate.sealed import BLANK_SEAL, Damaged, check_seal, seal

SCHEMA = 1

_RESPONSE = pa.struct([("logprob", pa.float64()), ("greedy", pa.bool_()), ("text", pa.string())])
_BLOCK = [("number", pa.int64()), ("hash", pa.string()), ("responses", pa.list_(_RESPONSE))]
_PAIRED = [("number", pa.int64()), ("hash", pa.string()), ("base", pa.float64()), ("tuned", pa.float64())]
_CORPUS = [("replicate", pa.int64()), ("base", pa.float64()), ("tuned", pa.float64())]
_FLIPS = [
    ("task", pa.string()),
    ("leaf", pa.string()),
    ("number", pa.int64()),
    ("prompt", pa.string()),
    ("target", pa.string()),
    ("base_answer", pa.string()),
    ("tuned_answer", pa.string()),
    ("fell", pa.bool_()),
]
_VALUE, _ITEM = "value:", "item:"
Column = tuple[str, pa.DataType, Sequence[object]]


def block_to_bytes(key: str, result: BlockResult) -> bytes:
    """A block's result as sealed Parquet: a row a document, a column a metric; it names its own key."""
    responses = [[asdict(response) for response in row] for row in result.responses]
    columns = _columns(_BLOCK, [result.numbers, result.hashes, responses])
    columns += [(_VALUE + name, pa.float64(), values) for name, values in result.values.items()]
    columns += [(_ITEM + name, pa.string(), items) for name, items in result.items.items()]
    return seal(_write(columns, {"key": key, "seconds": float(result.seconds).hex(), "sha256": BLANK_SEAL}))


def block_from_bytes(key: str, content: bytes) -> BlockResult:
    """A block's result back. Raises `Damaged` where it is not whole, or answers for another key."""
    check_seal(content)
    table = _read(content, _BLOCK)
    metadata = table.schema.metadata or {}
    if metadata.get(b"key") != key.encode():
        raise Damaged("it is the result of another block")
    responses = [tuple(Response(**response) for response in row) for row in table["responses"].to_pylist()]
    return BlockResult(
        numbers=_numbers(table["number"]),
        hashes=tuple(table["hash"].to_pylist()),
        responses=tuple(responses),
        values={name: _numbers(column) for name, column in _prefixed(table, _VALUE)},
        items={name: tuple(column.to_pylist()) for name, column in _prefixed(table, _ITEM)},
        seconds=float.fromhex(metadata[b"seconds"].decode()),
    )


def pairs_to_bytes(measurement: Measurement) -> bytes:
    """The documents of a measurement: number, hash, base, tuned and, where there are such, weight, round,
    cluster and part."""
    m = measurement
    columns = _columns(_PAIRED, [m.numbers, m.hashes, m.base, m.tuned])
    if m.weights is not None:
        columns.append(("weight", pa.float64(), m.weights))
    if m.rounds is not None:
        columns.append(("round", pa.int64(), m.rounds))
    if m.clusters is not None:
        columns.append(("cluster", pa.string(), m.clusters))
    if m.parts is not None:
        columns.append(("part", pa.string(), m.parts))
    return _write(columns, {})


def add_pairs(head: Measurement, content: bytes) -> Measurement:
    """`head` with the documents of `pairs_to_bytes`. Raises `Damaged`."""
    table = _read(content, _PAIRED)
    return replace(
        head,
        numbers=_numbers(table["number"]),
        hashes=tuple(table["hash"].to_pylist()),
        base=_numbers(table["base"]),
        tuned=_numbers(table["tuned"]),
        weights=_numbers(table["weight"]) if "weight" in table.column_names else None,
        rounds=_numbers(table["round"]) if "round" in table.column_names else None,
        clusters=tuple(table["cluster"].to_pylist()) if "cluster" in table.column_names else None,
        parts=tuple(table["part"].to_pylist()) if "part" in table.column_names else None,
    )


def corpus_to_bytes(measurement: Measurement) -> bytes:
    """A corpus-level metric: replicate 0 is the value over all documents, the others are resampled."""
    rows = [measurement.corpus] if measurement.corpus is not None else []
    rows += measurement.replicates
    first = 0 if measurement.corpus is not None else 1
    numbers = range(first, first + len(rows))
    return _write(_columns(_CORPUS, [numbers, [row[0] for row in rows], [row[1] for row in rows]]), {})


def add_corpus(head: Measurement, content: bytes) -> Measurement:
    """`head` with corpus value and replicates of `corpus_to_bytes`. Raises `Damaged`."""
    table = _read(content, _CORPUS)
    numbers = _numbers(table["replicate"])
    rows = tuple(zip(_numbers(table["base"]), _numbers(table["tuned"]), strict=True))
    whole = bool(numbers) and numbers[0] == 0
    return replace(head, corpus=rows[0] if whole else None, replicates=rows[1:] if whole else rows)


def head_of(measurement: Measurement) -> Measurement:
    """A measurement without its arrays, which `add_pairs` and `add_corpus` put back."""
    empty: tuple[float, ...] = ()
    return replace(
        measurement,
        numbers=(),
        hashes=(),
        base=empty,
        tuned=empty,
        weights=None,
        corpus=None,
        replicates=(),
        rounds=None,
        clusters=None,
        parts=None,
    )


def flips_to_bytes(flips: Sequence[Flip]) -> bytes:
    """Flipped documents, a row each."""
    return _write(_columns(_FLIPS, [[getattr(flip, name) for flip in flips] for name, _ in _FLIPS]), {})


def flips_from_bytes(content: bytes) -> tuple[Flip, ...]:
    """Flipped documents back. Raises `Damaged`."""
    table = _read(content, _FLIPS)
    return tuple(Flip(*row) for row in zip(*(table[name].to_pylist() for name, _ in _FLIPS), strict=True))


def _columns(schema: Sequence[tuple[str, pa.DataType]], columns: Sequence[Sequence[object]]) -> list[Column]:
    return [(name, type_, column) for (name, type_), column in zip(schema, columns, strict=True)]


def _write(columns: Sequence[Column], metadata: Mapping[str, str]) -> bytes:
    arrays = [pa.array(values, type_, from_pandas=False) for _, type_, values in columns]
    schema = pa.schema([(name, type_) for name, type_, _ in columns])
    sink = pa.BufferOutputStream()
    # Hashes never repeat: no dictionary. Without Arrow's own schema the seal stands in the file only once.
    with pq.ParquetWriter(
        sink, schema, compression="zstd", use_dictionary=False, store_schema=False
    ) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        writer.add_key_value_metadata({"schema": str(SCHEMA), **metadata})
    return bytes(sink.getvalue())


def _read(content: bytes, schema: Sequence[tuple[str, pa.DataType]]) -> pa.Table:
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:  # Arrow raises OSError for a broken footer
        raise Damaged(f"it is not Parquet: {error}") from error
    for name, type_ in schema:
        # Lists come back as Parquet names their item, so their type is compared by what they hold.
        if name not in table.column_names or not _same(table.schema.field(name).type, type_):
            raise Damaged(f"it has no column {name} of {type_}")
    return table


def _same(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_list(wanted):
        return bool(pa.types.is_list(found) and found.value_type == wanted.value_type)
    return bool(found == wanted)


def _numbers(column: pa.ChunkedArray) -> tuple[Any, ...]:
    """A number column as Python numbers. Raises `Damaged` where one is absent (NaN is not absent)."""
    if column.null_count or column.type not in (pa.int64(), pa.float64()):
        raise Damaged("a number is missing")
    code: Literal["q", "d"] = "q" if column.type == pa.int64() else "d"
    numbers: list[Any] = []
    for chunk in column.chunks:
        if len(chunk):  # Arrow's own to_numpy() would import pandas, half a second
            view = memoryview(chunk.buffers()[1]).cast(code)
            numbers += view[chunk.offset : chunk.offset + len(chunk)].tolist()
    return tuple(numbers)


def _prefixed(table: pa.Table, prefix: str) -> list[tuple[str, pa.ChunkedArray]]:
    names = [name for name in table.column_names if name.startswith(prefix)]
    return [(name.removeprefix(prefix), table[name]) for name in names]
