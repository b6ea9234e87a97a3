"""Check runs: what a run's end is called, and how a check run is started, kept alive and ended.

Nothing ends as `neutral` or `skipped`: GitHub counts both as passing. A check run of ours is one of our
App's with our name and external id (the run and its attempt), so that a repeat finds what the first try
left, and a re-run has its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gate.errors import (
    FAIL,
    INFRASTRUCTURE,
    INTERRUPTED,
    PASS,
    UNDECIDED,
    USAGE,
    GitHubError,
    NotFound,
    TooLong,
    Uncertain,
)
from gate.github.api import Annotation, CheckOutput, CheckRun, CheckStatus, Conclusion, GitHub
from gate.progress import Start, line, seconds_left

OUTPUT_LIMIT = 65_535
"""Characters of a summary and of a text."""
SHORT_LIMIT = 16_000
"""Where GitHub refuses that: what fits even if it counts the bytes of four-byte characters."""
TITLE_LIMIT = 200
ANNOTATIONS_A_REQUEST = 50
TRIES = 3
SUPERSEDED = "superseded by a newer run"

_UNPLAIN = re.compile(r"[^A-Za-z0-9 .,:;%()/_+=-]")
"""A progress line is ours but for a task's or file's name: what might mean something is a question mark."""

CUT = "\n\n*… the rest was left out: too long for GitHub. The artifact has all of it.*\n"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a check run stands: GitHub's words and ours. `conclusion` is None while it is pending."""

    title: str
    conclusion: Conclusion | None

    @property
    def status(self) -> CheckStatus:
        """GitHub's status that goes with the conclusion."""
        return "completed" if self.conclusion else "in_progress"


RUNNING = Ending("running", None)
PENDING = Ending("trained, not yet measured", None)

_ENDINGS: dict[int, Ending] = {
    PASS: Ending("pass", "success"),
    FAIL: Ending("capability lost", "failure"),
    USAGE: Ending("config error", "failure"),
    INFRASTRUCTURE: Ending("could not measure", "failure"),
    UNDECIDED: Ending("undecided: the data prove neither", "failure"),
    INTERRUPTED: Ending("could not measure: interrupted", "failure"),
}


def ending(exit_code: int, *, fail_on_undecided: bool = True, blocked: bool = False) -> Ending:
    """The check run's end for a run's exit code; an unknown code is "could not measure".

    Undecided is a failure, as the job is red then. Where the workflow says `fail-on-undecided: false`
    the job is green, so its check run is `success` too, in these words: of two checks of one verdict none
    may contradict the other, and `neutral` would pass as well while saying less. `blocked` is a config
    that may not merge whatever was measured: nothing was lost, so nothing says so.
    """
    if blocked and exit_code == FAIL:
        return Ending("blocked by the policy", "failure")
    if exit_code == UNDECIDED and not fail_on_undecided:
        return Ending("undecided: let through, because fail-on-undecided is off", "success")
    return _ENDINGS.get(exit_code, _ENDINGS[INFRASTRUCTURE])


@dataclass(frozen=True, slots=True)
class Check:
    """A check run as it is to stand: `output` has the title, the texts and all annotations."""

    name: str
    external_id: str
    output: CheckOutput
    conclusion: Conclusion | None = None  # None: in progress
    details_url: str = ""

    @property
    def status(self) -> CheckStatus:
        """GitHub's status that goes with the conclusion."""
        return "completed" if self.conclusion else "in_progress"


def external_id(run: int, attempt: int, inputs: str = "") -> str:
    """`RUN/ATTEMPT`, or `INPUTS/RUN/ATTEMPT` for a config's check run."""
    return "/".join([*([inputs] if inputs else []), str(run), str(attempt)])


def read_external_id(text: str) -> tuple[str, int, int] | None:
    """(inputs, run, attempt) of a check run's external id; None if it is none of ours."""
    found = re.fullmatch(r"(?:([A-Za-z0-9:_-]{1,200})/)?([0-9]{1,16})/([0-9]{1,6})", text, re.ASCII)
    return (found[1] or "", int(found[2]), int(found[3])) if found else None


def app_of(login: str) -> str:
    """The slug of the App that writes under this login; "" for a person, who can make no check runs."""
    return login.removesuffix("[bot]") if login.endswith("[bot]") else ""


# ── Lengths ──────────────────────────────────────────────────────────────────────────────────────


def cut(text: str, limit: int, size: Callable[[str], int] = len) -> str:
    """`text` if its `size` is at most `limit`; else its first lines, an open fence or fold closed, and a
    note that says so."""
    if size(text) <= limit:
        return text
    lines = text.split("\n")
    low, high = 0, len(lines)
    while low < high:  # the largest number of lines that fits
        middle = (low + high + 1) // 2
        if size(_closed(lines[:middle]) + CUT) <= limit:
            low = middle
        else:
            high = middle - 1
    return _closed(lines[:low]) + CUT


def _closed(lines: Sequence[str]) -> str:
    """The lines, and the ends of what they leave open."""
    fence, folds = "", 0
    for text in lines:
        ticks = re.match(r" {0,3}(`{3,}|~{3,})(.*)", text)
        if fence:
            ends = ticks and ticks[1].startswith(fence) and not ticks[2].strip()
            fence = "" if ends else fence
        elif ticks:
            fence = ticks[1]
        else:
            folds = max(folds + text.count("<details") - text.count("</details>"), 0)
    return "\n".join([*lines, *([fence] if fence else []), *["\n</details>"] * folds])


def within(output: CheckOutput, limit: int = OUTPUT_LIMIT) -> CheckOutput:
    """The output with a title and texts that GitHub takes."""
    return replace(
        output,
        title=output.title[:TITLE_LIMIT],
        summary=cut(output.summary, limit),
        text=cut(output.text, limit),
    )


# ── Starting and ending ──────────────────────────────────────────────────────────────────────────


def put_check(github: GitHub, sha: str, check: Check, app: str) -> CheckRun:
    """Create the check run, or bring ours to this state; safe to repeat. Raises `GitHubError`.

    Annotations go while it is in progress and the conclusion last, so one that is completed has them all
    and a repeat sends none twice. After a lost answer GitHub is asked again. What older runs left in
    progress under this name is closed with this one: nobody else would.
    """
    limit = OUTPUT_LIMIT
    left = list(check.output.annotations)
    for more in reversed(range(TRIES)):
        try:
            runs = [run for run in github.check_runs(sha, check.name) if app and run.app == app]
            short = replace(check, output=replace(within(check.output, limit), annotations=()))
            latest = _bring(github, sha, short, left, runs)
            _close_strays(github, short, runs)
            return latest
        except (Uncertain, NotFound):
            if not more:
                raise
        except TooLong:
            if limit == SHORT_LIMIT or not more:
                raise
            limit = SHORT_LIMIT
    raise AssertionError("the last try returns or raises")


def _bring(
    github: GitHub, sha: str, check: Check, left: list[Annotation], runs: Sequence[CheckRun]
) -> CheckRun:
    """Our check run as `check` says it; `left` loses the annotations that GitHub has taken."""
    mine = next((run for run in runs if run.external_id == check.external_id), None)
    if mine and mine.status == "completed" and mine.title != SUPERSEDED:
        left.clear()
        if _stands(mine, check):
            return mine
    while len(left) > ANNOTATIONS_A_REQUEST:
        mine = _send(github, sha, replace(check, conclusion=None), mine, left[:ANNOTATIONS_A_REQUEST])
        del left[:ANNOTATIONS_A_REQUEST]
    mine = _send(github, sha, check, mine, left)
    left.clear()
    return mine


def _send(
    github: GitHub, sha: str, check: Check, mine: CheckRun | None, annotations: Sequence[Annotation]
) -> CheckRun:
    output = replace(check.output, annotations=tuple(annotations))
    if mine:
        return github.update_check_run(mine.id, output, status=check.status, conclusion=check.conclusion)
    return github.create_check_run(
        sha,
        check.name,
        output,
        status=check.status,
        conclusion=check.conclusion,
        external_id=check.external_id,
        details_url=check.details_url,
    )


def _stands(run: CheckRun, check: Check) -> bool:
    """Whether GitHub has it already; it may have trimmed what is blank around a text."""
    there = (run.conclusion, run.title.strip(), run.summary.strip(), run.text.strip())
    output = check.output
    return there == (check.conclusion, output.title.strip(), output.summary.strip(), output.text.strip())


def _close_strays(github: GitHub, check: Check, runs: Sequence[CheckRun]) -> None:
    """End what is ours, of this name, not newer, and still in progress: a cancelled run's, an announcement's,
    or the twin of a creation whose answer was lost."""
    own = read_external_id(check.external_id)
    if not check.conclusion or own is None:
        return
    mine = next((run.id for run in runs if run.external_id == check.external_id), 0)
    output = CheckOutput(SUPERSEDED, f"Run {own[1]}, attempt {own[2]}, has the result.")
    for run in runs:
        theirs = read_external_id(run.external_id)
        if run.status != "completed" and run.id != mine and theirs and theirs[1:] <= own[1:]:
            github.update_check_run(run.id, output, status="completed", conclusion=check.conclusion)


# ── While it runs ────────────────────────────────────────────────────────────────────────────────


class CheckRunProgress:
    """Shows how far a run is on its check run, at most every `every` seconds; a `gate.progress.Progress`.

    It never fails the run: when GitHub fails, the wait doubles, and after three failures in a row it stays
    silent. An update blocks its caller while it is sent, so give it a client with a short deadline: a
    thread's late update could put a check run that has ended back in progress.
    """

    def __init__(
        self,
        github: GitHub,
        check_run: int,
        *,
        every: float = 180.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._github, self._check_run, self._every, self._clock = github, check_run, every, clock
        self._what = ""
        self._start: Start | None = None
        self._next = clock()
        self._failures = 0

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        """Tell GitHub, if the last time was long enough ago."""
        now = self._clock()
        if what != self._what:
            self._what, self._start = what, None
        if self._start is None and total:
            self._start = Start(done, now)
        if now < self._next or self._failures >= TRIES:
            return
        left = seconds_left(self._start, done, total, now) if self._start else None
        what, note = _UNPLAIN.sub("?", what[:TITLE_LIMIT]), _UNPLAIN.sub("?", note[:TITLE_LIMIT])
        title, text = (line(what, done, total, note, left, bar=bar) for bar in (False, True))
        self._tell(CheckOutput(f"{RUNNING.title}: {title}"[:TITLE_LIMIT], f"```text\n{text}\n```"))
        self._next = self._clock() + self._every * 2**self._failures

    def done(self, what: str) -> None:
        """Nothing: the next stage or the end of the check run says it."""

    def _tell(self, output: CheckOutput) -> None:
        try:
            self._github.update_check_run(self._check_run, output, status="in_progress")
            self._failures = 0
        except GitHubError:
            self._failures += 1
