"""Blocks spread over processes, one a device: the leader hands them out, followers answer.

The processes are torchrun's or accelerate's, or ones that the leader starts for the other GPUs of its
machine. They talk over gloo. A block's answers are the same in any process, so results do not depend on how
many there are.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gate.errors import GateError, InfrastructureError, MeasurementError, OutOfMemory
from gate.records import Evaluation, ModelRef, Request, Response, Trust
from gate.scoring.protocol import FellBack, Side
from gate.scoring.way import Way

DEVICE = "FTGATE_SCORES_ON"  # tells a follower that the leader started which device is its own
PATIENCE = timedelta(days=7)  # followers wait while the leader trains
Groups = Sequence[Sequence[Request]]
Ask = Callable[[Groups], list[list[Response]]]


@dataclass(frozen=True, slots=True)
class Models:
    """What a follower needs to have the same two models."""

    base: ModelRef
    tuned: ModelRef
    evaluation: Evaluation
    trust: Trust
    training_bits: int | None
    device_name: str


@dataclass(frozen=True, slots=True)
class Order:
    """What the leader asks of one follower; no models: give the memory back."""

    models: Models | None = None
    side: Side = "base"
    way: Way | None = None
    groups: tuple[tuple[Request, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """An error of a follower, in words that survive the way to the leader."""

    kind: str
    message: str
    hint: str


class Team:
    """The leader's side of `size` processes; they are joined when there is first something to hand out."""

    def __init__(self, size: int, start: Callable[[], None]) -> None:
        self.size, self._start, self._joined = size, start, False

    def score(self, models: Models, side: Side, way: Way, groups: Groups, own: Ask) -> list[list[Response]]:
        """Each group's answers, in order; the leader has its share from `own`. Raises what a share raised."""
        if len(groups) < 2:
            return own(groups)
        shares = share_out(groups, self.size)
        orders = [
            Order(models, side, way, tuple(tuple(groups[place]) for place in share)) for share in shares
        ]
        self._send(orders)
        mine = attempt(lambda: own([groups[place] for place in shares[0]]))
        answers = [mine, *self._gather(mine)[1:]]
        raise_first(answers)
        found: dict[int, list[Response]] = {}
        for share, answer in zip(shares, answers, strict=True):
            found.update(zip(share, answer, strict=True))
        return [found[place] for place in range(len(groups))]

    def forget(self) -> None:
        """Followers give the memory of their models back."""
        if self._joined:
            self._send([Order()] * self.size)
            self._gather([])

    def dismiss(self) -> None:
        """The followers' end; they are joined for that where they wait for a leader."""
        import torch.distributed as dist

        if not dist.is_initialized():
            self._join()
        self._send([None] * self.size)
        dist.destroy_process_group()
        self._joined = False

    def _join(self) -> None:
        self._start()
        self._joined = True

    def _send(self, orders: Sequence[Order | None]) -> None:
        import torch.distributed as dist

        if not self._joined:
            self._join()
        with self._lost_followers():
            dist.scatter_object_list([None], list(orders), src=0)

    def _gather(self, mine: Any) -> list[Any]:
        import torch.distributed as dist

        answers: list[Any] = [None] * self.size
        with self._lost_followers():
            dist.gather_object(mine, answers, dst=0)
        return answers

    @contextmanager
    def _lost_followers(self) -> Iterator[None]:
        """An error for a person where a process of the team is gone."""
        try:
            yield
        except RuntimeError as error:
            self._joined = False
            line = (str(error).splitlines() or [""])[0]
            raise InfrastructureError(
                f"a process that scores is gone: {line}", hint="its own messages say why; run again"
            ) from error


def share_out(groups: Groups, size: int) -> list[list[int]]:
    """Places of the groups, by process: the longest first, each to whoever has least to do. Pure."""
    lengths = [sum(len(one.context) + len(one.continuation) for one in group) for group in groups]
    shares: list[list[int]] = [[] for _ in range(size)]
    load = [0] * size
    for place in sorted(range(len(groups)), key=lambda at: (-lengths[at], at)):
        least = load.index(min(load))
        shares[least].append(place)
        load[least] += lengths[place] + 1
    return shares


def attempt(ask: Callable[[], list[list[Response]]]) -> list[list[Response]] | Failed:
    """The answers, or what went wrong."""
    try:
        return ask()
    except FellBack as error:
        return Failed("FellBack", error.reason, error.message)
    except GateError as error:
        return Failed(type(error).__name__, error.message, error.hint)
    except Exception as error:  # it ends the run, in the leader's words
        return Failed("MeasurementError", f"{type(error).__name__}: {error}", "")


def raise_first(answers: Sequence[list[list[Response]] | Failed]) -> None:
    """Raise what went wrong anywhere: first a scorer that is not exact, then memory, then the rest."""
    failed = [answer for answer in answers if isinstance(answer, Failed)]
    for each in sorted(failed, key=lambda one: {"FellBack": 0, "OutOfMemory": 1}.get(one.kind, 2)):
        if each.kind == "FellBack":
            raise FellBack("tree", "one of the models", each.message)
        kind = {"OutOfMemory": OutOfMemory, "MeasurementError": MeasurementError}.get(each.kind)
        raise (kind or InfrastructureError)(each.message, hint=each.hint)


# ── Who is in the team ───────────────────────────────────────────────────────────────────────────


def launched(environ: Mapping[str, str]) -> tuple[int, int]:
    """(rank, processes) as torchrun and accelerate tell; (0, 1) where nothing launched this process."""
    return int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1"))


def join_group() -> None:
    """Join the launcher's processes, whoever comes first."""
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=PATIENCE)


@contextmanager
def leading(environ: Mapping[str, str]) -> Iterator[Team | None]:
    """The team of a launcher's processes, dismissed at the end; None where there is one process.

    After an error it is not: the launcher ends the others when this process fails.
    """
    _, size = launched(environ)
    if size == 1:
        yield None
        return
    team = Team(size, join_group)
    yield team
    team.dismiss()


@contextmanager
def gathered(evaluation: Evaluation, environ: Mapping[str, str], team: Team | None) -> Iterator[Team | None]:
    """The given team, else one of this machine's GPUs of one kind, its processes started when there is work;
    None where a device is named or there are no others."""
    devices = [] if team or evaluation.device not in ("auto", "cuda") else devices_of_a_kind()
    if len(devices) < 2:
        yield team
        return
    local = LocalTeam(tuple(devices), environ)
    try:
        yield local
        local.dismiss()
    finally:
        local.end()


def devices_of_a_kind() -> list[str]:
    """This machine's GPUs that are like its first."""
    import torch

    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [f"cuda:{number}" for number, name in enumerate(names) if name == names[0]]


class LocalTeam(Team):
    """A team whose followers are children of this process, on one machine."""

    def __init__(self, devices: tuple[str, ...], environ: Mapping[str, str]) -> None:
        super().__init__(len(devices), self._launch)
        self._devices, self._environ = devices, environ
        self.children: list[subprocess.Popen[bytes]] = []

    def _launch(self) -> None:
        import torch.distributed as dist

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(self.size)}
        for rank, device in enumerate(self._devices[1:], 1):
            environ = {**self._environ, **place, "RANK": str(rank), DEVICE: device}
            command = [sys.executable, "-P", "-m", "gate.scoring.following"]
            self.children.append(subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL))
        where = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", where, timeout=PATIENCE, world_size=self.size, rank=0)

    def dismiss(self) -> None:
        """End the children."""
        if self.children:
            super().dismiss()
        for child in self.children:
            child.wait()
        self.children.clear()

    def end(self) -> None:
        """End the children at once, whatever they do."""
        import torch.distributed as dist

        for child in self.children:
            child.kill()
            child.wait()
        if self.children and dist.is_initialized():
            dist.destroy_process_group()
        self.children.clear()
        self._joined = False
