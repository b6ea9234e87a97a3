"""Make the demo's embedded data from the published data sets, by one fixed rule.

The rule: order by the SHA-256 of the text, take the first ones. Nothing was picked by hand and
nothing was picked by outcome, except the five paradigms of BLiMP: those on which the base model is
clearly above chance (a task at chance cannot show forgetting).

    python benchmarks/make_demo_data.py --blimp DIR --banking-train FILE --banking-test FILE \
        --text FILE gate/demo/data

DIR holds `PARADIGM.jsonl` of BLiMP (`sentence_good`, `sentence_bad`); the Banking77 files are JSON
lines of `text`, `category`; the text file is JSON lines of `text`, of which only the word problems of
GSM8K are taken: the rest of the held-out text has no licence that lets us ship it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

PARADIGMS = (
    "adjunct_island",
    "determiner_noun_agreement_irregular_2",
    "irregular_past_participle_verbs",
    "superlative_quantifiers_1",
    "wh_questions_object_gap",
)
PAIRS = 300  # of each paradigm
INTENTS = 12
TRAINING_ROWS = 960  # one epoch is 60 steps of 16
TEST_ROWS = 20  # of each intent

Row = dict[str, str]


def by_hash(texts: Iterable[str]) -> list[str]:
    """The distinct texts in the order of their SHA-256."""
    return sorted(set(texts), key=lambda text: sha256(text.encode()).hexdigest())


def read(path: Path) -> list[Row]:
    """The rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, rows: Iterable[dict[str, str | int]]) -> None:
    """Write JSON lines, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def spoken(category: str) -> str:
    """`reverted_card_payment?` as a person says it."""
    return category.rstrip("?").replace("_", " ")


def minimal_pairs(rows: list[Row]) -> Iterator[dict[str, str | int]]:
    """The first `PAIRS` sentence pairs of one paradigm."""
    bad = {row["sentence_good"]: row["sentence_bad"] for row in rows}
    for good in by_hash(bad)[:PAIRS]:
        yield {"sentence_good": good, "sentence_bad": bad[good]}


def training(rows: list[Row], intents: list[str]) -> Iterator[dict[str, str | int]]:
    """Prompts and completions for TRL, of the chosen intents only."""
    category = {row["text"]: row["category"] for row in rows if row["category"] in intents}
    for text in by_hash(category)[:TRAINING_ROWS]:
        yield {"prompt": f"Customer: {text}\nIntent:", "completion": f" {spoken(category[text])}"}


def questions(rows: list[Row], intents: list[str]) -> Iterator[dict[str, str | int]]:
    """The first `TEST_ROWS` test questions of each intent, with the intent's number."""
    for number, intent in enumerate(intents):
        for text in by_hash(row["text"] for row in rows if row["category"] == intent)[:TEST_ROWS]:
            yield {"text": text, "intent": number}


def word_problems(rows: list[Row]) -> Iterator[dict[str, str | int]]:
    """The documents that come from GSM8K, in the file's order."""
    for row in rows:
        if row["text"].startswith("Question: "):
            yield {"text": row["text"]}


def main() -> None:
    """Read the sources that the command line names and write the demo's files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for source in ("blimp", "banking-train", "banking-test", "text"):
        parser.add_argument(f"--{source}", type=Path, required=True)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()

    train_rows, test_rows = read(options.banking_train), read(options.banking_test)
    intents = sorted(by_hash(row["category"] for row in train_rows)[:INTENTS])
    write(options.folder / "train" / "train.jsonl", training(train_rows, intents))
    write(options.folder / "banking12.jsonl", questions(test_rows, intents))
    for paradigm in PARADIGMS:
        pairs = minimal_pairs(read(options.blimp / f"{paradigm}.jsonl"))
        write(options.folder / "blimp" / f"{paradigm}.jsonl", pairs)
    write(options.folder / "text.jsonl", word_problems(read(options.text)))
    print("intents:", [spoken(intent) for intent in intents])


if __name__ == "__main__":
    main()
