"""A small hub on loopback: models and datasets at one commit, or one HTTP status for everything."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """`repositories` maps "models/OWNER/NAME" or "datasets/OWNER/NAME" to files; `asked` keeps what came."""

    status = 200

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = repositories
        self.asked: list[tuple[str, str | None]] = []

    def environ(self, home: Path, **more: str) -> dict[str, str]:
        """The variables with which the hub's client finds this hub, and nothing of the user's."""
        return environ(self.server_port, home, **more)


def environ(port: int, home: Path, **more: str) -> dict[str, str]:
    """Variables for a hub at a port of this machine."""
    return {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(home), "HF_TOKEN": "hf_x", **more}


@contextmanager
def serving(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """A hub that answers meanwhile."""
    server = Hub(repositories)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """What `snapshot_download` asks: a revision's commit, its tree, its files."""

    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.server.status != 200:
            return self.answer(self.server.status, b"{}")
        words = self.path.partition("?")[0].removeprefix("/api").strip("/").split("/")
        if words[0] not in ("models", "datasets"):
            words.insert(0, "models")  # files of models stand at the root
        files = self.server.repositories.get("/".join(words[:3]))
        if files is None:
            return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        kind, revision = words[3], words[4]
        if revision not in ("main", COMMIT):
            return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if kind == "revision":
            return self.answer(200, json.dumps({"id": "/".join(words[1:3]), "sha": COMMIT}).encode())
        if kind == "tree":
            tree = [{"type": "file", "path": n, "size": len(b), "oid": n} for n, b in files.items()]
            return self.answer(200, json.dumps(tree).encode())
        name = "/".join(words[5:])
        return self.answer(200, files[name], {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """One response; HEAD gets its headers alone."""
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""
