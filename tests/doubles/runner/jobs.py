"""A workflow's run: its jobs in the order of `needs`, each on a machine of its own unless told otherwise."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_github import FakeGitHub, Identity
from fake_github.state import StoredJob
from ruamel.yaml import YAML

from runner.container import Container, read_container
from runner.events import Happening
from runner.expressions import Strict, Unknown, condition, filled
from runner.played import Room
from runner.steps import StepRun, Steps

JOB_KEYS = {
    "name", "runs-on", "timeout-minutes", "permissions", "outputs", "steps", "needs", "if",
    "concurrency", "environment", "container",
}  # fmt: skip
UNSET = {"FTGATE_SALT": ""}  # secrets that a workflow may name and a repository may lack
WORKFLOW_KEYS = {"name", "run-name", "on", "permissions", "jobs", "concurrency"}


class Replaced(Exception):
    """A newer job waits in its group."""


@dataclass
class JobRun:
    """How a job ended: `success`, `failure`, `cancelled` or `skipped`."""

    name: str
    result: str = "skipped"
    steps: list[StepRun] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    environment: str = ""
    attested: list[tuple[str, str]] = field(default_factory=list)
    token: str = ""
    home: Path = Path()
    temp: Path = Path()
    container: Container | None = None
    title: str = ""  # its name as GitHub shows it

    @property
    def log(self) -> str:
        """All that its steps printed."""
        return "".join(step.log for step in self.steps)

    @property
    def summary(self) -> str:
        """Its job summary."""
        return "".join(step.summary for step in self.steps)

    def step(self, name: str) -> StepRun:
        """The first step whose name begins so."""
        return next(step for step in self.steps if step.name.startswith(name))


@dataclass
class Run:
    """A workflow's run: jobs by their id, artifacts by their name."""

    id: int
    attempt: int
    path: str = ""  # of the workflow's file
    jobs: dict[str, JobRun] = field(default_factory=dict)
    artifacts: dict[str, Path] = field(default_factory=dict)


@dataclass
class Runner:
    """GitHub's side of Actions for one repository: `root` is an empty folder for all that it keeps.

    `environ` is what the machines' image has set; `homes` names jobs whose machine lives on (self-hosted).
    `images` is what the images of containers have set. A job in one has a new home, whatever `homes` says.
    `prepared` are inputs of our action that the image decides. `approve` is called with the name of an
    environment before a job that needs it starts: the moment in which a maintainer looks and approves.
    """

    root: Path
    origin: Path
    repository: str
    server: FakeGitHub
    action_path: Path
    action: str
    environ: Mapping[str, str]
    homes: Mapping[str, Path] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    prepared: Mapping[str, str] = field(default_factory=lambda: {"install": "none"})
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    approve: Callable[[str], None] = lambda _environment: None
    runs: dict[int, Run] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _turns: threading.Condition = field(default_factory=threading.Condition)
    waiting: dict[str, object] = field(default_factory=dict)  # group -> who waits
    _running: set[str] = field(default_factory=set)

    def run(self, workflow: str, happening: Happening, *, run_id: int, attempt: int = 1) -> Run:
        """Run a workflow's text for an event, to its end."""
        document = YAML(typ="safe").load(workflow)
        _known(document, WORKFLOW_KEYS, "a workflow")
        if happening.name not in document["on"]:
            raise Unknown(f"{happening.name} does not start this workflow")
        run = Run(run_id, attempt, f".github/workflows/{document.get('name', 'one').replace(' ', '-')}.yml")
        self.runs[run_id] = run
        sha = happening.payload.get("pull_request", {}).get("head", {}).get("sha", happening.sha)
        self.server.state.start_run(run_id, head_sha=sha, path=run.path, event=happening.name)
        for name, job in document["jobs"].items():
            _known(job, JOB_KEYS, f"the job {name}")
            default = document.get("permissions", {})
            self._job(run, name, {"permissions": default, **job}, happening)
        with self._lock:
            if self.server.state.runs[run_id] == "in_progress":
                failed = any(job.result == "failure" for job in run.jobs.values())
                self.server.state.start_run(run_id, "failure" if failed else "completed")
        return run

    def _job(self, run: Run, name: str, job: dict[str, Any], happening: Happening) -> None:
        needs = [job["needs"]] if isinstance(job.get("needs"), str) else list(job.get("needs", ()))
        ended = [run.jobs[each] for each in needs]
        held = run.jobs[name] = JobRun(name)
        room = self._room(run, held, job, happening)
        context = self._context(run, room, happening, name)
        context["needs"] = Strict(
            (each.name, Strict(result=each.result, outputs=each.outputs)) for each in ended
        )
        functions = {
            "success": lambda: all(each.result == "success" for each in ended),
            "failure": lambda: any(each.result == "failure" for each in ended),
            "always": lambda: True,
            "cancelled": room.cancelled,
        }
        if not condition(job.get("if"), context, functions):
            return
        held.title = filled(job.get("name", name), context)
        self._tell(run, held, "in_progress")
        held.environment = filled(str(job.get("environment", "")), context)
        context["secrets"] = Strict({**UNSET, **(self.secrets if held.environment else {})})
        if held.environment:
            self.approve(held.environment)
        ended_early = {**functions, "cancelled": lambda: True, "success": lambda: False}
        goes_on = condition(job.get("if"), context, ended_early)  # asked when its run is cancelled
        room.cancelled = lambda: not goes_on and self.server.state.runs.get(run.id) == "cancelled"
        steps = Steps(room, context, "step")
        try:
            with self._turn(job, context):
                steps.run(job["steps"])
        except Replaced:
            held.result = "cancelled"
            return
        finally:
            held.steps, held.attested = steps.runs, room.attested
        held.outputs = {key: filled(value, steps.context) for key, value in job.get("outputs", {}).items()}
        held.result = "cancelled" if room.cancelled() else "success" if steps.good else "failure"
        self._tell(run, held, "completed")

    @contextmanager
    def _turn(self, job: dict[str, Any], context: Mapping[str, Any]) -> Iterator[None]:
        """Its turn in the job's `concurrency` group, where a newer one that waits pushes an older out."""
        if "concurrency" not in job:
            yield
            return
        name, mine = filled(job["concurrency"]["group"], context), object()
        with self._turns:
            self.waiting[name] = mine
            self._turns.notify_all()
            while name in self._running and self.waiting.get(name) is mine:
                if job["concurrency"]["cancel-in-progress"]:
                    raise Unknown("a group whose running job is to be cancelled")
                self._turns.wait()
            if self.waiting.get(name) is not mine:
                raise Replaced
            del self.waiting[name]
            self._running.add(name)
        try:
            yield
        finally:
            with self._turns:
                self._running.discard(name)
                self._turns.notify_all()

    def _tell(self, run: Run, held: JobRun, status: str) -> None:
        """What GitHub knows of a job that has begun: its name, and those of its steps once it has ended."""
        ended = held.result if status == "completed" else None
        names = tuple(step.name for step in held.steps)
        self.server.state.put_job(run.id, StoredJob(held.title, status, ended, names, run.attempt))

    def _room(self, run: Run, held: JobRun, job: dict[str, Any], happening: Happening) -> Room:
        place = self.root / f"{run.id}-{run.attempt}-{held.name}"
        held.container = read_container(job["container"]) if "container" in job else None
        held.home = place / "home" if held.container else self.homes.get(held.name, place / "home")
        workspace, held.temp = place / "work" / "repo", place / "temp"
        for folder in (held.home, workspace, held.temp):
            folder.mkdir(parents=True, exist_ok=True)
        permissions = _permissions(job["permissions"], happening)
        held.token = f"ghs_{run.id}_{run.attempt}_{held.name}"
        granted = {key.replace("-", "_"): level for key, level in permissions.items()}
        self.server.tokens[held.token] = Identity(permissions=granted)
        event = place / "event.json"
        event.write_text(json.dumps(happening.payload))
        environ = {
            **self._machine(held.container),
            "HOME": str(held.home),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(self.action_path),
            "GITHUB_ACTOR": "author",
            "GITHUB_API_URL": self.server.url,
            "GITHUB_BASE_REF": happening.base_ref,
            "GITHUB_EVENT_NAME": happening.name,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_HEAD_REF": happening.head_ref,
            "GITHUB_JOB": held.name,
            "GITHUB_REF": happening.ref,
            "GITHUB_REF_NAME": happening.ref.removeprefix("refs/heads/").removeprefix("refs/"),
            "GITHUB_REPOSITORY": self.repository,
            "GITHUB_RUN_ATTEMPT": str(run.attempt),
            "GITHUB_RUN_ID": str(run.id),
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": happening.sha,
            "GITHUB_WORKFLOW_REF": f"{self.repository}/{run.path}@{happening.ref}",
            "GITHUB_WORKSPACE": str(workspace),
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(held.temp),
        }
        if permissions.get("id-token") == "write":
            environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = "oidc"
            environ["ACTIONS_ID_TOKEN_REQUEST_URL"] = "https://oidc.invalid"
        others = {number: other.artifacts for number, other in self.runs.items()}
        return Room(
            origin=self.origin, workspace=workspace, temp=held.temp, environ=environ,
            action_path=self.action_path, own_action=self.action, prepared=self.prepared,
            permissions=permissions, secrets=self.secrets, artifacts=run.artifacts, others=others,
            store=self.root / f"{run.id}-artifacts", tokens=self.server.tokens, token=held.token,
            cancelled=lambda: self.server.state.runs.get(run.id) == "cancelled",
        )  # fmt: skip

    def _machine(self, container: Container | None) -> Mapping[str, str]:
        """What is set where a job's steps run: by the machine's image, or by its container and that one's."""
        if container is None:
            return self.environ
        if container.image not in self.images:
            raise Unknown(f"the image {container.image}")
        return {**self.images[container.image], **container.environ}

    def _context(self, run: Run, room: Room, happening: Happening, name: str) -> dict[str, Any]:
        github = Strict(
            event=happening.payload,
            event_name=happening.name,
            repository=self.repository,
            sha=happening.sha,
            ref=happening.ref,
            head_ref=happening.head_ref,
            base_ref=happening.base_ref,
            run_id=run.id,
            run_attempt=run.attempt,
            token=room.token,
            workspace=str(room.workspace),
            job=name,
        )
        runner = Strict(temp=str(room.temp), os="Linux")
        return {"github": github, "runner": runner, "vars": dict(self.variables)}


def _known(found: Mapping[str, Any], keys: set[str], what: str) -> None:
    if unknown := found.keys() - keys:
        raise Unknown(f"keys of {what}: {', '.join(sorted(unknown))}")


def _permissions(asked: Mapping[str, str], happening: Happening) -> dict[str, str]:
    """What a job's token may do: what it asks for, and from a fork never more than reading."""
    if not happening.fork:
        return dict(asked)
    return {name: "read" for name in asked if name != "id-token"}


def machine(environ: Mapping[str, str], *bins: Path) -> dict[str, str]:
    """The environment of a machine's image: these folders of commands first, then the system's own."""
    path = os.pathsep.join([*map(str, bins), "/usr/local/bin", "/usr/bin", "/bin"])
    return {"PATH": path, "LANG": "C.UTF-8", **environ}
