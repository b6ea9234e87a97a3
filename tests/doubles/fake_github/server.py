"""The same GitHub over real HTTP on the loopback, with faults by a plan.

    with serve(State(), {"secret": Identity()}) as server:
        ... server.url ...

or, for another process, `python -m fake_github --state STATE.json --token secret=github-actions`. Outside
of GitHub's own paths it answers, without a token:

    GET  /_state     all that it remembers, as JSON      PUT  /_state    remember this instead
    GET  /_requests  the requests so far                 POST /_faults   a list of faults to come
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from fake_github.faults import MOVED, Fault, Plan
from fake_github.routes import Answer, Request, answer, find
from fake_github.state import Identity, State


@dataclass(frozen=True)
class Exchange:
    """One request and GitHub's answer to it, as sent. `url` is whole; no header holds the token.

    `fault` is the kind of the fault that struck it.
    """

    operation: str
    method: str
    url: str
    request_headers: Mapping[str, str]
    request_body: bytes
    status: int  # 0: none was sent
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    fault: str = ""


Observer = Callable[[Exchange], None]


class FakeGitHub(ThreadingHTTPServer):
    """The server. `exchanges` are all so far; `observe` is called with each before it is answered."""

    daemon_threads = True

    def __init__(
        self,
        state: State,
        tokens: Mapping[str, Identity],
        observe: Observer | None = None,
        prefix: str = "",
        port: int = 0,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.state, self.tokens, self.prefix = state, dict(tokens), prefix
        self.plan = Plan()
        self.exchanges: list[Exchange] = []
        self.observe = observe
        self.url = f"http://127.0.0.1:{self.server_address[1]}{prefix}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle of an answer is no news; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve(
    state: State, tokens: Mapping[str, Identity], observe: Observer | None = None, prefix: str = ""
) -> Iterator[FakeGitHub]:
    """A server in a thread of this process."""
    with FakeGitHub(state, tokens, observe, prefix) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are written apart
    server: FakeGitHub

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_DELETE = do_PUT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the server keeps its own record."""

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        if parts.path.startswith("/_"):
            self._administer(parts.path, raw)
            return
        path = parts.path.removeprefix(self.server.prefix).removeprefix(MOVED)
        request = Request(self.command, path, dict(parse_qsl(parts.query)), json.loads(raw) if raw else None)
        route = find(request)
        operation = route[0] if route else ""
        fault = self.server.plan.take(operation)
        if fault and not fault.applied and fault.kind in ("answer", "reset", "redirect"):
            self._send_fault(fault, operation, raw)
            return
        found = answer(self.server.state, self.server.url, self._who(), request)
        if fault and fault.kind in ("answer", "reset", "redirect"):
            self._send_fault(fault, operation, raw)
        else:
            self._send(operation, raw, found, request, fault)

    def _who(self) -> Identity | None:
        return self.server.tokens.get(self.headers.get("Authorization", "").partition(" ")[2])

    # ── Answers ──────────────────────────────────────────────────────────────────────────────────

    def _send(self, operation: str, raw: bytes, found: Answer, request: Request, fault: Fault | None) -> None:
        content = found.body
        if fault and fault.kind == "without":
            content = _without(content, fault.missing)
        body = b"" if content is None else json.dumps(content).encode()
        if fault and fault.kind == "garbled":
            body = body[: len(body) // 2]
        headers = {"x-ratelimit-limit": "1000", "x-ratelimit-remaining": "999"}
        if content is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
        if found.pages > 1:
            headers["Link"] = self._links(request, found.pages)
        self._record(operation, raw, found.status, headers, body, fault)
        self._begin(found.status, headers, len(body))
        if fault and fault.kind == "slow":
            self._drip(body, fault.seconds)
        elif fault and fault.kind == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _send_fault(self, fault: Fault, operation: str, raw: bytes) -> None:
        if fault.kind == "reset":
            self._record(operation, raw, 0, {}, b"", fault)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
            self.connection.close()
            self.close_connection = True
            return
        headers = dict(fault.headers)
        if fault.kind == "redirect":
            here = urlsplit(self.server.url)
            headers["Location"] = fault.location or f"{here.scheme}://{here.netloc}{MOVED}{self.path}"
        body = json.dumps({"message": fault.message, "documentation_url": "https://docs.github.com"}).encode()
        headers["Content-Type"] = "application/json; charset=utf-8"
        self._record(operation, raw, fault.status, headers, body, fault)
        self._begin(fault.status, headers, len(body))
        self.wfile.write(body)

    def _drip(self, body: bytes, seconds: float) -> None:
        for position in range(len(body)):
            self.wfile.write(body[position : position + 1])
            self.wfile.flush()
            time.sleep(seconds)

    def _begin(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _links(self, request: Request, pages: int) -> str:
        page = int(request.query.get("page", "1"))
        named = {"prev": page - 1, "next": page + 1, "last": pages, "first": 1}
        url = f"{self.server.url}{request.path}"
        return ", ".join(
            f'<{url}?{urlencode({**request.query, "page": number})}>; rel="{name}"'
            for name, number in named.items()
            if 1 <= number <= pages and not (name == "last" and page == pages)
        )

    def _record(
        self,
        operation: str,
        raw: bytes,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        fault: Fault | None,
    ) -> None:
        sent = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
        url = f"http://{self.headers['Host']}{self.path}"
        struck = fault.kind if fault else ""
        exchange = Exchange(operation, self.command, url, sent, raw, status, dict(headers), body, struck)
        self.server.exchanges.append(exchange)
        if self.server.observe:
            self.server.observe(exchange)

    # ── Beside GitHub's own paths ────────────────────────────────────────────────────────────────

    def _administer(self, path: str, raw: bytes) -> None:
        server, asked = self.server, (self.command, path)
        content: Any = {}
        if asked == ("GET", "/_state"):
            content = server.state.dump()
        elif asked == ("PUT", "/_state"):
            server.state.load(json.loads(raw))
        elif asked == ("GET", "/_requests"):
            content = [_shown(exchange) for exchange in list(server.exchanges)]
        elif asked == ("POST", "/_faults"):
            server.plan.add(*(Fault(**fault) for fault in json.loads(raw)))
        else:
            content = None
        body = json.dumps(content).encode()
        self._begin(200 if content is not None else 404, {"Content-Type": "application/json"}, len(body))
        self.wfile.write(body)


def _shown(exchange: Exchange) -> dict[str, Any]:
    return asdict(exchange) | {
        "request_body": exchange.request_body.decode(errors="replace"),
        "body": exchange.body.decode(errors="replace"),
    }


def _without(content: Any, name: str) -> Any:
    """The content without the field `name`, of every item where it is a list; "a.b" goes one deeper."""
    if isinstance(content, list):
        return [_without(item, name) for item in content]
    if not isinstance(content, dict):
        return content
    outer, _, inner = name.partition(".")
    if inner:
        return {**content, outer: _without(content[outer], inner)}
    return {key: value for key, value in content.items() if key != outer}
