"""The built-in sections of a pull request's comment: each a paragraph, a table or a fold of Markdown."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gate.records import CiRun
from gate.report.carried import mark
from gate.report.environment import part
from gate.report.quantities import device_hours, many, scale_of
from gate.report.rows import Row, about, task_key
from gate.report.sentence import said_with
from gate.report.standing import Standing
from gate.report.svg import bar
from gate.report.text import code, visible, words
from gate.report.view import View

BAR = 15  # characters
ESTIMATES = "≈ is an estimate, with where the full benchmark’s own number can lie in brackets."
OPEN, FEW = 12, 6  # rules that a table shows unfolded; so few are never folded
COMMANDS = 10
MOST = 1e6  # a previous difference or cost that is larger is not believed
_ADDRESS = re.compile(r"https?://[A-Za-z0-9._:/-]{1,300}(?:#artifacts)?")


@dataclass(frozen=True, slots=True)
class PullContext:
    """What a run does not know itself: where it can be looked at, and what came before it.

    `previous` maps a config's path to its rules' differences at the previous push, in the metrics' own
    units; `spent` is what earlier pushes took, in device-hours. Absurd numbers, and addresses that are no
    plain http(s) ones, are left out. `policy_path` is the policy's place in the repository.
    """

    url: str = ""
    artifact_url: str = ""
    previous: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    spent: float = 0.0
    policy_path: str = ""


def paragraph(text: str) -> str:
    """`text` with one empty line after it; nothing for nothing."""
    return f"{text.strip()}\n\n" if text.strip() else ""


def folded(summary: str, text: str) -> str:
    """`text` behind a line of ours; nothing for nothing."""
    return paragraph(part("folded", summary, text.strip())) if text.strip() else ""


def bars(view: View | None) -> dict[str, str]:
    """Each rule's bar in characters."""
    panels = view.panels if view else ()
    return {mark.row.finding.rule: bar(mark, panel, BAR) for panel in panels for mark in panel.marks}


def heading(found: Standing) -> str:
    """A config's own heading: how it stands, its name, the claim."""
    return paragraph(f"#### {found.kind.icon} {statement(found)}")


def statement(found: Standing, said: Callable[[str, int], str] = words) -> str:
    """`blocked, capability lost: CONFIG gained 79.6 points on ...`; `said` makes what is data harmless."""
    name = code if said is words else said
    claim = said_with(found.view.claim, name) if found.view else ""
    claim = claim or (said(found.run.carried.claim, 200) if found.run.carried.claim else "")
    if found.key == "unjudged" or not claim:
        claim = said(found.run.blocked, 300) if found.run.blocked else ""
    verbs = r"(gained|lost|scored|estimated|did not|at worst)\b"
    joint = "" if not claim else " " if re.match(verbs, claim) else ": "
    carried = (
        f" (carried over from {name(found.run.carried_from[:12], 12)})" if found.run.carried_from else ""
    )
    return f"{found.kind.label}: {name(found.path, 120)}{joint}{claim}{carried}"


def reason(found: Standing) -> str:
    """Why a config was not judged, and what to do, or where its report comes from; else nothing."""
    texts = []
    if found.run.carried_from and not found.view:
        texts.append(mark(found.run))
    if found.run.blocked:
        texts.append(part("blocked", found.run))
    elif found.run.outcome == "error" and not (found.view and found.view.trouble):
        texts.append(
            part("stopped", found.kind.label.capitalize(), found.run.hint or "no reason is known", "")
        )
    if found.view and found.view.trouble:
        texts.append(part("trouble", found.view, found.kind.label.capitalize()))
    return "".join(map(paragraph, texts))


def table(found: Standing) -> str:
    """The rules that matter most, the worst first, and the documents' count."""
    view = found.view
    if view is None or view.trouble or not view.rows:
        return ""
    counts = view.counts
    line = (
        f"**Documents:** {counts.fell:,} fell, {counts.rose:,} rose, {counts.unchanged:,} unchanged, "
        f"{counts.missing:,} not measured"
    )
    limited = paragraph(part("limited", view)) if view.limited else ""
    waived = paragraph(part("waived", view)) if view.waived else ""
    trained = paragraph(part("trainings", view)) if view.trainings.seeds else ""
    return (
        limited + paragraph(part("rules", open_rows(found), bars(view))) + waived + trained + paragraph(line)
    )


def open_rows(found: Standing) -> tuple[Row, ...]:
    """The rows that are not folded: what does not hold, the target, the worst general rule."""
    view = found.view
    if view is None or view.trouble:
        return ()
    if len(found.rows) <= FEW:
        return found.rows
    named = {row.finding.rule for row in (view.target, view.worst) if row}
    failing = [row for row in found.rows if row.outcome in ("fail", "undecided")][:OPEN]
    named |= {row.finding.rule for row in failing}
    return tuple(row for row in found.rows if row.finding.rule in named)


def folded_rules(found: Standing) -> str:
    """The other rules."""
    view, shown = found.view, {row.finding.rule for row in open_rows(found)}
    rows = [row for row in found.rows if row.finding.rule not in shown]
    if view is None or not rows:
        return ""
    if view.trouble:
        summary = f"{many(len(rows), 'finding')} computed before the error, without a verdict"
    else:
        number = {word: sum(row.word == word for row in rows) for word in dict.fromkeys(r.word for r in rows)}
        plural = {"holds": "hold", "does not hold": "do not hold"}
        said = [f"{n:,} {w if n == 1 else plural.get(w, w)}" for w, n in number.items()]
        summary = f"{many(len(rows), 'more rule')}: {', '.join(said)}"
    return folded(summary, part("rules", rows, bars(view)))


def slices(found: Standing) -> str:
    """The slices of each rule over slices, behind a line."""
    tables = found.view.sliced if found.view else ()
    return "".join(paragraph(part("slices", table)) for table in tables)


def provenance(found: Standing) -> str:
    """Cost and provenance, and what another job says about the training, as that job's word."""
    told = found.run.training
    said = paragraph(f"The training, by its own job's word: {words(told, 300)}") if told.strip() else ""
    view = found.view
    return said + (paragraph(part("provenance", view)) if view and view.cost else "")


def moves(found: Standing, previous: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """(task, was, now) of each task whose change reads differently than at the previous push."""
    told: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for row in found.rows:
        finding, was = row.finding, previous.get(row.finding.rule)
        if was is None or finding.slices or task_key(finding) in seen or not abs(was) < MOST:
            continue  # of slices, the worst one may be another now
        seen.add(task_key(finding))
        scale = scale_of(finding.unit)
        said, now = scale.change(was), about(finding) + scale.change(finding.difference)
        if said != now.removeprefix(about(finding)):
            told.append((row.name, said, now))
    return told


def since(found: Standing, context: PullContext) -> str:
    """What changed since the previous push, where that is known."""
    previous = context.previous.get(found.path, {})
    if not any(row.finding.rule in previous for row in found.rows):
        return ""
    return paragraph(part("since", moves(found, previous)))


def shell_word(path: str) -> str:
    """A file's name as one word of a shell, exactly, whatever it holds."""
    name = f"./{path}" if path.startswith("-") else path
    if name.isprintable() and visible(name) == name:
        return shlex.quote(name)
    quoted = "".join(
        c if c.isascii() and c.isprintable() and c not in "'\\" else "".join(f"\\x{b:02x}" for b in _bytes(c))
        for c in name
    )
    return f"$'{quoted}'"


def _bytes(character: str) -> bytes:
    return character.encode(
        "utf-8", "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    )


def reproduce(found: Sequence[Standing]) -> str:
    """One command a config, those first that may not merge."""
    commands = [f"ftgate check {shell_word(one.path)}" for one in found]
    short = [command for command in commands if len(command) <= 300][:COMMANDS]
    return paragraph(part("reproduce", short, len(commands) - len(short))) if short else ""


def link(word: str, address: str) -> str:
    """A link of ours; nothing where the address is not plain."""
    return f"[{word}]({address})" if _ADDRESS.fullmatch(address) else ""


def seconds_of(found: Sequence[Standing]) -> float:
    """Device-seconds of this push: what was carried over cost nothing."""
    return math.fsum(one.view.device_seconds for one in found if one.view and not one.run.carried_from)


def cost(found: Sequence[Standing], context: PullContext) -> str:
    """What this push took, what all took so far, and where to look."""
    said = []
    if found:
        now = seconds_of(found)
        said.append(f"**Cost:** {device_hours(now, 1)} for this push")
        if 0 < context.spent < MOST:
            said[0] += f", {device_hours(now + 3600 * context.spent, 1)} so far on this pull request"
        if len(found) == 1 and found[0].view:
            said[0] += f"; {found[0].view.stored}"
    links = [link("the run", context.url), link("the artifact, with report.html", context.artifact_url)]
    return paragraph(" · ".join([*said, *filter(None, links)]))


def policy(run: CiRun) -> str:
    """That the pull request changes the policy, and that the base ref's was used."""
    return paragraph(part("policy", run.policy, run.event.base_ref)) if run.policy else ""


def trust(run: CiRun, found: Sequence[Standing]) -> str:
    """How far this result can be trusted, and what ± means, in small print."""
    level = next((one.view.level for one in found if one.view and one.view.rows), "")
    noise = f"± is half of the {level} interval for benchmark noise." if level else ""
    if any(one.view.early for one in found if one.view):
        noise += f" {ESTIMATES}"
    trained = {one.view.trainings.said for one in found if one.view and one.view.rows}
    told = trained.pop() if len(trained) == 1 else ""  # of several configs only what is true of all
    said = f"{words(run.trust, 1000)}" if run.trust.strip() else ""
    lines = [text for text in (noise, told, said) if text]
    return paragraph(f"<sub>{'<br>'.join(lines)}</sub>") if lines else ""


def deleted(run: CiRun) -> str:
    """Configs that the pull request deletes."""
    if not run.deleted:
        return ""
    names = ", ".join(code(name, 100) for name in run.deleted[:20])
    more = f" and {len(run.deleted) - 20:,} more" if len(run.deleted) > 20 else ""
    return paragraph(f"**Deleted, nothing to judge:** {names}{more}")


@dataclass(frozen=True, slots=True)
class _Line:
    icon: str
    path: str
    label: str
    target: Row | None
    worst: Row | None
    carried: bool


def overview(found: Sequence[Standing], shown: int) -> str:
    """All configs in one table, a line each; nothing for a single one."""
    if len(found) < 2 or not shown:
        return ""
    lines = [
        _Line(
            one.kind.icon,
            one.path,
            one.kind.label + (", on a part of the documents" if one.view and one.view.limited else ""),
            one.view.target if one.view and not one.view.trouble else None,
            one.view.worst if one.view and not one.view.trouble else None,
            bool(one.run.carried_from),
        )
        for one in found[:shown]
    ]
    return paragraph(part("overview", lines, max(0, len(found) - shown)))
