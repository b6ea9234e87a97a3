"""How a config of a pull request stands, in words that tell lost capability from what was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gate.errors import INTERRUPTED, USAGE
from gate.records import CiRun, ConfigRun
from gate.report.quantities import many
from gate.report.rows import Row, severity
from gate.report.view import View

_BADNESS = (3, 130, 2, 1, 4, 0)  # exit codes, the worst first


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to stand: an icon, a label, and what is said of several configs that stand so."""

    icon: str
    label: str
    counted: str


KINDS = {
    "unmeasured": Kind("⚠️", "could not measure", "could not be measured"),
    "interrupted": Kind("⚠️", "interrupted", "did not finish"),
    "config": Kind("⚠️", "config error", "cannot be read"),
    "lost": Kind("❌", "blocked, capability lost", "lost capability"),
    "missed": Kind("❌", "blocked, target missed", "missed the target"),
    "failed": Kind("❌", "blocked", "may not merge"),
    "unjudged": Kind("⛔", "blocked, not judged", "cannot be judged"),
    "undecided": Kind("❔", "undecided", "undecided"),
    "pass": Kind("✅", "may merge", "may merge"),
}

FAILURES = ("lost", "missed", "failed")
"""The keys of a verdict that does not hold."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A config's run with its view (None where nothing of it is at hand) and how it stands."""

    run: ConfigRun
    view: View | None
    key: str

    @property
    def kind(self) -> Kind:
        return KINDS[self.key]

    @property
    def path(self) -> str:
        return self.run.change.path

    @property
    def rows(self) -> tuple[Row, ...]:
        """The findings, the worst first."""
        rows = self.view.rows if self.view else ()
        return tuple(sorted(rows, key=lambda row: severity(row.finding)))


def standing(run: ConfigRun, view: View | None) -> Standing:
    """How one config stands. A verdict that contradicts its run's outcome does not soften it."""
    return Standing(run, view, _key(run, view))


def standings(run: CiRun, views: Mapping[str, View]) -> tuple[Standing, ...]:
    """Every changed config, the worst first."""
    found = [standing(config, views.get(config.change.path)) for config in run.runs]
    return tuple(sorted(found, key=_order))


def overall(run: CiRun) -> Kind:
    """How the whole run stands, by its exit code."""
    if run.outcome == "pass":
        return KINDS["pass"]
    if run.outcome == "error":
        return KINDS[_error(run.exit_code)]
    return KINDS["undecided" if run.outcome == "undecided" else "failed"]


def counted(found: Sequence[Standing]) -> str:
    """`1 of 3 configs lost capability, 2 may merge`."""
    groups = [(kind, sum(one.key == key for one in found)) for key, kind in KINDS.items()]
    said = [f"{number:,}{{}} {kind.counted}" for kind, number in groups if number]
    of = (
        f" of {many(len(found), 'config')}"
        if len(said) > 1
        else f" {'config' if len(found) == 1 else 'configs'}"
    )
    return ", ".join([said[0].format(of), *(words.format("") for words in said[1:])])


def _key(run: ConfigRun, view: View | None) -> str:
    if run.outcome == "error":
        return _error(run.exit_code)
    if run.blocked:
        return "unjudged"
    if run.outcome != "fail":
        return run.outcome
    if view is None:
        said = (key for key in FAILURES if KINDS[key].label == run.carried.label)
        return next(said, "failed")
    broken = [row.finding.kind for row in view.rows if row.outcome == "fail"]
    if not broken:
        return "failed"
    return "missed" if all(kind == "target" for kind in broken) else "lost"


def _error(exit_code: int) -> str:
    return {USAGE: "config", INTERRUPTED: "interrupted"}.get(exit_code, "unmeasured")


def _order(found: Standing) -> tuple[int, tuple[int, float, float], str]:
    code = found.run.exit_code
    bad = _BADNESS.index(code) if code in _BADNESS else 0
    worst = min((severity(row.finding) for row in found.rows), default=(0, 0.0, 0.0))
    return bad, worst, found.path
