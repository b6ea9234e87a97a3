"""What `ftgate init --github` need not ask: branch, Python, the team's runners, where ftgate came from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit

from gate.errors import ConfigErrors, UsageError
from gate.yamlfile import load_yaml

MAIN = ("main", "master")
OLDEST = 11  # Python 3.11, as ftgate asks for
MAX_WORKFLOWS = 200
_GITHUBS = re.compile(r"(?:ubuntu|windows|macos)-[\w.-]+")
_LABEL = re.compile(r"[\w.:/-][\w.:/ -]*", re.ASCII)


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
    """MAJOR.MINOR of the repository's `.python-version` where ftgate can run on it, else of this Python."""
    try:
        named = re.match(r"\s*3\.(\d+)", (folder / ".python-version").read_text("utf-8", "replace"))
    except OSError:
        named = None
    minor = int(named.group(1)) if named else 0
    return f"3.{minor if minor >= OLDEST else sys.version_info.minor}"


def own_runners(folder: Path) -> tuple[tuple[str, ...], ...]:
    """The labels of runners, other than GitHub's own, that workflows of the repository name already."""
    found: set[tuple[str, ...]] = set()
    for path in sorted((folder / ".github" / "workflows").glob("*.y*ml"))[:MAX_WORKFLOWS]:
        try:
            data = load_yaml(path).data
        except ConfigErrors:
            continue
        jobs = data.get("jobs") if isinstance(data, dict) else None
        for job in jobs.values() if isinstance(jobs, dict) else ():
            named = job.get("runs-on") if isinstance(job, dict) else None
            labels = tuple(named) if isinstance(named, list) else (named,)
            if all(isinstance(label, str) and _LABEL.fullmatch(label) for label in labels):
                found.add(labels)
    return tuple(sorted(labels for labels in found if labels and not _GITHUBS.fullmatch(labels[0])))


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
