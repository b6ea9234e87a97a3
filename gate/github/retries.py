"""What an answer of GitHub means: done, ask again and when, look again, or give up. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

from gate.errors import Forbidden, GitHubError, NotFound, TooLong

Step = Literal["done", "repeat", "uncertain", "refused"]

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds; the most that is waited doubles from the first to the longest
# GitHub's documentation: "wait for at least one minute" where a secondary limit says no time.
LIMIT_WAIT = 60.0
SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back of one request. Status 0: nothing did, and `message` says what happened instead.

    `sent` is False where the request cannot have reached GitHub, `whole` where a body was no whole JSON,
    `hopeless` where asking again would end the same.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    message: str = ""
    sent: bool = True
    whole: bool = True
    hopeless: bool = False

    @property
    def limited(self) -> bool:
        """Whether GitHub did nothing because of one of its limits: 429, or 403 in its several forms."""
        if self.status == 403:
            said = self.message.lower()
            used_up = self.headers.get("x-ratelimit-remaining") == "0"
            return (
                used_up or "retry-after" in self.headers or "rate limit" in said or "abuse detection" in said
            )
        return self.status == 429


def next_step(reply: Reply, repeatable: bool) -> Step:
    """What to do after `reply`. `repeatable`: the request does no harm when it takes effect twice."""
    done = 200 <= reply.status < 300
    if done and reply.whole:
        return "done"
    lost = done or reply.status == 0 or reply.status >= 500
    if lost and reply.sent and not repeatable:
        return "uncertain"
    if reply.hopeless or not (lost or reply.limited):
        return "refused"
    return "repeat"


def wait_before(reply: Reply, attempt: int, now: float, chance: float) -> float:
    """Seconds to wait before asking again; `attempt` from 0, `now` since 1970, `chance` in [0, 1).

    Full jitter, on top of the time that GitHub asks for where it asks for one.
    """
    asked = _asked(reply, now)
    jitter = chance * min(FIRST_WAIT * 2.0**attempt, LONGEST_WAIT)
    return jitter if asked is None else asked + jitter


def _asked(reply: Reply, now: float) -> float | None:
    if (after := _seconds(reply.headers.get("retry-after", ""), now)) is not None:
        return after
    if not reply.limited:
        return None
    if reply.headers.get("x-ratelimit-remaining") == "0":
        reset = _number(reply.headers.get("x-ratelimit-reset", ""))
        return LIMIT_WAIT if reset is None else max(reset - now, 0.0)
    return LIMIT_WAIT


def _seconds(text: str, now: float) -> float | None:
    """A Retry-After, which is seconds or a date; None where it is neither."""
    if (number := _number(text)) is not None:
        return max(number, 0.0)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now, 0.0)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def refusal(call: str, reply: Reply, hint: str = "") -> GitHubError:
    """The error of a request that GitHub will not grant, however often it is asked."""
    said = f"{call}: {what_came(reply)}"
    if reply.status == 401:
        return GitHubError(said, hint="the token is wrong or has expired")
    if reply.status == 403:
        return Forbidden(said, hint=hint)
    if reply.status in (404, 410):
        return NotFound(
            said, hint="where the token may not even read something, GitHub says that it is not there"
        )
    if reply.status == 413 or (reply.status == 422 and "too long" in reply.message.lower()):
        return TooLong(said)
    return GitHubError(said)


def what_came(reply: Reply) -> str:
    """A reply in words for a person."""
    if not reply.status:
        return plain(reply.message)
    whole = "" if reply.whole else " with an incomplete text"
    return f"GitHub answered {reply.status}{whole}: {plain(reply.message)}"


def plain(text: str) -> str:
    """A foreign text in one line, printable and not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"
