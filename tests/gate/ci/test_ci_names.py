"""Texts that no file can be called: they are no path, and no reason to fall over."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gate.ci.announce import _reaches_outside
from gate.ci.check import _untracked, base_folder, inside_path
from gate.ci.names import may_be_path
from gate.ci.refs import in_checkout

BAD = (
    "\ud83d",
    "~\ud83d",
    "/\ud83d/x",
    "../\udfff",
    "a\0b",
    "~a\0b",
    "/a\0b",
    "x" * 256,
    "/" + "x" * 256,
    "~" + "x" * 300,
    "é" * 128,
    "/x" * 2048,
)


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:16])
def test_what_no_file_can_be_called_is_no_path(text: str, tmp_path: Path) -> None:
    """Such a text stays as it is, is no base model's folder and no untracked file; nothing is raised."""
    setting = cast("Any", SimpleNamespace(base_tree=tmp_path, head_files={}, links={}))
    assert not may_be_path(text)
    assert in_checkout(text, Path()) == text
    assert inside_path(text) is None
    assert base_folder(text, setting) is None
    assert _untracked(frozenset((text,)), setting) == []
    assert _reaches_outside((text,), setting) == text.startswith(("/", "~", ".."))


@pytest.mark.parametrize(
    "text",
    ["a", "~nobody-of-this-name/x", "caf\udce9.yaml", "x" * 255, "/é", ""],
    ids=lambda text: ascii(text)[:16],
)
def test_what_a_file_can_be_called(text: str, tmp_path: Path) -> None:
    """Unknown users and bytes that are no UTF-8 are paths, which need not exist."""
    setting = cast("Any", SimpleNamespace(base_tree=tmp_path, head_files={}, links={}))
    assert may_be_path(text)
    in_checkout(text, Path())
    _reaches_outside((text,), setting)
