"""Which configs an event's run is about, and what they run with; nothing heavy is loaded to find out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gate.changes import Changes, Trees, all_configs, find_changes, narrowed
from gate.ci.check import CiSetting
from gate.ci.past import find_history, kept_in
from gate.ci.record import Posting
from gate.ci.refs import (
    Refs,
    base_models,
    files_of_policy,
    find_refs,
    known_configs,
    measures_alike,
    policy_change,
    printable,
    read_policy,
    rules_alike,
)
from gate.errors import ConfigErrors, UsageError
from gate.github.publishing import CommentMode
from gate.records import ChangedConfig, Event, Form, Mode, Policy, PolicyChange, PullRequestPolicy
from gate.repository import LINK, MODULE, Repository


@dataclass(frozen=True, slots=True)
class CiOptions:
    """What `ftgate ci` was asked. `train_timeout` in seconds; `thresholds` relative to the repository."""

    mode: Mode = "check"
    configs: Sequence[str] = ()  # patterns
    thresholds: Path = Path("thresholds.yaml")
    run_dir: Path = Path("ftgate-run")
    handover: Path = Path("ftgate-handover")
    comment: CommentMode = "always"
    fail_on_undecided: bool = True
    train_timeout: float | None = None
    history: Path | None = None  # a folder, or `branch:NAME`
    audit: bool = False  # early verdicts on merged refs


@dataclass(frozen=True, slots=True)
class CiPlan:
    """The changed configs of an event, and what they run with: no setting where there is no policy."""

    changes: Changes
    setting: CiSetting | None
    policy: PolicyChange
    error: UsageError | None = None  # why nothing can be judged, or not as the head has it
    asked: PullRequestPolicy = field(default_factory=PullRequestPolicy)


def make_plan(event: Event, options: CiOptions, repository: Repository, room: Path) -> CiPlan:
    """Look at both refs and find out. `room` takes the base ref's files.

    Raises `UsageError`: a shallow clone, another checkout, a named config that is none.
    """
    thresholds = _inside(options.thresholds)
    refs = find_refs(event, repository, room)
    touched = any(thresholds.as_posix() in file.names for file in refs.changed)
    policy, error = _base_policy(event, refs, thresholds)
    proposed, change = policy, PolicyChange()
    if not event.trusted_ref:
        proposed, problems = _proposed(repository.path, refs, thresholds) if touched else (policy, None)
        error = error or problems
        change = policy_change(refs, policy, proposed, thresholds, repository)
    change = replace(change, lines=_lines_at_head(repository.path, refs, thresholds, policy))
    trees = Trees(
        head=known_configs(refs.head_files, refs.head_tree, repository.path),
        base=known_configs(refs.base_files, refs.base_tree, repository.path),
        links=repository.links(refs.head_files),
        policy_files=files_of_policy(policy, refs.base_files, refs.base_tree) if policy else frozenset(),
    )
    differs = policy is not None and touched and (event.trusted_ref or not measures_alike(policy, proposed))
    changes = _find_changes(event, options, refs, trees, policy, differs)
    if policy is None:
        return CiPlan(changes, None, change, error)
    history = find_history(event, options.history, refs, trees.links, repository, room)
    setting = replace(_setting(event, options, refs, trees, policy), history=history)
    return CiPlan(changes, replace(setting, proposed=change.proposed), change, error, policy.pull_request)


def _setting(event: Event, options: CiOptions, refs: Refs, trees: Trees, policy: Policy) -> CiSetting:
    return CiSetting(
        base_tree=refs.base_tree,
        thresholds=options.thresholds,
        policy=policy,
        run_dir=options.run_dir.absolute(),
        head_files={file.path: file.object_id for file in refs.head_files},
        base_files={file.path: file.object_id for file in refs.base_files},
        links=trees.links,
        policy_files=trees.policy_files,
        bases=base_models(tuple(trees.base), refs.base_tree),
        form=form_of(event, options.mode),
        pull=0 if event.trusted_ref else event.pull or refs.head,
        judged=options.mode == "judge",
        train_timeout=options.train_timeout,
        audit=kept_in(options.history).absolute() if options.audit and event.trusted_ref else None,
        run_id=event.run_id,
    )


def form_of(event: Event, mode: Mode) -> Form:
    """The form that a job of this mode belongs to: `check` alone trains and judges in one job, and before a
    fork's training alone nothing is published."""
    if event.kind == "workflow_run" or mode == "look":
        return "forks"
    return "trusted" if mode == "check" else "two-jobs"


def _inside(thresholds: Path) -> Path:
    if thresholds.is_absolute() or ".." in thresholds.parts:
        hint = "name it from the root of the repository: it is read at the base ref"
        raise UsageError(f"--thresholds: {thresholds} does not lie in the repository", hint=hint)
    return thresholds


def _base_policy(event: Event, refs: Refs, thresholds: Path) -> tuple[Policy | None, UsageError | None]:
    """The base ref's policy, or why there is none."""
    where = f"the base ref {event.base_ref or refs.base[:12]}"
    try:
        policy = read_policy(refs.base_tree, thresholds)
    except ConfigErrors as problems:
        return None, UsageError(
            f"{thresholds} on {where} has problems:\n{problems.message}", hint="mend it there first"
        )
    if policy is None:
        hint = "commit the policy there first: `ftgate init` writes one; a pull request never brings its own"
        return None, UsageError(f"there is no {thresholds} on {where}", hint=hint)
    return policy, None


def _proposed(root: Path, refs: Refs, thresholds: Path) -> tuple[Policy | None, UsageError | None]:
    """The head's own policy, which judges nothing yet, or what is wrong with it."""
    mode = next((file.mode for file in refs.head_files if file.path == thresholds.as_posix()), "")
    if mode in (LINK, MODULE):
        return None, UsageError(f"{thresholds} is a link", hint="the policy is a file of the repository")
    try:
        return read_policy(root, thresholds), None
    except ConfigErrors as problems:
        return None, problems


def _lines_at_head(root: Path, refs: Refs, thresholds: Path, policy: Policy | None) -> dict[str, int] | None:
    """See `PolicyChange.lines`. Both files also differ where the base ref's has changed meanwhile."""
    trees = ({file.path: file.object_id for file in files} for files in (refs.head_files, refs.base_files))
    head, base = (files.get(thresholds.as_posix()) for files in trees)
    if head == base:
        return None
    own, _ = _proposed(root, refs, thresholds)
    return rules_alike(policy, own) if policy and own else {}


def _find_changes(
    event: Event, options: CiOptions, refs: Refs, trees: Trees, policy: Policy | None, differs: bool
) -> Changes:
    if event.config:
        if event.config not in {file.path for file in refs.head_files}:
            raise UsageError(
                f"there is no config {event.config[:200]}", hint="name it from the repository's root"
            )
        return _sayable(Changes((ChangedConfig(event.config, "named"),)))
    patterns = policy.pull_request.configs if policy else ()
    if not refs.since or (event.trusted_ref and event.kind != "push"):
        changes = all_configs(trees.head, "all", patterns)
    else:
        changes = find_changes(refs.changed, trees, policy=differs, patterns=patterns)
    return _sayable(narrowed(changes, options.configs))


def _sayable(changes: Changes) -> Changes:
    """The changes with names that can be written anywhere. Raises `UsageError` for a config without one:
    left out, it would never be measured."""
    for change in changes.changed:
        if not change.path.isprintable():
            raise UsageError(
                f"the name of the training config {change.path!a} holds what cannot be printed",
                hint="rename it",
            )
    named = (
        replace(each, detail=printable(each.detail), previous_path=printable(each.previous_path))
        for each in changes.changed
    )
    return Changes(tuple(named), tuple(map(printable, changes.deleted)))


def posting_of(setting: CiSetting) -> Posting:
    """What the comment takes from the base ref: where the policy lies, and the team's template."""
    posting = Posting(policy_path=setting.thresholds.as_posix())
    template = setting.policy.pull_request.template
    if not template:
        return posting
    source = (setting.base_tree / template).read_text("utf-8", "replace")
    return replace(posting, template_path=template, template=source)
