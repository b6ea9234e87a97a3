"""GitHub's JSON to ftgate's records and back. What a record does not need may be missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gate.github.api import (
    Annotation,
    CheckOutput,
    CheckRun,
    CheckStatus,
    Comment,
    Job,
    PullRequest,
    WorkflowRun,
)

ANNOTATIONS_A_REQUEST = 50
TITLE_CHARACTERS = 255  # of an annotation
STATUSES: dict[str, CheckStatus] = {"in_progress": "in_progress", "completed": "completed"}


class Unusable(Exception):
    """A field that is needed is missing or not what it should be; `str` is its path."""


class Entry:
    """One JSON object of an answer, read by paths such as `user.login`."""

    __slots__ = ("_content",)

    def __init__(self, content: Any) -> None:
        self._content = content

    def text(self, path: str, default: str | None = None) -> str:
        """A string. Raises `Unusable` where it is none, or missing without a default; null is missing."""
        found = self._at(path)
        if found is None and default is not None:
            return default
        if not isinstance(found, str):
            raise Unusable(path)
        return found

    def number(self, path: str) -> int:
        """A whole number. Raises `Unusable`."""
        found = self._at(path)
        if not isinstance(found, int) or isinstance(found, bool):
            raise Unusable(path)
        return found

    def entries(self, path: str) -> Iterator[Entry]:
        """The objects of a list; none where it is missing. Raises `Unusable`."""
        found = self._at(path)
        if found is not None and not isinstance(found, list):
            raise Unusable(path)
        return map(Entry, found or ())

    def true(self, path: str) -> bool:
        """Whether a flag is there and set."""
        return self._at(path) is True

    def _at(self, path: str) -> Any:
        found = self._content
        for name in path.split("."):
            if found is None:
                return None
            if not isinstance(found, dict):
                raise Unusable(path)
            found = found.get(name)
        return found


def to_login(entry: Entry) -> str:
    return entry.text("login")


def to_comment(entry: Entry) -> Comment:
    """A comment; one of a deleted account has no author."""
    return Comment(
        entry.number("id"), entry.text("user.login", ""), entry.text("body", ""), entry.text("html_url", "")
    )


def to_pull_request(entry: Entry) -> PullRequest:
    """A pull request; one whose fork is gone has no head repository."""
    return PullRequest(
        number=entry.number("number"),
        head_sha=entry.text("head.sha"),
        base_sha=entry.text("base.sha"),
        base_ref=entry.text("base.ref"),
        open=entry.text("state") == "open",
        draft=entry.true("draft"),
        labels=tuple(label.text("name") for label in entry.entries("labels")),
        head_repository=entry.text("head.repo.full_name", ""),
    )


def to_check_run(entry: Entry) -> CheckRun:
    """A check run. A status of Actions alone (waiting, pending, requested) is as good as queued."""
    return CheckRun(
        id=entry.number("id"),
        name=entry.text("name"),
        sha=entry.text("head_sha"),
        status=STATUSES.get(entry.text("status"), "queued"),
        conclusion=entry.text("conclusion", ""),
        external_id=entry.text("external_id", ""),
        app=entry.text("app.slug", ""),
        title=entry.text("output.title", ""),
        summary=entry.text("output.summary", ""),
        text=entry.text("output.text", ""),
        url=entry.text("html_url", ""),
    )


def to_workflow_run(entry: Entry) -> WorkflowRun:
    """A workflow run; what GitHub leaves out is empty, and so equal to nothing."""
    return WorkflowRun(
        id=entry.number("id"),
        status=entry.text("status"),
        conclusion=entry.text("conclusion", ""),
        head_sha=entry.text("head_sha", ""),
        path=entry.text("path", ""),
        event=entry.text("event", ""),
    )


def to_job(entry: Entry) -> Job:
    """A job of a workflow run; one that has not begun has no steps."""
    return Job(
        name=entry.text("name"),
        status=entry.text("status"),
        conclusion=entry.text("conclusion", ""),
        steps=tuple(step.text("name", "") for step in entry.entries("steps")),
    )


def from_output(output: CheckOutput) -> list[dict[str, Any]]:
    """An output for each request that it takes: GitHub takes fifty annotations in one.

    An empty text is sent as well, so that none of an earlier output is left.
    """
    shown = {"title": output.title, "summary": output.summary, "text": output.text}
    notes = [_from_annotation(note) for note in output.annotations]
    starts = range(0, max(len(notes), 1), ANNOTATIONS_A_REQUEST)
    return [{**shown, "annotations": notes[at : at + ANNOTATIONS_A_REQUEST]} for at in starts]


def _from_annotation(note: Annotation) -> dict[str, Any]:
    title = {"title": note.title[:TITLE_CHARACTERS]} if note.title else {}
    return {
        "path": note.path,
        "start_line": note.line,
        "end_line": note.line,
        "annotation_level": note.level,
        "message": note.message,
        **title,
    }
