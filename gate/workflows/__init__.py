"""What `ftgate init --github` writes: GitHub workflows from templates, in three forms and a schedule."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from gate.errors import StoreError, UsageError
from gate.workflows.container import PYTHON, check_image, job_lines
from gate.workflows.words import what_to_click

Form = Literal["trusted", "two-jobs", "forks"]
FORMS: tuple[Form, ...] = get_args(Form)
FOLDER = ".github/workflows"
TEMPLATES = Path(__file__).parent / "templates"
# Template -> the file that it becomes.
FILES: dict[Form, dict[str, str]] = {
    "trusted": {"trusted.yml": "ftgate.yml"},
    "two-jobs": {"two-jobs.yml": "ftgate.yml"},
    "forks": {"forks-train.yml": "ftgate-train.yml", "forks-judge.yml": "ftgate-judge.yml"},
}
SCHEDULE = {"schedule.yml": "ftgate-schedule.yml"}
# GitHub's own: a new machine for each job.
HOSTED = re.compile(r"ubuntu-(?:latest|\d\d\.04)(?:-arm)?", re.ASCII)
# Labels that GitHub itself gives to runners: they tell no two machines apart.
GIVEN = frozenset(("self-hosted", "linux", "x64", "arm64", "arm"))
DEFAULT_MACHINE = ("ubuntu-24.04",)

_LABEL = re.compile(r"[\w.:/-][\w.:/ -]*")
_ACTION = re.compile(r"[\w.-]+/[\w.-]+@(?:[0-9a-f]{40}|v\d+(?:\.\d+)*)")
_HOLE = re.compile(r"\[\[([a-z-]+)\]\]")
_LINES = re.compile(r"^( *)\[\[([a-z-]+)\]\]\n", re.MULTILINE)
_NO_FORKS = """\
# A skipped job would count as passed: a fork is refused by a step that fails.
- name: A fork's code does not run on this machine
  if: >-
    github.event_name == 'pull_request' &&
    github.event.pull_request.head.repo.full_name != github.repository
  run: |
    echo "::error title=ftgate::this form is for trusted authors; for forks see \
ftgate init --github --form forks"
    exit 1
"""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the workflows are to be. `runs_on` and `judge_on` are labels; `judge_on` is `runs_on` if empty.

    `ephemeral` says that a machine with these labels serves one job and is thrown away. `container` is the
    image, with its digest, that the training's job runs in.
    """

    action: str  # OWNER/ftgate@COMMIT
    form: Form | None = None
    runs_on: tuple[str, ...] = DEFAULT_MACHINE
    judge_on: tuple[str, ...] = ()
    ephemeral: bool = False
    private: bool = False
    schedule: bool = False
    container: str = ""
    extras: tuple[str, ...] = ()  # packages that the configs need beside ftgate's own
    branch: str = "main"
    python: str = "3.11"

    @property
    def chosen(self) -> Form:
        """The form asked for; else two jobs wherever the judge's machine can be clean, else one."""
        if self.form:
            return self.form
        return "two-jobs" if self.clean_judge else "trusted"

    @property
    def fresh(self) -> bool:
        """Whether every job gets a machine of its own."""
        return self.ephemeral or self.hosted

    @property
    def hosted(self) -> bool:
        """Whether what trains is one of GitHub's own machines, without a GPU."""
        return _hosted(self.runs_on)

    @property
    def clean_judge(self) -> bool:
        """Whether the judge runs where no pull request's code ever ran, as far as labels tell.

        A job runs on any runner that has all its labels, whatever their case: where one job's are among the
        other's, one machine may serve both. So may one that has all labels of two sets; that is not seen.
        """
        trains, judges = _own(self.runs_on), _own(self.judge_on)
        apart = not (trains <= judges or judges <= trains)
        return self.fresh or _hosted(self.judge_on) or apart

    @property
    def may_share(self) -> bool:
        """Whether only the labels keep the judge off the machine that trains."""
        return self.chosen == "two-jobs" and not (self.fresh or _hosted(self.judge_on))


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """A workflow: its path in the repository and its text."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The workflows that were written, those that existed and were left, and what to do next."""

    written: tuple[str, ...]
    left: tuple[str, ...]
    message: str


def write_workflows(folder: Path, wishes: Wishes) -> Written:
    """Write the workflows into a repository; one that is there is named and left as it is.

    Raises `UsageError` for wishes that cannot be safe or cannot be written, `StoreError` for a full disk.
    """
    written: list[str] = []
    left: list[str] = []
    for file in workflow_files(wishes):
        (written if _write(folder / file.path, file.text) else left).append(file.path)
    message = "\n".join(
        [
            *[f"wrote {folder / path}" for path in written],
            *[f"left as it is: {folder / path} exists" for path in left],
            *what_to_click(
                wishes.chosen,
                tag="@v" in wishes.action,
                schedule=wishes.schedule,
                container=bool(wishes.container) and not wishes.hosted,
                lives_on=not wishes.container and not wishes.fresh,
                may_share=wishes.may_share,
                no_gpu=wishes.hosted,
                private=wishes.private,
            ),
        ]
    )
    return Written(tuple(written), tuple(left), message)


def workflow_files(wishes: Wishes) -> tuple[WorkflowFile, ...]:
    """The workflows of a form. Raises `UsageError` as `write_workflows` does."""
    _check(wishes)
    templates = {**FILES[wishes.chosen], **(SCHEDULE if wishes.schedule else {})}
    values = {
        "action": wishes.action if "@v" in wishes.action else f"{wishes.action} # ftgate",
        "branch": json.dumps([wishes.branch]),
        "extras": f"extras: {' '.join(wishes.extras)}" if wishes.extras else "",
        "judge-on": _labels(wishes.judge_on or wishes.runs_on),
        "no-forks": "" if wishes.chosen == "two-jobs" and wishes.fresh else _NO_FORKS,
        "python": json.dumps(wishes.python),
        "runs-on": _labels(wishes.runs_on),
        "train-container": job_lines(wishes.container, devices=not wishes.hosted) if wishes.container else "",
        "train-permissions": "{contents: read}" if wishes.private else "{}",
        "train-python": PYTHON if wishes.container else f"python-version: {json.dumps(wishes.python)}",
    }
    return tuple(
        WorkflowFile(f"{FOLDER}/{name}", _filled((TEMPLATES / template).read_text("utf-8"), values))
        for template, name in templates.items()
    )


def _filled(template: str, values: dict[str, str]) -> str:
    """A hole that is a line's all takes lines, indented as it is, or none; any other a few words."""

    def lines(hole: re.Match[str]) -> str:
        return "".join(f"{hole.group(1)}{line}\n" for line in values[hole.group(2)].splitlines())

    return _HOLE.sub(lambda hole: values[hole.group(1)], _LINES.sub(lines, template))


def _labels(labels: Sequence[str]) -> str:
    """In quotes: a bare `null`, `2024.10` or `gpu: a` is no text to YAML."""
    return json.dumps(labels[0] if len(labels) == 1 else list(labels))


def _hosted(labels: Sequence[str]) -> bool:
    return len(labels) == 1 and HOSTED.fullmatch(labels[0]) is not None


def _own(labels: Sequence[str]) -> frozenset[str]:
    """The labels that a team gave its machines, as GitHub compares them."""
    return frozenset(label.casefold() for label in labels) - GIVEN


def _check(wishes: Wishes) -> None:
    if not _ACTION.fullmatch(wishes.action):
        raise UsageError(
            f"--action: expected OWNER/ftgate@COMMIT, got {wishes.action!r}",
            hint="the full commit, 40 hexadecimal digits, of the ftgate release that you trust",
        )
    for label in (*wishes.runs_on, *wishes.judge_on):
        if not _LABEL.fullmatch(label):
            raise UsageError(f"{label!r} is no label of a runner")
    _check_judge(wishes)
    if wishes.container:
        _check_container(wishes)
    for labels in (wishes.runs_on, wishes.judge_on or wishes.runs_on):
        if wishes.chosen == "forks" and not (wishes.ephemeral or _hosted(labels)):
            raise UsageError(
                f"form forks: anybody's code would run, and stay, on {', '.join(labels)}: a fork's own "
                "workflow may name any label",
                hint="use runners that serve one job and are thrown away, and say so with --ephemeral",
            )


def _check_judge(wishes: Wishes) -> None:
    """Raise `UsageError` where two jobs are asked for, or another machine, and one may serve both."""
    asked = wishes.form == "two-jobs" or (wishes.form is None and wishes.judge_on)
    if not asked or wishes.clean_judge:
        return
    where = ", ".join(wishes.runs_on)
    if wishes.judge_on:
        raise UsageError(
            f"two-jobs: pull requests' code ran where the judge would: a runner with the labels {where} may "
            f"get jobs for {', '.join(wishes.judge_on)}, or the other way round",
            hint="each machine needs a label of its own (all have GitHub's self-hosted, linux, x64, and "
            "upper case tells none apart); or --ephemeral where each job gets a fresh one",
        )
    raise UsageError(
        f"form two-jobs: pull requests' code ran where the judge would, on {where}",
        hint="another machine with --judge-on LABEL, or --ephemeral where each job gets a fresh one",
    )


def _check_container(wishes: Wishes) -> None:
    check_image(wishes.container)
    if wishes.chosen == "trusted":
        raise UsageError(
            "--container: form trusted trains, judges and publishes in one job: judge and token would be in "
            "the container, too",
            hint="a job of its own for the training: --judge-on LABEL names another machine for the judge",
        )


def _write(path: Path, text: str) -> bool:
    """Whether the file was written; False where one exists, whatever it is."""
    try:
        _make(path.parent)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    return True


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        hint = "GitHub reads workflows from a folder of that name: move away what is there"
        raise StoreError(f"{folder} is no folder", hint=hint) from error
