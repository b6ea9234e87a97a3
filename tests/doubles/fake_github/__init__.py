"""A small GitHub with a memory: `state` holds it, `memory` speaks ftgate's protocol, `server` speaks HTTP."""

from fake_github.memory import MemoryGitHub, MemorySession
from fake_github.server import FakeGitHub, serve
from fake_github.state import Identity, Refused, State

__all__ = ["FakeGitHub", "Identity", "MemoryGitHub", "MemorySession", "Refused", "State", "serve"]
