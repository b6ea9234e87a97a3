"""The champion among the inputs of a config's result: where its content may have changed, nothing carries."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gate.ci.announce import seen_whole
from gate.ci.champion import champion_content
from gate.ci.check import CiSetting, digest_inputs
from gate.records import Champion, ChangedConfig, Policy

CHANGE = ChangedConfig("sft.yaml", "edited")
COMMIT = "c" * 40


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CiSetting:
    """A checkout with a config of a known base model, in workflow run 1."""
    monkeypatch.chdir(tmp_path)
    Path("sft.yaml").write_text("model_name_or_path: org/base\ndataset_name: org/data\n")
    return CiSetting(
        base_tree=tmp_path,
        thresholds=Path("thresholds.yaml"),
        policy=Policy((), (), digest="d"),
        run_dir=tmp_path / "run",
        head_files={"sft.yaml": "1"},
        base_files={"sft.yaml": "1"},
        links={},
        policy_files=frozenset(),
        bases=frozenset({("org/base", None)}),
        form="trusted",
        run_id=1,
    )


def digest(setting: CiSetting, champion: Champion | None, run_id: int = 1) -> str:
    policy = replace(setting.policy, champion=champion)
    return digest_inputs(CHANGE, replace(setting, policy=policy, run_id=run_id))


def rewrite(file: Path, content: str) -> None:
    """Other content of the same size and time: only reading it tells."""
    about = file.stat()
    assert about.st_size == len(content)
    file.write_text(content)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize("name", ["measurements.json", "run.json"])
def test_a_champions_run_outside_of_git_counts_by_its_content(setting: CiSetting, name: str) -> None:
    """Its measurements name the digest of each of their files; what made them counts too."""
    place = Path("champion")
    place.mkdir()
    for each in ("measurements.json", "run.json"):
        (place / each).write_text("old")
    champion = Champion(run="champion")
    before = digest(setting, champion)
    assert digest(setting, champion, run_id=2) == before
    rewrite(place / name, "new")
    assert digest(setting, champion) != before


def test_a_champions_model_folder_counts_by_its_content(setting: CiSetting) -> None:
    """As a relative path from the base ref's files, or an absolute one."""
    place = Path("model")
    place.mkdir()
    (place / "config.json").write_text('{"a": 1}')
    both = Champion(model="model"), Champion(model=str(place.absolute()))
    before = [digest(setting, champion) for champion in both]
    assert [digest(setting, champion, run_id=2) for champion in both] == before
    rewrite(place / "config.json", '{"a": 2}')
    after = [digest(setting, champion) for champion in both]
    assert all(old != new for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("champion", "fixed"),
    [
        (None, True),
        (Champion(model="sha256:" + "a" * 64), True),
        (Champion(model="org/name", revision=COMMIT), True),
        (Champion(model="org/name"), False),
        (Champion(model="org/name", revision="main"), False),
        (Champion(run="gone"), False),
    ],
)
def test_what_may_move_is_carried_into_no_other_run(
    setting: CiSetting, champion: Champion | None, fixed: bool
) -> None:
    """A hub name without a commit, and what is not here: each workflow run has its own digest, all its jobs
    the same."""
    assert (champion_content(champion, setting.base_tree) is not None) == fixed
    assert digest(setting, champion) == digest(setting, champion)
    assert (digest(setting, champion) == digest(setting, champion, run_id=2)) == fixed


@pytest.mark.parametrize(
    ("champion", "whole"),
    [(None, True), (Champion(run="champions/latest"), True), (Champion(run="/srv/champion"), False)],
)
def test_a_champion_outside_of_the_checkout_is_not_seen_from_another_machine(
    setting: CiSetting, champion: Champion | None, whole: bool
) -> None:
    """The job that only looks takes nothing over then: the machine that measures has a disk of its own."""
    assert seen_whole(CHANGE, replace(setting, policy=replace(setting.policy, champion=champion))) == whole
