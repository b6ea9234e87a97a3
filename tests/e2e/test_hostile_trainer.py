"""A hostile training job hands over to a judge: it changes no verdict and finds no token.

Real processes and, where the tests run as root, real users: the training job is `hostile/attack.py` under a
user id of its own, in the environment and checkout of a training job; the judge is ftgate under the tests'
user, in a clone of its own of the same pull request. A judge of the same weights without any attack is the
measure of what the verdict must be. Three weakened set-ups, at the end, show that the attacks bite.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from runner.events import pull_request

import checks
import gate
from gate.ci.record import read_ci
from gate.models import read_header
from gate.store import Store
from gate.tables import block_from_bytes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DEMO = Path(gate.__file__).parent / "demo"
TASKS = Path(checks.__file__).parent / "tasks"
ATTACK = Path(__file__).parent / "hostile/attack.py"
TRAINER = 61001  # a user id that nobody has
TOKEN_PATTERN = "ghs_hostile[0-9a-f]{30}"  # no other test's
JUDGES_PACKAGES = [sysconfig.get_paths()["purelib"], str(Path(gate.__file__).parent)]
DOCUMENTS = 30
CONFIG = {
    "model_name_or_path": "base",
    "dataset_name": "data/train",
    "output_dir": "out",
    "max_steps": 4,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
}
POLICY = {
    "version": 1,
    "decide": "full",
    "include": ["tasks/"],
    "target": [{"task": "banking12", "min_score": 0.0}],
    "general": {"tasks": [{"task": "adjunct_island", "max_drop": 0.05}]},
    "evaluation": {"dtype": "float32", "batch_size": 64},
}
LOOSE = {**POLICY, "general": {"tasks": [{"task": "adjunct_island", "max_drop": 1.0}]}}
# What the pull request commits and the training plants: each would run where its place is on the path.
MODULES = (
    *(
        "gate/__init__.py",
        "checks/__init__.py",
        "torch.py",
        "transformers.py",
        "safetensors.py",
        "msgspec.py",
    ),
    *("sitecustomize.py", "usercustomize.py", "conftest.py", "json.py", "tasks/evil.py"),
)
ATTACKS = {
    *("own environment", "/proc/*/environ", "/proc/*/cmdline", "/proc/*/mem", "files"),
    *(
        "own store",
        "own base model",
        "own policy",
        "runner files",
        "git config and hooks",
        "modules",
        "handover",
    ),
}
ON_THE_JUDGE = {"judge's store", "judge's base model", "judge's runner files", "judge's git config"}


def run(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, **options)


def git(folder: Path, *words: str) -> str:
    """Git as the tests' user, with no configuration but this."""
    who = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    alone = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": "/",
    }
    done = run(["git", "-c", "init.defaultBranch=main", *words], cwd=folder, env={**alone, **who})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def cut(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(source.read_text().splitlines(keepends=True)[:DOCUMENTS]))


def interpreter() -> str:
    """A Python that the training job's user can start; "" where there is none, or no second user."""
    if os.getuid() != 0:
        return ""
    for program in (sys.executable, "/usr/bin/python3"):
        try:
            done = run([program, "-c", ""], user=TRAINER, group=TRAINER, extra_groups=[], cwd="/", env={})
        except OSError:
            continue
        if done.returncode == 0:
            return program
    return ""


@dataclass(frozen=True)
class Scene:
    """A pull request, its two machines as folders, and who works there."""

    room: Path
    base: str
    head: str
    python: str  # of the training job
    users: bool  # whether the training job has a user of its own

    @cached_property
    def token(self) -> str:
        """Made when it is first asked for: without a second user, no process may hold it before that."""
        return "ghs_hostile" + secrets.token_hex(15)

    @property
    def train(self) -> Path:
        return self.room / "train"

    @property
    def marks(self) -> Path:
        """Planted code writes here when it runs."""
        return self.room / "marks"

    def machine(self, name: str) -> Path:
        """A folder with a fresh clone of the head, a home, a store and the runner's files."""
        place = self.room / name
        place.mkdir(mode=0o700)
        git(self.room, "clone", "-q", "--no-hardlinks", str(self.room / "origin"), str(place / "checkout"))
        git(place / "checkout", "checkout", "-q", "--detach", self.head)
        for folder in ("home", "temp", "github", "store"):
            (place / folder).mkdir()
        for file in ("env", "path", "output", "summary"):
            (place / "github" / file).touch()
        return place

    def environment(self, place: Path, **more: str) -> dict[str, str]:
        """A job's environment on the machine in `place`: the runner's variables and no token."""
        names = {"ENV": "env", "PATH": "path", "OUTPUT": "output", "STEP_SUMMARY": "summary"}
        runner = {f"GITHUB_{name}": str(place / "github" / file) for name, file in names.items()}
        return {
            **{"PATH": os.environ["PATH"], "HOME": str(place / "home"), "RUNNER_TEMP": str(place / "temp")},
            **{"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(self.room / "event.json")},
            **{"GITHUB_RUN_ID": "41", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_ACTIONS": "true"},
            **{"GITHUB_REPOSITORY": "team/models", "FTGATE_CACHE": str(place / "store"), **runner},
            **{"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"},
            **{"HF_HOME": str(self.room / "hf"), **more},
        }

    def attack(
        self, log: str, *, wrapper: tuple[str, ...] = (), only_tokens: bool = False
    ) -> list[dict[str, Any]]:
        """Run the hostile training to its end; what it noted of its attacks."""
        judge = [str(self.room / "judge")] if self.users else []
        known = {
            "token_pattern": TOKEN_PATTERN,
            "head": self.head,
            "marks": str(self.marks),
            "log": str(self.train / log),
            "handover": str(self.train / "handover"),
            "weights": str(self.room / "weights"),
            "forged_blocks": str(self.room / "forged"),
            "modules": MODULES,
            "site_packages": JUDGES_PACKAGES if self.users else [],
            "judge": judge,
            "only_tokens": only_tokens,
        }
        write(self.room / "known.json", known)
        whose: dict[str, Any] = {"user": TRAINER, "group": TRAINER, "extra_groups": []} if self.users else {}
        done = run(
            [*wrapper, self.python, str(self.room / "attack.py"), str(self.room / "known.json")],
            cwd=self.train / "checkout",
            env=self.environment(self.train),
            **whose,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in (self.train / log).read_text().splitlines()]

    def ci(self, place: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """`ftgate ci` on the machine in `place`, in its checkout of the head."""
        done = run(
            [sys.executable, "-P", "-m", "gate.cli", "ci", *options],
            cwd=place / "checkout",
            env=self.environment(place, **environ),
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def judge(self, place: Path, handover: Path, name: str = "run", **environ: str) -> Judged:
        """The judge job on the machine in `place`: policy, tasks and base model from the base ref."""
        where = ("--run-dir", str(place / name), "--handover", str(handover))
        done = self.ci(place, "--mode", "judge", *where, **environ)
        ended = read_ci(place / name)
        runs = [(each.change.path, each.outcome, each.exit_code, each.training) for each in ended.runs]
        verdicts = [json.loads(path.read_text()) for path in sorted((place / name).glob("*/verdict.json"))]
        return Judged(done.returncode, runs, verdicts, done.stdout + done.stderr)


@dataclass(frozen=True)
class Judged:
    """How a judge job ended: exit code, (config, outcome, exit code, training), verdicts, all it wrote."""

    exit_code: int
    runs: list[tuple[str, str, int, str]]
    verdicts: list[dict[str, Any]]
    text: str

    @property
    def outcomes(self) -> list[tuple[str, str, int]]:
        return [run[:3] for run in self.runs]

    @property
    def findings(self) -> list[Any]:
        return [verdict["findings"] for verdict in self.verdicts]


def make_origin(room: Path) -> tuple[str, str]:
    """The repository: a base ref, and a pull request that brings a config, a looser policy and modules."""
    origin = room / "origin"
    shutil.copytree(DEMO / "base", origin / "base")
    shutil.copytree(TASKS, origin / "tasks")
    cut(DEMO / "data/train/train.jsonl", origin / "data/train/train.jsonl")
    cut(DEMO / "data/banking12.jsonl", origin / "data/banking12.jsonl")
    cut(DEMO / "data/blimp/adjunct_island.jsonl", origin / "data/blimp/adjunct_island.jsonl")
    write(origin / "sft.yaml", CONFIG)
    write(origin / "thresholds.yaml", POLICY)
    git(origin, "init", "-q")
    git(origin, "add", "-A")
    git(origin, "commit", "-q", "-m", "base ref")
    base = git(origin, "rev-parse", "HEAD")
    git(origin, "checkout", "-q", "-b", "pull")
    write(origin / "sft.yaml", {**CONFIG, "learning_rate": 5e-3})
    write(origin / "thresholds.yaml", LOOSE)
    write(origin / "tasks/banking12.yaml", "task: banking12\ndoc_to_text: !function evil.text\n")
    for name in MODULES:
        path = origin / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(room / 'marks' / name.replace('/', '-'))!r}, 'a').write('ran')\n")
    git(origin, "add", "-A", "-f")
    git(origin, "commit", "-q", "-m", "pull request")
    return base, git(origin, "rev-parse", "HEAD")


def make_weights(folder: Path) -> None:
    """The base model with the signs of some weights turned: it forgets much, and passes no honest judge."""
    shutil.copytree(DEMO / "base", folder)
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    turned = bytes(byte ^ 0x80 for byte in range(256))
    for name, tensor in read_header(file).items():
        if name.endswith("o_proj.weight"):
            assert tensor.dtype == "BF16"
            place = slice(start + tensor.start + 1, start + tensor.end, 2)
            content[place] = content[place].translate(turned)
    file.write_bytes(content)


def forge_blocks(store: Path, folder: Path) -> None:
    """All answers that a judge's store holds, under their true keys, each document wrong.

    The base's keys do not depend on the tuned model: a base that knows nothing leaves nothing to forget.
    """
    forged = Store(folder.parent / "forging")
    for path in Store(store, pull=7, judged=True).root.glob("blocks/*/*.parquet"):
        block = block_from_bytes(path.stem, path.read_bytes())
        wrong = {metric: (0.0,) * len(values) for metric, values in block.values.items()}
        forged.put_block(path.stem, replace(block, values=wrong))
    (forged.root / "blocks").rename(folder)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """The pull request and its machines; the training job's belongs to its own user where there is one."""
    room = Path(tempfile.mkdtemp(prefix="ftgate-hostile-"))  # where another user can get to
    room.chmod(0o755)
    (room / "marks").mkdir()
    (room / "marks").chmod(0o777)
    shutil.copy(ATTACK, room / "attack.py")
    python = interpreter()
    base, head = make_origin(room)
    make_weights(room / "weights")
    happening = pull_request("team/models", 7, head, base)
    write(room / "event.json", happening.payload)
    yield Scene(room, base, head, python or sys.executable, bool(python))
    shutil.rmtree(room)


@pytest.fixture(scope="module")
def control(scene: Scene) -> Judged:
    """The same weights, honestly handed over, judged where nobody attacks."""
    place = scene.machine("control")
    handed = place / "handover/000"
    shutil.copytree(scene.room / "weights", handed / "model")
    write(handed / "handover.json", {"version": 1, "config": "sft.yaml", "head": scene.head})
    judged = scene.judge(place, place / "handover")
    forge_blocks(place / "store", scene.room / "forged")
    return judged


@pytest.fixture(scope="module")
def attacked(scene: Scene, control: Judged) -> list[dict[str, Any]]:
    """The attacks, made while a process of the judge's user holds a token in its environment."""
    judge = scene.machine("judge")
    (judge / "store/v1").mkdir()
    # The same salt, so that blocks and numbers are equal to the last digit; a judge keeps it secret.
    shutil.copy(scene.room / "control/store/v1/salt", judge / "store/v1/salt")
    place = scene.machine("train")
    shutil.copytree(scene.room / "control/store", place / "store", dirs_exist_ok=True)
    git(place / "checkout", "remote", "set-url", "origin", "https://github.com/team/models")
    if scene.users:
        for path in (place, *place.rglob("*")):
            os.chown(path, TRAINER, TRAINER, follow_symlinks=False)
    holder = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    # Without a second user there is no place for a token on the training job's machine at all.
    secret = {"GITHUB_TOKEN": scene.token} if scene.users else {}
    with subprocess.Popen(
        holder, env=secret, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()  # it runs
        log = scene.attack("attacks.jsonl")
        other.communicate()
    (judge / "secret").write_text(scene.token)
    return log


@pytest.fixture(scope="module")
def judged(scene: Scene, attacked: list[dict[str, Any]]) -> Judged:
    """The judge job, on its clean machine, of the well-formed handover."""
    return scene.judge(scene.room / "judge", scene.train / "handover/plain")


def outcomes(log: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["attack"]: entry["outcome"] for entry in log}


def loot(log: list[dict[str, Any]]) -> list[str]:
    """Every token that an attack found, wherever it noted it."""
    return re.findall(TOKEN_PATTERN, json.dumps(log))


# ── The attacks ──────────────────────────────────────────────────────────────────────────────────


def test_the_training_job_has_a_user_of_its_own(scene: Scene) -> None:
    """Said loudly where it has not: then `/proc` and file permissions are not put to the test."""
    if not scene.users:
        pytest.skip(
            "WEAKER FORM: not root, so trainer and judge shared one user and nothing was denied to it"
        )


def test_every_attack_was_made(scene: Scene, attacked: list[dict[str, Any]]) -> None:
    """What lies in the training job's reach was changed; on the judge's side every try was denied."""
    made = outcomes(attacked)
    denied = {name for name in made if name in ON_THE_JUDGE or name.startswith("site-packages")}
    assert made.keys() - denied == ATTACKS
    assert {made[name] for name in ATTACKS} == {"done"}
    if scene.users:
        assert denied > ON_THE_JUDGE
        assert {made[name] for name in denied} == {"denied"}


def test_the_attacks_left_their_traces(scene: Scene, attacked: list[dict[str, Any]]) -> None:
    """The log is not only words: each change is there on the training job's machine."""
    place = scene.train
    for root in ("", "pulls/7", "judged/7"):
        assert list((place / "store/v1" / root).glob("blocks/*/*.parquet"))
    assert "fsmonitor" in (place / "checkout/.git/config").read_text()
    assert "LD_PRELOAD" in (place / "github/env").read_text()
    assert (place / "checkout/base/model.safetensors").read_bytes()[-1:] == b"x"
    assert (place / "home/.local").is_dir()
    assert (place / "handover/forged/000/verdict.json").is_file()
    assert (place / "handover/plain/000/model/chat_template.jinja").is_file()


def test_no_token_is_found(scene: Scene, attacked: list[dict[str, Any]]) -> None:
    """Not in any environment, command line, memory or file; what could be read was read."""
    assert loot(attacked) == []
    seen = {entry["attack"]: entry["seen"] for entry in attacked}
    assert seen["/proc/*/environ"]["read"] > 0
    if scene.users:
        assert seen["/proc/*/environ"]["refused"] > 0
        assert seen["/proc/*/mem"]["refused"] > 0
        assert seen["files"]["refused"] > 0


# ── The judge ────────────────────────────────────────────────────────────────────────────────────


def test_the_control_blocks_these_weights(control: Judged) -> None:
    """They forget much; a judge that let them pass would be the attackers' success."""
    assert control.outcomes == [("sft.yaml", "fail", 1)]
    assert control.exit_code == 1


def test_the_verdict_is_the_controls(judged: Judged, control: Judged) -> None:
    """Same outcome, same exit code, every finding equal to the last digit, policy of the base ref."""
    assert judged.outcomes == control.outcomes
    assert judged.exit_code == control.exit_code
    assert judged.findings == control.findings
    assert [each["outcome"] for each in judged.verdicts] == ["fail"]
    policies = {each["provenance"]["policy_digest"] for each in (*judged.verdicts, *control.verdicts)}
    assert len(policies) == 1
    assert [each["cost"]["blocks_from_store"] for each in judged.verdicts] == [0]


def test_what_was_claimed_is_marked_as_a_claim(judged: Judged) -> None:
    """The forged note's words are nowhere; its three steps in one second are hearsay."""
    assert [run[3] for run in judged.runs] == ["3 steps in 1 s (reported by the training job, not evidence)"]
    assert judged.verdicts[0]["cost"]["training_seconds"] == 0
    assert "a clean machine" not in json.dumps(judged.verdicts)


def test_forged_results_beside_the_model_make_the_handover_none(
    scene: Scene, attacked: list[dict[str, Any]]
) -> None:
    """verdict.json, ci.json, a comment with a marker, a module: refused as a whole, an error and no pass."""
    judged = scene.judge(scene.room / "judge", scene.train / "handover/forged", "refused")
    assert judged.outcomes == [("sft.yaml", "error", 2)]
    assert judged.exit_code == 2
    assert [each["outcome"] for each in judged.verdicts] == ["error"]


def test_nothing_planted_ran(scene: Scene, judged: Judged) -> None:
    """No module of the head's tree, no hook, no monitor, no template function left its mark."""
    assert sorted(path.name for path in scene.marks.iterdir()) == []


def test_the_judges_machine_is_as_it_was(scene: Scene, judged: Judged) -> None:
    """Its checkout, git configuration and runner files are untouched; no token in what it leaves."""
    judge = scene.room / "judge"
    assert git(judge / "checkout", "status", "--porcelain") == ""
    assert "fsmonitor" not in (judge / "checkout/.git/config").read_text()
    assert [(judge / "github" / name).read_text() for name in ("env", "path")] == ["", ""]
    told = re.findall(r"^outcome<<(\S+)\n(.*)\n\1$", (judge / "github/output").read_text(), re.MULTILINE)
    assert {outcome for _, outcome in told} <= {"fail", "error"}
    assert told
    left = [path for path in (judge / "run").rglob("*") if path.is_file()]
    assert left
    assert all(scene.token.encode() not in path.read_bytes() for path in left)
    assert scene.token not in judged.text


def test_a_training_job_beside_a_token_does_not_start(scene: Scene, attacked: list[dict[str, Any]]) -> None:
    """In its environment or in the checkout's `.git/config`: exit 2, before anything is trained."""
    place = scene.machine("refusing")
    given = scene.ci(place, "--mode", "train", GITHUB_TOKEN=scene.token)
    assert given.returncode == 2, given.stdout + given.stderr
    header = f"AUTHORIZATION: basic {scene.token}"
    git(place / "checkout", "config", "http.https://github.com/.extraheader", header)
    kept = scene.ci(place, "--mode", "train")
    assert kept.returncode == 2, kept.stdout + kept.stderr
    assert "persist-credentials" in kept.stdout + kept.stderr
    assert scene.token not in given.stdout + given.stderr + kept.stdout + kept.stderr


# ── Weakened: the attacks bite where something is missing ────────────────────────────────────────


def test_weakened_a_token_in_the_training_jobs_process_tree_is_found(
    scene: Scene, attacked: list[dict[str, Any]]
) -> None:
    """A shell that unsets it before it starts the training has it in its first environment all the same."""
    script = 'unset GITHUB_TOKEN; "$@"; exit $?'
    wrapper = ("env", f"GITHUB_TOKEN={scene.token}", "sh", "-c", script, "sh")
    log = scene.attack("weakened.jsonl", wrapper=wrapper, only_tokens=True)
    found = {entry["attack"] for entry in log if loot([entry])}
    assert set(loot(log)) == {scene.token}
    assert "/proc/*/environ" in found
    assert "own environment" not in found


def test_weakened_a_store_that_the_trainer_can_write_changes_the_verdict(
    scene: Scene, attacked: list[dict[str, Any]]
) -> None:
    """The judge believes the forged answers of the base model: the blocked model passes."""
    place = scene.machine("shared-store")
    judged = scene.judge(place, scene.train / "handover/plain", FTGATE_CACHE=str(scene.train / "store"))
    assert judged.outcomes == [("sft.yaml", "pass", 0)]
    assert judged.verdicts[0]["cost"]["blocks_from_store"] > 0


def test_weakened_a_python_that_looks_into_the_checkout_runs_what_is_planted(
    scene: Scene, judged: Judged
) -> None:
    """Without -P the pull request's own `gate` is imported."""
    for path in scene.marks.iterdir():  # of the hostile training's own second start
        path.unlink()
    checkout = scene.room / "judge/checkout"
    done = run(
        [sys.executable, "-c", "import gate"], cwd=checkout, env=scene.environment(scene.room / "judge")
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in scene.marks.iterdir()] == ["gate-__init__.py"]
