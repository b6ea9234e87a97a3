"""Flip rates: counted from a run, kept in a store, found again for the same base and task alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.flip_rates import (
    base_key,
    compare_rates,
    flips_on,
    form_of,
    keep_rates,
    known_flips,
    rates_of,
    read_rates,
    remember,
)
from gate.foresight import Flips
from gate.history import write_past
from gate.records import Leaf, Measurement, Measurements, ModelRef, TaskInfo
from gate.records.history import PastTask, PastVerdict
from gate.records.rates import FlipRate, SeenRates, TaskRate
from gate.report.quantities import said_rate
from gate.store import Store

BASE = ModelRef("org/base", "/models/base", "sha256:" + "b" * 64)
TUNED = ModelRef("tuned", "/models/tuned", "sha256:" + "c" * 64)
NOW = "2026-01-01T00:00:00+00:00"


def info(task: str, *sizes: int, **changes: Any) -> TaskInfo:
    leaves = tuple(Leaf(f"{task}/{k}", n, n) for k, n in enumerate(sizes or (4,)))
    return replace(TaskInfo(task, "benchmarks", "acc", "none", "accuracy", True, leaves), **changes)


def measured(task: TaskInfo, leaf: int, base: str, tuned: str, **changes: Any) -> Measurement:
    """A leaf's documents as digits, 1 right and 0 wrong."""
    made = Measurement(
        task.task, task.leaves[leaf].name, "benchmarks", "acc", "none", task.unit, True, "mean",
        tuple(range(len(base))), ("h",) * len(base),
        tuple(map(float, base)), tuple(map(float, tuned)), len(base),
    )  # fmt: skip
    return replace(made, **changes)


def run(*parts: Measurement, tasks: tuple[TaskInfo, ...], tuned: ModelRef = TUNED) -> Measurements:
    return Measurements(BASE, tuned, tasks, parts)


def seen(task: TaskInfo, changed: int, source: Any = "history", what: str = "x", at: str = NOW) -> SeenRates:
    return SeenRates(base_key(BASE), source, what, at, (TaskRate(task.task, form_of(task), 100, changed),))


def test_changed_documents_are_counted_over_all_leaves() -> None:
    """Both ways, all leaves; what is not right or wrong a document has no rate."""
    both, text = info("general/a", 4, 2), info("text/t", 4, unit="bits per byte")
    parts = (
        measured(both, 0, "1100", "1010"),
        measured(both, 1, "11", "01"),
        measured(text, 0, "1111", "2222", aggregation="ratio"),
    )
    assert rates_of(run(*parts, tasks=(both, text))) == (TaskRate("general/a", form_of(both), 6, 3),)


def test_history_is_the_median_of_models_and_comes_before_calibration() -> None:
    """One wild training among three does not count; calibration stands in where there is no history."""
    a, b, c = info("general/a"), info("general/b"), info("general/c")
    found = known_flips(
        [
            *(seen(a, changed, what=str(changed)) for changed in (10, 12, 80)),
            seen(a, 1, "calibrate"),
            seen(b, 3, "calibrate", "one"),
            seen(b, 7, "calibrate", "two"),
        ],
        (a, b, c),
    )
    assert found == {
        "general/a": Flips(0.12, True, "history", 3),
        "general/b": Flips(0.07, True, "calibrate", 2),
    }


def test_only_the_latest_twenty_checks_count() -> None:
    """Thirty checks, the older ones at 90 %."""
    task = info("general/a")
    rates = [seen(task, 90 if k < 10 else 10, what=str(k), at=f"2026-01-{k + 1:02}") for k in range(30)]
    assert known_flips(reversed(rates), (task,))["general/a"] == Flips(0.1, True, "history", 20)


@pytest.mark.parametrize(
    "other",
    [
        info("general/b"),
        info("general/a", 5),
        info("general/a", metric="f1"),
        info("general/a", num_fewshot=5),
        info("general/a", sources=(("data.jsonl", "d"),)),
    ],
    ids=["task", "documents", "metric", "examples", "files"],
)
def test_a_task_that_is_asked_otherwise_is_another(other: TaskInfo) -> None:
    """Another metric, other examples or documents: its rate is not known from this one."""
    assert known_flips([seen(info("general/a"), 10)], (other,)) == {}


def test_the_kind_of_rule_and_a_limit_make_no_other_task() -> None:
    """A target is the same task as a general one; a limit draws from the same documents."""
    limited = replace(info("target/a", 4), leaves=(Leaf("general/a/0", 4, 2),))
    assert known_flips([seen(info("general/a"), 10)], (limited,))["target/a"].rate == 0.1


def test_a_hub_revision_names_a_base_and_else_its_files() -> None:
    """The same commit under another path is the same; another digest of a local folder is not."""
    pinned = replace(BASE, revision="abc")
    assert base_key(pinned) == base_key(replace(pinned, path="/elsewhere", digest=""))
    assert base_key(BASE) != base_key(replace(BASE, digest="sha256:" + "d" * 64))
    assert base_key(BASE) == base_key(replace(BASE, name="./copy"))


def test_what_is_kept_is_found_and_damage_is_absent(tmp_path: Path) -> None:
    """The same model again replaces itself; a changed byte is as if it had never been there."""
    task = info("general/a")
    store = Store(tmp_path)
    for _ in range(2):
        remember(store, run(measured(task, 0, "1100", "1010"), tasks=(task,)), NOW)
    assert flips_on(store, BASE, (task,)) == {"general/a": Flips(0.5, True, "history", 1)}
    other = replace(TUNED, digest="sha256:" + "e" * 64)
    remember(store, run(measured(task, 0, "1100", "1100"), tasks=(task,), tuned=other), NOW)
    assert flips_on(store, BASE, (task,))["general/a"] == Flips(0.25, True, "history", 2)
    assert flips_on(store, replace(BASE, digest="sha256:" + "f" * 64), (task,)) == {}
    for file in (store.root / "flips").rglob("*.json"):
        file.write_bytes(file.read_bytes().replace(b'"documents": 4', b'"documents": 5'))
    assert read_rates(store.root, base_key(BASE)) == ()


def test_a_pull_request_neither_adds_to_history_nor_is_stopped_by_its_own(tmp_path: Path) -> None:
    """It keeps what it saw in its own place, and reads what merged refs saw."""
    task, own, root = info("general/a"), Store(tmp_path, pull=7), Store(tmp_path)
    remember(own, run(measured(task, 0, "1100", "0011"), tasks=(task,)), NOW)
    assert flips_on(own, BASE, (task,)) == flips_on(root, BASE, (task,)) == {}
    keep_rates(root.root, seen(task, 5))
    assert flips_on(own, BASE, (task,))["general/a"].rate == 0.05


def test_a_store_that_cannot_be_written_costs_only_the_history(tmp_path: Path) -> None:
    """A verdict is not lost for it."""
    (tmp_path / "store").write_text("a file")
    task = info("general/a")
    remember(Store(tmp_path / "store"), run(measured(task, 0, "1", "0"), tasks=(task,)), NOW)


def test_expected_and_seen_stand_side_by_side() -> None:
    """In the verdict's record, and in the report's words."""
    task = info("general/a")
    parts = run(measured(task, 0, "11110000", "11100100"), tasks=(task,))
    assert compare_rates({}, parts) == (FlipRate("general/a", 0.1, "assumed", 0.25, 8),)
    known = {"general/a": Flips(0.132, True, "history", 2)}
    assert [said_rate(each) for each in (*compare_rates({}, parts), *compare_rates(known, parts))] == [
        "general/a: assumed 10 %, seen 25 %",
        "general/a: expected from history 13.2 %, seen 25 %",
    ]


def test_the_repositorys_own_history_is_a_further_source(tmp_path: Path) -> None:
    """Verdicts on models that passed on this base, each model once, whichever source tells of it."""
    task, folder = info("general/a", 100), tmp_path / "history"

    def past(outcome: Any, changed: int, tuned: str, base: str = BASE.digest) -> PastVerdict:
        flips = (PastTask("general/a", changed, 100), PastTask("general/gone", 1, 2))
        return PastVerdict(NOW, "", "c.yaml", outcome, (), flips, 100, 100, 1.0, base, tuned, "p")

    write_past(folder, past("pass", 10, "sha256:one"))
    write_past(folder, past("fail", 90, "sha256:two"))
    write_past(folder, past("pass", 70, "sha256:three", base="sha256:other"))
    (folder / "broken.json").write_text("{")
    store = Store(tmp_path / "store")
    assert flips_on(store, BASE, (task,), folder) == {"general/a": Flips(0.1, True, "history", 1)}
    keep_rates(store.root, seen(task, 10, what="sha256:one"))
    assert flips_on(store, BASE, (task,), folder)["general/a"].runs == 1
    keep_rates(store.root, seen(task, 20, what="sha256:four"))
    both = Flips(pytest.approx(0.15), True, "history", 2)
    assert flips_on(store, BASE, (task,), folder)["general/a"] == both
    fewer = info("general/a", 50)
    assert flips_on(store, BASE, (fewer,), folder) == {}
