"""What stands at the two refs: the base ref's files, training configs and policy, the head's proposals."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path

from gate.changes import FileChange, policy_files, texts_of
from gate.ci.names import may_be_path
from gate.configs import find_reader, load_config, looks_like_config, may_be_config
from gate.errors import ConfigErrors, UsageError
from gate.policy import load_policy
from gate.records import Event, Place, Policy, PolicyChange, ProposedRule, Rule
from gate.repository import LINK, MODULE, Repository, TreeFile
from gate.yamlfile import MAX_BYTES, load_yaml

LONGEST_DIFFERENCE = 20_000  # characters
LARGEST = 64 << 20  # bytes of a YAML file that is looked into


@dataclass(frozen=True, slots=True)
class Refs:
    """The two refs of an event: commits, tracked files, what differs, the base ref's files on disk, and the
    head's YAML files as they are in git: attributes of the head can change what a checkout shows."""

    head: str
    base: str
    since: str  # what the head is compared with; "" where everything counts as changed
    head_files: tuple[TreeFile, ...]
    base_files: tuple[TreeFile, ...]
    changed: tuple[FileChange, ...]
    base_tree: Path
    head_tree: Path


def find_refs(event: Event, repository: Repository, room: Path) -> Refs:
    """Look the event's refs up, and write the base ref's files and the head's YAML below `room`.

    Raises `UsageError` where the clone lacks a commit, or the checkout is of another one than the head.
    """
    head = repository.commit(event.head_sha)
    check_checkout(repository, head)
    base = repository.commit(event.base_sha) if event.base_sha else _tip(repository, event.base_ref)
    if event.trusted_ref:
        since = event.before_sha if repository.holds(event.before_sha) else ""
    else:
        since = repository.merge_base(base, head)
    head_files, base_files = repository.files(head), repository.files(base)
    trees = room / "head", room / "base-ref"
    for tree, files in zip(trees, (tuple(filter(_is_yaml, head_files)), base_files), strict=True):
        tree.mkdir()
        repository.extract(files, tree)
    changed = repository.changed(since, head) if since else ()
    return Refs(head, base, since, head_files, base_files, changed, trees[1], trees[0])


def at_tip(event: Event, repository: Repository) -> Event:
    """The event with its base ref as it is now, where the clone has it: what an event says of it is as old as
    the pull request, or as what is run again, and a waiver that landed since is meant for both.

    Only forward: a clone whose branch does not hold the event's commit is left out.
    """
    tip = f"refs/remotes/origin/{event.base_ref}"
    if event.kind not in ("pull_request", "workflow_run") or not event.base_ref:
        return event
    if not (repository.holds(tip) and repository.holds(event.base_sha)):
        return event
    known, now = repository.commit(event.base_sha), repository.commit(tip)
    return replace(event, base_sha=now) if repository.merge_base(known, now) == known else event


def _is_yaml(file: TreeFile) -> bool:
    return file.mode not in (LINK, MODULE) and file.path.lower().endswith((".yaml", ".yml"))


def check_checkout(repository: Repository, head: str) -> None:
    """Raise `UsageError` unless the head is checked out, or the merge of it that GitHub makes."""
    here = repository.commit("HEAD")
    if head != here and repository.parents(here)[1:] != (head,):
        raise UsageError(
            f"the checkout is of {here[:12]}, the event is about {head[:12]}",
            hint="give actions/checkout the pull request's head as `ref`, and `fetch-depth: 0`",
        )


def _tip(repository: Repository, branch: str) -> str:
    names = (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}")
    return repository.commit(next((name for name in names if repository.holds(name)), names[0]))


# ── Configs ──────────────────────────────────────────────────────────────────────────────────────


def known_configs(files: Sequence[TreeFile], root: Path, checkout: Path) -> dict[str, tuple[str, ...]]:
    """The training configs among a ref's files, whose content lies below `root`, with the texts in them.

    One whose YAML is broken is a config all the same: reading it for its run says what is wrong. A path that
    is written in full is one in the repository where it leads into the `checkout`.
    """
    found = {}
    for file in filter(_is_yaml, files):
        texts = _texts_of_config(root / file.path)
        if texts is not None:
            found[file.path] = tuple(in_checkout(text, checkout) for text in texts)
    return found


def in_checkout(text: str, checkout: Path) -> str:
    """A path that is written in full as one in the checkout if it leads there; any other as it is.

    A text that no file can be called is no path.
    """
    if not may_be_path(text) or not text.startswith(("/", "~", "..")):
        return text
    root = os.path.abspath(checkout)
    path = os.path.normpath(os.path.join(root, os.path.expanduser(text)))
    for place, top in ((path, root), (os.path.realpath(path), os.path.realpath(root))):
        if place == top or place.startswith(f"{top}/"):
            return os.path.relpath(place, top)
    return text


def _texts_of_config(path: Path) -> tuple[str, ...] | None:
    if path.stat().st_size > LARGEST:
        return ()  # nobody can say
    content = path.read_bytes()
    if not may_be_config(content):
        return None
    try:
        file = load_yaml(path, version="1.1")
    except ConfigErrors:
        return () if looks_like_config(content) else None
    return None if find_reader(file) is None else texts_of(file.data)


def base_models(paths: Sequence[str], base_tree: Path) -> frozenset[tuple[str, str | None]]:
    """The base models, with revisions, that the base ref's configs name; broken configs have none."""
    found = set()
    with chdir(base_tree):
        for path in paths:
            try:
                config = load_config(Path(path), trains=False)
            except ConfigErrors:
                continue
            found.add((str(Path(config.base_model)), config.base_revision))
    return frozenset(found)


# ── Policy ───────────────────────────────────────────────────────────────────────────────────────


def read_policy(root: Path, thresholds: Path) -> Policy | None:
    """The policy below a ref's files, its paths relative to them; None where there is none.

    Raises `ConfigErrors`.
    """
    with chdir(root):
        return load_policy(thresholds) if thresholds.is_file() else None


def files_of_policy(policy: Policy, files: Sequence[TreeFile], root: Path) -> frozenset[str]:
    """Task files, their data and corpora: whatever changes what the policy's tasks ask."""
    start = {*policy.include, *(spec.path for spec in policy.tasks if spec.path)}
    if policy.champion is not None:
        start.add(policy.champion.name)
    return policy_files(start, {file.path for file in files}, lambda path: _content(root / path))


def _content(path: Path) -> str:
    """A file's text; "" for what was left out of the base ref's files: a link out of it, a submodule."""
    return path.read_bytes()[:MAX_BYTES].decode("utf-8", "replace") if path.is_file() else ""


def policy_change(
    refs: Refs, policy: Policy | None, proposed: Policy | None, thresholds: Path, repository: Repository
) -> PolicyChange:
    """What a pull request changes of the policy: its difference, new rules, and files of its tasks.

    `policy` is the base ref's, `proposed` the head's.
    """
    path = thresholds.as_posix()
    own = files_of_policy(policy, refs.base_files, refs.base_tree) if policy else frozenset()
    names = {name for file in refs.changed for name in file.names}
    if path not in names and not names & own:
        return PolicyChange()
    difference = ""
    if path in names:
        before = _text(repository, {f.path: f for f in repository.files(refs.since)}, path)
        after = _text(repository, {file.path: file for file in refs.head_files}, path)
        lines = difflib.unified_diff(before, after, f"base ref/{path}", f"pull request/{path}", lineterm="")
        difference = "\n".join(lines)[:LONGEST_DIFFERENCE]
    known = {rule.id for rule in policy.rules} if policy else set()
    rules = [rule for rule in (proposed.rules if proposed else ()) if rule.id not in known]
    new = tuple(ProposedRule(r.id, r.margin, r.kind == "target", replace(r.place, file=path)) for r in rules)
    touched = tuple(printable(name) for name in sorted(names & own))
    return PolicyChange(path, difference, new if path in names else (), touched)


def _text(repository: Repository, files: Mapping[str, TreeFile], path: str) -> list[str]:
    if path not in files:
        return []
    return repository.read(files[path].object_id)[:MAX_BYTES].decode("utf-8", "replace").splitlines()


def printable(name: str) -> str:
    """A file's name as text: names are bytes, and not all bytes are UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def measures_alike(one: Policy, other: Policy | None) -> bool:
    """Whether two policies hold a fine-tune to the same: comments, order of lines and the like aside."""
    return other is not None and _substance(one) == _substance(other)


def rules_alike(one: Policy, other: Policy) -> dict[str, int]:
    """The rules that ask the same in both policies, and on which line each stands in `other`."""
    known = {rule.id: _anywhere(rule) for rule in one.rules}
    return {rule.id: rule.place.line for rule in other.rules if known.get(rule.id) == _anywhere(rule)}


def _anywhere(rule: Rule) -> Rule:
    """The rule without the lines that it and its waiver stand on."""
    waiver = rule.waiver and replace(rule.waiver, place=Place())
    return replace(rule, place=Place(), waiver=waiver)


def _substance(policy: Policy) -> Policy:
    return replace(
        policy,
        rules=tuple(replace(rule, place=Place()) for rule in policy.rules),
        tasks=tuple(replace(spec, place=Place()) for spec in policy.tasks),
        pull_request=type(policy.pull_request)(),
        path="",
        digest="",
    )
