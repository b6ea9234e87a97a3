"""The commands that look at a fine-tune, and at what can be seen of one: `check`, `plan`, `calibrate`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from gate.cli.parameters import THRESHOLDS, Folder, shell_of
from gate.devices import DEVICES


@click.command()
@click.argument("config", type=Folder, required=False)
@THRESHOLDS
@click.option("--tuned", type=Folder, help="Judge this model or adapter; train nothing.")
@click.option(
    "--run-dir", type=Folder, help="Where the run's folder goes  [default: ftgate-runs/CONFIG-DIGEST]."
)
@click.option("--base", help="Base model: a folder or a hub name; else what the config names.")
@click.option(
    "--train-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="End the training cleanly after this long; the next try resumes.",
)
@click.option("--no-cache", is_flag=True, help="Use no stored result; keep this run's in its own folder.")
@click.option(
    "--seeds",
    type=click.IntRange(1, 16),
    metavar="K",
    help="Train K times with other seeds and judge their mean  [default: the policy's].",
)
@click.option(
    "--audit",
    is_flag=True,
    help="After an early verdict score the rest too, compare, and keep that in .ftgate/history.",
)
@click.pass_context
def check(context: click.Context, /, **options: Any) -> None:
    """Train, measure, judge and report a fine-tune.

    CONFIG is the training config as the team has it (a TRL sft YAML). With --tuned and --base it
    may be left out. Under torchrun or accelerate, blocks are scored by all of its processes.
    """
    from gate.audit import audit_check
    from gate.pipeline import CheckOptions, check_config, default_run_dir
    from gate.scoring.following import follow
    from gate.scoring.team import leading

    asked, shell = CheckOptions.of(**options), shell_of(context)
    if follow(shell.environ):
        return
    with leading(shell.environ) as team:
        shell = replace(shell, team=team)
        code = check_config(asked, shell).exit_code
        if asked.audit:
            audited = audit_check(asked.run_dir or default_run_dir(asked), asked, shell)
            code = code or audited
    context.exit(code)


@click.command()
@click.argument("config", type=Folder, required=False)
@THRESHOLDS
@click.option("--device", type=click.Choice(tuple(DEVICES)), help="Estimate time and money on this device.")
@click.option("--base", help="Base model whose flip rates count; else what the config names.")
@click.option(
    "--history",
    type=Folder,
    metavar="DIR",
    help="Earlier verdicts, whose flip rates count: a folder or branch:NAME  [default: .ftgate/history].",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def plan(context: click.Context, /, **options: Any) -> None:
    """Say what the policy can see and what a check would cost, before anything runs.

    No model and no GPU. For every rule: its documents, the drop that it sees, how often it blocks a
    model that lost nothing. With CONFIG also the time of its training.
    """
    from gate.planning import PlanOptions, plan_config

    plan_config(PlanOptions(**options), shell_of(context))


@click.command()
@click.argument("base")
@THRESHOLDS
@click.option(
    "--out", type=Folder, help="Where the proposal goes  [default: NAME.calibrated.yaml beside it]."
)
@click.option("--force", is_flag=True, help="Replace an earlier proposal.")
@click.pass_context
def calibrate(context: click.Context, /, **options: Any) -> None:
    """Measure what noise is on a base model, and propose margins.

    BASE, a folder or a hub name, is scored on the policy's tasks, and again under things that do not
    matter: another size of batches, order, dtype, other examples, weights with a little noise. The proposal
    is a file beside the policy, which itself is never changed. What was scored is kept, and `plan` uses it.
    """
    from gate.calibrate import CalibrateOptions, calibrate_base

    calibrate_base(CalibrateOptions(**options), shell_of(context))
