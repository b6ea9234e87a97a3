"""Running code that a model wrote: in a process without network, secrets, or a disk to write to.

Linux namespaces through ctypes; where the system forbids them nothing is run. Standard library only.
The code can still read what the user can read, but there is no way out for it but the values it gives, and
the sockets of a machine's services that lie elsewhere than where they belong (`SERVICES`).
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
AT_FDCWD, AT_RECURSIVE, SYS_MOUNT_SETATTR = -100, 0x8000, 442
MOUNT_ATTR_RDONLY, MS_PRIVATE = 0x1, 1 << 18
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, CAPABILITY_VERSION_3 = 1, 38, 0x20080522
SERVICES = ("/run", "/var/run")
"""Where the machine's services listen (Docker, D-Bus, key agents): sockets in files, which neither a network
of one's own nor a read-only disk closes."""
MIB = 2**20
OUT_OF_TIME = 3  # exit code of the process between


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document's code may use: seconds of clock and of processor, bytes, processes."""

    seconds: float = 30.0
    memory_bytes: int = 1024 * MIB  # address space, beyond what the evaluator itself holds
    file_bytes: int = 16 * MIB
    scratch_bytes: int = 64 * MIB
    processes: int = 64


Ending = Literal["done", "out of time", "out of memory", "killed", "failed"]
ENDINGS: tuple[Ending, ...] = ("done", "out of memory", "failed")  # those that the code's own process reports


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended, and what it gave: `text` is the answer, or why there is none."""

    how: Ending
    text: str


def leave_network() -> None:
    """Put this process, while it has one thread, and all its children in namespaces of their own.

    Raises OSError where the system does not allow it.
    """
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
    for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as handle:
            handle.write(text)


def run_isolated(compute: Callable[[], str], limits: Limits, scratch: str) -> Ended:
    """Run `compute` in a grandchild that sees no other process and a read-only disk, `scratch` aside.

    Call `leave_network` first. When this returns, everything that the code started has ended.
    """
    reader, writer = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(reader)
        _keep(compute, limits, scratch, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode("utf-8", "replace")
    if os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1]) == OUT_OF_TIME:
        return Ended("out of time", f"it did not end within {limits.seconds:g} s")
    how, _, rest = text.partition("\n")
    for known in ENDINGS:
        if how == known:
            return Ended(known, rest)
    return Ended("killed", "it ended without an answer")


def _keep(compute: Callable[[], str], limits: Limits, scratch: str, writer: int) -> NoReturn:
    """The child between: makes the namespaces, starts the grandchild as their first process, ends it in time.

    With a namespace's first process all the others are killed, and waiting for it waits for them.
    """
    code = 0
    try:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _call("unshare", CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC)
        first = os.fork()
        if first == 0:
            _run(compute, limits, scratch, writer)
        if not select.select([os.pidfd_open(first)], [], [], limits.seconds)[0]:
            code = OUT_OF_TIME
            os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
    except OSError as error:
        os.write(writer, f"failed\nisolation is not possible here: {error}".encode())
    finally:
        os._exit(code)


def _run(compute: Callable[[], str], limits: Limits, scratch: str, writer: int) -> NoReturn:
    try:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _read_only_disk(limits, scratch)
        _limit(limits)
        _drop_capabilities()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.chdir(scratch)
        answer = "done\n" + compute()
    except MemoryError:
        answer = "out of memory\n"
    except BaseException as error:  # SystemExit of generated code too: the process must end in _exit
        answer = f"failed\n{type(error).__name__}: {error}"
    try:
        os.write(writer, answer.encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _read_only_disk(limits: Limits, scratch: str) -> None:
    """Every mount read-only, and private to this process; small memory disks for `scratch` and semaphores,
    and over the services' sockets."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, MS_PRIVATE, 0)
    _call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, attributes, len(attributes))
    hiding = [place for place in SERVICES if not os.path.islink(place)]
    for place in (*hiding, scratch, "/dev/shm"):
        if place == scratch:
            os.makedirs(place, exist_ok=True)  # it can lie in what was just hidden
        if os.path.isdir(place):
            options = f"size={limits.scratch_bytes},mode=0777".encode()
            _call("mount", b"tmpfs", place.encode(), b"tmpfs", 0, options)


def _limit(limits: Limits) -> None:
    with open("/proc/self/statm", encoding="ascii") as handle:
        held = int(handle.read().split()[0]) * resource.getpagesize()
    seconds = int(limits.seconds) + 1
    for kind, bound in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, held + limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (bound, bound))


def _drop_capabilities() -> None:
    """A namespace's owner could undo its mounts: give that up, for children too."""
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("capset", struct.pack("Ii", CAPABILITY_VERSION_3, 0), bytes(24))


def _call(name: str, *arguments: int | bytes) -> None:
    """One libc function; raises OSError with its name."""
    if sys.platform != "linux":
        raise OSError(f"there is no {name} on {sys.platform}")
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
