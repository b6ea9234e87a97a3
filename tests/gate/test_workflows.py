"""`ftgate init --github`: workflows that lint clean, hold little power, and change none that exist."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from runner.expressions import condition, filled

from gate.ci.proof import JOB, STEP, job_names
from gate.cli import cli
from gate.errors import StoreError, UsageError
from gate.initialise import write_github
from gate.policy import load_policy
from gate.workflows import FORMS, TEMPLATES, Form, Wishes, workflow_files, write_workflows
from gate.workflows.finding import action_of, check_root, default_branch, own_runners, python_version

ROOT = Path(__file__).parents[2]
ACTION = f"owner/ftgate@{'a' * 40}"
CONFIG = "model_name_or_path: org/base\ndataset_name: org/data\n"
DIGEST = f"sha256:{'0' * 64}"
IMAGE = f"python:3.12@{DIGEST}"
OWN = {"runs_on": ("gpu",), "judge_on": ("clean",)}


def wishes(form: Form | None = None, **changed: Any) -> Wishes:
    return Wishes(**{"action": ACTION, "form": form, **changed})


def load(text: str) -> dict[str, Any]:
    return YAML(typ="safe").load(text)


def written(form: Form, **changed: Any) -> dict[str, dict[str, Any]]:
    """The workflows of a form by their file's name."""
    return {Path(file.path).name: load(file.text) for file in workflow_files(wishes(form, **changed))}


@pytest.fixture(scope="module")
def lint() -> ModuleType:
    """The script behind `make workflows`."""
    spec = importlib.util.spec_from_file_location("lint_workflows", ROOT / "scripts" / "lint_workflows.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ── What is written ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
def test_every_job_says_what_it_may_and_how_long(form: Form) -> None:
    """Nothing is allowed by default; each job names its permissions and its time limit."""
    for document in written(form, schedule=True).values():
        assert document["permissions"] == {}
        for job in document["jobs"].values():
            assert "permissions" in job
            assert job["timeout-minutes"] <= 360


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yml")), ids=lambda path: path.name)
def test_templates_pin_actions_by_commit_and_keep_expressions_out_of_scripts(path: Path) -> None:
    """Every action by its full commit with the version beside it; the same pins as our own workflows'."""
    own = "".join(file.read_text() for file in (ROOT / ".github" / "workflows").glob("*.yml"))
    for line in path.read_text().splitlines():
        if "uses:" in line and "[[action]]" not in line:
            pin = re.search(r"uses: ([\w.-]+/[\w.-]+@[0-9a-f]{40}) # v\d+\.\d+\.\d+$", line)
            assert pin, line
            assert pin[1] in own or pin[1].startswith("actions/create-github-app-token@"), pin[1]
    for file in workflow_files(wishes("trusted", schedule=True)):
        steps = [step for job in load(file.text)["jobs"].values() for step in job["steps"]]
        assert not [step for step in steps if "${{" in step.get("run", "")]


@pytest.mark.parametrize("form", FORMS)
def test_no_checkout_keeps_a_token_and_all_have_the_history(form: Form) -> None:
    """`persist-credentials: false` and `fetch-depth: 0` on every checkout."""
    checkouts = [
        step["with"]
        for document in written(form, schedule=True).values()
        for job in document["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/checkout@")
    ]
    assert checkouts
    assert all(each["persist-credentials"] is False and each["fetch-depth"] == 0 for each in checkouts)


@pytest.mark.parametrize(("form", "file"), [("two-jobs", "ftgate.yml"), ("forks", "ftgate-train.yml")])
def test_the_job_that_trains_holds_no_permission(form: Form, file: str) -> None:
    """`permissions: {}`, and reading alone where the repository is private; no secret is named."""
    assert written(form)[file]["jobs"]["train"]["permissions"] == {}
    private = written(form, private=True)[file]["jobs"]["train"]
    assert private["permissions"] == {"contents": "read"}
    assert "secrets" not in str(private)
    assert "token" not in str(private)


@pytest.mark.parametrize(("form", "file"), [("two-jobs", "ftgate.yml"), ("forks", "ftgate-judge.yml")])
def test_the_judge_keeps_its_results_outside_the_checkout(form: Form, file: str) -> None:
    """A pull request that commits a folder of results is not read as the judge's own."""
    steps = written(form)[file]["jobs"]["judge"]["steps"]
    places = [step["with"]["run-dir"] for step in steps if "run-dir" in step.get("with", {})]
    assert places == ["${{ runner.temp }}/ftgate-run"] * 2


@pytest.mark.parametrize(("form", "file"), [("two-jobs", "ftgate.yml"), ("forks", "ftgate-judge.yml")])
def test_only_the_publish_step_is_given_a_token(form: Form, file: str) -> None:
    """The judge's measuring step is asked for `judge`, in which the action passes no token on; what says
    since when it is measured runs before it."""
    steps = [step for step in written(form)[file]["jobs"]["judge"]["steps"] if step.get("uses") == ACTION]
    assert [step["with"]["mode"] for step in steps] == ["publish", "judge", "publish"]
    assert "token" not in {**steps[0]["with"], **steps[1]["with"]}
    assert "run-dir" not in steps[0]["with"]  # else it would not be an announcement


def test_nothing_runs_on_pull_request_target() -> None:
    """The trigger that gives a fork's pull request the repository's secrets is nowhere."""
    triggers = [set(document["on"]) for form in FORMS for document in written(form, schedule=True).values()]
    assert all(triggers)
    assert not [each for each in triggers if "pull_request_target" in each]


def test_a_required_check_is_never_skipped() -> None:
    """GitHub counts a skipped job as passed, so the verdict's job has no condition that can be false."""
    assert "if" not in written("trusted")["ftgate.yml"]["jobs"]["verdict"]
    jobs = written("two-jobs")["ftgate.yml"]["jobs"]
    assert jobs["verdict"]["if"] == "always()"
    assert jobs["verdict"]["needs"] == "judge"


def bash(script: str, environ: dict[str, str]) -> tuple[int, str]:
    """A step's script as GitHub runs it: its exit code, and what it printed."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("result", ["success", "failure", "cancelled", "skipped"])
def test_in_two_jobs_only_a_judge_that_passed_makes_the_required_check_green(result: str) -> None:
    """Whoever cancels the judge, or a push before it began, leaves the required job red, in words."""
    *_, last = written("two-jobs")["ftgate.yml"]["jobs"]["verdict"]["steps"]
    context = {"needs": {"judge": {"result": result, "outputs": {"outcome": ""}}}}
    environ = {name: filled(value, context) for name, value in last["env"].items()}
    code, printed = bash(last["run"], environ)
    assert (code == 0) is (result == "success")
    assert ("no verdict" in printed) is (result != "success")


def test_a_judge_can_be_cancelled_and_begins_whatever_became_of_the_training() -> None:
    """A job that always runs is cancelled by nobody, and holds its machine for a commit that is outdated."""
    job = written("two-jobs")["ftgate.yml"]["jobs"]["judge"]
    states = {"cancelled": lambda: False, "success": lambda: False}
    assert condition(job["if"], {}, states)
    assert not condition(job["if"], {}, {**states, "cancelled": lambda: True})


def test_a_training_is_cancelled_by_nothing_but_other_inputs() -> None:
    """Two pushes to main, or two runs by hand, have nothing to do with each other; of one pull request a
    second training waits."""
    group = written("two-jobs")["ftgate.yml"]["jobs"]["train"]["concurrency"]
    assert group["cancel-in-progress"] is False
    events = [({"pull_request": {"number": 7}}, 1), ({"pull_request": {"number": 7}}, 2), ({}, 3), ({}, 4)]
    names = [filled(group["group"], {"github": {"event": each, "run_id": run}}) for each, run in events]
    assert names[0] == names[1]
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("action", "label", "trains"),
    [("labeled", "bug", False), ("labeled", "ftgate", True), ("synchronize", None, True)],
)
def test_a_label_that_is_none_of_ours_trains_no_fork_again(action: str, label: str, trains: bool) -> None:
    """Its own commit would have to be approved a second time."""
    jobs = written("forks")["ftgate-train.yml"]["jobs"]
    event = {"action": action, **({"label": {"name": label}} if label else {})}
    looks = condition(jobs["look"]["if"], {"github": {"event": event}}, {"success": lambda: True})
    assert looks is trains
    states = {"success": lambda: looks, "cancelled": lambda: False}
    needs = {"look": {"result": "success" if looks else "skipped", "outputs": {}}}
    assert condition(jobs["train"]["if"], {"needs": needs}, states) is trains


@pytest.mark.parametrize(
    ("result", "outcome", "trains"),
    [
        ("success", "undecided", True),
        ("failure", "", True),
        ("success", "pass", False),
        ("success", "fail", False),
    ],
)
def test_a_fork_is_trained_unless_a_verdict_is_known(result: str, outcome: str, trains: bool) -> None:
    """What looks runs nothing of the pull request, with a token that may read; in doubt it is trained."""
    jobs = written("forks")["ftgate-train.yml"]["jobs"]
    assert set(jobs["look"]["permissions"].values()) == {"read"}
    assert [step["uses"].partition("@")[0] for step in jobs["look"]["steps"]] == [
        "actions/checkout",
        "owner/ftgate",
    ]
    needs = {"look": {"result": result, "outputs": {"outcome": outcome}}}
    states = {"success": lambda: result == "success", "cancelled": lambda: False}
    assert condition(jobs["train"]["if"], {"needs": needs}, states) is trains


def test_in_forks_the_job_that_measures_says_its_verdicts_in_the_name_of_a_step() -> None:
    """Its own name says the commit; where a verdict was taken over it measures nothing, and an App's check
    is posted all the same."""
    judge = written("forks")["ftgate-judge.yml"]["jobs"]["judge"]
    run = {"head_sha": "a" * 40}
    announce = written("forks")["ftgate-judge.yml"]["jobs"]["announce"]
    github = {"github": {"event": {"workflow_run": run}}}
    named = tuple(filled(job["name"], github) for job in (judge, announce))
    assert named == job_names("forks", "a" * 40)
    (said,) = (each for each in announce["steps"] if each.get("name", "").startswith(STEP))
    assert filled(said["name"], {"steps": {"announce": {"outputs": {"verdicts": "e"}}}}) == f"{STEP}e"
    context = {"steps": {"publish": {"outputs": {"verdicts": "d" * 64}}}}
    (step,) = (each for each in judge["steps"] if each.get("name", "").startswith(STEP))
    assert filled(step["name"], context) == f"{STEP}{'d' * 64}"
    steps = {step["id"]: step for step in judge["steps"] if "id" in step}
    for outcome, measures in (("pass", False), ("undecided", True)):
        needs = {"needs": {"announce": {"outputs": {"outcome": outcome}}}}
        states = {"success": lambda: True, "cancelled": lambda: False}
        run = {"github": {"event": {"workflow_run": {"conclusion": "success"}}}}
        for name in ("handover", "judge"):
            assert condition(steps[name]["if"], {**needs, **run}, states) is measures
        assert condition(steps["publish"]["if"], needs, states)


@pytest.mark.parametrize(("value", "passes"), [("yes", True), ("", False)])
def test_an_environment_that_nobody_set_up_lets_nothing_through(value: str, passes: bool) -> None:
    """GitHub makes one that is missing, without reviewers: the first step asks for a variable of its own."""
    first = written("forks")["ftgate-judge.yml"]["jobs"]["judge"]["steps"][0]
    environ = {
        name: filled(each, {"vars": {"FTGATE_REVIEWED": value}}) for name, each in first["env"].items()
    }
    code, printed = bash(first["run"], environ)
    assert (code == 0) is passes
    assert passes or "FTGATE_REVIEWED" in printed


@pytest.mark.parametrize("outcome", ["pass", "fail", "undecided", "error", ""])
def test_two_jobs_train_and_judge_whatever_has_no_verdict(outcome: str) -> None:
    """Missing, undecided or broken: trained and measured. Taken over: neither, and the publish step, which
    looks itself, ends the required job."""
    jobs = written("two-jobs")["ftgate.yml"]["jobs"]
    measures = outcome not in ("pass", "fail")
    trained = {"result": "success" if measures else "skipped"}
    context = {"needs": {"look": {"outputs": {"outcome": outcome} if outcome else {}}, "train": trained}}
    states = {"cancelled": lambda: False, "success": lambda: True}
    assert condition(jobs["train"]["if"], context, states) is measures
    steps = {step["id"]: step for step in jobs["judge"]["steps"] if "id" in step}
    for name in ("judge", "handover"):
        assert condition(steps[name]["if"], context, states) is measures
    published = steps["publish"]
    assert condition(published["if"], context, states)
    assert published["with"]["run-dir"] == steps["judge"]["with"]["run-dir"]
    assert "continue-on-error" not in published
    assert jobs["judge"]["needs"] == ["look", "train"]


SIGNING = [
    ("trusted", "ftgate.yml", "sign"),
    ("two-jobs", "ftgate.yml", "judge"),
    ("forks", "ftgate-judge.yml", "judge"),
]


@pytest.mark.parametrize(("form", "file", "job"), SIGNING)
def test_a_plan_without_attestations_makes_no_pass_red(form: Form, file: str, job: str) -> None:
    """The step that signs may fail; what publishes, and so ends with the verdict, may not."""
    steps = written(form)[file]["jobs"][job]["steps"]
    may_fail = [step["uses"].partition("@")[0] for step in steps if step.get("continue-on-error")]
    assert "actions/attest-build-provenance" in may_fail
    assert not [
        step
        for step in steps
        if step.get("continue-on-error")
        and step.get("with", {}).get("mode") == "publish"
        and "run-dir" in step["with"]
    ]


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize(("form", "file", "job"), SIGNING)
def test_every_verdict_that_was_measured_is_signed(form: Form, file: str, job: str, good: bool) -> None:
    """A fail as well as a pass, though the step or job before it was red; what was not measured is not."""
    held = written(form)[file]["jobs"][job]
    (step,) = (each for each in held["steps"] if "attest-build-provenance" in each.get("uses", ""))
    condition_of = held["if"] if job == "sign" else step["if"]
    states = {"cancelled": lambda: False, "success": lambda: good}
    github = {"event_name": "push", "repository": "o/r", "event": {}}
    for path, expected in (("r/verdict.json", True), ("", False)):
        outputs = {"outputs": {"verdict-path": path}}
        context = {"github": github, "steps": {"judge": outputs}, "needs": {"verdict": outputs}}
        assert condition(condition_of, context, states) is expected


@pytest.mark.parametrize(("form", "source"), [("trusted", "steps.ftgate"), ("two-jobs", "steps.publish")])
def test_the_required_job_says_its_verdicts_in_the_name_of_a_step(form: Form, source: str) -> None:
    """By that name a later push knows what the run came to: after the verdicts, whether red or green, of a
    job that has the very name which is looked for."""
    jobs = written(form)["ftgate.yml"]["jobs"]
    held = jobs["verdict"]
    github = {"event_name": "pull_request"}
    assert filled(held["name"], {"github": github}) == JOB
    context = {"steps": {source.partition(".")[2]: {"outputs": {"verdicts": "d" * 64}}}}
    if form == "two-jobs":  # its judge says them
        said = filled(jobs["judge"]["outputs"]["verdicts"], context)
        context = {"needs": {"judge": {"outputs": {"verdicts": said}}}}
    (step,) = (each for each in held["steps"] if each.get("name", "").startswith(STEP))
    assert filled(step["name"], context) == f"{STEP}{'d' * 64}"
    states = {"cancelled": lambda: False, "success": lambda: form == "two-jobs"}
    assert condition(step.get("if"), context, states)
    ids = [each.get("id") for each in held["steps"]]
    assert form == "two-jobs" or ids.index("ftgate") < held["steps"].index(step)


def test_the_job_that_looks_runs_nothing_of_the_pull_request() -> None:
    """A checkout without credentials and one step of ours, which publishes: nothing is trained there."""
    steps = written("two-jobs")["ftgate.yml"]["jobs"]["look"]["steps"]
    assert [step["uses"].partition("@")[0] for step in steps] == ["actions/checkout", "owner/ftgate"]
    assert steps[1]["with"]["mode"] == "publish"


COMMENTING = [
    ("trusted", "ftgate.yml"),
    ("two-jobs", "ftgate.yml"),
    ("forks", "ftgate-judge.yml"),
]


@pytest.mark.parametrize(("form", "file"), COMMENTING)
def test_one_job_alone_comments_and_those_of_a_pull_request_take_turns(form: Form, file: str) -> None:
    """No other job may write a comment or is asked to; nobody cuts it off, and it is red for nothing."""
    jobs = written(form)[file]["jobs"]
    held = jobs.pop("comment")
    assert held["concurrency"]["cancel-in-progress"] is False
    assert held["concurrency"]["group"].startswith("ftgate-publish-")
    assert held["permissions"]["pull-requests"] == "write"
    assert held["steps"][-1]["continue-on-error"] is True
    assert "environment" not in held  # a job that waits to be approved holds its group
    for name, job in jobs.items():
        assert job["permissions"].get("pull-requests") in (None, "read"), name
        publishing = [
            step["with"]
            for step in job["steps"]
            if step.get("uses") == ACTION and step["with"].get("mode", "check") in ("check", "publish")
        ]
        assert all(each["comment"] == "never" for each in publishing), name


def test_no_required_job_can_be_pushed_out_of_a_group() -> None:
    """Of the jobs that wait in a group GitHub keeps the newest alone: the verdict's is in none."""
    for form, file, job in (
        ("trusted", "ftgate.yml", "verdict"),
        ("two-jobs", "ftgate.yml", "judge"),
        ("forks", "ftgate-judge.yml", "judge"),
    ):
        assert "concurrency" not in written(form)[file]["jobs"][job]


@pytest.mark.parametrize("result", ["success", "failure", "skipped"])
def test_the_comment_is_written_however_the_verdict_ended(result: str) -> None:
    """Also where the job that measures died; not for a fork, whose token may not, nor for a run that a newer
    push cancelled. In forks a judge that was skipped left no folder to read."""
    for form, file in COMMENTING:
        job = written(form)[file]["jobs"]["comment"]
        pull = {"head": {"repo": {"full_name": "o/r"}}}
        run = {"event": "pull_request", "conclusion": "success"}
        event = {"pull_request": pull, "workflow_run": run}
        github = {"event_name": "pull_request", "repository": "o/r", "event": event}
        states = {"cancelled": lambda: False, "success": lambda: result == "success"}
        assert condition(job["if"], {"github": github}, states), form
        assert not condition(job["if"], {"github": github}, {**states, "cancelled": lambda: True}), form
        outputs = {"artifact-id": "" if result == "failure" else "3"}
        context = {"github": github, "needs": {"judge": {"result": result, "outputs": outputs}}}
        folder = next(step for step in job["steps"] if "mkdir" in step.get("run", ""))
        made = condition(folder.get("if"), context, {"success": lambda: True})
        assert made is (form != "forks" or result != "skipped")


@pytest.mark.parametrize(
    ("form", "file", "job", "readers"),
    [
        ("trusted", "ftgate.yml", "verdict", ("comment", "sign")),
        ("two-jobs", "ftgate.yml", "judge", ("comment",)),
        ("forks", "ftgate-judge.yml", "judge", ("comment",)),
    ],
)
def test_a_verdict_is_fetched_by_what_its_job_says_of_it(
    form: Form, file: str, job: str, readers: tuple[str, ...]
) -> None:
    """An earlier attempt's artifact has the same name, and a training job in the same run may upload one of
    any: by its id it is the one. Where it cannot be fetched the comment stays as it is."""
    jobs = written(form)[file]["jobs"]
    (upload,) = (each for each in jobs[job]["steps"] if each.get("id") == "results")
    assert "upload-artifact" in upload["uses"]
    assert upload["with"]["overwrite"] is True
    said = {"steps": {"results": {"outputs": {"artifact-id": "8"}}}}
    assert filled(jobs[job]["outputs"]["artifact-id"], said) == "8"
    for reader in readers:
        (step,) = (each for each in jobs[reader]["steps"] if "download" in each.get("uses", ""))
        assert "name" not in step["with"]
        needs = {"needs": {job: {"outputs": {"artifact-id": "7"}}}}
        assert filled(step["with"]["artifact-ids"], needs) == "7"
    (tells,) = (each for each in jobs["comment"]["steps"] if each.get("uses") == ACTION)
    states = {"success": lambda: True}
    for known, fetched, told in (("7", "success", True), ("7", "failure", False), ("", "skipped", True)):
        context = {
            "needs": {job: {"outputs": {"artifact-id": known}}},
            "steps": {"results": {"outcome": fetched}},
        }
        assert condition(tells["if"], context, states) is told


@pytest.mark.parametrize(("ended", "fetched"), [("success", True), ("failure", False), ("cancelled", False)])
def test_a_model_is_fetched_from_a_training_that_succeeded(ended: str, fetched: bool) -> None:
    """Where it failed this time, an earlier attempt's model would be judged."""
    needs = {"announce": {"outputs": {}}, "look": {"outputs": {}}, "train": {"result": ended}}
    context = {"needs": needs, "github": {"event": {"workflow_run": {"conclusion": ended}}}}
    for form, file in (("two-jobs", "ftgate.yml"), ("forks", "ftgate-judge.yml")):
        steps = written(form)[file]["jobs"]["judge"]["steps"]
        (step,) = (each for each in steps if each.get("id") == "handover")
        assert condition(step["if"], context, {"success": lambda: True}) is fetched, form


@pytest.mark.parametrize(
    ("outcome", "app", "asked"),
    [("pass", "", False), ("pass", "1", True), ("undecided", "", True), ("", "", True)],
)
def test_nobody_is_asked_to_approve_where_no_config_changed(outcome: str, app: str, asked: bool) -> None:
    """What announces says "pass" then; an App's required check needs the approval all the same."""
    job = written("forks")["ftgate-judge.yml"]["jobs"]["judge"]
    run = {"event": "pull_request", "conclusion": "success"}
    context = {
        "github": {"event": {"workflow_run": run}},
        "needs": {"announce": {"outputs": {"outcome": outcome}}},
        "vars": {"FTGATE_APP_ID": app},
    }
    assert condition(job["if"], context, {"success": lambda: True}) is asked


@pytest.mark.parametrize(
    ("conclusion", "follows"),
    [
        *[(each, True) for each in ("success", "failure", "timed_out")],
        *[(each, False) for each in ("action_required", "cancelled", "skipped", "startup_failure")],
    ],
)
def test_nothing_is_told_of_a_run_that_trained_nothing(conclusion: str, follows: bool) -> None:
    """A training that waits to be approved, was cancelled or never began is neither announced nor judged; one
    that failed or took too long is."""
    for name, job in written("forks")["ftgate-judge.yml"]["jobs"].items():
        for event, expected in (("pull_request", follows), ("push", False)):
            context = {
                "github": {"event": {"workflow_run": {"event": event, "conclusion": conclusion}}},
                "needs": {"announce": {"outputs": {"outcome": "undecided"}}},
                "vars": {},
            }
            states = {"success": lambda: True, "cancelled": lambda: False}
            assert condition(job["if"], context, states) is expected, name


NO_FORKS = "A fork's code does not run on this machine"


@pytest.mark.parametrize(
    ("form", "changed", "refused"),
    [
        ("trusted", {}, True),
        ("trusted", {"runs_on": ("gpu",), "ephemeral": True}, True),
        ("two-jobs", OWN, True),
        ("two-jobs", {**OWN, "container": IMAGE}, True),
        ("two-jobs", {**OWN, "ephemeral": True}, False),
        ("two-jobs", {}, False),
    ],
)
def test_no_forks_code_runs_on_a_machine_that_lives_on(
    form: Form, changed: dict[str, Any], refused: bool
) -> None:
    """The first step of the job that trains fails for a fork's pull request, before its checkout."""
    jobs = written(form, **changed)["ftgate.yml"]["jobs"]
    first, second = jobs["train" if form == "two-jobs" else "verdict"]["steps"][:2]
    assert (first.get("name") == NO_FORKS) is refused
    if not refused:
        return
    assert first["run"].endswith("exit 1\n")
    assert second["uses"].startswith("actions/checkout@")
    for source, name, fails in (("else/r", "pull_request", True), ("o/r", "pull_request", False)):
        pull = {"head": {"repo": {"full_name": source}}}
        github = {"event_name": name, "repository": "o/r", "event": {"pull_request": pull}}
        assert condition(first["if"], {"github": github}, {"success": lambda: True}) is fails
    github = {"event_name": "push", "repository": "o/r", "event": {}}
    assert not condition(first["if"], {"github": github}, {"success": lambda: True})


def test_a_forks_measuring_waits_for_a_maintainer() -> None:
    """The judge's job needs an environment, names the commit, and checks out just that commit."""
    job = written("forks")["ftgate-judge.yml"]["jobs"]["judge"]
    assert "ftgate-judge" in job["environment"]
    assert "github.event.workflow_run.head_sha" in job["name"]
    assert job["needs"] == "announce"  # which is red where `when` says to wait: then nobody is asked
    assert job["steps"][1]["with"]["ref"] == "${{ github.event.workflow_run.head_sha }}"


@pytest.mark.parametrize("form", FORMS)
def test_labels_branch_and_python_are_put_in(form: Form) -> None:
    """One label as a word, several as a list; nothing of the template is left."""
    files = workflow_files(
        wishes(
            form,
            runs_on=("self-hosted", "gpu"),
            judge_on=("clean",),
            ephemeral=True,
            branch="trunk",
            python="3.12",
        )
    )
    text = "".join(file.text for file in files)
    assert '["self-hosted", "gpu"]' in text
    assert 'python-version: "3.12"' in text
    assert not re.search(r"\[\[|\]\]", text)
    if form != "forks":
        assert load(files[0].text)["on"]["push"]["branches"] == ["trunk"]
    assert load(files[0].text)["on"]["pull_request"]["branches"] == ["trunk"]


@pytest.mark.parametrize("label", ["null", "2024.10", "gpu: a", "gpu:", "- x", "yes", "0x1f", "-"])
def test_a_label_is_text_to_yaml(label: str) -> None:
    """Whatever it looks like: a null, a number, a mapping, a list."""
    assert written("trusted", runs_on=(label,))["ftgate.yml"]["jobs"]["verdict"]["runs-on"] == label
    several = {"runs_on": ("a", label), "judge_on": (label, "b"), "ephemeral": True}
    jobs = written("two-jobs", **several)["ftgate.yml"]["jobs"]
    assert (jobs["train"]["runs-on"], jobs["judge"]["runs-on"]) == (["a", label], [label, "b"])


@pytest.mark.parametrize("form", FORMS)
def test_only_pull_requests_into_the_default_branch_are_judged(form: Form) -> None:
    """A check is a commit's. A pull request of the same head into a lenient branch of the author's own, or
    one that is turned to the default branch afterwards, would bring a green one along."""
    for document in written(form).values():
        asked = document["on"].get("pull_request")
        assert asked is None or asked["branches"] == ["main"]


@pytest.mark.parametrize("form", ["trusted", "two-jobs"])
def test_a_run_by_hand_is_not_the_required_check(form: Form) -> None:
    """It measures the one config that is named, on any branch's head: green, it would count for all."""
    (document,) = written(form).values()
    (name,) = [job["name"] for job in document["jobs"].values() if "verdict" in job.get("name", "")]
    for event, expected in (("workflow_dispatch", "ftgate by hand"), ("pull_request", "ftgate verdict")):
        assert filled(name, {"github": {"event_name": event}}) == expected


# ── The container ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "file", "changed"),
    [("two-jobs", "ftgate.yml", OWN), ("forks", "ftgate-train.yml", {**OWN, "ephemeral": True})],
)
def test_only_the_training_is_in_the_container(form: Form, file: str, changed: dict[str, Any]) -> None:
    """The image by its digest, a user, the GPUs; every other job is as it is without `--container`."""
    bare, boxed = (
        written(form, schedule=True, **changed),
        written(form, schedule=True, container=IMAGE, **changed),
    )
    container = boxed[file]["jobs"]["train"].pop("container")
    assert container["image"] == IMAGE
    options = container["options"].split()
    assert options[:2] == ["--user", "1001:65534"]
    assert options[-2:] == ["--gpus", "all"]
    (step,) = [step for step in boxed[file]["jobs"]["train"]["steps"] if step.get("uses") == ACTION]
    assert step["with"].pop("python-version", None) is None  # Python is the image's
    (step,) = [step for step in bare[file]["jobs"]["train"]["steps"] if step.get("uses") == ACTION]
    assert step["with"].pop("python-version")
    assert boxed == bare


def test_githubs_own_machine_hands_no_gpu_in() -> None:
    """It has none, and Docker would not start the container."""
    job = written("two-jobs", container=IMAGE)["ftgate.yml"]["jobs"]["train"]
    assert "--gpus" not in job["container"]["options"]
    assert "--user" in job["container"]["options"]


@pytest.mark.parametrize("form", ["two-jobs", "forks"])
def test_paths_of_the_machine_can_be_translated(form: Form) -> None:
    """In a container `runner.temp` is a path of the machine. The runner puts the container's in its place in
    a variable or an input, and only where the value begins with it; in a script it never does."""
    action = load((ROOT / "action.yml").read_text())["runs"]["steps"]
    jobs = [job for document in written(form, container=IMAGE).values() for job in document["jobs"].values()]
    steps = [*action, *(step for job in jobs if "container" in job for step in job["steps"])]
    values = [str(value) for step in steps for key in ("env", "with") for value in step.get(key, {}).values()]
    paths = [value for value in values if "runner.temp" in value]
    assert len(paths) >= 6
    either = r"(inputs\.[\w-]+ (== 'none' && 'ftgate' )?\|\| )?format\('\{0\}/"
    begins = re.compile(rf"\$\{{\{{ (runner\.temp \}}\}}/|{either})")
    assert [value for value in paths if not begins.match(value)] == []
    assert not [step for step in steps if "${{" in step.get("run", "") or "github.action_path" in str(step)]


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        f"python@{DIGEST}",
        f"localhost:5000/a/b_c/d--e@{DIGEST}",
        f"ghcr.io/team/trainer:v1.2-cu12_8@{DIGEST}",
        f"Registry.example:443/x@{DIGEST}",
    ],
)
def test_an_image_with_its_digest_is_taken(image: str) -> None:
    """Whatever Docker takes, as it is, and YAML reads it back unchanged."""
    assert written("two-jobs", container=image)["ftgate.yml"]["jobs"]["train"]["container"]["image"] == image


@pytest.mark.parametrize("image", ["python", "python:3.12", "ghcr.io/team/trainer:latest"])
def test_a_tag_alone_is_refused_and_says_how_to_find_the_digest(image: str) -> None:
    """A tag is another image tomorrow, without a pull request."""
    with pytest.raises(UsageError, match="name its digest") as caught:
        workflow_files(wishes(container=image))
    assert f"docker buildx imagetools inspect {image}" in caught.value.hint


@pytest.mark.parametrize(
    "image",
    [
        f"python:3.12@{DIGEST}\n      options: --privileged",
        f"python:3.12@{DIGEST} # x",
        f"${{{{ github.head_ref }}}}@{DIGEST}",
        f"python:3.12@{DIGEST}${{{{ github.head_ref }}}}",
        f"{{a: b}}@{DIGEST}",
        f"--privileged@{DIGEST}",
        f"docker://python@{DIGEST}",
        f"pythön@{DIGEST}",
        f"a/../b@{DIGEST}",
        f"python:@{DIGEST}",
        f" python@{DIGEST}",
        f"python@{DIGEST}\n",
        f"python@{DIGEST.upper()}",
        f"python@{DIGEST[:-1]}",
        "python@sha512:" + "0" * 128,
        f"@{DIGEST}",
        DIGEST,
        f"[[python]]@{DIGEST}",
    ],
)
def test_what_is_no_image_is_refused(image: str) -> None:
    """No key, comment, expression, option or hole of the template gets into the workflow as an image."""
    with pytest.raises(UsageError, match=re.escape("--container: ")):
        workflow_files(wishes(container=image))


def test_one_job_cannot_be_half_in_a_container() -> None:
    """In form trusted judge and token would be in there, too; the hint names what makes two jobs of it."""
    with pytest.raises(UsageError, match="judge and token would be in") as caught:
        workflow_files(wishes(container=IMAGE, runs_on=("gpu",)))
    assert "--judge-on" in caught.value.hint


def test_a_container_makes_no_machine_clean() -> None:
    """The runner's work folder stays, and is mounted: neither forks nor a judge get such a machine."""
    with pytest.raises(UsageError, match="anybody's code"):
        workflow_files(wishes("forks", container=IMAGE, runs_on=("gpu",)))
    with pytest.raises(UsageError, match="pull requests' code ran where the judge would"):
        workflow_files(wishes("two-jobs", container=IMAGE, runs_on=("gpu",), judge_on=("gpu",)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        (OWN, "add --container IMAGE@sha256:DIGEST to train in"),
        ({"runs_on": ("gpu",)}, "add --judge-on LABEL, another machine, and --container IMAGE@sha256:DIGEST"),
        ({**OWN, "ephemeral": True}, ""),
        ({**OWN, "container": IMAGE}, "runs in the container as user 1001"),
        ({"container": IMAGE}, ""),
    ],
)
def test_the_last_words_advise_a_container(changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    """On a machine that lives on they name it; where it is there they say which user the runner must be."""
    said = " ".join(write_workflows(tmp_path, wishes(**changed)).message.split())
    assert words in said
    assert ("container" in said) == bool(words)


@pytest.mark.parametrize(
    ("changed", "shares", "slow"),
    [
        ({"form": "trusted"}, False, True),
        ({}, False, True),
        (OWN, True, False),
        ({**OWN, "ephemeral": True}, False, False),
        ({"runs_on": ("gpu",), "judge_on": ("ubuntu-24.04",)}, False, False),
        ({"form": "forks"}, False, True),
    ],
)
def test_the_last_words_name_what_no_file_can_close(
    changed: dict[str, Any], shares: bool, slow: bool, tmp_path: Path
) -> None:
    """A fork may edit the workflow of a training; a machine may have all labels, or no GPU; a job without
    permissions reads no private repository."""
    said = " ".join(write_workflows(tmp_path, wishes(**changed)).message.split())
    assert "require approval for all external contributors" in said
    assert ("no runner has the labels of both jobs" in said) is shares
    assert ("no GPU" in said) is slow
    assert ("a private repository: `ftgate train`" in said) is (changed.get("form") != "trusted")
    private = " ".join(write_workflows(tmp_path / "p", wishes(**changed, private=True)).message.split())
    assert "a private repository: `ftgate train`" not in private


# ── What is refused, chosen, found ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"form": "forks", "runs_on": ("self-hosted", "gpu")}, "anybody's code"),
        ({"form": "forks", "judge_on": ("gpu-judge",)}, "would run, and stay, on gpu-judge"),
        ({"form": "two-jobs", "runs_on": ("gpu",)}, "pull requests' code ran where the judge would"),
        (
            {"form": "two-jobs", "runs_on": ("gpu",), "judge_on": ("gpu",)},
            "pull requests' code ran where the judge would",
        ),
        ({"form": "forks", "runs_on": ("ubuntu-２４.04",)}, "anybody's code"),
        ({"action": "owner/ftgate"}, "OWNER/ftgate@COMMIT"),
        ({"action": "owner/ftgate@main"}, "OWNER/ftgate@COMMIT"),
        ({"action": f"owner/ftgate@{'a' * 40}\n      - run: evil"}, "OWNER/ftgate@COMMIT"),
        ({"runs_on": ("gpu]\nx",)}, "no label"),
    ],
)
def test_what_cannot_be_safe_is_refused(changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    """A soiled machine for forks or the judge, a moving action, a label that is YAML: nothing is written."""
    with pytest.raises(UsageError, match=re.escape(words)):
        write_workflows(tmp_path, wishes(**changed))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [None, "two-jobs"])
@pytest.mark.parametrize(
    ("trains", "judges"),
    [
        (("gpu",), ("GPU",)),
        (("self-hosted", "gpu"), ("self-hosted",)),
        (("self-hosted",), ("self-hosted", "linux")),
        (("gpu",), ("gpu", "clean")),
        (("gpu", "clean"), ("clean",)),
        (("gpu",), ("self-hosted",)),
        (("Self-Hosted",), ("clean",)),
        (("gpu",), ("Linux", "X64")),
    ],
)
def test_labels_that_one_machine_may_serve_are_refused(
    trains: tuple[str, ...], judges: tuple[str, ...], form: Form | None, tmp_path: Path
) -> None:
    """A job goes to any runner that has its labels, in any case, and every runner has GitHub's: where one
    job's labels are among the other's, the judge's machine may be the one that trained."""
    with pytest.raises(UsageError, match="pull requests' code ran where the judge would"):
        write_workflows(tmp_path, wishes(form, runs_on=trains, judge_on=judges))
    assert list(tmp_path.iterdir()) == []
    assert written("two-jobs", runs_on=trains, judge_on=judges, ephemeral=True)


@pytest.mark.parametrize(
    ("trains", "judges"),
    [
        (("self-hosted", "gpu"), ("self-hosted", "clean")),
        (("self-hosted",), ("ubuntu-24.04",)),
        (("gpu", "team"), ("team", "clean")),
    ],
)
def test_labels_that_neither_job_shares_are_taken(trains: tuple[str, ...], judges: tuple[str, ...]) -> None:
    """Each has a label that the other lacks, or the judge gets a new machine of GitHub's."""
    assert wishes(runs_on=trains, judge_on=judges).chosen == "two-jobs"
    assert workflow_files(wishes(runs_on=trains, judge_on=judges))


@pytest.mark.parametrize(
    ("changed", "form"),
    [
        ({}, "two-jobs"),
        ({"runs_on": ("gpu",)}, "trusted"),
        ({"runs_on": ("gpu",), "ephemeral": True}, "two-jobs"),
        ({"runs_on": ("gpu",), "judge_on": ("gpu-clean",)}, "two-jobs"),
        ({"form": "trusted"}, "trusted"),
    ],
)
def test_the_form_is_the_safest_that_the_machines_allow(changed: dict[str, Any], form: Form) -> None:
    """Two jobs wherever the judge's machine is clean; one otherwise, unless a form is named."""
    assert wishes(**changed).chosen == form


def test_workflows_that_exist_are_named_and_left(tmp_path: Path) -> None:
    """A file that is there keeps its bytes, whatever it is; the others are written."""
    kept = tmp_path / ".github" / "workflows" / "ftgate-train.yml"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    result = write_workflows(tmp_path, wishes("forks"))
    assert kept.read_text() == "mine"
    assert result.left == (".github/workflows/ftgate-train.yml",)
    assert result.written == (".github/workflows/ftgate-judge.yml",)
    assert f"left as it is: {kept} exists" in result.message


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file where the folder should be is told as an error of the store."""
    (tmp_path / ".github").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        write_workflows(tmp_path, wishes())


def test_a_file_where_the_workflows_belong_is_no_workflow(tmp_path: Path) -> None:
    """It is an error that says what is in the way, not a workflow that exists and is left."""
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github" / "workflows").write_text("a file")
    with pytest.raises(StoreError, match="workflows is no folder") as caught:
        write_workflows(tmp_path, wishes())
    assert "move away" in caught.value.hint


def test_policy_and_workflows_together(tmp_path: Path) -> None:
    """`--github` writes the policy where there is none, and says what to click; again, it changes nothing."""
    (tmp_path / "sft.yaml").write_text(CONFIG)
    first = write_github(tmp_path, action=ACTION)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    second = write_github(tmp_path, action=ACTION, schedule=False)
    assert load_policy(tmp_path / "thresholds.yaml").rules
    assert "ftgate check sft.yaml" in first
    assert "require the status check `ftgate verdict`" in " ".join(first.split())
    assert second.count("left as it is: ") == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_is_wished_for_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    """A refused wish leaves no policy behind."""
    with pytest.raises(UsageError):
        write_github(tmp_path, action=ACTION, form="forks", runs_on=("gpu",))
    assert list(tmp_path.iterdir()) == []


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


def test_branch_python_and_root_are_found(tmp_path: Path) -> None:
    """The remote's default branch, else main; Python from `.python-version`; only the root will do."""
    assert default_branch(tmp_path) == "main"
    git(tmp_path, "init", "-q", "-b", "trunk")
    assert default_branch(tmp_path) == "trunk"
    git(tmp_path, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/release")
    assert default_branch(tmp_path) == "release"
    assert python_version(tmp_path) == f"{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / ".python-version").write_text("3.12.4\n")
    assert python_version(tmp_path) == "3.12"
    (tmp_path / ".python-version").write_text("3.9.18\n")
    assert python_version(tmp_path) == f"{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / "inner").mkdir()
    check_root(tmp_path)
    with pytest.raises(UsageError, match="not the root"):
        check_root(tmp_path / "inner")


OTHER_WORKFLOW = """\
on: push
jobs:
  a: {runs-on: ubuntu-24.04}
  b: {runs-on: [self-hosted, "big gpu"]}
  c: {runs-on: "${{ matrix.os }}"}
  d: {runs-on: {group: g}}
  e: {uses: x/y/.github/workflows/z.yml@v1}
  f: {runs-on: "\\e[31mred"}
"""


def test_runners_of_the_teams_own_are_found(tmp_path: Path) -> None:
    """Labels that other workflows name are offered, with the flags; none where the user named one."""
    assert own_runners(tmp_path) == ()
    for name, text in (("ci.yml", OTHER_WORKFLOW), ("broken.yaml", "a: ["), ("odd.yml", "- 1")):
        path = tmp_path / ".github/workflows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert own_runners(tmp_path) == (("self-hosted", "big gpu"),)
    assert "--runs-on self-hosted --runs-on 'big gpu'" in write_github(tmp_path, action=ACTION)
    assert "your other workflows" not in write_github(tmp_path, action=ACTION, runs_on=("gpu",))


@pytest.mark.parametrize("form", FORMS)
def test_packages_that_the_configs_need_are_installed(form: Form, tmp_path: Path) -> None:
    """What ftgate does not bring is an extra of every step that trains, and of no other."""
    (tmp_path / "a.yaml").write_text(CONFIG + "use_liger_kernel: true\n")
    (tmp_path / "b.yaml").write_text(CONFIG + "use_liger_kernel: false\n")
    write_github(tmp_path, action=ACTION, form=form, runs_on=("gpu",), judge_on=("clean",), ephemeral=True)
    steps = [
        step["with"]
        for path in (tmp_path / ".github/workflows").iterdir()
        for job in load(path.read_text())["jobs"].values()
        for step in job["steps"]
        if step.get("uses") == ACTION
    ]
    trains = [step for step in steps if step.get("mode", "check") in ("check", "train")]
    assert trains
    assert all(step["extras"] == "liger-kernel" for step in trains)
    assert not [step for step in steps if step not in trains and "extras" in step]
    assert "extras" not in str(written(form))


GIT_URL = json.dumps(
    {"url": "https://github.com/o/ftgate.git", "vcs_info": {"vcs": "git", "commit_id": "b" * 40}}
)


@pytest.mark.parametrize(
    ("noted", "action"),
    [
        (GIT_URL, f"o/ftgate@{'b' * 40}"),
        ('{"url": "file:///home/me/ftgate", "dir_info": {"editable": true}}', ""),
        ("{}", ""),
    ],
)
def test_the_action_is_what_was_installed_from_git(noted: str, action: str) -> None:
    """pip notes the commit that it installed; a folder or an index tells nothing."""
    assert action_of(noted) == action


def test_the_command_line_writes_them(tmp_path: Path) -> None:
    """`ftgate init --github` with its flags; without --github they are a usage error."""
    alone = CliRunner().invoke(cli, ["init", str(tmp_path), "--form", "forks"])
    assert alone.exit_code == 2
    assert "--github" in alone.output
    assert list(tmp_path.iterdir()) == []
    words = ["init", str(tmp_path), "--github", "--runs-on", "gpu", "--judge-on", "clean", "--action", ACTION]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    jobs = load((tmp_path / ".github/workflows/ftgate.yml").read_text())["jobs"]
    assert (jobs["train"]["runs-on"], jobs["judge"]["runs-on"]) == ("gpu", "clean")


def test_the_command_line_takes_a_container(tmp_path: Path) -> None:
    """`--container` reaches the workflow; a tag alone writes nothing, not even a policy."""
    words = ["init", str(tmp_path), "--github", "--action", ACTION, "--container"]
    refused = CliRunner().invoke(cli, [*words, "python:3.12"])
    assert isinstance(refused.exception, UsageError)
    assert list(tmp_path.iterdir()) == []
    done = CliRunner().invoke(cli, [*words, IMAGE])
    assert done.exit_code == 0, done.output
    jobs = load((tmp_path / ".github/workflows/ftgate.yml").read_text())["jobs"]
    assert [name for name, job in jobs.items() if "container" in job] == ["train"]


# ── Lint ─────────────────────────────────────────────────────────────────────────────────────────


def test_all_workflows_lint_clean() -> None:
    """Ours, the action, and what every form writes: GitHub's schemas, zizmor and actionlint say nothing."""
    script = [sys.executable, str(ROOT / "scripts" / "lint_workflows.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"(\d\d) workflows and actions: no findings\n", done.stdout)


GOOD = """\
name: good
on:
  pull_request:
permissions: {}
jobs:
  one:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - id: said
        run: echo x
      - env:
          X: ${{ steps.said.outputs.x }}
        run: echo "$X"
"""
FAULTS = {
    "schema_findings": ("timeout-minutes: 5", "timeout-minutes: soon"),
    "zizmor_findings": ('run: echo "$X"', "run: echo ${{ github.event.pull_request.title }}"),
    "actionlint_findings": ("steps.said.outputs.x", "steps.sad.outputs.x"),
}


@pytest.mark.parametrize("tool", FAULTS)
def test_each_tool_finds_a_planted_fault(tool: str, lint: ModuleType, tmp_path: Path) -> None:
    """A workflow that is good passes each tool, and each finds the fault that it is there for."""
    path = tmp_path / ".github" / "workflows" / "good.yml"
    path.parent.mkdir(parents=True)
    path.write_text(GOOD)
    assert getattr(lint, tool)([path]) == []
    path.write_text(GOOD.replace(*FAULTS[tool]))
    assert getattr(lint, tool)([path]) != []


@pytest.mark.parametrize("tool", ["schema_findings", "zizmor_findings"])
def test_faults_of_the_action_are_found(tool: str, lint: ModuleType, tmp_path: Path) -> None:
    """A wrong key and an input inside a script are found in the action as well."""
    text = (ROOT / "action.yml").read_text()
    path = tmp_path / "action.yml"
    path.write_text(text)
    assert getattr(lint, tool)([path]) == []
    path.write_text(
        text.replace("using: composite", "using: compost").replace('"$FTGATE" ci', '"${{ inputs.mode }}" ci')
    )
    assert getattr(lint, tool)([path]) != []


def test_ignored_rules_give_their_reason() -> None:
    """Whoever switches a rule off on a line says there why."""
    files = [*TEMPLATES.glob("*.yml"), *(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / "action.yml"]
    lines = [line for path in files for line in path.read_text().splitlines() if "zizmor: ignore" in line]
    assert lines
    assert all(re.search(r"zizmor: ignore\[[a-z-]+\] \w+ \w+", line) for line in lines)


def test_without_the_ignored_line_zizmor_objects(lint: ModuleType, tmp_path: Path) -> None:
    """The one ignored rule would be found: `workflow_run` is dangerous, and is used knowingly."""
    path = tmp_path / "judge.yml"
    text = next(file.text for file in workflow_files(wishes("forks")) if "workflow_run:" in file.text)
    path.write_text(re.sub(r"# zizmor: ignore.*", "", text))
    assert "dangerous-triggers" in "".join(lint.zizmor_findings([path]))
