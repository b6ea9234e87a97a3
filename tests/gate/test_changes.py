"""gate.changes: which configs count as changed, and why; tables."""

from __future__ import annotations

import pytest

from gate.changes import (
    MOST_NAMES,
    Changes,
    FileChange,
    Trees,
    all_configs,
    dependencies,
    depends,
    find_changes,
    matches,
    narrowed,
    policy_files,
    texts_of,
)
from gate.records import ChangedConfig

A, B = "configs/a.yaml", "configs/b.yaml"
WEIGHTS = "base/model.safetensors"
TEXTS = {A: ("data/a", "base"), B: ("data/b", "base")}


def trees(**changed: object) -> Trees:
    fields = {"head": TEXTS, "base": TEXTS, "links": {}, "policy_files": frozenset({"tasks/t.yaml"})}
    return Trees(**(fields | changed))  # type: ignore[arg-type]


def modified(*paths: str) -> list[FileChange]:
    return [FileChange("M", path) for path in paths]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], []),
        (modified("README.md", "src/train.py"), []),
        (modified(A), [ChangedConfig(A, "edited")]),
        (modified(A, "data/a/x.jsonl"), [ChangedConfig(A, "edited")]),
        (modified("data/a/x.jsonl"), [ChangedConfig(A, "data", "data/a/x.jsonl")]),
        ([FileChange("D", "data/a/x.jsonl")], [ChangedConfig(A, "data", "data/a/x.jsonl")]),
        ([FileChange("R", "old/x", "data/a/x.jsonl")], [ChangedConfig(A, "data", "data/a/x.jsonl")]),
        (modified("data/ab/x.jsonl"), []),
        (modified("data/a.dvc"), [ChangedConfig(A, "data", "data/a.dvc")]),
        (
            modified(WEIGHTS),
            [ChangedConfig(A, "data", WEIGHTS), ChangedConfig(B, "data", WEIGHTS)],
        ),
        (
            modified("tasks/t.yaml"),
            [ChangedConfig(A, "task", "tasks/t.yaml"), ChangedConfig(B, "task", "tasks/t.yaml")],
        ),
        ([FileChange("T", A)], [ChangedConfig(A, "edited")]),
        ([FileChange("R", A, "old/a.yaml")], [ChangedConfig(A, "edited")]),  # the old one was no config
    ],
)  # fmt: skip
def test_reasons(files: list[FileChange], expected: list[ChangedConfig]) -> None:
    """A config's own change weighs more than its data's, and that more than the tasks'."""
    assert list(find_changes(files, trees()).changed) == expected


def test_a_changed_policy_touches_every_config() -> None:
    """Those that nothing else touches are measured for the policy's sake."""
    found = find_changes(modified(A), trees(), policy=True).changed
    assert found == (ChangedConfig(A, "edited"), ChangedConfig(B, "policy"))


def test_an_added_config() -> None:
    """It was no config at the base ref."""
    found = find_changes([FileChange("A", A)], trees(base={B: ()}))
    assert found.changed == (ChangedConfig(A, "added"),)


def test_what_was_a_config_stays_one_whatever_was_made_of_it() -> None:
    """Padded, broken, renamed away from .yaml: nobody gets a config out of the gate's sight by editing it."""
    gone = trees(head={B: ()})
    assert find_changes(modified(A), gone).changed == (ChangedConfig(A, "edited"),)
    renamed = find_changes([FileChange("R", "notes.txt", A)], gone).changed
    assert renamed == (ChangedConfig("notes.txt", "renamed", previous_path=A),)


def test_a_deleted_config_is_told_and_not_run() -> None:
    """There is nothing to train; that it went is said."""
    assert find_changes([FileChange("D", A)], trees(head={B: ()})) == Changes((), (A,))


@pytest.mark.parametrize(
    ("file", "seen"),
    [
        (FileChange("M", "other/c.yaml"), False),
        (FileChange("R", "other/c.yaml", A), True),  # out of the patterns: its old name counts
        (FileChange("R", A, "other/c.yaml"), True),
    ],
)
def test_patterns_narrow_by_the_old_or_the_new_name(file: FileChange, seen: bool) -> None:
    """No config leaves the gate's sight by being moved out of the patterns."""
    there = {**TEXTS, "other/c.yaml": ()}
    found = find_changes([file], trees(head=there, base=there), patterns=["configs/*.yaml"])
    assert bool(found.changed) is seen


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("configs/a.yaml", "configs/*.yaml", True),
        ("configs/deep/a.yaml", "configs/*.yaml", False),
        ("configs/deep/a.yaml", "configs/**", True),
        ("configs/a.yaml", "configs/**/*.yaml", True),
        ("configs/deep/er/a.yaml", "configs/**/*.yaml", True),
        ("a.yaml", "**/*.yaml", True),
        ("a.yaml", "./a.yaml", True),
        ("aXyaml", "a.yaml", False),
        ("ab.yaml", "a?.yaml", True),
        ("a\nb.yaml", "*.yaml", True),
    ],
)
def test_patterns(path: str, pattern: str, expected: bool) -> None:
    """`*` stays in a folder, `**` does not, and all else is taken literally."""
    assert matches(path, [pattern]) is expected


@pytest.mark.parametrize(
    ("named", "changed", "expected"),
    [
        ("data/a", "data/a", True),
        ("data/a", "data/a/b/c", True),
        ("data/a", "data", True),  # a submodule or link that holds what is named
        ("data/*.jsonl", "data/x.jsonl", True),
        ("data/*.jsonl", "data/x.csv", False),
        ("data/x-?.jsonl", "data/x-1.jsonl", True),
        ("data/x-[0-9].jsonl", "data/x-1.jsonl", True),
        ("data/{x,y}.jsonl", "data/y.jsonl", True),
        ("data/**/x.jsonl", "data/x.jsonl", True),
        ("**/x.jsonl", "x.jsonl", True),
        ("other/[xy].jsonl", "data/x.jsonl", False),
        ("**", "data/x.jsonl", True),
        ("{% for m in messages %}{{ m }}{% endfor %}", "README.md", False),
        ('{"a": [1]}', "README.md", False),
        ("*a" * 50 + "b", "a" * 4000, False),  # at once, whatever the pattern
        (".", "anything", True),
        ("data", "database", False),
    ],
)
def test_dependence(named: str, changed: str, expected: bool) -> None:
    """A file, a folder, a pattern, or what lies above."""
    assert depends(named, changed) is expected


def test_links_are_followed() -> None:
    """Data behind a symbolic link, through several and through folders, is data all the same."""
    links = {"data/a": "shared/v2", "shared/v2": "store/two"}
    assert dependencies(["data/a/x.jsonl"], links) >= {"shared/v2/x.jsonl", "store/two/x.jsonl"}
    loop = {"a": "b", "b": "a"}
    assert dependencies(["a"], loop) == {"a", "b"}
    found = find_changes(modified("store/two/x.jsonl"), trees(links=links))
    assert found.changed == (ChangedConfig(A, "data", "store/two/x.jsonl"),)


def test_links_without_end_count_as_everything() -> None:
    """Each of these links makes two names of every one: what cannot be followed is not left out."""
    links = {f"l{n}{end}": f"l{n + 1}{end}/{deep}" for n in range(60) for end in "ab" for deep in "xy"}
    endless = {f"d{n}": "d" for n in range(200)} | {"d": "d/d"}
    assert len(dependencies(["l0a", "d/x", *endless], {**links, **endless})) <= MOST_NAMES


def test_names_are_normal_and_stay_inside() -> None:
    """`./x/` is `x`; absolute paths and home folders are not of the repository."""
    assert dependencies(["./data/x/", "/etc/passwd", "~/x", ""], {}) == {"data/x"}


def test_texts_of_a_config() -> None:
    """Every text at any depth, but the places for output."""
    data = {"output_dir": "out", "a": "x", "b": [{"c": "y"}, 7, None], "d": {"e": ["x", "z"]}}
    assert texts_of(data) == ("x", "y", "z")
    assert texts_of("word") == ("word",)


def test_all_configs() -> None:
    """A schedule measures every config that the patterns allow, in order."""
    found = all_configs([B, A, "x.yaml"], "all", ["configs/*"])
    assert found.changed == (ChangedConfig(A, "all"), ChangedConfig(B, "all"))


def test_what_a_policys_tasks_depend_on() -> None:
    """Task files in the folder, what they include, their code and their data, wherever it lies."""
    content = {
        "tasks/t.yaml": "include: _base_yaml\ndataset_kwargs: {data_files: {test: data/q.jsonl}}",
        "tasks/_base_yaml": "process_docs: !function code.f\nx: ../more/y.yaml",
        "tasks/code.py": "open('lists/words.txt')",
        "more/y.yaml": "d: [extra]",
        "extra/one.txt": "",
        "data/q.jsonl": "",
        "data/other.jsonl": "",
        "lists/words.txt": "",
        "corpus.jsonl": "configs/a.yaml",
        "configs/a.yaml": "",
    }
    assert policy_files({"tasks/", "corpus.jsonl"}, content.keys(), content.__getitem__) == {
        "tasks/t.yaml", "tasks/_base_yaml", "tasks/code.py", "more/y.yaml", "extra/one.txt", "data/q.jsonl",
        "lists/words.txt", "corpus.jsonl",
    }  # fmt: skip


@pytest.mark.parametrize("status", ["A", "M"])
def test_a_config_rewritten_in_another_place_is_measured_there(status: str) -> None:
    """Deleted within the patterns and written anew outside, past git's rename detection: it counts, by the
    policy's patterns and by the command line's; without the deletion the place outside does not."""
    outside = "scratch/a.yaml"
    known = trees(head={outside: ()}, base=TEXTS | ({} if status == "A" else {outside: ()}))
    files = [FileChange("D", A), FileChange(status, outside)]
    patterns = ("configs/*.yaml",)
    expected = Changes((ChangedConfig(outside, "added" if status == "A" else "edited"),), (A,))
    assert find_changes(files, known, patterns=patterns) == expected
    assert narrowed(find_changes(files, known), patterns) == expected
    assert find_changes(files[1:], known, patterns=patterns) == Changes()
    assert narrowed(find_changes(files[1:], known), patterns) == Changes()
