"""gate.pipeline: where a run lies, what it cost, and that whatever ends it early leaves an error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import gate
from gate.errors import (
    ConfigErrors,
    DataError,
    GateError,
    InfrastructureError,
    Interrupted,
    OutOfMemory,
    Problem,
    StoreError,
    UsageError,
    as_gate_error,
    together,
)
from gate.inputs import key_of_training
from gate.measure import Measured
from gate.pipeline import CheckOptions, Run, begin, check_config, default_run_dir, fail
from gate.progress import SilentProgress
from gate.records import Measurements, ModelRef, Policy, TrainingConfig, TrainingCost, TunedModel
from gate.report import read_document
from gate.runfolder import RunFolder
from gate.shell import Shell
from gate.stages import cost_of
from gate.store import Store
from gate.withheld import Salt

DEMO = Path(gate.__file__).parent / "demo"
MODEL = ModelRef("tuned", "tuned", "sha256:" + "d" * 64)


def ignore(*_: object) -> None:
    """Say nothing."""


def make_shell(**changed: Any) -> Shell:
    return replace(
        Shell({}, say=ignore, warn=ignore, progress=SilentProgress(), clock=lambda: 9.0), **changed
    )


# ── The run's folder ─────────────────────────────────────────────────────────────────────────────


def config(digest: str) -> TrainingConfig:
    return TrainingConfig("trl", "full", "base", None, (), {}, {}, "sft.yaml", digest)


def options(**changed: Any) -> CheckOptions:
    return replace(CheckOptions(Path("configs/lora.yaml"), Path("thresholds.yaml")), **changed)


@pytest.fixture
def in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a config."""
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/lora.yaml").write_text("learning_rate: 1.0e-3")


@pytest.mark.usefixtures("in_a_repository")
def test_the_same_inputs_meet_in_the_same_folder() -> None:
    """Named after the config; equal inputs give an equal name, whatever the policy or the time limit is."""
    first = default_run_dir(options())
    assert first == default_run_dir(options(train_timeout=60.0, thresholds=Path("b.yaml")))
    assert first.parent == Path("ftgate-runs")
    assert first.name.startswith("lora-")


@pytest.mark.usefixtures("in_a_repository")
@pytest.mark.parametrize(
    ("changed", "content"),
    [({}, "learning_rate: 2.0e-3"), ({"base": "other"}, ""), ({"tuned": Path("out/lora")}, "")],
    ids=["config", "base", "tuned"],
)
def test_other_inputs_lie_in_another_folder(changed: dict[str, Any], content: str) -> None:
    """A changed config, base or tuned model never shares a folder with what was there before."""
    before = default_run_dir(options())
    if content:
        Path("configs/lora.yaml").write_text(content)
    assert default_run_dir(options(**changed)) != before


def test_without_a_config_the_tuned_model_names_the_folder() -> None:
    """`--tuned` and `--base` alone, and a config that cannot be read."""
    assert default_run_dir(options(config=None, tuned=Path("out/lora"), base="base")).name.startswith("lora-")
    assert default_run_dir(options(config=Path("nowhere.yaml"))).name.startswith("nowhere-")


def key(config: TrainingConfig, base: ModelRef, *env_names: str, **environ: str) -> str:
    """The key of a training."""
    return key_of_training(config, base, env_names, environ)


def test_files_and_values_that_a_config_names_are_in_the_key_of_its_training(tmp_path: Path) -> None:
    """A chat template's content, the values of `env:`, those of the policy's `trust.env`."""
    template = tmp_path / "template.jinja"
    template.write_text("one")
    base = ModelRef("base", "base", "sha256:" + "b" * 64)
    plain = replace(config("sha256:1"), settings={"chat_template_path": str(template), "use_cpu": True})
    first = key(plain, base)
    assert key(plain, base) == first
    assert key(replace(plain, environment_digest="other"), base) != first
    assert key(plain, base, "RANDOM", RANDOM="1") != key(plain, base, "RANDOM", RANDOM="2")
    template.write_text("two")
    assert key(plain, base) != first


def test_the_command_lines_minutes_are_seconds() -> None:
    """`--train-timeout 2` is 120 seconds; none stays none."""
    asked: dict[str, Any] = {"config": None, "thresholds": Path("thresholds.yaml")}
    assert CheckOptions.of(train_timeout=2.0, **asked).train_timeout == 120.0
    assert CheckOptions.of(**asked).train_timeout is None


@pytest.mark.parametrize("given", [{}, {"tuned": Path("tuned")}, {"base": "base"}])
def test_nothing_to_check_is_a_usage_error(given: dict[str, Any], tmp_path: Path) -> None:
    """No config, and not both of tuned and base: said before anything is read or written."""
    with pytest.raises(UsageError, match="no training config given"):
        check_config(options(config=None, run_dir=tmp_path / "run", **given), make_shell())
    assert not (tmp_path / "run").exists()


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────


def raising(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def test_together_gives_every_result() -> None:
    """In the order of the calls."""
    assert together(lambda: 1, lambda: "two") == (1, "two")


def test_together_collects_every_problem() -> None:
    """Of files and of single errors alike, hints kept; calls after a failed one are still made."""
    made: list[str] = []
    two = ConfigErrors([Problem("a.yaml", "first"), Problem("a.yaml", "second")])
    with pytest.raises(ConfigErrors) as raised:
        together(raising(two), lambda: made.append("called"), raising(DataError("third", hint="look")))
    assert [problem.message for problem in raised.value.problems] == ["first", "second", "third"]
    assert raised.value.problems[-1].hint == "look"
    assert made == ["called"]


def test_together_lets_the_machines_errors_through() -> None:
    """A network that is down is no problem of a file."""
    with pytest.raises(InfrastructureError, match="no network"):
        together(raising(InfrastructureError("no network")))


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (DataError("known"), DataError, 2),
        (KeyboardInterrupt(), Interrupted, 130),
        (MemoryError(), OutOfMemory, 3),
        (OSError(28, "No space left on device"), StoreError, 3),
        (ZeroDivisionError("division by zero"), InfrastructureError, 3),
    ],
)
def test_every_exception_is_an_error_of_ours(error: BaseException, kind: type[GateError], code: int) -> None:
    """With an exit code that is no pass."""
    known = as_gate_error(error)
    assert type(known) is kind
    assert known.exit_code == code


# ── Cost ─────────────────────────────────────────────────────────────────────────────────────────


def measured(scored: int, stored: int) -> Measured:
    return Measured(Measurements(MODEL, MODEL, (), ()), scored, stored, 7.0)


def test_cost_of_a_training() -> None:
    """The training's own time and memory, the measuring's time, and blocks by where they came from."""
    training = TrainingCost(
        30.0, 60, 5_000, peak_gpu_bytes=6_000, trainable_parameters=10, total_parameters=20
    )
    cost = cost_of(TunedModel(MODEL, training), measured(3, 4), 50.0)
    assert (cost.training_seconds, cost.measuring_seconds, cost.total_seconds) == (30.0, 7.0, 50.0)
    assert (cost.blocks_scored, cost.blocks_from_store) == (3, 4)
    assert (cost.peak_resident_bytes, cost.peak_gpu_bytes) == (5_000, 6_000)
    assert (cost.trainable_parameters, cost.total_parameters) == (10, 20)
    assert not cost.training_from_store


def test_cost_of_a_stored_training_says_so() -> None:
    """What it took once stays known, and is marked as not spent now."""
    cost = cost_of(TunedModel(MODEL, TrainingCost(30.0, 60, 5_000, from_store=True)), measured(0, 7), 2.0)
    assert cost.training_from_store
    assert cost.training_seconds == 30.0
    assert cost.total_seconds == 2.0


def test_cost_without_a_training() -> None:
    """`--tuned`: no training time, and this process's own memory."""
    cost = cost_of(TunedModel(MODEL), measured(1, 0), 8.0)
    assert cost.training_seconds == 0.0
    assert not cost.training_from_store
    assert cost.peak_resident_bytes > 1_000_000


# ── A run that ends early ────────────────────────────────────────────────────────────────────────


def document(folder: Path) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((folder / "verdict.json").read_text())
    return whole


def test_fail_leaves_a_failure(tmp_path: Path) -> None:
    """Outcome, code, stage, message, hint and the time it took; a page and a comment beside it."""
    run = Run(options(), Policy((), ()), None, RunFolder.begin(tmp_path / "run"), Store(tmp_path), 2.0)
    error = OutOfMemory("it is full", hint="smaller batches")
    assert fail(run, "measure", error, make_shell()) is error
    left = document(tmp_path / "run")
    assert left["outcome"] == "error"
    assert left["error"] == {
        "code": "out_of_memory",
        "stage": "measure",
        "message": "it is full",
        "hint": "smaller batches",
        "exit_code": 3,
    }
    assert left["cost"]["total_seconds"] == 7.0
    assert "it is full" in (tmp_path / "run" / "comment.md").read_text()
    assert (tmp_path / "run" / "report.html").is_file()


def test_fail_on_a_folder_that_is_gone_keeps_the_first_error(tmp_path: Path) -> None:
    """The folder cannot be written: that is a warning, and the error stays the one that ended the run."""
    folder = RunFolder.begin(tmp_path / "run")
    shutil.rmtree(folder.path)
    folder.path.write_text("a file where the folder was")
    warned: list[str] = []
    run = Run(options(), Policy((), ()), None, folder, Store(tmp_path), 2.0)
    error = DataError("no such task")
    assert fail(run, "plan", error, make_shell(warn=warned.append)) is error
    assert len(warned) == 1
    assert "could not be written" in warned[0]


POLICY = """
version: 1
include: [tasks]
general: {tasks: [{task: adjunct_island, max_drop: 1.0, limit: 40}]}
evaluation: {dtype: float32, batch_size: 64, device: cpu}
"""
CONFIG = """
model_name_or_path: BASE
dataset_name: DATA
output_dir: out
max_steps: 1
use_cpu: true
bf16: false
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base, a tuned model, a task and a policy that it passes."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(DEMO / "base", folder / "tuned")
    weights = load_file(folder / "tuned" / "model.safetensors")
    torch.manual_seed(0)
    noisy = {name: weight * (1 + 0.02 * torch.randn_like(weight)) for name, weight in weights.items()}
    save_file(noisy, folder / "tuned" / "model.safetensors", metadata={"format": "pt"})
    shutil.copytree(Path(gate.__file__).parents[1] / "checks" / "tasks", folder / "tasks")
    shutil.copytree(DEMO / "data" / "blimp", folder / "tasks" / "data" / "blimp")
    (folder / "thresholds.yaml").write_text(POLICY)
    config = CONFIG.replace("BASE", str(DEMO / "base")).replace("DATA", str(DEMO / "data" / "train"))
    (folder / "sft.yaml").write_text(config)
    return folder


@dataclass
class Stumbling(SilentProgress):
    """Progress whose line cannot be written once `what` is on."""

    what: str
    error: BaseException

    def update(self, what: str, done: int, total: int, note: str = "") -> None:
        if what == self.what:
            raise self.error


def stumbling(stage: str, error: BaseException) -> Shell:
    """A shell in which something that only this stage uses raises."""
    shell = make_shell()
    match stage:
        case "plan":  # where the limit is warned of
            return replace(shell, warn=lambda text: raising(error)())
        case "measure":
            return replace(shell, progress=Stumbling("measuring the tuned model", error))
        case _:  # judged, and about to be said
            return replace(shell, say=lambda text: raising(error)())


def check(repository: Path, run: Path, shell: Shell, **changed: Any) -> Any:
    asked = {"config": None, "tuned": repository / "tuned", "base": str(DEMO / "base"), **changed}
    shell = replace(shell, environ={"FTGATE_CACHE": str(repository / "cache")})
    return check_config(options(thresholds=repository / "thresholds.yaml", run_dir=run, **asked), shell)


def test_a_given_salt_is_that_of_a_runs_own_store_too(repository: Path, tmp_path: Path) -> None:
    """Also with --no-cache, which else makes a salt in each run: it would draw another order each time."""
    asked = options(
        tuned=repository / "tuned",
        base="base",
        config=None,
        thresholds=repository / "thresholds.yaml",
        run_dir=tmp_path / "run",
        no_cache=True,
    )
    given = make_shell(salt=Salt(b"g" * 32))
    for _ in range(2):
        store = begin(asked, given).store
        assert (store.salt, store.found_salt.made) == (b"g" * 32, False)
    first, second = (begin(asked, make_shell()).store.found_salt for _ in range(2))
    assert first.made
    assert second.made


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MemoryError(), OSError(28, "No space left"), KeyError("x")]
)
@pytest.mark.parametrize("stage", ["plan", "measure", "judge"])
def test_whatever_ends_a_stage_leaves_an_error(
    stage: str, error: BaseException, repository: Path, tmp_path: Path
) -> None:
    """Over a verdict that passed before: the error, the stage it was in, and no pass anywhere."""
    run = tmp_path / "run"
    assert check(repository, run, make_shell()).outcome == "pass"
    with pytest.raises(GateError) as raised:
        check(repository, run, stumbling(stage, error))
    assert raised.value.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 3)
    left = document(run)
    assert (left["outcome"], left["error"]["stage"]) == ("error", stage)
    assert left["error"]["code"] == raised.value.code
    assert read_document(run / "verdict.json").outcome == "error"


@pytest.mark.slow
def test_a_training_that_cannot_start_leaves_an_error(repository: Path, tmp_path: Path) -> None:
    """A file where the trainer's folder must be: stage `train`, exit 3."""
    run = tmp_path / "run"
    RunFolder.begin(run).write_policy(Policy((), ()))
    (run / "training").write_text("in the way")
    with pytest.raises(GateError) as raised:
        check(repository, run, make_shell(), config=repository / "sft.yaml", tuned=None, base=None)
    assert raised.value.exit_code == 3
    assert document(run)["error"]["stage"] == "train"


@pytest.mark.slow
def test_measurements_that_cannot_be_read_leave_no_older_verdict(repository: Path, tmp_path: Path) -> None:
    """The verdict was written, and then everything goes wrong: the folder says error and not pass."""
    run = tmp_path / "run"

    def stumble(_: str) -> None:
        assert document(run)["outcome"] == "pass"
        (run / "measurements.json").write_text("{")
        raise OSError(5, "Input/output error")

    with pytest.raises(StoreError, match="Input/output error"):
        check(repository, run, make_shell(say=stumble))
    assert document(run)["error"]["stage"] == "judge"
    assert document(run)["outcome"] == "error"


@pytest.mark.slow
def test_after_an_interruption_the_same_check_goes_on(repository: Path, tmp_path: Path) -> None:
    """What the base scored before Ctrl-C is not scored again."""
    shell = stumbling("measure", KeyboardInterrupt())
    environ = {"FTGATE_CACHE": str(tmp_path / "cache")}
    asked = options(
        config=None,
        thresholds=repository / "thresholds.yaml",
        tuned=repository / "tuned",
        base=str(DEMO / "base"),
        run_dir=tmp_path / "run",
    )
    with pytest.raises(Interrupted):
        check_config(asked, replace(shell, environ=environ))
    resumed = check_config(asked, make_shell(environ=environ))
    assert resumed.outcome == "pass"
    assert resumed.cost.blocks_from_store >= 2
