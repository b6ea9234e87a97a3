"""Tasks as an earlier look found them, so that `ftgate plan` need not open their data a second time.

One small sealed file a task in the store's folder `tasks/`, under a key of all that decides what is found
except hub data: those are counted anew by every check. A file that is damaged or out of date is absent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from gate.digests import folder_digest, source_digest
from gate.errors import StoreError
from gate.records import Policy, TaskInfo, TaskSpec
from gate.sealed import Damaged, NewerSchema, open_record, seal_record, write_whole

SCHEMA = 2  # 1 counted no clusters
DECIDING = ("lm_eval", "datasets")  # packages


@dataclass(frozen=True, slots=True)
class KnownTask:
    """A task's documents, metric, subtasks and clusters, and the characters that a model reads a document."""

    info: TaskInfo
    characters: float | None = None
    generates: bool = False


class Catalogue:
    """What is known of a policy's tasks, in `folder`. Raises `OSError` where its own files cannot be read."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self._folder, self._policy = folder, policy
        self._common = [
            SCHEMA,
            {name: version(name) for name in DECIDING},
            policy.evaluation.chat_template,
            policy.trust.generated_code,
            [folder_digest(Path(include)) for include in policy.include],
        ]

    def find(self, specs: Sequence[TaskSpec]) -> tuple[KnownTask, ...] | None:
        """All of these tasks, or None where one is not known or its own files have changed."""
        found = [self._read(spec) for spec in specs]
        known = [task for task in found if task is not None]
        return tuple(known) if len(known) == len(found) else None

    def keep(self, specs: Sequence[TaskSpec], tasks: Sequence[KnownTask]) -> None:
        """Remember them; a store that cannot be written costs time and nothing else."""
        for spec, task in zip(specs, tasks, strict=True):
            with suppress(StoreError):
                write_whole(self._file(spec), seal_record(task, SCHEMA))

    def _read(self, spec: TaskSpec) -> KnownTask | None:
        try:
            task = open_record(self._file(spec).read_bytes(), KnownTask, SCHEMA)
        except (OSError, Damaged, NewerSchema):
            return None
        beside = Path(self._policy.path).parent
        same = all(source_digest(beside / name) == digest for name, digest in task.info.sources)
        return task if same and task.info.task == spec.id else None

    def _file(self, spec: TaskSpec) -> Path:
        asked = {name: value for name, value in asdict(spec).items() if name != "place"}
        asked["path"] = None if spec.path is None else source_digest(Path(spec.path))
        key = hashlib.sha256(json.dumps([*self._common, asked], sort_keys=True).encode()).hexdigest()
        return self._folder / f"found-{key[:32]}.json"
