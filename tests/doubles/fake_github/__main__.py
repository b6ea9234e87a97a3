"""`python -m fake_github`: serve until told to end; the first line on stdout is the address.

With `--state FILE` it starts from what the file holds and leaves there what it remembers in the end.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from pathlib import Path

from fake_github.server import FakeGitHub
from fake_github.state import Identity, State


def identity(text: str) -> tuple[str, Identity]:
    """`TOKEN=APP` for an App's installation token, `TOKEN=@LOGIN` for a person's own."""
    token, _, name = text.partition("=")
    return token, Identity(name[1:], "") if name.startswith("@") else Identity(f"{name}[bot]", name)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="fake_github", description="A small GitHub with a memory.")
    parser.add_argument("--repository", default="acme/tunes", metavar="OWNER/NAME")
    parser.add_argument("--state", type=Path, metavar="FILE")
    parser.add_argument(
        "--token", action="append", default=[], metavar="TOKEN=APP|TOKEN=@LOGIN", type=identity
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--prefix", default="", help="/api/v3, as GitHub Enterprise has it")
    options = parser.parse_args()
    state = State(options.repository)
    if options.state and options.state.exists():
        state.load(json.loads(options.state.read_bytes()))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with FakeGitHub(state, dict(options.token), prefix=options.prefix, port=options.port) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        print(server.url, flush=True)
        ended.wait()
        server.shutdown()
    if options.state:
        options.state.write_text(json.dumps(state.dump(), indent=1))


if __name__ == "__main__":
    main()
