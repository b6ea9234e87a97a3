"""A task is what its YAML names, wherever it lies: its digest and its sources change with each of those."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Read by `datasets` when it is imported: no trace in the user's cache.
os.environ.setdefault("HF_DATASETS_CACHE", tempfile.mkdtemp(prefix="ftgate-datasets-"))

from checks import open_tasks
from gate.records import Policy, TaskSpec

FILES = {
    # The task: it includes from beside its folder, and that from yet another one.
    "tasks/mine.yaml": """
include: ../lib/base.yaml
task: mine
process_results: !function inner.scores.right
""",
    "tasks/inner/scores.py": "def right(doc, results):\n    return {'acc': 1.0}\n",
    "lib/base.yaml": "include: ../root/root.yaml\nnum_fewshot: 0\ndoc_to_text: !function texts.text\n",
    "lib/texts.py": "def text(doc):\n    return ''\n",
    "root/root.yaml": """
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_target: 0
doc_to_choice: ["yes", "no"]
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "tasks/rows.jsonl": "".join(json.dumps({"n": str(n)}) + "\n" for n in range(3)),
    "text.txt": "A corpus of one document.",
}
NAMED = (
    "lib", "lib/base.yaml", "root/root.yaml", "tasks/inner", "tasks/mine.yaml", "tasks/rows.jsonl",
)  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A policy's folder with a task whose parts lie in four folders."""
    for name, text in FILES.items():
        file = tmp_path / "repository" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "repository"


def read(folder: Path) -> tuple[str, dict[str, str]]:
    """Digest and sources of the task, its policy in `folder`."""
    spec = TaskSpec("general", "mine", str(folder / "tasks" / "mine.yaml"))
    policy = Policy((), (spec,), include=(str(folder / "tasks"),), path=str(folder / "thresholds.yaml"))
    (task,) = open_tasks((spec,), policy, index_folder=None)
    return task.build(None).info.digest, dict(task.info.sources)


def test_sources_are_named_from_the_policy_and_move_with_it(repository: Path, tmp_path: Path) -> None:
    """What the YAML includes, at any depth, its functions' folders, its data; the same in a copy."""
    before = read(repository)
    assert sorted(Path(os.path.normpath(name)).as_posix() for name in before[1]) == sorted(NAMED)
    shutil.copytree(repository, tmp_path / "copy")
    assert read(tmp_path / "copy") == before


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tasks/mine.yaml", lambda text: text + "description: Think.\n"),
        ("tasks/inner/scores.py", lambda text: text.replace("1.0", "0.5")),
        ("tasks/inner/table.json", lambda text: "{}"),
        ("lib/base.yaml", lambda text: text + "target_delimiter: ''\n"),
        ("lib/texts.py", lambda text: text.replace("''", "'' or ''")),
        ("lib/neighbour.py", lambda text: "WORDS = 1\n"),
        ("root/root.yaml", lambda text: text.replace('"no"', '"nay"')),
        ("tasks/rows.jsonl", lambda text: text.replace("1", "7")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_named_file_is_in_digest_and_sources(repository: Path, name: str, change) -> None:
    """YAML, code and what may be read beside it, included YAML and its code, data: none may change unseen."""
    digest, sources = read(repository)
    file = repository / name
    file.write_text(change(file.read_text() if file.exists() else ""))
    after, changed = read(repository)
    assert after != digest
    assert changed != sources


def test_a_corpus_is_its_own_source(repository: Path) -> None:
    """By name and content."""
    spec = TaskSpec("text", "corpus", str(repository / "text.txt"))
    policy = Policy((), (spec,), path=str(repository / "thresholds.yaml"))
    (corpus,) = open_tasks((spec,), policy, index_folder=None)
    ((name, digest),) = corpus.info.sources
    assert (name, len(digest)) == ("text.txt", 64)
