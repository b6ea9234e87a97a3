"""What `ftgate ci` leaves in its folder, so that publishing needs nothing else, and how it is read back.

RUN_DIR/ci.json         the CiRun, sealed
RUN_DIR/posting.json    what its comment needs beside: the team's template, the previous push's numbers
RUN_DIR/NAME-DIGEST/    each config's run, see gate/runfolder.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gate.ci.check import folder_name
from gate.errors import GateError, UsageError
from gate.records import CiRun, ConfigRef, Cost, Finding, ModelRef, Provenance, RunError, SeedRun
from gate.sealed import Damaged, NewerSchema, disk_errors, open_record, seal_record, write_whole

if TYPE_CHECKING:
    from gate.report.view import View
    from gate.verdict import Result

SCHEMA = 1
CI, POSTING = "ci.json", "posting.json"
LARGEST = 64 << 20  # bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Posting:
    """What a comment needs beside its run. `previous` and `spent` are the previous push's, once looked up."""

    policy_path: str = ""
    template_path: str = ""
    template: str = ""  # the base ref's own, as text
    looked_up: bool = False
    previous: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    spent: float = 0.0  # device-seconds
    fail_on_undecided: bool = True  # as the job was asked that measured


def begin(run_dir: Path) -> None:
    """Make the folder; what an earlier run concluded there is taken away. Raises `StoreError`."""
    with disk_errors(f"make the folder {run_dir}"):
        run_dir.mkdir(parents=True, exist_ok=True)
        for name in (CI, POSTING):
            (run_dir / name).unlink(missing_ok=True)


def write_ci(run_dir: Path, run: CiRun) -> None:
    """Keep a run. Raises `StoreError`."""
    write_whole(run_dir / CI, seal_record(run, SCHEMA))


def read_ci(run_dir: Path) -> CiRun:
    """A run back. Raises `UsageError` where there is none, or none that can be understood."""
    run = _read(run_dir / CI, CiRun)
    if run is None:
        raise UsageError(f"{run_dir} has no {CI}", hint="name the folder of a finished `ftgate ci`")
    return run


def write_posting(run_dir: Path, posting: Posting) -> None:
    """Keep what the comment needs. Raises `StoreError`."""
    write_whole(run_dir / POSTING, seal_record(posting, SCHEMA))


def read_posting(run_dir: Path) -> Posting:
    """What was kept for the comment, nothing where nothing was. Raises `UsageError`."""
    return _read(run_dir / POSTING, Posting) or Posting()


def _read(path: Path, type_: type[T]) -> T | None:
    with disk_errors(f"read {path}"):
        if not path.is_file():
            return None
        content = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    try:
        return open_record(content, type_, SCHEMA)
    except NewerSchema as newer:
        raise UsageError(f"{path} was written by a later ftgate", hint="upgrade ftgate") from newer
    except Damaged as damage:
        raise UsageError(f"{path} cannot be used: {damage}", hint="run `ftgate ci` again") from damage


# ── A config's run ───────────────────────────────────────────────────────────────────────────────


def read_views(run_dir: Path, run: CiRun) -> dict[str, View]:
    """The view of each config's run by the config's path, where its folder has a result."""
    found = {}
    for config in run.runs:
        if config.folder == folder_name(config.change.path):  # what `ci.json` says may be anything
            view = read_view(run_dir / config.folder)
            if view is not None:
                found[config.change.path] = view
    return found


def read_view(folder: Path) -> View | None:
    """What a run's folder has to show; None where it holds no result."""
    from gate.judging import read_past
    from gate.report import make_view, with_trends
    from gate.runfolder import MEASUREMENTS, VERDICT, RunFolder

    if not (folder / VERDICT).is_file():
        return None
    result = read_result(folder / VERDICT)
    try:
        measured = RunFolder(folder).read_measurements() if (folder / MEASUREMENTS).is_file() else None
    except GateError:
        measured = None  # a damaged list of flipped documents leaves the verdict as it is
    flips, tasks = (measured.flips, measured.tasks) if measured else ((), ())
    return with_trends(make_view(result, flips, tasks, str(folder)), read_past(RunFolder(folder)))


def read_result(path: Path) -> Result:
    """The verdict or failure in a `verdict.json`, whose own checks it passes again.

    Raises `UsageError` where it cannot be understood, `MeasurementError` where it contradicts itself.
    """
    from gate.report import read_document
    from gate.verdict import Failure, Verdict

    document = read_document(path).document
    try:
        parts: dict[str, Any] = {
            "findings": tuple(_finding(each) for each in msgspec.convert(document["findings"], list[Any])),
            "base": msgspec.convert(document["base"], ModelRef | None),
            "tuned": msgspec.convert(document["tuned"], ModelRef | None),
            "config": msgspec.convert(document["config"], ConfigRef | None),
            "cost": msgspec.convert(document["cost"], Cost),
            "provenance": msgspec.convert(document["provenance"], Provenance | None),
        }
        if document["outcome"] != "error":
            parts["champion"] = msgspec.convert(document.get("champion"), ModelRef | None)
            parts["seeds"] = msgspec.convert(document.get("seeds", ()), tuple[SeedRun, ...])
            parts["seed"] = msgspec.convert(document.get("seed"), int | None)
            return Verdict(**parts)
        error = msgspec.convert(document["error"], dict[str, Any])
        names = ("code", "stage", "message")
        run_error = msgspec.convert({name: error[name] for name in names}, RunError)
        return Failure(run_error, **parts, exit_code=error["exit_code"], hint=str(error["hint"]))
    except (msgspec.ValidationError, KeyError, TypeError, ValueError) as problem:
        raise UsageError(f"{path} is no verdict of ftgate: {problem}") from problem


def _finding(plain: Any) -> Finding:
    given = {key: value for key, value in dict(plain).items() if value is not None or key != "place"}
    return msgspec.convert(given, Finding)
