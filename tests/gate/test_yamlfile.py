"""YAML files: what they mean, and every way in which they can be bad."""

import contextlib
import math
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import ConfigErrors
from gate.yamlfile import MAX_BYTES, key_name, load_yaml, nearest, resolve, shown

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
BAD = {
    "empty": (b"", "is empty"),
    "only a comment": (b"# nothing\n", "is empty"),
    "binary": (b"\x7fELF\0\0\1", "is a binary file"),
    "not UTF-8": (b"version: 1\nname: caf\xe9\n", "is not UTF-8 text"),
    "UTF-16": ("version: 1\n".encode("utf-16"), "is a binary file"),
    "half a character": (b'a: "\\ud83d"\n', "half a character"),
    "half a character in JSON's list": (b'{"a": ["x\\ude00y"]}', "half a character"),
    "half a character in a key": (b'{"a\\ud83d": 1}', "half a character"),
    "control character": (b"a: \x07\n", "control character"),
    "broken": (b"a: [1,\n", "is not valid YAML"),
    "broken nesting": (b"a: b: c\n", "is not valid YAML"),
    "a tab": (b"a:\n\t- b\n", "is not valid YAML"),
    "deep flow": (b"[" * 20_000 + b"]" * 20_000, "levels deep"),
    "deep mappings": (b"{a: " * 20_000, "levels deep"),
    "deep blocks": (b"- " * 20_000, "levels deep"),
    "alias bomb": (BOMB.encode(), "aliases expanded"),
    "alias of itself": (b"a: &a [*a]\n", "no finished anchor"),
    "unknown alias": (b"a: *b\n", "no finished anchor"),
    "duplicate key": (b"a: 1\nb: 2\na: 3\n", "is written twice, first in line 1"),
    "number as key": (b"1: a\n", "a key must be a word"),
    "list as key": (b"? [a]\n: b\n", "a key must be a word"),
    "merge key": (b"a: &a {b: 1}\nc:\n  <<: *a\n", "merge keys"),
    "two documents": (b"a: 1\n---\na: 2\n", "a second document"),
    "Python tag": (b"a: !!python/object/apply:os.system [ls]\n", "tags such as"),
    "function tag": (b"a: !function x.y\n", "tags such as"),
    "too large": (b"# " + b"x" * MAX_BYTES, "larger than 1 MiB"),
}


def write(folder: Path, content: bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_told_apart(tmp_path: Path, content: bytes, message: str) -> None:
    """Each bad file is a problem that says what is wrong, and exit code 2."""
    path = write(tmp_path, content)
    with pytest.raises(ConfigErrors) as caught:
        load_yaml(path)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert all(problem.file == str(path) for problem in caught.value.problems)


@pytest.mark.parametrize(("name", "message"), [("absent.yaml", "no such file"), (".", "is a folder")])
def test_no_file(tmp_path: Path, name: str, message: str) -> None:
    """A missing file and a folder are problems."""
    with pytest.raises(ConfigErrors, match=message):
        load_yaml(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="no such device")
def test_a_device_is_not_read() -> None:
    """A file without end is refused before it is read."""
    with pytest.raises(ConfigErrors, match="ordinary file"):
        load_yaml(Path("/dev/zero"))


def test_alias_bomb_takes_little_memory(tmp_path: Path) -> None:
    """A bomb of 9^10 values is refused within some megabytes."""
    path = write(tmp_path, BOMB.encode())
    tracemalloc.start()
    with pytest.raises(ConfigErrors):
        load_yaml(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * 2**20


def test_several_problems_at_once(tmp_path: Path) -> None:
    """Duplicates are told with both lines, all of them."""
    path = write(tmp_path, b"a: 1\nb: {c: 1, c: 2}\na: 2\n")
    with pytest.raises(ConfigErrors) as caught:
        load_yaml(path)
    assert [(p.line, p.key) for p in caught.value.problems] == [(2, "b.c"), (3, "a")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("2.0e-3", 2e-3), ("1E5", 1e5), ("-.5", -0.5), ("3.", 3.0), ("12", 12), ("-7", -7),
        ("0x1F", 31), ("0o17", 15), ("010", 10), ("no", "no"), ("yes", "yes"), ("off", "off"), ("true", True),
        ("False", False), ("~", None), ("", None), ("1_000", "1_000"), ("e5", "e5"), ("1:30", "1:30"),
        (".inf", math.inf), ("-.INF", -math.inf), ("none", "none"), ("9" * 5000, math.inf),
    ],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    """Numbers as the core schema has them; `no` is a word, `1e-4` a number."""
    result = resolve(text)
    assert result == value
    assert type(result) is type(value)


def test_nan_is_a_number() -> None:
    """`.nan` is read as what it is, so that readers can refuse it."""
    assert math.isnan(float(resolve(".nan") or 0))


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", False), ("On", True), ("010", 8), ("1_000", 1000), ("1e-4", 1e-4), ("none", "none")],
)
def test_yaml_1_1_reads_as_trainers_do(text: str, value: object) -> None:
    """Version 1.1 reads booleans and whole numbers as PyYAML does."""
    assert resolve(text, "1.1") == value


def test_quotes_make_words(tmp_path: Path) -> None:
    """Quoted scalars and block scalars stay text."""
    path = write(tmp_path, b"a: \"1\"\nb: 'no'\nc: |\n  1\n")
    assert load_yaml(path, version="1.1").data == {"a": "1", "b": "no", "c": "1\n"}


def test_a_pair_of_jsons_escapes_is_one_character(tmp_path: Path) -> None:
    """As `json.dumps` writes it; what comes out can be written to a file."""
    file = tmp_path / "x.json"
    file.write_bytes(b'{"name": "a\\ud83d\\ude80b"}')
    assert load_yaml(file).data["name"] == "a\U0001f680b"


def test_lines_and_digest(tmp_path: Path) -> None:
    """Keys and list entries know their line; a missing key has that of what is around it."""
    path = write(tmp_path, b"\xef\xbb\xbfa: 1\nb:\n  - c: 2\n    d: 3\n  - e\n")
    file = load_yaml(path)
    assert file.data == {"a": 1, "b": [{"c": 2, "d": 3}, "e"]}
    assert [file.line("a"), file.line("b"), file.line("b", 0, "d"), file.line("b", 1)] == [1, 2, 4, 5]
    assert file.line("b", 0, "absent", 3) == 3
    assert file.line("absent") == 1
    assert len(file.digest) == 64
    problem = file.problem(("b", 0, "d"), "is odd", "make it even")
    assert str(problem) == f"{path}:4: b[0].d: is odd (make it even)"


def test_aliases_within_reason(tmp_path: Path) -> None:
    """An anchor may be used a few times; its lines are those of where it was written."""
    file = load_yaml(write(tmp_path, b"a: &a\n  x: 1\nb: *a\n"))
    assert file.data == {"a": {"x": 1}, "b": {"x": 1}}
    assert file.line("b", "x") == 2


def test_words_for_messages() -> None:
    """Near words are found, far ones are not; long values are cut."""
    assert nearest("max_dorp", ["max_drop", "min_gain"]) == "did you mean `max_drop`?"
    assert nearest("zzz", ["max_drop"]) == ""
    assert key_name(("general", "tasks", 1, "max_drop")) == "general.tasks[1].max_drop"
    assert [shown(None), shown(True), shown([1]), shown({}), shown("a")] == [
        "nothing", "true", "a list", "a mapping", "`a`",
    ]  # fmt: skip
    assert len(shown("x" * 1000)) <= 60


@settings(max_examples=150, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever the file holds: data or `ConfigErrors`, never another exception."""
    path = write(tmp_path_factory.mktemp("fuzz"), content)
    with contextlib.suppress(ConfigErrors):
        load_yaml(path)


YAML_PIECES = st.sampled_from(
    [
        "a",
        "b: ",
        ": ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&x ",
        "*x",
        "!t ",
        "'",
        '"',
        "|",
        ">",
        "? ",
        "---\n",
        "#",
        "%YAML 1.2\n",
        "1",
        "~",
        "\\",
        "@",
        "`",
        "\t",
        "...\n",
        "!!str ",
        "<<: ",
    ]
)


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(YAML_PIECES, max_size=25))
def test_any_yaml_like_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    """Text made of YAML's own signs: data or `ConfigErrors`."""
    path = write(tmp_path_factory.mktemp("fuzz"), "".join(pieces).encode())
    with contextlib.suppress(ConfigErrors):
        load_yaml(path)
