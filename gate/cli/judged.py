"""The commands on a run that was measured: `judge`, `report`, `verify`, `promote`, `keep`."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli.parameters import RUN, Folder, shell_of


@click.command()
@RUN
@click.option("--thresholds", type=Folder, help="Another policy than the run's own.")
@click.pass_context
def judge(context: click.Context, run: Path, thresholds: Path | None) -> None:
    """Judge a run's stored measurements again; no model, no GPU."""
    from gate.judging import judge_run

    context.exit(judge_run(run, thresholds, shell_of(context)).exit_code)


@click.command()
@RUN
@click.pass_context
def report(context: click.Context, run: Path) -> None:
    """Render a run's report again from its stored verdict."""
    from gate.judging import render_run

    context.exit(render_run(run, shell_of(context)).exit_code)


@click.command()
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
    shell = shell_of(context)
    signer = None if unsigned else find_signer(repo, signer_workflow, source_ref, shell.environ)
    if signer is not None and not (signer.workflow and signer.ref):
        shell.warn("any workflow of the repository may have signed: name --signer-workflow and --source-ref")
    context.exit(verify_model(verdict, model, shell, signer=signer))


@click.command()
@RUN
@click.argument("dest", type=Folder)
@click.option("--seed", type=int, help="Of several trainings, this one  [default: the config's own seed].")
@click.pass_context
def promote(context: click.Context, run: Path, dest: Path, seed: int | None) -> None:
    """Copy the model that passed to DEST: what ships is what was judged."""
    from gate.judging import promote_run

    promote_run(run, dest, shell_of(context), seed)


@click.command()
@RUN
@click.option("--release", is_flag=True, help="Let the model go instead: its files are deleted.")
@click.pass_context
def keep(context: click.Context, run: Path, release: bool) -> None:
    """Keep a run's judged model in the store, or let it go."""
    from gate.judging import keep_run

    keep_run(run, release, shell_of(context))
