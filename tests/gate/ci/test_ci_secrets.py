"""gate.ci.secrets: no child, and no other process of the user, can read the token. Real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gate.ci.secrets import withhold

ROOT = Path(__file__).parents[3]
# A child with an empty environment looks for the token wherever its user may look.
CHILD = """
import os
found, token = [], b"hidden" + b"-token"  # in two: this text is on command lines
for name in os.listdir("/proc"):
    for file in ("environ", "cmdline") if name.isdigit() and int(name) != os.getpid() else ():
        try:
            with open(f"/proc/{name}/{file}", "rb") as stream:
                found += [file] if token in stream.read() else []
        except OSError:
            pass
for file in ("environ", "mem"):
    try:
        open(f"/proc/{os.getppid()}/{file}", "rb").read(1 if file == "environ" else 0)
        found.append(f"parent's {file}")
    except PermissionError:
        found.append(f"{file} refused")
print(sorted(set(found)))
"""
PARENT = """
import os, subprocess, sys
if sys.argv[1] == "withhold":
    from gate.ci.secrets import withhold
    token = withhold()
    assert token.reveal() == "hidden" + "-token"
    assert token.reveal() not in repr(dict(os.environ))
done = subprocess.run([sys.executable, "-I", "-c", sys.argv[2]], env={}, capture_output=True, text=True)
print(done.stdout)
"""
# Root may read everything by its capabilities: without any it is a user like others.
ORDINARY = """
import ctypes, os, sys
PR_CAPBSET_DROP = 24
for capability in range(64) if os.getuid() == 0 else ():
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def look_for_the_token(how: str) -> str:
    """What a child of a process that was started with the token finds of it; as an ordinary user."""
    if not sys.platform.startswith("linux"):
        pytest.skip("/proc is Linux's")
    done = subprocess.run(
        [sys.executable, "-c", ORDINARY, "-c", PARENT, how, CHILD],
        env={"GITHUB_TOKEN": "hidden-token", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_child_cannot_read_what_its_parent_was_started_with() -> None:
    """Neither its first environment nor its memory."""
    assert look_for_the_token("withhold") == "['environ refused', 'mem refused']"


def test_without_that_it_could() -> None:
    """The same look finds the token in a process that does nothing about it: the test can fail."""
    found = look_for_the_token("leave it")
    assert "'environ'" in found
    assert "parent's mem" in found


def test_every_secret_of_the_runner_leaves_the_environment() -> None:
    """The token goes to its holder, what Actions gives its own steps is dropped, the rest stays."""
    environ = {
        "GITHUB_TOKEN": "one",
        "GH_TOKEN": "two",
        "ACTIONS_RUNTIME_TOKEN": "three",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "four",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "five",
        "ACTIONS_CACHE_URL": "six",
        "INPUT_TOKEN": "seven",
        "GITHUB_ENTERPRISE_TOKEN": "eight",
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_OUTPUT": "/o",
        "HF_TOKEN": "the hub's, which the gate itself needs",
        "PATH": "/bin",
    }
    token = withhold(environ)
    assert token.reveal() == "one"
    assert set(environ) == {"GITHUB_EVENT_NAME", "GITHUB_OUTPUT", "HF_TOKEN", "PATH"}
    assert not withhold({"PATH": "/bin"})
