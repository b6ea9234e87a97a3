"""The history of the default branch, as `ftgate ci` adds to it after a push or on a schedule."""

from __future__ import annotations

from pathlib import Path

from gate.ci.check import folder_name
from gate.ci.past import kept_in
from gate.ci.record import read_result
from gate.errors import GateError
from gate.history import past_of, write_past
from gate.records import CiRun
from gate.runfolder import VERDICT
from gate.shell import Shell
from gate.verdict import Verdict


def remembers(run: CiRun) -> bool:
    """Whether this run's verdicts are history: of what is merged, measured now, and by a job that judges."""
    event = run.event
    return event.trusted_ref and event.kind in ("push", "schedule") and run.mode in ("check", "judge")


def remember(run: CiRun, run_dir: Path, folder: Path | None, shell: Shell) -> tuple[Path, ...]:
    """Add each config's verdict to the history; the new files. A verdict that cannot be added is warned of:
    the gate's answer is the same without it. Pushing the files anywhere is the workflow's affair."""
    if not remembers(run):
        return ()
    found: list[Path] = []
    for config in run.runs:
        place = run_dir / folder_name(config.change.path) / VERDICT
        if config.carried_from or not place.is_file():
            continue
        try:
            result = read_result(place)
            if isinstance(result, Verdict):
                found.append(write_past(kept_in(folder), past_of(result, run.event.head_sha)))
        except GateError as error:
            shell.warn(f"the verdict of {config.change.path!a} is not in the history: {error.message}")
    return tuple(found)
