"""How many processes `accelerate launch` will start for a TRL config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gate.errors import ConfigErrors, Problem
from gate.yamlfile import YamlFile, load_yaml


def count_processes(file: YamlFile, settings: Mapping[str, Any], problems: list[Problem]) -> int:
    """`num_processes`, else what the named accelerate config says, else 1."""
    key = "accelerate_config" if settings.get("accelerate_config") else "config_file"
    name = settings.get(key)
    processes = settings.get("num_processes") or 1
    if not name:
        return int(processes)
    path = Path(name) if os.path.isfile(name) else _shipped(name)
    if path is None:
        hint = "a file, or one that TRL ships: zero1, zero2, zero3, fsdp1, fsdp2, multi_gpu, single_gpu"
        problems.append(file.problem((key,), f"no such accelerate config: {name[:200]}", hint))
        return int(processes)
    try:
        launch = load_yaml(path, version="1.1")
    except ConfigErrors as error:
        problems.extend(error.problems)
        return int(processes)
    stated = launch.data.get("num_processes", 1) if isinstance(launch.data, dict) else None
    if not isinstance(stated, int) or isinstance(stated, bool) or stated < 1:
        problems.append(launch.problem(("num_processes",), "expected a whole number of at least 1"))
        return int(processes)
    return int(settings.get("num_processes") or stated)


def _shipped(name: str) -> Path | None:
    trl = find_spec("trl")
    if trl is None or trl.origin is None or not name.isidentifier():
        return None
    path = Path(trl.origin).parent / "accelerate_configs" / f"{name}.yaml"
    return path if path.is_file() else None
