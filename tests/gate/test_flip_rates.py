"""Flip rates: counted from a run, kept in a store, found again for the same base and task alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from gate.flip_rates import (
    LEAST,
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
from gate.foresight import Flips, said_source
from gate.history import write_past
from gate.records import Leaf, Measurement, Measurements, ModelRef, TaskInfo
from gate.records.history import Audit, PastTask, PastVerdict
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


def seen(
    task: TaskInfo, changed: int, source: Any = "history", what: str = "x", at: str = NOW, of: int = 1000
) -> SeenRates:
    return SeenRates(base_key(BASE), source, what, at, (TaskRate(task.task, form_of(task), of, changed),))


def test_changed_documents_are_counted_over_all_leaves() -> None:
    """Both ways, all leaves; what is not right or wrong a document has no rate."""
    both, text = info("general/a", 4, 2), info("text/t", 4, unit="bits per byte")
    parts = (
        measured(both, 0, "1100", "1010"),
        measured(both, 1, "11", "01"),
        measured(text, 0, "1111", "2222", aggregation="ratio"),
    )
    assert rates_of(run(*parts, tasks=(both, text))) == (TaskRate("general/a", form_of(both), 6, 3),)


def test_history_pools_documents_and_comes_before_calibration() -> None:
    """Each check counts by its documents; calibration stands in where there is no history."""
    a, b, c = info("general/a"), info("general/b"), info("general/c")
    found = known_flips(
        [
            *(seen(a, changed, what=str(of), of=of) for changed, of in ((0, 32), (100, 1000), (60, 568))),
            seen(a, 1, "calibrate"),
            seen(b, 30, "calibrate", "one"),
            seen(b, 70, "calibrate", "two"),
        ],
        (a, b, c),
    )
    assert found == {
        "general/a": Flips(0.1, True, "history", 3, 160, 1600),
        "general/b": Flips(0.07, True, "calibrate", 2, 70, 1000),
    }


def test_a_rate_is_known_from_some_hundred_documents_on() -> None:
    """A check that stopped after 32 documents, none of which changed, knows nothing: not 0 %, no history
    before a calibration, and a few flips too many make no error either."""
    task = info("general/a")
    early = seen(task, 0, what="early", of=32)
    (few,) = known_flips([early], (task,)).values()
    assert few == Flips(0.1, False, "assumed", 1, 0, 32)
    assert said_source(few) == "assumed: 0 of 32 in 1 check is too little to tell"
    assert known_flips([early, seen(task, 20, "calibrate")], (task,))["general/a"].source == "calibrate"
    assert not known_flips([seen(task, 12, of=32)], (task,))["general/a"].known
    enough = seen(task, 20, what="later", of=LEAST - 32)
    assert known_flips([early, enough], (task,))["general/a"] == Flips(0.1, True, "history", 2, 20, LEAST)
    small = [seen(task, k, "calibrate", str(k), of=90) for k in (1, 2)]
    assert known_flips(small, (task,)) == {}
    both = known_flips([*small, seen(task, 4, "calibrate", "third", of=100)], (task,))
    assert both["general/a"] == Flips(0.04, True, "calibrate", 3, 4, 100)


def test_the_least_is_where_the_interval_is_within_what_is_assumed() -> None:
    """The reason given for the number: at 10 % a factor of 1.5 either way; of none the end is at 1.9 %."""
    low, high = scipy.stats.binomtest(20, LEAST).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((0.066, 0.149), abs=0.0005)
    assert scipy.stats.binomtest(0, LEAST).proportion_ci(method="wilson").high < 0.019


def test_only_the_latest_twenty_checks_count() -> None:
    """Thirty checks, the older ones at 90 %."""
    task = info("general/a")
    rates = [seen(task, 900 if k < 10 else 100, what=str(k), at=f"2026-01-{k + 1:02}") for k in range(30)]
    found = known_flips(reversed(rates), (task,))["general/a"]
    assert found == Flips(0.1, True, "history", 20, 2000, 20_000)


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
    assert known_flips([seen(info("general/a"), 100)], (limited,))["target/a"].rate == 0.1


def test_a_hub_revision_names_a_base_and_else_its_files() -> None:
    """The same commit under another path is the same; another digest of a local folder is not."""
    pinned = replace(BASE, revision="abc")
    assert base_key(pinned) == base_key(replace(pinned, path="/elsewhere", digest=""))
    assert base_key(BASE) != base_key(replace(BASE, digest="sha256:" + "d" * 64))
    assert base_key(BASE) == base_key(replace(BASE, name="./copy"))


def half_changed(task: TaskInfo) -> Measurement:
    """800 documents, of which 400 changed."""
    return measured(task, 0, "1100" * 200, "1010" * 200)


def test_what_is_kept_is_found_and_damage_is_absent(tmp_path: Path) -> None:
    """The same model again replaces itself; a changed byte is as if it had never been there."""
    task = info("general/a", 800)
    store = Store(tmp_path)
    for _ in range(2):
        remember(store, run(half_changed(task), tasks=(task,)), NOW)
    assert flips_on(store, BASE, (task,)) == {"general/a": Flips(0.5, True, "history", 1, 400, 800)}
    other = replace(TUNED, digest="sha256:" + "e" * 64)
    same = measured(task, 0, "1100" * 200, "1100" * 200)
    remember(store, run(same, tasks=(task,), tuned=other), NOW)
    assert flips_on(store, BASE, (task,))["general/a"] == Flips(0.25, True, "history", 2, 400, 1600)
    assert flips_on(store, replace(BASE, digest="sha256:" + "f" * 64), (task,)) == {}
    for file in (store.root / "flips").rglob("*.json"):
        file.write_bytes(file.read_bytes().replace(b'"documents": 800', b'"documents": 900'))
    assert read_rates(store.root, base_key(BASE)) == ()


def test_a_pull_request_neither_adds_to_history_nor_is_stopped_by_its_own(tmp_path: Path) -> None:
    """It keeps what it saw in its own place, and reads what merged refs saw."""
    task, own, root = info("general/a", 800), Store(tmp_path, pull=7), Store(tmp_path)
    remember(own, run(half_changed(task), tasks=(task,)), NOW)
    assert flips_on(own, BASE, (task,)) == flips_on(root, BASE, (task,)) == {}
    keep_rates(root.root, seen(task, 50))
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


def past(outcome: Any, changed: int, tuned: str, **changes: Any) -> PastVerdict:
    """A verdict in a repository's history; of 1,000 documents, where nothing else is said."""
    of = changes.pop("of", 1000)
    flips = (PastTask("general/a", changed, of), PastTask("general/gone", 1, 2))
    made = PastVerdict(
        NOW, "", "c.yaml", outcome, (), flips, of, 1000, 1.0, BASE.digest, f"sha256:{tuned}", "p"
    )
    return replace(made, **changes)


def test_the_repositorys_own_history_is_a_further_source(tmp_path: Path) -> None:
    """Verdicts on models that passed on this base, each model once, whichever source tells of it."""
    task, folder = info("general/a", 1000), tmp_path / "history"
    write_past(folder, past("pass", 100, "one"))
    write_past(folder, past("fail", 900, "two"))
    write_past(folder, past("pass", 700, "three", base="sha256:other"))
    (folder / "broken.json").write_text("{")
    store = Store(tmp_path / "store")
    alone = Flips(0.1, True, "history", 1, 100, 1000)
    assert flips_on(store, BASE, (task,), folder) == {"general/a": alone}
    keep_rates(store.root, seen(task, 100, what="sha256:one"))
    assert flips_on(store, BASE, (task,), folder)["general/a"].runs == 1
    keep_rates(store.root, seen(task, 200, what="sha256:four"))
    both = Flips(0.15, True, "history", 2, 300, 2000)
    assert flips_on(store, BASE, (task,), folder)["general/a"] == both
    fewer = info("general/a", 500)
    assert flips_on(store, BASE, (fewer,), folder) == {}


def test_an_audit_takes_the_place_of_the_check_that_it_completed(tmp_path: Path) -> None:
    """All documents of the same model instead of the 400 that the early verdict saw, in either order; a model
    that all documents block is no harmless one, and its early verdict does not count either."""
    task, folder, store = info("general/a", 1000), tmp_path / "history", Store(tmp_path / "store")
    later = "2026-01-02T00:00:00+00:00"
    agrees = Audit("pass", "pass", 1, (), 0.05)
    keep_rates(store.root, seen(task, 4, what="sha256:one", of=400, at="2026-01-03T00:00:00+00:00"))
    write_past(folder, past("pass", 4, "one", of=400))
    write_past(folder, past("pass", 120, "one", created=later, audit=agrees))
    audited = Flips(0.12, True, "history", 1, 120, 1000)
    assert flips_on(store, BASE, (task,), folder) == {"general/a": audited}
    keep_rates(store.root, seen(task, 2, what="sha256:two", of=400))
    blocked = Audit("pass", "fail", 1, ("general/a/max_drop",), 0.05)
    write_past(folder, past("fail", 600, "two", created=later, audit=blocked))
    assert flips_on(store, BASE, (task,), folder) == {"general/a": audited}
