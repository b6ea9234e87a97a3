"""Which earlier verdicts `ftgate ci` reads beside a pull request: never those that it brings."""

from __future__ import annotations

from pathlib import Path

import pytest
from scratch import CONFIG, FILES, Scratch, StubCheck, git, pull_payload, run_in

from gate.ci.plan import CiOptions
from gate.shell import Shell
from gate.stages import CheckOptions
from gate.verdict import Result

LORA = "configs/lora.yaml"
EDITED = {LORA: CONFIG.replace("1.0e-3", "2.0e-3")}
FOLDER, OURS, THEIRS = "kept/history", "kept/history/ours.json", "kept/history/theirs.json"


def read_by(scratch: Scratch, head: str, history: Path) -> tuple[Path | None, Path | None]:
    """The history that a check was asked to read, and where its base ref's files lie."""
    payload, options = pull_payload(scratch, head), CiOptions(history=history)
    (asked,) = run_in(scratch, "pull_request", payload, options=options).stub.asked
    return asked.history, asked.policy_root


@pytest.mark.parametrize("brings", [{THEIRS: "{}"}, {OURS: None, THEIRS: "{}"}, {OURS: None}, {}])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_tracked_history_is_the_base_refs(
    tmp_path: Path, brings: dict[str, str | None], absolute: bool
) -> None:
    """Whatever the head adds to it, takes from it or leaves, and however the folder is named."""
    scratch = Scratch(tmp_path / "repo", {**FILES, OURS: "{}"})
    named = scratch.path / FOLDER if absolute else Path(FOLDER)
    history, base_tree = read_by(scratch, scratch.commit({**EDITED, **brings}), named)
    assert base_tree is not None
    assert history == base_tree / FOLDER
    assert base_tree != scratch.path


def test_a_history_that_only_the_head_has_is_none(tmp_path: Path) -> None:
    """The base ref has no such folder, and so there is nothing to read."""
    scratch = Scratch(tmp_path / "repo")
    history, base_tree = read_by(
        scratch, scratch.commit({**EDITED, THEIRS: "{}"}), Path("kept/../kept/history")
    )
    assert base_tree is not None
    assert history == base_tree / FOLDER


@pytest.mark.parametrize("named", ["link", "link/history", "../outside"])
def test_no_link_leads_to_the_heads_own(tmp_path: Path, named: str) -> None:
    """A link of the head's, what lies behind one, and one from outside into the checkout."""
    scratch = Scratch(tmp_path / "repo")
    target = FOLDER if named == "link" else "kept"
    if named.startswith(".."):
        (tmp_path / "outside").symlink_to(scratch.path / FOLDER)
    else:
        (scratch.path / "link").symlink_to(target)
    history, base_tree = read_by(scratch, scratch.commit({**EDITED, THEIRS: "{}"}), Path(named))
    assert history is not None
    assert base_tree is not None
    assert history.is_relative_to(base_tree)


def test_a_folder_that_git_does_not_track_is_read_where_it_lies(tmp_path: Path) -> None:
    """Another branch checked out beside the repository's files, or any folder of the machine's."""
    scratch = Scratch(tmp_path / "repo", {**FILES, ".gitignore": "beside\n"})
    head = scratch.commit(EDITED)
    beside = scratch.path / "beside/history"
    beside.mkdir(parents=True)
    assert read_by(scratch, head, Path("beside/history"))[0] == beside
    assert read_by(scratch, head, tmp_path / "elsewhere")[0] == tmp_path / "elsewhere"


def test_a_merged_ref_reads_where_it_writes(tmp_path: Path) -> None:
    """A push to the default branch adds to the checkout's own folder, tracked or not."""
    scratch = Scratch(tmp_path / "repo", {**FILES, OURS: "{}"})
    git(scratch.path, "checkout", "-q", "main")
    head = scratch.commit(EDITED)
    payload = {"before": scratch.base, "repository": {"default_branch": "main", "full_name": "acme/tunes"}}
    options = CiOptions(history=Path(FOLDER))
    ended = run_in(scratch, "push", payload, options=options, GITHUB_SHA=head, GITHUB_REF="refs/heads/main")
    assert [asked.history for asked in ended.stub.asked] == [scratch.path / FOLDER]


# ── A branch ─────────────────────────────────────────────────────────────────────────────────────

BRANCH = Path("branch:verdicts")
KEPT = ".ftgate/history/old.json"


def with_branch(scratch: Scratch, files: dict[str, str]) -> None:
    """The remote's branch `verdicts` with these files, as `fetch-depth: 0` leaves it in the clone."""
    here = git(scratch.path, "rev-parse", "--abbrev-ref", "HEAD").strip()
    git(scratch.path, "checkout", "-q", "-b", "verdicts", "main")
    tip = scratch.commit(dict(files))
    git(scratch.path, "checkout", "-q", here)
    git(scratch.path, "branch", "-q", "-D", "verdicts")
    git(scratch.path, "update-ref", "refs/remotes/origin/verdicts", tip)


class Looking(StubCheck):
    """Notes what lies in the history while it is there."""

    def __call__(self, options: CheckOptions, shell: Shell) -> Result:
        assert options.history is not None
        self.found = sorted(path.name for path in options.history.glob("*"))
        return super().__call__(options, shell)


def test_a_branch_is_read_as_the_remote_has_it(tmp_path: Path) -> None:
    """Its `.ftgate/history` alone, without links; a folder or local branch of that name is not looked at."""
    scratch = Scratch(tmp_path / "repo")
    with_branch(scratch, {KEPT: "{}", "verdicts/other.json": "{}"})
    head = scratch.commit({**EDITED, "branch:verdicts/.ftgate/history/mine.json": "{}", KEPT: "{}"})
    git(scratch.path, "branch", "verdicts", head)
    stub = Looking()
    run_in(scratch, "pull_request", pull_payload(scratch, head), options=CiOptions(history=BRANCH), stub=stub)
    assert stub.found == ["old.json"]


def test_a_branch_that_is_not_there_is_an_empty_history(tmp_path: Path) -> None:
    """The first run of all; what the pull request itself brings does not take its place."""
    scratch = Scratch(tmp_path / "repo")
    stub = Looking()
    payload = pull_payload(scratch, scratch.commit({**EDITED, KEPT: "{}"}))
    assert run_in(scratch, "pull_request", payload, options=CiOptions(history=BRANCH), stub=stub).code == 0
    assert stub.found == []


def test_a_push_adds_to_the_folder_that_the_workflow_takes_to_the_branch(tmp_path: Path) -> None:
    """New verdicts, and audits where they are asked for, go to `.ftgate/history` of the checkout."""
    scratch = Scratch(tmp_path / "repo")
    git(scratch.path, "checkout", "-q", "main")
    head = scratch.commit(EDITED)
    payload = {"before": scratch.base, "repository": {"default_branch": "main", "full_name": "acme/tunes"}}
    options = CiOptions(history=BRANCH, audit=True)
    ended = run_in(scratch, "push", payload, options=options, GITHUB_SHA=head, GITHUB_REF="refs/heads/main")
    assert len(list((scratch.path / ".ftgate/history").glob("*.json"))) == 1
    assert [asked.audit for asked in ended.stub.asked] == [scratch.path / ".ftgate/history"]


def test_a_pull_request_is_not_audited(tmp_path: Path) -> None:
    """Audits are of what is merged: a history of a pull request's would be its author's."""
    scratch = Scratch(tmp_path / "repo")
    payload, options = pull_payload(scratch, scratch.commit(EDITED)), CiOptions(audit=True)
    assert [each.audit for each in run_in(scratch, "pull_request", payload, options=options).stub.asked] == [
        None
    ]
