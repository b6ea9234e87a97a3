"""What `ftgate init --github` need not ask: the default branch, the Python, where ftgate came from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit

from gate.errors import UsageError

MAIN = ("main", "master")


def check_root(folder: Path) -> None:
    """Raise `UsageError` where `folder` is inside a repository but not its root, where GitHub looks."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top and Path(top).resolve() != folder.resolve():
        raise UsageError(f"{folder} is not the root of its repository", hint=f"ftgate init --github {top}")


def default_branch(folder: Path) -> str:
    """What the remote says, else a branch called main or master, else the branch that is checked out."""
    remote = _git(folder, "symbolic-ref", "--short", "refs/remotes/origin/HEAD")
    if remote.startswith("origin/"):
        return remote.removeprefix("origin/")
    for name in MAIN:
        if _git(folder, "rev-parse", "--verify", f"refs/heads/{name}"):
            return name
    return _git(folder, "symbolic-ref", "--short", "HEAD") or MAIN[0]


def python_version(folder: Path) -> str:
    """MAJOR.MINOR of the repository's `.python-version`, else of the Python that runs this."""
    try:
        named = re.match(r"\s*(3\.\d+)", (folder / ".python-version").read_text("utf-8", "replace"))
    except OSError:
        named = None
    return named.group(1) if named else f"{sys.version_info.major}.{sys.version_info.minor}"


def installed_action() -> str:
    """OWNER/REPOSITORY@COMMIT that this ftgate was installed from, or "" where pip did not note it."""
    try:
        noted = distribution("finetune-gate").read_text("direct_url.json")
    except PackageNotFoundError:
        return ""
    return action_of(noted or "{}")


def action_of(direct_url: str) -> str:
    """OWNER/REPOSITORY@COMMIT from pip's `direct_url.json`, or ""."""
    found = json.loads(direct_url)
    commit = found.get("vcs_info", {}).get("commit_id", "")
    parts = urlsplit(found.get("url", "")).path.removesuffix(".git").strip("/").split("/")
    return f"{parts[0]}/{parts[1]}@{commit}" if commit and len(parts) == 2 else ""


def _git(folder: Path, *words: str) -> str:
    """A line that git says about a repository, or "" where it says nothing or is not there."""
    try:
        command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
