"""Which earlier verdicts `ftgate ci` reads beside a pull request: never those that it brings."""

from __future__ import annotations

from pathlib import Path

import pytest
from scratch import CONFIG, FILES, Scratch, git, pull_payload, run_in

from gate.ci.plan import CiOptions

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
