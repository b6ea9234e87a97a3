"""The places of pull requests in the store: marked when they are used, and removed when nobody has for long.

    ROOT/v1/pulls/N/used, ROOT/v1/judged/N/used    its time is the last use; whoever uses the place locks it

A lock ends with its process, so what a dead run left is no hindrance. A place is moved away before it is
removed, under the lock: who comes at that moment finds no place, and makes a new one. Where a collector died
in between, the next one removes what was moved away.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gate.sealed import disk_errors, temporary_name

PLACES = ("pulls", "judged")
PULL = re.compile(r"[1-9][0-9]{0,9}|[0-9a-f]{40}|[0-9a-f]{64}")
UNUSED_DAYS = 30
"""A place that was not used for so long goes: no job of GitHub's lasts longer than five days."""
DAY = 24 * 3600.0
TRIES = 10


def use(place: Path) -> int | None:
    """Note that a place is in use from now until the file descriptor is closed.

    None where the place cannot be written to: then nobody here can remove it either.
    """
    import fcntl  # not on Windows, where the rest of this module can still be imported

    mark = place / "used"
    with suppress(OSError):
        for _ in range(TRIES):
            place.mkdir(parents=True, exist_ok=True)
            held = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            fcntl.flock(held, fcntl.LOCK_SH)
            if _is_at(held, mark):
                os.utime(held)
                return held
            os.close(held)  # it was moved away between the two
    return None


def collect_unused(
    root: Path, warn: Callable[[str], None], *, now: Callable[[], float] = time.time
) -> tuple[str, ...]:
    """Remove the places below `root` that nobody used for `UNUSED_DAYS`; each in words.

    One that a run has in use stays, however old. One that cannot be removed is a warning, as a pull request
    could make it so; raises `StoreError` where they cannot be listed.
    """
    gone = []
    with disk_errors(f"list the places in {root}"):
        found = list(_found(root))
    for path in found:
        name = f"{path.parent.name}/{path.name}"
        collect = _collect_leftover if _is_leftover(path.name) else _collect_place
        try:
            why = collect(path, name, warn, now())
        except FileNotFoundError:
            continue  # another collector was faster
        except (OSError, RecursionError) as error:  # folders in folders, deeper than Python goes
            warn(f"cannot remove {name} from the store: {getattr(error, 'strerror', '') or error}")
        else:
            if why:
                gone.append(f"{name} ({why})")
    return tuple(gone)


def _collect_place(place: Path, name: str, warn: Callable[[str], None], now: float) -> str:
    """Why the place was removed; "" where it stays.

    A clock that was wrong, or a pull request, can have dated its last use years ahead: it would never be old.
    """
    used = last_use(place)
    days = (now - used) / DAY
    if days < -1:  # less is a disk whose clock is ahead
        _mark_unmarked(place, now)
        os.utime(place / "used", (now, now), follow_symlinks=False)
        warn(f"the last use of {name} in the store lies {-days:.0f} days ahead: taken as now")
    elif days > UNUSED_DAYS and _remove(place, used):
        return f"unused for {days:.0f} days"
    return ""


def _collect_leftover(path: Path, _name: str, _warn: Callable[[str], None], now: float) -> str:
    """Why what a removal moved away was removed; "" where that removal may still be at it."""
    if abs(now - path.lstat().st_mtime) < DAY:
        return ""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return "left by a removal that broke off"


def last_use(place: Path) -> float:
    """When a place was last used, in seconds since 1970: its mark says so, else its newest file or folder."""
    with suppress(FileNotFoundError):
        return (place / "used").lstat().st_mtime
    newest = place.lstat().st_mtime
    for here, folders, files in os.walk(place):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):  # its writer has just renamed it
                newest = max(newest, os.lstat(os.path.join(here, name)).st_mtime)
    return newest


def _found(root: Path) -> Iterator[Path]:
    """The places below `root`, and what removals of places left beside them."""
    for kind in PLACES:
        folder = root / kind
        names = sorted(os.listdir(folder)) if folder.is_dir() and not folder.is_symlink() else []
        for name in names:
            place = PULL.fullmatch(name) and (folder / name).is_dir() and not (folder / name).is_symlink()
            if place or _is_leftover(name):
                yield folder / name


def _is_leftover(name: str) -> bool:
    """Whether it is a `temporary_name`."""
    return name.startswith(".") and name.endswith(".tmp")


def _remove(place: Path, used: float) -> bool:
    """Remove a place that was last used at `used`, unless it is in use now or was meanwhile."""
    away = temporary_name(place)
    with _alone(place, used) as alone:
        if not alone:
            return False
        os.utime(place)  # tells other collectors that its removal has just begun
        os.rename(place, away)
    shutil.rmtree(away)
    return True


@contextmanager
def _alone(place: Path, used: float) -> Iterator[bool]:
    """Whether nobody uses the place, nor has since `used`; and nobody does until this ends."""
    import fcntl

    mark = place / "used"
    _mark_unmarked(place, used)
    held = os.open(mark, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield _is_at(held, mark) and os.fstat(held).st_mtime < used + 1
    finally:
        os.close(held)


def _mark_unmarked(place: Path, used: float) -> None:
    """Give a place from before places were marked a mark of that age."""
    mark = place / "used"
    if os.path.lexists(mark):
        return
    fresh = temporary_name(mark)
    fresh.touch()
    os.utime(fresh, (used, used))
    with suppress(FileExistsError):
        os.link(fresh, mark)
    fresh.unlink()


def _is_at(held: int, path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (os.fstat(held).st_dev, os.fstat(held).st_ino)
