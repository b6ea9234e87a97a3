"""What ftgate asks of GitHub, as a protocol: the client speaks it over HTTP, tests in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

CheckStatus = Literal["queued", "in_progress", "completed"]
Conclusion = Literal["success", "failure", "cancelled", "action_required"]
Level = Literal["notice", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment of a pull request."""

    id: int
    author: str  # login, e.g. github-actions[bot]
    body: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What ftgate needs to know of a pull request."""

    number: int
    head_sha: str
    base_sha: str
    base_ref: str
    open: bool = True
    draft: bool = False
    labels: tuple[str, ...] = ()
    head_repository: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A remark on a line (from 1) of a file; plain text, at most 64 KB."""

    path: str
    line: int
    level: Level
    message: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class CheckOutput:
    """What a check run shows: title (a line), summary and text (Markdown, 65,535 characters each)."""

    title: str
    summary: str
    text: str = ""
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckRun:
    """A check run of a commit. `external_id` is ours to fill; `app` is the slug of the App that made it."""

    id: int
    name: str
    sha: str
    status: CheckStatus
    conclusion: str = ""  # GitHub's word, "" until completed
    external_id: str = ""
    app: str = ""
    title: str = ""
    summary: str = ""
    text: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """A workflow run. Nobody can write one: GitHub says what it ran, on which commit, and how it ended."""

    id: int
    status: str  # GitHub's word: "completed" however it ended
    conclusion: str = ""  # GitHub's word, "" until completed
    head_sha: str = ""
    path: str = ""  # of the workflow's file
    event: str = ""  # GitHub's name of what started it


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a workflow run. Nobody outside of the run can write it; a step's name is as the job set it."""

    name: str
    status: str  # GitHub's word: "in_progress" and "completed" are two of them
    conclusion: str = ""  # GitHub's word, "" until completed
    steps: tuple[str, ...] = ()  # their names, in order


class GitHub(Protocol):
    """One repository of GitHub. Every method may raise `GitHubError` or one of its kin.

    Writes are retried by the client where that cannot do harm twice: a creation whose answer was lost
    may have taken effect, so callers look again after `Uncertain`.
    """

    def login(self) -> str:
        """The login that this token writes under."""
        ...

    def pull(self, number: int) -> PullRequest: ...

    def pulls_of_commit(self, sha: str) -> Sequence[PullRequest]: ...

    def pulls_of_branch(self, owner: str, branch: str) -> Sequence[PullRequest]:
        """Open pull requests whose head is `owner:branch`: how a fork's workflow_run is matched."""
        ...

    def comments(self, pull: int) -> Sequence[Comment]:
        """All comments of a pull request, oldest first."""
        ...

    def create_comment(self, pull: int, body: str) -> Comment: ...

    def update_comment(self, comment: int, body: str) -> Comment: ...

    def delete_comment(self, comment: int) -> None:
        """Delete a comment; one that is gone already is no error."""
        ...

    def check_runs(self, sha: str, name: str = "") -> Sequence[CheckRun]:
        """The check runs of a commit, all attempts, oldest first."""
        ...

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
    ) -> CheckRun: ...

    def update_check_run(
        self,
        check_run: int,
        output: CheckOutput,
        *,
        status: CheckStatus,
        conclusion: Conclusion | None = None,
    ) -> CheckRun:
        """Update a check run; annotations are added to those that are there, 50 a request."""
        ...

    def workflow_run(self, run_id: int) -> WorkflowRun:
        """A workflow run, its latest attempt. Raises `NotFound` for one that was deleted."""
        ...

    def jobs(self, run_id: int, attempt: int) -> Sequence[Job]:
        """The jobs of one attempt of a workflow run. Raises `NotFound` where it was deleted."""
        ...

    def cancel_run(self, run_id: int) -> None:
        """Cancel a workflow run; one that has ended is no error."""
        ...
