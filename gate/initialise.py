"""`ftgate init`: a commented thresholds.yaml that fits a repository's training configs, and its workflows."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gate.configs import find_reader, load_config
from gate.errors import ConfigErrors, StoreError, UsageError
from gate.records import TrainingConfig
from gate.workflows import DEFAULT_MACHINE, Form, Wishes, workflow_files, write_workflows
from gate.workflows.finding import (
    check_root,
    default_branch,
    installed_action,
    own_runners,
    python_version,
)
from gate.workflows.places import check_places
from gate.yamlfile import load_yaml

FILE = "thresholds.yaml"
MAX_DEPTH = 6
MAX_FILES = 2_000  # YAML files looked at
MAX_CONFIG_BYTES = 1 << 16
# What a config turns on -> the package that it needs and ftgate does not bring.
EXTRAS = {"use_liger_kernel": "liger-kernel", "deepspeed": "deepspeed"}
SKIPPED = frozenset(("node_modules", "site-packages", "__pycache__", "ftgate-runs", "ftgate-demo"))

_TASK_NAME = re.compile(r"^task:[ \t]*[\"']?([\w-]+)", re.MULTILINE)
_TASK_MARK = re.compile(r"^(doc_to_text|output_type|doc_to_target):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FoundConfig:
    """A training config of the repository; `config` is None while it has problems."""

    path: str
    config: TrainingConfig | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class InitResult:
    """What was written, what was found, and what to do next."""

    path: Path
    configs: tuple[FoundConfig, ...]
    tasks: tuple[tuple[str, str], ...]  # (folder, name) of the team's own lm-eval tasks
    message: str


def write_thresholds(folder: Path) -> InitResult:
    """Write `thresholds.yaml` into a repository; a file that is there is never touched.

    Raises `UsageError` if it exists or there is no such folder, `StoreError` if it cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    path = folder / FILE
    configs, tasks = _look_around(folder)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(thresholds_text(configs, tasks))
    except FileExistsError as error:
        hint = "edit it, or move it away first"
        raise UsageError(f"{path} exists and is left as it is", hint=hint) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    return InitResult(path, configs, tasks, _message(path, configs))


def write_github(
    folder: Path,
    *,
    action: str | None = None,
    form: Form | None = None,
    runs_on: Sequence[str] = (),
    judge_on: Sequence[str] = (),
    ephemeral: bool = False,
    private: bool = False,
    schedule: bool = False,
    container: str | None = None,
) -> str:
    """Write GitHub workflows, and `thresholds.yaml` where there is none; say what is left to do.

    Raises as `write_thresholds` and `gate.workflows.write_workflows` do, before anything is written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    check_root(folder)
    found = action or installed_action()
    if not found:
        hint = "--action OWNER/ftgate@COMMIT, the commit of the ftgate release that you trust"
        raise UsageError("it is not known which ftgate the workflows are to use", hint=hint)
    wishes = Wishes(
        action=found,
        form=form,
        runs_on=tuple(runs_on) or DEFAULT_MACHINE,
        judge_on=tuple(judge_on),
        ephemeral=ephemeral,
        private=private,
        schedule=schedule,
        container=container or "",
        extras=_extras(folder),
        branch=default_branch(folder),
        python=python_version(folder),
    )
    files = [folder / file.path for file in workflow_files(wishes)]
    check_places([folder / FILE, *files])
    others = () if runs_on else own_runners(folder)
    path = folder / FILE
    policy = f"left as it is: {path} exists" if os.path.lexists(path) else write_thresholds(folder).message
    return "\n".join([policy, write_workflows(folder, wishes).message, *_machines(others)])


def _machines(own: Sequence[Sequence[str]]) -> list[str]:
    """That the default machine has no GPU, where workflows of the repository name others."""
    flags = ["".join(f" --runs-on {shlex.quote(label)}" for label in labels) for labels in own]
    named = [f"  or, as in your other workflows, with{each}" for each in flags]
    return [f"trains on {', '.join(DEFAULT_MACHINE)}, which has no GPU", *named] if named else []


def _extras(folder: Path) -> tuple[str, ...]:
    """The packages that the repository's configs need and ftgate does not bring."""
    loaded = [found.config for found in _look_around(folder)[0] if found.config is not None]
    return tuple(
        package for key, package in EXTRAS.items() if any(config.settings.get(key) for config in loaded)
    )


def _look_around(folder: Path) -> tuple[tuple[FoundConfig, ...], tuple[tuple[str, str], ...]]:
    configs: list[FoundConfig] = []
    tasks: list[tuple[str, str]] = []
    for path in _yaml_files(folder):
        name = path.relative_to(folder).as_posix()
        task = _task_name(path)
        if task:
            tasks.append((path.parent.relative_to(folder).as_posix(), task))
            continue
        try:
            known = find_reader(load_yaml(path, version="1.1")) is not None
        except ConfigErrors:
            continue  # not every YAML file of a repository is a config
        if known:
            configs.append(_found(path, name))
    return tuple(configs), tuple(tasks)


def _found(path: Path, name: str) -> FoundConfig:
    try:
        return FoundConfig(name, load_config(path))
    except ConfigErrors as error:
        return FoundConfig(name, None, str(error.problems[0]))


def _yaml_files(folder: Path) -> Iterator[Path]:
    """YAML files in a bounded walk: no hidden folders, no environments, no links."""
    seen = 0
    for root, folders, files in os.walk(folder):
        depth = len(Path(root).relative_to(folder).parts)
        keep = [name for name in sorted(folders) if not name.startswith(".") and name not in SKIPPED]
        folders[:] = [] if "pyvenv.cfg" in files or depth >= MAX_DEPTH else keep
        for name in sorted(files) if "pyvenv.cfg" not in files else ():
            path = Path(root, name)
            ordinary = path.is_file() and not path.is_symlink()
            if name == FILE or path.suffix not in (".yaml", ".yml") or not ordinary:
                continue
            seen += 1
            if seen > MAX_FILES:
                return
            if path.stat().st_size <= MAX_CONFIG_BYTES:
                yield path


def _task_name(path: Path) -> str:
    """The name of an lm-eval task, seen in its text: such files hold tags, which are code."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return ""
    name = _TASK_NAME.search(text)
    return name.group(1) if name and _TASK_MARK.search(text) else ""


def thresholds_text(configs: Sequence[FoundConfig], tasks: Sequence[tuple[str, str]]) -> str:
    """The commented policy for these configs and the team's own tasks."""
    loaded = [found.config for found in configs if found.config is not None]
    quantised = any(config.quantization_bits for config in loaded)
    remote = any(config.trust_remote_code for config in loaded)
    folders = sorted({folder for folder, _ in tasks})
    found = [f"#   {_described(found)}\n" for found in configs] or ["#   (no training config found)\n"]
    return TEMPLATE.format(
        found="".join(found),
        include=f"include: {json.dumps(folders)}" if folders else "# include: [evals/]",
        target=tasks[0][1] if tasks else "my_task",
        quantization=QUANTISED if quantised else "",
        remote=REMOTE if remote else "",
    )


def _described(found: FoundConfig) -> str:
    name = found.path.encode("unicode_escape").decode("ascii")
    if found.config is None:
        return f"{name}: has problems, see `ftgate check`"
    words = {"full": "full fine-tune", "lora": "LoRA", "qlora": "QLoRA"}
    base = found.config.base_model.encode("unicode_escape").decode("ascii")
    return f"{name}: {words[found.config.method]} of {base}"


def _message(path: Path, configs: Sequence[FoundConfig]) -> str:
    lines = [f"wrote {path}"]
    lines += [f"  found {_described(found)}" for found in configs if found.config is not None]
    lines += [f"  needs mending: {found.problem}" for found in configs if found.config is None]
    if not configs:
        lines.append("  no training config found (a TRL sft YAML with `model_name_or_path`)")
    first = next((found.path for found in configs), "CONFIG")
    lines += [
        "next:",
        f"  1. say what the fine-tune is for: the `target` in {path}",
        f"  2. ftgate check {first}",
        "  3. commit it: it is the policy that your pull requests are held to",
    ]
    return "\n".join(lines)


QUANTISED = """
# A config here trains over a quantised base. `match_training` measures its adapter over those 4 or 8 bits, as
# it was trained; `none` measures it over the base in its own precision, as it may be served.
#   quantization: match_training
"""

REMOTE = """
# A config here asks for `trust_remote_code`: code of the base model runs on the machine that checks.
#   remote_code: true
"""

TEMPLATE = """\
# What a fine-tune must gain and what it may lose to be merged. `ftgate check CONFIG` holds it against this.
# Every key: docs/thresholds.md of ftgate. Made for these training configs:
{found}version: 1

# At most 5 % of the intervals in a report miss what they are about.
confidence: 0.95

# `score`: the full benchmark's verdict, from as few documents as make it certain: at least 95 of 100 verdicts
# are the full benchmark's. `full` scores every document, so that each number in the report is the benchmark's
# own too; `proven` passes a general task only with a proof.
decide: score

# Folders with lm-eval tasks of your own, so that rules can name them. Paths start at this file's folder.
{include}

# What the fine-tune is for: tasks of lm-eval or your own. `min_gain` is over the base model, `min_score` is
# the tuned model's own; both in the metric's unit, so that 0.05 is five points of accuracy.
# target:
#   - {{task: {target}, min_gain: 0.05, min_score: 0.80}}

# What it must not forget, measured for base and tuned on the same documents.
general:
  defaults: {{max_drop: 0.02}}
  tasks:
    - {{task: hellaswag, num_fewshot: 10}}
    - {{task: arc_challenge, num_fewshot: 25, max_drop: 0.03}}
    - {{task: winogrande, num_fewshot: 5, max_drop: 0.03}}
    - piqa
    # Too slow? A random sample, the same for both models, and the report says so:
    # - {{task: mmlu, num_fewshot: 5, limit: 2000}}
  # The mean over these tasks: small drops can be seen here that no single task shows.
  average: {{max_drop: 0.01}}

# Bits per byte on general text: the most sensitive gauge. Watch it for a while, then set a `max_rise`.
# text:
#   - {{corpus: data/general.jsonl, report: true}}

# How both models are measured.
evaluation:
  dtype: auto          # the base model's own; or float32, bfloat16, float16
  chat_template: auto  # the base model's own or none, the same for both
  batch_size: 16
{quantization}
# What may run: code of a model repository, code that a model wrote; and variables that a training may see.
trust:
  remote_code: false
  generated_code: false
  env: []
{remote}"""
