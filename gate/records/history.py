"""What is remembered of each verdict on the default branch: small, so that a repository can keep hundreds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gate.records.verdict import FindingOutcome

Judged = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True, slots=True)
class PastRule:
    """One rule's number in a verdict: tuned's value for min_score, else the difference; and its interval."""

    rule: str
    unit: str
    higher_is_better: bool
    value: float
    low: float
    high: float
    margin: float | None
    outcome: FindingOutcome
    early: bool = False  # an estimate: not every document was scored


@dataclass(frozen=True, slots=True)
class PastTask:
    """How many of a task's documents changed from right to wrong or back."""

    task: str  # TaskSpec.id
    changed: int
    documents: int


@dataclass(frozen=True, slots=True)
class Audit:
    """A verdict that was made early, held against the one of all documents.

    `settled` rules were claimed early; those in `differing` came out otherwise. `error` is what the policy
    states: at most that share of verdicts differs.
    """

    early: Judged
    full: Judged
    settled: int
    differing: tuple[str, ...]
    error: float

    @property
    def agrees(self) -> bool:
        """Whether the verdicts are the same; a single rule may still have come out otherwise."""
        return self.early == self.full


@dataclass(frozen=True, slots=True)
class PastVerdict:
    """One verdict on the default branch. With an `audit`, it is the full verdict that the audit came to."""

    created: str  # ISO 8601
    commit: str
    config: str  # the training config's path; without one, the tuned model's name
    outcome: Judged
    rules: tuple[PastRule, ...]
    flips: tuple[PastTask, ...]
    documents_scored: int
    documents_planned: int
    seconds: float  # of the whole run, times its devices
    base: str  # digests
    tuned: str
    policy: str
    config_digest: str = ""
    champion: str = ""
    audit: Audit | None = None
