"""gate.places: what old pull requests left in the store goes, and never what somebody uses."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from gate.pipeline import CheckOptions, begin
from gate.places import DAY, UNUSED_DAYS, collect_unused, last_use, use
from gate.progress import SilentProgress
from gate.shell import Shell
from gate.store import Store

OLD = UNUSED_DAYS + 1
HEAD = "e" * 40


def age(place: Path, days: float) -> None:
    """Make a place and everything in it so old."""
    then = time.time() - days * DAY
    for path in (*place.rglob("*"), place):
        os.utime(path, (then, then), follow_symlinks=False)


def made(root: Path, name: str, days: float, *, marked: bool = True) -> Path:
    """A place with a file, last used so many days ago."""
    place = root / name
    (place / "blocks").mkdir(parents=True)
    (place / "blocks/one").write_bytes(b"x")
    if marked:
        (place / "used").touch()
    age(place, days)
    return place


def refuse(warning: str) -> None:
    raise AssertionError(warning)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("name", ["pulls/7", "judged/7", f"pulls/{HEAD}"])
def test_a_place_that_nobody_used_for_long_goes(tmp_path: Path, name: str, marked: bool) -> None:
    """With a word each; also one from before places were marked."""
    place = made(tmp_path, name, OLD, marked=marked)
    assert collect_unused(tmp_path, refuse) == (f"{name} (unused for {OLD} days)",)
    assert not place.exists()
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("marked", [True, False])
def test_a_place_that_was_used_lately_stays(tmp_path: Path, marked: bool) -> None:
    """The day before it would go."""
    place = made(tmp_path, "pulls/7", UNUSED_DAYS - 1, marked=marked)
    assert collect_unused(tmp_path, refuse) == ()
    assert place.is_dir()


def test_a_new_file_in_a_place_without_a_mark_is_a_use(tmp_path: Path) -> None:
    """Its newest file says when it was used."""
    place = made(tmp_path, "pulls/7", OLD, marked=False)
    (place / "blocks/two").write_bytes(b"y")
    assert collect_unused(tmp_path, refuse) == ()


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    """Merged results, other names, files, and links, which lead anywhere."""
    kept = [made(tmp_path, name, OLD) for name in ("blocks/7", "pulls/mine", "pulls/07", "elsewhere")]
    (tmp_path / "pulls/8").symlink_to(kept[3])
    (tmp_path / "pulls/9").write_text("a file")
    assert collect_unused(tmp_path, refuse) == ()
    assert all(place.is_dir() for place in kept)
    (tmp_path / "judged").symlink_to(tmp_path / "pulls")
    made(tmp_path, "pulls/5", 0)
    age(tmp_path / "pulls/5", OLD)
    assert collect_unused(tmp_path, refuse) == (f"pulls/5 (unused for {OLD} days)",)


def test_a_link_inside_a_place_is_not_followed(tmp_path: Path) -> None:
    """What it leads to stays."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model").write_bytes(b"x")
    place = made(tmp_path, "pulls/7", 0)
    (place / "models").symlink_to(outside)
    age(place, OLD)
    assert len(collect_unused(tmp_path, refuse)) == 1
    assert (outside / "model").is_file()


def test_a_place_that_cannot_be_removed_keeps_no_other(tmp_path: Path) -> None:
    """A mark that is a folder, which a pull request's code can make, say: a warning, and the next goes."""
    place = made(tmp_path, "pulls/7", 0, marked=False)
    (place / "used").mkdir()
    age(place, OLD)
    made(tmp_path, "pulls/8", OLD)
    said: list[str] = []
    assert collect_unused(tmp_path, said.append) == (f"pulls/8 (unused for {OLD} days)",)
    assert [word.partition(":")[0] for word in said] == ["cannot remove pulls/7 from the store"]


def test_a_store_without_places(tmp_path: Path) -> None:
    """There is nothing to do."""
    assert collect_unused(tmp_path / "none", refuse) == ()


def test_a_place_in_use_stays_however_old(tmp_path: Path) -> None:
    """Until the store that uses it is gone: a lock, and not its age, says that a run lives."""
    store = Store(tmp_path, pull=7)
    store.use()
    assert time.time() - last_use(store.root) < 60
    (store.root / "blocks").mkdir()
    age(store.root, OLD)
    merged = Store(tmp_path)
    assert merged.collect_unused() == ()
    root = store.root
    del store
    gc.collect()
    assert merged.collect_unused() == (f"pulls/7 (unused for {OLD} days)",)
    assert not root.exists()


def test_a_check_for_a_pull_request_uses_its_place(tmp_path: Path) -> None:
    """From its beginning, also where it will find everything there and write nothing."""
    (tmp_path / "thresholds.yaml").write_text("version: 1\ngeneral:\n  tasks: [{task: x, max_drop: 0.1}]\n")
    model = tmp_path / "model"
    options = CheckOptions(
        None, tmp_path / "thresholds.yaml", tuned=model, base=str(model), run_dir=tmp_path / "run", pull=7
    )
    shell = Shell({"FTGATE_CACHE": str(tmp_path / "store")}, print, print, SilentProgress())
    run = begin(options, shell)
    age(run.store.root, OLD)
    assert Store(tmp_path / "store").collect_unused() == ()


def test_a_merged_refs_store_has_no_mark(tmp_path: Path) -> None:
    """The root is never collected."""
    store = Store(tmp_path)
    store.use()
    assert not store.root.exists()


def test_a_run_that_begins_while_a_place_goes_finds_a_new_one(tmp_path: Path) -> None:
    """Its descriptor is of the place that is there, never of the one that was moved away."""
    stop = multiprocessing.get_context("spawn").Event()
    collector = multiprocessing.get_context("spawn").Process(target=collect_for_ever, args=(tmp_path, stop))
    collector.start()
    try:
        place = tmp_path / "pulls/7"
        for _ in range(300):
            held = use(place)
            assert held is not None
            assert os.stat(place / "used").st_ino == os.fstat(held).st_ino
            os.utime(held, (0, 0))  # as old as can be: only the lock keeps it
            os.close(held)
    finally:
        stop.set()
        collector.join()
    assert collector.exitcode == 0


def collect_for_ever(root: Path, stop) -> None:
    while not stop.is_set():
        collect_unused(root, refuse)


def test_a_place_that_cannot_be_written_to_is_read_all_the_same(tmp_path: Path) -> None:
    """No mark, no error."""
    (tmp_path / "pulls").write_text("a file where the folder should be")
    assert use(tmp_path / "pulls/7") is None
