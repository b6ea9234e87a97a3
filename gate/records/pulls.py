"""A pull request: the event that started the gate, the configs that it changes, and how each run ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gate.records.policy import NOWHERE, Place
from gate.records.verdict import Outcome

EventKind = Literal["pull_request", "merge_group", "push", "dispatch", "workflow_run", "schedule"]
Mode = Literal["check", "train", "judge", "publish", "look"]
Form = Literal["trusted", "two-jobs", "forks"]
ChangeReason = Literal["added", "edited", "renamed", "data", "task", "policy", "named", "all"]


@dataclass(frozen=True, slots=True)
class Event:
    """What GitHub says started this run. Nothing else reads GitHub's environment.

    `head_sha` is the commit to report on, never the merge commit of `GITHUB_SHA`; `base_sha` the commit
    of the base ref, from which policy, tasks and base models come. `pull` is 0 where no pull request is
    known (push, dispatch, a fork's workflow_run until the publish step asks). An empty `base_sha` is to be
    looked up: the tip of `base_ref`.
    """

    kind: EventKind
    repository: str  # OWNER/NAME
    head_sha: str
    base_sha: str
    base_ref: str = ""  # a branch's name, without refs/heads/
    head_ref: str = ""
    head_repository: str = ""  # a fork's OWNER/NAME, else the same as `repository`
    pull: int = 0
    draft: bool = False
    labels: tuple[str, ...] = ()
    action: str = ""  # opened, synchronize, ...
    before_sha: str = ""  # the head before this push, where the event says
    run_id: int = 0
    run_attempt: int = 1
    actor: str = ""
    config: str = ""  # named by a manual dispatch
    conclusion: str = ""  # of the run that a workflow_run follows
    workflow: str = ""  # the running workflow: OWNER/NAME/PATH@REF

    @property
    def from_fork(self) -> bool:
        """Whether the head lies in another repository."""
        return bool(self.head_repository) and self.head_repository != self.repository

    @property
    def trusted_ref(self) -> bool:
        """Whether what runs was already merged, so that the store may believe it about base models.

        A push to a branch that was not merged, and a run that somebody starts on one, are not.
        """
        return self.kind in ("push", "schedule", "dispatch") and self.head_ref == self.base_ref


@dataclass(frozen=True, slots=True)
class ChangedConfig:
    """A training config that a pull request touches, and how. `detail` names the file that changed."""

    path: str  # at the head, relative to the repository
    reason: ChangeReason
    detail: str = ""
    previous_path: str = ""  # of a renamed config


@dataclass(frozen=True, slots=True)
class ProposedRule:
    """A rule that the pull request's own policy has and the base ref's has not."""

    rule: str
    margin: float | None
    target: bool
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """How a pull request changes the policy that the base ref holds it to. Falsy where it does not.

    `lines` says where the rules stand in the head's file: those that are there as on the base ref. None
    where both files are one.
    """

    path: str = ""
    difference: str = ""  # a unified diff, the pull request's own text
    proposed: tuple[ProposedRule, ...] = ()
    files: tuple[str, ...] = ()  # task files and corpora that change with it
    lines: Mapping[str, int] | None = None  # rule -> line

    def __bool__(self) -> bool:
        return bool(self.difference or self.files)


@dataclass(frozen=True, slots=True)
class CarriedReport:
    """What a finished run's own check run says of a config, as Markdown. Falsy where it could not be had."""

    label: str = ""  # how it stood, in the words of its title
    claim: str = ""
    summary: str = ""  # without its heading
    details: str = ""

    def __bool__(self) -> bool:
        return bool(self.summary)


@dataclass(frozen=True, slots=True)
class ConfigRun:
    """How one config's run ended: `folder` is its run's folder, relative to the CI run's."""

    change: ChangedConfig
    outcome: Outcome
    exit_code: int
    folder: str
    inputs: str  # digest of everything that the result depends on
    carried_from: str = ""  # the head whose finished run of the same inputs was taken over
    carried: CarriedReport = CarriedReport()  # what was published there
    blocked: str = ""  # why it may not merge whatever was measured: new targets, an unknown base model
    hint: str = ""
    training: str = ""  # what the training job says that it took; hearsay, no evidence


@dataclass(frozen=True, slots=True)
class CiRun:
    """One run of `ftgate ci`, as `ci.json` in its folder holds it; publishing needs nothing else."""

    event: Event
    mode: Mode
    runs: tuple[ConfigRun, ...] = ()
    policy: PolicyChange = PolicyChange()
    outcome: Outcome = "pass"  # the worst of all
    exit_code: int = 0
    message: str = ""  # in one line, where there is nothing to run
    deleted: tuple[str, ...] = ()  # configs that the pull request deletes
    error: str = ""  # what went wrong before any config ran
    hint: str = ""
    created: str = ""  # ISO 8601, UTC
    trust: str = ""  # which form this ran in, and what a pull request could do to it
