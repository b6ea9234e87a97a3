"""Flip rates of a base model's tasks: kept where they were seen, found again for `plan` and `check`.

One small sealed file an observation, in the folder `flips/` of a store: checks of models that passed
("history"), and `ftgate calibrate`; and the repository's own history of verdicts (`gate.history`). A file
that is damaged is absent. Only models that passed count: a training that destroyed the model says nothing of
the noise that a good one meets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gate.errors import StoreError
from gate.foresight import Flips
from gate.history import FOLDER, read_history
from gate.records import Measurement, Measurements, ModelRef, TaskInfo
from gate.records.history import PastVerdict
from gate.records.rates import FlipRate, RateSource, SeenRates, TaskRate
from gate.sealed import Damaged, NewerSchema, disk_errors, open_record, seal_record, write_whole
from gate.store import Store

SCHEMA = 1
RECENT = 20  # checks that count
# Documents from which on a rate is known. Of 20 changed among 200 the 95 % interval (Wilson's) is 6.6 to
# 14.9 %, well within the 5 to 20 % that are shown beside an assumed rate, and noise goes with the root: 20 %
# up or down. Of none among 200 it ends at 1.9 %. Of 5 among 50 it is 4.3 to 21.4 %: what is assumed anyway.
LEAST = 200


def base_key(base: ModelRef) -> str:
    """A base model's name among rates: a pinned revision of the hub's, else the digest of its files."""
    named = f"{base.name}@{base.revision}" if base.revision else base.digest
    return hashlib.sha256(named.encode()).hexdigest()


def form_of(info: TaskInfo) -> str:
    """The digest of how a task is asked: its metric, examples, documents and own files. The kind of rule, a
    limit and the margins are no part of it."""
    leaves = [[leaf.name, leaf.documents_total] for leaf in info.leaves]
    parts = [info.task.partition("/")[2], info.metric, info.filter, info.num_fewshot, leaves, info.sources]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def count_changed(base: Sequence[float], tuned: Sequence[float]) -> int:
    """How many documents have another value."""
    return sum(one != other for one, other in zip(base, tuned, strict=True))


def rates_of(measurements: Measurements) -> tuple[TaskRate, ...]:
    """Each task that is right or wrong a document, over all its leaves."""
    parts: dict[str, list[Measurement]] = {}
    for each in measurements.measurements:
        if each.unit == "accuracy" and each.aggregation == "mean" and each.base:
            parts.setdefault(each.task, []).append(each)
    infos = {info.task: info for info in measurements.tasks}
    return tuple(
        TaskRate(
            task,
            form_of(infos[task]),
            sum(len(each.base) for each in found),
            sum(count_changed(each.base, each.tuned) for each in found),
        )
        for task, found in parts.items()
    )


def keep_rates(store: Path, seen: SeenRates) -> None:
    """Keep an observation in a store's folder; the same one again replaces itself. Raises `StoreError`."""
    name = hashlib.sha256(json.dumps([seen.source, seen.what]).encode()).hexdigest()[:32]
    write_whole(_folder(store, seen.base) / f"{seen.source}-{name}.json", seal_record(seen, SCHEMA))


def remember(store: Store, measurements: Measurements, now: str) -> None:
    """Keep the flip rates of a model that passed; a store that cannot be written costs only that."""
    rates = tuple(each for each in rates_of(measurements) if each.documents)
    seen = SeenRates(base_key(measurements.base), "history", measurements.tuned.digest, now, rates)
    with suppress(StoreError):
        keep_rates(store.root, seen)


def read_rates(store: Path, base: str) -> tuple[SeenRates, ...]:
    """All observations of a base model in a store's folder, the oldest first."""
    found = []
    folder = _folder(store, base)
    with disk_errors(f"read {folder}"):
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        for file in files:
            try:
                found.append(open_record(file.read_bytes(), SeenRates, SCHEMA))
            except (Damaged, NewerSchema):
                continue
    return tuple(sorted((each for each in found if each.base == base), key=lambda each: each.created))


def _folder(store: Path, base: str) -> Path:
    return store / "flips" / base


def flips_on(
    store: Store, base: ModelRef, tasks: Sequence[TaskInfo], folder: Path = FOLDER
) -> dict[str, Flips]:
    """The flip rates that are known of these tasks on a base model: by a store's trusted part, and by the
    history of verdicts in `folder`. Every source of flip rates is read here. Raises `StoreError`."""
    past = read_history(folder, lambda _: None)  # what is damaged there, `ftgate history` tells
    refuted = {each.tuned for each in past if each.audit and each.outcome != "pass"}
    seen = (*read_rates(store.trusted_root, base_key(base)), *_of_history(past, base, tasks))
    return known_flips((each for each in seen if each.what not in refuted), tasks)


def _of_history(
    history: Iterable[PastVerdict], base: ModelRef, tasks: Sequence[TaskInfo]
) -> Iterator[SeenRates]:
    """What verdicts on models that passed saw, and audits of these, which saw all documents. They tell no
    more of a task than its name and documents."""
    infos = {info.task: info for info in tasks}
    for past in history:
        if past.base != base.digest or past.outcome != "pass":
            continue
        rates = tuple(
            TaskRate(each.task, form_of(infos[each.task]), each.documents, each.changed)
            for each in past.flips
            if each.task in infos and 0 < each.documents <= infos[each.task].documents_total
        )
        yield SeenRates(base_key(base), "history", past.tuned, past.created, rates)


def known_flips(seen: Iterable[SeenRates], tasks: Sequence[TaskInfo]) -> dict[str, Flips]:
    """The flip rate of each task that has one, by `TaskInfo.task`: of the latest checks of models that
    passed, all documents together, where these are at least `LEAST`; else the largest that calibration saw;
    else the assumed one, with what was seen of fewer documents.

    A check that was decided early stopped the earlier the fewer answers had changed. Sums over checks do not
    mind (Wald 1944, Annals of Mathematical Statistics 15, 283), means of the checks' own rates would.
    """
    observations = sorted(seen, key=lambda each: each.created)
    known: dict[str, Flips] = {}
    for info in tasks:
        form = form_of(info)
        checks = _pooled(_fullest(observations, "history", form)[-RECENT:])
        changes = _fullest(observations, "calibrate", form)
        if checks.documents >= LEAST:
            known[info.task] = replace(
                checks, rate=checks.changed / checks.documents, known=True, source="history"
            )
        elif sum(each.documents for each in changes) >= LEAST:
            worst = max(changes, key=lambda each: each.rate)
            known[info.task] = Flips(
                worst.rate, True, "calibrate", len(changes), worst.changed, worst.documents
            )
        elif checks.documents:
            known[info.task] = checks
    return known


def _fullest(observations: Iterable[SeenRates], source: RateSource, form: str) -> list[TaskRate]:
    """Of each model, or change, the observation of a task with the most documents, what was seen last at the
    end: an audit has more than the check before it."""
    found: dict[str, TaskRate] = {}
    for each in observations:
        for rate in each.rates:
            if each.source == source and rate.form == form and rate.documents:
                before = found.pop(each.what, rate)
                found[each.what] = max(rate, before, key=lambda one: one.documents)
    return list(found.values())


def _pooled(checks: Sequence[TaskRate]) -> Flips:
    """What they saw together, which is not yet a rate."""
    changed, documents = sum(each.changed for each in checks), sum(each.documents for each in checks)
    return Flips(runs=len(checks), changed=changed, documents=documents)


def compare_rates(expected: Mapping[str, Flips], measurements: Measurements) -> tuple[FlipRate, ...]:
    """What was expected of each task beside what was seen."""
    found = []
    for each in rates_of(measurements):
        flips = expected.get(each.task, Flips())
        found.append(FlipRate(each.task, flips.rate, flips.source, each.rate, each.documents))
    return tuple(found)
