"""GitHub over HTTP: ftgate's protocol, spoken with github3.py's session. The only user of github3.

github3 makes addresses, authenticates and follows pages; `transport` below it tries again, and `fields`
reads the answers, so that one that lacks something is an error with a name. Importing this module costs
a third of a second: import it where something is published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from github3 import GitHub as Library
from github3.exceptions import GitHubException
from github3.session import AppInstallationTokenAuth, GitHubSession

from gate.errors import Forbidden, GitHubError, NotFound, Uncertain
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
from gate.github.fields import (
    Entry,
    Unusable,
    from_output,
    to_check_run,
    to_comment,
    to_job,
    to_login,
    to_pull_request,
    to_workflow_run,
)
from gate.github.token import Token
from gate.github.transport import Pace, PatientAdapter

API_VERSION = "2022-11-28"
ACTIONS_LOGIN = "github-actions[bot]"
GITHUB = "https://api.github.com"
EVERY_PAGE = -1
CONFLICT = 409

FORK = "a fork's pull request gets a token that only reads"
COMMENTING = f"the job needs `permissions: {{pull-requests: write}}`; {FORK}"
CHECKING = f"the job needs `permissions: {{checks: write}}`; {FORK}"
CANCELLING = "the job needs `permissions: {actions: write}`"
FOLLOWING = "the job needs `permissions: {actions: read}`"
READING = "the job needs `permissions: {contents: read, pull-requests: read, checks: read}`"


class _HiddenAuth(AppInstallationTokenAuth):  # type: ignore[misc]
    """github3's authentication with an installation's token, with a repr that shows nothing of it."""

    def __init__(self, token: Token) -> None:
        super().__init__(token.reveal(), "9999-12-31T23:59:59Z")  # GitHub itself says when it has expired

    def __repr__(self) -> str:
        return "installation token (hidden)"


class Client:
    """One repository of GitHub, as `gate.github.api.GitHub` describes it.

    `api_url` is `GITHUB_API_URL` (an Enterprise server's ends in /api/v3). Every call is tried for
    `pace.seconds`. `app_login` is who writes with an App's token, which GitHub does not tell the App.
    """

    def __init__(
        self,
        repository: str,
        token: Token,
        *,
        api_url: str = GITHUB,
        app_login: str = ACTIONS_LOGIN,
        pace: Pace | None = None,
    ) -> None:
        """Raises `GitHubError` for an unusable repository or address."""
        self._repository, self._app_login, self._login = repository, app_login, ""
        self._api_url = api_url.rstrip("/")
        _check(repository, self._api_url)
        self._adapter = PatientAdapter(self._api_url, pace or Pace())
        self._library = Library(session=_session(self._api_url, token, self._adapter))

    def __repr__(self) -> str:
        return f"Client({self._repository!r}, api_url={self._api_url!r})"

    # ── Who, and which pull requests ─────────────────────────────────────────────────────────────

    def login(self) -> str:
        """The login that this token writes under; GitHub is asked once."""
        if not self._login:
            try:
                with self._call("asking who the token belongs to"):
                    self._login = to_login(self._read(f"{self._api_url}/user"))
            except (Forbidden, NotFound):  # an App's token belongs to nobody
                self._login = self._app_login
        return self._login

    def pull(self, number: int) -> PullRequest:
        """A pull request. Raises `NotFound`."""
        with self._call(f"reading pull request #{number}"):
            return to_pull_request(self._read(self._at("pulls", number)))

    def pulls_of_commit(self, sha: str) -> Sequence[PullRequest]:
        """The pull requests, open or not, that a commit belongs to."""
        with self._call(f"looking for the pull requests of {sha[:12]}"):
            return [to_pull_request(entry) for entry in self._list(self._at("commits", sha, "pulls"))]

    def pulls_of_branch(self, owner: str, branch: str) -> Sequence[PullRequest]:
        """Open pull requests whose head is `owner:branch`."""
        with self._call(f"looking for the pull requests of {owner}:{branch}"):
            asked = {"state": "open", "head": f"{owner}:{branch}"}
            return [to_pull_request(entry) for entry in self._list(self._at("pulls"), asked)]

    # ── Comments ─────────────────────────────────────────────────────────────────────────────────

    def comments(self, pull: int) -> Sequence[Comment]:
        """All comments of a pull request, oldest first."""
        with self._call(f"reading the comments of #{pull}"):
            found = map(to_comment, self._list(self._at("issues", pull, "comments")))
            return [comment for _, comment in sorted({comment.id: comment for comment in found}.items())]

    def create_comment(self, pull: int, body: str) -> Comment:
        """Raises `Uncertain` where it may have been created, `TooLong`, `Forbidden`."""
        with self._call(f"commenting on #{pull}", repeatable=False, hint=COMMENTING):
            return to_comment(self._write("post", self._at("issues", pull, "comments"), {"body": body}))

    def update_comment(self, comment: int, body: str) -> Comment:
        """Raises `NotFound` where it was deleted, `TooLong`, `Forbidden`."""
        with self._call(f"updating comment {comment}", hint=COMMENTING):
            return to_comment(self._write("patch", self._at("issues", "comments", comment), {"body": body}))

    def delete_comment(self, comment: int) -> None:
        """Delete a comment; one that is gone already is no error."""
        try:
            with self._call(f"deleting comment {comment}", hint=COMMENTING):
                self._library._delete(self._at("issues", "comments", comment))
        except NotFound:
            return

    # ── Check runs and workflow runs ─────────────────────────────────────────────────────────────

    def check_runs(self, sha: str, name: str = "") -> Sequence[CheckRun]:
        """The check runs of a commit, all attempts, oldest first."""
        with self._call(f"reading the check runs of {sha[:12]}"):
            asked = {"filter": "all"} | ({"check_name": name} if name else {})
            entries = self._list(self._at("commits", sha, "check-runs"), asked, "check_runs")
            found = map(to_check_run, entries)
            return [run for _, run in sorted({run.id: run for run in found}.items())]

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
        """A new check run, with all its annotations. Raises `Uncertain` where it may have been created."""
        first, *rest = from_output(output)
        named = {"name": name, "head_sha": sha, "external_id": external_id, "details_url": details_url}
        state = {"status": status, "conclusion": conclusion}
        with self._call(f"creating the check run {name!r}", repeatable=False, hint=CHECKING):
            fields = {**_given(named), **_given(state), "output": first}
            made = to_check_run(self._write("post", self._at("check-runs"), fields))
        for part in rest:
            made = self._update_check_run(made.id, {**_given(state), "output": part})
        return made

    def update_check_run(
        self,
        check_run: int,
        output: CheckOutput,
        *,
        status: CheckStatus,
        conclusion: Conclusion | None = None,
    ) -> CheckRun:
        """Update a check run; annotations are added to those that are there, 50 a request.

        A request whose answer was lost is repeated: its annotations may then stand there twice.
        """
        state = _given({"status": status, "conclusion": conclusion})
        return [self._update_check_run(check_run, {**state, "output": part}) for part in from_output(output)][
            -1
        ]

    def _update_check_run(self, check_run: int, fields: Mapping[str, Any]) -> CheckRun:
        with self._call(f"updating check run {check_run}", hint=CHECKING):
            return to_check_run(self._write("patch", self._at("check-runs", check_run), fields))

    def workflow_run(self, run_id: int) -> WorkflowRun:
        """A workflow run, its latest attempt. Raises `NotFound` for one that was deleted."""
        with self._call(f"reading run {run_id}", hint=FOLLOWING):
            return to_workflow_run(self._read(self._at("actions", "runs", run_id)))

    def jobs(self, run_id: int, attempt: int) -> Sequence[Job]:
        """The jobs of one attempt of a workflow run. Raises `NotFound` where it was deleted."""
        with self._call(f"reading the jobs of run {run_id}", hint=FOLLOWING):
            place = self._at("actions", "runs", run_id, "attempts", attempt, "jobs")
            return [to_job(entry) for entry in self._list(place, key="jobs")]

    def cancel_run(self, run_id: int) -> None:
        """Cancel a workflow run; one that has ended is no error."""
        with self._call(f"cancelling run {run_id}", hint=CANCELLING, accepted=(CONFLICT,)):
            self._library._post(self._at("actions", "runs", run_id, "cancel"))

    # ── Requests ─────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _call(
        self, doing: str, *, repeatable: bool = True, hint: str = READING, accepted: Sequence[int] = ()
    ) -> Iterator[None]:
        """One call. What github3 or `fields` cannot use of an answer becomes an error that names the call."""
        name = f"{doing} ({self._repository})"
        with self._adapter.call(name, repeatable=repeatable, hint=hint, accepted=accepted):
            try:
                yield
                return
            except Unusable as missing:
                said = f"{name}: GitHub's answer has no usable `{missing}`"
            except GitHubException as error:
                said = f"{name}: GitHub's answer cannot be used ({type(error).__name__})"
        raise (GitHubError if repeatable else Uncertain)(said)

    def _at(self, *parts: str | int) -> str:
        """The address of something in the repository."""
        return "/".join(
            [self._api_url, "repos", self._repository, *(quote(str(part), safe="") for part in parts)]
        )

    def _read(self, url: str) -> Entry:
        return Entry(self._library._json(self._library._get(url), 200))

    def _list(self, url: str, params: Mapping[str, str] | None = None, key: str | None = None) -> list[Entry]:
        """All pages of a list, which lies under `key` where one is given."""
        asked = {"per_page": "100", **(params or {})}
        return list(self._library._iter(EVERY_PAGE, url, Entry, params=asked, list_key=key))

    def _write(self, method: str, url: str, fields: Mapping[str, Any]) -> Entry:
        response = self._library._request(method, url, data=json.dumps(fields))
        return Entry(self._library._json(response, response.status_code))


def _session(api_url: str, token: Token, adapter: PatientAdapter) -> GitHubSession:
    """github3's session, for one address and one token, over our transport."""
    session = GitHubSession()
    session.base_url = api_url
    session.auth = _HiddenAuth(token)
    session.headers.update({"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION})
    session.headers["User-Agent"] = f"ftgate {session.headers['User-Agent']}"
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _check(repository: str, api_url: str) -> None:
    if not re.fullmatch(r"[\w-]+/(?!\.{1,2}$)[\w.-]+", repository, re.ASCII):
        raise GitHubError(f"{repository!r} is no repository", hint="OWNER/NAME, as in GITHUB_REPOSITORY")
    parts = urlsplit(api_url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise GitHubError(
            f"{api_url!r} is not https: the token would travel in the open", hint="see GITHUB_API_URL"
        )


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value}
