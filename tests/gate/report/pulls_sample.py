"""Pull requests for the report's tests: several configs, every way to stand, and one dressed in a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType

from gate.history import past_of
from gate.records import (
    CarriedReport,
    ChangedConfig,
    CiRun,
    ConfigRun,
    Event,
    Outcome,
    Place,
    PolicyChange,
    ProposedRule,
    RunError,
    TrainingConfig,
)
from gate.records.history import PastVerdict
from gate.report import PullContext, View, make_view, with_trends
from gate.verdict import Failure, Verdict

HEAD = "4be1d2a90c7f3358c6b1a0f5d7e2964b8c03f1da"
EVENT = Event("pull_request", "acme/assistant", HEAD, "0" * 40, base_ref="main", pull=42, run_id=7)
TRUST = "Measured on a clean machine from weights alone (docs/security.md)."
AT = "https://github.com/acme/assistant/actions/runs/7"
CODES = {"pass": 0, "fail": 1, "undecided": 4, "error": 3}


def config_run(path: str, outcome: Outcome, **more: object) -> ConfigRun:
    values: dict[str, object] = {"exit_code": CODES[outcome], "folder": "f", "inputs": "i"}
    return ConfigRun(ChangedConfig(path, "edited"), outcome, **(values | more))  # type: ignore[arg-type]


def ci_run(*runs: ConfigRun, **more: object) -> CiRun:
    """A run of these configs; its outcome is the worst one's."""
    order = (3, 130, 2, 1, 4, 0)
    worst = min(runs, key=lambda run: order.index(run.exit_code), default=None)
    values: dict[str, object] = {"trust": TRUST}
    if worst:
        values |= {"outcome": worst.outcome, "exit_code": worst.exit_code}
    return CiRun(EVENT, "check", runs, **(values | more))  # type: ignore[arg-type]


def config_error(sample: ModuleType) -> Failure:
    message = "configs/typo.yaml:12: lora_r: is negative\nconfigs/typo.yaml:14: max_steps: is not a number"
    return replace(
        sample.failure(), error=RunError("config_errors", "plan", message), exit_code=2, hint="mend the lines"
    )


def every_way(sample: ModuleType) -> tuple[CiRun, Mapping[str, View]]:
    """A pull request with one config of each standing."""
    missed = sample.verdict(sample.finding("target/banking77/min_gain", 0.13, 0.14, 0.05, 0.01))
    results: dict[str, tuple[Verdict | Failure, Outcome]] = {
        "configs/lora.yaml": (sample.passing(), "pass"),
        "configs/full.yaml": (sample.blocked(), "fail"),
        "configs/missed.yaml": (missed, "fail"),
        "configs/near.yaml": (sample.undecided(), "undecided"),
        "configs/memory.yaml": (sample.failure(), "error"),
        "configs/typo.yaml": (config_error(sample), "error"),
    }
    views = {path: view_of(sample, result) for path, (result, _) in results.items()}
    codes = {"configs/typo.yaml": {"exit_code": 2}}
    runs = [config_run(path, outcome, **codes.get(path, {})) for path, (_, outcome) in results.items()]
    runs.append(
        config_run(
            "configs/new.yaml",
            "fail",
            blocked="its policy brings new target rules",
            hint="1. merge the task and its rule\n2. merge the config",
        )
    )
    runs.append(config_run("configs/carried.yaml", "pass", carried_from="a" * 40))
    policy = PolicyChange(
        "thresholds.yaml",
        "--- a/thresholds.yaml\n+++ b/thresholds.yaml\n-  max_drop: 0.05\n+  max_drop: 0.50",
        (ProposedRule("target/new_task/min_gain", 0.1, True, Place("thresholds.yaml", 9)),),
        ("tasks/new_task.yaml",),
    )
    return ci_run(*runs, policy=policy, deleted=("configs/old.yaml",)), views


def view_of(sample: ModuleType, result: Verdict | Failure) -> View:
    """With three earlier verdicts on the same config."""
    return with_trends(make_view(result, sample.FLIPS, sample.TASKS), past(result))


def past(result: Verdict | Failure) -> tuple[PastVerdict, ...]:
    """Earlier verdicts with the same rules, each a little higher; none of a failure."""
    if isinstance(result, Failure):
        return ()
    now = past_of(result)
    return tuple(
        replace(
            now,
            created=f"2026-11-0{number}T04:00:00+00:00",
            rules=tuple(replace(rule, value=rule.value + number / 1000) for rule in now.rules),
        )
        for number in range(1, 4)
    )


def context(**more: object) -> PullContext:
    values: dict[str, object] = {
        "url": AT,
        "artifact_url": f"{AT}/artifacts/1",
        "policy_path": "thresholds.yaml",
    }
    return PullContext(**(values | more))  # type: ignore[arg-type]


def training_config(**lines: int) -> TrainingConfig:
    return TrainingConfig("trl", "full", "base", None, (), {}, lines, "configs/full.yaml")


def dressed_pull(sample: ModuleType, word: str) -> tuple[CiRun, dict[str, View], PullContext]:
    """A pull request with `word` wherever text comes from a model, data, a config, a branch or a file."""
    dressed = sample.dressed(word)
    views = {
        f"{word}1": with_trends(
            make_view(dressed, sample.dressed_flips(word), sample.dressed_tasks(word)), past(dressed)
        ),
        f"{word}2": make_view(sample.dressed_failure(word), (), ()),
    }
    runs = (
        config_run(f"{word}1", "fail", carried_from=word, training=f"x{word}"),
        config_run(f"{word}2", "error", hint=word),
        config_run(f"{word}3", "fail", blocked=f"x{word}", hint=f"x{word}"),
        config_run(f"{word}4", "error", exit_code=2, hint=f"x{word}"),
        config_run(f"{word}5", "pass", carried_from=word, carried=CarriedReport(word, f"x{word}")),
    )
    policy = PolicyChange(word, f"x{word}", (ProposedRule(word, 0.1, True, Place(word, 1)),), (word, word))
    more = {
        "policy": policy,
        "deleted": (word, word),
        "error": f"x{word}",
        "hint": f"x{word}",
        "trust": f"x{word}",
    }
    run = ci_run(*runs, **more)
    run = replace(
        run, message=word, event=replace(run.event, base_ref=f"x{word}", head_ref=word, head_sha=word)
    )
    rows = views[f"{word}1"].rows
    previous = {f"{word}1": {row.finding.rule: row.finding.difference - 0.1 for row in rows}}
    return run, views, PullContext(f"x{word}", f"x{word}", previous, 1.0, word)
