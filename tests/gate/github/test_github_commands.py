"""What is said to GitHub's runner, read back by the runner's own rules."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import StoreError
from gate.github.api import Annotation
from gate.github.commands import (
    SUMMARY_LIMIT,
    add_mask,
    annotate,
    append_summary,
    command,
    stopped_commands,
    write_outputs,
)

HOSTILE = st.text(
    st.sampled_from(list(":,%=\r\n#[]0ADac25 \x1b\u202eé\ud800")) | st.characters(exclude_categories=())
)


def runner_reads(line: str) -> tuple[str, dict[str, str], str]:
    """A command as actions/runner parses it (ActionCommand.TryParseV2): word, properties, message."""
    assert line.startswith("::")
    inside, _, data = line[2:].partition("::")
    word, _, properties = inside.partition(" ")
    pairs = dict(pair.split("=", 1) for pair in properties.split(",") if pair)
    for at in pairs:
        for escape, plain in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            pairs[at] = pairs[at].replace(escape, plain)
    for escape, plain in (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        data = data.replace(escape, plain)
    return word, pairs, data


def test_a_command_as_the_runner_wants_it() -> None:
    """The form that GitHub documents."""
    said = command("error", "lost 6 %\nof gsm8k", file="a,b.yaml", line=3, title="gsm8k: lost")
    assert said == "::error file=a%2Cb.yaml,line=3,title=gsm8k%3A lost::lost 6 %25%0Aof gsm8k"
    assert command("notice", "fine") == "::notice::fine"
    assert annotate(Annotation("a.yaml", 2, "failure", "no", "t")) == "::error file=a.yaml,line=2,title=t::no"


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_text_gets_out_of_a_command(message: str, file: str, title: str) -> None:
    """Whatever the texts, the runner reads one command with just these properties and this message."""
    said = command("warning", message, file=file, line=3, title=title)
    assert len(said.splitlines()) == 1
    assert said.isprintable()
    word, properties, data = runner_reads(said)
    assert word == "warning"
    assert set(properties) == {"line"} | ({"file"} if file else set()) | ({"title"} if title else set())
    assert properties["line"] == "3"
    if message.replace("\n", "").isprintable():
        assert data == message
    if file.isprintable() and file:
        assert properties["file"] == file


def test_a_childs_output_commands_nothing() -> None:
    """Between the two words stands all that a child wrote; the second begins a line of its own."""
    stream = io.StringIO()
    with suppress(RuntimeError), stopped_commands(stream, token=lambda: "0123abcd"):
        stream.write("::add-mask::x\n::resume::\nno newline")
        raise RuntimeError
    assert stream.getvalue() == (
        "::stop-commands::0123abcd\n::add-mask::x\n::resume::\nno newline\n::0123abcd::\n"
    )


def test_the_token_is_another_each_time() -> None:
    """A child that saw the last token cannot end this one's silence."""
    streams = [io.StringIO(), io.StringIO()]
    for stream in streams:
        with stopped_commands(stream):
            pass
    first, second = (stream.getvalue().splitlines()[0] for stream in streams)
    assert first != second
    assert len(first) == len("::stop-commands::") + 32


def test_secrets_are_masked_whole_and_by_line() -> None:
    """A secret of several lines is one command; what is too short to be masked is no command at all."""
    assert add_mask("s3cret%\nof two lines") == "::add-mask::s3cret%25%0Aof two lines"
    assert add_mask("") == add_mask("   a   ") == ""


def runner_outputs(text: str) -> dict[str, str]:
    """The outputs as actions/runner reads the file (FileCommandManager)."""
    lines, found = iter(text.split("\n")), {}
    for line in lines:
        if not line:
            continue
        name, separator, delimiter = line.partition("<<")
        assert separator
        value = []
        while (part := next(lines)) != delimiter:
            value.append(part)
        found[name] = "\n".join(value)
    return found


@given(st.dictionaries(st.sampled_from(["outcome", "run-dir"]), HOSTILE))
def test_outputs_come_back(tmp_path_factory: pytest.TempPathFactory, outputs: dict[str, str]) -> None:
    """Whatever the values, the runner reads just these outputs."""
    path = tmp_path_factory.mktemp("outputs") / "output"
    write_outputs(path, outputs)
    wanted = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in outputs.items()}
    assert runner_outputs(path.read_bytes().decode()) == wanted


def test_a_value_that_holds_the_delimiter_gets_another(tmp_path: Path) -> None:
    """A value that guessed the delimiter sets no second output."""
    tokens = iter(["guessed", "other"])
    value = "x\nftgate_guessed\nverdict-path<<y\nforged\ny"
    write_outputs(tmp_path / "output", {"outcome": value}, token=lambda: next(tokens))
    assert runner_outputs((tmp_path / "output").read_text()) == {"outcome": value}


def test_outputs_begin_on_a_line_of_their_own(tmp_path: Path) -> None:
    """What others left without a newline keeps nothing of ours from being read."""
    path = tmp_path / "output"
    path.write_text("before<<E\n1\nE")
    write_outputs(path, {"outcome": "pass"})
    assert runner_outputs(path.read_text()) == {"before": "1", "outcome": "pass"}


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a<<b", "a=b", "1a"])
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    """Our own names are checked too."""
    with pytest.raises(ValueError, match="not a name"):
        write_outputs(tmp_path / "output", {name: "x"})


def test_the_summary_is_added_to_and_cut_at_a_line(tmp_path: Path) -> None:
    """Bytes count, and those that are there count with them; what goes is said, open folds are closed."""
    path = tmp_path / "summary"
    assert append_summary(path, "# One")
    assert append_summary(path, "# Two\n")
    assert path.read_text() == "# One\n# Two\n"
    assert not append_summary(path, "<details>\n" + "\n".join(["é" * 99] * 10_000))
    text = path.read_text()
    assert SUMMARY_LIMIT - 500 < path.stat().st_size < SUMMARY_LIMIT
    assert text.count("<details>") == text.count("</details>") == 1
    assert "left out" in text.splitlines()[-1]
    assert not append_summary(path, "more\n" * 200)
    assert path.stat().st_size < SUMMARY_LIMIT


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    """The user sees a store error, no traceback."""
    with pytest.raises(StoreError, match="cannot write"):
        write_outputs(tmp_path / "missing" / "output", {"outcome": "pass"})
