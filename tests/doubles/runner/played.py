"""GitHub's own actions, played: each takes the job's room and its inputs, and gives its outputs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fake_github import Identity

from runner.expressions import Unknown


class Failed(Exception):
    """A step that ended badly, as GitHub would say it."""


@dataclass
class Room:
    """What the steps of one job share: folders, environment, and what the runner holds for them."""

    origin: Path  # the repository on GitHub, bare
    workspace: Path
    temp: Path
    environ: dict[str, str]
    action_path: Path
    own_action: str
    prepared: Mapping[str, str]  # inputs that the machine's image decides
    permissions: Mapping[str, str]
    secrets: Mapping[str, str]
    artifacts: dict[str, Path]
    others: Mapping[int, dict[str, Path]]  # artifacts of all runs
    store: Path  # where this run's artifacts lie
    tokens: dict[str, Identity]
    token: str = ""
    attested: list[tuple[str, str]] = field(default_factory=list)  # (file name, sha256)
    cancelled: Callable[[], bool] = lambda: False


def git(folder: Path, *words: str) -> str:
    """A line from git; a failure of it is the step's."""
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False, env=_git_environ()
    )
    if done.returncode:
        raise Failed(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _git_environ() -> dict[str, str]:
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    return {"PATH": os.environ["PATH"], "HOME": os.devnull, **alone}


def checkout(room: Room, given: Mapping[str, str]) -> dict[str, str]:
    """actions/checkout: all branches, and the commit that `ref` names, detached."""
    _only(given, "ref", "fetch-depth", "persist-credentials")
    if given.get("fetch-depth") != "0":
        raise Unknown("a shallow checkout")
    sha = given.get("ref") or room.environ["GITHUB_SHA"]
    for old in room.workspace.iterdir():
        shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    git(room.workspace, "init", "--quiet")
    git(room.workspace, "remote", "add", "origin", f"file://{room.origin}")
    heads, tags = "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"
    git(room.workspace, "fetch", "--quiet", "--no-tags", "origin", heads, tags)
    git(room.workspace, "fetch", "--quiet", "--no-tags", "origin", sha)
    git(room.workspace, "checkout", "--quiet", "--force", "--detach", sha)
    if given.get("persist-credentials") != "false":
        header = f"AUTHORIZATION: basic {room.token}"
        git(room.workspace, "config", "http.https://github.com/.extraheader", header)
    return {"commit": sha, "ref": ""}


def setup_python(room: Room, given: Mapping[str, str]) -> dict[str, str]:
    """actions/setup-python: the Python that runs the tests."""
    _only(given, "python-version", "update-environment")
    return {"python-path": sys.executable, "python-version": given["python-version"]}


def upload(room: Room, given: Mapping[str, str]) -> dict[str, str]:
    """actions/upload-artifact: regular files, hidden ones where asked for; a name is given once a run."""
    known = ("name", "path", "if-no-files-found", "compression-level", "retention-days", "overwrite")
    _only(given, *known, "include-hidden-files")
    source = room.workspace / given["path"] if given["path"] else None
    files = [path for path in sorted(source.rglob("*")) if path.is_file()] if source else []
    if given.get("include-hidden-files") != "true":
        files = [path for path in files if source and not _hidden(path.relative_to(source))]
    if not files:
        if given.get("if-no-files-found") == "error":
            raise Failed("No files were found with the provided path")
        return {}
    if given["name"] in room.artifacts and given.get("overwrite") != "true":
        raise Failed("Conflict: an artifact with this name already exists on the workflow run")
    place = room.store / given["name"]
    for path in files:
        to = place / path.relative_to(source or place)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    room.artifacts[given["name"]] = place
    return {"artifact-id": str(len(room.artifacts))}


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def download(room: Room, given: Mapping[str, str]) -> dict[str, str]:
    """actions/download-artifact: of this run, or of `run-id` with a token that may read Actions.

    By its id an artifact lies in a folder of its name, unless they are to be merged.
    """
    _only(given, "name", "artifact-ids", "merge-multiple", "path", "run-id", "github-token")
    held = room.artifacts
    if "run-id" in given:
        who = room.tokens.get(given["github-token"])
        if who is None or who.permissions.get("actions") not in ("read", "write"):
            raise Failed("Resource not accessible by integration")
        held = room.others[int(given["run-id"])]
    if "artifact-ids" in given:
        name = list(held)[int(given["artifact-ids"]) - 1]
        inside = Path() if given.get("merge-multiple") == "true" else Path(name)
        shutil.copytree(held[name], room.workspace / given["path"] / inside, dirs_exist_ok=True)
        return {"download-path": given["path"]}
    if given["name"] not in held:
        raise Failed(f"Artifact not found for name: {given['name']}")
    shutil.copytree(held[given["name"]], room.workspace / given["path"], dirs_exist_ok=True)
    return {"download-path": given["path"]}


def attest(room: Room, given: Mapping[str, str]) -> dict[str, str]:
    """actions/attest-build-provenance: signs files, where the job may."""
    _only(given, "subject-path")
    if (room.permissions.get("id-token"), room.permissions.get("attestations")) != ("write", "write"):
        raise Failed("Failed to get ID token")
    root, _, pattern = given["subject-path"].partition("**/")
    files = sorted(path for path in (room.workspace / root).rglob(pattern) if path.is_file())
    if not files:
        raise Failed(f"Could not find subject at path {given['subject-path']}")
    room.attested += [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    return {}


def app_token(room: Room, given: Mapping[str, str]) -> dict[str, str]:
    """actions/create-github-app-token: a token that writes under the App's name."""
    known = {f"permission-{name}": name for name in ("actions", "checks", "pull-requests")}
    _only(given, "app-id", "private-key", *known)
    asked = {known[name]: level for name, level in given.items() if name in known}
    if not given["private-key"]:
        raise Failed("Input required and not supplied: private-key")
    token = f"ghs_app{len(room.tokens)}"
    room.tokens[token] = Identity(
        "our-gate[bot]", "our-gate", {name.replace("-", "_"): level for name, level in asked.items()}
    )
    return {"token": token, "app-slug": "our-gate"}


def _only(given: Mapping[str, str], *names: str) -> None:
    if unknown := given.keys() - set(names):
        raise Unknown(f"inputs: {', '.join(sorted(unknown))}")


PLAYED: dict[str, Callable[[Room, Mapping[str, str]], dict[str, str]]] = {
    "actions/checkout": checkout,
    "actions/setup-python": setup_python,
    "actions/upload-artifact": upload,
    "actions/download-artifact": download,
    "actions/attest-build-provenance": attest,
    "actions/create-github-app-token": app_token,
}
