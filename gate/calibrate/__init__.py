"""`ftgate calibrate`: what noise is on a base model and these tasks, and margins that are above it.

The base is scored as in every check, and again under changes that do not matter (`changes.py`). What was
scored lies in the store as blocks, so an interrupted calibration goes on; a finished one is kept whole, and
the same call again scores nothing. `ftgate plan` and `check` find its flip rates.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from gate.environment import find_device
from gate.errors import OutOfMemory, UsageError, together
from gate.flip_rates import base_key, form_of, keep_rates
from gate.foresight.noise import Noise, Suggestion, rates_by_task, suggest
from gate.inputs import find_base
from gate.policy import load_policy
from gate.policy.proposing import propose
from gate.records import ModelRef, Policy
from gate.records.rates import SeenRates, TaskRate
from gate.report.calibration import calibration_text, proposal_note
from gate.scoring import ModelSession
from gate.sealed import Damaged, NewerSchema, disk_errors, open_record, seal_record, write_whole
from gate.shell import Shell
from gate.store import Store, store_root

if TYPE_CHECKING:
    from checks import OpenTask, PreparedTask
    from gate.calibrate.changes import Setting

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """What `ftgate calibrate` was asked."""

    base: str
    thresholds: Path
    out: Path | None = None
    force: bool = False

    @property
    def proposal(self) -> Path:
        """Where the proposal goes."""
        return self.out or self.thresholds.with_name(f"{self.thresholds.stem}.calibrated.yaml")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found: the changes that were tried, their noise, and what could not be tried."""

    changes: tuple[tuple[str, str], ...]  # name, what it is in this case
    noise: tuple[Noise, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration with what it proposes; how many blocks were scored for it."""

    calibration: Calibration
    suggestions: tuple[Suggestion, ...]
    proposal: Path
    scored: int


def calibrate_base(options: CalibrateOptions, shell: Shell) -> Calibrated:
    """Measure the base's noise on the policy's tasks, keep it, and write a proposal of margins.

    Raises `UsageError` where the proposal would replace the policy or an earlier proposal, and what finding
    and scoring a base model raises.
    """
    check_place(options)
    policy = load_policy(options.thresholds, today=date.fromisoformat(shell.now()[:10]))
    store = Store(store_root(shell.environ), warn=shell.warn, salt=shell.salt)
    base, tasks = together(
        lambda: find_base(options.base, None, shell.environ, remote_code=policy.trust.remote_code),
        lambda: _open_tasks(policy, store),
    )
    store.require_writable()
    calibration, scored = _calibration(base, policy, tasks, store, shell)
    keep_flips(store, base, tasks, calibration, shell.now())
    suggestions = suggest(policy, [task.info for task in tasks], calibration.noise)
    note = proposal_note(base.name, shell.now()[:10], suggestions)
    margins = {(each.kind, each.task, each.bound): each.margin for each in suggestions}
    with disk_errors(f"read {options.thresholds}"):
        text = propose(options.thresholds.read_text("utf-8-sig"), margins, note)
    write_whole(options.proposal, text.encode())
    done = Calibrated(calibration, suggestions, options.proposal, scored)
    shell.say(
        calibration_text(base.name, calibration.changes, calibration.noise, calibration.left_out, suggestions)
    )
    what = "from the store, nothing was scored" if not scored else f"{scored:,} blocks were scored"
    shell.say(f"{what}; the proposal is {options.proposal}, {options.thresholds} is as it was")
    return done


def check_place(options: CalibrateOptions) -> None:
    """Raise `UsageError` where the proposal may not be written: before anything is measured."""
    out = options.proposal
    if out.exists() and options.thresholds.exists() and out.samefile(options.thresholds):
        raise UsageError(
            f"{out} is the policy, which calibrate never changes", hint="name another file with --out"
        )
    if out.is_dir():
        raise UsageError(f"{out} is a folder", hint="name a file with --out")
    if out.exists() and not options.force:
        raise UsageError(f"{out} is there already", hint="look at it, then say --force to replace it")


def _open_tasks(policy: Policy, store: Store) -> tuple[OpenTask, ...]:
    from checks import open_tasks  # late: lm-eval takes seconds to load

    return open_tasks(policy.tasks, policy, index_folder=store.root / "tasks")


def _calibration(
    base: ModelRef, policy: Policy, tasks: tuple[OpenTask, ...], store: Store, shell: Shell
) -> tuple[Calibration, int]:
    """The calibration of these inputs, from the store where it is there; how many blocks were scored."""
    from gate.calibrate.changes import plain_setting
    from gate.calibrate.scoring import build

    find_device(policy.evaluation.device)
    plain = plain_setting(base, policy, store.salt, tasks)
    prepared = build(plain, base, policy.trust, shell)
    file = store.root / "calibrations" / f"{_key(base, policy, prepared, store)}.json"
    with disk_errors(f"read {file}"):
        try:
            return open_record(file.read_bytes(), Calibration, SCHEMA), 0
        except (FileNotFoundError, Damaged, NewerSchema):
            pass
    calibration, scored = _measure(base, policy, plain, prepared, store, shell)
    keep_finished(file, calibration)
    return calibration, scored


def keep_finished(file: Path, calibration: Calibration) -> None:
    """Keep a calibration, unless memory was short for a change: the next call tries that one again.

    Raises `StoreError`.
    """
    if not calibration.left_out:
        write_whole(file, seal_record(calibration, SCHEMA))


def _key(base: ModelRef, policy: Policy, prepared: tuple[PreparedTask, ...], store: Store) -> str:
    """Of all that changes what is found: how the base answers, the tasks, the blocks, the changes."""
    from gate.calibrate.changes import OTHER_DTYPE, OTHER_EXAMPLES, SEED, SHARE

    evaluation, believed = policy.evaluation, store.self_tests
    with ModelSession(base, base, evaluation, policy.trust, believed=believed) as session:
        identity = dict(session.scorer("base").identity)
    tasks = [
        [task.info.task, task.info.digest, [leaf.documents_planned for leaf in task.info.leaves]]
        for task in prepared
    ]
    salted = hashlib.sha256(store.salt).hexdigest()
    parts = [identity, tasks, salted, dict(OTHER_DTYPE), OTHER_EXAMPLES, SEED, SHARE]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _measure(
    base: ModelRef,
    policy: Policy,
    plain: Setting,
    prepared: tuple[PreparedTask, ...],
    store: Store,
    shell: Shell,
) -> tuple[Calibration, int]:
    """Score the base as it is, then under every change. One that does not fit into memory is left out."""
    from gate.calibrate.changes import changes_of
    from gate.calibrate.scoring import build, compare, score

    evaluation, believed = policy.evaluation, store.self_tests
    first = score(plain, prepared, "scoring the base model", store, policy.trust, shell)
    with ModelSession(base, base, evaluation, policy.trust, believed=believed) as session:
        settings, way = session.settings, session.way
    scored, done, left_out = first.scored, [], []
    noise: list[Noise] = []
    for change in changes_of(plain, base, policy, settings, way, store.root):
        same = change.setting.tasks is plain.tasks
        asked = prepared if same else build(change.setting, base, policy.trust, shell)
        try:
            other = score(change.setting, asked, change.name, store, policy.trust, shell)
        except OutOfMemory as error:
            left_out.append(f"{change.name}: {error.message}")
            continue
        scored += other.scored
        found = tuple(compare(change.name, first, other))
        noise += found
        done += [(change.name, change.what)] if found else []
    return Calibration(tuple(done), tuple(noise), tuple(left_out)), scored


def keep_flips(
    store: Store, base: ModelRef, tasks: tuple[OpenTask, ...], calibration: Calibration, now: str
) -> None:
    """Keep each task's largest flip rate, for `plan` and `check`. Raises `StoreError`."""
    infos = {task.info.task: task.info for task in tasks}
    rates = tuple(
        TaskRate(task, form_of(infos[task]), worst.documents, worst.changed or 0)
        for task, worst in rates_by_task(calibration.noise)
    )
    names = json.dumps(sorted([rate.task, rate.form] for rate in rates))
    what = hashlib.sha256(names.encode()).hexdigest()
    keep_rates(store.root, SeenRates(base_key(base), "calibrate", what, now, rates))


__all__ = ["CalibrateOptions", "Calibrated", "Calibration", "calibrate_base", "check_place"]
