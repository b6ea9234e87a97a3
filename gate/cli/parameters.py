"""What several commands take, and the shell that each works in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

Folder = click.Path(path_type=Path)
RUN = click.argument("run", type=Folder)
THRESHOLDS = click.option(
    "--thresholds",
    type=Folder,
    default=Path("thresholds.yaml"),
    show_default=True,
    help="The policy: what must be gained, what may be lost.",
)


def shell_of(context: click.Context) -> Any:
    """The process's `gate.shell.Shell`, as loud as the command line asks."""
    from gate.shell import Shell

    return Shell.of_process(**context.obj)
