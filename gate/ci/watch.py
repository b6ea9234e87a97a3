"""A run as others see it while it is on: its check runs, its progress, and the runs that it need not repeat.

All of it is a courtesy: where GitHub does not answer, the config is simply run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gate.changes import dependencies, texts_of
from gate.ci.attach import (
    SILENT,
    Choice,
    Seen,
    await_end,
    check_name,
    choose,
    earlier_heads,
    look_for_living,
    outdated,
    verdict_of,
)
from gate.ci.check import Check, CiSetting, digest_inputs, folder_name
from gate.ci.vouching import doubt_of, moved_since
from gate.errors import GitHubError, Interrupted, StoreError
from gate.github.api import CheckOutput, CheckRun, GitHub
from gate.github.checkruns import RUNNING, CheckRunProgress, app_of, external_id, put_check
from gate.github.checkruns import Check as CheckState
from gate.progress import Progress
from gate.records import ChangedConfig, ConfigRun, Event
from gate.repository import Repository
from gate.sealed import write_whole
from gate.shell import Shell
from gate.store import Store, store_root
from gate.yamlfile import load_yaml

if TYPE_CHECKING:
    from gate.pipeline import CheckOptions
    from gate.verdict import Result


@dataclass(slots=True)
class Watch:
    """What one CI run tells of its configs, and learns of older runs. `github` None: nothing and nothing."""

    github: GitHub | None
    hasty: GitHub | None  # for progress: training waits while it is told
    event: Event
    setting: CiSetting
    shell: Shell
    url: str
    wait: Callable[[float], None]
    measures: bool = True  # False: nothing is measured here, so what the store has helps nobody
    silent: float = SILENT  # seconds without a sign of life after which no run is waited for
    inputs: dict[str, str] = field(default_factory=dict)  # config -> digest
    seen: dict[str, tuple[Seen, ...]] = field(default_factory=dict)
    check_runs: dict[str, int] = field(default_factory=dict)
    interrupted: bool = False

    def start(self, changes: Sequence[ChangedConfig]) -> None:
        """Look what older runs do for these configs, end those that are about other inputs, show this one."""
        self.look_back(changes)
        self.show()

    def look_back(self, changes: Sequence[ChangedConfig]) -> None:
        """Look what older runs do for these configs, and end those of this pull request that are outdated."""
        self.inputs = {change.path: digest_inputs(change, self.setting) for change in changes}
        if self.github is None or self.event.kind not in ("pull_request", "merge_group"):
            return
        try:
            heads = earlier_heads(self.github, self.event)
            self.seen = look_for_living(self.github, heads, tuple(self.inputs), self.event.run_id)
            ends = outdated(list(self.seen.values()), list(self.inputs.values()))
            for run_id in ends if self.event.kind == "pull_request" else ():
                self.github.cancel_run(run_id)
        except GitHubError as error:
            self.shell.warn(f"GitHub does not say all of older runs: {error.message}")

    def show(self) -> None:
        """A check run in progress for each config."""
        if self.github is None:
            return
        try:
            app = app_of(self.github.login())
            for path, inputs in self.inputs.items():
                self.check_runs[path] = put_check(
                    self.github, self.event.head_sha, self._running(path, inputs), app
                ).id
        except GitHubError as error:
            self.shell.warn(f"GitHub shows no progress of this run: {error.message}")

    def _running(self, path: str, inputs: str) -> CheckState:
        number = external_id(self.event.run_id, self.event.run_attempt, inputs)
        output = CheckOutput(RUNNING.title, "Trains, measures and judges this config.")
        return CheckState(check_name(path), number, output, None, self.url)

    # ── Older runs ───────────────────────────────────────────────────────────────────────────────

    def choice(self, change: ChangedConfig) -> Choice:
        """What to do about a config; `attach` does it."""
        inputs = self.inputs[change.path]
        again = self.event.run_attempt > 1
        return choose(self.seen.get(change.path, ()), inputs, stored=self._stored(inputs), again=again)

    def attach(self, change: ChangedConfig) -> ConfigRun | None:
        """The config's result where an older run of the same inputs has it: waited for, or taken over.

        None where it is to be run here: also after a wait, as the store then has everything.
        """
        path, inputs = change.path, self.inputs[change.path]
        choice = self.choice(change)
        if self.github is None or choice.seen is None:
            return None
        seen: Seen | None = choice.seen
        if choice.kind == "wait":
            self.shell.progress.update("waiting", 0, 0, f"run {choice.seen.run_id} measures the same")
            try:
                seen = await_end(
                    self.github,
                    choice.seen,
                    path,
                    self.event.run_id,
                    clock=self.shell.clock,
                    wait=self.wait,
                    silent=self.silent,
                )
            except GitHubError:
                return None
            if self._stored(inputs):
                return None
        verdict = verdict_of(seen.check) if seen else None
        if seen is None or verdict is None or self._doubts(path, seen, verdict[0]):
            return None
        return self._carried(ConfigRun(change, *verdict, folder_name(path), inputs), seen.check)

    def _doubts(self, path: str, seen: Seen, outcome: Literal["pass", "fail"]) -> bool:
        """Whether the run that a check run names may have found something else; then it says why."""
        if self.github is None:
            return True
        event, clone = self.event, Repository(Path())
        doubt = doubt_of(
            self.github,
            self.event,
            seen.run_id,
            seen.check.sha,
            outcome,
            clock=self.shell.clock,
            wait=self.wait,
            patience=SILENT,
        ) or moved_since(clone, event.base_sha, seen.check.sha, event.head_sha, path, self._named(path))
        if doubt:
            self.shell.warn(f"{path}: the verdict on {seen.check.sha} is not taken over: {doubt}")
        return bool(doubt)

    def _named(self, path: str) -> frozenset[str]:
        """What a config may name in the repository."""
        return dependencies(texts_of(load_yaml(Path(path), version="1.1").data), self.setting.links)

    def _carried(self, run: ConfigRun, check: CheckRun) -> ConfigRun:
        """The run with the report that its older run's check run shows."""
        from gate.report.carried import read_carried

        runs = self.url.rpartition("/")[0]
        said = check.title, check.summary, check.text, check.sha
        sha, report = read_carried(*said, path=run.change.path, runs=runs and f"{runs}/")
        return replace(run, carried_from=sha, carried=report)

    def ended(self, run: ConfigRun) -> None:
        """Note in the store that it has the results of these inputs."""
        if run.outcome in ("pass", "fail") and not run.blocked and not run.carried_from:
            try:
                write_whole(self._note(run.inputs), b"")
            except StoreError as error:
                self.shell.warn(error.message)

    def _stored(self, inputs: str) -> bool:
        return self.measures and self._note(inputs).is_file()

    def _note(self, inputs: str) -> Path:
        """A mark in this pull request's place of the store: a hint that running again is quick."""
        store = Store(store_root(self.shell.environ), pull=self.setting.pull, judged=self.setting.judged)
        return store.root / "inputs" / inputs

    # ── Progress ─────────────────────────────────────────────────────────────────────────────────

    def watched(self, check: Check) -> Check:
        """`check` with its progress on the config's check run as well; after an interruption nothing runs."""

        def watched(options: CheckOptions, shell: Shell) -> Result:
            if self.interrupted:
                raise Interrupted("interrupted before it began")
            number = self.check_runs.get(str(options.config))
            if self.hasty is not None and number is not None:
                shown = CheckRunProgress(self.hasty, number)
                shell = replace(shell, progress=Both(shell.progress, shown))
            try:
                return check(options, shell)
            except Interrupted:
                self.interrupted = True
                raise

        return watched


@dataclass(frozen=True, slots=True)
class Both:
    """Two places that show the same progress."""

    first: Progress
    second: Progress

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        """Tell both."""
        self.first.update(what, done, total, note)
        self.second.update(what, done, total, note)

    def done(self, what: str) -> None:
        """Tell both."""
        self.first.done(what)
        self.second.done(what)
