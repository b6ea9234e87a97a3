"""The shipped table of clusters: its fields are in lm-eval's own task files, and a policy overrides it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from checks.benchmark_tasks import OWN_TASKS
from gate.policy import load_policy
from gate.policy.clusters import CLUSTERS, FAMILIES, cluster_field

ONE_OF_A_FAMILY = ("belebele_eng_Latn", "mlqa_en_en", "xquad_en")
FOLDERS = {
    "boolq": "super_glue/boolq", "boolq-seq2seq": "super_glue/boolq", "multirc": "super_glue/multirc",
    "record": "super_glue/record", "qasper_bool": "qasper",
}  # fmt: skip


@cache
def folder_of(task: str) -> Path:
    """The folder of a task's file: that of its name's beginning, where not named above."""
    return OWN_TASKS / FOLDERS.get(task, task if (OWN_TASKS / task).is_dir() else task.partition("_")[0])


@pytest.mark.parametrize("task", [*CLUSTERS, *ONE_OF_A_FAMILY])
def test_lm_eval_reads_that_field_of_that_task(task: str) -> None:
    """The task's own YAML, or what it includes, or its Python, names the field in what the model reads."""
    folder, field = folder_of(task), re.escape(cluster_field(task) or "")
    files = [file for file in folder.iterdir() if file.is_file()]
    names = [file for file in files if re.search(rf"(?m)^task: \"?{re.escape(task)}\"?$", file.read_text())]
    assert names, f"no file of {folder} is {task}"
    read = [
        file.read_text() for file in files if file in names or "common" in file.name or "_yaml" in file.name
    ]
    read += [file.read_text() for file in folder.glob("*.py")]
    templates = [text for text in read if re.search(rf"\{{\{{ *{field}\b|doc\[\"{field}\"\]", text)]
    base = [file.read_text() for file in files if re.search(r"(?m)^include: ", file.read_text())]
    included = [folder / re.search(r"(?m)^include: (\S+)", text)[1] for text in base]  # type: ignore[index]
    templates += [
        f.read_text() for f in included if f.is_file() and re.search(rf"\{{\{{ *{field}\b", f.read_text())
    ]
    assert templates, f"nothing that the model reads of {task} is called {field}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_more_than_one_task(family: str) -> None:
    """A beginning of names stands for tasks that are there."""
    folder = OWN_TASKS / family.rstrip("_")
    assert len(list(folder.glob(f"{family}*.yaml"))) > 5


def policy(folder: Path, decide: str, entry: str) -> Any:
    path = folder / "p.yaml"
    rules = f"target: [{{task: boolq, min_gain: 0}}]\ngeneral: {{tasks: [{entry}]}}\n"
    path.write_text(f"version: 1\ndecide: {decide}\n{rules}")
    return {spec.id: spec.cluster_by for spec in load_policy(path).tasks}


def test_a_proof_takes_the_table_and_a_policy_takes_its_place(tmp_path: Path) -> None:
    """`proven` alone needs clusters, of general tasks alone; a field that the policy names comes first."""
    known = "{task: boolq, max_drop: 0.1}"
    assert policy(tmp_path, "proven", known) == {"target/boolq": None, "general/boolq": "passage"}
    assert policy(tmp_path, "full", known)["general/boolq"] is None
    named = "{task: boolq, max_drop: 0.1, cluster_by: idx}"
    assert policy(tmp_path, "proven", named)["general/boolq"] == "idx"
    assert policy(tmp_path, "proven", "{task: piqa, max_drop: 0.1}")["general/piqa"] is None


def test_what_has_one_question_a_text_is_not_in_the_table() -> None:
    """RACE and CoQA ask one question of each text; a name is no beginning of another."""
    assert [cluster_field(name) for name in ("race", "coqa", "hellaswag", "drop_of_water")] == [None] * 4
