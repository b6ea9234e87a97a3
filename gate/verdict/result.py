"""What a run ends with: a `Verdict`, which cannot hold what was not measured, or a `Failure`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from gate.errors import FAIL, INFRASTRUCTURE, INTERRUPTED, PASS, UNDECIDED, USAGE, GateError, MeasurementError
from gate.records import (
    Bound,
    ConfigRef,
    Cost,
    Finding,
    FindingOutcome,
    Interval,
    ModelRef,
    Outcome,
    Provenance,
    RunError,
    SeedRun,
    bound_name,
)
from gate.verdict.slice_outcome import fault_of, rule_outcome

# Numbers that differ by less than this, relative to their size, are equal: 0.70 - 0.68 is
# 0.02 + 2e-17 in binary. One document among ten million moves a score by 1e-7.
ROUNDING = 1e-12
SETTLED = 1e-9  # to which the ends of what is left uncertain are computed


def bound_holds(
    bound: Bound, *, base: float, tuned: float, difference: float, margin: float, higher_is_better: bool
) -> bool:
    """Whether a rule's bound is kept; a number equal to the margin keeps it.

    min_gain: the change for the better is at least `margin`; min_score: `tuned` is; max_drop: the
    change for the worse is at most `margin`; max_rise: `difference` is. All in the metric's unit.
    """
    better = difference if higher_is_better else -difference
    slack = ROUNDING * max(abs(base), abs(tuned), abs(margin))
    match bound:
        case "min_gain":
            return better >= margin - slack
        case "min_score":
            return tuned >= margin - slack
        case "max_drop":
            return -better <= margin + slack
        case "max_rise":
            return difference <= margin + slack
        case "report":
            raise ValueError("a rule that only reports has no margin to keep")


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings of a complete run, one a rule, in the policy's order.

    Raises MeasurementError when built from anything that is not complete, finite and consistent:
    no finding, nothing judged, a rule twice, numbers that are not finite, an outcome that its own
    numbers contradict, base and tuned the same model, a champion rule without a champion.

    Of a recipe, `seeds` are its trainings with their own verdicts; `seed` says that this is the verdict of
    one of them, which ships nothing by itself.
    """

    findings: tuple[Finding, ...]
    base: ModelRef
    tuned: ModelRef
    config: ConfigRef | None
    cost: Cost
    provenance: Provenance
    seeds: tuple[SeedRun, ...] = ()
    seed: int | None = None
    champion: ModelRef | None = None  # what rules against the champion compare with

    def __post_init__(self) -> None:
        check_models(self.base, self.tuned)
        for finding in self.findings:
            _check_finding(finding)
            if finding.reference != "base" and self.champion is None:
                raise _broken(finding, "is held against a champion, and there is none")
            spreads = (finding.seeds, *(each.seeds for each in finding.slices))
            if any(each is not None and len(each.values) != len(self.seeds) for each in spreads):
                raise _broken(finding, "has another number of trainings than its verdict")
        if not any(finding.outcome != "reported" for finding in self.findings):
            raise MeasurementError("a verdict needs at least one finding that judges something")
        twice = _first_repeated(finding.rule for finding in self.findings)
        if twice is not None:
            raise MeasurementError(f"rule {twice} has two findings in one verdict")

    @property
    def outcome(self) -> Outcome:
        """fail if any finding fails, else undecided if any is, else pass."""
        outcomes = {finding.outcome for finding in self.findings}
        if "fail" in outcomes:
            return "fail"
        return "undecided" if "undecided" in outcomes else "pass"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 4 undecided."""
        return {"pass": PASS, "fail": FAIL, "undecided": UNDECIDED}[self.outcome]


@dataclass(frozen=True, slots=True)
class Failure:
    """A run without a verdict: why, and what had been computed. Its outcome is never a pass."""

    error: RunError
    cost: Cost = field(default_factory=Cost)
    findings: tuple[Finding, ...] = ()
    base: ModelRef | None = None
    tuned: ModelRef | None = None
    config: ConfigRef | None = None
    provenance: Provenance | None = None
    exit_code: int = INFRASTRUCTURE
    hint: str = ""

    def __post_init__(self) -> None:
        if self.exit_code not in (USAGE, INFRASTRUCTURE, INTERRUPTED):
            raise ValueError(f"a failure ends with exit code 2, 3 or 130, not {self.exit_code}")

    @property
    def outcome(self) -> Outcome:
        return "error"

    @classmethod
    def of(cls, error: GateError, stage: str, cost: Cost | None = None) -> Failure:
        """The failure that `error` makes of a run in `stage`."""
        run_error = RunError(code=error.code, stage=stage, message=error.message)
        return cls(error=run_error, cost=cost or Cost(), exit_code=error.exit_code, hint=error.hint)


Result = Verdict | Failure


def exit_code(result: Result) -> int:
    """The process's exit code: 0 pass, 1 fail, 4 undecided, an error's own (2, 3 or 130)."""
    return result.exit_code


def check_models(base: ModelRef, tuned: ModelRef) -> None:
    """Raise MeasurementError unless `base` and `tuned` are two models with known digests."""
    if not base.digest or not tuned.digest:
        raise MeasurementError("a verdict needs the digests of both models")
    if base.digest == tuned.digest:
        raise MeasurementError(
            f"base {base.name} and tuned {tuned.name} are the same files",
            hint="name the model that was trained, not its base",
        )


def _check_finding(finding: Finding) -> None:
    numbers = [finding.base, finding.tuned, finding.difference]
    if finding.margin is not None:
        numbers.append(finding.margin)
    if not all(map(math.isfinite, numbers)):
        raise _broken(finding, "has a number that is not finite")
    size = max(abs(finding.base), abs(finding.tuned))
    if not math.isclose(finding.difference, finding.tuned - finding.base, rel_tol=1e-9, abs_tol=1e-9 * size):
        raise _broken(finding, "has a difference that is not tuned minus base")
    named = bound_name(finding.bound, finding.reference)
    if not (finding.rule.startswith(f"{finding.kind}/") and finding.rule.endswith(f"/{named}")):
        raise _broken(finding, f"is not a {finding.kind} rule about {finding.bound}")
    if fault := fault_of(finding):
        raise _broken(finding, fault)
    for each in finding.slices:
        _check_interval(finding, each.interval, "population", each.difference)
    waiver = finding.waiver
    if waiver and (waiver.rule, waiver.shown_margin) != (finding.rule, finding.margin):
        raise _broken(finding, "has another margin than its waiver gives it")
    _check_documents(finding)
    _check_intervals(finding)
    if finding.outcome not in ("undecided", _recomputed_outcome(finding)):
        raise _broken(finding, f"says {finding.outcome}, which its own numbers contradict")
    if finding.proven is False and finding.outcome == "pass":
        raise _broken(finding, "passes without the proof that its policy asks for")


def _recomputed_outcome(finding: Finding) -> FindingOutcome:
    if (finding.margin is None) != (finding.bound == "report"):
        raise _broken(finding, "has no margin" if finding.margin is None else "reports, yet has a margin")
    if finding.margin is None or (finding.waiver and finding.waiver.skips):
        return "reported"
    if finding.slices:
        return rule_outcome(finding, finding.margin)
    if finding.early:
        return _settled_outcome(finding, finding.margin)
    held = bound_holds(
        finding.bound,
        base=finding.base,
        tuned=finding.tuned,
        difference=finding.difference,
        margin=finding.margin,
        higher_is_better=finding.higher_is_better,
    )
    return "pass" if held else "fail"


def _settled_outcome(finding: Finding, margin: float) -> FindingOutcome:
    """Of a rule whose documents were not all scored: what holds wherever the full benchmark's number lies."""
    remaining = finding.remaining
    if remaining is None or remaining.level < 1 - 2 * (1 - finding.interval.level) - 1e-9:
        return "undecided"
    # Both ends as changes for the better (as scores for min_score), held against the least that is allowed.
    better = (remaining.low, remaining.high)
    if finding.bound == "max_rise" or (finding.bound != "min_score" and not finding.higher_is_better):
        better = (-remaining.high, -remaining.low)
    allowed = margin if finding.bound in ("min_gain", "min_score") else -margin
    if better[0] >= allowed - SETTLED:
        return "pass"
    return "fail" if better[1] <= allowed + SETTLED else "undecided"


def _check_documents(finding: Finding) -> None:
    if not 1 <= finding.documents_scored <= finding.documents_total:
        raise _broken(finding, f"scored {finding.documents_scored} of {finding.documents_total} documents")
    if finding.documents_planned and not (
        finding.documents_scored <= finding.documents_planned <= finding.documents_total
    ):
        raise _broken(finding, f"was planned on {finding.documents_planned} documents")
    counts = (finding.fell, finding.rose, finding.unchanged)
    if min(counts) < 0 or sum(counts) not in (0, finding.documents_scored):
        raise _broken(finding, "counts other documents than it scored")
    if (finding.remaining is None) != (finding.documents_scored == finding.documents_total):
        raise _broken(finding, "must say what is left uncertain if, and only if, documents were left out")


def _check_intervals(finding: Finding) -> None:
    estimate = finding.tuned if finding.bound == "min_score" else finding.difference
    _check_interval(finding, finding.interval, "population", estimate)
    if finding.remaining is not None:
        _check_interval(finding, finding.remaining, "benchmark", estimate)


def _check_interval(finding: Finding, interval: Interval, about: str, estimate: float) -> None:
    if not all(map(math.isfinite, (interval.low, interval.high, interval.level))):
        raise _broken(finding, "has an interval that is not finite")
    if interval.about != about or not 0 < interval.level < 1:
        raise _broken(finding, f"needs an interval about the {about} with a level between 0 and 1")
    slack = 1e-9 * max(1.0, abs(estimate))
    if interval.low > interval.high or not interval.low - slack <= estimate <= interval.high + slack:
        raise _broken(finding, "has an interval that does not hold its own estimate")


def _broken(finding: Finding, fault: str) -> MeasurementError:
    return MeasurementError(f"the finding of {finding.rule} {fault}")


def _first_repeated(words: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for word in words:
        if word in seen:
            return word
        seen.add(word)
    return None
