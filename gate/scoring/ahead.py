"""Work of the host done while the device computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

Item = TypeVar("Item")
_END = object()
PATIENCE = 0.05  # seconds between looks at whether anybody still wants the items


def ahead(items: Iterable[Item], depth: int = 4) -> Iterator[Item]:
    """The same items, made by a thread up to `depth` before they are asked for.

    What raises there is raised here; the thread ends when this iterator is closed.
    """
    queue: Queue[Any] = Queue(depth)
    unwanted = Event()
    errors: list[BaseException] = []
    work = (items, queue, unwanted, errors)
    thread = Thread(target=_make, args=work, daemon=True, name="ftgate-ahead")
    thread.start()
    try:
        while (item := queue.get()) is not _END:
            yield item
    finally:
        unwanted.set()
        _empty(queue)
        thread.join()
    if errors:
        raise errors[0]


def _make(items: Iterable[Any], queue: Queue[Any], unwanted: Event, errors: list[BaseException]) -> None:
    try:
        for item in items:
            if not _put(queue, item, unwanted):
                return
    except BaseException as error:
        errors.append(error)
    _put(queue, _END, unwanted)


def _put(queue: Queue[Any], item: Any, unwanted: Event) -> bool:
    while not unwanted.is_set():
        try:
            queue.put(item, timeout=PATIENCE)
            return True
        except Full:
            continue
    return False


def _empty(queue: Queue[Any]) -> None:
    try:
        while True:
            queue.get_nowait()
    except Empty:
        return
