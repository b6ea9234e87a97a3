"""The run folder: what one check leaves for a person to read, and for `judge` to judge again.

Records are sealed JSON (see `gate/sealed.py`); the raw measurements are Parquet files, a row a
document, that `measurements.json` lists with their digests. Later versions add files and fields
and move none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import quote

from gate.configs.secrets import without_secrets
from gate.errors import StoreError, UsageError
from gate.records import Flip, Measurement, Measurements, ModelRef, Policy, TaskInfo, TrainingConfig
from gate.sealed import Damaged, NewerSchema, digest_of, disk_errors, open_record, seal_record, write_whole

T = TypeVar("T")

SCHEMA = 1
VERDICT, HTML, COMMENT, JUNIT = "verdict.json", "report.html", "comment.md", "junit.xml"
CONFIG, RESOLVED_CONFIG = "config.yaml", "config.resolved.json"
POLICY, RESOLVED_POLICY = "policy.yaml", "policy.resolved.json"
PLAN, RUN, ENVIRONMENT = "plan.json", "run.json", "environment.json"
MEASUREMENTS, FLIPS, TRAINING = "measurements.json", "flips.parquet", "training"
AUDIT, AUDITED = "audit", "audit.json"  # the run folder of all documents; what came of the comparison
CHAMPION = "champion"  # the folder of the pairs of champion and tuned model
HISTORY = "history.json"  # earlier verdicts on this config, as the report draws them
SEEDS = "seeds.json"  # of a recipe: its trainings, each a run folder below this one
_RESULTS = (VERDICT, HTML, COMMENT, JUNIT, RUN, MEASUREMENTS, FLIPS, SEEDS, HISTORY, AUDITED)
_MARKS = (RESOLVED_POLICY, RESOLVED_CONFIG, PLAN, RUN, MEASUREMENTS, ENVIRONMENT, VERDICT)
_LONGEST_NAME = 150  # most file systems allow 255 bytes


class RenderedReport(Protocol):
    """What the report room hands over: texts for the folder's files."""

    @property
    def comment(self) -> str: ...
    @property
    def html(self) -> str: ...
    @property
    def junit(self) -> str: ...
    @property
    def document(self) -> str | bytes: ...


@dataclass(frozen=True, slots=True)
class _File:
    name: str  # relative to the run folder
    sha256: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """One measurement: the record without its arrays, and the files that hold them."""

    measurement: Measurement
    pairs: _File
    corpus: _File | None = None


@dataclass(frozen=True, slots=True)
class _Contents:
    base: ModelRef
    tuned: ModelRef
    tasks: tuple[TaskInfo, ...]
    measurements: tuple[_Entry, ...]
    flips: _File


class RunFolder:
    """One run's folder at `path`. Make one with `begin`, find one with `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def begin(cls, path: Path) -> RunFolder:
        """A new run folder, or an earlier run's to go on with; what that one concluded is taken away.

        Raises `UsageError` where something else lies there, `StoreError` where it cannot be made.
        """
        with disk_errors(f"make the run folder {path}"):
            if path.is_dir() and any(path.iterdir()) and not _is_run(path):
                raise UsageError(
                    f"{path} is not empty and is not a run folder of ftgate",
                    hint="name a new folder with --run-dir",
                )
            path.mkdir(parents=True, exist_ok=True)
            cls.forget(path)
        return cls(path)

    @classmethod
    def forget(cls, path: Path) -> None:
        """Take away what an earlier run concluded in its folder; anything else there is left as it is."""
        if not _is_run(path):
            return
        with disk_errors(f"clear the run folder {path}"):
            for name in _RESULTS:
                (path / name).unlink(missing_ok=True)
            for file in (path / "measurements").glob("*.parquet"):
                file.unlink(missing_ok=True)
            for below in (path / CHAMPION, path / AUDIT, *(path / "seeds").glob("*")):
                cls.forget(below)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An earlier run's folder. Raises `UsageError` where there is none."""
        hint = "name the folder that `ftgate check` printed"
        if not path.is_dir():
            raise UsageError(f"there is no run folder at {path}", hint=hint)
        if not _is_run(path):
            raise UsageError(f"{path} is not a run folder of ftgate: it has no {MEASUREMENTS}", hint=hint)
        return cls(path)

    @property
    def training(self) -> Path:
        """Where the trainer's log and output lie."""
        return self.path / TRAINING

    # ── Files as they are ────────────────────────────────────────────────────────────────────────

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of the folder, whole; returns its path. Raises `StoreError`."""
        data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
        write_whole(self.path / name, data)
        return self.path / name

    def write_report(self, report: RenderedReport) -> None:
        """Write verdict, page, comment and JUnit file; the verdict last, when the others are there."""
        self.write(HTML, report.html)
        self.write(COMMENT, report.comment)
        self.write(JUNIT, report.junit)
        self.write(VERDICT, report.document)

    def write_config(self, config: TrainingConfig | None) -> None:
        """Keep the training config, if there is one, as its team wrote it and as it was understood.

        Tokens and the values of variables are left out: run folders are handed around.
        """
        if config is not None:
            self._keep_source(config.path, CONFIG, config)
            self.write_record(RESOLVED_CONFIG, config)

    def write_policy(self, policy: Policy) -> None:
        """Keep the policy as its team wrote it, and as it was understood."""
        self._keep_source(policy.path, POLICY)
        self.write_record(RESOLVED_POLICY, policy)

    def take_policy(self, other: RunFolder) -> None:
        """Keep the policy that `other` keeps, in the place of the own. Raises `StoreError`."""
        for name in (POLICY, RESOLVED_POLICY):
            content = other._read(name)
            if content is not None:
                self.write(name, content)

    def _keep_source(self, source: str, name: str, config: TrainingConfig | None = None) -> None:
        if source and Path(source).is_file():
            with disk_errors(f"read {source}"):
                content = Path(source).read_bytes()
            self.write(name, without_secrets(content, config) if config else content)

    # ── Records ──────────────────────────────────────────────────────────────────────────────────

    def write_record(self, name: str, record: object) -> None:
        """Write a record as sealed JSON. Raises `StoreError`, also for a number that is not finite."""
        write_whole(self.path / name, seal_record(record, SCHEMA))

    def read_record(self, name: str, type_: type[T]) -> T:
        """A record back, equal to what was written.

        Raises `UsageError` where the run has none or a later ftgate wrote it, `StoreError` where it
        is damaged.
        """
        content = self._read(name)
        if content is None:
            raise UsageError(
                f"{self.path} has no {name}: its check ended before that was written",
                hint="run the same `ftgate check` again; it goes on where it stopped",
            )
        try:
            return open_record(content, type_, SCHEMA)
        except NewerSchema as newer:
            raise UsageError(
                f"{self.path / name} was written by a later ftgate: schema {newer.schema}, not {SCHEMA}",
                hint="upgrade ftgate",
            ) from newer
        except Damaged as damage:
            raise self._damaged(name, str(damage)) from damage

    # ── Measurements ─────────────────────────────────────────────────────────────────────────────

    def write_measurements(self, measurements: Measurements) -> None:
        """Write the raw measurements; `measurements.json` last, so that it never lists what is not there."""
        from gate import tables

        names = _file_names(measurements.measurements)
        entries = []
        for name, each in zip(names, measurements.measurements, strict=True):
            pairs = self._write_table(f"measurements/{name}.parquet", tables.pairs_to_bytes(each))
            corpus = None
            if each.corpus is not None or each.replicates:
                content = tables.corpus_to_bytes(each)
                corpus = self._write_table(f"measurements/{name}--corpus.parquet", content)
            entries.append(_Entry(tables.head_of(each), pairs, corpus))
        flips = self._write_table(FLIPS, tables.flips_to_bytes(measurements.flips))
        m = measurements
        self.write_record(MEASUREMENTS, _Contents(m.base, m.tuned, m.tasks, tuple(entries), flips))

    def read_measurements(self) -> Measurements:
        """The raw measurements, equal to what was written: every file is checked against its digest.

        Raises `UsageError` and `StoreError` as `read_record` does.
        """
        contents = self.read_record(MEASUREMENTS, _Contents)
        return Measurements(
            base=contents.base,
            tuned=contents.tuned,
            tasks=contents.tasks,
            measurements=tuple(self._measurement(entry) for entry in contents.measurements),
            flips=self._flips(contents.flips),
        )

    def _measurement(self, entry: _Entry) -> Measurement:
        from gate import tables

        measurement = entry.measurement
        file = entry.pairs
        try:
            measurement = tables.add_pairs(measurement, self._table(file))
            if entry.corpus is not None:
                file = entry.corpus
                measurement = tables.add_corpus(measurement, self._table(file))
        except Damaged as damage:
            raise self._damaged(file.name, str(damage)) from damage
        return measurement

    def _flips(self, file: _File) -> tuple[Flip, ...]:
        from gate import tables

        try:
            return tables.flips_from_bytes(self._table(file))
        except Damaged as damage:
            raise self._damaged(file.name, str(damage)) from damage

    def _write_table(self, name: str, content: bytes) -> _File:
        self.write(name, content)
        return _File(name, digest_of(content))

    def _table(self, file: _File) -> bytes:
        content = self._read(file.name)
        if content is None:
            raise Damaged("it is missing")
        if digest_of(content) != file.sha256:
            raise Damaged("its bytes are not those that were written")
        return content

    def _read(self, name: str) -> bytes | None:
        with disk_errors(f"read {self.path / name}"):
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def _damaged(self, name: str, why: str) -> StoreError:
        return StoreError(
            f"{self.path / name} is damaged: {why}",
            hint="run the same `ftgate check` again; what the store holds is not measured again",
        )


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in _MARKS)


def _file_names(measurements: Sequence[Measurement]) -> list[str]:
    """`KIND--TASK--LEAF` for each measurement: safe on any file system, and no two alike on any."""
    names: list[str] = []
    taken: set[str] = set()
    for each in measurements:
        kind, _, task = each.task.partition("/")
        plain = "--".join(quote(part, safe="+ ,=@") for part in (kind, task, each.leaf))
        plain = re.sub(r"^\.", "%2E", plain)[:_LONGEST_NAME]
        name, count = plain, 1
        while name.casefold() in taken:
            count += 1
            name = f"{plain}--{count}"
        taken.add(name.casefold())
        names.append(name)
    return names
