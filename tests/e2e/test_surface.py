"""The command line's surface, frozen: whoever changes it sees here what users' scripts will see."""

from __future__ import annotations

import click
import pytest

from gate.cli import cli, run
from gate.errors import INFRASTRUCTURE, INTERRUPTED

# Command -> its parameters as a user writes them; "*" is a flag without a value, "?" may be left out.
SURFACE = {
    "": ["--version *", "-v --verbose *", "-q --quiet *"],
    "check": [
        "CONFIG ?",
        "--thresholds =thresholds.yaml",
        "--tuned",
        "--run-dir",
        "--base",
        "--train-timeout",
        "--no-cache *",
        "--seeds",
        "--audit *",
    ],
    "plan": ["CONFIG ?", "--thresholds =thresholds.yaml", "--device", "--base", "--history", "--json *"],
    "calibrate": ["BASE", "--thresholds =thresholds.yaml", "--out", "--force *"],
    "judge": ["RUN", "--thresholds"],
    "report": ["RUN"],
    "verify": ["VERDICT", "MODEL", "--repo", "--signer-workflow", "--source-ref", "--unsigned *"],
    "promote": ["RUN", "DEST", "--seed"],
    "keep": ["RUN", "--release *"],
    "history": ["--config", "--folder", "--json *"],
    "history record": ["RUN", "--folder", "--commit ="],
    "audit": ["RUN", "--history", "--commit ="],
    "demo": ["FOLDER =ftgate-demo"],
    "init": [
        "FOLDER =.",
        "--github *",
        "--form",
        "--runs-on",
        "--judge-on",
        "--ephemeral *",
        "--container",
        "--private *",
        "--schedule *",
        "--action",
    ],
    "ci": [
        "--mode =check",
        "--configs",
        "--thresholds =thresholds.yaml",
        "--run-dir =ftgate-run",
        "--handover =ftgate-handover",
        "--comment =always",
        "--fail-on-undecided --no-fail-on-undecided *",
        "--train-timeout",
        "--history",
        "--audit *",
        "--needed *",
    ],
    "publish": ["RUN", "--repo =", "--pull", "--sha ="],
    "doctor": [],
    "completion": ["SHELL bash|zsh|fish"],
}


def written(parameter: click.Parameter) -> str:
    """A parameter as the table above writes it."""
    if isinstance(parameter, click.Argument):
        words = [(parameter.name or "").upper()]
        words += ["|".join(parameter.type.choices)] if isinstance(parameter.type, click.Choice) else []
    else:
        words = [*parameter.opts, *parameter.secondary_opts]
    if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
        return " ".join([*words, "*"])
    default = parameter.to_info_dict()["default"] if not parameter.required else None
    if default is not None:
        words.append(f"={default}")
    elif isinstance(parameter, click.Argument) and not parameter.required:
        words.append("?")
    return " ".join(words)


def all_commands() -> dict[str, click.Command]:
    """The commands by name, those of a group as `GROUP COMMAND`."""
    found = dict(cli.commands)
    for group in (each for each in cli.commands.values() if isinstance(each, click.Group)):
        found |= {f"{group.name} {name}": command for name, command in group.commands.items()}
    return found


def test_commands_and_flags_are_those_that_were_promised() -> None:
    """Every command with its arguments, flags and defaults, as the table says."""
    found = {"": [written(parameter) for parameter in cli.params]}
    for name, command in all_commands().items():
        found[name] = [written(parameter) for parameter in command.params]
    assert found == SURFACE


def test_every_command_and_flag_is_explained() -> None:
    """No command without a help text, no option without one."""
    unexplained = [name for name, command in all_commands().items() if not command.help]
    for name, command in {"": cli, **all_commands()}.items():
        options = [each for each in command.params if isinstance(each, click.Option)]
        unexplained += [f"{name} {option.name}" for option in options if not option.help]
    assert unexplained == []


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), INTERRUPTED, "the same command goes on from there"),
        (EOFError("marshal data too short"), INFRASTRUCTURE, "unexpected EOFError: marshal data too short"),
        (RecursionError("too deep"), INFRASTRUCTURE, "unexpected RecursionError: too deep"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_the_end_of_a_file_is_no_ctrl_c(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """click gives both the same name; ftgate tells them apart, and shows no traceback for either."""

    @click.command()
    def stumble() -> None:
        raise error

    assert run(lambda: stumble.main([], standalone_mode=False), debug=False) == code
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.out + said.err
