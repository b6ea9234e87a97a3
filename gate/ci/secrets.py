"""The token out of reach of what is trained: out of every environment, and out of /proc where Linux lets us.

A process's environment as it was started stays readable in /proc/PID/environ for all processes of its user,
whatever it unsets later. A process that is not dumpable shows it, and its memory, to nobody but root. What
remains: the runner's own processes, and all that root, or a person who may use ptrace on everything, can see.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping

from gate.github.token import Token, take_token
from gate.withheld import SALT, hide_process

_SECRET = re.compile(r"ACTIONS_.*|(?:GITHUB|GH|INPUT)_.*(?:TOKEN|PAT|SECRET|PASSWORD|KEY)|INPUT_TOKEN")


def withhold(environ: MutableMapping[str, str] = os.environ) -> Token:
    """Take the token, and every other secret of the runner's, out of `environ`, and hide this process.

    Done before any child is started and before anything else reads the environment.
    """
    token = take_token(environ)
    secrets = [name for name in environ if _SECRET.fullmatch(name)]
    if token or secrets or environ.get(SALT):  # which the shell takes out, before anything is started
        hide_process()
    for name in secrets:
        del environ[name]
    return token
