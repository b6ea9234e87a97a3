"""Which of several texts should stand on a pull request, and what is left to do until it does; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gate.github.api import Comment
from gate.github.marker import Marked, Marker, read


@dataclass(frozen=True, slots=True)
class Shown:
    """A comment of ours."""

    comment: Comment
    marked: Marked


@dataclass(frozen=True, slots=True)
class Text:
    """A body that may be the newest. `trust` decides between two of one attempt: our own, a check run's,
    a comment's, a comment's that somebody changed. `creates`: worth a comment where there is none."""

    marker: Marker
    body: str
    trust: int
    creates: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """One request: create (`comment` 0), update, or delete (`body` empty)."""

    comment: int
    body: str


def newest(texts: Iterable[Text], head: str) -> Text:
    """The text that should stand, given the pull request's current head."""
    return max(texts, key=lambda text: (text.marker.head == head, *text.marker.order, text.trust))


def plan(wanted: Text, ours: Sequence[Shown], echoes: frozenset[str] = frozenset()) -> tuple[Write, ...]:
    """What is left to do until `wanted` is our one comment; nothing when it is.

    The update goes first, so that what dies halfway leaves the newest text. `echoes` are bodies as GitHub
    gave them back: it may change a text, which must not look like somebody's edit.
    """
    if not ours:
        return (Write(0, wanted.body),) if wanted.creates else ()
    keep, *spares = sorted(ours, key=lambda shown: shown.comment.id)
    untouched = keep.marked.intact or keep.comment.body in echoes
    stands = keep.comment.body == wanted.body or (untouched and keep.marked.marker == wanted.marker)
    update = () if stands else (Write(keep.comment.id, wanted.body),)
    return (*update, *(Write(spare.comment.id, "") for spare in spares))


def ours_of(comments: Iterable[Comment], login: str, pull: int) -> list[Shown]:
    """The comments with our marker for this pull request, by our login: anybody can paste a marker."""
    found = ((comment, read(comment.body, pull)) for comment in comments if comment.author == login)
    return [Shown(comment, marked) for comment, marked in found if marked]


def as_text(shown: Shown) -> Text:
    """What a comment of ours says, as one that may be the newest."""
    return Text(shown.marked.marker, shown.comment.body, 1 if shown.marked.intact else 0)
