"""What a team's own task is made of on disk: its YAML and all that this names, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path
from typing import Any

from lm_eval.api.task import Task
from lm_eval.tasks._yaml_loader import load_yaml

from checks.benchmark_documents import require_small
from checks.benchmark_tasks import OWN_TASKS
from gate.digests import named_sources
from gate.records import Policy


def task_sources(yamls: Iterable[Path], tasks: Iterable[Task], policy: Policy) -> tuple[tuple[str, str], ...]:
    """(path from the policy's folder, digest) of what the tasks were read from; lm-eval's own left out.

    Its version stands for those. Code counts with its whole folder, in which it may read or import. Raises
    DataError where that is too big to be a task's own.
    """
    found = {path for yaml in yamls for path in named_by(yaml)}
    found |= {path for task in tasks for path in _data(task)}
    own = (path for path in found if not path.resolve().is_relative_to(OWN_TASKS))
    return named_sources(own, policy.path)


def named_by(yaml: Path) -> Iterator[Path]:
    """A task's YAML, what it includes, transitively, and the folders of the functions that they name."""
    yield yaml
    config = load_yaml(yaml, resolve_func=False, recursive=False)
    included = config.pop("include", None) or []
    for name in included if isinstance(included, list) else [included]:
        yield from named_by(yaml.parent / name)
    here = yaml.expanduser().resolve().parent
    for text in _texts(config):
        if Path(text).is_relative_to(here):  # a function, as lm-eval's reader writes one that it leaves alone
            module = text.removeprefix(f"{here}/").rpartition(".")[0].replace(".", "/")
            code = yaml.parent / f"{module}.py"
            if code.is_file():
                require_small(code.parent)
                yield code.parent


def _data(task: Task) -> Iterator[Path]:
    config = task.config
    names = [*_texts((getattr(config, "dataset_kwargs", None) or {}).get("data_files"))]
    path = getattr(config, "dataset_path", None)
    if isinstance(path, str) and Path(path).is_dir():
        yield Path(path)
        names = [str(Path(path) / name) for name in names]
    for name in names:
        yield from (Path(file) for file in glob(name) if Path(file).is_file())


def _texts(value: Any) -> Iterator[str]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _texts(part)
    if isinstance(value, str):
        yield value
