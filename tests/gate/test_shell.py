"""gate.shell: what is said on a terminal, and in a CI service's log."""

from __future__ import annotations

import pytest

from gate.cli import print_error
from gate.errors import ConfigErrors, Problem, UsageError
from gate.shell import Shell

COMMAND = "a key ##[set-output name=outcome;]pass\n::add-mask::e"


def test_no_warning_or_error_is_a_command_to_a_runner(capsys: pytest.CaptureFixture[str]) -> None:
    """GitHub's runner looks for `##[` anywhere in a line, and for `::` where one begins."""
    Shell.of_process().warn(COMMAND)
    print_error(UsageError(COMMAND, hint=COMMAND))
    print_error(ConfigErrors([Problem("a.yaml", COMMAND)]))
    said = capsys.readouterr().err
    assert said.count("set-output") == 4
    assert "##[" not in said
    assert not any(line.lstrip().startswith("::") for line in said.splitlines())
