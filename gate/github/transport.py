"""How requests reach GitHub: a transport adapter for requests that is patient, and careful with writes.

All that goes wrong below (urllib3, sockets, TLS) comes back as a value and is raised from here as an
error of ftgate's own: a traceback of theirs would show the request's headers, and so the token.
"""

from __future__ import annotations

import json
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from gate.errors import GateError, GitHubError, Uncertain
from gate.github.retries import Reply, next_step, plain, refusal, wait_before, what_came

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0  # without a byte
ANSWER_SECONDS = 60.0  # for one whole answer
LARGEST_ANSWER = 64 * 2**20  # bytes: a page of a hundred comments, each as long as GitHub lets it be
CHUNK = 2**16
REDIRECTS = 5
READS = ("GET", "HEAD")
WITHOUT_BODY = (202, 204)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to try, and with whose clock. `seconds` is for one call with all its pages and retries."""

    seconds: float = 180.0
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    answer_seconds: float = ANSWER_SECONDS
    read_seconds: float = READ_SECONDS
    largest_answer: int = LARGEST_ANSWER


@dataclass(frozen=True, slots=True)
class _Call:
    """What is being done: for a person, whether it may take effect twice, and until when it is tried."""

    name: str
    repeatable: bool
    hint: str
    accepted: Sequence[int]  # statuses of 4xx that are as good as done
    deadline: float


class PatientAdapter(HTTPAdapter):
    """Sends requests to the one origin of `api_url` within `call`, one call at a time."""

    def __init__(self, api_url: str, pace: Pace) -> None:
        super().__init__()
        self._origin = _origin(api_url)
        self._pace = pace
        self._lock = threading.RLock()
        self._call = _Call("asking GitHub", False, "", (), 0.0)

    @contextmanager
    def call(
        self, name: str, *, repeatable: bool = True, hint: str = "", accepted: Sequence[int] = ()
    ) -> Iterator[None]:
        """All requests of one call, under one deadline. `hint` is for one that GitHub forbids; the
        statuses `accepted` are as good as done."""
        with self._lock:
            outer = self._call
            self._call = _Call(name, repeatable, hint, accepted, self._pace.clock() + self._pace.seconds)
            try:
                yield
            finally:
                self._call = outer

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """The answer to a request, if need be after several tries.

        Raises `GitHubError` and its kin; `Uncertain` where a request that must not take effect twice
        may have done so, after the wait that another try would have had.
        """
        call, pace, attempt = self._call, self._pace, 0
        while True:
            reply, response = self._ask(request, options)
            step = next_step(reply, call.repeatable)
            if response is not None and (step == "done" or reply.status in call.accepted):
                return response
            if step == "refused":
                raise refusal(call.name, reply, call.hint)
            wait = wait_before(reply, attempt, pace.clock(), pace.chance())
            left = call.deadline - pace.clock()
            if step == "uncertain":
                pace.sleep(max(min(wait, left), 0.0))
                raise Uncertain(f"{call.name}: it may have been done, but {what_came(reply)}")
            if wait >= left:
                raise _given_up(call, reply, wait, pace)
            pace.sleep(wait)
            attempt += 1

    # ── One try ──────────────────────────────────────────────────────────────────────────────────

    def _ask(
        self, request: requests.PreparedRequest, options: dict[str, Any]
    ) -> tuple[Reply, requests.Response | None]:
        """One try, redirects followed as far as they keep the method and the origin."""
        for _ in range(REDIRECTS):
            if _origin(request.url or "") != self._origin:
                raise GitHubError(f"{self._call.name}: refused to follow GitHub to another host")
            reply, response = self._exchange(request, options)
            if not 300 <= reply.status < 400 or "location" not in reply.headers:
                return reply, response
            if request.method not in READS and reply.status not in (307, 308):
                raise GitHubError(
                    f"{self._call.name}: GitHub's redirect ({reply.status}) would make a write a read",
                    hint="was the repository renamed?",
                )
            request = request.copy()
            request.url = urljoin(request.url or "", reply.headers["location"])
        raise GitHubError(f"{self._call.name}: more than {REDIRECTS} redirects")

    def _exchange(
        self, request: requests.PreparedRequest, options: dict[str, Any]
    ) -> tuple[Reply, requests.Response | None]:
        """One request and its whole answer. Raises nothing but an interrupt, and that without its past:
        the frames below hold the header with the token."""
        try:
            return self._exchanged(request, options)
        except (KeyboardInterrupt, SystemExit, GateError) as error:  # a signal's handler may raise any
            interrupt = error.with_traceback(None)
        except Exception as error:
            return _failed(error), None
        interrupt.__cause__ = interrupt.__context__ = None
        raise interrupt

    def _exchanged(
        self, request: requests.PreparedRequest, options: dict[str, Any]
    ) -> tuple[Reply, requests.Response]:
        pace = self._pace
        left = max(self._call.deadline - pace.clock(), 1.0)
        timeout = (min(CONNECT_SECONDS, left), min(pace.read_seconds, left))
        response = super().send(request, **{**options, "stream": True, "timeout": timeout})
        headers = {name.lower(): value for name, value in response.headers.items()}
        try:
            body = _read(response.raw, pace, min(pace.answer_seconds, left))
        except BaseException:
            response.raw.close()
            raise
        response._content, response._content_consumed = body, True
        response.close()
        content = _parsed(body)
        whole = content is not None or response.status_code in WITHOUT_BODY
        return Reply(response.status_code, headers, _message(content, response.reason), whole=whole), response


class _TooLarge(Exception):
    """An answer beyond all reason."""


def _read(raw: urllib3.BaseHTTPResponse, pace: Pace, seconds: float) -> bytes:
    """The whole body, however slowly it comes, as long as it comes within `seconds`."""
    end, body = pace.clock() + seconds, bytearray()
    while chunk := raw.read1(CHUNK, decode_content=True):
        body += chunk
        if len(body) > pace.largest_answer:
            raise _TooLarge(f"GitHub's answer has more than {pace.largest_answer:,} bytes")
        if pace.clock() > end:
            raise TimeoutError(f"GitHub's answer took more than {seconds:.0f} s")
    return bytes(body)


def _parsed(body: bytes) -> Any:
    """A body's JSON, None where it is none: GitHub never answers `null`."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _message(content: Any, reason: str) -> str:
    """What GitHub says, with the errors of a 422; else HTTP's own phrase."""
    if not isinstance(content, dict) or not isinstance(content.get("message"), str):
        return reason
    errors = content.get("errors")
    details = [error.get("message") or error.get("code") for error in _dicts(errors)]
    return "; ".join([content["message"], *(str(detail) for detail in details if detail)])


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _failed(error: Exception) -> Reply:
    """What went wrong below, as a value: no exception of theirs, and none of its frames, is kept."""
    chain = list(_chain(error))
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in chain):
        said = f"no trusted connection to GitHub: {plain(str(chain[-1]))}"
        return Reply(0, message=said, sent=False, hopeless=True)
    if isinstance(error, _TooLarge):
        return Reply(0, message=str(error), hopeless=True)
    unsent = (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError)
    sent = not any(isinstance(link, unsent) for link in chain)
    said = f"the connection failed: {type(chain[-1]).__name__}: {plain(str(chain[-1]))}"
    expected = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
    return Reply(0, message=said, sent=sent, hopeless=not isinstance(error, expected))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made of, the innermost last."""
    seen: set[int] = set()
    link: Any = error
    while isinstance(link, BaseException) and id(link) not in seen:
        seen.add(id(link))
        yield link
        inner = [getattr(link, "reason", None), *link.args, link.__cause__, link.__context__]
        link = next((one for one in inner if isinstance(one, BaseException)), None)


def _given_up(call: _Call, reply: Reply, wait: float, pace: Pace) -> GitHubError:
    said = f"{call.name}: gave up: {what_came(reply)}"
    if reply.limited:
        asked = f"GitHub asks to wait {wait:,.0f} s"
        return GitHubError(
            said, hint=f"{asked}, more than is left of the {pace.seconds:,.0f} s that ftgate tries"
        )
    return GitHubError(said, hint=f"tried for {pace.seconds:,.0f} s; is GitHub having an incident?")


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)
