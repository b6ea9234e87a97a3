"""`slices:` of a general task: what its parts are, and how much each of them may lose."""

from __future__ import annotations

from dataclasses import dataclass

from gate.policy.fields import Section
from gate.records import Place, Slices

SLICES_KEYS = ("by", "max_drop", "min_documents")
EXAMPLE = "for example `slices: {by: subject, max_drop: 0.10}`"


@dataclass(frozen=True, slots=True)
class SlicesRule:
    """A task's parts and their margin, in the metric's own unit."""

    slices: Slices
    margin: float
    place: Place


def read_slices(entry: Section) -> SlicesRule | None:
    """The `slices` of a task's entry; None where there are none, or none that are sound."""
    if "slices" not in entry.data:
        return None
    section = entry.section("slices", entry.data["slices"])
    if section is None:
        return None
    section.only(SLICES_KEYS)
    for key in ("by", "max_drop"):
        if key not in section.data:
            section.complain(None, f"needs `{key}`", EXAMPLE)
    by, margin = section.word("by"), section.number("max_drop", 0.0)
    least = section.whole("min_documents", 1)
    if by is None or margin is None:
        return None
    slices = Slices(by) if least is None else Slices(by, least)
    return SlicesRule(slices, margin, section.place("max_drop"))
