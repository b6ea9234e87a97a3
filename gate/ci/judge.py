"""The judge job of the two-job form: on a clean machine, weights from a training job are measured as data.

Which configs changed, their policy, tasks and base model come from git's base ref and never from the
handover; what the handover says of itself decides nothing but which model is meant for which config.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gate.ci.check import Check, CiSetting, check_whole, run_config
from gate.ci.handover import Handed, read_handover
from gate.errors import GateError, TrainingError
from gate.records import ChangedConfig, ConfigRun
from gate.shell import Shell

if TYPE_CHECKING:
    from gate.pipeline import CheckOptions
    from gate.verdict import Result


def judge_handover(
    changes: Sequence[ChangedConfig],
    setting: CiSetting,
    shell: Shell,
    *,
    handover: Path,
    head: str,
    temporary: Path | None = None,
    check: Check = check_whole,
) -> tuple[ConfigRun, ...]:
    """Measure and judge the model that was handed over for each changed config of the commit `head`.

    A changed config without one, and every config of a handover that is refused, is an error. The store's
    place is the judge's own: nothing that was measured beside the pull request's code is found there. The
    models are taken to a folder in `temporary`, the system's own by default, which is gone afterwards.
    """
    setting = replace(setting, judged=True)
    with tempfile.TemporaryDirectory(prefix="ftgate-", dir=temporary) as room:
        try:
            handed = {each.config: each for each in read_handover(handover, Path(room) / "taken", head=head)}
        except GateError as error:
            return tuple(_refuse(change, error, setting, shell) for change in changes)
        known = {change.path for change in changes}
        for name in sorted(handed.keys() - known):
            shell.warn(f"the handover has a model for {ascii(name)[:200]}, which did not change: left out")
        return tuple(_judge_one(change, handed.get(change.path), setting, shell, check) for change in changes)


def _judge_one(
    change: ChangedConfig, handed: Handed | None, setting: CiSetting, shell: Shell, check: Check
) -> ConfigRun:
    if handed is None:
        error = TrainingError(
            f"{change.path} was not trained: the handover has no model for it",
            hint="look at the training job's log, and run it again",
        )
        return _refuse(change, error, setting, shell)
    run = run_config(change, setting, shell, tuned=handed.model, check=check)
    return replace(run, training=handed.training)


def _refuse(change: ChangedConfig, error: GateError, setting: CiSetting, shell: Shell) -> ConfigRun:
    """`error` as the config's result, unless it is blocked anyway: then nothing was to be trained."""

    def refuse(options: CheckOptions, shell: Shell) -> Result:
        raise error

    return run_config(change, setting, shell, tuned=Path("not-handed-over"), check=refuse)
