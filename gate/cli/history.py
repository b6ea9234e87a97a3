"""The commands on verdicts over time: `history`, `history record`, `audit`."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli.parameters import RUN, Folder, shell_of

FOLDER = click.option(
    "--folder", type=Folder, help="Where the verdicts lie  [default: .ftgate/history].", metavar="DIR"
)
COMMIT = click.option(
    "--commit", default="", envvar="GITHUB_SHA", metavar="SHA", help="What was judged  [default: GITHUB_SHA]."
)


@click.group(invoke_without_command=True)
@click.option("--config", metavar="NAME", help="Only verdicts on this training config.")
@FOLDER
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def history(context: click.Context, config: str | None, folder: Path | None, as_json: bool) -> None:
    """Show the verdicts on the default branch over time, the oldest first."""
    if context.invoked_subcommand is None:
        from gate.recording import show_history

        show_history(folder, config, as_json, shell_of(context))


@history.command()
@RUN
@FOLDER
@COMMIT
@click.pass_context
def record(context: click.Context, run: Path, folder: Path | None, commit: str) -> None:
    """Add a run's verdict to the history: a small file, for a repository or a branch to keep."""
    from gate.ci.record import read_result
    from gate.recording import record_verdict

    file = run / "verdict.json" if run.is_dir() else run
    shell_of(context).say(str(record_verdict(read_result(file), run, folder, commit)))


@click.command()
@RUN
@click.option("--history", "folder", type=Folder, metavar="DIR", help="Keep the outcome with these verdicts.")
@COMMIT
@click.pass_context
def audit(context: click.Context, run: Path, folder: Path | None, commit: str) -> None:
    """Score what a run that was decided early left out, and compare. Exit 0: the full verdict is the same.

    Works where the run was made: with its models, its policy and its tasks. What was scored is not scored
    again.
    """
    from gate.audit import audit_run

    context.exit(audit_run(run, folder, commit, shell_of(context)))
