"""The commands that one starts with: `demo`, `init`, `doctor`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from gate.cli.parameters import Folder, shell_of


@click.command()
@click.argument("folder", type=Folder, default=Path("ftgate-demo"))
@click.pass_context
def demo(context: click.Context, folder: Path) -> None:
    """Run the whole job on an embedded model: full, LoRA and QLoRA; offline, CPU."""
    from gate.demo.run import run_demo

    run_demo(folder, shell_of(context))


@click.command()
@click.argument("folder", type=Folder, default=Path())
@click.option("--github", is_flag=True, help="Write GitHub workflows too; what exists is left as it is.")
@click.option(
    "--form",
    type=click.Choice(["trusted", "two-jobs", "forks"]),
    help="Whose pull requests these are for  [default: two-jobs where the judge's machine is clean].",
)
@click.option(
    "--runs-on", multiple=True, metavar="LABEL", help="The runner that trains  [default: ubuntu-24.04]."
)
@click.option("--judge-on", multiple=True, metavar="LABEL", help="The runner that measures, if another.")
@click.option("--ephemeral", is_flag=True, help="These runners serve one job each and are thrown away.")
@click.option(
    "--container", metavar="IMAGE@sha256:DIGEST", help="Train in this container; the judge never is in one."
)
@click.option("--private", is_flag=True, help="The repository is private: the training job may read it.")
@click.option("--schedule", is_flag=True, help="Measure the default branch again every week.")
@click.option("--action", metavar="OWNER/ftgate@COMMIT", help="Which ftgate  [default: the installed one's].")
@click.pass_context
def init(context: click.Context, /, folder: Path, github: bool, **wishes: Any) -> None:
    """Write a commented thresholds.yaml that fits the training configs found in FOLDER."""
    from gate.initialise import write_github, write_thresholds

    if not github and any(wishes.values()):
        raise click.UsageError("--form, --runs-on, ... say what --github is to write")
    message = write_github(folder, **wishes) if github else write_thresholds(folder).message
    shell_of(context).say(message)


@click.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """What is installed, which device, what would not work and how to mend it."""
    from gate.doctor import examine

    diagnosis = examine(os.environ)
    shell_of(context).say(diagnosis.text)
    context.exit(diagnosis.exit_code)
