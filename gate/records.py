"""The nouns: what the stages hand to each other. Frozen, typed, standard library only.

    TrainingConfig + Policy -> Plan -> TunedModel -> Measurements -> Verdict -> Report

Units: accuracy is a fraction, text loss is bits per byte, time is seconds, memory is bytes.
`difference` is always tuned minus base in the metric's own unit; a *gain* is a difference for the
better, a *drop* (or *rise*, of a loss) one for the worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["target", "general", "average", "text"]
Bound = Literal["min_gain", "min_score", "max_drop", "max_rise", "report"]
Method = Literal["full", "lora", "qlora"]
FindingOutcome = Literal["pass", "fail", "undecided", "reported"]
Outcome = Literal["pass", "fail", "undecided", "error"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file (from 1); line 0 means the whole file."""

    file: str = ""
    line: int = 0


# ── Policy ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Rule:
    """One bound of the policy. `margin` is None for what is only reported."""

    kind: Kind
    task: str
    bound: Bound
    margin: float | None
    metric: str | None = None
    filter: str | None = None
    place: Place = Place()

    @property
    def id(self) -> str:
        """`kind/task[/metric,filter]/bound`; the metric only where the policy names it."""
        named = ",".join(part for part in (self.metric, self.filter) if part)
        return "/".join(part for part in (self.kind, self.task, named, self.bound) if part)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One thing that the policy asks to measure: an lm-eval task or group, or a text corpus."""

    kind: Kind
    task: str
    path: str | None = None  # a task YAML, or the corpus file
    num_fewshot: int | None = None
    limit: int | None = None
    metric: str | None = None
    filter: str | None = None
    chat_template: Literal["auto", "none", "base", "tuned"] = "auto"
    system_instruction: str | None = None
    text_field: str = "text"  # the column of a text corpus
    place: Place = Place()

    @property
    def id(self) -> str:
        """`kind/task`, unique in a policy."""
        return f"{self.kind}/{self.task}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How both models are measured."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    chat_template: Literal["auto", "none", "base"] = "auto"
    quantization: Literal["none", "match_training"] = "none"
    scorer: Literal["auto", "hf"] = "auto"
    batch_size: int = 16
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Trust:
    """What the policy allows that could run foreign code or show a secret to a child."""

    remote_code: bool = False
    generated_code: bool = False
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """`thresholds.yaml`, checked. `digest` is of the file's bytes."""

    rules: tuple[Rule, ...]
    tasks: tuple[TaskSpec, ...]
    confidence: float = 0.95
    decide: Literal["full"] = "full"
    include: tuple[str, ...] = ()
    evaluation: Evaluation = Evaluation()
    trust: Trust = Trust()
    path: str = ""
    digest: str = ""


# ── Training ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Override:
    """A setting of the training config that the gate had to change, and why."""

    key: str
    was: Scalar
    now: Scalar
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training data as the config names it: a local path or a hub name."""

    name: str
    config: str | None = None
    split: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A training config of any trainer, in one vocabulary. `settings` are the file's own keys."""

    trainer: str  # trl, later axolotl, llamafactory, command
    method: Method
    base_model: str
    base_revision: str | None
    datasets: tuple[Dataset, ...]
    settings: Mapping[str, object]
    lines: Mapping[str, int]  # key -> line of the file
    path: str = ""
    digest: str = ""  # of the file's bytes
    learning_rate: float | None = None
    batch_size: int | None = None  # per device
    gradient_accumulation: int | None = None
    epochs: float | None = None
    max_steps: int | None = None
    quantization_bits: int | None = None
    processes: int = 1
    trust_remote_code: bool = False
    environment: tuple[str, ...] = ()  # names of variables that the config reads or sets
    environment_digest: str = ""  # of the values that it sets; they may be secrets and are not kept
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model folder on disk. `digest` covers weights, tokenizer, chat template and configs."""

    name: str  # as the user wrote it
    path: str
    digest: str
    kind: Literal["full", "adapter"] = "full"
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What a training took; `from_store` when nothing was trained this time."""

    seconds: float
    steps: int
    peak_resident_bytes: int
    peak_gpu_bytes: int | None = None
    tokens_per_second: float | None = None
    final_loss: float | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    from_store: bool = False


@dataclass(frozen=True, slots=True)
class TunedModel:
    """A proven model or adapter, and what it took. `training` is None for `--tuned`."""

    model: ModelRef
    training: TrainingCost | None = None


# ── Plan and scoring ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model, text only. Kinds and their fields are lm-eval's.

    loglikelihood: `context`, `continuation`; loglikelihood_rolling: `context` alone;
    generate_until: `context` and `generation` (JSON of lm-eval's generation arguments).
    """

    kind: Literal["loglikelihood", "loglikelihood_rolling", "generate_until"]
    context: str
    continuation: str = ""
    generation: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A model's answer: `logprob` in nats (and `greedy`), or generated `text`."""

    logprob: float | None = None
    greedy: bool | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a task: its number there, its hash, and the requests it asks."""

    number: int
    hash: str
    requests: tuple[Request, ...]
    prompt: str = ""  # for the report
    target: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """The unit of scoring and storing: some documents of one task, put together at random."""

    task: str  # TaskSpec.id
    leaf: str
    index: int
    documents: tuple[int, ...]  # positions in the leaf's documents


@dataclass(frozen=True, slots=True)
class BlockResult:
    """One model's answers to one block: per document its responses and its metric values.

    `values` maps "metric,filter" to a number per document (in the block's order); `items` does so
    for corpus-level metrics, each item a JSON text as lm-eval aggregates it.
    """

    numbers: tuple[int, ...]
    hashes: tuple[str, ...]
    responses: tuple[tuple[Response, ...], ...]
    values: Mapping[str, tuple[float, ...]]
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Leaf:
    """One lm-eval task without subtasks: what it has and what of it is scored."""

    name: str
    documents_total: int
    documents_planned: int
    weight: float = 1.0  # share of this leaf in its group's value; they add up to 1


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A `TaskSpec` after its metric was resolved and its documents were counted."""

    task: str  # TaskSpec.id
    check: str
    metric: str
    filter: str
    unit: str
    higher_is_better: bool
    leaves: tuple[Leaf, ...]
    num_fewshot: int | None = None
    chat_template: str = "none"  # what was applied: none, base, tuned
    metric_reason: str = ""  # named by the rule, shipped table, the only one
    digest: str = ""  # of the task's config, code and requests

    @property
    def documents_total(self) -> int:
        return sum(leaf.documents_total for leaf in self.leaves)

    @property
    def documents_planned(self) -> int:
        return sum(leaf.documents_planned for leaf in self.leaves)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run: the policy resolved against tasks, base and training config."""

    policy: Policy
    base: ModelRef
    tasks: tuple[TaskInfo, ...]
    config: TrainingConfig | None = None
    tuned: ModelRef | None = None  # `--tuned`
    warnings: tuple[str, ...] = ()


# ── Measurements ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Measurement:
    """Paired raw data of one leaf: the same documents, in the same order, for both models.

    `aggregation` says how documents become the metric's value: `mean` of the values; `ratio`, the
    sum of the values over the sum of `weights` (bits over bytes); `corpus`, a number that lm-eval
    computes over all documents, with paired bootstrap `replicates` of (base, tuned).
    """

    task: str  # TaskSpec.id
    leaf: str
    check: str
    metric: str
    filter: str
    unit: str
    higher_is_better: bool
    aggregation: Literal["mean", "ratio", "corpus"]
    numbers: tuple[int, ...]
    hashes: tuple[str, ...]
    base: tuple[float, ...]
    tuned: tuple[float, ...]
    documents_total: int
    weights: tuple[float, ...] | None = None
    corpus: tuple[float, float] | None = None
    replicates: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Flip:
    """A document that one model had right and the other wrong, for the report."""

    task: str
    leaf: str
    number: int
    prompt: str
    target: str
    base_answer: str
    tuned_answer: str
    fell: bool  # base right, tuned wrong


@dataclass(frozen=True, slots=True)
class Measurements:
    """All that was measured of a tuned model against its base, and what had been planned."""

    base: ModelRef
    tuned: ModelRef
    tasks: tuple[TaskInfo, ...]
    measurements: tuple[Measurement, ...]
    flips: tuple[Flip, ...] = ()


# ── Verdict ──────────────────────────────────────────────────────────────────────────────────────


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
    place: Place = Place()


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
