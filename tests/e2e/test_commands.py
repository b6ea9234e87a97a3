"""A user's day around a check that passed: again, without store, judged anew, verified, promoted, let go."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.policy import load_policy
from gate.records import RunFacts
from gate.runfolder import RunFolder

pytestmark = pytest.mark.e2e

HEAVY = ("torch", "transformers", "lm_eval", "datasets", "trl", "peft")
# Python imports this before anything else, from PYTHONPATH; whoever asks for what is heavy ends there.
GUARD = f"""\
import os, sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name in {HEAVY!r}:
            os.write(2, f"imported {{name}}".encode())
            os._exit(99)
sys.meta_path.insert(0, Guard())
"""
# Packages and modules that ftgate, its training child or its libraries import by these names.
SHADOWS = ("checks", "gate", "trl", "torch", "lm_eval", "datasets", "transformers", "yaml", "json", "random")
SHADOW = "open('SHADOWED', 'a').write(__name__)\nraise SystemExit('the wrong module was imported')\n"


@pytest.fixture
def light(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing heavy can be imported."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    return {"PYTHONPATH": str(tmp_path / "guard")}


@pytest.fixture
def copied(checked, tmp_path: Path) -> Any:
    """The repository in which a check passed, with its run and its store, a test's own."""
    shutil.copytree(checked.path, tmp_path / "copied")
    shutil.copytree(checked.store, tmp_path / "store")
    return replace(checked, path=tmp_path / "copied", store=tmp_path / "store")


@pytest.fixture
def failed(copied, policy) -> Any:
    """The same, judged under a policy that it does not meet."""
    copied.write("strict.yaml", {**policy, "target": [{"task": "banking12", "min_score": 0.99}]})
    done = copied.ftgate("judge", "run", "--thresholds", "strict.yaml")
    assert done.returncode == 1, done.stdout + done.stderr
    return copied


def files(folder: Path) -> set[str]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def cpu_seconds() -> Iterator[list[float]]:
    """Processor seconds that child processes took."""
    taken: list[float] = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield taken
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


# ── Check ────────────────────────────────────────────────────────────────────────────────────────


def test_a_check_leaves_a_folder_that_a_person_can_read(checked) -> None:
    """Verdict, page, comment, JUnit, config and policy, log, environment and the raw measurements."""
    left = files(checked.path / "run")
    expected = {"verdict.json", "report.html", "comment.md", "junit.xml", "config.yaml", "policy.yaml"}
    expected |= {"config.resolved.json", "policy.resolved.json", "environment.json", "training/train.log"}
    assert expected <= left
    assert len([name for name in left if name.startswith("measurements/") and name.endswith(".parquet")]) == 3
    assert (checked.path / "run/config.yaml").read_bytes() == (checked.path / "sft.yaml").read_bytes()
    verdict = checked.verdict()
    assert verdict["outcome"] == "pass"
    assert verdict["cost"]["training_from_store"] is False
    assert [finding["documents_scored"] for finding in verdict["findings"]] == [60, 60, 60]


def test_a_second_check_trains_nothing_and_scores_nothing(copied) -> None:
    """The same inputs in a fresh run folder: all from the store, the same numbers, and it says so."""
    done = copied.ftgate("-q", "check", "sft.yaml", "--run-dir", "again")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    first, second = copied.verdict("run"), copied.verdict("again")
    assert second["cost"]["training_from_store"] is True
    assert second["cost"]["blocks_scored"] == 0
    assert second["cost"]["blocks_from_store"] == first["cost"]["blocks_scored"]
    assert second["findings"] == first["findings"]
    assert second["tuned"]["digest"] == first["tuned"]["digest"]
    assert not (copied.path / "again/training").exists()
    assert "came from the store" in done.stdout


def test_no_cache_in_a_repository_full_of_namesakes(checked, copied) -> None:
    """`--no-cache` reads and writes no store though it is full; folders named as ours shadow nothing."""
    for name in SHADOWS:
        copied.write(f"{name}.py", SHADOW)
        copied.write(f"{name}/__init__.py", SHADOW)
    before = files(copied.store)
    script = Path(sys.executable).parent / "ftgate"  # as a user calls it
    arguments = ("check", "sft.yaml", "--run-dir", "alone", "--no-cache")
    done = copied.run([str(script), *arguments])
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (copied.path / "SHADOWED").exists()
    verdict = copied.verdict("alone")
    assert verdict["cost"]["training_from_store"] is False
    assert verdict["cost"]["blocks_from_store"] == 0
    assert verdict["cost"]["blocks_scored"] == checked.verdict()["cost"]["blocks_scored"]
    assert verdict["tuned"]["digest"] == checked.verdict()["tuned"]["digest"]
    assert files(copied.store) == before
    promoted = copied.ftgate("promote", "alone", "shipped")
    assert promoted.returncode == 0, promoted.stderr


def test_a_tuned_model_made_elsewhere_is_judged_without_training(copied) -> None:
    """`--tuned` with `--base` and no config: the same numbers, all of them in the store already."""
    shutil.copytree(copied.verdict()["tuned"]["path"], copied.path / "mine")
    done = copied.ftgate("check", "--tuned", "mine", "--base", "base", "--run-dir", "given")
    assert done.returncode == 0, done.stdout + done.stderr
    first, given = copied.verdict("run"), copied.verdict("given")
    numbers = [[(each["base"], each["tuned"]) for each in verdict["findings"]] for verdict in (first, given)]
    assert numbers[0] == numbers[1]
    assert given["cost"]["blocks_scored"] == 0
    assert given["config"] is None
    assert not (copied.path / "given/training").exists()


# ── Judge and report ─────────────────────────────────────────────────────────────────────────────


def test_judging_again_needs_no_model_and_little_time(copied, policy, light) -> None:
    """`judge` under the run's own policy and another: no heavy import, within a second, the new outcome."""
    own = copied.ftgate("judge", "run", **light)
    assert own.returncode == 0, own.stdout + own.stderr
    assert copied.verdict()["outcome"] == "pass"
    copied.write("strict.yaml", {**policy, "target": [{"task": "banking12", "min_score": 0.99}]})
    with cpu_seconds() as taken:
        strict = copied.ftgate("judge", "run", "--thresholds", "strict.yaml", **light)
    assert strict.returncode == 1, strict.stdout + strict.stderr
    assert taken[0] < 1.0
    verdict = copied.verdict()
    outcomes = {finding["rule"]: finding["outcome"] for finding in verdict["findings"]}
    assert verdict["outcome"] == "fail"
    assert outcomes["target/banking12/min_score"] == "fail"
    assert verdict["provenance"]["policy_path"] == "strict.yaml"
    assert "blocked" in strict.stdout


def test_a_policy_that_asks_for_more_than_was_measured_is_refused(copied, policy) -> None:
    """More tasks, another dtype: exit 2 with the line; the run keeps its verdict and its policy."""
    before = (copied.path / "run/verdict.json").read_bytes()
    copied.write("more.yaml", "version: 1\ngeneral:\n  tasks:\n    - {task: hellaswag, max_drop: 0.1}\n")
    done = copied.ftgate("judge", "run", "--thresholds", "more.yaml")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "hellaswag" in done.stderr
    assert "more.yaml:4" in done.stderr
    copied.write("other.yaml", {**policy, "evaluation": {**policy["evaluation"], "dtype": "bfloat16"}})
    other = copied.ftgate("judge", "run", "--thresholds", "other.yaml")
    assert other.returncode == 2, other.stdout + other.stderr
    assert "other.yaml:1: evaluation.dtype: asks for bfloat16, " in other.stderr
    again = copied.ftgate("report", "run")
    assert again.returncode == 0, again.stderr
    assert (copied.path / "run/verdict.json").read_bytes() == before


def test_report_renders_what_was_lost(copied, light) -> None:
    """`report` writes the same page and verdict again, without a model."""
    page, verdict = copied.path / "run/report.html", copied.path / "run/verdict.json"
    texts = page.read_bytes(), verdict.read_bytes()
    page.unlink()
    done = copied.ftgate("report", "run", **light)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (page.read_bytes(), verdict.read_bytes()) == texts


@pytest.mark.parametrize("command", ["judge", "report", "keep", "promote"])
def test_what_is_no_run_is_refused(repository, command: str) -> None:
    """A folder that is none, and one that is no run: exit 2 and a hint."""
    more = ["dest"] if command == "promote" else []
    for folder in ("nowhere", "base"):
        done = repository.ftgate(command, folder, *more)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "error: " in done.stderr
        assert "to mend it: " in done.stderr


def test_a_damaged_measurement_is_never_judged(copied) -> None:
    """One byte of the raw data changed: exit 3 with the file's name."""
    table = next((copied.path / "run/measurements").glob("target--*.parquet"))
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    done = copied.ftgate("judge", "run")
    assert done.returncode == 3, done.stdout + done.stderr
    assert table.name in done.stderr
    assert "damaged" in done.stderr


# ── Verify, promote, keep ────────────────────────────────────────────────────────────────────────


def test_a_moved_run_and_policy_are_judged_and_changed_tasks_are_not(copied, policy, light) -> None:
    """The repository lies elsewhere now: judged. One byte of a task's data differs: not what was measured."""
    copied.write("again.yaml", {**policy, "confidence": 0.9})
    shutil.move(copied.path / "run", copied.path / "elsewhere")
    moved = copied.ftgate("judge", "elsewhere", "--thresholds", str(copied.path / "again.yaml"), **light)
    assert moved.returncode == 0, moved.stdout + moved.stderr
    with (copied.path / "data/banking12.jsonl").open("a") as file:
        file.write("\n")
    changed = copied.ftgate("judge", "elsewhere", "--thresholds", "again.yaml", **light)
    assert changed.returncode == 2, changed.stdout + changed.stderr
    assert "data/banking12.jsonl is not what it was when this run was measured" in changed.stderr


def test_verify_tells_the_model_that_passed_from_any_other(copied, light) -> None:
    """0 for the judged model wherever it lies, 1 for one changed byte; without torch."""
    shutil.copytree(copied.verdict()["tuned"]["path"], copied.path / "mine")
    right = copied.ftgate("verify", "run/verdict.json", "mine", "--unsigned", **light)
    assert right.returncode == 0, right.stdout + right.stderr
    assert right.stdout.startswith("yes: ")
    (copied.path / "mine/generation_config.json").write_text("{}")
    altered = copied.ftgate("verify", "run", "mine", "--unsigned", **light)
    assert altered.returncode == 1, altered.stdout + altered.stderr
    assert altered.stdout.startswith("no: ")
    missing = copied.ftgate("verify", "run", "nowhere", "--unsigned")
    assert missing.returncode == 2


def test_a_failed_verdict_ships_nothing(failed) -> None:
    """The right model under a failed verdict: `verify` says 1, `promote` refuses and leaves nothing."""
    model = failed.verdict()["tuned"]["path"]
    verified = failed.ftgate("verify", "run", model, "--unsigned")
    assert verified.returncode == 1
    assert "the verdict is fail, not a pass" in verified.stdout
    promoted = failed.ftgate("promote", "run", "shipped")
    assert promoted.returncode == 2
    assert "only a model that passed is promoted" in promoted.stderr
    assert not (failed.path / "shipped").exists()


def test_promote_copies_what_passed(copied) -> None:
    """The copy verifies; a place that is taken or cannot be written is left alone and named."""
    done = copied.ftgate("promote", "run", "models/shipped")
    assert done.returncode == 0, done.stdout + done.stderr
    assert copied.ftgate("verify", "run", "models/shipped", "--unsigned").returncode == 0
    taken = copied.ftgate("promote", "run", "base")
    assert taken.returncode == 2
    assert "base exists already" in taken.stderr
    for place in ("/sys/ftgate", "sft.yaml/shipped"):
        unwritable = copied.ftgate("promote", "run", place)
        assert unwritable.returncode == 3, unwritable.stderr
        assert place in unwritable.stderr
        assert "defect of ftgate" not in unwritable.stderr


def test_a_model_is_kept_until_it_is_let_go(checked, copied) -> None:
    """`keep` marks it, `keep --release` deletes its files, and then nothing can be promoted."""
    digest = copied.verdict()["tuned"]["digest"]
    # The copied run still names the store that the first check used: as if it had used its own.
    folder = RunFolder.open(copied.path / "run")
    facts = folder.read_record("run.json", RunFacts)
    assert str(checked.store) in facts.tuned_path
    own = facts.tuned_path.replace(str(checked.store), str(copied.store))
    folder.write_record("run.json", replace(facts, tuned_path=own))
    kept = copied.ftgate("keep", "run")
    assert kept.returncode == 0, kept.stderr
    assert digest in kept.stdout
    assert list((copied.store / "v1/models").glob("*/*.safetensors"))
    released = copied.ftgate("keep", "run", "--release")
    assert released.returncode == 0, released.stderr
    assert not list((copied.store / "v1/models").glob("*/*.safetensors"))
    promoted = copied.ftgate("promote", "run", "shipped")
    assert promoted.returncode == 2
    assert f"the judged model {digest} is no longer kept" in promoted.stderr
    assert not (copied.path / "shipped").exists()


# ── Init, doctor and the rest ────────────────────────────────────────────────────────────────────


def test_init_writes_a_policy_that_loads_and_touches_none_that_is_there(repository, tmp_path: Path) -> None:
    """In an empty folder and beside configs, which it names; the policy that is there stays as it is."""
    own = (repository.path / "thresholds.yaml").read_bytes()
    refused = repository.ftgate("init")
    assert refused.returncode == 2
    assert "thresholds.yaml exists and is left as it is" in refused.stderr
    assert (repository.path / "thresholds.yaml").read_bytes() == own
    (repository.path / "thresholds.yaml").unlink()
    written = repository.ftgate("init")
    assert written.returncode == 0, written.stderr
    assert "sft.yaml: full fine-tune of base" in written.stdout
    assert load_policy(repository.path / "thresholds.yaml").rules
    (tmp_path / "empty").mkdir()
    empty = repository.ftgate("init", str(tmp_path / "empty"))
    assert empty.returncode == 0, empty.stderr
    assert "no training config found" in empty.stdout
    assert load_policy(tmp_path / "empty/thresholds.yaml").rules
    assert repository.ftgate("init", "/sys").returncode == 3


def test_doctor_looks_at_what_is_installed_and_not_at_the_repository(repository) -> None:
    """Packages, device, QLoRA and store, well here; a `torch.py` of the user's own is not asked."""
    for name in ("torch", "bitsandbytes"):
        repository.write(f"{name}.py", SHADOW)
    done = repository.ftgate("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (repository.path / "SHADOWED").exists()
    for words in ("torch ", "lm-eval ", "quantises to 4 bits", str(repository.store)):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--version"], "ftgate, version "),
        (["--help"], "The merge gate for fine-tuned language models"),
        (["check", "--help"], "Train, measure, judge and report a fine-tune"),
        (["completion", "bash"], "_FTGATE_COMPLETE=bash_complete"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_answers_at_once_imports_nothing_heavy(
    repository, light, arguments: list[str], words: str
) -> None:
    """Version, help and completion: neither torch nor lm-eval, in under 0.4 seconds."""
    with cpu_seconds() as taken:
        done = repository.ftgate(*arguments, **light)
    assert done.returncode == 0, done.stdout + done.stderr
    assert words in done.stdout
    assert taken[0] < 0.4
