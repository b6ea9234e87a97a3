"""gate.withheld: the salt of an environment is nowhere to be seen once it was taken. Real processes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from gate.errors import UsageError
from gate.withheld import SALT, SHORTEST, Salt, take_salt

SECRET = "hidden-salt-" + "x" * SHORTEST
ROOT = Path(__file__).parents[2]
# As a user without root's capabilities; a child looks for the salt wherever it may look.
PARENT = """
import ctypes, os, subprocess, sys
if os.getuid() == 0 and sys.argv[1] == "first":
    for capability in range(64):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[2], "then", *sys.argv[2:]])
from gate.shell import Shell
shell = Shell.of_process()
look = '''
import os
print("in the environment" if "FTGATE_SALT" in os.environ else "not given")
try:
    print("read" if b"hidden-salt" in open(f"/proc/{os.getppid()}/environ", "rb").read() else "not there")
except PermissionError:
    print("refused")
'''
done = subprocess.run([sys.executable, "-I", "-c", look], capture_output=True, text=True)
shown = "hidden-salt" in repr(shell), "FTGATE_SALT" in shell.environ
print(done.stdout.split("\\n"), *shown, len(shell.salt.reveal()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_no_child_can_read_the_salt() -> None:
    """Neither from its own environment nor from its parent's; no repr shows it."""
    done = subprocess.run(
        [sys.executable, "-c", PARENT, "first", PARENT],
        env={SALT: SECRET, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['not given', 'refused', ''] False False 32"


def test_a_salt_is_taken_once_and_the_same_for_the_same_text() -> None:
    """A secret's stray line end does not count; nothing is none."""
    environ, hidden = {SALT: f"{SECRET}\n", "OTHER": "1"}, list[bool]()
    salt = take_salt(environ, lambda: hidden.append(True))
    assert (environ, hidden) == ({"OTHER": "1"}, [True])
    assert salt is not None
    assert not salt.made
    again, other = take_salt({SALT: SECRET}, bool), take_salt({SALT: f"{SECRET}!"}, bool)
    assert again is not None
    assert other is not None
    assert again.reveal() == salt.reveal() != other.reveal()
    assert take_salt({}) is take_salt({SALT: " \n"}) is None


def test_a_salt_that_can_be_guessed_is_refused_without_showing_it() -> None:
    """Its digest is published, so that a short one could be found by trying."""
    environ = {SALT: "guess me"}
    with pytest.raises(UsageError, match="can be guessed") as caught:
        take_salt(environ, bool)
    assert "guess me" not in f"{caught.value} {caught.value.hint}"
    assert environ == {}


def test_a_salt_shows_itself_nowhere() -> None:
    """Neither in a repr nor in a file."""
    assert repr(Salt(b"secret")) == str(Salt(b"secret")) == "Salt(hidden)"
    with pytest.raises(TypeError):
        pickle.dumps(Salt(b"secret"))
