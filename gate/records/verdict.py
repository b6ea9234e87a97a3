"""Findings, and what a verdict names beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gate.records.policy import NOWHERE, Bound, Place, Waiver
from gate.records.rates import FlipRate
from gate.records.training import Override

FindingOutcome = Literal["pass", "fail", "undecided", "reported"]
Outcome = Literal["pass", "fail", "undecided", "error"]


@dataclass(frozen=True, slots=True)
class Interval:
    """`about` "benchmark": remaining uncertainty of the full benchmark's own number, zero-width
    when all of it was scored; "population": benchmark noise, about the documents' population."""

    low: float
    high: float
    level: float
    about: Literal["benchmark", "population"]
    method: str
    simultaneous: bool = False


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """A rule's own number (tuned's value for min_score, else the difference), or a slice's, in each training
    of a recipe, in the seeds' order, and the standard deviation between them; `measuring` is benchmark noise
    alone."""

    values: tuple[float, ...]
    deviation: float
    measuring: Interval


@dataclass(frozen=True, slots=True)
class SeedRun:
    """One training of a recipe: its seed, the digest of its model, its own verdict and that one's folder."""

    seed: int
    digest: str
    outcome: Outcome
    folder: str  # relative to the recipe's run folder


@dataclass(frozen=True, slots=True)
class Slice:
    """One part of a task as a rule found it. `interval` is of `difference`, simultaneous over all parts."""

    name: str
    documents: int
    base: float
    tuned: float
    difference: float
    interval: Interval
    fell: int
    rose: int
    outcome: FindingOutcome
    pooled: int = 0  # how many parts, each too small alone, are judged together as this one
    proven: bool | None = None  # whether the population's drop is proven; None where no proof is asked for
    seeds: SeedSpread | None = None  # of a recipe; its numbers are then means over the seeds


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's estimate and outcome. `interval` is of `difference`, or of `tuned` for min_score."""

    rule: str
    kind: str
    check: str
    task: str
    metric: str
    filter: str
    unit: str
    bound: Bound
    base: float
    tuned: float
    difference: float
    interval: Interval
    margin: float | None
    outcome: FindingOutcome
    documents_scored: int
    documents_total: int
    higher_is_better: bool = True
    remaining: Interval | None = None  # about the benchmark; None where every document was scored
    reference: str = "base"
    fell: int = 0  # documents that got worse, better, stayed
    rose: int = 0
    unchanged: int = 0
    note: str = ""
    place: Place = NOWHERE
    waiver: Waiver | None = None  # whose margin `margin` is; a skipped rule keeps its own and is "reported"
    documents_planned: int = 0  # what the outcome is about; 0: those that were scored
    proven: bool | None = None  # whether the population's drop is proven; None where no proof is asked for
    seeds: SeedSpread | None = None  # of a recipe; its numbers are then means over the seeds
    sliced_by: str = ""  # of a rule over the parts of a task: what they are by
    slices: tuple[Slice, ...] = ()  # all of them, the worst first, whose numbers are the finding's own

    @property
    def early(self) -> bool:
        """Whether fewer documents were scored than the outcome is about."""
        return self.documents_scored < self.documents_planned


@dataclass(frozen=True, slots=True)
class ConfigRef:
    """The training config that a verdict is about."""

    path: str
    digest: str
    method: str
    trainer: str
    base_model: str
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """Time and memory of a run, and what the store saved."""

    training_seconds: float = 0.0
    measuring_seconds: float = 0.0
    total_seconds: float = 0.0
    devices: int = 1
    peak_resident_bytes: int = 0
    peak_gpu_bytes: int | None = None
    blocks_scored: int = 0
    blocks_from_store: int = 0
    training_from_store: bool = False
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    training_steps: int | None = None
    tokens_per_second: float | None = None  # of the training


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where, when and with what a verdict was made."""

    ftgate: str
    created: str  # ISO 8601, UTC
    policy_path: str
    policy_digest: str
    device: str
    dtype: str
    scorer: str
    quantization: str
    batch_size: int
    salt_digest: str
    versions: Mapping[str, str]
    platform: str = ""
    warnings: tuple[str, ...] = ()
    order_digest: str = ""  # of the order in which documents were drawn; "" where all were scored
    flip_rates: tuple[FlipRate, ...] = ()  # of each task: what was expected beside what was seen
    scorer_reason: str = ""  # why `scorer` answered in the place of a faster one; "" where none was wanted
    salt_made: bool = False  # the salt is this run's own: without its store another run draws another order


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run has no verdict."""

    code: str
    stage: str
    message: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's folder says beside measurements and policy, so that it can be judged again."""

    config: ConfigRef | None
    cost: Cost
    provenance: Provenance
    tuned_path: str = ""
    base_digest: str = ""  # of the base that was planned
    seed: int | None = None  # of a training that is one of a recipe's: alone it lets nothing through
    trainings: int = 1  # how many the recipe has that it is one of
