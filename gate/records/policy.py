"""What a team asks for: rules, what to measure, how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["target", "general", "average", "text"]
Bound = Literal["min_gain", "min_score", "max_drop", "max_rise", "report"]
Decide = Literal["full", "score", "proven"]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file (from 1); line 0 means the whole file."""

    file: str = ""
    line: int = 0


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Waiver:
    """An exception to one rule: another margin, or none at all (`margin` is None: the rule is skipped).

    `own_margin` is the rule's, which holds again after `until` (an ISO date, its last day, UTC).
    """

    rule: str
    margin: float | None
    own_margin: float
    reason: str
    until: str
    place: Place = NOWHERE

    @property
    def skips(self) -> bool:
        return self.margin is None

    @property
    def shown_margin(self) -> float:
        """What stands beside the rule's numbers: the margin given, or of a skipped rule its own."""
        return self.own_margin if self.margin is None else self.margin


@dataclass(frozen=True, slots=True)
class Rule:
    """One bound of the policy. `margin` is None for what is only reported; a waiver's where there is one."""

    kind: Kind
    task: str
    bound: Bound
    margin: float | None
    metric: str | None = None
    filter: str | None = None
    place: Place = NOWHERE
    waiver: Waiver | None = None

    @property
    def skipped(self) -> bool:
        """Whether a waiver takes the rule out: it is measured and shown, and not judged."""
        return self.waiver is not None and self.waiver.skips

    @property
    def judges(self) -> bool:
        """Whether the rule can fail."""
        return self.margin is not None and not self.skipped

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
    cluster_by: str | None = None  # the documents' field that says which belong together, for `proven`
    place: Place = NOWHERE

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
class PullRequestPolicy:
    """How the gate treats pull requests; read from the base ref, like everything of a policy.

    `bases` are base models, NAME or NAME@REVISION, that a pull request may switch to; `configs` are
    globs that narrow which files are training configs; `template` is the folder with a team's blocks.
    """

    when: Literal["ready", "label", "every-push"] = "ready"
    label: str = "ftgate"
    new_targets: Literal["block", "allow"] = "block"
    bases: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    template: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """`thresholds.yaml`, checked. `digest` is of the file's bytes."""

    rules: tuple[Rule, ...]
    tasks: tuple[TaskSpec, ...]
    confidence: float = 0.95
    decide: Decide = "full"
    on_fail: Literal["complete", "stop"] = "complete"
    fail_budget: float = 0.5  # share of all documents that may follow the first certain fail
    include: tuple[str, ...] = ()
    evaluation: Evaluation = Evaluation()
    trust: Trust = Trust()
    pull_request: PullRequestPolicy = PullRequestPolicy()
    prices: tuple[tuple[str, float], ...] = ()  # of an hour of a device, by its name
    path: str = ""
    digest: str = ""
