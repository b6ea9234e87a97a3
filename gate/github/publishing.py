"""Publishing: the check runs first, then the one comment of a pull request.

At rest there is one comment of ours, and it is the newest text: the current head's before any other's,
then the larger (run, attempt). Each publisher first puts its whole text into its head's aggregate check
run, and only then reads: the head, our comments, and the texts in the head's check runs. It writes the
newest of what it knows, its own or another's, into our oldest comment, deletes our others, and reads
again until nothing is left to do. So whoever writes last has read after everybody's text was there, and
a stale publisher that was faster with its read than with its write restores what it wrote over.

What no algorithm closes, as GitHub's comments have no compare-and-swap:

- A publisher that decided on what it read before a newer text came, writes after that one's last check,
  and then dies (a cancelled job, a lost machine) or is refused by GitHub before it reads again: the
  older text stands, or a second comment, until anybody publishes again.
- One that decided to delete a spare comment when the other was still there, and dies after it: if a
  person deleted the other in between there is no comment until anybody publishes again.
- A push after the last check: the comment is about the older commit until that head's run publishes.
- A list that GitHub answers from a replica which lags longer than the wait after each write.
- No check run (no `checks: write`, or a person's token): a newer text that was written over is known to
  nobody but its own publisher, so a stale one cannot restore it.

The job that comments is alone in the `concurrency` group of its pull request, which leaves these to
publishers outside of Actions and to killed jobs.

Whoever writes under our login (with Actions' own token: any job of the repository that may write) can
forge both comment and check run; only an App of one's own closes that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gate.errors import Forbidden, GitHubError, NotFound, TooLong, Uncertain
from gate.github.api import GitHub
from gate.github.checkruns import Check, app_of, cut, put_check, read_external_id
from gate.github.marker import Marked, Numbers, compose, read
from gate.github.order import Shown, Text, Write, as_text, newest, ours_of, plan

ROUNDS = 8
"""Reads, each with its writes, before a publisher gives up: each other publisher can undo it once or so."""
SETTLE = 1.0
"""Seconds between a write and the look at what became of it: GitHub's lists lag a little."""
COMMENT_LIMIT = 65_536
SHORTER = (60_000, 30_000, 15_000)
"""Characters of a text, each tried when GitHub refuses the longer one."""

CommentMode = Literal["always", "on-failure", "never"]
CommentEnd = Literal["posted", "unchanged", "superseded", "none", "failed"]
Shorten = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Publication:
    """What one attempt of one run has to say about one commit.

    `text` is the comment without its hidden lines; the `aggregate` check run's text becomes the whole
    comment. `pull` 0 is a commit without a pull request: check runs only. `on-failure` creates a comment
    for a failure alone, and keeps one that stands up to date: a red one never outlives its reason.
    """

    pull: int
    head_sha: str
    run_id: int
    attempt: int
    text: str
    aggregate: Check
    checks: tuple[Check, ...] = ()
    numbers: Numbers | None = None
    comment: CommentMode = "always"


@dataclass(frozen=True, slots=True)
class Unposted:
    """Something that GitHub did not take: what, why, and what helps."""

    what: str
    why: str
    hint: str = ""
    forbidden: bool = False  # to this token, however often it tries

    def __str__(self) -> str:
        return f"{self.what} could not be posted: {self.why}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a publication. Nothing in it changes a verdict.

    `comment`: our text was posted; stood there already; a newer one stands (left or restored); none is
    wanted; or failed. `text` is the text as it was published, for the job summary. `checks` are the names
    of the check runs that stand as asked.
    """

    comment: CommentEnd
    text: str
    url: str = ""
    checks: tuple[str, ...] = ()
    failures: tuple[Unposted, ...] = ()
    note: str = ""  # in words: shortened, or superseded by what

    @property
    def complete(self) -> bool:
        """Whether GitHub took everything."""
        return not self.failures


def publish(
    github: GitHub,
    publication: Publication,
    *,
    shorten: Shorten | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Receipt:
    """Post the check runs and the comment; safe to repeat from any machine, at any time.

    `shorten(limit)` gives the text in at most `limit` characters by leaving out sections; without it the
    text is cut. GitHub's failures are in the receipt. Raises `UsageError` for a `head_sha` that is none.
    """
    publisher = _Publisher(github, publication, shorten, wait)
    try:
        publisher.login = github.login()
    except GitHubError as error:
        publisher.failed("the result", error, "look at the token")
        return publisher.receipt("failed")
    publisher.put_checks((*publication.checks, publication.aggregate))
    if not publication.pull or publication.comment == "never":
        return publisher.receipt("none")
    try:
        return publisher.put_comment()
    except GitHubError as error:
        publisher.failed("the comment", error, "give the job `permissions: pull-requests: write`")
        return publisher.receipt("failed")


def standing(github: GitHub, pull: int) -> Marked | None:
    """Our comment as it stands, for what changed since the previous push; None if there is none that is
    as we wrote it. Raises `GitHubError`."""
    login = github.login()
    ours = [shown.marked for shown in ours_of(github.comments(pull), login, pull) if shown.marked.intact]
    return max(ours, key=lambda marked: marked.marker.order, default=None)


# ── Doing ────────────────────────────────────────────────────────────────────────────────────────


class _Publisher:
    """One call of `publish`: what it has to say, and what became of it so far."""

    def __init__(
        self,
        github: GitHub,
        publication: Publication,
        shorten: Shorten | None,
        wait: Callable[[float], None],
    ) -> None:
        self._github, self._publication, self._wait = github, publication, wait
        self._shorten: Shorten = shorten or (lambda limit: cut(publication.text, limit))
        self._limits = list(SHORTER)
        self._echoes: frozenset[str] = frozenset()
        self._wrote = False
        self._note = ""
        self._checks: list[str] = []
        self._failures: list[Unposted] = []
        self.login = ""
        self._text, self._own = publication.text, self._compose(publication.text)
        while len(self._own.body) > COMMENT_LIMIT and self._limits:
            self._take_shorter()

    def receipt(self, comment: CommentEnd, url: str = "") -> Receipt:
        return Receipt(comment, self._text, url, tuple(self._checks), tuple(self._failures), self._note)

    def failed(self, what: str, error: GitHubError, hint: str) -> None:
        forbidden = isinstance(error, Forbidden)
        self._failures.append(Unposted(what, error.message, error.hint or hint, forbidden))

    def put_checks(self, checks: Sequence[Check]) -> None:
        """All check runs, the aggregate last; those after a refusal for lack of permission are not tried."""
        for at, check in enumerate(checks):
            try:
                self._put_check(check)
            except Forbidden as error:
                names = ", ".join(other.name for other in checks[at:])
                self.failed(f"the check runs {names}", error, "give the job `permissions: checks: write`")
                return
            except GitHubError as error:
                self.failed(f"the check run {check.name}", error, "publish again")

    def put_comment(self) -> Receipt:
        """Write and look until our one comment is the newest text. Raises `GitHubError`."""
        for _ in range(ROUNDS):
            pull = self._publication.pull
            head = self._github.pull(pull).head_sha
            ours = ours_of(self._github.comments(pull), self.login, pull)
            wanted = newest([self._own, *self._known(head), *map(as_text, ours)], head)
            writes = plan(wanted, ours, self._echoes)
            if not writes:
                return self._ended(wanted, ours)
            self._apply(writes, own=wanted is self._own)
            self._wait(SETTLE)
        raise GitHubError("other publishers kept changing it", hint="publish again")

    def _put_check(self, check: Check) -> None:
        if check is self._publication.aggregate:
            check = replace(check, output=replace(check.output, text=self._own.body))
        put_check(self._github, self._publication.head_sha, check, app_of(self.login))
        if check.name not in self._checks:
            self._checks.append(check.name)

    def _known(self, head: str) -> list[Text]:
        """The texts of all attempts for this head, as our App's check runs have them."""
        pull, app = self._publication.pull, app_of(self.login)
        try:
            runs = self._github.check_runs(head, self._publication.aggregate.name) if app else []
        except (Forbidden, NotFound):  # no `checks` permission: the comments alone say what is known
            return []
        texts = []
        for run in runs:
            marked = read(run.text, pull) if run.app == app else None
            if marked is None or not marked.intact or marked.marker.head != head:
                continue
            if read_external_id(run.external_id) == ("", *marked.marker.order):
                texts.append(Text(marked.marker, run.text, 2, self._creates(run.conclusion == "failure")))
        return texts

    def _apply(self, writes: Sequence[Write], *, own: bool) -> None:
        """Send the writes; what went otherwise than thought is found by the next look."""
        try:
            for write in writes:
                self._send(write)
                self._wrote |= own
        except (Uncertain, NotFound):
            self._wrote |= own
        except TooLong:
            if not own or not self._limits:
                raise
            self._take_shorter()
            if self._publication.aggregate.name in self._checks:
                self.put_checks([self._publication.aggregate])

    def _send(self, write: Write) -> None:
        if not write.comment:
            sent = self._github.create_comment(self._publication.pull, write.body)
            self.login = sent.author or self.login  # else an App of an unknown name would write another one
        elif write.body:
            sent = self._github.update_comment(write.comment, write.body)
        else:
            return self._github.delete_comment(write.comment)
        self._echoes |= {sent.body}

    def _ended(self, wanted: Text, ours: Sequence[Shown]) -> Receipt:
        url = ours[0].comment.url if ours else ""
        if wanted is self._own:
            return self.receipt("posted" if self._wrote else "unchanged" if ours else "none", url)
        newer = wanted.marker
        self._note = f"run {newer.run}, attempt {newer.attempt}, on {newer.head[:12]} is newer"
        return self.receipt("superseded", url)

    def _compose(self, text: str) -> Text:
        it = self._publication
        body = compose(it.pull, it.head_sha, it.run_id, it.attempt, text, it.numbers)
        marked = read(body, it.pull)
        assert marked is not None
        return Text(marked.marker, body, 3, self._creates(it.aggregate.conclusion == "failure"))

    def _creates(self, failed: bool) -> bool:
        return failed or self._publication.comment == "always"

    def _take_shorter(self) -> None:
        limit = self._limits.pop(0)
        self._text = self._shorten(limit)
        self._own = self._compose(self._text)
        self._note = f"shortened to {limit:,} characters: GitHub takes no longer comment"
