"""gate.places: what old pull requests left in the store goes, and never what somebody uses."""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scratch import verdict

from gate.judging import promote_run, store_of
from gate.models import digest_model
from gate.pipeline import CheckOptions, begin
from gate.places import DAY, UNUSED_DAYS, collect_unused, last_use, use
from gate.progress import SilentProgress
from gate.records import ModelRef, RunFacts
from gate.report import render
from gate.runfolder import RUN, RunFolder
from gate.shell import Shell
from gate.store import Store

OLD = UNUSED_DAYS + 1
HEAD = "e" * 40
KILLED = 9


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


# ── A run's place, opened later ──────────────────────────────────────────────────────────────────


def passed(tmp_path: Path) -> tuple[Path, Store, str]:
    """The folder of a run for pull request 7 that passed, its place of the store, and its model's digest."""
    files = tmp_path / "out"
    files.mkdir()
    (files / "config.json").write_text('{"model_type": "llama"}')
    (files / "model.safetensors").write_bytes(b"weights")
    store = Store(tmp_path / "store", pull=7)
    model = store.put_model(ModelRef("out", str(files), digest_model(files)))
    result = replace(verdict(), tuned=model)
    folder = RunFolder.begin(tmp_path / "run")
    facts = RunFacts(result.config, result.cost, result.provenance, tuned_path=model.path)
    folder.write_record(RUN, facts)
    folder.write_report(render(result, (), (), folder=folder.path))
    return folder.path, store, model.digest


def shell_at(root: Path, say: Callable[[str], None] = print) -> Shell:
    return Shell({"FTGATE_CACHE": str(root)}, say, refuse, SilentProgress())


def test_the_place_of_a_run_is_in_use_while_its_store_is_open(tmp_path: Path) -> None:
    """For `keep`, `promote` and `audit`, which open it so, however old it is."""
    run, mine, _ = passed(tmp_path)
    store = store_of(run, shell_at(tmp_path / "store"))
    age(mine.root, OLD)
    assert Store(tmp_path / "store").collect_unused() == ()
    del store
    gc.collect()
    assert len(Store(tmp_path / "store").collect_unused()) == 1


def test_promote_uses_the_place_until_the_copy_is_made(tmp_path: Path) -> None:
    """A clean-up at its very end still finds the place in use."""
    run, mine, digest = passed(tmp_path)
    gone: list[str] = []

    def clean_up(_said: str) -> None:
        age(mine.root, OLD)
        gone.extend(Store(tmp_path / "store").collect_unused())

    promote_run(run, tmp_path / "release", shell_at(tmp_path / "store", clean_up))
    assert gone == []
    assert mine.model_path(digest).is_dir()


def test_keep_uses_the_place_before_it_marks_the_model(tmp_path: Path) -> None:
    """A clean-up that comes while it waits to set its mark leaves the place, and the mark is set in it."""
    _, mine, digest = passed(tmp_path)
    mine.release(digest)
    (mine.root / "used").touch()
    age(mine.root, OLD)
    keeper = threading.Thread(target=Store(tmp_path / "store", pull=7).keep, args=(digest,))
    with open(mine.root / "kept/lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keeper.start()
        deadline = time.monotonic() + 2
        while time.time() - last_use(mine.root) > DAY and time.monotonic() < deadline:
            time.sleep(0.01)
        assert Store(tmp_path / "store").collect_unused() == ()
    keeper.join()
    assert mine.kept() == {digest}


# ── Places that would never go ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("marked", [True, False])
def test_a_last_use_in_the_future_is_taken_as_now(tmp_path: Path, marked: bool) -> None:
    """With a warning; from then on the place ages as any other."""
    place = made(tmp_path, "pulls/7", -400, marked=marked)
    said: list[str] = []
    assert collect_unused(tmp_path, said.append) == ()
    assert said == ["the last use of pulls/7 in the store lies 400 days ahead: taken as now"]
    assert collect_unused(tmp_path, refuse) == ()
    later = time.time() + OLD * DAY
    assert collect_unused(tmp_path, refuse, now=lambda: later) == (f"pulls/7 (unused for {OLD} days)",)
    assert not place.exists()


def test_a_mark_that_leads_elsewhere_makes_no_file_there(tmp_path: Path) -> None:
    """A pull request's code can plant it for whoever opens the place next."""
    place = made(tmp_path, "pulls/7", 0, marked=False)
    (place / "used").symlink_to(tmp_path / "made")
    assert use(place) is None
    assert not (tmp_path / "made").exists()


def test_a_place_that_another_collector_removed_is_no_warning(tmp_path: Path) -> None:
    """It went between the list and the look; the next one goes."""
    places = [made(tmp_path, name, OLD) for name in ("pulls/7", "pulls/8")]

    def now() -> float:
        shutil.rmtree(places[0], ignore_errors=True)
        return time.time()

    assert collect_unused(tmp_path, refuse, now=now) == (f"pulls/8 (unused for {OLD} days)",)


def test_a_mark_that_is_a_link_is_warned_about(tmp_path: Path) -> None:
    """What it leads to is neither locked nor dated, and the place is not passed over in silence."""
    outside = tmp_path / "outside"
    outside.touch()
    os.utime(outside, (0, 0))
    for name, days in (("pulls/7", OLD), ("pulls/8", -400)):
        place = made(tmp_path, name, OLD, marked=False)
        (place / "used").symlink_to(outside)
        age(place, days)
    said: list[str] = []
    assert collect_unused(tmp_path, said.append) == ()
    assert [word.split()[:3] for word in said] == [["cannot", "remove", "pulls/7"], ["the", "last", "use"]]
    assert outside.stat().st_mtime == 0


@pytest.mark.parametrize("days", [2, -2])
@pytest.mark.parametrize("kind", ["pulls", "judged"])
def test_what_a_removal_left_that_broke_off_goes(tmp_path: Path, kind: str, days: float) -> None:
    """Folders, files and links under a temporary name, beside the places; never what a link leads to."""
    outside = made(tmp_path, "outside", OLD)
    left = made(tmp_path, f"{kind}/.abc-1-1.tmp", days)
    (tmp_path / kind / ".file.tmp").touch()
    (tmp_path / kind / ".link.tmp").symlink_to(outside)
    age(tmp_path / kind, days)
    words = "left by a removal that broke off"
    expected = tuple(f"{kind}/{name} ({words})" for name in (".abc-1-1.tmp", ".file.tmp", ".link.tmp"))
    assert collect_unused(tmp_path, refuse) == expected
    assert not left.exists()
    assert list((tmp_path / kind).iterdir()) == []
    assert (outside / "blocks/one").is_file()


def test_a_removal_that_was_killed_is_finished_a_day_later(tmp_path: Path) -> None:
    """Until then it may be another collector's that is still at it, however old the place was."""
    place = made(tmp_path, "pulls/7", OLD)
    killed = multiprocessing.get_context("spawn").Process(target=die_before_removing, args=(tmp_path,))
    killed.start()
    killed.join()
    assert killed.exitcode == KILLED
    (left,) = place.parent.iterdir()
    assert left != place
    assert collect_unused(tmp_path, refuse) == ()
    later = time.time() + 2 * DAY
    assert len(collect_unused(tmp_path, refuse, now=lambda: later)) == 1
    assert not left.exists()


def die_before_removing(root: Path) -> None:
    sys.addaudithook(lambda event, _: os._exit(KILLED) if event == "shutil.rmtree" else None)
    collect_unused(root, refuse)


def test_a_place_deeper_than_python_goes_breaks_nothing(tmp_path: Path) -> None:
    """It is removed or warned about, as this Python can; the next place goes."""
    deep = made(tmp_path, "pulls/7", OLD)
    made(tmp_path, "pulls/8", OLD)
    here = os.open(deep / "blocks", os.O_RDONLY)
    for _ in range(sys.getrecursionlimit()):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    collector = multiprocessing.get_context("spawn").Process(target=collect_deep, args=(tmp_path,))
    collector.start()
    collector.join()
    subprocess.run(["rm", "-rf", tmp_path / "pulls"], check=True)  # pytest could not
    assert collector.exitcode == 0


def collect_deep(root: Path) -> None:
    said: list[str] = []
    gone = collect_unused(root, said.append)
    assert gone[-1] == f"pulls/8 (unused for {OLD} days)"
    assert len(gone) + len(said) == 2
