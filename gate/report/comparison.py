"""Several fine-tunes of one base side by side: what each learned, forgot and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gate.records import Finding
from gate.report.quantities import BITS, MINUS, duration, millions, percent, scale_of, size_of
from gate.report.rows import about, loss, spread, worst_first
from gate.report.sentence import LABELS
from gate.report.text import cell, columns, fit, one_line
from gate.verdict import Failure, Verdict

HEADINGS = (
    "method",
    "target gain",
    "general drop",
    "bits per byte",
    "time",
    "peak memory",
    "trainable",
    "verdict",
)
NOTHING = "\u2013"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One fine-tune in a comparison. Findings are None where the policy has no such rule.

    `general` is the mean of the general tasks where the policy judges it, else the worst task.
    `target_alone` is whether every target rule holds: what a gate that only looks there would say.
    """

    method: str
    outcome: str
    target: Finding | None = None
    general: Finding | None = None
    text: Finding | None = None
    target_alone: bool = False
    seconds: float = 0.0
    peak_bytes: int = 0
    trainable_parameters: int | None = None


def comparison_row(method: str, result: Verdict | Failure) -> ComparisonRow:
    """A result as a row of the comparison, called `method` there."""
    findings = result.findings
    targets = [finding for finding in findings if finding.kind == "target"]
    gains = [finding for finding in targets if finding.bound != "min_score"]
    means = [finding for finding in findings if finding.kind == "average"]
    general = worst_first(f for f in findings if f.kind == "general" and not f.slices)
    return ComparisonRow(
        method=method,
        outcome=result.outcome,
        target=next(iter(gains + targets), None),
        general=next(iter(means + general), None),
        text=next((finding for finding in findings if finding.unit == BITS), None),
        target_alone=bool(targets) and all(finding.outcome in ("pass", "reported") for finding in targets),
        seconds=result.cost.training_seconds,
        peak_bytes=result.cost.peak_gpu_bytes or result.cost.peak_resident_bytes,
        trainable_parameters=result.cost.trainable_parameters,
    )


def comparison_table(
    rows: Sequence[ComparisonRow], style: Literal["terminal", "markdown"] = "terminal"
) -> str:
    """The comparison as aligned text of at most 110 columns, or as a GitHub table."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    if style == "markdown":
        lines = [
            f"| {' | '.join((cell(row[0], 60) if number else row[0], *row[1:]))} |"
            for number, row in enumerate(cells)
        ]
        return "\n".join([lines[0], "|:--|" + "--:|" * 6 + ":--|", *lines[1:]]) + "\n"
    shown = [(one_line(row[0], 24), *row[1:]) for row in cells]
    widths = [max(columns(row[index]) for row in shown) for index in range(len(HEADINGS))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in shown]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]]) + "\n"


def comparison_sentence(rows: Sequence[ComparisonRow]) -> str:
    """What happened, in one line of plain words; its end says what the target alone would have done."""
    named = {one_line(row.method, 40): row for row in rows}
    words = []
    for outcome in ("pass", "fail", "undecided", "error"):
        group = {name: row for name, row in named.items() if row.outcome == outcome}
        if group:
            words.append(_group_words(outcome, group))
    fooled = [name for name, row in named.items() if row.outcome == "fail" and row.target_alone]
    if fooled:
        words.append(f"judged on the target alone, {_listed(fooled)} would have been merged")
    return "; ".join(words) + "."


def _group_words(outcome: str, group: dict[str, ComparisonRow]) -> str:
    if outcome == "error":
        return f"{_listed(list(group))} could not be measured"
    verb = {"pass": "may merge", "fail": "is blocked", "undecided": "is undecided"}[outcome]
    return " and ".join(f"{name} {verb} ({_summary(row)})" for name, row in group.items())


def _summary(row: ComparisonRow) -> str:
    parts = []
    if row.target:
        parts.append(f"target {_change(row.target, with_noise=False)}")
    if row.general:
        parts.append(f"general {_change(row.general)}{_noise(row.general)}")
    if row.text and row.text.base:
        parts.append(f"bits per byte {percent(row.text.difference / row.text.base)}")
    return ", ".join(parts) or LABELS[row.outcome]


def _change(finding: Finding, *, with_noise: bool = True) -> str:
    scale = scale_of(finding.unit)
    noise = f" {spread(finding)}" if with_noise else ""
    unit = " points" if scale.noun == "points" else ""
    return f"{about(finding)}{scale.change(finding.difference)}{noise}{unit}"


def _noise(finding: Finding) -> str:
    if finding.early:
        return ""
    return ", within noise" if finding.interval.low <= 0 <= finding.interval.high else ""


def _cells(row: ComparisonRow) -> tuple[str, ...]:
    return (
        row.method,
        _change(row.target).removesuffix(" points") if row.target else NOTHING,
        _drop(row.general) if row.general else NOTHING,
        _bits(row.text) if row.text else NOTHING,
        duration(row.seconds) if row.seconds else NOTHING,
        size_of(row.peak_bytes) if row.peak_bytes else NOTHING,
        NOTHING if row.trainable_parameters is None else millions(row.trainable_parameters),
        LABELS.get(row.outcome, row.outcome),
    )


def _drop(finding: Finding) -> str:
    """A drop, positive where it is for the worse."""
    scale = scale_of(finding.unit)
    sign = MINUS if loss(finding) < 0 else ""
    return f"{about(finding)}{sign}{scale.size(finding.difference)} {spread(finding, of_loss=True)}"


def _bits(finding: Finding) -> str:
    share = f" ({percent(finding.difference / finding.base)})" if finding.base else ""
    return f"{scale_of(finding.unit).level(finding.tuned)}{share}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    last = len(row) - 1
    return [
        fit(text, width) if index in (0, last) else " " * (width - columns(text)) + text
        for index, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
