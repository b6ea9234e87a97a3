"""What `ftgate plan` says: a table a rule, all rules together, time and money; plain text or JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from gate.devices import SCORING, TRAINING
from gate.errors import Problem
from gate.foresight import SCORES, Foresight, RuleForesight, said_source
from gate.foresight.costs import CHARACTERS_PER_TOKEN, Cost, Work
from gate.report.quantities import count, duration, many, millions, scale_of
from gate.report.text import fit, one_line, quiet, visible

SCHEMA = 1
WIDTH = 98
_NAME = 40  # columns of a rule's id


@dataclass(frozen=True, slots=True)
class Planned:
    """Everything that `ftgate plan` found; `subject` is what was looked at."""

    subject: str
    foresight: Foresight
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    work: Work
    costs: tuple[Cost, ...]


def planned_json(planned: Planned) -> str:
    """For programs: the records as they are, under a schema number."""
    document = {"schema": SCHEMA, **asdict(planned)}
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False)


def planned_text(planned: Planned) -> str:
    """For people: plain text, at most 100 columns."""
    parts = [*_opening(planned), *_sight(planned.foresight)]
    if planned.foresight.decide == "score":
        parts += ["", *_documents(planned.foresight), *_scores(planned.foresight)]
    parts += ["", *_together(planned.foresight)]
    if planned.problems or planned.warnings:
        parts += ["", *_problems(planned)]
    return quiet("\n".join([*parts, "", *_costs(planned)]))


def _opening(planned: Planned) -> Iterator[str]:
    found = planned.foresight
    how = {
        "full": "every document is scored",
        "score": "scoring stops where the full benchmark's verdict is certain",
        "proven": "a drop must be proven to be small",
    }[found.decide]
    yield fit(one_line(planned.subject, 400), WIDTH).rstrip()
    yield f"{many(found.judging, 'rule')} can fail; decide: {found.decide}, {how}"
    yield ""


def _sight(found: Foresight) -> Iterator[str]:
    """What each rule sees, and how often it is mistaken."""
    widest = max((rule.sharpness for rule in found.rules if not rule.flips.known), key=len, default=())
    rates = [_rate(each.flips) for each in widest]
    if not rates:
        yield "What a rule can see"
    else:
        beside = f"; in brackets: if {' and '.join(rates[1:])} do" if rates[1:] else ""
        yield f"What a rule can see if {rates[0]} of the answers change{beside}"
    yield _row("rule", "limit", "documents", "seen", "mistaken")
    for rule in found.rules:
        yield _rule_row(rule)
        if rule.sharpness and rule.note:
            yield f"      {one_line(rule.note, 90)}"
    yield from _wrapped(
        "seen: the smallest true drop that is blocked 4 times in 5; of a target the true gain, or score, "
        "that passes 4 times in 5. mistaken: how often a model that lost nothing is blocked; of a target how "
        "often one that gained nothing passes. Drops and gains are in points."
    )


def _row(name: str, limit: str, documents: str, seen: str, mistaken: str) -> str:
    return f"  {_named(name)} {limit:>6} {documents:>10}  {fit(seen, 16)} {mistaken}".rstrip()


def _rule_row(rule: RuleForesight) -> str:
    scale = scale_of(rule.unit)
    limit = "" if rule.margin is None else scale.size(rule.margin)
    if not rule.sharpness:
        return f"  {_named(rule.rule)} {limit:>6} {count(rule.documents):>10}  {one_line(rule.note, 38)}"
    seen = [scale.size(each.seen) for each in rule.sharpness]
    mistaken = [_chance(each.mistaken) for each in rule.sharpness if each.mistaken is not None]
    said = f"{_beside(mistaken)} %" if mistaken else ""
    return _row(rule.rule, limit, count(rule.documents), _same(seen), said)


def _named(rule: str) -> str:
    """A rule's id; of a long one the beginning and the end."""
    line = one_line(rule, 300)
    if len(line) > _NAME:
        line = f"{line[: _NAME - 19]}…{line[-18:]}"
    return fit(line, _NAME)


def _same(values: Sequence[str]) -> str:
    return values[0] if len(set(values)) == 1 else _beside(values)


def _beside(values: Sequence[str]) -> str:
    """The first, and the others in brackets."""
    return f"{values[0]} ({', '.join(values[1:])})" if values[1:] else values[0]


def _documents(found: Foresight) -> Iterator[str]:
    """Under `score`: the documents until a decision."""
    yield "Documents until a decision, on average, if the model truly changed by"
    yield f"  {_named('rule')} {'all':>8} {'nothing':>9} {'half':>9} {'the limit':>10} {'twice that':>10}"
    for rule in found.rules:
        every = count(rule.documents)
        if rule.endless:
            unit = one_line(rule.unit, 20)
            yield f"  {_named(rule.rule)} {every:>8}   all of them: {unit} has no known range"
        if not rule.sharpness:
            continue
        if rule.expected is None:
            if rule.expected_score is not None:
                continue
            why = "all of them: slices are judged in full"
            if rule.rule.endswith("_champion"):
                why = "all of them: champion rules are judged in full"
            yield f"  {_named(rule.rule)} {every:>8}   {why}"
            continue
        yield _expected(_named(rule.rule), every, rule.expected)
        for each, expected in zip(rule.sharpness[1:], rule.expected_beside, strict=True):
            beside = fit(f"if {_rate(each.flips)} of the answers change", _NAME - 2)
            yield _expected(f"  {beside}", "", expected)
    share = f"{100 * found.expected_share:.0f} %"
    yield f"  A model that changes nothing is judged on about {share} of the documents."


def _expected(name: str, every: str, expected: Sequence[float]) -> str:
    none, half, limit, twice = (count(round(n)) for n in expected)
    return f"  {name} {every:>8} {none:>9} {half:>9} {limit:>10} {twice:>10}"


def _scores(found: Foresight) -> Iterator[str]:
    """Under `score`: the documents until a decision on a score, which depends on the score itself."""
    rules = [rule for rule in found.rules if rule.expected_score is not None]
    if rules:
        yield ""
        yield "Documents until a decision, if the true score lies above the limit by so many points"
        steps = " ".join(f"{100 * step:>9.0f}" for step in SCORES)
        yield f"  {_named('rule')} {'all':>8} {steps}"
    for rule in rules:
        numbers = " ".join(f"{count(round(n)):>9}" for n in rule.expected_score or ())
        yield f"  {_named(rule.rule)} {count(rule.documents):>8} {numbers}"


def _together(found: Foresight) -> Iterator[str]:
    """The family-wise figure, and where its flip rate comes from."""
    if found.family:
        first, *rest = found.family
        said = (
            f"All rules together block a model that lost nothing in {_chance(first.independent)} % of cases "
            f"if the tasks are independent, in {_chance(first.at_most)} % at most"
        )
        beside = " and ".join(
            f"{_chance(each.independent)} % if {_rate(each.flips)} of the answers change" for each in rest
        )
        yield from _wrapped(f"{said} ({beside})." if beside else f"{said}.", "")
    yield from _sources(found)


def _sources(found: Foresight) -> Iterator[str]:
    """Where each rule's flip rate comes from."""
    shown = [rule for rule in found.rules if rule.sharpness]
    known = [
        f"{rule.rule} {_rate(rule.flips.rate)} ({said_source(rule.flips)})"
        for rule in shown
        if rule.flips.known
    ]
    if known:
        yield from _wrapped(f"Answers that change: {', '.join(known)}.", "")
    if len(known) < len(shown):
        of = " of the other rules" if known else ""
        few = [
            f"{rule.rule} {rule.flips.changed:,} of {rule.flips.documents:,}"
            for rule in shown
            if rule.flips.documents and not rule.flips.known
        ]
        why = f"too little was seen yet: {', '.join(few)}" if few else "nothing was measured yet"
        yield from _wrapped(f"That 10 % of the answers{of} change is assumed: {why}.", "")


def _problems(planned: Planned) -> Iterator[str]:
    yield "Look at these before you run it"
    for problem in planned.problems:
        yield from _bullet(f"{problem.key} (line {problem.line}): {problem.message}; {problem.hint}")
    for warning in planned.warnings:
        yield from _bullet(warning)


def _costs(planned: Planned) -> Iterator[str]:
    work = planned.work
    if not planned.costs:
        yield "Time and money: name a device, e.g. --device h100, or give `prices` in the policy."
        return
    yield "Time and money, roughly"
    yield _line("device", "training", "measuring", "base is stored", "device-hours", "price")
    for cost in planned.costs:
        yield _line(
            cost.device,
            _time(cost.training_seconds),
            _time(cost.measuring_seconds),
            _time(cost.again_seconds),
            "unknown" if cost.device_hours is None else f"{cost.device_hours:,.3f}",
            "" if cost.money is None else f"{cost.money:,.2f}",
        )
    size = f" {millions(work.parameters)} parameters by {work.parameters_from};" if work.parameters else ""
    yield from _wrapped(
        f"Assumed:{size} {_rate(TRAINING)} of the device's 16-bit peak in training, {_rate(SCORING)} in "
        f"measuring; {CHARACTERS_PER_TOKEN:g} characters a token; {work.operations_a_parameter} operations "
        "for each parameter and token of the training. Loading models is not in it."
    )
    for why in work.unknown:
        yield from _bullet(f"not in it: {why}")


def _line(device: str, training: str, measuring: str, again: str, hours: str, price: str) -> str:
    return f"  {device:<10} {training:>14} {measuring:>14} {again:>15} {hours:>13} {price:>10}".rstrip()


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return duration(seconds) if seconds >= 60 else "under 1 min"


def _rate(share: float) -> str:
    return f"{100 * share:.3g} %"


def _chance(share: float | None) -> str:
    """A share as a percentage without its sign; what is not nothing is not shown as nothing."""
    percent = 100 * (share or 0.0)
    return "<0.1" if 0 < percent < 0.05 else f"{percent:.1f}"


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(visible(text), WIDTH, initial_indent=indent, subsequent_indent=indent)


def _bullet(text: str) -> list[str]:
    return textwrap.wrap(one_line(text, 1000), WIDTH, initial_indent="  - ", subsequent_indent="    ")
