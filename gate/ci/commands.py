"""The commands `ci` and `publish`; like the others, each loads what it needs when it is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

PLACE = click.Path(path_type=Path)


@click.command()
@click.option(
    "--mode",
    type=click.Choice(["check", "train", "judge", "publish", "look"]),
    default="check",
    show_default=True,
    help="All of it, or one part for jobs that trust each other less.",
)
@click.option(
    "--configs", multiple=True, metavar="GLOB", help="Only these training configs; may be repeated."
)
@click.option(
    "--thresholds",
    type=PLACE,
    default=Path("thresholds.yaml"),
    show_default=True,
    help="The policy, from the repository's root; it is read at the base ref.",
)
@click.option(
    "--run-dir",
    type=PLACE,
    default=Path("ftgate-run"),
    show_default=True,
    help="Where the results go, or come from.",
)
@click.option(
    "--handover",
    type=PLACE,
    default=Path("ftgate-handover"),
    show_default=True,
    help="Where `train` leaves the tuned models and `judge` finds them.",
)
@click.option(
    "--comment",
    type=click.Choice(["always", "on-failure", "never"]),
    default="always",
    show_default=True,
    help="When to comment on the pull request.",
)
@click.option(
    "--fail-on-undecided/--no-fail-on-undecided",
    default=True,
    show_default=True,
    help="Whether an undecided verdict fails the job.",
)
@click.option(
    "--train-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="End each training cleanly after this long.",
)
@click.option(
    "--history",
    type=PLACE,
    metavar="DIR",
    help="Earlier verdicts, a folder or branch:NAME; a push to the default branch adds to the folder  "
    "[default: .ftgate/history].",
)
@click.option(
    "--audit", is_flag=True, help="After an early verdict on what is merged score the rest too, and compare."
)
@click.option("--needed", is_flag=True, help="Only say whether anything is to be trained or measured.")
@click.pass_context
def ci(context: click.Context, /, train_timeout: float | None, needed: bool, **options: Any) -> None:
    """In GitHub Actions: check every training config that the event changes, and tell GitHub.

    Reads the event of the workflow's run. Policy, tasks and base model come from the base ref. Works in
    the checkout of the head, with its whole history. The token is GITHUB_TOKEN, and no child gets it.
    """
    from gate.ci.secrets import withhold

    if options["mode"] == "train":
        from gate.ci.tokens import refuse_tokens

        refuse_tokens(os.environ, Path())  # not later: what was there at the start stays in /proc
    token = withhold()
    from gate.ci.needed import say_needed
    from gate.ci.plan import CiOptions
    from gate.ci.run import run_ci
    from gate.shell import Shell

    seconds = None if train_timeout is None else train_timeout * 60.0
    asked, shell = CiOptions(train_timeout=seconds, **options), Shell.of_process(**context.obj)
    context.exit(say_needed(asked, shell) if needed else run_ci(asked, token, shell))


@click.command()
@click.argument("run", type=PLACE)
@click.option("--repo", metavar="OWNER/NAME", default="", help="The repository  [default: the run's].")
@click.option("--pull", type=click.IntRange(min=1), metavar="NUMBER", help="The pull request.")
@click.option(
    "--sha", default="", metavar="COMMIT", help="The commit that was trained  [default: the run's]."
)
@click.pass_context
def publish(context: click.Context, run: Path, repo: str, pull: int | None, sha: str) -> None:
    """Post a finished verdict on its pull request: from any machine, as often as you like.

    RUN is the folder of `ftgate ci`, or of one `ftgate check`. The token is GITHUB_TOKEN.
    """
    from gate.ci.secrets import withhold

    token = withhold()
    from gate.ci.finished import Target, publish_run
    from gate.shell import Shell

    context.exit(publish_run(run, Target(repo, pull or 0, sha), token, Shell.of_process(**context.obj)))
