"""gate.ci.announce: a finished run's verdict is taken over where nothing else could be measured, else not."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import chdir
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_github.memory import MemoryGitHub
from fake_github.state import StoredCheck, StoredJob
from scratch import (
    CONFIG,
    FILES,
    POLICY,
    WORKFLOW,
    Scratch,
    StubCheck,
    end_job,
    environment,
    hand_over,
    outputs_in,
    pull_payload,
    run_in,
)

from gate.ci.attach import MOST_TRIED, POLL
from gate.ci.plan import CiOptions
from gate.ci.proof import digest_verdicts
from gate.ci.run import Effects, run_ci
from gate.ci.vouching import is_same_workflow, unchanged_there
from gate.github.api import CheckOutput
from gate.github.token import Token
from gate.progress import SilentProgress
from gate.records import ChangedConfig, Event, Mode
from gate.repository import Repository
from gate.shell import Shell

LORA = "configs/lora.yaml"
EDITED: dict[str, str | None] = {LORA: CONFIG.replace("1.0e-3", "2.0e-3")}
README: dict[str, str | None] = {"README.md": "more\n"}


class Pushes:
    """A pull request whose first push was judged (run 90), and what is announced for a later one.

    `modes` are its jobs: a judge and one that publishes, unless one job did it all.
    """

    def __init__(
        self,
        folder: Path,
        first: dict[str, str | None] = EDITED,
        gain: float = 0.2,
        modes: tuple[Mode, ...] = ("judge", "publish"),
        links: Mapping[str, str] | None = None,
        trained: str | None = LORA,
    ) -> None:
        self.folder = folder
        self.scratch = Scratch(folder / "repo")
        self.github = MemoryGitHub()
        for name, target in (links or {}).items():
            link = self.scratch.path / "data" / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(target)
        self.first = self.head = self.scratch.commit(first)
        self.github.state.open_pull(7, self.first, self.scratch.base)
        payload = pull_payload(self.scratch, self.first)
        (folder / "runner/handover").mkdir(parents=True)
        if trained:
            hand_over(folder / "runner/handover", trained, self.first)
        if modes:
            self.measure(payload, modes, {LORA: gain})

    def measure(self, payload: object, modes: tuple[Mode, ...], gains: Mapping[str, float]) -> None:
        """Run 90, job by job: what its configs gain."""
        for mode in modes:
            ended = run_in(
                self.scratch,
                "pull_request",
                payload,
                github=None if mode == "judge" else self.github.session(),
                stub=StubCheck(gains),
                options=CiOptions(mode=mode),
                GITHUB_RUN_ID="90",
            )
        self.code = ended.code
        end_job(self.github.state, 90, ended.code, ended.outputs())
        self.started(90, "failure" if self.code else "completed")

    def started(self, run_id: int, status: str = "completed", **about: str) -> None:
        """A run of this workflow for the newest push, as GitHub knows it; `about` changes what it was."""
        of = {"head_sha": self.head, "path": WORKFLOW, "event": "pull_request", **about}
        self.github.state.start_run(run_id, status, **of)

    def push(self, files: dict[str, str | None]) -> dict[str, Any]:
        """A later push; its event's payload."""
        before = self.head
        self.head = self.scratch.commit(files)
        self.github.state.push(7, self.head)
        return {**pull_payload(self.scratch, self.head), "before": before}

    def look(
        self, name: str, payload: object, wait: Any = lambda _: None, **variables: str
    ) -> tuple[int, str, list[str]]:
        """What the publishing job without a folder does: exit code, outcome, and what it said."""
        place = self.folder / "look"
        variables = {"GITHUB_RUN_ID": "91", **variables}
        environ = environment(place, name, payload, **variables)
        (place / "output").unlink(missing_ok=True)
        said: list[str] = []
        shell = Shell(environ, said.append, said.append, SilentProgress(), now=lambda: "2026-01-01T00:00:00Z")
        options = CiOptions(mode="publish", run_dir=place / variables.get("RUN", "run"))
        session = self.github.session()
        with chdir(self.scratch.path):
            code = run_ci(options, Token("secret"), shell, Effects(lambda *_: session, StubCheck(), wait))
        outputs = outputs_in(place / "output")
        end_job(self.github.state, int(variables["GITHUB_RUN_ID"]), code, outputs)
        return code, outputs["outcome"], said

    def check(self, sha: str) -> StoredCheck:
        """The config's newest check run on a commit."""
        found = [each for each in self.github.state.checks.values() if each.name == f"ftgate: {LORA}"]
        return max((each for each in found if each.sha == sha), key=lambda each: each.id)

    def on_again(self, run: str = "in_progress") -> StoredCheck:
        """Put the first push's check run back in progress, as its job left it; `run` is its workflow run."""
        older = self.check(self.first)
        self.github.state.checks.clear()
        self.github.state.runs[90] = run
        self.job(status="in_progress" if run == "in_progress" else "completed", conclusion=None)
        made = self.github.session().create_check_run(
            self.first, older.name, CheckOutput("running", "x"), status="in_progress",
            external_id=older.external_id,
        )  # fmt: skip
        return self.github.state.checks[made.id]

    def job(self, **changed: Any) -> None:
        """Change the first push's job, as GitHub has it; its steps stay."""
        (job,) = self.github.state.jobs[90]
        self.github.state.put_job(90, replace(job, **changed))

    def end(self) -> None:
        """The first push's run comes to its end, as it first did."""
        self.github.state.runs[90] = "completed"
        self.job(status="completed", conclusion="success")

    @property
    def comment(self) -> str:
        """The one comment."""
        (comment,) = self.github.state.comments.values()
        return comment.body

    def conclusions(self, sha: str) -> dict[str, str | None]:
        """The newest conclusion of each check run on a commit."""
        checks = sorted(self.github.state.checks.values(), key=lambda each: each.id)
        return {each.name: each.conclusion for each in checks if each.sha == sha}


@pytest.mark.parametrize(("gain", "code", "outcome"), [(0.2, 0, "pass"), (0.0, 1, "fail")])
def test_a_readme_push_takes_the_verdict_over(tmp_path: Path, gain: float, code: int, outcome: str) -> None:
    """Pass and fail alike; the required job, which looks again with no folder, comes to the same."""
    pushes = Pushes(tmp_path, gain=gain)
    payload = pushes.push(README)
    assert pushes.code == code
    assert pushes.look("pull_request", payload)[:2] == (code, outcome)
    ended = "success" if outcome == "pass" else "failure"
    assert pushes.conclusions(pushes.head) == {"ftgate": ended, f"ftgate: {LORA}": ended}
    assert pushes.look("pull_request", payload, RUN="again")[:2] == (code, outcome)
    assert len(pushes.github.state.comments) == 1


@pytest.mark.parametrize(
    "files",
    [
        {LORA: CONFIG.replace("1.0e-3", "3.0e-3")},
        {"data/train/train.jsonl": '{"text": "z"}\n'},
        {"configs/full.yaml": FILES["configs/full.yaml"].replace("1.0e-3", "4.0e-3")},
        {"thresholds.yaml": POLICY + "general: {tasks: [}\n"},
    ],
    ids=["config", "data", "another config", "a broken policy"],
)
def test_what_changed_is_measured(tmp_path: Path, files: dict[str, str | None]) -> None:
    """Red and undecided, nothing green, no comment of the new head."""
    pushes = Pushes(tmp_path)
    assert pushes.look("pull_request", pushes.push(files))[:2] == (1, "undecided")
    assert "success" not in pushes.conclusions(pushes.head).values()


@pytest.mark.parametrize("trick", ["neutral", "cancelled", "another app", "newer", "superseded", "digest"])
def test_a_check_run_that_is_no_verdict_of_ours_is_measured(tmp_path: Path, trick: str) -> None:
    """None of them makes a head green."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    check = next(each for each in pushes.github.state.checks.values() if each.name == f"ftgate: {LORA}")
    inputs = check.external_id.partition("/")[0]
    pushes.github.state.checks.clear()
    session = pushes.github.session(app="evil" if trick == "another app" else "github-actions")
    inputs = "0" * 64 if trick == "digest" else inputs
    run_id = 99 if trick == "newer" else 90
    title = "superseded by a newer run" if trick == "superseded" else "may merge: gained"
    conclusion: Any = trick if trick in ("neutral", "cancelled") else "success"
    session.create_check_run(
        pushes.first, f"ftgate: {LORA}", CheckOutput(title, "x"), status="completed",
        conclusion=conclusion, external_id=f"{inputs}/{run_id}/1",
    )  # fmt: skip
    assert pushes.look("pull_request", payload)[:2] == (1, "undecided")
    assert "success" not in pushes.conclusions(pushes.head).values()


def test_run_again_by_a_person_it_is_measured(tmp_path: Path) -> None:
    """The second attempt takes nothing over."""
    pushes = Pushes(tmp_path)
    assert pushes.look("pull_request", pushes.push(README), GITHUB_RUN_ATTEMPT="2")[:2] == (1, "undecided")


@pytest.mark.parametrize(
    "named",
    [
        "/srv/ours",
        "~/ours",
        "../ours",
        "data/../../ours.jsonl",
        "data/linked/x.jsonl",
        "data/l*",
        "data/deep",
    ],
)
def test_what_lies_outside_of_the_checkout_is_measured(tmp_path: Path, named: str) -> None:
    """Data of the training machine is not seen by the job that looks: also by way of a tracked link."""
    links = {"linked": "/srv/ours", "deep/er": "../../../ours.jsonl"}
    pushes = Pushes(tmp_path, {LORA: CONFIG.replace("data/train", f"'{named}'")}, links=links)
    assert pushes.look("pull_request", pushes.push(README))[:2] == (1, "undecided")


def test_a_merge_group_takes_the_pull_requests_own_verdict_over(tmp_path: Path) -> None:
    """The queue's commit has the same inputs; a policy that landed meanwhile makes them others."""
    pushes = Pushes(tmp_path)
    group = {
        "head_sha": pushes.scratch.commit(README),
        "base_sha": pushes.scratch.base,
        "head_ref": f"refs/heads/gh-readonly-queue/main/pr-7-{pushes.scratch.base}",
        "base_ref": "refs/heads/main",
    }
    payload = {"action": "checks_requested", "merge_group": group}
    assert pushes.look("merge_group", payload)[:2] == (0, "pass")
    pushes.scratch.checkout("main")
    base = pushes.scratch.commit({"thresholds.yaml": POLICY.replace("0.1", "0.5")})
    pushes.scratch.checkout("topic")
    payload["merge_group"] = {**group, "base_sha": base}
    assert pushes.look("merge_group", payload, RUN="stricter")[:2] == (1, "undecided")


def test_a_run_that_is_on_is_waited_for_and_seen_meanwhile(tmp_path: Path) -> None:
    """The newer head shows itself in progress; when the older run ends, its verdict is taken over."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    older = pushes.on_again()
    session = pushes.github.session()
    shown: list[dict[str, str | None]] = []

    def wait(seconds: float) -> None:
        if seconds < POLL:
            return  # the publisher's own pauses are short
        shown.append(pushes.conclusions(pushes.head))
        output = CheckOutput("may merge: gained", "x")
        session.update_check_run(older.id, output, status="completed", conclusion="success")
        if len(shown) == 3:  # what the job does after its verdict is waited for
            pushes.end()

    assert pushes.look("pull_request", payload, wait)[:2] == (0, "pass")
    assert shown[0] == {f"ftgate: {LORA}": None}
    assert len(shown) == 3


# ── Whose verdict it is ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"path": ".github/workflows/forger.yml"}, "was of this workflow"),
        ({"path": f"{WORKFLOW}@x.yml"}, "was of this workflow"),
        ({"head_sha": "9" * 40}, "was of another commit"),
        ({"event": "workflow_dispatch"}, "was not of a pull request"),
    ],
    ids=["another workflow", "a file's name with an @", "another commit", "by hand"],
)
def test_a_check_run_of_another_workflows_job_is_measured(
    tmp_path: Path, about: dict[str, str], why: str
) -> None:
    """Any job with `checks: write` posts as our App: GitHub is asked what the run was that it names."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    pushes.started(90, **{"head_sha": pushes.first, **about})
    code, outcome, said = pushes.look("pull_request", payload)
    assert (code, outcome) == (1, "undecided")
    assert any(why in line and LORA in line for line in said)
    assert pushes.conclusions(pushes.head)[f"ftgate: {LORA}"] is None  # a newer push sees what is on
    assert "success" not in pushes.conclusions(pushes.head).values()


@pytest.mark.parametrize("trick", ["no run of this id", "a red run made green"])
def test_a_forged_check_run_makes_nothing_green(tmp_path: Path, trick: str) -> None:
    """The reviewer's own way in: the digest that the next push will have, an outcome at will."""
    pushes = Pushes(tmp_path, gain=0.0)
    payload = pushes.push(README)
    inputs = pushes.check(pushes.first).external_id.partition("/")[0]
    pushes.github.state.checks.clear()
    pushes.github.session().create_check_run(
        pushes.first, f"ftgate: {LORA}", CheckOutput("may merge: forged", "x"), status="completed",
        conclusion="success", external_id=f"{inputs}/{89 if trick == 'no run of this id' else 90}/1",
    )  # fmt: skip
    assert pushes.look("pull_request", payload)[:2] == (1, "undecided")
    assert "success" not in pushes.conclusions(pushes.head).values()


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ({"steps": ("Set up job",)}, "no step `ftgate verdicts`"),
        ({"steps": ("ftgate verdicts ",)}, "no step `ftgate verdicts`"),
        ({"steps": (f"ftgate verdicts {'0' * 64}",)}, "no step `ftgate verdicts`"),
        ({"conclusion": "failure"}, "ended otherwise"),
        ({"conclusion": "cancelled"}, "ended otherwise"),
        ({"status": "queued", "conclusion": None}, "has not ended"),
        (None, "has no job `ftgate verdict`"),
    ],
    ids=[
        "another step",
        "nothing measured",
        "other verdicts",
        "red",
        "cancelled",
        "not begun",
        "another job",
    ],
)
def test_what_the_runs_own_job_does_not_say_is_measured(
    tmp_path: Path, job: dict[str, Any] | None, why: str
) -> None:
    """The one thing that nobody outside of the run can write: a step of its required job, and its end."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    if job is None:  # what trains may name its own steps at will
        (said,) = pushes.github.state.jobs[90]
        pushes.github.state.jobs[90] = (replace(said, name="ftgate train"),)
    else:
        pushes.job(**job)
    code, outcome, said_here = pushes.look("pull_request", payload)
    assert (code, outcome) == (1, "undecided")
    assert any(why in line and LORA in line for line in said_here), said_here
    assert "success" not in pushes.conclusions(pushes.head).values()


@pytest.mark.parametrize(
    "trick", ["a run that measured nothing", "another config's run", "under a new policy"]
)
def test_a_forged_check_run_beside_a_true_green_run_makes_nothing_green(tmp_path: Path, trick: str) -> None:
    """A workflow on another branch posts as our App: whatever it claims, the run it names did not say so."""
    other: dict[str, str | None] = {
        "configs/full.yaml": FILES["configs/full.yaml"].replace("1.0e-3", "4.0e-3")
    }
    first = {"a run that measured nothing": README, "another config's run": other}.get(trick, EDITED)
    pushes = Pushes(tmp_path, first=first, trained=None if first is README else next(iter(first)))
    assert pushes.code == 0
    if trick == "under a new policy":  # git sees the same config on both commits
        pushes.scratch.checkout("main")
        pushes.scratch.base = pushes.scratch.commit({"thresholds.yaml": POLICY.replace("0.1", "0.5")})
        pushes.scratch.checkout("topic")
    payload = pushes.push(README if first is EDITED else EDITED)
    pushes.look("pull_request", payload, GITHUB_RUN_ID="95", RUN="before")
    inputs = pushes.check(pushes.head).external_id.partition("/")[0]
    pushes.github.session().create_check_run(
        pushes.first, f"ftgate: {LORA}", CheckOutput("may merge: forged", "x"), status="completed",
        conclusion="success", external_id=f"{inputs}/90/1",
    )  # fmt: skip
    code, outcome, said = pushes.look("pull_request", payload, GITHUB_RUN_ID="96")
    assert (code, outcome) == (1, "undecided")
    assert any("is not taken over" in line for line in said), said
    assert "success" not in pushes.conclusions(pushes.head).values()


def test_a_run_that_had_nothing_to_measure_is_believed_nothing(tmp_path: Path) -> None:
    """Were even a step's name forged: git knows that no config counted as changed on that commit."""
    pushes = Pushes(tmp_path, first=README, trained=None)
    payload = pushes.push({"tasks/mine.yaml": FILES["tasks/mine.yaml"] + "# for all configs\n"})
    pushes.look("pull_request", payload, GITHUB_RUN_ID="95", RUN="before")
    checks = [each for each in pushes.github.state.checks.values() if each.name.startswith("ftgate: ")]
    forged = set()
    for each in checks:
        inputs = each.external_id.partition("/")[0]
        forged.add((each.name.removeprefix("ftgate: "), inputs, "pass"))
        pushes.github.session().create_check_run(
            pushes.first, each.name, CheckOutput("may merge: forged", "x"), status="completed",
            conclusion="success", external_id=f"{inputs}/90/1",
        )  # fmt: skip
    pushes.job(steps=(f"ftgate verdicts {digest_verdicts(forged)}",))
    code, outcome, said = pushes.look("pull_request", payload, GITHUB_RUN_ID="96")
    assert len(forged) == 2
    assert (code, outcome) == (1, "undecided")
    assert any("nothing of the config had changed there" in line for line in said), said


def test_of_several_configs_all_verdicts_are_taken_over_the_bad_and_the_good(tmp_path: Path) -> None:
    """The run is red by one of them; its job's step says what it came to for each."""
    both = {**EDITED, "configs/full.yaml": FILES["configs/full.yaml"].replace("1.0e-3", "4.0e-3")}
    pushes = Pushes(tmp_path, first=both, modes=())
    hand_over(tmp_path / "runner/handover", "configs/full.yaml", pushes.first, number=2)
    payload = pull_payload(pushes.scratch, pushes.first)
    pushes.measure(payload, ("judge", "publish"), {LORA: 0.2, "configs/full.yaml": 0.0})
    assert pushes.look("pull_request", pushes.push(README))[:2] == (1, "fail")
    posted = pushes.conclusions(pushes.head)
    assert posted[f"ftgate: {LORA}"] == "success"
    assert posted["ftgate: configs/full.yaml"] == "failure"


FORGER = {WORKFLOW: "name: ftgate\n"}


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({LORA: CONFIG.replace("1.0e-3", "9.0e-3")}, f"{LORA} has changed since"),
        ({"data/train/train.jsonl": "{}\n"}, "data/train/train.jsonl has changed since"),
        ({"data/train/more.jsonl": "{}\n"}, "data/train/more.jsonl has changed since"),
        (FORGER, f"{WORKFLOW} has changed since"),
    ],
)
def test_a_forged_digest_beside_a_true_run_is_measured(
    tmp_path: Path, files: dict[str, str | None], why: str
) -> None:
    """The digest of the next push, posted on a commit on which a run of ours did pass: git knows better."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(files)
    pushes.look("pull_request", payload, GITHUB_RUN_ID="95", RUN="before")
    inputs = pushes.check(pushes.head).external_id.partition("/")[0]
    pushes.github.state.checks.clear()
    pushes.github.session().create_check_run(
        pushes.first, f"ftgate: {LORA}", CheckOutput("may merge: forged", "x"), status="completed",
        conclusion="success", external_id=f"{inputs}/90/1",
    )  # fmt: skip
    code, outcome, said = pushes.look("pull_request", payload, GITHUB_RUN_ID="96")
    assert (code, outcome) == (1, "undecided")
    assert any(why in line for line in said), said


@pytest.mark.parametrize(
    ("first", "change", "measured"),
    [
        (EDITED, ChangedConfig(LORA, "edited"), True),
        ({"data/train/train.jsonl": "{}\n"}, ChangedConfig(LORA, "data"), True),
        ({LORA: None, "configs/new.yaml": CONFIG}, ChangedConfig("configs/new.yaml", "renamed"), True),
        ({"tasks/mine.yaml": "task: mine\n"}, ChangedConfig(LORA, "task"), True),
        ({"thresholds.yaml": POLICY.replace("0.1", "0.5")}, ChangedConfig(LORA, "policy"), True),
        (README, ChangedConfig(LORA, "edited"), False),
        ({"configs/full.yaml": CONFIG}, ChangedConfig(LORA, "edited"), False),
        ({"thresholds.yaml": POLICY + "# a word\n"}, ChangedConfig(LORA, "policy"), False),
    ],
)
def test_what_had_not_changed_on_a_commit_was_not_measured_there(
    tmp_path: Path, first: dict[str, str | None], change: ChangedConfig, measured: bool
) -> None:
    """Whatever a check run says: a run on a commit measures what that commit changes of the base ref."""
    scratch = Scratch(tmp_path / "repo")
    sha = scratch.commit(first)
    head = scratch.commit({"thresholds.yaml": POLICY.replace("0.1", "0.5")})
    asked = {"thresholds.yaml", "tasks/mine.yaml", "data/mine.jsonl"}
    named = {"base", "data/train"}
    doubt = unchanged_there(Repository(scratch.path), scratch.base, sha, head, change, named, asked)
    assert (doubt == "") is measured
    nothing = unchanged_there(Repository(scratch.path), scratch.base, "9" * 40, head, change, named, asked)
    assert "does not hold" in nothing


@pytest.mark.parametrize("name", [WORKFLOW, ".github/workflows/evil.yml"])
def test_a_pull_request_that_edits_workflows_is_measured_at_every_push(tmp_path: Path, name: str) -> None:
    """What made the check run, or posted beside it, may be a workflow that the pull request keeps."""
    pushes = Pushes(tmp_path, first={**EDITED, name: "name: mine\n"})
    code, outcome, said = pushes.look("pull_request", pushes.push(README))
    assert (code, outcome) == (1, "undecided")
    assert any(f"{name} is not the base ref's" in line for line in said), said


def test_a_commit_that_the_clone_does_not_hold_is_measured(tmp_path: Path) -> None:
    """Its files cannot be compared."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    (gone,) = [each for each in pushes.github.state.checks.values() if each.name == f"ftgate: {LORA}"]
    pushes.github.state.checks.clear()
    pushes.github.session().create_check_run(
        "9" * 40, gone.name, CheckOutput(gone.title or "", "x"), status="completed",
        conclusion="success", external_id=gone.external_id,
    )  # fmt: skip
    pushes.started(90, head_sha="9" * 40)
    code, outcome, said = pushes.look("pull_request", {**payload, "before": "9" * 40})
    assert (code, outcome) == (1, "undecided")
    assert any("does not hold that commit" in line for line in said)


def test_without_the_workflows_name_nothing_is_taken_over(tmp_path: Path) -> None:
    """What cannot be compared is measured."""
    pushes = Pushes(tmp_path)
    code, outcome, said = pushes.look("pull_request", pushes.push(README), GITHUB_WORKFLOW_REF="")
    assert (code, outcome) == (1, "undecided")
    assert any("GITHUB_WORKFLOW_REF" in line for line in said)


PINNED = f"acme/tunes/{WORKFLOW}@refs/heads/main"  # a required workflow of the same repository
REQUIRED = "acme/rules/.github/workflows/ftgate.yml@refs/heads/main"


@pytest.mark.parametrize(
    ("path", "running", "same"),
    [
        (WORKFLOW, f"acme/tunes/{WORKFLOW}@refs/pull/7/merge", True),
        (f"{WORKFLOW}@main", f"acme/tunes/{WORKFLOW}@refs/pull/7/merge", True),
        (f"acme/tunes/{WORKFLOW}@refs/pull/6/merge", f"acme/tunes/{WORKFLOW}@refs/pull/7/merge", True),
        (f"{WORKFLOW}@refs/heads/x.yml", f"acme/tunes/{WORKFLOW}@refs/pull/7/merge", False),
        (f"{WORKFLOW}x", f"acme/tunes/{WORKFLOW}@refs/pull/7/merge", False),
        ("", f"acme/tunes/{WORKFLOW}@refs/pull/7/merge", False),
        (REQUIRED, REQUIRED, True),
        (PINNED, PINNED, True),
        (WORKFLOW, PINNED, False),
        (f"acme/tunes/{WORKFLOW}@refs/pull/7/merge", PINNED, False),
        (WORKFLOW, REQUIRED, False),
        (f"acme/tunes/{WORKFLOW}@refs/heads/main", REQUIRED, False),
        (REQUIRED.replace("main", "other"), REQUIRED, False),
        (REQUIRED, f"acme/tunes/{WORKFLOW}@refs/pull/7/merge", False),
    ],
)
def test_which_path_is_this_workflows(path: str, running: str, same: bool) -> None:
    """One of another repository only by its full name: a file of the same path may lie here too."""
    event = Event("pull_request", "acme/tunes", "a" * 40, "b" * 40, workflow=running)
    assert is_same_workflow(path, event) is same


# ── The trail to it ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("between", [0, 1, 3])
def test_the_judge_finds_what_the_job_that_looked_has_found(tmp_path: Path, between: int) -> None:
    """`look` moves the comment to the new head. A pull request that was reopened, or a push that started no
    run (`[skip ci]`), leaves the judge no other trail but the pull request's own commits."""
    pushes = Pushes(tmp_path)
    for number in range(between):
        pushes.push({"README.md": f"skipped {number}\n"})
    payload = pushes.push(README)
    payload["before"] = payload["before"] if between else ""
    assert pushes.look("pull_request", payload)[:2] == (0, "pass")
    assert pushes.first not in (payload["before"], pushes.head) or not between
    assert pushes.head in pushes.comment.partition("\n")[0]
    assert pushes.look("pull_request", payload, RUN="judge")[:2] == (0, "pass")


@pytest.mark.parametrize("red", [False, True], ids=["deleted", "its upload failed"])
def test_an_older_verdict_is_taken_over_where_the_newest_is_in_doubt(tmp_path: Path, red: bool) -> None:
    """One push that went wrong after its verdict does not hide the true one before it."""
    pushes = Pushes(tmp_path)
    assert pushes.look("pull_request", pushes.push(README))[:2] == (0, "pass")
    if red:
        pushes.started(91, "failure")
        (job,) = pushes.github.state.jobs[91]
        pushes.github.state.put_job(91, replace(job, conclusion="failure"))
    payload = pushes.push({"README.md": "and more\n"})
    code, outcome, said = pushes.look("pull_request", payload, GITHUB_RUN_ID="92", RUN="two")
    assert (code, outcome) == (0, "pass")
    assert any("run 91 " in line or "run 91" in line for line in said)
    assert f"**Carried over from `{pushes.first}`**" in pushes.comment


def test_no_more_than_a_few_verdicts_are_tried(tmp_path: Path) -> None:
    """Each costs requests: however many were posted."""
    pushes = Pushes(tmp_path)
    inputs = pushes.check(pushes.first).external_id.partition("/")[0]
    pushes.github.state.checks.clear()
    for number in range(20):
        pushes.github.session().create_check_run(
            pushes.first, f"ftgate: {LORA}", CheckOutput("may merge: forged", "x"), status="completed",
            conclusion="success", external_id=f"{inputs}/{number + 50}/1",
        )  # fmt: skip
    code, _, said = pushes.look("pull_request", pushes.push(README))
    assert code == 1
    assert sum("is not taken over" in line for line in said) == MOST_TRIED


def test_a_job_that_signs_and_fails_hides_no_verdict(tmp_path: Path) -> None:
    """The run is red by another job than the one whose check is required: that one's word counts."""
    pushes = Pushes(tmp_path)
    pushes.started(90, "failure", head_sha=pushes.first)
    assert pushes.look("pull_request", pushes.push(README))[:2] == (0, "pass")


def test_after_a_force_push_nobody_is_waited_for(tmp_path: Path) -> None:
    """Git, which is asked first, does not hold the older commit: its verdict would not be taken over."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    older = pushes.on_again()
    gone = replace(older, sha="9" * 40)
    pushes.github.state.checks[older.id] = gone
    pushes.started(90, "in_progress", head_sha="9" * 40)
    assert pushes.look("pull_request", {**payload, "before": "9" * 40}, never)[:2] == (1, "undecided")


# ── A run that died, a run that is for nothing ───────────────────────────────────────────────────


def never(seconds: float) -> None:
    assert seconds < POLL, "nobody is to be waited for"  # the publisher's own pauses are short


@pytest.mark.parametrize("run", ["completed", "cancelled", "deleted"])
def test_a_dead_run_is_not_waited_for(tmp_path: Path, run: str) -> None:
    """Its check run stays in progress for ever; GitHub says that the workflow run is over, or knows none."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    pushes.on_again(run)
    if run == "deleted":
        del pushes.github.state.runs[90]
    assert pushes.look("pull_request", payload, never)[:2] == (1, "undecided")


def test_a_run_that_dies_meanwhile_is_waited_for_no_longer(tmp_path: Path) -> None:
    """One look after its end."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    pushes.on_again()
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        pushes.github.state.runs[90] = "completed"

    assert pushes.look("pull_request", payload, wait)[:2] == (1, "undecided")
    assert len(waits) == 1


def test_a_dead_runs_announcement_hides_no_verdict(tmp_path: Path) -> None:
    """An older run's verdict of the same inputs is taken over where a newer one died."""
    pushes = Pushes(tmp_path)
    done = pushes.check(pushes.first)
    inputs = done.external_id.partition("/")[0]
    payload = pushes.push(README)
    pushes.github.session().create_check_run(
        pushes.first, done.name, CheckOutput("running", "x"), status="in_progress",
        external_id=f"{inputs}/91/1",
    )  # fmt: skip
    pushes.github.state.runs[91] = "completed"
    assert pushes.look("pull_request", payload, never, GITHUB_RUN_ID="92")[:2] == (0, "pass")


def test_a_token_that_may_not_ask_waits_as_long_as_ever_and_takes_nothing_over(tmp_path: Path) -> None:
    """Without `actions: read` nobody is taken for dead at once, nobody's verdict for proven; it says so."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    older = pushes.on_again("completed")
    sessions = pushes.github
    permissions = {"checks": "write", "pull_requests": "write", "contents": "read"}
    held = sessions.session(permissions=permissions)
    pushes.github = SimpleNamespace(state=sessions.state, session=lambda: held)  # type: ignore[assignment]

    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        output = CheckOutput("may merge: gained", "x")
        held.update_check_run(older.id, output, status="completed", conclusion="success")

    code, outcome, said = pushes.look("pull_request", payload, wait)
    assert (code, outcome) == (1, "undecided")
    assert POLL in waits
    assert any("the job needs `permissions: {actions: read}`" in line for line in said)


OTHER = {LORA: CONFIG.replace("1.0e-3", "3.0e-3")}


@pytest.mark.parametrize(
    ("files", "left"), [(OTHER, "cancelled"), (README, "in_progress")], ids=["other inputs", "the same"]
)
def test_the_announcement_cancels_a_run_about_other_inputs(
    tmp_path: Path, files: dict[str, str | None], left: str
) -> None:
    """In two jobs it alone holds the token: what the older run trains is for nothing."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(files)
    older = pushes.on_again()

    def wait(_seconds: float) -> None:
        output = CheckOutput("may merge: gained", "x")
        pushes.github.session().update_check_run(older.id, output, status="completed", conclusion="success")
        ended.append(pushes.github.state.runs[90])
        pushes.end()

    ended: list[str] = []
    pushes.look("pull_request", payload, wait)
    assert (ended or [pushes.github.state.runs[90]])[0] == left


def test_a_merge_group_cancels_nobody(tmp_path: Path) -> None:
    """The pull request's own run goes on, whatever the queue's commit brings."""
    pushes = Pushes(tmp_path)
    pushes.on_again()
    group = {
        "head_sha": pushes.scratch.commit(OTHER),
        "base_sha": pushes.scratch.base,
        "head_ref": f"refs/heads/gh-readonly-queue/main/pr-7-{pushes.scratch.base}",
        "base_ref": "refs/heads/main",
    }
    payload = {"action": "checks_requested", "merge_group": group}
    assert pushes.look("merge_group", payload)[:2] == (1, "undecided")
    assert pushes.github.state.runs[90] == "in_progress"


# ── What a verdict is about ──────────────────────────────────────────────────────────────────────


def test_a_verdict_of_another_form_is_not_taken_over(tmp_path: Path) -> None:
    """One that was made beside the pull request's code is none for a judge on a clean machine."""
    pushes = Pushes(tmp_path, modes=("check",))
    assert pushes.code == 0
    assert pushes.look("pull_request", pushes.push(README))[:2] == (1, "undecided")


def test_a_base_model_that_nobody_agrees_to_any_more_is_measured(tmp_path: Path) -> None:
    """No input changed, but the base ref's configs name that base model no more: the judge says so."""
    pushes = Pushes(tmp_path)
    before = pushes.check(pushes.first).external_id.partition("/")[0]
    pushes.scratch.checkout("main")
    gone = CONFIG.replace("path: base", "path: org/other")
    pushes.scratch.base = pushes.scratch.commit({LORA: gone, "configs/full.yaml": gone})
    pushes.scratch.checkout("topic")
    assert pushes.look("pull_request", pushes.push(README))[:2] == (1, "undecided")
    assert pushes.check(pushes.head).external_id.partition("/")[0] == before


# ── The report that is carried over ──────────────────────────────────────────────────────────────


def body(check: StoredCheck) -> str:
    """A check run's summary without its heading."""
    return (check.summary or "").partition("\n\n")[2].strip()


@pytest.mark.parametrize("gain", [0.2, 0.0])
def test_the_whole_report_is_carried_over(tmp_path: Path, gain: float) -> None:
    """On the check run and in the comment, word for word, marked with the commit; a push after that has the
    same, from the commit where it was measured."""
    pushes = Pushes(tmp_path, gain=gain)
    older = pushes.check(pushes.first)
    assert "target `mine`" in body(older)
    pushes.look("pull_request", pushes.push(README), RUN="one")
    pushes.started(91, pushes.github.state.runs[90])
    newer = pushes.check(pushes.head)
    mark = f"**Carried over from `{pushes.first}`**"
    assert body(newer).startswith(mark)
    assert body(newer).endswith(body(older))
    assert newer.text == older.text
    assert newer.title == f"{older.title} (carried over from {pushes.first[:6]}…)"
    details = (older.text or "").partition("<details>\n<summary>Reproduce")[0].strip()
    for part in (mark, body(older), details):
        assert part in pushes.comment
    assert pushes.comment.count("Reproduce it locally") == 1
    assert "actions/runs/90#artifacts" in pushes.comment  # this run has none of its own
    assert "actions/runs/91#artifacts" not in pushes.comment
    pushes.look("pull_request", pushes.push({"README.md": "and more"}), GITHUB_RUN_ID="92", RUN="two")
    newest = pushes.check(pushes.head)
    assert (newest.title, newest.summary, newest.text) == (newer.title, newer.summary, newer.text)
    assert pushes.comment.count("Carried over from") == 1


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        ("", ""),
        ("### may merge\n\n@acme/everybody", ""),
        ("### may merge\n\nfine", "[click](https://evil.example)"),
        ("### may merge\n\n```text\nan open fence", ""),
    ],
    ids=["nothing there", "a mention", "a link", "a fence that is open"],
)
def test_a_report_that_is_not_as_we_write_it_is_not_carried_over(
    tmp_path: Path, summary: str, text: str
) -> None:
    """The verdict is, and it says that its report stands elsewhere; nothing of the text is shown."""
    pushes = Pushes(tmp_path)
    older = pushes.check(pushes.first)
    output = CheckOutput(older.title or "", summary or " ", text)
    pushes.github.session().update_check_run(older.id, output, status="completed", conclusion="success")
    assert pushes.look("pull_request", pushes.push(README))[:2] == (0, "pass")
    newer = pushes.check(pushes.head)
    for shown in (newer.summary or "", pushes.comment):
        assert f"**Carried over from `{pushes.first}`**" in shown
        assert "could not be copied" in shown
        assert "evil" not in shown
        assert "@acme" not in shown


@pytest.mark.parametrize("verdict", ["absent", "queued", "in_progress"])
def test_in_two_jobs_the_required_job_begins_after_the_verdict_is_out(tmp_path: Path, verdict: str) -> None:
    """Its check runs end, and GitHub knows no job that could prove them: it is waited for, not trained."""
    pushes = Pushes(tmp_path)
    payload, state = pushes.push(README), pushes.github.state
    older = pushes.on_again()
    (last,) = state.jobs[90]
    before = [StoredJob(f"ftgate {name}", "completed", "success") for name in ("look", "train")]
    judge = StoredJob("ftgate judge", "in_progress", None)
    held = [] if verdict == "absent" else [replace(last, status=verdict, conclusion=None, steps=())]
    state.jobs[90] = (*before, judge, *held)
    session, looks = pushes.github.session(), count(1)

    def wait(seconds: float) -> None:
        look = next(looks) if seconds >= POLL else 0
        if look == 1:
            said = CheckOutput("may merge: gained", "x")
            session.update_check_run(older.id, said, status="completed", conclusion="success")
        if look == 2:
            state.put_job(90, replace(judge, status="completed", conclusion="success"))
            state.put_job(90, replace(last, status="in_progress", conclusion=None, steps=()))
        if look == 3:
            state.put_job(90, replace(last, status="completed", conclusion="success"))
            state.runs[90] = "completed"

    assert pushes.look("pull_request", payload, wait)[:2] == (0, "pass")


def test_a_run_that_ended_without_the_required_job_is_not_waited_for(tmp_path: Path) -> None:
    """Cancelled before it began, say."""
    pushes = Pushes(tmp_path)
    payload = pushes.push(README)
    pushes.github.state.jobs[90] = (StoredJob("ftgate judge", "completed", "success"),)

    def wait(seconds: float) -> None:
        assert seconds < POLL

    assert pushes.look("pull_request", payload, wait)[:2] == (1, "undecided")


# ── Before the judge ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("about", "policy", "code", "words"),
    [
        ({"draft": True}, "", 1, "draft: not measured yet"),
        ({"draft": True}, "pull_request: {when: every-push}\n", 0, "trained, not yet measured"),
        ({}, "pull_request: {when: label}\n", 1, "not measured yet: the label"),
        ({}, "pull_request: {when: label, label: measure}\n", 1, "a label whose name begins with ftgate"),
        ({"labels": ("ftgate",)}, "pull_request: {when: label}\n", 0, "trained, not yet measured"),
    ],
)
def test_a_forks_announcement_asks_when(
    tmp_path: Path, about: dict[str, Any], policy: str, code: int, words: str, named: bool
) -> None:
    """GitHub is asked for draft and labels, also where the event names the pull request: it says neither."""
    scratch = Scratch(tmp_path / "repo", {**FILES, "thresholds.yaml": POLICY + policy})
    head, github = scratch.commit(EDITED), MemoryGitHub()
    github.state.open_pull(7, head, scratch.base, head_repository="eve/tunes", **about)
    followed = {
        "head_sha": head,
        "head_branch": "topic",
        "conclusion": "success",
        "head_repository": {"full_name": "eve/tunes"},
        "pull_requests": [{"number": 7, "base": {"ref": "main", "sha": scratch.base}}] if named else [],
    }
    payload = {"workflow_run": followed, "repository": {"default_branch": "main"}}
    environ = environment(tmp_path / "look", "workflow_run", payload)
    said: list[str] = []
    shell = Shell(environ, said.append, said.append, SilentProgress(), now=lambda: "2026-01-01T00:00:00Z")
    options = CiOptions(mode="publish", run_dir=tmp_path / "none")
    with chdir(scratch.path):
        ended = run_ci(options, Token("secret"), shell, Effects(lambda *_: github.session(), StubCheck()))
    assert ended == code
    assert any(words in line for line in said)
    (check,) = github.state.checks.values()
    assert (check.name, check.sha, check.conclusion) == ("ftgate", head, "failure" if code else None)
    assert words in f"{check}"


def test_a_training_without_a_token_is_shown_with_its_start_and_log(tmp_path: Path) -> None:
    """Two jobs: the check run says since when, how long at most, and where the live log is."""
    pushes = Pushes(tmp_path, modes=())
    pushes.look("pull_request", pull_payload(pushes.scratch, pushes.first))
    shown = f"{pushes.check(pushes.first)}"
    assert "at 2026-01-01T00:00:00Z" in shown
    assert "timeout-minutes" in shown
    assert "/actions/runs/91)" in shown
