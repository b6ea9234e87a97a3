"""The nouns: what the stages hand to each other. Frozen, typed, standard library only.

    TrainingConfig + Policy -> Plan -> TunedModel -> Measurements -> Verdict -> Report

Units: accuracy is a fraction, text loss is bits per byte, time is seconds, memory is bytes.
`difference` is always tuned minus base in the metric's own unit; a *gain* is a difference for the
better, a *drop* (or *rise*, of a loss) one for the worse.
"""

from __future__ import annotations

from gate.records.measurements import Flip, Measurement, Measurements
from gate.records.plan import Block, BlockResult, Document, Leaf, Plan, Request, Response, TaskInfo
from gate.records.policy import (
    Bound,
    Decide,
    Evaluation,
    Kind,
    Place,
    Policy,
    PullRequestPolicy,
    Rule,
    TaskSpec,
    Trust,
    Waiver,
)
from gate.records.pulls import (
    ChangedConfig,
    ChangeReason,
    CiRun,
    ConfigRun,
    Event,
    EventKind,
    Mode,
    PolicyChange,
    ProposedRule,
)
from gate.records.training import (
    Dataset,
    Method,
    ModelRef,
    Override,
    Scalar,
    TrainingConfig,
    TrainingCost,
    TunedModel,
)
from gate.records.verdict import (
    ConfigRef,
    Cost,
    Finding,
    FindingOutcome,
    Interval,
    Outcome,
    Provenance,
    RunError,
    RunFacts,
)

__all__ = [
    "Block",
    "BlockResult",
    "Bound",
    "ChangeReason",
    "ChangedConfig",
    "CiRun",
    "ConfigRef",
    "ConfigRun",
    "Cost",
    "Dataset",
    "Decide",
    "Document",
    "Evaluation",
    "Event",
    "EventKind",
    "Finding",
    "FindingOutcome",
    "Flip",
    "Interval",
    "Kind",
    "Leaf",
    "Measurement",
    "Measurements",
    "Method",
    "Mode",
    "ModelRef",
    "Outcome",
    "Override",
    "Place",
    "Plan",
    "Policy",
    "PolicyChange",
    "ProposedRule",
    "Provenance",
    "PullRequestPolicy",
    "Request",
    "Response",
    "Rule",
    "RunError",
    "RunFacts",
    "Scalar",
    "TaskInfo",
    "TaskSpec",
    "TrainingConfig",
    "TrainingCost",
    "Trust",
    "TunedModel",
    "Waiver",
]
