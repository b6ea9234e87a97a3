"""`ftgate demo`: the whole job on an embedded model, three training configs under one policy."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path

from gate.errors import UsageError
from gate.pipeline import CheckOptions, check_config
from gate.report import comparison_row, comparison_sentence, comparison_table
from gate.shell import Shell

HERE = Path(__file__).parent
METHODS = ("full", "lora", "qlora")
MARK = ".ftgate-demo"


def run_demo(folder: Path, shell: Shell) -> None:
    """Check the three configs in `folder`, a copy of the demo's repository, and compare them.

    Raises `UsageError` where `folder` holds something else, and what `check_config` raises.
    """
    lay_out(folder)
    rows = []
    with chdir(folder):
        for number, method in enumerate(METHODS, 1):
            shell.say(f"\n── {number} of {len(METHODS)}: ftgate check configs/{method}.yaml ──")
            options = CheckOptions(
                config=Path("configs", f"{method}.yaml"),
                thresholds=Path("thresholds.yaml"),
                run_dir=Path("runs", method),
            )
            rows.append(comparison_row(method, check_config(options, shell)))
    shell.say("\n" + comparison_table(rows))
    for method in METHODS:
        shell.say(f"report: {folder / 'runs' / method / 'report.html'}")
    shell.say("\n" + comparison_sentence(rows))


def lay_out(folder: Path) -> None:
    """Put the demo's repository into `folder`: base model, data, tasks, configs, policy."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise UsageError(f"{folder} is not empty", hint="name a folder that does not exist yet")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    for name in ("base", "data", "configs"):
        shutil.copytree(HERE / name, folder / name, dirs_exist_ok=True)
    shutil.copytree(tasks_folder(), folder / "tasks", dirs_exist_ok=True)
    shutil.copy(HERE / "thresholds.yaml", folder)


def tasks_folder() -> Path:
    """The demo's lm-eval tasks, which lie with the checks."""
    import checks

    return Path(checks.__path__[0], "tasks")
