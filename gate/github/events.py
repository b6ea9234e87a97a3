"""What GitHub says started this run, in one record. Nothing else reads GitHub's environment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.errors import UsageError
from gate.records import Event, EventKind

NAMES: Mapping[str, EventKind] = {
    "pull_request": "pull_request",
    "merge_group": "merge_group",
    "push": "push",
    "workflow_dispatch": "dispatch",
    "workflow_run": "workflow_run",
    "schedule": "schedule",
}
MAX_PAYLOAD = 32 << 20

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_QUEUE = re.compile(r"gh-readonly-queue/(.+)/pr-([1-9][0-9]{0,9})-[0-9a-f]{7,64}")


def read_event(environ: Mapping[str, str]) -> Event:
    """The event of this process's environment. Raises `UsageError` that names the variable at fault."""
    path = _variable(environ, "GITHUB_EVENT_PATH")
    try:
        with Path(path).open("rb") as file:
            payload = file.read(MAX_PAYLOAD + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"GITHUB_EVENT_PATH: {path} cannot be read: {reason}", hint=_HINT) from error
    return parse_event(environ, payload)


_HINT = "`ftgate ci` runs in GitHub Actions; on your own machine use `ftgate check CONFIG`"


def parse_event(environ: Mapping[str, str], payload: bytes) -> Event:
    """The event that an environment and a payload describe. Raises `UsageError`."""
    name = _variable(environ, "GITHUB_EVENT_NAME")
    if name == "pull_request_target":
        raise UsageError(
            "GITHUB_EVENT_NAME: pull_request_target gives a pull request's code the repository's secrets",
            hint="use `pull_request`, and for forks the workflows of `ftgate init --github`",
        )
    if name not in NAMES:
        hint = f"it answers to {', '.join(NAMES)}"
        raise UsageError(f"GITHUB_EVENT_NAME: `ftgate ci` does not know the event {name[:80]}", hint=hint)
    body = _Payload(_decode(payload), ())
    common: dict[str, Any] = {
        "repository": _repository(environ),
        "run_id": _number(environ, "GITHUB_RUN_ID"),
        "run_attempt": _number(environ, "GITHUB_RUN_ATTEMPT") or 1,
        "actor": environ.get("GITHUB_ACTOR", ""),
        "action": body.text("action"),
        "workflow": environ.get("GITHUB_WORKFLOW_REF", ""),
    }
    read = {
        "pull_request": _pull_request,
        "merge_group": _merge_group,
        "workflow_run": _workflow_run,
    }.get(NAMES[name], _branch)
    return Event(**({"kind": NAMES[name]} | common | read(environ, body)))


def _pull_request(_environ: Mapping[str, str], body: _Payload) -> dict[str, Any]:
    pull = body.inside("pull_request")
    head, base = pull.inside("head"), pull.inside("base")
    number = pull.data.get("number", body.data.get("number"))
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise pull.broken("number", "the number of a pull request")
    labels = pull.data.get("labels")
    labels = labels if isinstance(labels, list) else []
    named = [_text(label.get("name")) for label in labels if isinstance(label, dict)]
    return {
        "pull": number,
        "head_sha": head.sha("sha"),
        "head_ref": head.text("ref"),
        "head_repository": head.optional("repo").text("full_name") or "unknown/deleted",
        "base_sha": base.sha("sha"),
        "base_ref": base.text("ref"),
        "draft": pull.data.get("draft") is True,
        "labels": tuple(filter(None, named)),
        "before_sha": _known_sha(body.text("before")),
    }


def _merge_group(environ: Mapping[str, str], body: _Payload) -> dict[str, Any]:
    """The pull request's number stands in the queue's branch: gh-readonly-queue/BASE/pr-NUMBER-SHA."""
    group = body.inside("merge_group")
    branch = _branch_name(group.text("head_ref"))
    match = _QUEUE.fullmatch(branch)
    return {
        "pull": int(match[2]) if match else 0,
        "head_sha": group.sha("head_sha"),
        "head_ref": branch,
        "head_repository": _repository(environ),
        "base_sha": group.sha("base_sha"),
        "base_ref": _branch_name(group.text("base_ref")),
    }


def _workflow_run(environ: Mapping[str, str], body: _Payload) -> dict[str, Any]:
    """The run that is followed; one for a merge queue counts as such. GitHub names no fork's pull request.

    Only pull requests into the default branch count: a check is a commit's, and so stands on every pull
    request of that head, also on one that another branch's policy would have judged.
    """
    run = body.inside("workflow_run")
    branch = run.text("head_branch")
    found: dict[str, Any] = {
        "head_sha": run.sha("head_sha"),
        "head_ref": branch,
        "head_repository": run.optional("head_repository").text("full_name") or "unknown/deleted",
        "conclusion": run.text("conclusion"),
        "follows_attempt": attempt if type(attempt := run.data.get("run_attempt")) is int else 1,
    }
    queued = _QUEUE.fullmatch(branch) if run.text("event") == "merge_group" else None  # anyone names a branch
    if queued and found["head_repository"] == _repository(environ):
        return {**found, "kind": "merge_group", "pull": int(queued[2]), "base_ref": queued[1], "base_sha": ""}
    default, pulls = _default_branch(body), run.data.get("pull_requests")
    pulls = pulls if isinstance(pulls, list) else []
    named = [_Payload(each, ()) for each in pulls if isinstance(each, dict)]
    fitting = [each for each in named if each.optional("base").text("ref") == default]
    pull = fitting[0] if len(fitting) == 1 else _Payload({}, ())
    number = pull.data.get("number")
    return {
        **found,
        "pull": number if isinstance(number, int) else 0,
        "base_sha": _known_sha(pull.optional("base").text("sha")),
        "base_ref": default,
    }


def _branch(environ: Mapping[str, str], body: _Payload) -> dict[str, Any]:
    """A push, a dispatch or a schedule: its commit is on a branch, and the default branch is the base ref.

    On the default branch itself head and base are one commit. On another one `base_sha` stays empty, to be
    looked up in the clone: a branch must not bring its own policy just because somebody started a run on it,
    as the check would count for a pull request of the same commit.
    """
    head = _variable(environ, "GITHUB_SHA")
    if not _SHA.fullmatch(head):
        raise UsageError(f"GITHUB_SHA: expected a commit, got {head[:80]!r}")
    branch, default = _branch_name(environ.get("GITHUB_REF", "")), _default_branch(body)
    inputs = body.data.get("inputs")
    named = _text(inputs.get("config")) if isinstance(inputs, dict) else ""
    return {
        "head_sha": head,
        "head_ref": branch,
        "head_repository": _repository(environ),
        "base_sha": head if default in ("", branch) else "",
        "base_ref": default or branch,
        "before_sha": _known_sha(body.text("before")),
        "config": named.strip(),
    }


def _default_branch(body: _Payload) -> str:
    return body.optional("repository").text("default_branch")


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────


class _Payload:
    """A mapping of the payload, and the keys that lead to it."""

    def __init__(self, data: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        self.data, self.keys = data, keys

    def broken(self, key: str, wanted: str) -> UsageError:
        where = ".".join((*self.keys, key))
        return UsageError(f"GITHUB_EVENT_PATH: the payload's `{where}` is not {wanted}", hint=_HINT)

    def inside(self, key: str) -> _Payload:
        """The mapping at a key, which must be there."""
        value = self.data.get(key)
        if not isinstance(value, dict):
            raise self.broken(key, "a mapping")
        return _Payload(value, (*self.keys, key))

    def optional(self, key: str) -> _Payload:
        """The mapping at a key, empty where there is none: a deleted fork has no repository."""
        value = self.data.get(key)
        return _Payload(value if isinstance(value, dict) else {}, (*self.keys, key))

    def text(self, key: str) -> str:
        """The text at a key, "" where there is none."""
        return _text(self.data.get(key))

    def sha(self, key: str) -> str:
        """The commit at a key, which must be there."""
        value = self.text(key)
        if not _SHA.fullmatch(value):
            raise self.broken(key, "a commit")
        return value


def _text(value: object) -> str:
    """Text that can be written as UTF-8; JSON may hold half a character."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def _decode(payload: bytes) -> Mapping[str, Any]:
    if len(payload) > MAX_PAYLOAD:
        raise UsageError(f"GITHUB_EVENT_PATH: the payload is larger than {MAX_PAYLOAD:,} bytes", hint=_HINT)
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"GITHUB_EVENT_PATH: the payload is not JSON: {error}", hint=_HINT) from error
    if not isinstance(body, dict):
        raise UsageError("GITHUB_EVENT_PATH: the payload is not a JSON mapping", hint=_HINT)
    return body


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise UsageError(f"{name} is not set", hint=_HINT)
    return value


def _number(environ: Mapping[str, str], name: str) -> int:
    value = environ.get(name, "")
    if value and not re.fullmatch(r"[0-9]{1,15}", value, re.ASCII):
        raise UsageError(f"{name}: expected a number, got {value[:80]!r}")
    return int(value or 0)


def _repository(environ: Mapping[str, str]) -> str:
    name = _variable(environ, "GITHUB_REPOSITORY")
    if not _REPOSITORY.fullmatch(name):
        raise UsageError(f"GITHUB_REPOSITORY: expected OWNER/NAME, got {name[:80]!r}")
    return name


def _known_sha(value: str) -> str:
    """A commit, "" where there is none; GitHub writes zeros for a branch that is new."""
    return value if _SHA.fullmatch(value) and value.strip("0") else ""


def _branch_name(ref: str) -> str:
    return ref.removeprefix("refs/heads/")


# ── The runner ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Runner:
    """Where GitHub and its runner want things: addresses, and the files that they read afterwards."""

    api_url: str = "https://api.github.com"
    server_url: str = "https://github.com"
    outputs: Path | None = None
    summary: Path | None = None
    temporary: Path | None = None
    actions: bool = False  # whether this is a step of GitHub Actions
    repository: str = ""  # OWNER/NAME of the step's repository
    app: str = ""  # the slug of the App whose token it is, where it is not Actions' own

    @property
    def app_login(self) -> str:
        """The login that an App's token writes under."""
        return f"{self.app or 'github-actions'}[bot]"

    def run_url(self, event: Event) -> str:
        """The page of the event's run; "" for one that no run of Actions made."""
        return f"{self.server_url}/{event.repository}/actions/runs/{event.run_id}" if self.actions else ""


def read_runner(environ: Mapping[str, str]) -> Runner:
    """The runner of this process's environment. Raises `UsageError`."""

    def path(name: str) -> Path | None:
        return Path(environ[name]) if environ.get(name) else None

    app = environ.get("FTGATE_APP", "")
    if not re.fullmatch(r"[a-z0-9-]{0,100}", app):
        raise UsageError(f"FTGATE_APP: expected the slug of a GitHub App, got {app[:80]!r}")
    return Runner(
        app=app,
        api_url=environ.get("GITHUB_API_URL") or Runner().api_url,
        server_url=(environ.get("GITHUB_SERVER_URL") or Runner().server_url).rstrip("/"),
        outputs=path("GITHUB_OUTPUT"),
        summary=path("GITHUB_STEP_SUMMARY"),
        temporary=path("RUNNER_TEMP"),
        actions=environ.get("GITHUB_ACTIONS") == "true",
        repository=environ.get("GITHUB_REPOSITORY", ""),
    )
