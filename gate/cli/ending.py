"""How a command ends: its exit code, and an error as a person wants to read it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from gate.errors import INFRASTRUCTURE, ConfigErrors, GateError, Interrupted


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
