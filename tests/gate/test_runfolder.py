"""The run folder: what was written comes back equal, damage is told, old runs stay readable.

`python tests/gate/test_runfolder.py FOLDER` writes the sample run that is kept under `data/`.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.configs import load_config
from gate.environment import Device, Environment
from gate.errors import StoreError, UsageError
from gate.records import (
    ConfigRef,
    Cost,
    Dataset,
    Flip,
    Leaf,
    Measurement,
    Measurements,
    ModelRef,
    Override,
    Place,
    Plan,
    Policy,
    Provenance,
    Rule,
    RunFacts,
    TaskInfo,
    TaskSpec,
    TrainingConfig,
)
from gate.runfolder import RunFolder
from gate.sealed import seal_record

DATA = Path(__file__).parent / "data"
HASHES = tuple(f"{number:064x}" for number in range(4))
BASE = ModelRef("base", "/models/base", "sha256:" + "1" * 64)
TUNED = ModelRef("out/lora", "/models/lora", "sha256:" + "2" * 64, "adapter")


def measurement(task: str = "target/banking77", leaf: str = "banking77", **changes: object) -> Measurement:
    plain = Measurement(
        task=task,
        leaf=leaf,
        check="benchmarks",
        metric="acc",
        filter="none",
        unit="fraction",
        higher_is_better=True,
        aggregation="mean",
        numbers=(0, 1, 2, 3),
        hashes=HASHES,
        base=(0.0, 1.0, 1.0, 0.0),
        tuned=(1.0, 1.0, 0.0, 1.0),
        documents_total=4,
    )
    return replace(plain, **changes)


SAMPLE = Measurements(
    base=BASE,
    tuned=TUNED,
    tasks=(
        TaskInfo(
            task="target/banking77",
            check="benchmarks",
            metric="acc",
            filter="none",
            unit="fraction",
            higher_is_better=True,
            leaves=(Leaf("banking77", 4, 4),),
            metric_reason="the only one",
            digest="sha256:" + "3" * 64,
        ),
    ),
    measurements=(
        measurement(),
        measurement(
            "text/general",
            "general.jsonl",
            check="bits_per_byte",
            aggregation="ratio",
            unit="bits per byte",
            base=(10.5, 20.25, 1 / 3, 7.0),
            tuned=(11.5, 20.25, 2 / 3, 7.5),
            weights=(8.0, 16.0, 3.0, 5.0),
        ),
        measurement(
            "general/translate",
            aggregation="corpus",
            corpus=(31.5, 29.25),
            replicates=((31.0, 29.0), (32.5, 30.0)),
        ),
    ),
    flips=(
        Flip(
            "target/banking77",
            "banking77",
            2,
            "Where is my card?\n```",
            "lost_card",
            "lost_card",
            "top_up",
            True,
        ),
    ),
)
POLICY = Policy(
    rules=(Rule("target", "banking77", "min_gain", 0.05, place=Place("thresholds.yaml", 4)),),
    tasks=(TaskSpec("target", "banking77"),),
    decide="full",
    path="thresholds.yaml",
    digest="sha256:" + "4" * 64,
)
CONFIG = TrainingConfig(
    trainer="trl",
    method="lora",
    base_model="base",
    base_revision=None,
    datasets=(Dataset("data"),),
    settings={"learning_rate": 1e-4, "lora_target_modules": ["q", "v"], "seed": None},
    lines={"learning_rate": 3},
    overrides=(Override("report_to", "wandb", "none", "children run offline"),),
)
FACTS = RunFacts(
    config=ConfigRef("lora.yaml", "sha256:" + "5" * 64, "lora", "trl", "base"),
    cost=Cost(training_seconds=12.5, blocks_scored=3),
    provenance=Provenance(
        ftgate="0.1.0",
        created="2026-11-24T12:00:00+00:00",
        policy_path="thresholds.yaml",
        policy_digest=POLICY.digest,
        device="cpu",
        dtype="float32",
        scorer="hf",
        quantization="none",
        batch_size=16,
        salt_digest="sha256:" + "6" * 64,
        versions={"torch": "2.13.0"},
    ),
    tuned_path="/models/lora",
)
ENVIRONMENT = Environment("0.1.0", "3.11.7", "Linux", Device("cpu", "a processor"), 2, {"torch": "2.13.0"})
RECORDS = {
    "policy.resolved.json": POLICY,
    "config.resolved.json": CONFIG,
    "plan.json": Plan(POLICY, BASE, SAMPLE.tasks, CONFIG),
    "run.json": FACTS,
    "environment.json": ENVIRONMENT,
}


def write_run(path: Path) -> RunFolder:
    """Write the sample run, every file that the folder's own code writes."""
    folder = RunFolder.begin(path)
    for name, record in RECORDS.items():
        folder.write_record(name, record)
    folder.write_measurements(SAMPLE)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "run")


# ── Round trips ──────────────────────────────────────────────────────────────────────────────────


def test_a_stored_run_of_schema_1_is_still_read() -> None:
    """A run that an earlier ftgate wrote reads back as what it measured then."""
    folder = RunFolder.open(DATA / "run-v1")
    assert folder.read_measurements() == SAMPLE
    for name, record in RECORDS.items():
        assert folder.read_record(name, type(record)) == record


def test_every_record_comes_back_equal(run: RunFolder) -> None:
    """Policy, config, plan, facts and environment read back as they were written."""
    for name, record in RECORDS.items():
        assert run.read_record(name, type(record)) == record


def test_the_files_can_be_read_with_other_tools(run: RunFolder) -> None:
    """Parquet for any data frame, JSON for any reader, names that a person understands."""
    import pyarrow.parquet as pq

    names = sorted(path.name for path in (run.path / "measurements").iterdir())
    assert names == [
        "general--translate--banking77--corpus.parquet",
        "general--translate--banking77.parquet",
        "target--banking77--banking77.parquet",
        "text--general--general.jsonl.parquet",
    ]
    table = pq.read_table(run.path / "measurements" / "text--general--general.jsonl.parquet")
    assert table.column_names == ["number", "hash", "base", "tuned", "weight"]
    assert json.loads((run.path / "run.json").read_text())["record"]["tuned_path"] == "/models/lora"


_numbers = st.floats(allow_nan=True, allow_infinity=True)
_names = st.text(min_size=1, max_size=12) | st.sampled_from(["A", "a", "../x", "con", ".", "a/b", "ä" * 200])


@st.composite
def measured(draw: st.DrawFn) -> Measurement:
    n = draw(st.integers(0, 4))

    def column(strategy: st.SearchStrategy) -> st.SearchStrategy:
        return st.lists(strategy, min_size=n, max_size=n).map(tuple)

    return measurement(
        f"{draw(st.sampled_from(['target', 'general', 'text']))}/{draw(_names)}",
        draw(_names),
        aggregation=draw(st.sampled_from(["mean", "ratio", "corpus"])),
        numbers=draw(column(st.integers(0, 2**62))),
        hashes=draw(column(st.text(max_size=5))),
        base=draw(column(_numbers)),
        tuned=draw(column(_numbers)),
        documents_total=draw(st.integers(0, 10)),
        weights=draw(st.none() | column(_numbers)),
        rounds=draw(st.none() | column(st.integers(0, 99))),
        clusters=draw(st.none() | column(st.text(max_size=8))),
        parts=draw(st.none() | column(st.text(max_size=8))),
        corpus=draw(st.none() | st.tuples(_numbers, _numbers)),
        replicates=draw(st.lists(st.tuples(_numbers, _numbers), max_size=3).map(tuple)),
    )


_flips = st.builds(
    Flip,
    *[st.text(max_size=8)] * 2,
    st.integers(0, 2**62),
    *[st.text(max_size=8)] * 4,
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(measured(), max_size=4).map(tuple), st.lists(_flips, max_size=3).map(tuple))
def test_measurements_come_back_equal(measurements: tuple, flips: tuple) -> None:
    """Any measurement round-trips to the bit: NaN stays NaN and never becomes a number, an absent
    weight stays absent, and names of any sort stay inside the folder and apart from each other."""
    original = replace(SAMPLE, measurements=measurements, flips=flips)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder.begin(Path(place) / "run")
        folder.write_measurements(original)
        found = folder.read_measurements()
        assert [path.name for path in Path(place).iterdir()] == ["run"]
    # repr: NaN is not equal to itself, and -0.0 is equal to 0.0
    assert repr(found) == repr(original)


def test_nan_is_not_lost(run: RunFolder) -> None:
    """A NaN among the documents or in a corpus value is read back as NaN, for the verdict to refuse."""
    nan = float("nan")
    bad = measurement(base=(nan, 1.0, 1.0, 0.0), corpus=(nan, 1.0))
    run.write_measurements(replace(SAMPLE, measurements=(bad,)))
    (found,) = run.read_measurements().measurements
    assert math.isnan(found.base[0])
    assert found.corpus is not None
    assert math.isnan(found.corpus[0])


def test_reading_a_large_run_is_fast(tmp_path: Path) -> None:
    """Sixty tasks of 14,000 documents, more than any real suite, are read and checked within a second."""
    n = 14_000
    hashes = tuple(f"{number * 2654435761 % 2**256:064x}" for number in range(n))
    values = tuple(float(number % 3 == 0) for number in range(n))
    big = measurement(
        numbers=tuple(range(n)), hashes=hashes, base=values, tuned=values[::-1], documents_total=n
    )
    folder = RunFolder.begin(tmp_path / "run")
    original = replace(SAMPLE, measurements=tuple(replace(big, leaf=f"leaf{k}") for k in range(60)))
    folder.write_measurements(original)
    started = time.process_time()
    found = folder.read_measurements()
    took = time.process_time() - started
    assert found == original
    assert took < 1.0, f"{took:.2f} s"


def test_reading_a_run_loads_nothing_heavy() -> None:
    """`ftgate judge` pays for Arrow when it reads, and never for torch or pandas."""
    code = f"""
import pathlib, sys
from gate.runfolder import RunFolder
heavy = {{"torch", "lm_eval", "pandas", "datasets", "transformers"}}
print((heavy | {{"pyarrow", "numpy"}}) & set(sys.modules))
RunFolder.open(pathlib.Path({str(DATA / "run-v1")!r})).read_measurements()
print(heavy & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "set()"]


# ── Beginning and opening ────────────────────────────────────────────────────────────────────────


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """Neither `begin` nor `open` takes a folder that is not a run; nothing in it is touched."""
    (tmp_path / "main.py").write_text("")
    with pytest.raises(UsageError, match="is not empty and is not a run folder"):
        RunFolder.begin(tmp_path)
    with pytest.raises(UsageError, match="is not a run folder"):
        RunFolder.open(tmp_path)
    with pytest.raises(UsageError, match="there is no run folder"):
        RunFolder.open(tmp_path / "missing")
    with pytest.raises(UsageError, match="there is no run folder"):
        RunFolder.open(tmp_path / "main.py")
    with pytest.raises(StoreError, match="cannot make the run folder"):
        RunFolder.begin(tmp_path / "main.py")
    assert [path.name for path in tmp_path.iterdir()] == ["main.py"]


def test_beginning_again_takes_the_old_conclusions_away_and_nothing_else(run: RunFolder) -> None:
    """A run that goes on keeps its training and its store; no old verdict can be taken for its own."""
    run.training.mkdir()
    (run.training / "log.txt").write_text("step 1")
    (run.path / "verdict.json").write_text('{"outcome": "pass"}')
    again = RunFolder.begin(run.path)
    assert (again.training / "log.txt").exists()
    assert not (run.path / "verdict.json").exists()
    assert list((run.path / "measurements").iterdir()) == []
    with pytest.raises(UsageError, match=r"has no measurements\.json"):
        again.read_measurements()
    assert RunFolder.open(run.path).read_record("policy.resolved.json", Policy) == POLICY


@dataclass(frozen=True)
class Texts:
    comment: str = "blocked"
    html: str = "<p>ä</p>"
    junit: str = "<testsuite/>"
    document: str = "{}"


def test_inputs_and_reports_lie_as_they_are(tmp_path: Path) -> None:
    """Config and policy are kept byte for byte beside what was made of them; reports as rendered."""
    source = tmp_path / "lora.yaml"
    source.write_bytes(b"# comment\r\nseed: 1\n")
    folder = RunFolder.begin(tmp_path / "run")
    folder.write_config(replace(CONFIG, path=str(source)))
    folder.write_policy(replace(POLICY, path=str(source)))
    folder.write_report(Texts())
    assert (folder.path / "config.yaml").read_bytes() == source.read_bytes()
    assert (folder.path / "policy.yaml").read_bytes() == source.read_bytes()
    assert (folder.path / "report.html").read_text(encoding="utf-8") == "<p>ä</p>"
    assert {"verdict.json", "comment.md", "junit.xml"} <= {path.name for path in folder.path.iterdir()}


TOP = "model_name_or_path: base\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"{TOP}hub_token: s3cret\nseed: 1\n", f"{TOP}hub_token: <left out>\nseed: 1\n"),
        (f"{TOP}seed: 1\r\n'hub_token': >-\r\n  s3cret", f"{TOP}seed: 1\r\nhub_token: <left out>\n"),
        (
            f"env: {{A: s3cret,\n B: s3cret}}\nhub_token: s3cret  # s3cret\n{TOP}",
            f"env:\n  A: <left out>\n  B: <left out>\nhub_token: <left out>\n{TOP}",
        ),
        (f"{TOP}env:\n  # s3cret\n  A: |\n   s3cret\n\n   s3cret\n", f"{TOP}env:\n  A: <left out>\n"),
        (f"# \u2028# ä\n{TOP}hub_token: s3cret\n", f"# \u2028# ä\n{TOP}hub_token: <left out>\n"),
        ('{"model_name_or_path": "base", "hub_token": "s3cret"}', "hub_token: <left out>\n"),
    ],
    ids=["plain", "folded", "flow", "block", "separator", "json"],
)
def test_secrets_of_a_config_are_left_out(text: str, kept: str, tmp_path: Path) -> None:
    """No token and no variable's value, however it is written, in any file of the folder."""
    source = tmp_path / "sft.yaml"
    source.write_bytes(text.encode())
    folder = RunFolder.begin(tmp_path / "run")
    folder.write_config(load_config(source, trains=False, base="base"))
    assert (folder.path / "config.yaml").read_bytes() == kept.encode()
    assert not [path for path in folder.path.iterdir() if b"s3cret" in path.read_bytes()]


# ── Damage ───────────────────────────────────────────────────────────────────────────────────────

FILES = [
    "measurements.json",
    "flips.parquet",
    "measurements/target--banking77--banking77.parquet",
    "measurements/general--translate--banking77--corpus.parquet",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("position", [0.01, 0.5, 0.98])
def test_a_flipped_byte_is_told(run: RunFolder, name: str, position: float) -> None:
    """One changed bit in any file of the measurements: an error that names the file, never a number."""
    path = run.path / name
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged") as caught:
        run.read_measurements()
    assert name in caught.value.message
    assert "ftgate check" in caught.value.hint


@pytest.mark.parametrize("name", FILES[1:])
def test_a_missing_or_short_file_is_told(run: RunFolder, name: str) -> None:
    """A file that is listed and not there, or cut, is an error."""
    path = run.path / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match="not those that were written"):
        run.read_measurements()
    path.unlink()
    with pytest.raises(StoreError, match="it is missing"):
        run.read_measurements()


def test_a_number_changed_by_hand_is_told(run: RunFolder) -> None:
    """Editing a record without its seal does not go unseen."""
    path = run.path / "run.json"
    path.write_text(path.read_text().replace("12.5", "10.5"))
    with pytest.raises(StoreError, match="is damaged"):
        run.read_record("run.json", RunFacts)


def test_a_run_of_a_later_ftgate_is_told(run: RunFolder) -> None:
    """A newer schema is a usage error that says to upgrade, not damage."""
    (run.path / "measurements.json").write_bytes(seal_record({"anything": 1}, 2))
    with pytest.raises(UsageError, match="later ftgate") as caught:
        run.read_measurements()
    assert caught.value.hint == "upgrade ftgate"


def test_a_record_of_another_type_is_told(run: RunFolder) -> None:
    """A whole file with the wrong record in it is damage, never half a record."""
    shutil.copy(run.path / "run.json", run.path / "measurements.json")
    with pytest.raises(StoreError, match="is damaged"):
        run.read_measurements()


if __name__ == "__main__":
    write_run(Path(sys.argv[1]))
