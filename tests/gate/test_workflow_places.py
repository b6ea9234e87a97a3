"""`ftgate init --github` writes all or nothing."""

from pathlib import Path

import pytest

from gate.errors import StoreError
from gate.initialise import write_github
from gate.workflows.places import check_places

ACTION = "acme/ftgate@" + "0123456789" * 4


@pytest.mark.parametrize("file", [".github", ".github/workflows"])
def test_a_file_in_the_way_leaves_no_policy_behind(file: str, tmp_path: Path) -> None:
    """A file where a folder must be is met before `thresholds.yaml` is written."""
    place = tmp_path / file
    place.parent.mkdir(exist_ok=True)
    place.write_text("")
    with pytest.raises(StoreError, match=f"{file} is no folder") as caught:
        write_github(tmp_path, action=ACTION)
    assert "move away" in caught.value.hint
    assert not (tmp_path / "thresholds.yaml").exists()


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    """A folder that may not be written and a file in the way are in one error, each once."""
    (tmp_path / ".github").write_text("")
    paths = [
        tmp_path / name for name in ("thresholds.yaml", ".github/workflows/a.yml", ".github/workflows/b.yml")
    ]
    with pytest.raises(StoreError, match=r"may not be written; .*no folder") as caught:
        check_places(paths, lambda folder: False)
    assert str(caught.value).count("no folder") == 1
    assert "the right to write" in caught.value.hint


def test_what_exists_needs_no_right(tmp_path: Path) -> None:
    """A file that is there is left as it is, so that its folder need not be writable."""
    (tmp_path / "thresholds.yaml").write_text("")
    check_places([tmp_path / "thresholds.yaml"], lambda folder: False)
