"""gate.ci.run: each kind of event in a real repository, against a GitHub in memory; measuring is a stub."""

from __future__ import annotations

import json
import os
import re
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_github.memory import MemoryGitHub
from runner.commands import annotations
from scratch import (
    CONFIG,
    FILES,
    POLICY,
    Ended,
    Scratch,
    StubCheck,
    environment,
    git,
    outputs_in,
    pull_payload,
    run_in,
)

from gate.ci.plan import CiOptions
from gate.ci.refs import at_tip
from gate.ci.run import Effects, run_ci
from gate.ci.stores import with_salt
from gate.errors import Interrupted, TrainingError, UsageError
from gate.github.token import Token
from gate.pipeline import CheckOptions
from gate.progress import SilentProgress
from gate.records import Event, Mode
from gate.repository import Repository
from gate.shell import Shell
from gate.verdict import Result
from gate.withheld import Salt

LORA, FULL, NEW = "configs/lora.yaml", "configs/full.yaml", "configs/new.yaml"
EDITED = {LORA: CONFIG.replace("1.0e-3", "2.0e-3")}


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "repo")


def github_with(scratch: Scratch, head: str, **fields: Any) -> MemoryGitHub:
    github = MemoryGitHub()
    github.state.open_pull(7, head, scratch.base, **fields)
    return github


def checks(github: MemoryGitHub) -> dict[str, str | None]:
    return {check.name: check.conclusion for check in github.state.checks.values()}


def bodies(github: MemoryGitHub) -> list[str]:
    return [comment.body for comment in github.state.comments.values()]


def pull_request(scratch: Scratch, head: str, **changed: Any) -> Ended:
    return run_in(scratch, "pull_request", pull_payload(scratch, head, **changed))


# ── Pull requests ────────────────────────────────────────────────────────────────────────────────


def test_a_changed_config_that_passes(scratch: Scratch) -> None:
    """It is measured under the base ref's policy; comment, check runs, outputs and summary say so."""
    head = scratch.commit(EDITED)
    github = github_with(scratch, head)
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), github=github.session())
    assert ended.code == 0
    assert ended.reasons == {LORA: "edited"}
    assert checks(github) == {f"ftgate: {LORA}": "success", "ftgate": "success"}
    assert len(bodies(github)) == 1
    assert "may merge" in bodies(github)[0]
    outputs = ended.outputs()
    assert outputs["outcome"] == "pass"
    assert json.loads(Path(outputs["verdict-path"]).read_text())["outcome"] == "pass"
    assert Path(outputs["report-path"]).is_file()
    assert Path(outputs["run-dir"], "ci.json").is_file()
    assert "may merge" in ended.summary()
    asked = ended.stub.asked[0]
    assert (asked.pull, asked.judged, asked.tuned) == (7, False, None)
    assert asked.base_folder is not None
    assert asked.policy_root is not None
    assert asked.base_folder == asked.policy_root / "base"


def test_all_configs_of_a_run_know_that_it_made_the_salt(tmp_path: Path) -> None:
    """The second config finds the first one's salt in the store, and it is as new; a given one stays."""
    environ = {"FTGATE_CACHE": str(tmp_path)}
    shell = Shell(environ, print, print, SilentProgress())
    made = with_salt(shell).salt
    assert made is not None
    assert made.made
    found = with_salt(shell).salt
    assert found is not None
    assert not found.made
    assert found.reveal() == made.reveal()
    given = replace(shell, salt=Salt(b"g" * 32))
    assert with_salt(given).salt is given.salt


def test_a_changed_config_that_is_blocked(scratch: Scratch) -> None:
    """One of two loses: the exit code is the worst, both are in the one comment."""
    head = scratch.commit({**EDITED, FULL: FILES[FULL].replace("1.0e-3", "2.0e-3")})
    github = github_with(scratch, head)
    stub = StubCheck({FULL: 0.01})
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), github=github.session(), stub=stub)
    assert ended.code == 1
    assert [run.outcome for run in ended.run.runs] == ["fail", "pass"]
    assert checks(github) == {f"ftgate: {LORA}": "success", f"ftgate: {FULL}": "failure", "ftgate": "failure"}
    assert len(bodies(github)) == 1
    assert FULL in bodies(github)[0]
    assert LORA in bodies(github)[0]
    assert ended.outputs()["verdict-path"].endswith("verdict.json")
    assert "full" in ended.outputs()["verdict-path"]


def test_nothing_changed(scratch: Scratch) -> None:
    """A README alone: green, one line, nothing asked of the stub, no comment made."""
    head = scratch.commit({"README.md": "more\n"})
    github = github_with(scratch, head)
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), github=github.session())
    assert ended.code == 0
    assert ended.stub.asked == []
    assert "no training config changed: nothing to measure" in ended.said
    assert checks(github) == {"ftgate": "success"}
    assert bodies(github) == []
    assert ended.outputs()["outcome"] == "pass"


def test_a_comment_that_stands_is_kept_up_to_date(scratch: Scratch) -> None:
    """A push that takes the change back turns the red comment green."""
    head = scratch.commit(EDITED)
    github = github_with(scratch, head)
    payload = pull_payload(scratch, head)
    run_in(scratch, "pull_request", payload, github=github.session(), stub=StubCheck({LORA: 0.0}))
    head = scratch.commit({LORA: CONFIG})
    github.state.push(7, head)
    run_in(scratch, "pull_request", pull_payload(scratch, head), github=github.session(), GITHUB_RUN_ID="101")
    assert len(bodies(github)) == 1
    assert "no training config" in bodies(github)[0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"data/train/train.jsonl": '{"text": "c"}\n'}, {LORA: "data"}),
        ({"data/mine.jsonl": "{}"}, {FULL: "task", LORA: "task"}),
        ({"tasks/mine.yaml": FILES["tasks/mine.yaml"] + "#\n"}, {FULL: "task", LORA: "task"}),
        ({"thresholds.yaml": POLICY.replace("0.1", "0.2")}, {FULL: "policy", LORA: "policy"}),
        ({"thresholds.yaml": POLICY + "# a comment\n"}, {}),
        ({"configs/new.yaml": CONFIG}, {"configs/new.yaml": "added"}),
        ({LORA: None, "configs/new.yaml": CONFIG}, {"configs/new.yaml": "renamed"}),
        ({LORA: "model_name_or_path: base\nlearning_rate: {\n"}, {LORA: "edited"}),
        ({NEW: "model_name_or_path: a\nmodel_name_or_path: b\n"}, {NEW: "added"}),
        ({"notes.yaml": "a: 1\n"}, {}),
        ({"broken.yaml": "a: {\n"}, {}),
    ],
)  # fmt: skip
def test_what_counts_as_changed(
    scratch: Scratch, files: dict[str, str | None], expected: dict[str, str]
) -> None:
    """Data, tasks, the policy's substance, new and moved configs; broken ones too, which then are errors."""
    assert pull_request(scratch, scratch.commit(files)).reasons == expected


def test_the_base_refs_policy_and_tasks_judge(scratch: Scratch) -> None:
    """What the pull request makes of policy and tasks is shown, and the base ref's is what the stub gets."""
    loose = {"thresholds.yaml": POLICY.replace("0.1", "0.0"), "tasks/mine.yaml": "task: easy\n"}
    head = scratch.commit({**EDITED, **loose})
    seen: dict[str, str] = {}

    class Looking(StubCheck):
        def __call__(self, options: Any, shell: Any) -> Any:
            for name in loose:
                seen[name] = (options.policy_root / name).read_text()
            return super().__call__(options, shell)

    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), stub=Looking())
    assert seen == {name: FILES[name] for name in loose}
    assert "-target: [{task: mine, min_gain: 0.1}]" in ended.run.policy.difference
    assert ended.run.policy.files == ("tasks/mine.yaml",)
    assert not Path(str(ended.stub.asked[0].policy_root)).exists()


def test_a_policy_that_changed_on_main_meanwhile_is_not_the_pull_requests_change(scratch: Scratch) -> None:
    """Only what differs from where the branches parted counts."""
    head = scratch.commit(EDITED)
    scratch.checkout("main")
    scratch.base = scratch.commit({"thresholds.yaml": POLICY.replace("0.1", "0.3"), FULL: CONFIG + "#\n"})
    scratch.checkout("topic")
    ended = pull_request(scratch, head)
    assert ended.reasons == {LORA: "edited"}
    assert not ended.run.policy


def test_githubs_merge_commit_may_be_checked_out(scratch: Scratch) -> None:
    """actions/checkout takes it by default; any other commit is refused, with what helps."""
    head = scratch.commit(EDITED)
    scratch.checkout("main")
    scratch.base = scratch.commit({"x": "y"})
    git(scratch.path, "merge", "-q", "--no-ff", "-m", "m", "topic")
    assert pull_request(scratch, head).reasons == {LORA: "edited"}
    scratch.checkout(scratch.base)
    ended = pull_request(scratch, head)
    assert ended.code == 2
    assert "the checkout is of" in ended.run.error


@pytest.mark.parametrize(
    ("draft", "policy", "code", "words"),
    [
        (True, "", 1, "draft: not measured yet"),
        (False, "pull_request: {when: label}\n", 1, "the label `ftgate` starts it"),
        (True, "pull_request: {when: every-push}\n", 0, ""),
    ],
)
def test_drafts_and_labels(tmp_path: Path, draft: bool, policy: str, code: int, words: str) -> None:
    """What waits is not measured; its job and its check run are red: it could be merged within seconds."""
    scratch = Scratch(tmp_path / "repo", {**FILES, "thresholds.yaml": POLICY + policy})
    head = scratch.commit(EDITED)
    github = github_with(scratch, head, draft=draft)
    payload = pull_payload(scratch, head, draft=draft)
    ended = run_in(scratch, "pull_request", payload, github=github.session())
    assert ended.code == code
    assert bool(ended.stub.asked) is not bool(words)
    assert any(words in said for said in ended.said) or not words
    if words:
        assert checks(github) == {"ftgate": "failure"}
        assert ended.outputs()["outcome"] == "undecided"


def test_a_draft_without_changes_is_simply_green(scratch: Scratch) -> None:
    """There is nothing to wait for."""
    head = scratch.commit({"README.md": "more\n"})
    ended = pull_request(scratch, head, draft=True)
    assert (ended.code, ended.run.outcome) == (0, "pass")


def test_a_deleted_config_is_told(scratch: Scratch) -> None:
    """Nothing is run for it, and the comment says that it goes."""
    head = scratch.commit({LORA: None})
    github = github_with(scratch, head)
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), github=github.session())
    assert (ended.code, ended.run.deleted) == (0, (LORA,))
    assert LORA in bodies(github)[0]


def test_a_config_with_an_unprintable_name_is_no_way_past_the_gate(scratch: Scratch) -> None:
    """It is an error, not left out."""
    for name in ("configs/a\nb.yaml", "configs/\udcff.yaml", "configs/a\u202eb.yaml"):
        ended = pull_request(scratch, scratch.commit({name: CONFIG}))
        assert ended.code == 2
        assert "cannot be printed" in ended.run.error
        scratch.commit({name: None})


def test_other_files_may_have_any_name(scratch: Scratch) -> None:
    """Data whose name is no UTF-8 is told as far as it can be."""
    head = scratch.commit({"data/train/\udcff.jsonl": '{"text": "c"}\n'})
    ended = pull_request(scratch, head)
    assert ended.reasons == {LORA: "data"}
    assert ended.run.runs[0].change.detail == r"data/train/\udcff.jsonl"


# ── No policy, a broken one ──────────────────────────────────────────────────────────────────────


def test_no_policy_on_the_base_ref(tmp_path: Path) -> None:
    """A changed config cannot be judged, whatever policy the pull request brings; anything else is green."""
    scratch = Scratch(tmp_path / "repo", {k: v for k, v in FILES.items() if k != "thresholds.yaml"})
    ended = pull_request(scratch, scratch.commit({"thresholds.yaml": POLICY}))
    assert ended.code == 0
    assert any("there is no thresholds.yaml on the base ref main" in said for said in ended.said)
    ended = pull_request(scratch, scratch.commit(EDITED))
    assert ended.code == 2
    assert "there is no thresholds.yaml on the base ref main" in ended.run.error
    assert "commit the policy there first" in ended.run.hint
    assert ended.stub.asked == []


def test_a_broken_policy(tmp_path: Path) -> None:
    """On the base ref it can be mended by a pull request; one that would break it is red."""
    scratch = Scratch(tmp_path / "repo", {**FILES, "thresholds.yaml": "version: 2\n"})
    assert pull_request(scratch, scratch.commit({"thresholds.yaml": POLICY})).code == 0
    ended = pull_request(scratch, scratch.commit(EDITED))
    assert ended.code == 2
    assert "thresholds.yaml:1" in ended.run.error
    good = Scratch(tmp_path / "good")
    ended = run_in(good, "pull_request", pull_payload(good, good.commit({"thresholds.yaml": "version: 2\n"})))
    assert ended.code == 2
    assert ended.stub.asked == []


# ── How runs end ─────────────────────────────────────────────────────────────────────────────────


def test_an_error_of_one_config_is_in_its_folder_and_red(scratch: Scratch) -> None:
    """Nothing that could not be measured is green, and the others are measured all the same."""
    head = scratch.commit({LORA: CONFIG + "learning_rate: -1\n", FULL: FILES[FULL] + "# x\n"})
    github = github_with(scratch, head)
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), github=github.session())
    assert ended.code == 2
    assert {run.change.path: run.exit_code for run in ended.run.runs} == {LORA: 2, FULL: 0}
    broken = next(run for run in ended.run.runs if run.change.path == LORA)
    written = json.loads((ended.folder / "run" / broken.folder / "verdict.json").read_text())
    assert written["outcome"] == "error"
    assert checks(github)[f"ftgate: {LORA}"] == "failure"
    assert "could not be" in bodies(github)[0] or "config error" in bodies(github)[0]


def test_an_older_verdict_in_the_folder_never_speaks_for_a_new_run(scratch: Scratch) -> None:
    """A pass that lies there is gone before anything is read."""
    first = pull_request(scratch, scratch.commit(EDITED))
    assert first.code == 0
    folder = first.folder / "run" / first.run.runs[0].folder
    assert json.loads((folder / "verdict.json").read_text())["outcome"] == "pass"
    pull_request(scratch, scratch.commit({LORA: CONFIG + "nonsense: 1\n"}))
    assert json.loads((folder / "verdict.json").read_text())["outcome"] == "error"


@pytest.mark.parametrize(
    ("error", "code"), [(TrainingError("it diverged"), 3), (Interrupted("stopped"), 130)]
)
def test_errors_while_it_runs(scratch: Scratch, error: Any, code: int) -> None:
    """The exit code says which; what is posted never says success."""
    head = scratch.commit(EDITED)
    github = github_with(scratch, head)
    payload, stub = pull_payload(scratch, head), StubCheck(error=error)
    ended = run_in(scratch, "pull_request", payload, github=github.session(), stub=stub)
    assert ended.code == code
    assert ended.run.outcome == "error"
    assert "success" not in checks(github).values()


def test_after_an_interruption_nothing_more_is_run(scratch: Scratch) -> None:
    """The configs that were still to come are not started, and none is green."""
    head = scratch.commit({**EDITED, FULL: FILES[FULL] + "# x\n"})
    stub = StubCheck(error=Interrupted("stopped"))
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), stub=stub)
    assert ended.code == 130
    assert len(stub.asked) == 1
    assert [run.exit_code for run in ended.run.runs] == [130, 130]


def test_undecided_is_red_unless_the_workflow_says_otherwise(scratch: Scratch) -> None:
    """`--no-fail-on-undecided` lets it through, and the record keeps what it was."""
    head = scratch.commit(EDITED)

    class Undecided(StubCheck):
        def __call__(self, options: Any, shell: Any) -> Any:
            return SimpleNamespace(outcome="undecided", exit_code=4)

    for fail, code in ((True, 4), (False, 0)):
        options, payload = CiOptions(fail_on_undecided=fail), pull_payload(scratch, head)
        ended = run_in(scratch, "pull_request", payload, stub=Undecided(), options=options)
        assert (ended.code, ended.run.exit_code, ended.run.outcome) == (code, 4, "undecided")


def test_failing_to_publish_changes_nothing_but_a_warning(scratch: Scratch) -> None:
    """A token that may not write: the gate's exit code, the text in the summary, remarks as commands."""
    head = scratch.commit(EDITED)
    github = github_with(scratch, head)
    session = github.session(permissions={"contents": "read", "pull_requests": "read", "checks": "read"})
    stub = StubCheck({LORA: 0.0})
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), github=session, stub=stub)
    assert ended.code == 1
    assert any("could not be posted" in warning for warning in ended.warned)
    assert bodies(github) == []
    assert "target missed" in ended.summary()
    assert any(said.startswith("::error file=configs/lora.yaml") for said in ended.said)
    assert any(said.startswith("::warning title=ftgate could not publish") for said in ended.said)


def test_without_a_token_remarks_are_commands(scratch: Scratch) -> None:
    """A fork's pull request still has its annotations and its summary."""
    head = scratch.commit(EDITED)
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), stub=StubCheck({LORA: 0.0}))
    assert ended.code == 1
    assert any(said.startswith("::error file=configs/lora.yaml") for said in ended.said)


def test_a_full_disk_costs_no_comment(scratch: Scratch, tmp_path: Path) -> None:
    """What cannot be kept is told all the same: check runs, comment, summary, outputs."""

    class Filling(StubCheck):
        """The disk fills up while it is measured: neither record can be written any more."""

        def __call__(self, options: CheckOptions, shell: Shell) -> Result:
            assert options.run_dir is not None
            for name in ("ci.json", "posting.json"):
                place = options.run_dir.parent / name
                place.unlink(missing_ok=True)
                place.mkdir()
            return super().__call__(options, shell)

    head = scratch.commit(EDITED)
    github, folder, warned = github_with(scratch, head), tmp_path / "runner", list[str]()
    environ = environment(folder, "pull_request", pull_payload(scratch, head))
    shell = Shell(environ, warned.append, warned.append, SilentProgress())
    effects = Effects(lambda *_: github.session(), Filling({LORA: 0.0}), lambda _: None)
    with chdir(scratch.path):
        code = run_ci(CiOptions(run_dir=folder / "run"), Token("t"), shell, effects)
    assert code == 1
    assert checks(github) == {f"ftgate: {LORA}": "failure", "ftgate": "failure"}
    assert len(bodies(github)) == 1
    assert outputs_in(folder / "output")["outcome"] == "fail"
    assert LORA in (folder / "summary").read_text()
    assert any("ci.json" in line for line in warned)


def test_an_error_whose_words_are_no_text_is_told(scratch: Scratch) -> None:
    """Half a character, in its message or its hint, is written as what it is."""
    head = scratch.commit(EDITED)

    def broken(*_: object) -> None:
        raise UsageError("no \ud83d", hint="look at \udcff")

    github = github_with(scratch, head)
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), github=github.session(before=broken))
    assert ended.code in (0, 2)
    fork = follow(head, pull_requests=[])
    ended = run_in(scratch, "workflow_run", fork, github=github.session(before=broken))
    assert (ended.code, ended.run.error, ended.run.hint) == (2, "no \\ud83d", "look at \\udcff")


def test_nothing_that_is_measured_commands_the_runner(
    scratch: Scratch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While models and trainers print, the runner is told to listen to nothing but a random word."""

    class Printing(StubCheck):
        def __call__(self, options: CheckOptions, shell: Shell) -> Result:
            print("::error::forged")
            return super().__call__(options, shell)

    head = scratch.commit(EDITED)
    run_in(scratch, "pull_request", pull_payload(scratch, head), stub=Printing())
    printed = capsys.readouterr().out
    assert "::error::forged" in printed
    assert "forged" not in [note.message for note in annotations(printed)]
    assert re.search(r"^::stop-commands::\w{16,}$", printed, re.MULTILINE)


def test_what_landed_on_the_base_ref_since_counts(scratch: Scratch) -> None:
    """An event, and one that is run again, says which base there was: a waiver that landed since judges."""
    event = Event("pull_request", "acme/tunes", scratch.commit(EDITED), scratch.base, pull=7, base_ref="main")
    clone = Repository(scratch.path)
    assert at_tip(event, clone) == event  # the clone knows no remote branch
    scratch.checkout("main")
    landed = scratch.commit({"thresholds.yaml": POLICY.replace("0.1", "0.05")})
    git(scratch.path, "update-ref", "refs/remotes/origin/main", landed)
    assert at_tip(event, clone).base_sha == landed
    git(scratch.path, "update-ref", "refs/remotes/origin/main", f"{scratch.base}")
    ahead = replace(event, base_sha=landed)
    assert at_tip(ahead, clone) == ahead
    assert at_tip(replace(event, kind="merge_group"), clone).base_sha == scratch.base


def test_no_event_is_a_usage_error(scratch: Scratch) -> None:
    """On a person's machine it says so."""
    with pytest.raises(UsageError, match="GITHUB_EVENT_NAME is not set"):
        run_in(scratch, "", {})


# ── Other events ─────────────────────────────────────────────────────────────────────────────────


def branch_payload(**fields: Any) -> dict[str, Any]:
    return {"repository": {"default_branch": "main"}, **fields}


def test_a_push_to_main_records_and_comments_nothing(scratch: Scratch) -> None:
    """Its policy is its own, its place in the store is the root, and all it posts are check runs."""
    head = scratch.commit({**EDITED, "thresholds.yaml": POLICY.replace("0.1", "0.15")})
    github = github_with(scratch, head)
    variables = {"GITHUB_SHA": head, "GITHUB_REF": "refs/heads/main"}
    payload = branch_payload(before=scratch.base)
    ended = run_in(scratch, "push", payload, github=github.session(), **variables)
    assert ended.code == 0
    assert ended.reasons == {LORA: "edited", FULL: "policy"}
    assert {asked.pull for asked in ended.stub.asked} == {0}
    assert bodies(github) == []
    assert checks(github)["ftgate"] == "success"
    assert not ended.run.policy


def test_merged_refs_clean_the_store_and_pull_requests_do_not(scratch: Scratch) -> None:
    """What an old pull request left goes with a word, on a push to main alone; also where nothing changed."""
    cache = scratch.path.parent / "runner/cache"
    old = cache / "v1/judged/3"
    old.mkdir(parents=True)
    (old / "used").touch()
    os.utime(old / "used", (0, 0))
    run_in(scratch, "pull_request", pull_payload(scratch, scratch.commit(EDITED)))
    assert old.is_dir()
    scratch.checkout("main")
    variables = {"GITHUB_SHA": scratch.base, "GITHUB_REF": "refs/heads/main"}
    ended = run_in(scratch, "push", branch_payload(before=scratch.base), **variables)
    assert any(said.startswith("removed from the store: judged/3 (unused for ") for said in ended.said)
    assert not old.exists()


@pytest.mark.parametrize("mode", ["judge", "check", "train"])
def test_the_judge_of_forks_cleans_its_store(scratch: Scratch, mode: Mode) -> None:
    """No merged ref ever runs on its machine. Where a pull request's code runs, nothing is removed."""
    old = scratch.path.parent / "runner/cache/v1/judged" / ("d" * 40)
    old.mkdir(parents=True)
    (old / "used").touch()
    os.utime(old / "used", (0, 0))
    head = scratch.commit({"README.md": "no config changed"})
    github = github_with(scratch, head, head_repository="eve/tunes")
    options = CiOptions(mode=mode)
    ended = run_in(scratch, "workflow_run", follow(head), github=github.session(), options=options)
    assert ended.code == 0
    assert old.exists() == (mode != "judge")


def test_a_text_with_a_nul_is_no_path(tmp_path: Path) -> None:
    """A config that has one, in any place of the repository, does not break the other pull requests."""
    odd = 'model_name_or_path: base\ndataset_name: "../a\\0b"\noutput_dir: out\n'
    odds = {"elsewhere/odd.yaml": odd, "elsewhere/home.yaml": odd.replace("../", "~")}
    scratch = Scratch(tmp_path / "repo", FILES | odds)
    assert pull_request(scratch, scratch.commit(EDITED)).reasons == {LORA: "edited"}


def test_a_first_push_and_a_schedule_measure_all(scratch: Scratch) -> None:
    """Where nothing is known of before, everything counts."""
    variables = {"GITHUB_SHA": scratch.base, "GITHUB_REF": "refs/heads/main"}
    everything = {LORA: "all", FULL: "all"}
    assert run_in(scratch, "push", branch_payload(before="0" * 40), **variables).reasons == everything
    assert run_in(scratch, "push", branch_payload(before="f" * 40), **variables).reasons == everything
    assert run_in(scratch, "schedule", branch_payload(), **variables).reasons == everything


def test_a_dispatch_measures_the_named_config(scratch: Scratch) -> None:
    """On the default branch; one that is not there is an error that says so."""
    variables = {"GITHUB_SHA": scratch.base, "GITHUB_REF": "refs/heads/main"}
    named = branch_payload(inputs={"config": FULL})
    assert run_in(scratch, "workflow_dispatch", named, **variables).reasons == {FULL: "named"}
    wrong = run_in(
        scratch, "workflow_dispatch", branch_payload(inputs={"config": "nowhere.yaml"}), **variables
    )
    assert wrong.code == 2
    assert "there is no config nowhere.yaml" in wrong.run.error


def test_a_dispatch_on_a_branch_has_the_default_branchs_policy(scratch: Scratch) -> None:
    """A run that an author starts on their branch is judged as their pull request would be."""
    head = scratch.commit({**EDITED, "thresholds.yaml": POLICY.replace("0.1", "0.0")})
    variables = {"GITHUB_SHA": head, "GITHUB_REF": "refs/heads/topic"}
    ended = run_in(scratch, "workflow_dispatch", branch_payload(inputs={"config": LORA}), **variables)
    assert ended.run.policy.difference
    assert [asked.pull for asked in ended.stub.asked] == [head]


def test_a_merge_group_uses_the_pull_requests_place_and_comments_nothing(scratch: Scratch) -> None:
    """Its commit is another than the head; the store's place is the pull request's own."""
    head = scratch.commit(EDITED)
    github = github_with(scratch, head)
    group = {
        "head_sha": head,
        "base_sha": scratch.base,
        "head_ref": f"refs/heads/gh-readonly-queue/main/pr-7-{scratch.base}",
        "base_ref": "refs/heads/main",
    }
    payload = {"action": "checks_requested", "merge_group": group}
    ended = run_in(scratch, "merge_group", payload, github=github.session())
    assert (ended.code, ended.stub.asked[0].pull) == (0, 7)
    assert bodies(github) == []
    assert checks(github)["ftgate"] == "success"


def follow(head: str, **fields: Any) -> dict[str, Any]:
    run = {"head_sha": head, "head_branch": "topic", "conclusion": "success", "pull_requests": []}
    return branch_payload(workflow_run={**run, "head_repository": {"full_name": "eve/tunes"}, **fields})


def test_a_forks_pull_request_is_found_by_its_head(scratch: Scratch) -> None:
    """GitHub is asked which open pull request has this very head; base ref and policy come from it."""
    head = scratch.commit(EDITED)
    github = github_with(scratch, head, head_repository="eve/tunes")
    ended = run_in(scratch, "workflow_run", follow(head), github=github.session())
    assert (ended.code, ended.run.event.pull, ended.run.event.base_sha) == (0, 7, scratch.base)
    assert len(bodies(github)) == 1


@pytest.mark.parametrize("mode", ["check", "publish"])
def test_a_forks_pull_request_into_another_branch_is_not_judged(scratch: Scratch, mode: Mode) -> None:
    """A check is the commit's: green for a lenient branch it would be green on main's pull request too."""
    head = scratch.commit({"README.md": "no config changed"})
    github = github_with(scratch, head, head_repository="eve/tunes", base_ref="lenient")
    options = CiOptions(mode=mode)
    if mode == "publish":
        with pytest.raises(UsageError, match="no open pull request into main"):
            run_in(scratch, "workflow_run", follow(head), github=github.session(), options=options)
    else:
        ended = run_in(scratch, "workflow_run", follow(head), github=github.session(), options=options)
        assert ended.code == 2
    assert "success" not in checks(github).values()


def test_a_fork_that_pushed_meanwhile_is_told_nothing(scratch: Scratch) -> None:
    """The run is about a commit that no open pull request has as its head any more."""
    head = scratch.commit(EDITED)
    github = github_with(scratch, "d" * 40, head_repository="eve/tunes")
    ended = run_in(scratch, "workflow_run", follow(head), github=github.session())
    assert ended.code == 2
    assert "no open pull request into main has the head" in ended.run.error
    assert bodies(github) == []


# ── Narrowing ────────────────────────────────────────────────────────────────────────────────────


def test_the_policys_patterns_come_from_the_base_ref(tmp_path: Path) -> None:
    """A pull request cannot narrow them to slip past, nor move its config out of them."""
    narrow = POLICY + "pull_request: {configs: ['configs/*.yaml']}\n"
    scratch = Scratch(tmp_path / "repo", {**FILES, "thresholds.yaml": narrow, "old/x.yaml": CONFIG})
    head = scratch.commit(
        {
            "thresholds.yaml": narrow.replace("configs/*.yaml", "nothing/*"),
            LORA: None,
            "elsewhere/lora.yaml": CONFIG,
            "old/x.yaml": CONFIG + "# x\n",
        }
    )
    assert pull_request(scratch, head).reasons == {"elsewhere/lora.yaml": "renamed"}


def test_the_command_line_narrows_further(scratch: Scratch) -> None:
    """`--configs` for workflows that split the work."""
    head = scratch.commit({"data/mine.jsonl": "{}"})
    options = CiOptions(configs=("configs/l*.yaml",))
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), options=options)
    assert ended.reasons == {LORA: "task"}


@pytest.mark.parametrize("thresholds", ["/etc/thresholds.yaml", "../thresholds.yaml"])
def test_the_policy_lies_in_the_repository(scratch: Scratch, thresholds: str) -> None:
    """It is read at the base ref, so a path that leads elsewhere is an error."""
    head = scratch.commit(EDITED)
    options = replace(CiOptions(), thresholds=Path(thresholds))
    ended = run_in(scratch, "pull_request", pull_payload(scratch, head), options=options)
    assert ended.code == 2
    assert "does not lie in the repository" in ended.run.error
