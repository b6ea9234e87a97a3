"""The history of verdicts on the default branch: a small JSON file each, in a folder of the repository.

.ftgate/history/20261124T182000Z-CONFIG-1a2b3c4d.json

Files are never changed, so any number of jobs can add to a folder, and git merges it. Who can write to that
branch can write any history: no outcome depends on it. It is shown beside a verdict, and its flip rates
feed the warnings of `check` and the errors of `plan`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gate.records import Finding
from gate.records.history import Audit, Judged, PastRule, PastTask, PastVerdict
from gate.sealed import BLANK_SEAL, Damaged, NewerSchema, check_seal, disk_errors, seal, write_whole
from gate.stats import Bounds, wilson
from gate.verdict import Verdict
from gate.verdict.arrange import HUGE

SCHEMA = 1
FOLDER = Path(".ftgate", "history")
LARGEST = 64 << 10  # bytes of a file that is looked into; one of forty rules has four kilobytes
MOST = 5_000  # files of a folder
RECENT = 20  # verdicts that count for flip rates
DIGITS = 6  # significant ones of a stored number

Row = tuple[str, str, bool, float, float, float, float | None, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A verdict as its file has it: rules and tasks as rows, which saves the names of their fields."""

    schema: int
    created: str
    commit: str
    config: str
    outcome: Judged
    rules: tuple[Row, ...]
    flips: tuple[tuple[str, int, int], ...]
    documents: tuple[int, int]
    seconds: float
    digests: Mapping[str, str]
    audit: Audit | None
    early: tuple[str, ...] = ()  # rules whose number is an estimate
    sha256: str  # last, see gate/sealed.py


def past_of(
    verdict: Verdict, commit: str = "", *, created: str = "", audit: Audit | None = None
) -> PastVerdict:
    """What is remembered of a verdict. `created` is the verdict's own time where none is given.

    Of a recipe no flips: documents that change on the mean of k trainings are up to k times as many as in
    one.
    """
    found = [finding for finding in verdict.findings if not finding.sliced_by]
    config, tuned = verdict.config, verdict.tuned
    outcome: Judged = verdict.outcome  # type: ignore[assignment]  # a Verdict is never an error
    tasks = {finding.task: finding for finding in found if finding.kind != "average"}
    return PastVerdict(
        created=created or verdict.provenance.created,
        commit=commit,
        config=config.path if config else tuned.name,
        outcome=outcome,
        rules=tuple(_rule(finding) for finding in verdict.findings),
        flips=() if verdict.seeds else tuple(_flips(found)),
        documents_scored=sum(each.documents_scored for each in tasks.values()),
        documents_planned=sum(each.documents_planned or each.documents_scored for each in tasks.values()),
        seconds=_short(verdict.cost.total_seconds * verdict.cost.devices),
        base=verdict.base.digest,
        tuned=tuned.digest,
        policy=verdict.provenance.policy_digest,
        config_digest=config.digest if config else "",
        champion=verdict.champion.digest if verdict.champion else "",
        audit=audit,
    )


def _rule(finding: Finding) -> PastRule:
    scored = finding.bound == "min_score"
    interval = finding.remaining if finding.early and finding.remaining else finding.interval
    return PastRule(
        finding.rule,
        finding.unit,
        finding.higher_is_better,
        _short(finding.tuned if scored else finding.difference),
        _short(interval.low),
        _short(interval.high),
        finding.margin,
        finding.outcome,
        finding.early,
    )


def _flips(findings: Iterable[Finding]) -> Iterable[PastTask]:
    """Each task whose documents are right or wrong, once, against the base."""
    seen: set[str] = set()
    for finding in findings:
        task = f"{finding.kind}/{finding.task}"
        right = finding.unit == "accuracy" and finding.kind != "average" and finding.reference == "base"
        if right and task not in seen:
            seen.add(task)
            yield PastTask(task, finding.fell + finding.rose, finding.documents_scored)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True, slots=True)
class Past:
    """`history.json` of a run's folder: the earlier verdicts on its config."""

    verdicts: tuple[PastVerdict, ...]


# ── Files ────────────────────────────────────────────────────────────────────────────────────────


def write_past(folder: Path, past: PastVerdict) -> Path:
    """Add a verdict to a folder; the same one again is the same file. Raises `StoreError`."""
    content = encode_past(past)
    moment = _moment(past.created).strftime("%Y%m%dT%H%M%SZ")
    config = re.sub(r"[^A-Za-z0-9]+", "-", past.config).strip("-")[-40:] or "run"
    kind = "-audit" if past.audit else ""
    path = folder / f"{moment}-{config}{kind}-{hashlib.sha256(content).hexdigest()[:8]}.json"
    write_whole(path, content)
    return path


def encode_past(past: PastVerdict) -> bytes:
    """A verdict's file: one line of JSON with its own digest."""
    digests = {
        "base": past.base,
        "tuned": past.tuned,
        "policy": past.policy,
        "config": past.config_digest,
        "champion": past.champion,
    }
    file = _File(
        schema=SCHEMA,
        created=past.created,
        commit=past.commit,
        config=past.config,
        outcome=past.outcome,
        rules=tuple(tuple(getattr(rule, name) for name in _FIELDS) for rule in past.rules),
        flips=tuple((each.task, each.changed, each.documents) for each in past.flips),
        documents=(past.documents_scored, past.documents_planned),
        seconds=past.seconds,
        digests={name: digest for name, digest in digests.items() if digest},
        audit=past.audit,
        early=tuple(rule.rule for rule in past.rules if rule.early),
        sha256=BLANK_SEAL,
    )
    return seal(msgspec.json.encode(file) + b"\n")


def decode_past(content: bytes) -> PastVerdict:
    """A verdict back. Raises `Damaged`, or `NewerSchema` where a later ftgate wrote it."""
    check_seal(content)
    try:
        schema = msgspec.json.decode(content, type=dict[str, Any]).get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise NewerSchema(schema)
        file = msgspec.json.decode(content, type=_File)
        _moment(file.created)
        named = (dict(zip(_FIELDS, row, strict=True)) for row in file.rules)
        rules = tuple(msgspec.convert({**row, "early": row["rule"] in file.early}, PastRule) for row in named)
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError) as error:
        raise Damaged(f"it is no verdict of ftgate: {error}") from error
    numbers = [number for rule in rules for number in (rule.value, rule.low, rule.high, rule.margin or 0.0)]
    if not all(abs(number) <= HUGE for number in [*numbers, file.seconds]):  # not so for NaN
        raise Damaged("it has a number that no score is as large as")
    digests = file.digests
    return PastVerdict(
        created=file.created,
        commit=file.commit,
        config=file.config,
        outcome=file.outcome,
        rules=rules,
        flips=tuple(PastTask(*each) for each in file.flips if 0 <= each[1] <= each[2]),
        documents_scored=file.documents[0],
        documents_planned=file.documents[1],
        seconds=file.seconds,
        base=digests.get("base", ""),
        tuned=digests.get("tuned", ""),
        policy=digests.get("policy", ""),
        config_digest=digests.get("config", ""),
        champion=digests.get("champion", ""),
        audit=file.audit,
    )


_FIELDS = ("rule", "unit", "higher_is_better", "value", "low", "high", "margin", "outcome")


def _moment(created: str) -> datetime:
    """A verdict's time. Raises `ValueError`."""
    moment = datetime.fromisoformat(created)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{created} is no time in UTC") from error


def read_history(folder: Path, warn: Callable[[str], None]) -> tuple[PastVerdict, ...]:
    """All verdicts in a folder, the oldest first; `warn` is told of each file that is left out.

    A folder that is not there is an empty history. Raises `StoreError` where the disk refuses.
    """
    found: list[PastVerdict] = []
    with disk_errors(f"read {folder}"):
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        if len(files) > MOST:
            warn(f"{folder} holds {len(files):,} files; only the latest {MOST:,} are looked at")
        for file in files[-MOST:]:
            try:
                found.append(_read(file))
            except NewerSchema:
                warn(f"{file} is left out: a later ftgate wrote it")
            except Damaged as damage:
                warn(f"{file} is left out: {str(damage)[:300]}")
    return tuple(sorted(found, key=lambda past: _moment(past.created)))


def _read(file: Path) -> PastVerdict:
    if file.is_symlink() or not file.is_file():
        raise Damaged("it is no plain file")
    if file.stat().st_size > LARGEST:
        raise Damaged(f"it is larger than {LARGEST >> 10} KiB")
    return decode_past(file.read_bytes())


# ── What a history says ──────────────────────────────────────────────────────────────────────────


def of_config(history: Iterable[PastVerdict], config: str) -> tuple[PastVerdict, ...]:
    """The verdicts on one config, without audits: those tell of a verdict that is there already."""
    return tuple(past for past in history if past.config == config and past.audit is None)


def flip_rates(history: Sequence[PastVerdict], config: str | None = None) -> dict[str, float]:
    """The share of documents that changed, by `TaskSpec.id`, over the latest verdicts that passed.

    A training that destroyed a model says nothing of the noise that a good one meets.
    """
    passed = [past for past in history if past.outcome == "pass" and config in (None, past.config)]
    changed: dict[str, tuple[int, int]] = {}
    for past in [each for each in passed if each.audit is None][-RECENT:]:
        for task in past.flips:
            before = changed.get(task.task, (0, 0))
            changed[task.task] = before[0] + task.changed, before[1] + task.documents
    return {task: flips / documents for task, (flips, documents) in changed.items() if documents}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often early verdicts differ from the full ones. `bounds` is a 95 % interval of the share."""

    audits: int
    differing: int
    settled: int  # rules
    rules_differing: int
    stated: float  # the largest share that a policy among them states
    bounds: Bounds


def agreement(history: Iterable[PastVerdict]) -> Agreement | None:
    """What the audits of a history, the oldest first, say together; None where there are none.

    A verdict that was audited again says nothing new: its latest audit counts.
    """
    latest = {
        (past.tuned, past.policy, past.config_digest): past.audit
        for past in history
        if past.audit is not None
    }
    audits = list(latest.values())
    if not audits:
        return None
    differing = sum(not audit.agrees for audit in audits)
    return Agreement(
        len(audits),
        differing,
        sum(audit.settled for audit in audits),
        sum(len(audit.differing) for audit in audits),
        max(audit.error for audit in audits),
        wilson(differing, len(audits), 0.95),
    )
