"""A second reference, the history and an audit, on the embedded model, as a team runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def compared(make_repository: Callable[[], Any], settings: dict[str, Any], policy: dict[str, Any]) -> Any:
    """A repository whose first training is the champion, as a run, of a longer one."""
    repository = make_repository()
    done = repository.ftgate("check", "sft.yaml", "--run-dir", "champion")
    assert done.returncode == 0, done.stderr
    general = {
        **policy["general"],
        "defaults": {"max_drop_from_champion": 0.5},
        "average": {"max_drop_from_champion": 0.5},
    }
    repository.write("longer.yaml", {**settings, "max_steps": 6})
    repository.write("thresholds.yaml", {**policy, "general": general, "champion": {"run": "champion"}})
    done = repository.ftgate("check", "longer.yaml", "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    digest = repository.verdict("champion")["tuned"]["digest"]
    early = {**policy, "general": general, "champion": {"model": digest}, "decide": "score"}
    repository.write("early.yaml", early)
    return repository


def numbers(verdict: dict[str, Any]) -> dict[str, tuple[float, float]]:
    return {
        finding["rule"]: (finding["base"], finding["tuned"])
        for finding in verdict["findings"]
        if finding["reference"] == "champion"
    }


def test_a_run_and_its_model_are_the_same_champion(compared: Any) -> None:
    """From its stored run or scored from the store's model: the same numbers; `judge` needs neither."""
    first = numbers(compared.verdict())
    assert sorted(first) == [
        "average/general/max_drop_from_champion",
        "general/adjunct_island/max_drop_from_champion",
        "general/wh_questions_object_gap/max_drop_from_champion",
    ]
    done = compared.ftgate("check", "longer.yaml", "--thresholds", "early.yaml", "--run-dir", "early")
    assert done.returncode == 0, done.stderr
    assert numbers(compared.verdict("early")) == first
    champion = compared.verdict("champion")["tuned"]["digest"]
    assert compared.verdict("early")["champion"]["digest"] == champion
    assert compared.verdict("early")["cost"]["blocks_scored"] == 0  # all of it was in the store
    before = (compared.path / "run/verdict.json").read_bytes()
    (compared.path / "champion").rename(compared.path / "elsewhere")
    try:
        assert compared.ftgate("judge", "run").returncode == 0
    finally:
        (compared.path / "elsewhere").rename(compared.path / "champion")
    assert (compared.path / "run/verdict.json").read_bytes() == before


def test_a_champion_of_other_documents_is_refused_before_training(compared: Any) -> None:
    """Planted: the champion's run was made with a limit."""
    policy = json.loads((compared.path / "thresholds.yaml").read_text())
    policy["general"]["defaults"]["limit"] = 40
    compared.write("limited.yaml", policy)
    done = compared.ftgate("check", "longer.yaml", "--thresholds", "limited.yaml", "--run-dir", "refused")
    assert done.returncode == 2
    assert "its documents: 60 for the champion, 40 of 60 here" in done.stderr
    assert "champion: {model: DIGEST}" in done.stderr


def test_an_early_verdict_is_audited_and_remembered(compared: Any) -> None:
    """The rest is scored, the verdicts are compared, and the history tells how often they differ."""
    done = compared.ftgate("check", "longer.yaml", "--thresholds", "early.yaml", "--run-dir", "quick")
    assert done.returncode == 0, done.stderr
    if not any(
        each["documents_scored"] < each["documents_planned"] for each in compared.verdict("quick")["findings"]
    ):
        pytest.fail("nothing was settled early: the test has nothing to audit")
    done = compared.ftgate("history", "record", "quick", "--commit", "c0ffee00")
    assert done.returncode == 0, done.stderr
    done = compared.ftgate("audit", "quick")
    assert done.returncode == 0, done.stderr
    assert "the verdict is the same (pass)" in done.stdout
    assert "1 verdict audited: 0 differ" in done.stdout
    assert "stated: at most 5.0 %" in done.stdout
    full = compared.verdict("quick/audit")
    assert all(each["documents_scored"] == each["documents_total"] for each in full["findings"])
    assert compared.ftgate("audit", "quick").returncode == 0  # again, in the same folder
    said = compared.ftgate("history").stdout
    assert "longer.yaml" in said
    assert "c0ffee00  held" in said
    assert "audit agrees" in said
    assert "1 verdict audited: 0 differ from the full benchmark's" in said


def test_a_check_audits_itself(compared: Any) -> None:
    """`--audit` goes on to the last document once the verdict stands, and keeps the comparison; a run of all
    documents has nothing to compare."""
    history = compared.path / ".ftgate/history"
    before = set(history.glob("*-audit-*.json"))
    words = ("check", "longer.yaml", "--run-dir", "audited", "--audit")
    done = compared.ftgate(*words, "--thresholds", "early.yaml", GITHUB_SHA="5eed0000")
    assert done.returncode == 0, done.stderr
    assert "audit: on all documents the verdict is the same (pass)" in done.stdout
    early, full = (compared.verdict(name)["findings"] for name in ("audited", "audited/audit"))
    assert any(each["documents_scored"] < each["documents_total"] for each in early)
    assert all(each["documents_scored"] == each["documents_total"] for each in full)
    (kept,) = set(history.glob("*-audit-*.json")) - before
    assert json.loads(kept.read_text())["commit"] == "5eed0000"
    assert "1 verdict audited: 0 differ" in compared.ftgate("history").stdout
    assert "nothing to audit" in compared.ftgate(*words).stdout


def test_a_report_draws_the_past(compared: Any) -> None:
    """Once a verdict is recorded, the next report shows each rule beside it, and none before."""
    assert "default branch" not in (compared.path / "run/report.html").read_text()
    compared.ftgate("history", "record", "run", "--folder", "kept")
    (compared.path / ".ftgate").mkdir(exist_ok=True)
    target = compared.path / ".ftgate/history"
    target.mkdir(exist_ok=True)
    for file in (compared.path / "kept").iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    done = compared.ftgate("check", "longer.yaml", "--run-dir", "later")
    assert done.returncode == 0, done.stderr
    assert "On the default branch" in (compared.path / "later/report.html").read_text()
    assert "over the last verdicts on the default branch" in (compared.path / "later/comment.md").read_text()


def test_a_run_without_a_verdict_is_not_recorded(compared: Any, tmp_path: Path) -> None:
    """What could not be measured is no history."""
    done = compared.ftgate("history", "record", "refused", "--folder", str(tmp_path / "none"))
    assert done.returncode == 2
    assert not (tmp_path / "none").exists()
