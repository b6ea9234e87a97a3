"""A run as others see it while it is on: its check runs, its progress, and the runs that it need not repeat.

All of it is a courtesy: where GitHub does not answer, the config is simply run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gate.changes import dependencies, texts_of
from gate.ci.attach import (
    MOST_HEADS,
    SILENT,
    Choice,
    Seen,
    await_end,
    check_name,
    choose,
    earlier_heads,
    look_at_commits,
    look_for_living,
    newest_first,
    outdated,
    verdict_of,
)
from gate.ci.check import Check, CiSetting, digest_inputs, folder_name
from gate.ci.vouching import Proven, moved_since, proven, unchanged_there
from gate.errors import ConfigErrors, Forbidden, GateError, GitHubError, Interrupted, StoreError
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
    trained: bool = False  # the training job has ended
    silent: float = SILENT  # seconds without a sign of life after which no run is waited for
    inputs: dict[str, str] = field(default_factory=dict)  # config -> digest
    seen: dict[str, tuple[Seen, ...]] = field(default_factory=dict)
    check_runs: dict[str, int] = field(default_factory=dict)
    proofs: dict[tuple[int, int, str], Proven] = field(default_factory=dict)  # (run, attempt, commit) ->
    interrupted: bool = False

    def start(self, changes: Sequence[ChangedConfig]) -> None:
        """Look what older runs do for these configs, end those that are about other inputs, show this one."""
        self.look_back(changes)
        self.show()

    def look_back(self, changes: Sequence[ChangedConfig]) -> None:
        """Look what older runs do for these configs, and end those of this pull request that are outdated."""
        self.inputs = {change.path: digest_inputs(change, self.setting) for change in changes}
        if self.github is None or self.event.kind not in ("pull_request", "merge_group", "workflow_run"):
            return
        try:
            heads = earlier_heads(self.github, self.event)
            self.seen = look_for_living(self.github, heads, tuple(self.inputs), self.event.run_id)
            ends = outdated(list(self.seen.values()), list(self.inputs.values()))
            for run_id in ends if self._cancels else ():
                with suppress(Forbidden):  # a judge may not: what looked before it has
                    self.github.cancel_run(run_id)
            for path, seen in look_at_commits(self.github, self._commits(heads), self.event.run_id):
                if path in self.seen:
                    self.seen[path] = newest_first((*self.seen[path], seen))
        except GitHubError as error:
            self.shell.warn(f"GitHub does not say all of older runs: {error.message}")

    @property
    def _cancels(self) -> bool:
        """A fork's token may not, and what follows its training is each commit's own."""
        return self.event.kind == "pull_request" and self.setting.form != "forks"

    def _commits(self, heads: Sequence[str]) -> tuple[str, ...]:
        """The pull request's newest commits but for `heads`. What a comment says of its last head is moved by
        whoever writes it, and no event names the head before a reopened pull request's: git has them all."""
        clone = Repository(Path())
        try:
            own = heads[-1] if self.event.kind == "merge_group" else self.event.head_sha
            return tuple(c for c in clone.newest(self.event.base_sha, own, MOST_HEADS) if c not in heads)
        except GateError:
            return ()  # another checkout: those that GitHub names are looked at

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
        said = "Trains, measures and judges this config."
        output = CheckOutput(RUNNING.title, said if self.measures else self._elsewhere())
        return CheckState(check_name(path), number, output, None, self.url)

    def _elsewhere(self) -> str:
        """What can be said of a job that has no token, before it begins: the one that trains, or measures."""
        log = f"[the run's live log]({self.url})" if self.url else "the run's live log"
        what = "Trained. Measured since" if self.trained else "Handed to the training job at"
        return (
            f"{what} {self.shell.now()}; it may take as long as that job's `timeout-minutes` (360 as "
            f"written). It has no token to show progress with: see {log}."
        )

    # ── Older runs ───────────────────────────────────────────────────────────────────────────────

    def choice(self, change: ChangedConfig) -> Choice:
        """What to do about a config; `attach` does it."""
        inputs = self.inputs[change.path]
        again = max(self.event.run_attempt, self.event.follows_attempt) > 1
        return choose(self.seen.get(change.path, ()), inputs, stored=self._stored(inputs), again=again)

    def attach(self, change: ChangedConfig) -> ConfigRun | None:
        """The config's result where an older run of the same inputs has it: taken over, or waited for.

        None where it is to be run here: also after a wait, as the store then has everything.
        """
        choice = self.choice(change)
        carried = (self._taken(change, seen) for seen in choice.ended)
        found = next((run for run in carried if run is not None), None)
        if found is not None or choice.running is None or self.setting.form == "forks":
            return found  # what measures a fork's commit, a person may never start
        seen = self._waited_for(change, choice.running)
        return self._taken(change, seen) if seen and not self._stored(self.inputs[change.path]) else None

    def _waited_for(self, change: ChangedConfig, seen: Seen) -> Seen | None:
        """A check run in progress once it has ended; None where that is not to be waited for."""
        if self.github is None:
            return None
        if not self.measures and self._git_doubts(change, seen):
            return None  # at its end it would not be taken over; with a store it would have filled that
        self.shell.progress.update("waiting", 0, 0, f"run {seen.run_id} measures the same")
        try:
            return await_end(
                self.github,
                seen,
                change.path,
                self.event.run_id,
                clock=self.shell.clock,
                wait=self.wait,
                silent=self.silent,
            )
        except GitHubError:
            return None

    def _taken(self, change: ChangedConfig, seen: Seen) -> ConfigRun | None:
        """The verdict of a check run that has ended, taken over; None, and a word why, if it is in doubt."""
        path, inputs = change.path, self.inputs[change.path]
        verdict = verdict_of(seen.check)
        if verdict is None:
            return None
        doubt = self._git_doubts(change, seen)  # asked first, as GitHub may have to be waited for
        if not doubt:
            there = self._proven(seen)
            doubt = there.doubt
            if not doubt and (path, inputs, verdict[0]) not in there.verdicts:
                doubt = f"run {seen.run_id} came to another one"
        if doubt:
            self.shell.warn(f"{path}: the verdict on {seen.check.sha} is not taken over: {doubt}")
            return None
        return self._carried(ConfigRun(change, *verdict, folder_name(path), inputs), seen.check)

    def _git_doubts(self, change: ChangedConfig, seen: Seen) -> str:
        """Why a run on that commit did not measure what there is now, as far as git knows; "" for nothing."""
        clone, base, head = Repository(Path()), self.event.base_sha, self.event.head_sha
        sha = seen.check.sha
        try:
            named = self._named(change.path)
        except ConfigErrors:
            return "the config cannot be read"
        policy = {*self.setting.policy_files, self.setting.thresholds.as_posix()}
        moved = moved_since(clone, base, sha, head, change.path, named)
        return moved or unchanged_there(clone, base, sha, head, change, named, policy)

    def _proven(self, seen: Seen) -> Proven:
        """What the run that a check run names came to; it is asked once for all configs."""
        key = (seen.run_id, seen.attempt, seen.check.sha)
        if self.github is not None and key not in self.proofs:
            self.proofs[key] = proven(
                self.github,
                self.event,
                seen,
                form=self.setting.form,
                clock=self.shell.clock,
                wait=self.wait,
                patience=SILENT,
            )
        return self.proofs.get(key, Proven(doubt="there is no token to ask with"))

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
