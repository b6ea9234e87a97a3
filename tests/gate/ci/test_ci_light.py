"""`ftgate ci` where nothing changed: the installed command, within seconds, and nothing heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from scratch import CONFIG, Scratch, environment, pull_payload

HEAVY = ("torch", "transformers", "lm_eval", "trl", "peft", "datasets", "accelerate", "github3")
PROGRAM = """
import sys
from gate.cli import cli, run
code = run(lambda: cli.main(sys.argv[1:], standalone_mode=False), debug=True)
print("loaded:", [name for name in {heavy!r} if name in sys.modules])
sys.exit(code)
"""


def ci(
    scratch: Scratch, folder: Path, payload: object, *arguments: str, **variables: str
) -> tuple[int, str, float]:
    """`ftgate ci` as a process in the repository: exit code, what it said, seconds."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM.format(heavy=HEAVY), "ci", *arguments],
        cwd=scratch.path,
        env={
            **environment(folder, "pull_request", payload, **variables),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - started


@pytest.mark.parametrize("files", [{"README.md": "more\n"}, {"configs/lora.yaml": CONFIG}])
def test_nothing_changed_within_seconds_and_light(tmp_path: Path, files: dict[str, str | None]) -> None:
    """Green, in one line, without torch, lm-eval and their kin."""
    scratch = Scratch(tmp_path / "repo")
    payload = pull_payload(scratch, scratch.commit(files))
    code, said, seconds = ci(scratch, tmp_path / "runner", payload)
    assert code == 0, said
    assert "no training config changed: nothing to measure" in said
    assert "loaded: []" in said
    assert seconds < 20  # some two on an idle machine


def test_a_draft_is_light_too(tmp_path: Path) -> None:
    """Waiting needs no models either."""
    scratch = Scratch(tmp_path / "repo")
    head = scratch.commit({"configs/new.yaml": CONFIG})
    code, said, _ = ci(scratch, tmp_path / "runner", pull_payload(scratch, head, draft=True))
    assert code == 1, said
    assert "draft: not measured yet" in said
    assert "loaded: []" in said


def test_errors_are_told_in_words(tmp_path: Path) -> None:
    """A wrong checkout: exit code 2, an annotation, the summary, and no traceback."""
    scratch = Scratch(tmp_path / "repo")
    head = scratch.commit({"README.md": "more\n"})
    scratch.commit({"README.md": "and more\n"})
    code, said, _ = ci(scratch, tmp_path / "runner", pull_payload(scratch, head))
    assert code == 2
    assert "::error title=ftgate::the checkout is of" in said
    assert "Traceback" not in said
    assert "the checkout is of" in (tmp_path / "runner/summary").read_text()


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_RUNTIME_TOKEN"])
def test_a_training_job_refuses_to_run_with_a_token(tmp_path: Path, name: str) -> None:
    """It is not enough to withhold it: what trains could read it elsewhere."""
    scratch = Scratch(tmp_path / "repo")
    payload = pull_payload(scratch, scratch.commit({"README.md": "more\n"}))
    code, said, _ = ci(scratch, tmp_path / "runner", payload, "--mode", "train", **{name: "hidden-token"})
    assert code == 2
    assert name in said
    assert "hidden-token" not in said


def test_hostile_names_are_no_commands(tmp_path: Path) -> None:
    """A config's name and content with line breaks and escapes give no workflow command and no colour."""
    scratch = Scratch(tmp_path / "repo")
    name = "configs/a\n::add-mask::x\x1b[31m.yaml"
    payload = pull_payload(scratch, scratch.commit({name: CONFIG}))
    code, said, _ = ci(scratch, tmp_path / "runner", payload)
    assert code == 2
    assert not [line for line in said.splitlines() if line.strip().startswith("::add-mask")]
    assert "\x1b" not in said
