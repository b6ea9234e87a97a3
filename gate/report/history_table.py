"""`ftgate history`: verdicts over time, in words and small bars. Names are data, and made harmless."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from gate.records.history import PastRule, PastVerdict
from gate.report.quantities import duration, many, scale_of
from gate.report.text import fit, one_line, quiet
from gate.report.trend import LAST, sparkline

WORDS = {"pass": "held", "fail": "did not hold", "undecided": "undecided"}
WORST = 3  # rules that did not hold that a line names
NAME = 44  # columns


def history_text(history: Sequence[PastVerdict], rates: Mapping[str, float], said: str = "") -> str:
    """A table a config, the oldest verdict first, then each rule's course; plain text, 100 columns.

    `rates` are flip rates by task; `said` is what the audits came to.
    """
    if not history:
        return "no verdicts are recorded: `ftgate history record RUN` adds one"
    lines: list[str] = []
    for config in dict.fromkeys(past.config for past in history):
        own = [past for past in history if past.config == config]
        lines += [one_line(config, 100), *map(_line, own), "", *_courses(own), ""]
    if rates:
        lines.append("answers that change, over the latest verdicts that passed")
        lines += [f"  {fit(task, NAME)} {100 * rate:5.1f} %" for task, rate in rates.items()]
    lines.append(said)
    return quiet("\n".join(lines)).rstrip()


def _line(past: PastVerdict) -> str:
    when = one_line(past.created[:16].replace("T", " "), 16)
    commit = fit(past.commit[:8], 8)
    documents = f"{past.documents_scored:,} of {past.documents_planned:,} documents"
    if past.audit is None:
        took = f"{documents}, {duration(past.seconds)}"
        return f"  {when}  {commit}  {WORDS[past.outcome]:<13} {took}{_broken(past)}"
    audit = past.audit
    differing = f"; other: {one_line(', '.join(audit.differing), 60)}" if audit.differing else ""
    verdict = (
        "agrees" if audit.agrees else f"differs: {WORDS[audit.early]} early, {WORDS[audit.full]} in full"
    )
    return f"  {when}  {commit}  audit {verdict}; {many(audit.settled, 'rule')} settled early{differing}"


def _broken(past: PastVerdict) -> str:
    names = [rule.rule for rule in past.rules if rule.outcome in ("fail", "undecided")]
    more = f" and {len(names) - WORST} more" if len(names) > WORST else ""
    return f"; {one_line(', '.join(names[:WORST]), 120)}{more}" if names else ""


def _courses(history: Sequence[PastVerdict]) -> Iterator[str]:
    """Each rule of the latest verdict: bars over the last ones, and where it stands now."""
    verdicts = [past for past in history if past.audit is None][-LAST:]
    for rule in verdicts[-1].rules if verdicts else ():
        values = [each.value for past in verdicts for each in past.rules if each.rule == rule.rule]
        yield f"  {fit(rule.rule, NAME)} {fit(sparkline(values), LAST)} {_number(rule)}"


def _number(rule: PastRule) -> str:
    scale = scale_of(rule.unit)
    show = scale.level if rule.rule.endswith("/min_score") else scale.change
    scored = rule.rule.endswith("/min_score")
    size = scale.level if scored else scale.size
    limit = "" if rule.margin is None else f", limit {size(rule.margin)}"
    noun = "" if scored else f" {one_line(scale.noun, 20)}"
    near = "≈ " if rule.early else ""
    return f"{near}{show(rule.value)} ({show(rule.low)} to {show(rule.high)}{limit}{noun})"


def agreement_text(
    audits: int, differing: int, low: float, high: float, stated: float, settled: int, rules: int
) -> str:
    """How often early verdicts differ from the full ones, with a 95 % interval, beside what is stated."""
    return (
        f"{many(audits, 'verdict')} audited: {differing} differ from the full benchmark's "
        f"({100 * differing / audits:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %; stated: at "
        f"most {100 * stated:.1f} %); of {many(settled, 'rule')} settled early {rules} came out otherwise"
    )


def history_json(history: Sequence[PastVerdict], rates: Mapping[str, float], audits: object) -> str:
    """The same for programs: ASCII, so that nothing in it acts on a terminal."""
    document = {
        "schema": 1,
        "verdicts": [asdict(past) for past in history],
        "flip_rates": dict(rates),
        "audits": audits,
    }
    return json.dumps(document, indent=2, allow_nan=False)
