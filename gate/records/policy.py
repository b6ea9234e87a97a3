"""What a team asks for: rules, what to measure, how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["target", "general", "average", "text"]
Bound = Literal["min_gain", "min_score", "max_drop", "max_rise", "report"]
Decide = Literal["full", "score", "proven"]
Reference = Literal["base", "champion"]

# How a bound against the champion is called, in policies and in rules' ids.
CHAMPION_BOUNDS: dict[Bound, str] = {
    "min_gain": "min_gain_over_champion",
    "max_drop": "max_drop_from_champion",
    "max_rise": "max_rise_from_champion",
}


def bound_name(bound: Bound, reference: str = "base") -> str:
    """A bound's word in policies and rules' ids: it says so where it is held against the champion."""
    return CHAMPION_BOUNDS.get(bound, bound) if reference == "champion" else bound


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
class Slices:
    """The parts of a task that a rule holds one by one.

    `by` is `subtask` (lm-eval's leaves of a group), `length` (quarters of the documents by the length of
    their prompts in characters), or the name of a field of the documents.
    """

    by: str
    min_documents: int = 50  # smaller parts are judged together

    def pooled(self, sizes: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
        """The slices that are judged, each as the names of the parts in it: those with enough documents
        alone, by name, and last all smaller ones together; where these are too few, the next smallest joins.

        It looks at sizes alone, so no result guides the choice. Parts without documents are left out.
        """
        order = sorted((name for name, size in sizes.items() if size), key=lambda name: (sizes[name], name))
        small = [name for name in order if sizes[name] < self.min_documents]
        while small and sum(sizes[name] for name in small) < self.min_documents and len(small) < len(order):
            small.append(order[len(small)])
        alone = sorted(set(order) - set(small))
        return tuple((name,) for name in alone) + ((tuple(sorted(small)),) if small else ())


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
    slices: Slices | None = None  # the rule holds for each part of the task
    reference: Reference = "base"  # what the tuned model is compared with

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
        """`kind/task[/metric,filter][/slices:BY]/bound`; the metric only where the policy names it."""
        named = ",".join(part for part in (self.metric, self.filter) if part)
        parts = f"slices:{self.slices.by}" if self.slices else ""
        return "/".join(part for part in (self.kind, self.task, named, parts, self.bound_name) if part)

    @property
    def bound_name(self) -> str:
        """The bound's word in the policy."""
        return bound_name(self.bound, self.reference)


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
    slice_by: str | None = None  # what the parts are that a rule holds one by one: see `Slices`
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
    scorer: Literal["auto", "tree", "hf", "vllm"] = "auto"
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
class Champion:
    """What the champion rules compare with: a run's folder, else a model.

    `model` is a folder, a name on the hub (at `revision`), or the digest of one that the store keeps.
    """

    run: str = ""
    model: str = ""
    revision: str | None = None

    @property
    def name(self) -> str:
        """As the policy says it."""
        return self.run or self.model


@dataclass(frozen=True, slots=True)
class Policy:
    """`thresholds.yaml`, checked. `digest` is of the file's bytes."""

    rules: tuple[Rule, ...]
    tasks: tuple[TaskSpec, ...]
    confidence: float = 0.95
    decide: Decide = "score"
    on_fail: Literal["complete", "stop"] = "complete"
    fail_budget: float = 0.5  # share of all documents that may follow the first certain fail
    include: tuple[str, ...] = ()
    evaluation: Evaluation = Evaluation()
    trust: Trust = Trust()
    pull_request: PullRequestPolicy = PullRequestPolicy()
    prices: tuple[tuple[str, float], ...] = ()  # of an hour of a device, by its name
    seeds: int = 1  # trainings of a config, each with another seed; their mean is judged
    champion: Champion | None = None
    path: str = ""
    digest: str = ""
