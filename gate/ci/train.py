"""The training job of the two-job form: it trains, hands weights over, and holds no token of GitHub's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gate.ci.check import CiSetting, digest_inputs, failed, find_block, folder_name, options_for, read_config
from gate.ci.handover import Limits, write_handover
from gate.ci.tokens import readable_secrets, refuse_tokens
from gate.errors import FAIL, GateError, Interrupted, UsageError
from gate.records import ChangedConfig, ConfigRun
from gate.shell import Shell

if TYPE_CHECKING:
    from gate.pipeline import CheckOptions
    from gate.records import TunedModel

TRAINED = "trained, not yet measured"


def train_configs(
    changes: Sequence[ChangedConfig],
    setting: CiSetting,
    shell: Shell,
    *,
    handover: Path,
    head: str,
) -> tuple[ConfigRun, ...]:
    """Train each changed config and hand its model over in `handover`; nothing is measured.

    `head` is the commit that is trained. A trained config is `undecided` with exit code 0. Raises
    `UsageError` where a token is in reach, and `Interrupted`; how else a training ends is in its result.
    """
    refuse_tokens(shell.environ, Path())
    if handover.is_dir() and any(handover.iterdir()):
        raise UsageError(f"{handover} is not empty", hint="name a new folder with --handover")
    if len(changes) > Limits().models:
        raise UsageError(
            f"{len(changes)} training configs changed, and a handover holds {Limits().models} models",
            hint="change fewer in one pull request, or name some with --configs",
        )
    for name in readable_secrets(shell.environ):
        shell.warn(f"what is trained can read {name}: a pull request's code runs in this job")
    return tuple(_train_one(change, setting, shell, handover, head) for change in changes)


def _train_one(
    change: ChangedConfig, setting: CiSetting, shell: Shell, handover: Path, head: str
) -> ConfigRun:
    from gate.runfolder import RunFolder

    run = ConfigRun(change, "error", 3, folder_name(change.path), digest_inputs(change, setting))
    RunFolder.forget(setting.run_dir / run.folder)  # an older verdict there was about other inputs
    try:
        config = read_config(change, trains=True)
        block = find_block(change, config, setting)
        if block is not None:
            return replace(run, outcome="fail", exit_code=FAIL, blocked=block.reason, hint=block.hint)
        tuned = train_config(options_for(change, config, setting), shell)
        write_handover(handover, change.path, head, tuned)
    except Interrupted:
        raise
    except GateError as error:
        return failed(run, error, setting, stage="train")
    return replace(run, outcome="undecided", exit_code=0, hint=TRAINED)


def train_config(options: CheckOptions, shell: Shell) -> TunedModel:
    """`ftgate check` up to the proven model. Raises `GateError`; the run's folder then says why."""
    from gate.pipeline import begin, fail, make_plan, tune

    run = begin(options, shell)
    stage = "plan"
    try:
        if run.policy.seeds > 1:
            raise UsageError(
                f"the policy asks for {run.policy.seeds} seeds, and a training job hands over one model",
                hint="recipes of several seeds need the form in which one job trains and measures",
            )
        plan, _ = make_plan(run, shell)
        stage = "train"
        return tune(run, plan, shell)
    except (Exception, KeyboardInterrupt) as error:
        raise fail(run, stage, error, shell) from error
