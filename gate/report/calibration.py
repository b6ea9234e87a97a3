"""What `ftgate calibrate` says: a line for each task and change, and the margins that it proposes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gate.foresight.noise import Noise, Suggestion
from gate.report.quantities import count
from gate.report.text import fit, one_line, quiet

_NAME, _CHANGE = 36, 18  # columns
CAUTION = "Real ones change 10 to 80 %."


def calibration_text(
    base: str,
    changes: Sequence[tuple[str, str]],
    noise: Sequence[Noise],
    left_out: Sequence[str],
    suggestions: Sequence[Suggestion],
) -> str:
    """For people: plain text, at most 100 columns."""
    lines = [f"What noise is on {one_line(base, 80)}", ""]
    lines += [f"  {fit(name, _CHANGE)} {one_line(what, 70)}" for name, what in changes]
    lines += [f"  left out: {one_line(why, 86)}" for why in left_out]
    lines += ["", *_noise_lines(noise), "", *_margin_lines(suggestions)]
    return quiet("\n".join(line.rstrip() for line in lines))


def _noise_lines(noise: Sequence[Noise]) -> Iterator[str]:
    names = f"{fit('task', _NAME)} {fit('change', _CHANGE)}"
    yield f"  {names} {'documents':>9} {'flipped':>8} {'difference':>20}"
    for each in sorted(noise, key=lambda each: each.task):
        flipped = "" if each.changed is None else f"{100 * each.changed / each.documents:.1f} %"
        moved = f"{each.difference:+.4f} ± {each.error:.4f}"
        yield (
            f"  {fit(each.task, _NAME)} {fit(each.change, _CHANGE)} {count(each.documents):>9} "
            f"{flipped:>8} {moved:>20}"
        )
    yield "  difference: new minus old in the metric's own unit, ± its standard error."


def _margin_lines(suggestions: Sequence[Suggestion]) -> Iterator[str]:
    if not suggestions:
        yield "No margin to propose: no rule is about a drop, a rise or a gain."
        return
    yield f"  {fit('rule', 46)} {'now':>7} {'proposed':>9} {'at 10 %':>8}  because of"
    for each in suggestions:
        now = "-" if each.now is None else f"{each.now:g}"
        tuned = "" if each.tuned is None else f"{each.tuned:g}"
        yield f"  {fit(each.rule, 46)} {now:>7} {each.margin:>9g} {tuned:>8}  {one_line(each.why, 50)}"
    if any(each.tuned is not None for each in suggestions):
        yield f"  at 10 %: what a fine-tune needs that changes 10 % of the answers. {CAUTION}"


def proposal_note(base: str, day: str, suggestions: Sequence[Suggestion]) -> str:
    """The comment at the head of a proposal: where its margins come from."""
    lines = [
        f"Proposed by `ftgate calibrate` on {day}, from the noise of {one_line(base, 60)}.",
        "Each margin is the smallest at which all rules together seldom block a fine-tune that lost nothing.",
        "Take over what you want: ftgate does not read this file unless it is named.",
    ]
    if any(each.tuned is not None for each in suggestions):
        lines += [
            "This noise changes fewer answers than fine-tunes do: real ones change 10 to 80 %, and then",
            "margins as fine as these block good work. What 10 % need stands beside them.",
        ]
    for each in suggestions:
        if each.now == each.margin:
            continue
        now = "shown" if each.now is None else f"{each.now:g}"
        beside = "" if each.tuned is None else f"; {each.tuned:g} if a fine-tune changes 10 %"
        lines.append(
            f"  {one_line(each.rule, 60)}: {now} -> {each.margin:g} ({one_line(each.why, 60)}{beside})"
        )
    return "\n".join(lines)
