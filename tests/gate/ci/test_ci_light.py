"""`ftgate ci` where nothing is trained or measured: within seconds, and with a few small packages alone."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from fake_github import Identity, State, serve
from scratch import CONFIG, Scratch, StubCheck, environment, outputs_in, pull_payload, run_in

ROOT = Path(__file__).parents[3]
# Not to be imported, and whether it is installed makes no difference: all that scripts/small.txt leaves out.
PROGRAM = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ModuleNotFoundError(f"not installed here: {{name}}", name=name)
sys.meta_path.insert(0, Refused())
from gate.cli import cli, run
code = run(lambda: cli.main(sys.argv[1:], standalone_mode=False), debug=True)
print("loaded:", [name for name in {asked!r} if name in sys.modules])
sys.exit(code)
"""


def names(lines: Iterable[str]) -> set[str]:
    """The packages that requirements name."""
    found = (re.match(r"[A-Za-z0-9_.-]+", line) for line in lines)
    return {match[0].lower().replace("_", "-") for match in found if match}


def left_out() -> set[str]:
    """The top-level modules of ftgate's dependencies that are not in scripts/small.txt."""
    small = names((ROOT / "scripts/small.txt").read_text().splitlines())
    needed = names(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    assert small < needed
    modules = packages_distributions()
    return {name for name, owners in modules.items() if names(owners) & (needed - small)}


def ci(
    scratch: Scratch, folder: Path, payload: object, *arguments: str, **variables: str
) -> tuple[int, str, float]:
    """`ftgate ci` as a process in the repository: exit code, what it said, seconds."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM.format(heavy=left_out(), asked=["github3"]), "ci", *arguments],
        cwd=scratch.path,
        env={
            **environment(folder, "pull_request", payload, **variables),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - started


@pytest.mark.parametrize("files", [{"README.md": "more\n"}, {"configs/lora.yaml": CONFIG}])
def test_nothing_changed_within_seconds_and_light(tmp_path: Path, files: dict[str, str | None]) -> None:
    """Green, in one line, without torch, lm-eval and their kin, or GitHub's library."""
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


@pytest.mark.parametrize(
    ("files", "draft", "said"),
    [
        ({"README.md": "more\n"}, False, "no"),
        ({"configs/new.yaml": CONFIG}, False, "yes"),
        ({"configs/new.yaml": CONFIG}, True, "no"),
    ],
)
def test_whether_anything_is_to_be_measured_is_known_before_torch_is(
    files: dict[str, str | None], draft: bool, said: str, tmp_path: Path
) -> None:
    """For the action, which installs the rest only then; for each mode, and nothing is told GitHub."""
    scratch = Scratch(tmp_path / "repo")
    payload = pull_payload(scratch, scratch.commit(files), draft=draft)
    for mode in ("check", "train", "judge"):
        folder = tmp_path / mode
        code, printed, _ = ci(scratch, folder, payload, "--needed", "--mode", mode)
        assert (code, outputs_in(folder / "output")) == (0, {"measures": said}), printed
        assert not (scratch.path / "ftgate-run").exists()


@pytest.mark.parametrize(("gain", "code"), [(0.2, 0), (0.0, 1)])
def test_a_verdict_is_published_with_small_packages(gain: float, code: int, tmp_path: Path) -> None:
    """A whole report of another job, over HTTP: check runs and comment; and one that broke off."""
    scratch = Scratch(tmp_path / "repo")
    head = scratch.commit({"configs/lora.yaml": CONFIG.replace("1.0e-3", "2.0e-3")})
    payload, folder = pull_payload(scratch, head), tmp_path / "runner"
    run_in(scratch, "pull_request", payload, stub=StubCheck({"configs/lora.yaml": gain}), folder=folder)
    broken = tmp_path / "broken"
    broken.mkdir()
    state = State("acme/tunes")
    state.open_pull(7, head, scratch.base)
    grants = {"checks": "write", "pull_requests": "write", "contents": "read"}
    with serve(state, {"t": Identity(permissions=grants)}) as server:
        access = {"GITHUB_TOKEN": "t", "GITHUB_API_URL": server.url}
        for place, expected in ((folder / "run", code), (broken, 3)):
            asked = ("--mode", "publish", "--run-dir", str(place))
            ended, said, _ = ci(scratch, folder, payload, *asked, **access)
            assert ended == expected, said
            assert "not installed here" not in said
    titles = [check.title for check in state.checks.values() if check.name == "ftgate: configs/lora.yaml"]
    assert titles
    (comment,) = state.comments.values()
    assert "left no result" in comment.body


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
