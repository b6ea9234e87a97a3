"""What must not be within a training's reach: GitHub's tokens, in environment and checkout, and the salt.

A config's training is its author's code. It reads the environment of every process of its user through
/proc, and every file of its user, so a token must not be there at all: withholding it is not enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gate.errors import UsageError
from gate.withheld import SALT

TOKENS = (
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_PAT",
    "ACTIONS_RUNTIME_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
)
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE_?KEY")
# What actions/checkout leaves behind unless it is told not to: a header, or a file of it to include.
PERSISTED = re.compile(r"extraheader|git-credentials-[^\s]*\.config|://[^/\s]+:[^/\s]+@", re.IGNORECASE)


def refuse_tokens(environ: Mapping[str, str], checkout: Path) -> None:
    """Raise `UsageError` where the training could find a token of GitHub's (environment, `.git/config`) or
    the salt."""
    found = [name for name in TOKENS if environ.get(name)]
    if found:
        raise UsageError(
            f"the training job has {', '.join(found)} in its environment, where what it trains could read it",
            hint="give the job `permissions: {}` and no token; only the judge job publishes",
        )
    if environ.get(SALT):
        raise UsageError(
            f"the training job has {SALT} in its environment, where what it trains could read it",
            hint="give the salt to the job that judges, alone",
        )
    config = checkout / ".git" / "config"
    if config.is_file() and PERSISTED.search(config.read_text(encoding="utf-8", errors="replace")):
        raise UsageError(
            "the checkout keeps a token in .git/config, where what is trained could read it",
            hint="set `persist-credentials: false` for actions/checkout",
        )


def readable_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Names of variables that look like secrets of another kind, which what is trained can read."""
    return tuple(
        name
        for name, value in sorted(environ.items())
        if value and SECRET.search(name) and not name.startswith("TOKENIZERS_")
    )
