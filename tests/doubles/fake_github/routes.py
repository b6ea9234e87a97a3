"""Which request asks for which operation, and its answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fake_github.render import Renderer
from fake_github.state import Identity, Refused, State

REPOSITORY = r"/repos/(?P<repository>[^/]+/[^/]+)"


@dataclass(frozen=True)
class Request:
    """One request as GitHub sees it; `path` without the API's own prefix."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True)
class Answer:
    """Status and JSON (None: no body). `pages` says that the body is one page of that many."""

    status: int
    body: Any = None
    pages: int = 1


Handler = Callable[[State, Renderer, Identity, Request, Mapping[str, str]], Answer]


def _user(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    state.user(who)
    return Answer(200, render.user(who))


def _pull(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    return Answer(200, render.pull(state.pull(who, int(at["number"]))))


def _pulls(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    query = request.query
    found = state.pulls_of_branch(who, query.get("head", ""), query.get("state", "open"))
    return _page(request, [render.listed_pull(pull) for pull in found])


def _of_commit(
    state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]
) -> Answer:
    return _page(request, [render.listed_pull(pull) for pull in state.pulls_of_commit(who, at["sha"])])


def _comments(
    state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]
) -> Answer:
    return _page(
        request, [render.comment(comment) for comment in state.list_comments(who, int(at["number"]))]
    )


def _comment(
    state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]
) -> Answer:
    return Answer(201, render.comment(state.create_comment(who, int(at["number"]), request.body["body"])))


def _edit(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    return Answer(200, render.comment(state.update_comment(who, int(at["id"]), request.body["body"])))


def _delete(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    state.delete_comment(who, int(at["id"]))
    return Answer(204)


def _checks(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    query = request.query
    latest = query.get("filter", "latest") == "latest"
    found = state.list_checks(who, at["sha"], query.get("check_name", ""), latest)
    page = _page(request, [render.check(check) for check in found])
    return Answer(200, {"total_count": len(found), "check_runs": page.body}, page.pages)


def _check(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    return Answer(201, render.check(state.create_check(who, request.body)))


def _edit_check(
    state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]
) -> Answer:
    return Answer(200, render.check(state.update_check(who, int(at["id"]), request.body)))


def _run(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    return Answer(200, render.run(int(at["id"]), state.run(who, int(at["id"]))))


def _jobs(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    run_id, attempt = int(at["id"]), int(at["attempt"])
    found = state.list_jobs(who, run_id, attempt)
    page = _page(request, [render.job(run_id, job) for job in found])
    return Answer(200, {"total_count": len(found), "jobs": page.body}, page.pages)


def _cancel(state: State, render: Renderer, who: Identity, request: Request, at: Mapping[str, str]) -> Answer:
    state.cancel_run(who, int(at["id"]))
    return Answer(202, {})


ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", r"/user", "login", _user),
    ("GET", REPOSITORY + r"/pulls", "pulls_of_branch", _pulls),
    ("GET", REPOSITORY + r"/pulls/(?P<number>\d+)", "pull", _pull),
    ("GET", REPOSITORY + r"/commits/(?P<sha>[^/]+)/pulls", "pulls_of_commit", _of_commit),
    ("GET", REPOSITORY + r"/issues/(?P<number>\d+)/comments", "comments", _comments),
    ("POST", REPOSITORY + r"/issues/(?P<number>\d+)/comments", "create_comment", _comment),
    ("PATCH", REPOSITORY + r"/issues/comments/(?P<id>\d+)", "update_comment", _edit),
    ("DELETE", REPOSITORY + r"/issues/comments/(?P<id>\d+)", "delete_comment", _delete),
    ("GET", REPOSITORY + r"/commits/(?P<sha>[^/]+)/check-runs", "check_runs", _checks),
    ("POST", REPOSITORY + r"/check-runs", "create_check_run", _check),
    ("PATCH", REPOSITORY + r"/check-runs/(?P<id>\d+)", "update_check_run", _edit_check),
    ("GET", REPOSITORY + r"/actions/runs/(?P<id>\d+)", "workflow_run", _run),
    ("GET", REPOSITORY + r"/actions/runs/(?P<id>\d+)/attempts/(?P<attempt>\d+)/jobs", "jobs", _jobs),
    ("POST", REPOSITORY + r"/actions/runs/(?P<id>\d+)/cancel", "cancel_run", _cancel),
)


def find(request: Request) -> tuple[str, Handler, Mapping[str, str]] | None:
    """The operation's name (as in ftgate's protocol), its handler, and the path's parts."""
    for method, pattern, operation, handler in ROUTES:
        match = re.fullmatch(pattern, request.path)
        if match and method == request.method:
            return operation, handler, match.groupdict()
    return None


def answer(state: State, url: str, who: Identity | None, request: Request) -> Answer:
    """GitHub's answer; `who` is None for a token that is unknown."""
    render = Renderer(state.repository, url)
    route = find(request)
    try:
        if who is None:
            raise Refused(401, "Bad credentials")
        if route is None or route[2].get("repository", state.repository) != state.repository:
            raise Refused(404, "Not Found")
        return route[1](state, render, who, request, route[2])
    except Refused as refused:
        return Answer(refused.status, render.refusal(refused))


def _page(request: Request, items: list[Any]) -> Answer:
    size = min(int(request.query.get("per_page", "30")), 100)
    at = (int(request.query.get("page", "1")) - 1) * size
    return Answer(200, items[at : at + size], max(-(-len(items) // size), 1))
