"""`ftgate plan`: what a policy can see and what a check would cost, without a model or a GPU.

Neither torch nor transformers is imported; lm-eval only for tasks that the store's catalogue does not know.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from gate.branch_history import named_history
from gate.catalogue import Catalogue, KnownTask
from gate.configs import load_config
from gate.configs.data import split_files
from gate.devices import DEVICES
from gate.errors import InfrastructureError, UsageError, together
from gate.fetch import fetch_model
from gate.flip_rates import flips_on
from gate.foresight import Flips, Foresight, doubts_of, foresee
from gate.foresight.costs import (
    CHARACTERS_PER_TOKEN,
    Rows,
    Work,
    cost_on,
    operations_of,
    parameters_by_name,
    training_tokens,
)
from gate.models import digest_model, tensor_shapes
from gate.plan import build_plan
from gate.policy import load_policy
from gate.records import Dataset, ModelRef, Policy, TaskInfo, TrainingConfig
from gate.report.foresight import Planned, planned_json, planned_text
from gate.repository import Repository
from gate.sealed import disk_errors
from gate.shell import Shell
from gate.store import Store, store_root

LINES = (".jsonl", ".ndjson", ".txt", ".csv")  # a row a line


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What `ftgate plan` was asked. Without a `device` those are taken that the policy has prices for.

    `base` is the base model whose flip rates count; else the config's. `history` is the folder of earlier
    verdicts that tell them, or `branch:NAME`.
    """

    config: Path | None
    thresholds: Path
    device: str | None = None
    as_json: bool = False
    base: str | None = None
    history: Path | None = None


def plan_config(options: PlanOptions, shell: Shell) -> Planned:
    """Say what the policy's rules can see, and what training and measuring would take.

    Flip rates are those that the store has of this base; a rule that cannot work at one is an error.
    Raises `ConfigErrors` with every problem of policy, config and tasks.
    """
    today = date.fromisoformat(shell.now()[:10])
    policy, config = together(
        lambda: load_policy(options.thresholds, today=today),
        lambda: None if options.config is None else load_config(options.config),
    )
    store = Store(store_root(shell.environ), warn=shell.warn)
    tasks = find_tasks(policy, store.root / "tasks")
    infos = tuple(task.info for task in tasks)
    known = _known_flips(options, config, store, infos, shell)
    plan = build_plan(policy, ModelRef(config.base_model if config else "", "", ""), infos, config)
    foresight = foresee(policy, infos, known)
    problems = doubts_of(foresight, policy)
    work = work_of(config, tasks, foresight, shell.environ, policy.seeds)
    prices = dict(policy.prices)
    devices = [options.device] if options.device else list(prices)
    costs = tuple(cost_on(DEVICES[name], work, prices.get(name)) for name in devices)
    subject = str(options.thresholds) + (f" and {options.config}" if options.config else "")
    planned = Planned(subject, foresight, problems, (*plan.warnings, *_waived(policy)), work, costs)
    shell.say(planned_json(planned) if options.as_json else planned_text(planned))
    return planned


def _known_flips(
    options: PlanOptions,
    config: TrainingConfig | None,
    store: Store,
    infos: tuple[TaskInfo, ...],
    shell: Shell,
) -> dict[str, Flips]:
    """What the store and the history that is meant know of this base."""
    with tempfile.TemporaryDirectory(prefix="ftgate-") as room:
        history = named_history(options.history, Repository(Path()), Path(room))
        base = _base(options.base, config, shell.environ, history)
        return flips_on(store, base, infos, history) if base else {}


def _base(
    given: str | None, config: TrainingConfig | None, environ: Mapping[str, str], history: Path
) -> ModelRef | None:
    """The base model, so that its flip rates are found; None where it is not on this disk."""
    name = given or (config.base_model if config else "")
    if not name:
        return None
    asked = config.base_revision if config and not given else None
    try:
        folder, revision = fetch_model(name, asked, environ={**environ, "HF_HUB_OFFLINE": "1"})
        needed = not revision or history.is_dir()  # reading all of a large model takes a while
        digest = digest_model(folder) if needed else ""
    except (UsageError, InfrastructureError):
        return None
    return ModelRef(name, str(folder), digest, revision=revision)


def _waived(policy: Policy) -> Iterator[str]:
    for waiver in (rule.waiver for rule in policy.rules if rule.waiver):
        given = "skipped" if waiver.margin is None else f"{waiver.margin:g} instead of {waiver.own_margin:g}"
        yield f"{waiver.rule}: {given}, by a waiver until {waiver.until}"


def find_tasks(policy: Policy, folder: Path) -> tuple[KnownTask, ...]:
    """The policy's tasks from the catalogue in `folder`, else from their data, and then kept there.

    Raises `ConfigErrors` with every task that cannot be found.
    """
    with disk_errors("read the policy's own tasks"):
        catalogue = Catalogue(folder, policy)
        found = catalogue.find(policy.tasks)
    if found is not None:
        return found
    from checks import open_tasks  # late: lm-eval takes seconds to load
    from checks.reading import reading

    tasks = []
    for opened in open_tasks(policy.tasks, policy, index_folder=folder):
        read = reading(opened)
        tasks.append(KnownTask(opened.info, read.characters, read.generates))
    with disk_errors("read the policy's own tasks"):
        catalogue.keep(policy.tasks, tasks)
    return tuple(tasks)


# ── What there is to compute ─────────────────────────────────────────────────────────────────────


def work_of(
    config: TrainingConfig | None,
    tasks: tuple[KnownTask, ...],
    foresight: Foresight,
    environ: Mapping[str, str],
    trainings: int = 1,
) -> Work:
    """Parameters and tokens, as far as files and names tell them."""
    unknown = []
    measuring = _measuring_tokens(tasks, foresight.expected_share)
    if measuring is None:
        unknown.append("measuring: some task's documents cannot be looked at cheaply")
    if writing := [task.info.task for task in tasks if task.generates]:
        unknown.append(f"measuring: {', '.join(writing)} has its answers written, which takes longer")
    if config is None:
        return Work(measuring_tokens=measuring, unknown=("no training config was named", *unknown))
    parameters, source = _parameters(config, environ)
    if parameters is None:
        unknown.append(f"{config.base_model} is not on this disk, and its name tells no size")
    tokens = training_tokens(config, _rows(config.datasets))
    if tokens is None:
        unknown.append("training: its data are not on this disk as lines of text")
    return Work(
        parameters,
        source,
        tokens,
        operations_of(config),
        measuring,
        config.processes,
        tuple(unknown),
        trainings,
    )


def _measuring_tokens(tasks: tuple[KnownTask, ...], share: float) -> float | None:
    characters = 0.0
    for task in tasks:
        if task.characters is None:
            return None
        characters += task.characters * task.info.documents_planned
    return share * characters / CHARACTERS_PER_TOKEN


def _parameters(config: TrainingConfig, environ: Mapping[str, str]) -> tuple[int | None, str]:
    """(how many, from where): the base's files on this disk or in the hub's cache, else its name."""
    try:
        offline = {**environ, "HF_HUB_OFFLINE": "1"}
        folder, _ = fetch_model(config.base_model, config.base_revision, environ=offline)
        shapes = tensor_shapes(folder)
    except (UsageError, InfrastructureError):
        shapes = {}
    if shapes:
        return sum(math.prod(shape) for shape in shapes.values()), "its files"
    return parameters_by_name(config.base_model), "its name"


def _rows(datasets: tuple[Dataset, ...]) -> Rows | None:
    """Rows and characters of the training data; None where some are not here, or not a row a line."""
    number, characters = 0, 0
    files = [_files(data) for data in datasets]
    for path in (path for some in files for path in some):
        content = path.read_bytes()
        number += sum(1 for line in content.splitlines() if line.strip())
        characters += len(content)
    return Rows(number, float(characters)) if number and all(files) else None


def _files(data: Dataset) -> tuple[Path, ...]:
    path, split = Path(data.name), data.split or "train"
    if path.is_file():
        found: tuple[Path, ...] = (path,)
    else:
        found = ((split_files(path) or {}) if path.is_dir() else {}).get(split, ())
    return found if all(file.suffix in LINES for file in found) else ()
