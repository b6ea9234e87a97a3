"""One step: a script in bash, an action of GitHub's that this double plays, or our own composite action."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from runner import commands
from runner.expressions import Strict, Unknown, condition, evaluate, filled
from runner.played import PLAYED, Failed, Room

STEP_KEYS = {
    "name",
    "id",
    "if",
    "uses",
    "with",
    "run",
    "shell",
    "env",
    "continue-on-error",
    "timeout-minutes",
}
ACTION_KEYS = {"name", "description", "branding", "inputs", "outputs", "runs"}
PATIENCE = 300.0  # seconds a script may take


@dataclass
class StepRun:
    """How a step ended. `outcome` is its own, `conclusion` after `continue-on-error`."""

    name: str
    outcome: str = "skipped"
    conclusion: str = "skipped"
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""
    environ: dict[str, str] = field(default_factory=dict)  # what its script saw
    inner: list[StepRun] = field(default_factory=list)

    @property
    def annotations(self) -> tuple[commands.Annotation, ...]:
        """What it annotates, its inner steps included."""
        return commands.annotations(self.log)


class Steps:
    """The steps of a job or of a composite action, one after the other."""

    def __init__(self, room: Room, context: Mapping[str, Any], label: str) -> None:
        self.room, self.label = room, label
        self.known: dict[str, Any] = Strict()
        self.context = {**context, "steps": self.known}
        self.runs: list[StepRun] = []
        self.good = True
        self.functions = {
            "success": lambda: self.good and not room.cancelled(),
            "failure": lambda: not self.good,
            "always": lambda: True,
            "cancelled": room.cancelled,
        }

    def run(self, steps: list[dict[str, Any]]) -> None:
        """All of them, as each one's `if:` says."""
        for number, step in enumerate(steps):
            if unknown := step.keys() - STEP_KEYS:
                raise Unknown(f"keys of a step: {', '.join(sorted(unknown))}")
            self._one(step, f"{self.label}-{number}")

    def _one(self, step: dict[str, Any], label: str) -> None:
        run = StepRun(str(step.get("name") or step.get("uses") or step.get("run")))
        self.runs.append(run)
        if condition(step.get("if"), self.context, self.functions):
            if "name" in step:
                run.name = self._filled(step["name"])
            try:
                self._execute(step, run, label)
                run.outcome = "success"
            except Failed as failure:
                run.log += f"{failure}\n"
                run.outcome = "failure"
            forgiven = step.get("continue-on-error") is True
            run.conclusion = "success" if forgiven else run.outcome
            self.good = self.good and run.conclusion == "success"
        if "id" in step:
            self.known[step["id"]] = Strict(
                outputs=run.outputs, outcome=run.outcome, conclusion=run.conclusion
            )

    def _execute(self, step: dict[str, Any], run: StepRun, label: str) -> None:
        if "run" in step:
            self._script(step, run, label)
            return
        given = {key: self._filled(value) for key, value in step.get("with", {}).items()}
        action = step["uses"].partition(" ")[0]
        if action == self.room.own_action:
            self._composite(given, run, label)
        elif (name := action.partition("@")[0]) in PLAYED:
            run.outputs.update(PLAYED[name](self.room, given))
        else:
            raise Unknown(f"the action {action}")

    def _filled(self, value: Any) -> str:
        written = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else str(value)
        return filled(written, self.context, self.functions)

    def _script(self, step: dict[str, Any], run: StepRun, label: str) -> None:
        if "${{" in step["run"]:
            raise Unknown("an expression inside a script")
        room = self.room
        folder = room.temp / "_runner_file_commands" / label
        files = commands.new_files(folder)
        own = {key: self._filled(value) for key, value in step.get("env", {}).items()}
        run.environ = {**room.environ, **files, **own}
        script = folder / "script.sh"
        script.write_text(step["run"])
        options = ["--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["-e"]
        done = subprocess.Popen(
            ["bash", *options, str(script)],
            cwd=room.workspace,
            env=run.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        run.log += done.communicate(timeout=PATIENCE)[0]
        try:
            run.outputs.update(commands.pairs(Path(files["GITHUB_OUTPUT"])))
            room.environ.update(commands.pairs(Path(files["GITHUB_ENV"])))
        except ValueError as error:
            raise Failed(str(error)) from error
        added = Path(files["GITHUB_PATH"]).read_text().split()
        room.environ["PATH"] = os.pathsep.join([*reversed(added), room.environ["PATH"]])
        run.summary = Path(files["GITHUB_STEP_SUMMARY"]).read_text("utf-8")
        if done.returncode:
            raise Failed(f"Process completed with exit code {done.returncode}.")

    def _composite(self, given: Mapping[str, str], run: StepRun, label: str) -> None:
        action = YAML(typ="safe").load(self.room.action_path / "action.yml")
        if unknown := (action.keys() - ACTION_KEYS) or (given.keys() - action["inputs"].keys()):
            raise Unknown(f"of the action: {', '.join(sorted(unknown))}")
        inputs = Strict(
            (name, filled(str(declared.get("default", "")), self.context))
            for name, declared in action["inputs"].items()
        )
        inputs.update(given)
        inputs.update(self.room.prepared)
        context = {key: value for key, value in self.context.items() if key in ("github", "runner")}
        steps = Steps(self.room, {**context, "inputs": inputs}, label)
        try:
            steps.run(action["runs"]["steps"])
        finally:
            run.inner = steps.runs
            run.log = "".join(each.log for each in steps.runs)
            run.summary = "".join(each.summary for each in steps.runs)
        for name, declared in action["outputs"].items():
            whole = declared["value"].strip().removeprefix("${{").removesuffix("}}")
            run.outputs[name] = filled("${{ x }}", {"x": evaluate(whole, steps.context)})
        if not steps.good:
            raise Failed("a step of the action failed")
