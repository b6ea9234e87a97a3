"""The command line: click commands, exit codes, error printing. Nothing heavy at the top.

Each command is one stage or a straight line of stages; the work is done behind a late import so
that `ftgate --help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from gate import __version__
from gate.ci.commands import ci, publish
from gate.devices import DEVICES
from gate.errors import INFRASTRUCTURE, ConfigErrors, GateError, Interrupted

Folder = click.Path(path_type=Path)
RUN = click.argument("run", type=Folder)
THRESHOLDS = click.option(
    "--thresholds",
    type=Folder,
    default=Path("thresholds.yaml"),
    show_default=True,
    help="The policy: what must be gained, what may be lost.",
)


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
    context.obj = {"verbose": verbose, "quiet": quiet}


def _shell(context: click.Context) -> Any:
    from gate.shell import Shell

    return Shell.of_process(**context.obj)


@cli.command()
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
@click.pass_context
def check(context: click.Context, /, **options: Any) -> None:
    """Train, measure, judge and report a fine-tune.

    CONFIG is the training config as the team has it (a TRL sft YAML). With --tuned and --base it
    may be left out.
    """
    from gate.pipeline import CheckOptions, check_config

    outcome = check_config(CheckOptions.of(**options), _shell(context))
    context.exit(outcome.exit_code)


@cli.command()
@click.argument("config", type=Folder, required=False)
@THRESHOLDS
@click.option("--device", type=click.Choice(tuple(DEVICES)), help="Estimate time and money on this device.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def plan(context: click.Context, /, **options: Any) -> None:
    """Say what the policy can see and what a check would cost, before anything runs.

    No model and no GPU. For every rule: its documents, the drop that it sees, how often it blocks a
    model that lost nothing. With CONFIG also the time of its training.
    """
    from gate.planning import PlanOptions, plan_config

    plan_config(PlanOptions(**options), _shell(context))


@cli.command()
@RUN
@click.option("--thresholds", type=Folder, help="Another policy than the run's own.")
@click.pass_context
def judge(context: click.Context, run: Path, thresholds: Path | None) -> None:
    """Judge a run's stored measurements again; no model, no GPU."""
    from gate.judging import judge_run

    context.exit(judge_run(run, thresholds, _shell(context)).exit_code)


@cli.command()
@RUN
@click.pass_context
def report(context: click.Context, run: Path) -> None:
    """Render a run's report again from its stored verdict."""
    from gate.judging import render_run

    context.exit(render_run(run, _shell(context)).exit_code)


@cli.command()
@click.argument("verdict", type=Folder)
@click.argument("model", type=Folder)
@click.option("--repo", metavar="OWNER/NAME", help="Who must have signed  [default: GITHUB_REPOSITORY].")
@click.option("--signer-workflow", metavar="FILE", help="With which .github/workflows/FILE.yml.")
@click.option("--source-ref", metavar="REF", help="On which ref, e.g. refs/heads/main.")
@click.option("--unsigned", is_flag=True, help="Ask for no signature: a verdict of this machine's own.")
@click.pass_context
def verify(
    context: click.Context,
    /,
    verdict: Path,
    model: Path,
    repo: str | None,
    signer_workflow: str | None,
    source_ref: str | None,
    unsigned: bool,
) -> None:
    """Is MODEL the one that passed? For a deploy step: exit 0 yes, 1 no.

    VERDICT is a verdict.json or a run's folder. It must carry the repository's attestation, which GitHub's
    own command, `gh`, checks. Without --signer-workflow and --source-ref any workflow of the repository,
    on any branch, may have signed.
    """
    from gate.judging import verify_model
    from gate.signature import find_signer

    if unsigned and (repo or signer_workflow or source_ref):
        raise click.UsageError("--unsigned asks for no signature, the other options say whose")
    shell = _shell(context)
    signer = None if unsigned else find_signer(repo, signer_workflow, source_ref, shell.environ)
    if signer is not None and not (signer.workflow and signer.ref):
        shell.warn("any workflow of the repository may have signed: name --signer-workflow and --source-ref")
    context.exit(verify_model(verdict, model, shell, signer=signer))


@cli.command()
@RUN
@click.argument("dest", type=Folder)
@click.pass_context
def promote(context: click.Context, run: Path, dest: Path) -> None:
    """Copy the model that passed to DEST: what ships is what was judged."""
    from gate.judging import promote_run

    promote_run(run, dest, _shell(context))


@cli.command()
@RUN
@click.option("--release", is_flag=True, help="Let the model go instead: its files are deleted.")
@click.pass_context
def keep(context: click.Context, run: Path, release: bool) -> None:
    """Keep a run's judged model in the store, or let it go."""
    from gate.judging import keep_run

    keep_run(run, release, _shell(context))


@cli.command()
@click.argument("folder", type=Folder, default=Path("ftgate-demo"))
@click.pass_context
def demo(context: click.Context, folder: Path) -> None:
    """Run the whole job on an embedded model: full, LoRA and QLoRA; offline, CPU."""
    from gate.demo.run import run_demo

    run_demo(folder, _shell(context))


@cli.command()
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
    _shell(context).say(message)


@cli.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """What is installed, which device, what would not work and how to mend it."""
    from gate.doctor import examine

    diagnosis = examine(os.environ)
    _shell(context).say(diagnosis.text)
    context.exit(diagnosis.exit_code)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(ftgate completion bash)"."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is None:  # pragma: no cover - the choice above names only click's own
        raise click.UsageError(f"no completion for {shell}")
    click.echo(script(cli, {}, "ftgate", "_FTGATE_COMPLETE").source())


cli.add_command(ci)
cli.add_command(publish)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def print_error(error: GateError) -> None:
    """Write a `GateError` to stderr as a person wants to read it: what, where, what to do."""
    from gate.report.text import quiet  # what a config says is no command to a CI service's runner

    if isinstance(error, ConfigErrors):
        for problem in error.problems:
            click.secho("error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(quiet(str(problem)), err=True)
    else:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(quiet(error.message), err=True)
    if error.hint:
        click.echo(quiet(f"  to mend it: {error.hint}"), err=True)


def run(command: Callable[[], Any], *, debug: bool) -> int:
    """Call `command` and turn however it ends into ftgate's exit code, in this one place."""
    try:
        result = command()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort, Interrupted) as end:
        if isinstance(end.__cause__, EOFError):  # click calls both the end of a file and Ctrl-C an Abort
            return unexpected(end.__cause__, debug)
        click.echo("interrupted: what was computed is kept; the same command goes on from there", err=True)
        return Interrupted.exit_code
    except GateError as error:
        if debug:
            traceback.print_exc()
        print_error(error)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INFRASTRUCTURE
    except Exception as error:
        return unexpected(error, debug)
    return result if isinstance(result, int) else 0


def unexpected(error: BaseException, debug: bool) -> int:
    """Tell of an error that ftgate has no words for: never a traceback, unless asked for."""
    if debug:
        traceback.print_exception(error)
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(f"unexpected {type(error).__name__}: {error}", err=True)
    click.echo("  this is a defect of ftgate; FTGATE_DEBUG=1 shows the traceback to report", err=True)
    return INFRASTRUCTURE


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _terminate)
    debug = os.environ.get("FTGATE_DEBUG", "") not in ("", "0")
    sys.exit(run(lambda: cli.main(prog_name="ftgate", standalone_mode=False), debug=debug))


if __name__ == "__main__":
    main()
