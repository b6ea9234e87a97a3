"""What GitHub puts into `GITHUB_EVENT_PATH`, for each kind of event, as far as anything of ours reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ZERO = "0" * 40


@dataclass(frozen=True)
class Happening:
    """An event: its name and payload, and `GITHUB_SHA`, `GITHUB_REF` and kin of a run that it starts."""

    name: str
    payload: dict[str, Any]
    sha: str
    ref: str
    head_ref: str = ""
    base_ref: str = ""
    fork: bool = False  # its token may only read
    extra: dict[str, str] = field(default_factory=dict)


def repository(name: str, number: int = 1, *, fork: bool = False) -> dict[str, Any]:
    """A repository as payloads hold it."""
    owner, _, short = name.partition("/")
    return {
        "id": number,
        "name": short,
        "full_name": name,
        "fork": fork,
        "default_branch": "main",
        "owner": {"login": owner},
        "html_url": f"https://github.com/{name}",
    }


def pull_request(
    where: str,
    number: int,
    head: str,
    base: str,
    *,
    merge: str = ZERO,
    action: str = "synchronize",
    before: str = "",
    draft: bool = False,
    labels: tuple[str, ...] = (),
    head_ref: str = "topic",
    head_repository: str = "",
) -> Happening:
    """A pull request was opened, pushed to, ... `merge` is the commit that GitHub would test."""
    source = head_repository or where
    pull = {
        "number": number,
        "state": "open",
        "draft": draft,
        "labels": [{"name": label} for label in labels],
        "head": {
            "sha": head,
            "ref": head_ref,
            "repo": repository(source, 1 if source == where else 2, fork=source != where),
        },
        "base": {"sha": base, "ref": "main", "repo": repository(where)},
        "user": {"login": "author"},
        "merge_commit_sha": merge,
    }
    payload: dict[str, Any] = {"action": action, "number": number, "pull_request": pull}
    if action == "synchronize":
        payload |= {"before": before or ZERO, "after": head}
    payload |= {"repository": repository(where), "sender": {"login": "author"}}
    return Happening(
        "pull_request", payload, merge, f"refs/pull/{number}/merge", head_ref, "main", fork=source != where
    )


def merge_group(where: str, number: int, head: str, base: str) -> Happening:
    """The merge queue asks about a commit of its own that holds a pull request on top of `base`."""
    ref = f"refs/heads/gh-readonly-queue/main/pr-{number}-{base}"
    group = {
        "head_sha": head,
        "head_ref": ref,
        "base_sha": base,
        "base_ref": "refs/heads/main",
        "head_commit": {"id": head},
    }
    payload = {
        "action": "checks_requested",
        "merge_group": group,
        "repository": repository(where),
        "sender": {"login": "github-merge-queue[bot]"},
    }
    return Happening("merge_group", payload, head, ref)


def push(where: str, before: str, after: str, branch: str = "main") -> Happening:
    """Commits landed on a branch."""
    payload = {
        "ref": f"refs/heads/{branch}",
        "before": before,
        "after": after,
        "deleted": False,
        "head_commit": {"id": after},
        "repository": repository(where),
        "sender": {"login": "author"},
    }
    return Happening("push", payload, after, f"refs/heads/{branch}")


def dispatch(where: str, sha: str, config: str) -> Happening:
    """Somebody started a workflow by hand."""
    payload = {
        "ref": "refs/heads/main",
        "inputs": {"config": config},
        "repository": repository(where),
        "sender": {"login": "author"},
    }
    return Happening("workflow_dispatch", payload, sha, "refs/heads/main")


def schedule(where: str, sha: str) -> Happening:
    """Monday morning."""
    payload = {"schedule": "17 3 * * 1", "repository": repository(where)}
    return Happening("schedule", payload, sha, "refs/heads/main")


def workflow_run(
    where: str,
    cause: Happening,
    run_id: int,
    main: str,
    *,
    conclusion: str = "success",
    name: str = "ftgate train",
) -> Happening:
    """A workflow that `cause` had started has ended; this one runs on the default branch's commit, `main`."""
    pull = cause.payload.get("pull_request", {})
    group = cause.payload.get("merge_group", {})
    head_repository = pull.get("head", {}).get("repo") or repository(where)
    run = {
        "id": run_id,
        "run_attempt": 1,
        "name": name,
        "event": cause.name,
        "status": "completed",
        "conclusion": conclusion,
        "head_sha": pull.get("head", {}).get("sha") or group.get("head_sha") or cause.sha,
        "head_branch": cause.head_ref or cause.ref.removeprefix("refs/heads/"),
        "head_repository": head_repository,
        "pull_requests": [],  # GitHub leaves it empty for forks
        "html_url": f"https://github.com/{where}/actions/runs/{run_id}",
    }
    if pull and not cause.fork:
        run["pull_requests"] = [
            {"number": pull["number"], "base": {"ref": "main", "sha": pull["base"]["sha"]}}
        ]
    payload = {
        "action": "completed",
        "workflow_run": run,
        "workflow": {"name": name},
        "repository": repository(where),
        "sender": {"login": "author"},
    }
    return Happening("workflow_run", payload, main, "refs/heads/main")
