"""What GitHub remembers, and what it refuses: one repository's pull requests, comments, checks and runs.

Pure but for its own memory; every operation takes the identity that asks and is one atomic step.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gate.github.api import CheckStatus

COMMENT_CHARACTERS = 65_536
OUTPUT_CHARACTERS = 65_535
ANNOTATIONS_A_REQUEST = 50
EVERYTHING = {
    "issues": "write",
    "pull_requests": "write",
    "checks": "write",
    "actions": "write",
    "contents": "read",
}


class Refused(Exception):
    """GitHub's answer of 4xx: status, message, and the errors of a 422."""

    def __init__(self, status: int, message: str, errors: Iterable[Mapping[str, str]] = ()) -> None:
        super().__init__(f"{status} {message}")
        self.status, self.message, self.errors = status, message, tuple(errors)


@dataclass(frozen=True)
class Identity:
    """Who a token speaks for. `app` is the slug of its GitHub App, "" for a person's own token."""

    login: str = "github-actions[bot]"
    app: str = "github-actions"
    permissions: Mapping[str, str] = field(default_factory=lambda: dict(EVERYTHING))


@dataclass(frozen=True)
class StoredPull:
    """A pull request; `commits` are all that were ever its head, newest last."""

    number: int
    commits: tuple[str, ...]
    base_sha: str
    base_ref: str = "main"
    head_ref: str = "topic"
    head_repository: str = ""
    open: bool = True
    draft: bool = False
    labels: tuple[str, ...] = ()

    @property
    def head_sha(self) -> str:
        return self.commits[-1]


@dataclass(frozen=True)
class StoredComment:
    """A comment, and when it was written and last changed."""

    id: int
    pull: int
    author: str
    body: str
    created: str
    updated: str


@dataclass(frozen=True)
class StoredCheck:
    """A check run. `annotations` are GitHub's own fields, all requests' together."""

    id: int
    name: str
    sha: str
    app: str
    status: CheckStatus
    conclusion: str | None = None
    external_id: str = ""
    details_url: str = ""
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    annotations: tuple[Mapping[str, Any], ...] = ()
    started: str = ""
    completed: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A workflow run as GitHub says it."""

    status: str
    conclusion: str | None
    head_sha: str = "e" * 40
    path: str = ".github/workflows/other.yml"
    event: str = "push"


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job of an attempt of a workflow run as GitHub says it; `steps` are the names of its steps."""

    name: str
    status: str = "completed"
    conclusion: str | None = "success"
    steps: tuple[str, ...] = ()
    attempt: int = 1


class State:
    """One repository. All of it may be looked at; only the methods change it."""

    def __init__(self, repository: str = "acme/tunes") -> None:
        self.repository = repository
        self.pulls: dict[int, StoredPull] = {}
        self.comments: dict[int, StoredComment] = {}
        self.checks: dict[int, StoredCheck] = {}
        self.runs: dict[
            int, str
        ] = {}  # a workflow run's id and its status: in_progress, completed, failure, cancelled
        self.about: dict[int, dict[str, str]] = {}  # a workflow run's id and its head_sha, path and event
        self.jobs: dict[int, tuple[StoredJob, ...]] = {}  # a workflow run's id and the jobs of its attempts
        self.writes: list[str] = []  # every write that took effect, in order, e.g. "create_comment 1001"
        self._ids = 1000
        self._ticks = 0
        self._lock = threading.RLock()

    # ── What happens on GitHub beside ftgate ─────────────────────────────────────────────────────

    def open_pull(self, number: int, head_sha: str, base_sha: str = "b" * 40, **fields: Any) -> StoredPull:
        """A new pull request; its head lies in this repository unless `head_repository` is given."""
        fields.setdefault("head_repository", self.repository)
        with self._lock:
            self.pulls[number] = StoredPull(number, (head_sha,), base_sha, **fields)
            return self.pulls[number]

    def push(self, number: int, head_sha: str) -> None:
        """A new head of a pull request."""
        with self._lock:
            pull = self.pulls[number]
            self.pulls[number] = replace(pull, commits=(*pull.commits, head_sha))

    def edit_pull(self, number: int, **fields: Any) -> None:
        """Close a pull request, label it, make it a draft, ..."""
        with self._lock:
            self.pulls[number] = replace(self.pulls[number], **fields)

    def start_run(self, run_id: int, status: str = "in_progress", **about: str) -> None:
        """A workflow run that may be cancelled; `about` gives its `head_sha`, `path` and `event`."""
        with self._lock:
            self.runs[run_id] = status
            self.about[run_id] = {**self.about.get(run_id, {}), **about}

    def put_job(self, run_id: int, job: StoredJob) -> None:
        """A job of a workflow run, in place of the one of this name and attempt."""
        with self._lock:
            others = [
                each
                for each in self.jobs.get(run_id, ())
                if (each.name, each.attempt) != (job.name, job.attempt)
            ]
            self.jobs[run_id] = (*others, job)

    # ── What GitHub is asked ─────────────────────────────────────────────────────────────────────

    def user(self, who: Identity) -> str:
        """The login of a person's token; an App's token has no user."""
        if who.app:
            raise Refused(403, "Resource not accessible by integration")
        return who.login

    def pull(self, who: Identity, number: int) -> StoredPull:
        self._allowed(who, "read", "pull_requests")
        with self._lock:
            if number not in self.pulls:
                raise Refused(404, "Not Found")
            return self.pulls[number]

    def pulls_of_commit(self, who: Identity, sha: str) -> list[StoredPull]:
        self._allowed(who, "read", "pull_requests")
        with self._lock:
            return [pull for pull in self.pulls.values() if sha in pull.commits]

    def pulls_of_branch(self, who: Identity, head: str, state: str = "open") -> list[StoredPull]:
        """Pull requests from `OWNER:BRANCH`; all of them where `head` is empty."""
        self._allowed(who, "read", "pull_requests")
        with self._lock:
            return [
                pull
                for pull in sorted(self.pulls.values(), key=lambda pull: -pull.number)
                if head in ("", f"{pull.head_repository.split('/')[0]}:{pull.head_ref}")
                and (state == "all" or pull.open == (state == "open"))
            ]

    def list_comments(self, who: Identity, pull: int) -> list[StoredComment]:
        self._allowed(who, "read", "issues", "pull_requests")
        with self._lock:
            self._known_pull(pull)
            return sorted((c for c in self.comments.values() if c.pull == pull), key=lambda c: c.id)

    def create_comment(self, who: Identity, pull: int, body: str) -> StoredComment:
        self._allowed(who, "write", "issues", "pull_requests")
        _short_comment(body)
        with self._lock:
            self._known_pull(pull)
            now = self._tick()
            comment = StoredComment(self._new_id(), pull, who.login, body, now, now)
            self.comments[comment.id] = comment
            self.writes.append(f"create_comment {comment.id}")
            return comment

    def update_comment(self, who: Identity, comment: int, body: str) -> StoredComment:
        self._allowed(who, "write", "issues", "pull_requests")
        _short_comment(body)
        with self._lock:
            found = self._known_comment(comment)
            self.comments[comment] = replace(found, body=body, updated=self._tick())
            self.writes.append(f"update_comment {comment}")
            return self.comments[comment]

    def delete_comment(self, who: Identity, comment: int) -> None:
        self._allowed(who, "write", "issues", "pull_requests")
        with self._lock:
            self._known_comment(comment)
            del self.comments[comment]
            self.writes.append(f"delete_comment {comment}")

    def list_checks(self, who: Identity, sha: str, name: str = "", latest: bool = False) -> list[StoredCheck]:
        """The check runs of a commit, newest first; `latest` has one a name and App."""
        self._allowed(who, "read", "checks")
        with self._lock:
            found = [c for c in self.checks.values() if c.sha == sha and name in ("", c.name)]
        found.sort(key=lambda check: -check.id)
        if latest:
            found = list({(c.name, c.app): c for c in reversed(found)}.values())[::-1]
        return found

    def create_check(self, who: Identity, fields: Mapping[str, Any]) -> StoredCheck:
        """A check run of GitHub's own request fields (`name`, `head_sha`, `status`, `output`, ...)."""
        self._allowed(who, "write", "checks")
        if not who.app:
            raise Refused(403, "You must authenticate via a GitHub App.")
        _short_output(fields)
        with self._lock:
            check = StoredCheck(
                self._new_id(),
                fields["name"],
                fields["head_sha"],
                who.app,
                "queued",
                external_id=fields.get("external_id", ""),
                details_url=fields.get("details_url", ""),
                started=self._tick(),
            )
            self.checks[check.id] = self._edited(check, fields)
            self.writes.append(f"create_check_run {check.id}")
            return self.checks[check.id]

    def update_check(self, who: Identity, check_id: int, fields: Mapping[str, Any]) -> StoredCheck:
        """Change a check run; annotations are added to those that are there."""
        self._allowed(who, "write", "checks")
        _short_output(fields)
        with self._lock:
            if check_id not in self.checks:
                raise Refused(404, "Not Found")
            check = self.checks[check_id]
            if check.app != who.app:
                raise Refused(
                    403, "Invalid app_id - check run can only be modified by the GitHub App that created it."
                )
            self.checks[check_id] = self._edited(check, fields)
            self.writes.append(f"update_check_run {check_id}")
            return self.checks[check_id]

    def run(self, who: Identity, run_id: int) -> StoredRun:
        """A workflow run as GitHub says it."""
        self._allowed(who, "read", "actions")
        with self._lock:
            if run_id not in self.runs:
                raise Refused(404, "Not Found")
            status, about = self.runs[run_id], self.about.get(run_id, {})
        ended = {"completed": "success", "failure": "failure", "cancelled": "cancelled"}.get(status)
        return StoredRun("completed" if ended else status, ended, **about)

    def list_jobs(self, who: Identity, run_id: int, attempt: int) -> list[StoredJob]:
        """The jobs of one attempt of a workflow run."""
        self._allowed(who, "read", "actions")
        with self._lock:
            if run_id not in self.runs:
                raise Refused(404, "Not Found")
            return [job for job in self.jobs.get(run_id, ()) if job.attempt == attempt]

    def cancel_run(self, who: Identity, run_id: int) -> None:
        self._allowed(who, "write", "actions")
        with self._lock:
            if run_id not in self.runs:
                raise Refused(404, "Not Found")
            if self.runs[run_id] != "in_progress":
                raise Refused(409, "Cannot cancel a workflow run that is completed.")
            self.runs[run_id] = "cancelled"
            self.writes.append(f"cancel_run {run_id}")

    # ── Its memory as JSON ───────────────────────────────────────────────────────────────────────

    def dump(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        with self._lock:
            dumped = {
                "repository": self.repository,
                "pulls": [asdict(pull) for pull in self.pulls.values()],
                "comments": [asdict(comment) for comment in self.comments.values()],
                "checks": [asdict(check) for check in self.checks.values()],
                "runs": [
                    {"id": run_id, "status": status, "about": dict(self.about.get(run_id, {}))}
                    for run_id, status in self.runs.items()
                ],
                "jobs": {str(run_id): [asdict(job) for job in jobs] for run_id, jobs in self.jobs.items()},
                "writes": list(self.writes),
                "ids": self._ids,
                "ticks": self._ticks,
            }
            found: dict[str, Any] = json.loads(json.dumps(dumped))
            return found

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Become what `dump` gave; parts that are left out are empty."""
        with self._lock:
            self.repository = dumped.get("repository", self.repository)
            self.pulls = {pull["number"]: self._pull_from(pull) for pull in dumped.get("pulls", ())}
            self.comments = {c["id"]: StoredComment(**c) for c in dumped.get("comments", ())}
            self.checks = {
                c["id"]: StoredCheck(**{**c, "annotations": tuple(c.get("annotations", ()))})
                for c in dumped.get("checks", ())
            }
            self.runs = {run["id"]: run["status"] for run in dumped.get("runs", ())}
            self.about = {run["id"]: dict(run.get("about", {})) for run in dumped.get("runs", ())}
            self.jobs = {
                int(run_id): tuple(StoredJob(**{**job, "steps": tuple(job["steps"])}) for job in jobs)
                for run_id, jobs in dumped.get("jobs", {}).items()
            }
            self.writes = list(dumped.get("writes", ()))
            self._ids, self._ticks = dumped.get("ids", 1000), dumped.get("ticks", 0)

    def _pull_from(self, fields: Mapping[str, Any]) -> StoredPull:
        pull = {"head_repository": self.repository, **fields}
        return StoredPull(
            **{**pull, "commits": tuple(pull["commits"]), "labels": tuple(pull.get("labels", ()))}
        )

    # ── How it decides ───────────────────────────────────────────────────────────────────────────

    def _edited(self, check: StoredCheck, fields: Mapping[str, Any]) -> StoredCheck:
        changes = {
            key: fields[key] for key in ("status", "conclusion", "details_url") if fields.get(key) is not None
        }
        if "conclusion" in changes:
            changes["status"] = "completed"
        if changes.get("status") == "completed" and "conclusion" not in changes and check.conclusion is None:
            raise Refused(
                422, "Validation Failed", [{"resource": "CheckRun", "field": "conclusion", "code": "missing"}]
            )
        if changes.get("status") == "completed":
            changes["completed"] = self._tick()
        elif "status" in changes:
            changes |= {"conclusion": None, "completed": None}
        output = fields.get("output") or {}
        changes |= {key: output[key] for key in ("title", "summary", "text") if key in output}
        return replace(check, **changes, annotations=(*check.annotations, *output.get("annotations", ())))

    def _allowed(self, who: Identity, level: str, *names: str) -> None:
        """403 unless one of the named permissions reaches `level`."""
        held = {who.permissions.get(name) for name in names}
        if not held & {"write", level}:
            raise Refused(403, "Resource not accessible by integration")

    def _known_pull(self, number: int) -> None:
        if number not in self.pulls:
            raise Refused(404, "Not Found")

    def _known_comment(self, comment: int) -> StoredComment:
        if comment not in self.comments:
            raise Refused(404, "Not Found")
        return self.comments[comment]

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    def _tick(self) -> str:
        self._ticks += 1
        return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._ticks)).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        )


def _short_comment(body: str) -> None:
    if not body.strip():
        raise Refused(
            422, "Validation Failed", [{"resource": "IssueComment", "field": "body", "code": "missing_field"}]
        )
    if len(body) > COMMENT_CHARACTERS:
        said = f"body is too long (maximum is {COMMENT_CHARACTERS} characters)"
        raise Refused(422, "Validation Failed", [_unprocessable("IssueComment", "body", said)])


def _short_output(fields: Mapping[str, Any]) -> None:
    output = fields.get("output") or {}
    for key in ("summary", "text"):
        if len(output.get(key) or "") > OUTPUT_CHARACTERS:
            said = f"{key} is too long (maximum is {OUTPUT_CHARACTERS} characters)"
            raise Refused(422, "Validation Failed", [_unprocessable("CheckRun", key, said)])
    if len(output.get("annotations", ())) > ANNOTATIONS_A_REQUEST:
        said = f"annotations exceeds the maximum of {ANNOTATIONS_A_REQUEST}"
        raise Refused(422, "Validation Failed", [_unprocessable("CheckRun", "annotations", said)])


def _unprocessable(resource: str, field_name: str, message: str) -> dict[str, str]:
    return {"resource": resource, "code": "unprocessable", "field": field_name, "message": message}
