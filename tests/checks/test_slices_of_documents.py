"""Which slice a document is in: fields, lengths, and what is told before anything is trained."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checks import open_tasks
from checks.parts import LONGEST, MOST_PARTS, part_of
from gate.errors import ConfigErrors, DataError
from gate.records import Policy, TaskSpec

TASK = """\
task: asked
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "1"
generation_kwargs: {until: ["."]}
num_fewshot: 0
metric_list: [{metric: %s, higher_is_better: true}]
"""
ROWS = [
    {"question": "x" * (10 + k), "subject": s, "year": 1990 + k} for k, s in enumerate(("law", "art", "law"))
]
Open = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """A task of three rows, as a policy would open it."""

    def open_(
        by: str, rows: list[dict[str, Any]] = ROWS, metric: str = "exact_match, aggregation: mean"
    ) -> Any:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "asked.yaml").write_text(textwrap.dedent(TASK) % metric)
        spec = TaskSpec("general", "asked", slice_by=by)
        return open_tasks((spec,), Policy((), (spec,), include=(str(tmp_path),)))[0]

    return open_


def test_documents_carry_the_field_that_slices_are_by(opened: Open) -> None:
    """And the task says how many documents each value has before anything is trained; a number is text."""
    task = opened("subject")
    assert (task.info.slice_by, task.info.parts) == ("subject", (("art", 1), ("law", 2)))
    assert task.info.sizes("subject") == {"art": 1, "law": 2}
    prepared = task.build(None)
    assert [document.part for document in prepared.leaves[0].documents] == ["law", "art", "law"]
    assert [document.part for document in opened("year").build(None).leaves[0].documents] == [
        "1990", "1991", "1992",
    ]  # fmt: skip


def test_slices_change_nothing_that_is_asked_or_stored(opened: Open) -> None:
    """The task's digest is the same, so that blocks in the store stay good."""
    digests = {by: opened(by).build(None).leaves[0].digest for by in ("subject", "length", "subtask")}
    assert len(set(digests.values())) == 1


def test_length_is_of_the_prompt_in_characters(opened: Open) -> None:
    """Quarters are foreseen by their number alone; of subtasks the leaves are."""
    task = opened("length")
    assert [document.part for document in task.build(None).leaves[0].documents] == ["10", "11", "12"]
    assert list(task.info.sizes("length").values()) == [0, 1, 1, 1]
    subtask = opened("subtask")
    assert [document.part for document in subtask.build(None).leaves[0].documents] == [None] * 3
    assert subtask.info.sizes("subtask") == {"asked": 3}


def problem(opened: Open, *asked: Any, **more: Any) -> str:
    with pytest.raises(ConfigErrors) as refused:
        opened(*asked, **more)
    (only,) = refused.value.problems
    return f"{only.message} ({only.hint})"


def test_a_field_that_is_not_there_is_told_with_those_that_are(opened: Open) -> None:
    """Before anything is trained."""
    said = problem(opened, "topic")
    assert "no field 'topic', which `slices: {by}` names" in said
    assert "(their fields are question, subject, year)" in said


def test_a_field_that_names_each_document_is_refused(opened: Open) -> None:
    """There is no slice of one."""
    rows = [{"question": "q", "id": k} for k in range(MOST_PARTS + 1)]
    assert "the field 'id' has 1,001 values" in problem(opened, "id", rows)


def test_a_metric_over_all_documents_has_no_slices(opened: Open) -> None:
    """BLEU of a part is another number than a part of BLEU."""
    assert "bleu of asked is one number over all documents" in problem(opened, "subject", metric="bleu")


def test_a_field_missing_later_is_an_error_of_the_data(opened: Open) -> None:
    """The first document has it, the second has not (by then `datasets` gives null: a slice of its own)."""
    with pytest.raises(DataError, match="no field 'subject'"):
        part_of("asked", {"question": "q"}, "q", "subject")
    assert part_of("asked", {"subject": None}, "q", "subject") == "null"


def test_long_and_odd_values_are_told_apart_and_can_be_stored() -> None:
    """Two long ones with one beginning are two slices; half a surrogate pair becomes text."""
    long = [part_of("t", {"s": "x" * 500 + end}, "", "s") for end in "ab"]
    assert long[0] != long[1]
    assert all(name is not None and len(name) <= LONGEST for name in long)
    odd = part_of("t", {"s": "\ud800"}, "", "s")
    assert odd is not None
    odd.encode()
