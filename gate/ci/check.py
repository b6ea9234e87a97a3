"""One changed config: whether it may run, what it runs with, and how it ended."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from gate import __version__
from gate.changes import below, dependencies, depends, texts_of
from gate.ci.champion import champion_content
from gate.ci.names import may_be_path
from gate.ci.refs import in_checkout
from gate.configs import load_config
from gate.errors import FAIL, ConfigErrors, GateError, Problem, as_gate_error
from gate.records import ChangedConfig, ConfigRun, Form, Policy, ProposedRule, TrainingConfig
from gate.shell import Shell
from gate.yamlfile import load_yaml

if TYPE_CHECKING:
    from gate.pipeline import CheckOptions
    from gate.verdict import Result

MOST_FILES = 10_000  # of a folder outside of git that are looked at

Base = tuple[str, str | None]
"""A base model's name and revision, as a config writes them."""


@dataclass(frozen=True, slots=True)
class CiSetting:
    """What all configs of one `ftgate ci` run with. The working folder is the head's checkout.

    `head_files` and `base_files` are the tracked files at the two refs, each with its git object's id.
    """

    base_tree: Path  # the base ref's files: policy, tasks, their data and local base models
    thresholds: Path  # the policy, relative to `base_tree`
    policy: Policy
    run_dir: Path  # absolute; each config's run gets a folder in it
    head_files: Mapping[str, str]
    base_files: Mapping[str, str]
    links: Mapping[str, str]  # symbolic links at the head, and what they lead to
    policy_files: frozenset[str]  # at the base ref: task files, their data, corpora
    bases: frozenset[Base]  # of the base ref's configs
    form: Form
    proposed: tuple[ProposedRule, ...] = ()
    pull: int | str = 0  # whose place of the store this uses; 0 for a merged ref
    judged: bool = False
    train_timeout: float | None = None  # seconds
    history: Path | None = None  # absolute; None: `.ftgate/history` of the base ref
    audit: Path | None = None  # absolute: the folder that keeps audits; None: there are none
    run_id: int = 0  # the workflow run's, the same in all of its jobs


@dataclass(frozen=True, slots=True)
class Block:
    """Why a config may not run as it is, and the two steps that are allowed."""

    reason: str
    hint: str


Check = Callable[["CheckOptions", Shell], "Result"]


def check_whole(options: CheckOptions, shell: Shell) -> Result:
    """Train, measure and judge one config, and audit it where that is asked; torch is loaded only now."""
    from gate.audit import audit_check
    from gate.pipeline import check_config, default_run_dir

    result = check_config(options, shell)
    if options.audit:
        audit_check(options.run_dir or default_run_dir(options), options, shell)
    return result


def run_config(
    change: ChangedConfig,
    setting: CiSetting,
    shell: Shell,
    *,
    tuned: Path | None = None,
    check: Check = check_whole,
) -> ConfigRun:
    """Run one changed config under the base ref's policy; `tuned` is its model where it was trained before.

    However it ends, also by an interruption, is in the result and in its run's folder.
    """
    from gate.runfolder import RunFolder

    run = ConfigRun(change, "error", 3, folder_name(change.path), digest_inputs(change, setting))
    RunFolder.forget(setting.run_dir / run.folder)  # an older verdict there was about other inputs
    try:
        config = read_config(change, trains=tuned is None)
        block = find_block(change, config, setting)
        if block is not None:
            return replace(run, outcome="fail", exit_code=FAIL, blocked=block.reason, hint=block.hint)
        result = check(options_for(change, config, setting, tuned=tuned), shell)
    except GateError as error:
        return failed(run, error, setting)
    return replace(run, outcome=result.outcome, exit_code=result.exit_code)


def failed(run: ConfigRun, error: Exception, setting: CiSetting, *, stage: str = "plan") -> ConfigRun:
    """A run that ended with `error`, which its folder tells unless it does so already."""
    from gate.report import render
    from gate.runfolder import VERDICT, RunFolder
    from gate.verdict import Failure

    known = as_gate_error(error)
    place = setting.run_dir / run.folder
    if not (place / VERDICT).is_file():
        folder = RunFolder.begin(place)
        folder.write_report(render(Failure.of(known, stage), (), (), folder=place))
    return replace(run, outcome="error", exit_code=known.exit_code, hint=known.hint)


def read_config(change: ChangedConfig, *, trains: bool) -> TrainingConfig:
    """The config at the head. Raises `ConfigErrors`, also where it is a link: what it shows is elsewhere."""
    if os.path.islink(change.path):
        raise ConfigErrors([Problem(change.path, "is a symbolic link", hint="a training config is a file")])
    return load_config(Path(change.path), trains=trains)


def options_for(
    change: ChangedConfig, config: TrainingConfig, setting: CiSetting, *, tuned: Path | None = None
) -> CheckOptions:
    """What `gate.pipeline` is asked for a config that may run."""
    from gate.pipeline import CheckOptions

    return CheckOptions(
        config=Path(change.path),
        thresholds=setting.thresholds,
        tuned=tuned,
        run_dir=setting.run_dir / folder_name(change.path),
        train_timeout=setting.train_timeout,
        pull=setting.pull,
        judged=setting.judged,
        policy_root=setting.base_tree,
        base_folder=base_folder(config.base_model, setting),
        history=setting.history,
        audit=setting.audit,
    )


def folder_name(path: str) -> str:
    """The name of a config's run folder: readable, safe, and no two configs' alike."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path).strip(".-")[-60:]
    return f"{plain}-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


# ── May it run? ──────────────────────────────────────────────────────────────────────────────────


def find_block(change: ChangedConfig, config: TrainingConfig, setting: CiSetting) -> Block | None:
    """Why the config may not run: rules or a base model that nobody has agreed to yet. None if it may."""
    targets = [rule.rule for rule in setting.proposed if rule.target]
    own = change.reason in ("added", "edited", "renamed")
    if targets and own and setting.policy.pull_request.new_targets == "block":
        return Block(
            f"the pull request brings target rules of its own ({', '.join(targets[:5])}), "
            "which nobody has agreed to yet",
            "in two steps: 1. a pull request with the task and its rule, 2. then the config; or set "
            "`pull_request: {new_targets: allow}` in thresholds.yaml on the base ref",
        )
    return _base_block(config, setting)


def _base_block(config: TrainingConfig, setting: CiSetting) -> Block | None:
    name, revision = config.base_model, config.base_revision
    named = name if revision is None else f"{name}@{revision}"
    inside = inside_path(name)
    if inside is not None:
        places = dependencies((inside,), setting.links)  # also a link or submodule that it lies behind
        base, head = (_named_files(files, places) for files in (setting.base_files, setting.head_files))
        if base != head:
            what = "changes the base model" if base else "brings its own base model"
            return Block(f"the pull request {what} {name}", _two_steps("the model's folder"))
    allowed = {posixpath.normpath(known) for known in setting.policy.pull_request.bases}
    known = (posixpath.normpath(name), revision) in setting.bases
    if known or {posixpath.normpath(name), posixpath.normpath(named)} & allowed:
        return None
    return Block(
        f"no config of the base ref trains from {named}, so nobody has agreed to be measured against it",
        _two_steps(f"`pull_request: {{bases: [{named}]}}` in thresholds.yaml"),
    )


def _two_steps(what: str) -> str:
    return f"in two steps: 1. a pull request with {what}, 2. then the config that trains from it"


def inside_path(name: str) -> str | None:
    """The path in the repository that a model's name may mean; None where it leads out of it or is none."""
    name = in_checkout(name, Path())
    if not may_be_path(name) or name.startswith(("/", "~")):
        return None
    path = posixpath.normpath(name)
    return None if path == ".." or path.startswith("../") else path


def tree_below(files: Mapping[str, str], folder: str) -> dict[str, str]:
    """The tracked files in a folder, with their objects' ids."""
    return {path: object_id for path, object_id in files.items() if below(folder, path)}


def base_folder(name: str, setting: CiSetting) -> Path | None:
    """The folder of a local base model: the base ref's copy where it is tracked; None for a hub name."""
    inside = inside_path(name)
    if inside is not None and (setting.base_tree / inside).is_dir():
        return setting.base_tree / inside
    if not may_be_path(name):
        return None
    path = os.path.expanduser(name)  # which leaves alone what names no user
    return Path(path).absolute() if os.path.isdir(path) else None


# ── What a result depends on ─────────────────────────────────────────────────────────────────────


def digest_inputs(change: ChangedConfig, setting: CiSetting) -> str:
    """Digest of all that a config's result depends on: itself, its data, policy, tasks, base, ftgate, form.

    The form, as a verdict is worth what its form is: one that was made beside the pull request's code is
    none for a judge on a clean machine.

    Two pushes with the same digest have the same result, so the second need not run. Data that git does not
    track counts by size and time: in doubt it has changed. Where a champion's content is not known before it
    is used, every workflow run has a digest of its own.
    """
    try:
        content = Path(change.path).read_bytes()
        texts = texts_of(load_yaml(Path(change.path), version="1.1").data)
    except (GateError, OSError):
        content, texts = b"", ()  # running it says what is wrong with it
    named = dependencies(texts, setting.links)
    champion = champion_content(setting.policy.champion, setting.base_tree)
    parts = {
        "ftgate": __version__,
        "form": setting.form,
        "config": hashlib.sha256(content).hexdigest(),
        "policy": setting.policy.digest,
        "tasks": sorted((path, setting.base_files.get(path, "")) for path in setting.policy_files),
        "data": _named_files(setting.head_files, named),
        "base": _named_files(setting.base_files, named),
        "champion": ["run", setting.run_id] if champion is None else champion,
        "untracked": _untracked(named | {text for text in texts if text.startswith(("/", "~"))}, setting),
        "proposed": [[rule.rule, rule.margin] for rule in setting.proposed],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _named_files(files: Mapping[str, str], named: frozenset[str]) -> list[tuple[str, str]]:
    return sorted((path, files[path]) for path in files if any(depends(name, path) for name in named))


def _untracked(named: frozenset[str], setting: CiSetting) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files that are on this disk and in no commit."""
    found: list[tuple[str, int, int]] = []
    for name in sorted(filter(may_be_path, named)):
        path = os.path.expanduser(name)
        if not os.path.exists(path) or tree_below(setting.head_files, name):
            continue
        files = [Path(path)] if os.path.isfile(path) else islice(Path(path).rglob("*"), MOST_FILES)
        for file in files:
            with suppress(OSError):  # gone meanwhile
                about = file.lstat()
                found.append((str(file), about.st_size, about.st_mtime_ns))
    return sorted(found)
