"""Which part of its task a document is in, where a rule holds a task's parts one by one."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.utils import handle_non_serializable

from checks.problems import BadTask
from gate.errors import DataError

BUILT_IN = ("subtask", "length")  # parts that are no field of a document
MOST_PARTS = 1000  # a field with more values says which document it is, and not of which kind
LONGEST = 120  # characters of a part's name


def part_of(task: str, doc: Any, prompt: str, by: str) -> str | None:
    """The name of a document's part: its value of the field `by`, or the length in characters of its prompt
    (without examples and template), of which the verdict makes quarters; None for `subtask`, the leaf.

    Raises DataError where the document has no such field.
    """
    if by == "subtask":
        return None
    if by == "length":
        return str(len(prompt))
    if not isinstance(doc, Mapping) or by not in doc:
        fields = ", ".join(map(str, doc)) if isinstance(doc, Mapping) else "none"
        raise DataError(
            f"a document of {task} has no field {by!r}, which `slices: {{by}}` names",
            hint=f"its fields are {fields}",
        )
    return _named(doc[by])


def count_parts(
    leaves: Mapping[str, Any], documents: Callable[[Any], Sequence[object]], by: str
) -> tuple[tuple[str, int], ...]:
    """How many documents have each value of the field `by`; raises BadTask where it has too many values."""
    found: Counter[str] = Counter()
    for task in leaves.values():
        found.update(_named(doc[by]) for doc in documents(task) if isinstance(doc, Mapping) and by in doc)
    if len(found) > MOST_PARTS:
        raise BadTask(
            f"the field {by!r} has {len(found):,} values, and slices are at most {MOST_PARTS:,}",
            hint="name a field that says of which kind a document is",
        )
    return tuple(sorted(found.items()))


def _named(value: object) -> str:
    """A value as text; of a long one its beginning, and a digest that tells it from others."""
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value, default=handle_non_serializable, sort_keys=True)
    )
    text = text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair could not be stored
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: LONGEST - 10]} {digest}"
