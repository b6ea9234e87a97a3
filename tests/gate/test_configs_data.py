"""Training data on disk: which files a split has, and what TRL cannot train on."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gate.configs import load_config
from gate.configs.data import Lacking, Wanted, check_files, check_row, split_files
from gate.errors import ConfigErrors
from gate.records import Dataset

ROW = {"prompt": "a", "completion": "b"}
CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["data.jsonl"], {"train": ["data.jsonl"]}),
        (["a.jsonl", "b.jsonl"], {"train": ["a.jsonl", "b.jsonl"]}),
        (["train.jsonl", "test.jsonl"], {"train": ["train.jsonl"], "test": ["test.jsonl"]}),
        (["my-train_2.jsonl", "other.jsonl"], {"train": ["my-train_2.jsonl"]}),
        (["training.csv", "dev.csv"], {"train": ["training.csv"], "validation": ["dev.csv"]}),
        (["train/x.jsonl", "test/x.jsonl"], {"train": ["train/x.jsonl"], "test": ["test/x.jsonl"]}),
        (["test.jsonl"], {"test": ["test.jsonl"]}),
        (["constraint.jsonl"], {"train": ["constraint.jsonl"]}),
        ([".hidden.jsonl", "README.md", "notes.xyz"], {}),
    ],
)
def test_splits_are_those_of_datasets(tmp_path: Path, names: list[str], splits: dict[str, list[str]]) -> None:
    """Names of folders and files say which split a file belongs to; without such names all are `train`."""
    for name in names:
        write(tmp_path / name, "x\n")
    assert split_files(tmp_path) == {
        split: tuple(tmp_path / name for name in files) for split, files in splits.items()
    }


def test_a_dataset_card_says_it_itself(tmp_path: Path) -> None:
    """With `configs:` in the card, the files are the card's business."""
    write(tmp_path / "README.md", "---\nconfigs:\n- config_name: x\n---\n")
    assert split_files(tmp_path) is None


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (ROW, Wanted()),
        ({"text": "a", "label": 1}, Wanted()),
        ({"body": "a"}, Wanted(text_field="body")),
        ({"messages": CHAT}, Wanted(assistant_only=True)),
        ({"conversations": [{"from": "user", "value": "a"}]}, Wanted()),
        ({"prompt": CHAT[:1], "completion": CHAT[1:]}, Wanted(completion_only=True)),
        ({"input_ids": [1, 2]}, Wanted()),
        ({**ROW, "x": 1}, Wanted(columns=("prompt", "completion"))),
    ],
)
def test_rows_that_train(row: object, wanted: Wanted) -> None:
    """Every shape that TRL takes is let through."""
    check_row(row, wanted)


@pytest.mark.parametrize(
    ("row", "wanted", "message"),
    [
        ({"question": "a", "answer": "b"}, Wanted(), "lacks the columns to train on"),
        ({"prompt": "a"}, Wanted(), "lacks the columns to train on"),
        ({"text": "a"}, Wanted(text_field="body"), "expected `body`"),
        ({}, Wanted(), "found none"),
        ("text", Wanted(), "expected an object with columns"),
        ({"text": None}, Wanted(), "`text`: expected text"),
        ({"text": 5}, Wanted(), "got 5"),
        ({"messages": []}, Wanted(), "an empty list"),
        ({"messages": "a"}, Wanted(), "messages with `role`"),
        ({"messages": [{"content": "a"}]}, Wanted(), "messages with `role`"),
        ({"conversations": CHAT}, Wanted(), "`from` and `value`"),
        ({"prompt": "a", "completion": CHAT}, Wanted(), "both be text or both be messages"),
        ({"text": "a"}, Wanted(completion_only=True), "`completion_only_loss` needs"),
        ({"text": "a"}, Wanted(assistant_only=True), "`assistant_only_loss` needs"),
        (ROW, Wanted(assistant_only=True), "`assistant_only_loss` needs"),
        (ROW, Wanted(columns=("prompt",)), "lacks the columns"),
        (ROW, Wanted(tokenised=True), "needs a column `input_ids`"),
    ],
)
def test_rows_that_do_not_train(row: object, wanted: Wanted, message: str) -> None:
    """What TRL would stumble over is named."""
    with pytest.raises(Lacking) as caught:
        check_row(row, wanted)
    assert message in str(caught.value)


FILES = {
    "empty": ("a.jsonl", "", None, "is empty"),
    "blank": ("a.jsonl", "\n\n", None, "holds no rows"),
    "broken line": ("a.jsonl", json.dumps(ROW) + "\n{broken\n", 2, "is not valid JSON"),
    "late row": ("a.jsonl", f"{json.dumps(ROW)}\n\n{json.dumps({'prompt': 'a'})}\n", 3, "lacks the columns"),
    "broken JSON": ("a.json", '[{"text": "a"},\n{]', 2, "is not valid JSON"),
    "deep JSON": ("a.jsonl", "[" * 100_000 + "\n", None, "is not valid JSON"),
    "empty JSON": ("a.json", "[]", None, "holds no rows"),
    "CSV columns": ("a.csv", "question,answer\na,b\n", 2, "lacks the columns"),
    "CSV header alone": ("a.csv", "text\n", None, "holds no rows"),
    "bad Parquet": ("a.parquet", "hello", None, "is not valid Parquet"),
}


@pytest.mark.parametrize(("name", "text", "line", "message"), FILES.values(), ids=FILES)
def test_odd_data_files(tmp_path: Path, name: str, text: str, line: int | None, message: str) -> None:
    """Empty, broken and unfit files are told with the line."""
    path = write(tmp_path / name, text)
    (found,) = check_files([path], Wanted())
    assert (found.file, message in found.message) == (str(path), True)
    assert line in (None, found.line)


def test_data_that_is_not_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are told."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "caf\xe9"}\n')
    (found,) = check_files([path], Wanted())
    assert found.message == "is not UTF-8 text"


def test_parquet_by_its_columns(tmp_path: Path) -> None:
    """Parquet files are judged by schema and number of rows."""
    good, bad, none = tmp_path / "good.parquet", tmp_path / "bad.parquet", tmp_path / "none.parquet"
    pq.write_table(pa.table({"text": ["a"]}), good)
    pq.write_table(pa.table({"x": ["a"]}), bad)
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), none)
    found = check_files([good, bad, none], Wanted())
    assert [Path(problem.file).name for problem in found] == ["bad.parquet", "none.parquet"]


def test_few_problems_a_file(tmp_path: Path) -> None:
    """A file that is wrong in each row does not fill the screen."""
    path = write(tmp_path / "a.jsonl", '{"x": 1}\n' * 100)
    assert len(check_files([path], Wanted())) == 3


def config(folder: Path, data: Path, more: str = "") -> Path:
    return write(folder / "c.yaml", f"model_name_or_path: a/b\ndataset_name: {data}\n{more}")


@pytest.mark.parametrize(
    ("name", "text", "more", "message"),
    [
        ("train.jsonl", '{"q": 1}\n', "", "lacks the columns"),
        ("train.jsonl", "", "", "is empty"),
        ("test.jsonl", json.dumps(ROW), "", "has no split `train` (found test)"),
        ("train.jsonl", json.dumps(ROW), "eval_strategy: epoch\n", "has no split `test`"),
        ("train.jsonl", json.dumps(ROW), "dataset_train_split: sft\n", "has no split `sft`"),
        ("notes.md", "x", "", "holds no data files"),
        ("state.json", "{}", "", "`save_to_disk`"),
    ],
)
def test_configs_look_at_their_data(tmp_path: Path, name: str, text: str, more: str, message: str) -> None:
    """A config whose data cannot train is refused when it is read."""
    data = tmp_path / "data"
    write(data / name, text)
    with pytest.raises(ConfigErrors) as caught:
        load_config(config(tmp_path, data, more))
    assert message in str(caught.value)


def test_data_may_be_elsewhere_when_nothing_is_trained(tmp_path: Path) -> None:
    """A config whose model was trained elsewhere is read without its data; other mistakes still count."""
    path = config(tmp_path, tmp_path / "none")
    assert load_config(path, trains=False).datasets == (Dataset(str(tmp_path / "none"), None, "train"),)
    with pytest.raises(ConfigErrors, match="learning_rate"):
        load_config(config(tmp_path, tmp_path / "none", "learning_rate: -1\n"), trains=False)


def test_a_data_file_is_no_folder(tmp_path: Path) -> None:
    """TRL takes folders; a file is told how to be named."""
    with pytest.raises(ConfigErrors, match="is a file, TRL takes a folder"):
        load_config(config(tmp_path, write(tmp_path / "a.jsonl", json.dumps(ROW))))


def test_good_data_is_let_through(tmp_path: Path) -> None:
    """A folder with both splits loads, and is named as the config names it."""
    for name in ("train.jsonl", "test.jsonl"):
        write(tmp_path / "data" / name, json.dumps(ROW) + "\n")
    read = load_config(config(tmp_path, tmp_path / "data", "eval_strategy: steps\n"))
    assert [data.name for data in read.datasets] == [str(tmp_path / "data")]
