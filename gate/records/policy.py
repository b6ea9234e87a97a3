"""What a team asks for: rules, what to measure, how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["target", "general", "average", "text"]
Bound = Literal["min_gain", "min_score", "max_drop", "max_rise", "report"]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file (from 1); line 0 means the whole file."""

    file: str = ""
    line: int = 0


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Rule:
    """One bound of the policy. `margin` is None for what is only reported."""

    kind: Kind
    task: str
    bound: Bound
    margin: float | None
    metric: str | None = None
    filter: str | None = None
    place: Place = NOWHERE

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
    decide: Literal["full"] = "full"
    include: tuple[str, ...] = ()
    evaluation: Evaluation = Evaluation()
    trust: Trust = Trust()
    pull_request: PullRequestPolicy = PullRequestPolicy()
    path: str = ""
    digest: str = ""
