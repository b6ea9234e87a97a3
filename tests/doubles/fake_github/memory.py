"""The same GitHub as ftgate's protocol, without HTTP: for tests of what publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fake_github.state import (
    ANNOTATIONS_A_REQUEST,
    EVERYTHING,
    Identity,
    Refused,
    State,
    StoredCheck,
    StoredComment,
    StoredPull,
)
from gate.errors import Forbidden, GitHubError, NotFound, TooLong
from gate.github.api import (
    CheckOutput,
    CheckRun,
    CheckStatus,
    Comment,
    Conclusion,
    Job,
    PullRequest,
    WorkflowRun,
)

Hook = Callable[[str], None]


def nothing(operation: str) -> None:
    """A hook that lets every operation through."""


class MemoryGitHub:
    """One repository in memory, and sessions of those who use it. `state` may be looked at and changed."""

    def __init__(self, repository: str = "acme/tunes", state: State | None = None) -> None:
        self.state = state or State(repository)

    def session(
        self,
        login: str = "github-actions[bot]",
        app: str = "github-actions",
        permissions: Mapping[str, str] | None = None,
        before: Hook = nothing,
        after: Hook = nothing,
    ) -> MemorySession:
        """Someone who uses the repository. A person's own token has `app=""` and may make no check runs.

        `before` and `after` are called with the name of every request, e.g. `create_comment`, before and
        after it takes effect: they may raise (a fault; after it, the answer is lost), push, or wait.
        """
        identity = Identity(login, app, dict(EVERYTHING if permissions is None else permissions))
        return MemorySession(self.state, identity, before, after)


class MemorySession:
    """`gate.github.api.GitHub`, as one identity sees it."""

    def __init__(self, state: State, identity: Identity, before: Hook, after: Hook) -> None:
        self._state, self._who, self._before, self._after = state, identity, before, after

    def login(self) -> str:
        with self._asking("login"):
            return self._who.login

    def pull(self, number: int) -> PullRequest:
        with self._asking("pull"):
            return _pull(self._state.pull(self._who, number))

    def pulls_of_commit(self, sha: str) -> list[PullRequest]:
        with self._asking("pulls_of_commit"):
            return [_pull(pull) for pull in self._state.pulls_of_commit(self._who, sha)]

    def pulls_of_branch(self, owner: str, branch: str) -> list[PullRequest]:
        with self._asking("pulls_of_branch"):
            return [_pull(pull) for pull in self._state.pulls_of_branch(self._who, f"{owner}:{branch}")]

    def comments(self, pull: int) -> list[Comment]:
        with self._asking("comments"):
            return [self._comment(comment) for comment in self._state.list_comments(self._who, pull)]

    def create_comment(self, pull: int, body: str) -> Comment:
        with self._asking("create_comment"):
            return self._comment(self._state.create_comment(self._who, pull, body))

    def update_comment(self, comment: int, body: str) -> Comment:
        with self._asking("update_comment"):
            return self._comment(self._state.update_comment(self._who, comment, body))

    def delete_comment(self, comment: int) -> None:
        with self._asking("delete_comment", gone=(404,)):
            self._state.delete_comment(self._who, comment)

    def check_runs(self, sha: str, name: str = "") -> list[CheckRun]:
        with self._asking("check_runs"):
            return [self._check(check) for check in reversed(self._state.list_checks(self._who, sha, name))]

    def create_check_run(
        self,
        sha: str,
        name: str,
        output: CheckOutput,
        *,
        status: CheckStatus,
        conclusion: Conclusion | None = None,
        external_id: str = "",
        details_url: str = "",
    ) -> CheckRun:
        first, *rest = _requests(output)
        fields = {"head_sha": sha, "name": name, "external_id": external_id, "details_url": details_url}
        ending = {"status": status, "conclusion": conclusion}
        with self._asking("create_check_run"):
            check = self._state.create_check(self._who, {**fields, **ending, "output": first})
        for part in rest:
            with self._asking("update_check_run"):
                check = self._state.update_check(self._who, check.id, {**ending, "output": part})
        return self._check(check)

    def update_check_run(
        self,
        check_run: int,
        output: CheckOutput,
        *,
        status: CheckStatus,
        conclusion: Conclusion | None = None,
    ) -> CheckRun:
        ending = {"status": status, "conclusion": conclusion}
        for part in _requests(output):
            with self._asking("update_check_run"):
                check = self._state.update_check(self._who, check_run, {**ending, "output": part})
        return self._check(check)

    def workflow_run(self, run_id: int) -> WorkflowRun:
        with self._asking("workflow_run"):
            run = self._state.run(self._who, run_id)
            return WorkflowRun(run_id, run.status, run.conclusion or "", run.head_sha, run.path, run.event)

    def jobs(self, run_id: int, attempt: int) -> list[Job]:
        with self._asking("jobs"):
            found = self._state.list_jobs(self._who, run_id, attempt)
            return [Job(job.name, job.status, job.conclusion or "", job.steps) for job in found]

    def cancel_run(self, run_id: int) -> None:
        with self._asking("cancel_run", gone=(409,)):
            self._state.cancel_run(self._who, run_id)

    @contextmanager
    def _asking(self, operation: str, gone: tuple[int, ...] = ()) -> Iterator[None]:
        """One request between its hooks; GitHub's refusals in ftgate's words."""
        self._before(operation)
        try:
            yield
        except Refused as refused:
            if refused.status not in gone:
                raise _as_error(operation, refused) from None
        self._after(operation)

    def _comment(self, comment: StoredComment) -> Comment:
        url = f"https://github.com/{self._state.repository}/pull/{comment.pull}#issuecomment-{comment.id}"
        return Comment(comment.id, comment.author, comment.body, url)

    def _check(self, check: StoredCheck) -> CheckRun:
        return CheckRun(
            check.id,
            check.name,
            check.sha,
            check.status,
            check.conclusion or "",
            check.external_id,
            check.app,
            check.title or "",
            check.summary or "",
            check.text or "",
            f"https://github.com/{self._state.repository}/runs/{check.id}",
        )


def _pull(pull: StoredPull) -> PullRequest:
    return PullRequest(
        pull.number,
        pull.head_sha,
        pull.base_sha,
        pull.base_ref,
        pull.open,
        pull.draft,
        pull.labels,
        pull.head_repository,
    )


def _requests(output: CheckOutput) -> list[dict[str, Any]]:
    """The output for each request that it takes: fifty annotations in each."""
    shown = {"title": output.title, "summary": output.summary, "text": output.text}
    lines = [
        {
            "path": note.path,
            "start_line": note.line,
            "end_line": note.line,
            "annotation_level": note.level,
            "message": note.message,
            "title": note.title,
        }
        for note in output.annotations
    ]
    starts = range(0, max(len(lines), 1), ANNOTATIONS_A_REQUEST)
    return [{**shown, "annotations": lines[at : at + ANNOTATIONS_A_REQUEST]} for at in starts]


def _as_error(operation: str, refused: Refused) -> GitHubError:
    said = f"{operation}: {refused}"
    if refused.status == 404:
        return NotFound(said)
    if refused.status == 403:
        return Forbidden(said)
    if any("too long" in error.get("message", "") for error in refused.errors):
        return TooLong(said)
    return GitHubError(said)
