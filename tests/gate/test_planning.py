"""`ftgate plan`: quick once its tasks are known, without torch; its words, its JSON, its errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.catalogue import Catalogue, KnownTask
from gate.demo.run import lay_out
from gate.devices import DEVICES, SCORING, TRAINING
from gate.errors import ConfigErrors, UsageError
from gate.flip_rates import base_key, form_of, keep_rates
from gate.history import write_past
from gate.models import digest_model
from gate.planning import PlanOptions, find_tasks, plan_config
from gate.policy import load_policy
from gate.progress import SilentProgress
from gate.records import Leaf, ModelRef, Policy, TaskInfo, TaskSpec
from gate.records.history import PastTask, PastVerdict
from gate.records.rates import SeenRates, TaskRate
from gate.report.foresight import planned_text
from gate.shell import Shell

POLICY = """\
version: 1
decide: {decide}
target: [{{task: mine, min_gain: 0.05, min_score: 0.8}}]
general:
  tasks: [{{task: arc, max_drop: 0.02}}, {{task: tiny, max_drop: 0.01}}]
  average: {{max_drop: 0.06}}
text: [{{corpus: text.jsonl, report: true}}]
prices: {{h100: 2.5, l4: 0.8}}
"""
CONFIG = "model_name_or_path: org/thing-1.5B\ndataset_name: data\nnum_train_epochs: 2\nuse_peft: true\n"
SIZES = {"target/mine": 500, "general/arc": 1319, "general/tiny": 100, "text/text": 40}
AWAY = {"HF_HUB_OFFLINE": "1"}


def known(task: str, documents: int, **changes: Any) -> KnownTask:
    unit = "bits per byte" if task.startswith("text") else "accuracy"
    leaf = Leaf(task, documents, documents)
    info = TaskInfo(task, "benchmarks", "acc", "none", unit, unit == "accuracy", (leaf,))
    return replace(KnownTask(info, 400.0), **changes)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a policy and a config, whose tasks the store knows already."""
    (tmp_path / "text.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text('{"text": "%s"}\n' % ("x" * 388) * 1000)  # 100 tokens a row
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "score")
    return tmp_path


def write(folder: Path, decide: str, **changes: KnownTask) -> Policy:
    path = folder / "thresholds.yaml"
    path.write_text(POLICY.format(decide=decide))
    policy = load_policy(Path("thresholds.yaml") if Path.cwd() == folder else path)
    tasks = [changes.get(spec.task, known(spec.id, SIZES[spec.id])) for spec in policy.tasks]
    Catalogue(folder / "store/v1/tasks", policy).keep(policy.tasks, tasks)
    return policy


def shell_of(folder: Path, said: list[str], now: str = "2026-11-24T12:00:00+00:00") -> Shell:
    environ = {"FTGATE_CACHE": str(folder / "store"), **AWAY, "HF_HOME": str(folder / "hf")}
    return Shell(environ, said.append, said.append, SilentProgress(), now=lambda: now)


def options(**changes: Any) -> PlanOptions:
    return replace(PlanOptions(Path("config.yaml"), Path("thresholds.yaml")), **changes)


def test_what_it_says(place: Path) -> None:
    """Every rule with its figures, documents under score, the family, what cannot work, time and money."""
    said: list[str] = []
    planned = plan_config(options(), shell_of(place, said))
    text = "\n".join(said)
    assert max(map(len, text.splitlines())) <= 100
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    table = text.partition("Documents until")[0].splitlines()
    arc = next(line for line in table if "general/arc/max_drop" in line)
    assert arc.split() == [
        "general/arc/max_drop",
        "2.0",
        "1,319",
        "2.7",
        "(2.5,",
        "3.0)",
        "1.1",
        "(0.1,",
        "5.1)",
        "%",
    ]
    for words in (
        "What a rule can see if 10 % of the answers change; in brackets: if 5 % and 20 % do",
        "shown, not judged",
        "if 5 % of the answers change",
        "if the true score lies above the limit by so many points",
        "- general/tiny/max_drop (line 5): max_drop 0.01 on 100 documents cannot be told from noise",
        "use at least 0.08",
        "assumed",
        "1.5 B parameters by its name",
    ):
        assert words in " ".join(text.split()), words
    assert [lines[name].split()[:5] for name in ("h100", "l4")] == [
        [name, "under", "1", "min", "under"] for name in ("h100", "l4")
    ]
    training = 6 * 1.5e9 * 200_000 / (DEVICES["h100"].peak * TRAINING)  # LoRA, gradients checkpointed
    read = planned.foresight.expected_share * (500 + 1319 + 100 + 40) * 400 / 4
    measuring = 2 * 2 * 1.5e9 * read / (DEVICES["h100"].peak * SCORING)
    assert planned.costs[0].money == pytest.approx(2.5 * (training + measuring) / 3600, rel=0.05)


def test_json_holds_the_same(place: Path) -> None:
    """Programs get the records, with a schema number."""
    said: list[str] = []
    planned = plan_config(options(as_json=True, device="l4"), shell_of(place, said))
    document = json.loads(said[0])
    assert document["schema"] == 1
    assert [rule["rule"] for rule in document["foresight"]["rules"]] == [
        r.rule for r in planned.foresight.rules
    ]
    assert document["foresight"]["rules"][2]["expected"] == list(planned.foresight.rules[2].expected or ())
    assert [cost["device"] for cost in document["costs"]] == ["l4"]
    assert document["problems"][0]["key"] == "general/tiny/max_drop"


def seen(place: Path, changed: int, source: Any = "calibrate", of: int = 1000) -> None:
    """What the store knows of the base of `config.yaml`: that so many answers changed."""
    base = place / "thing"
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text("{}")
    (place / "config.yaml").write_text(CONFIG.replace("org/thing-1.5B", "thing"))
    key = base_key(ModelRef("thing", str(base), digest_model(base)))
    rates = (TaskRate("general/tiny", form_of(known("general/tiny", 100).info), of, changed),)
    keep_rates(place / "store/v1", SeenRates(key, source, "x", "2026-01-01T00:00:00+00:00", rates))


def test_a_known_flip_rate_makes_an_error_of_a_warning(place: Path) -> None:
    """The rule that cannot work ends with exit code 2 and its line; at a low rate it works."""
    seen(place, 100)
    with pytest.raises(ConfigErrors) as caught:
        plan_config(options(), shell_of(place, []))
    assert [(each.line, each.key) for each in caught.value.problems] == [(5, "general/tiny/max_drop")]
    assert caught.value.exit_code == 2
    seen(place, 1)
    said: list[str] = []
    assert not plan_config(options(), shell_of(place, said)).problems
    assert "Answers that change: general/tiny/max_drop 0.1 % (calibrated: 1 of 1,000)." in said[0]
    assert "That 10 % of the answers of the other rules change is assumed" in said[0]


def test_history_is_worth_more_than_calibration(place: Path) -> None:
    """A model that passed says what a fine-tune changes; the base alone may be named for it."""
    seen(place, 100)
    seen(place, 1, "history")
    for asked in (options(), options(config=None, base="thing")):
        said: list[str] = []
        plan_config(asked, shell_of(place, said))
        assert "general/tiny/max_drop 0.1 % (seen in 1 check: 1 of 1,000)" in " ".join(said[0].split())


def in_history(folder: Path, place: Path, changed: int) -> None:
    """Two verdicts on the base `thing`, each on all 100 documents of `general/tiny`."""
    base = digest_model(place / "thing")
    flips = (PastTask("general/tiny", changed, 100),)
    made = PastVerdict(
        "2026-01-01T00:00:00+00:00", "", "c.yaml", "pass", (), flips, 100, 100, 1.0, base, "sha256:1", "p"
    )
    write_past(folder, made)
    write_past(folder, replace(made, tuned="sha256:2"))


def git(folder: Path, *arguments: str) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(folder), *settings, *arguments], check=True, capture_output=True)


def test_a_history_may_lie_elsewhere_or_on_a_branch(place: Path) -> None:
    """A folder, and a branch whether the remote's or the clone's own; what is not there is an error."""
    path = place / "thresholds.yaml"
    path.write_text(path.read_text().replace("0.01}", "0.2}"))
    seen(place, 20)
    in_history(place / "verdicts", place, 3)
    git(place, "init", "-q", "-b", "main")
    in_history(place / ".ftgate/history", place, 1)
    for step in (("add", ".ftgate"), ("commit", "-qm", "kept"), ("branch", "kept")):
        git(place, *step)
    shutil.rmtree(place / ".ftgate")

    def told(history: str | None) -> str:
        said: list[str] = []
        named = None if history is None else Path(history)
        plan_config(options(base="thing", history=named), shell_of(place, said))
        return " ".join(said[0].split())

    assert "2 % (calibrated: 20 of 1,000)" in told(None)
    assert "3 % (seen in 2 checks: 6 of 200)" in told("verdicts")
    assert "1 % (seen in 2 checks: 2 of 200)" in told("branch:kept")
    git(place, "update-ref", "refs/remotes/origin/far", "kept")
    assert "1 % (seen in 2 checks: 2 of 200)" in told("branch:far")
    for missing, why in (("nowhere", "no folder nowhere"), ("branch:none", "holds no branch none")):
        with pytest.raises(UsageError, match=why):
            told(missing)


def test_one_early_check_knows_no_rate(place: Path) -> None:
    """None of 32 documents changed: the assumed rate, its neighbours and the warning stay."""
    seen(place, 0, "history", of=32)
    said: list[str] = []
    planned = plan_config(options(), shell_of(place, said))
    tiny = next(rule for rule in planned.foresight.rules if rule.rule == "general/tiny/max_drop")
    assert [each.flips for each in tiny.sharpness] == [0.10, 0.05, 0.20]
    assert [each.key for each in planned.problems] == ["general/tiny/max_drop"]
    assert "is assumed: too little was seen yet: general/tiny/max_drop 0 of 32." in " ".join(said[0].split())


def test_without_a_config_or_a_device(place: Path) -> None:
    """The rules' figures stand; what is not known is named and has no number."""
    write(place, "full")
    said: list[str] = []
    planned = plan_config(options(config=None), shell_of(place, said))
    assert "no training config was named" in said[0]
    assert "unknown" in said[0]
    assert "Documents until" not in said[0]
    assert planned.costs[0].money is None
    bare = replace(planned, costs=())
    assert "name a device" in planned_text(bare)


def test_what_has_no_known_range_is_said_to_be_scored_in_full(place: Path) -> None:
    """Under `score`, beside the rules that are settled earlier; a corpus that is only shown is not named."""
    said: list[str] = []
    plan_config(options(), shell_of(place, said))
    assert "no known range" not in said[-1]
    path = place / "thresholds.yaml"
    path.write_text(path.read_text().replace("report: true", "max_rise: 0.1"))
    policy = load_policy(Path("thresholds.yaml"))
    Catalogue(place / "store/v1/tasks", policy).keep(
        policy.tasks, [known(spec.id, SIZES[spec.id]) for spec in policy.tasks]
    )
    plan_config(options(), shell_of(place, said))
    (line,) = [line for line in said[-1].splitlines() if "no known range" in line]
    assert line.split(maxsplit=2) == [
        "text/text/max_rise",
        "40",
        "all of them: bits per byte has no known range",
    ]


def test_a_task_that_generates_is_said_to_take_longer(place: Path) -> None:
    """Its reading is counted, its writing is not."""
    write(place, "score", arc=known("general/arc", 1319, generates=True))
    said: list[str] = []
    plan_config(options(), shell_of(place, said))
    assert "general/arc has its answers written, which takes longer" in " ".join(said[0].split())


def test_an_ended_waiver_stops_it(place: Path) -> None:
    """The day is the shell's."""
    waiver = "waivers: [{rule: general/tiny/max_drop, max_drop: 0.1, reason: small, until: 2026-11-24}]\n"
    path = place / "thresholds.yaml"
    path.write_text(path.read_text() + waiver)
    said: list[str] = []
    planned = plan_config(options(), shell_of(place, said))
    assert not planned.problems
    assert "general/tiny/max_drop: 0.1 instead of 0.01, by a waiver until 2026-11-24" in said[0]
    with pytest.raises(ConfigErrors) as caught:
        plan_config(options(), shell_of(place, [], "2026-11-25T00:00:00+00:00"))
    assert "ended on 2026-11-24, today is 2026-11-25" in str(caught.value.problems[0])


# ── What the store knows ─────────────────────────────────────────────────────────────────────────


def found(folder: Path, policy: Policy) -> bool:
    return Catalogue(folder / "store/v1/tasks", policy).find(policy.tasks) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda policy: replace(policy, tasks=(*policy.tasks, TaskSpec("general", "new"))),
        lambda policy: replace(policy, tasks=(replace(policy.tasks[0], limit=5), *policy.tasks[1:])),
        lambda policy: replace(policy, tasks=(replace(policy.tasks[0], num_fewshot=5), *policy.tasks[1:])),
        lambda policy: replace(policy, evaluation=replace(policy.evaluation, chat_template="base")),
    ],
)
def test_what_is_asked_otherwise_is_not_known(place: Path, change: Callable[[Policy], Policy]) -> None:
    """Another limit, other examples, a new task: looked at anew; a moved line is not."""
    policy = write(place, "full")
    assert found(place, policy)
    moved = tuple(replace(spec, place=replace(spec.place, line=99)) for spec in policy.tasks)
    assert found(place, replace(policy, tasks=moved))
    assert not found(place, change(policy))


def test_damaged_and_outdated_files_are_absent(place: Path) -> None:
    """A changed byte, an include folder with another file, a source with other bytes."""
    policy = write(place, "full")
    (place / "evals").mkdir()
    assert not found(place, replace(policy, include=("evals",)))
    (place / "own.txt").write_text("a")
    task = known("general/arc", 10)
    sourced = replace(task, info=replace(task.info, sources=(("own.txt", "0" * 64),)))
    policy = write(place, "full", arc=sourced)
    assert not found(place, policy)
    policy = write(place, "full")
    assert found(place, policy)
    for file in (place / "store/v1/tasks").iterdir():
        file.write_bytes(file.read_bytes().replace(b"1319", b"1318"))
    assert not found(place, policy)


def test_a_store_that_cannot_be_written_is_no_error(place: Path) -> None:
    """What was found is used all the same."""
    policy = write(place, "full")
    (place / "blocked").write_text("")
    tasks = [known(spec.id, 10) for spec in policy.tasks]
    Catalogue(place / "blocked/tasks", policy).keep(policy.tasks, tasks)
    assert Catalogue(place / "blocked/tasks", policy).find(policy.tasks) is None


# ── The demo's tasks ─────────────────────────────────────────────────────────────────────────────

PROGRAM = """
import sys
from gate.cli import cli
cli.main(["plan", "configs/lora.yaml", "--device", "h100"], standalone_mode=False)
print("LOADED", sorted({"torch", "transformers", "lm_eval", "datasets"} & sys.modules.keys()))
"""


def test_the_demo_is_planned_without_torch_once_its_tasks_are_known(tmp_path: Path) -> None:
    """The first call opens the tasks; the second imports neither them nor torch, and says the same."""
    folder = tmp_path / "demo"
    lay_out(folder)
    policy_path = folder / "thresholds.yaml"
    environ = {"FTGATE_CACHE": str(tmp_path / "store"), "PATH": "", "HOME": str(tmp_path), **AWAY}

    def plan() -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        text, _, loaded = done.stdout.rpartition("LOADED ")
        return text, loaded.strip()

    first, _ = plan()
    second, loaded = plan()
    assert first == second
    assert "average/general/max_drop" in first
    assert loaded == "[]"
    corpus = folder / "data/text.jsonl"
    corpus.write_text(corpus.read_text() + '{"text": "One more document."}\n')
    third, loaded = plan()
    assert "lm_eval" in loaded
    assert third.count(" 45  shown, not judged") == second.count(" 44  shown, not judged") == 1
    assert policy_path.is_file()


def test_tasks_that_are_not_known_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their documents, metric and the text that a model reads for one."""
    lay_out(tmp_path / "demo")
    monkeypatch.chdir(tmp_path / "demo")
    tasks = find_tasks(load_policy(Path("thresholds.yaml")), tmp_path / "tasks")
    by_name = {task.info.task: task for task in tasks}
    assert by_name["target/banking12"].info.documents_planned == 240
    assert all(task.characters and task.characters > 10 for task in tasks)
    assert not any(task.generates for task in tasks)
