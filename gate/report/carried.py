"""A report that is taken over from an older commit: read back from that commit's check run, and shown again.

Only ftgate's own App can write or edit that check run, not a person, not a fork, and it is the one whose
conclusion counts. Its text is data all the same: another job that writes as the same App may have put it
there. So it is taken over only where it holds nothing that our templates would not write: no mention, no
image, no HTML but folds, no link but those to the repository's own runs. Else the verdict is shown alone.
"""

from __future__ import annotations

import re
from dataclasses import replace

from gate.records import CarriedReport, ConfigRun
from gate.report.text import code, title_words

_MARK = "**Carried over from {}**, as no input has changed since: nothing was measured again. "
_WHOLE = "From here on this is the report as it was published there."
_ALONE = "Its report could not be copied from that commit’s check run, and stands there."
_READ = re.compile(
    re.escape(_MARK).replace(r"\{\}", "`([0-9a-f]{40}|[0-9a-f]{64})`") + f"({_WHOLE}|{_ALONE})(?:\n\n|$)"
)
_HEADING = re.compile(r"### [^\n]+(?:\n\n|$)")
_FROM = re.compile(r" \(carried over from [0-9a-f]{6}…\)$")
_TITLE = 200  # characters

_SPAN = re.compile(r"(?<!`)(`+)(?!`)(?:.*?[^`])\1(?!`)")
_FENCE = re.compile(r"(`{3,})(?:text|diff|sh)")  # others are drawn: a diagram or a formula, with links
_FOLD = re.compile(r"</?details>|<summary>([^<]*)</summary>")  # indented, it may be a list's or code
_SUB = re.compile(r"<sub>(.*?)</sub>")
_HTML = re.compile(r"</?(?:details|summary)>|(?:</?sub>|<br>|\s)+$")  # where code is none until an empty line
_CELL = re.compile(r"(?<!\\)\||\\\\\|")
_BLANK = str.maketrans(dict.fromkeys("\n\u00a0", ""))
_ACTS = re.compile(
    r"[`<@\\&$]|!\[|\][(:\[]|[a-z]+:/|www\.|mailto:|xmpp:|#[0-9]|\bgh-|~~~|\b[0-9a-f]{7,}\b", re.IGNORECASE
)


def mark(run: ConfigRun) -> str:
    """The paragraph that says where a report comes from, and whether it follows."""
    return _MARK.format(code(run.carried_from)) + (_WHOLE if run.carried else _ALONE)


def carried_title(title: str, sha: str) -> str:
    """A check run's title with the commit that it was carried over from; at most 200 characters."""
    suffix = f" (carried over from {title_words(sha[:6])}…)"
    room = _TITLE - len(suffix)
    short = title if len(title) <= room else title[:room].rpartition(" ")[0]  # half a word may be another
    return (short or title[:room]) + suffix


def read_carried(
    title: str, summary: str, text: str, sha: str, *, path: str, runs: str
) -> tuple[str, CarriedReport]:
    """What the check run of a config on the commit `sha` says, and the commit where it was measured.

    That is another one where the report there was carried over itself. `runs` is what the addresses of the
    repository's runs begin with. The report is empty but for its title where its text is not as we write it.
    """
    label, _, claim = _FROM.sub("", title).partition(": ")
    report = CarriedReport(label, "" if claim == path else claim)
    summary, text = (each.replace("\r\n", "\n").strip() for each in (summary, text))
    heading = _HEADING.match(summary)
    body = summary[heading.end() :] if heading else ""
    again = _READ.match(body)
    if again:
        sha, body = again[1], body[again.end() :] if again[2] == _WHOLE else ""
    if not body.strip() or not (is_ours(body, runs) and is_ours(text, runs)):
        return sha, report
    return sha, replace(report, summary=body.strip(), details=text)


def is_ours(text: str, runs: str) -> bool:
    """Whether Markdown holds no more than our templates write: all else in code, fences and folds closed."""
    link = (
        re.compile(rf"(?<!!)\[[a-z.,’ ]{{1,60}}\]\({re.escape(runs)}[0-9]{{1,16}}(?:#artifacts)?\)")
        if runs
        else None
    )
    fence, folds, raw = "", 0, False
    for line in text.split("\n"):
        opens = None if raw or fence else _FENCE.fullmatch(line)
        if fence:
            fence = "" if re.fullmatch(rf" {{0,3}}`{{{len(fence)},}} *", line) else fence
        elif opens:
            fence = opens[1]
        else:
            raw = bool(line.strip()) and (raw or bool(_HTML.match(line.lstrip())))
            fold = _FOLD.fullmatch(line)
            folds += {"<details>": 1, "</details>": -1}.get(line, 0)
            said = (fold[1] or "") if fold else line if raw else _without_code(line)
            said = _SUB.sub(r"\1", link.sub("", said) if link else said).replace("<br>", "")
            if _ACTS.search(said) or folds < 0:
                return False
    return not fence and not folds and text.translate(_BLANK).isprintable()


def _without_code(line: str) -> str:
    """A line without its code spans. What may be none stays: a backtick is escaped, a cell ends within."""
    return _SPAN.sub(
        lambda found: found[0] if line[: found.start()].endswith("\\") or _CELL.search(found[0]) else "", line
    )
