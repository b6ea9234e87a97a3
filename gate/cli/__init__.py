"""The command line: click commands, exit codes, error printing. Nothing heavy at the top.

Each command is one stage or a straight line of stages; the work is done behind a late import so
that `ftgate --help` answers at once. The commands lie in this package's modules, `COMMANDS` lists them.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import click

from gate import __version__
from gate.ci.commands import ci, publish
from gate.cli.checking import calibrate, check, plan
from gate.cli.ending import print_error, run
from gate.cli.history import audit, history
from gate.cli.judged import judge, keep, promote, report, verify
from gate.cli.starting import demo, doctor, init

__all__ = ["cli", "main", "print_error", "run"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ftgate")
@click.option("-v", "--verbose", count=True, help="Say more (the libraries' own messages too).")
@click.option("-q", "--quiet", is_flag=True, help="Say only the verdict and errors.")
@click.pass_context
def cli(context: click.Context, verbose: int, quiet: bool) -> None:
    """The merge gate for fine-tuned language models.

    Runs a fine-tune from its training config, measures what the model learned and what it forgot,
    and holds that against thresholds.yaml.

    Exit codes: 0 pass, 1 the gate says no, 2 usage, config or data error, 3 infrastructure error,
    4 undecided, 130 interrupted.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0" and context.invoked_subcommand != "check":
        raise click.UsageError(
            "under torchrun and accelerate only `check` shares its work; run this one alone"
        )
    context.obj = {"verbose": verbose, "quiet": quiet}


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(ftgate completion bash)"."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is None:  # pragma: no cover - the choice above names only click's own
        raise click.UsageError(f"no completion for {shell}")
    click.echo(script(cli, {}, "ftgate", "_FTGATE_COMPLETE").source())


COMMANDS: tuple[click.Command, ...] = (
    check,
    plan,
    calibrate,
    judge,
    report,
    verify,
    promote,
    keep,
    history,
    audit,
    demo,
    init,
    doctor,
    ci,
    publish,
)
for command in COMMANDS:
    cli.add_command(command)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _terminate)
    debug = os.environ.get("FTGATE_DEBUG", "") not in ("", "0")
    sys.exit(run(lambda: cli.main(prog_name="ftgate", standalone_mode=False), debug=debug))
