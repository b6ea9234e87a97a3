"""The token, in the one object that holds it: no repr, log, exception or traceback shows it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import NoReturn

TOKEN_VARIABLES = ("GITHUB_TOKEN", "GH_TOKEN")


class Token:
    """A token of GitHub. Falsy where it is empty."""

    __slots__ = ("_reveal",)

    def __init__(self, value: str) -> None:
        self._reveal: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """The token itself: for the header of a request, and nothing else."""
        return self._reveal()

    def __bool__(self) -> bool:
        return bool(self._reveal())

    def __repr__(self) -> str:
        return "Token(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not written anywhere")


def take_token(environ: MutableMapping[str, str]) -> Token:
    """The token of `environ`, taken out of it, so that no child that is given `environ` gets the token."""
    found = [environ.pop(name, "") for name in TOKEN_VARIABLES]
    return Token(next(filter(None, found), "").strip())
