"""The two jobs: one refuses tokens and hands over, the other judges what was handed over or says why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import scratch

from gate.ci.check import CiSetting
from gate.ci.handover import REPORTED
from gate.ci.judge import judge_handover
from gate.ci.tokens import readable_secrets, refuse_tokens
from gate.ci.train import TRAINED, train_configs
from gate.errors import UsageError
from gate.policy import load_policy
from gate.progress import SilentProgress
from gate.records import ChangedConfig, ProposedRule
from gate.shell import Shell

HEAD = "c" * 40
CONFIG = {"model_name_or_path": "org/base", "dataset_name": "data", "max_steps": 1, "output_dir": "out"}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def shell(said: list[str]) -> Shell:
    return Shell({}, said.append, said.append, SilentProgress())


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CiSetting:
    """A checkout with two configs, `one.yaml` and `two.yaml`, of a base model that the base ref knows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thresholds.yaml").write_text("version: 1\ngeneral:\n  tasks: [{task: x, max_drop: 0.1}]\n")
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text(json.dumps(CONFIG))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text('{"text": "a"}\n')
    return CiSetting(
        base_tree=tmp_path,
        thresholds=Path("thresholds.yaml"),
        policy=load_policy(tmp_path / "thresholds.yaml"),
        run_dir=tmp_path / "run",
        head_files={},
        base_files={},
        links={},
        policy_files=frozenset(),
        bases=frozenset({("org/base", None)}),
        form="two-jobs",
        pull=7,
    )


def changed(*names: str) -> tuple[ChangedConfig, ...]:
    return tuple(ChangedConfig(name, "edited") for name in names)


def hand_over(folder: Path, number: int, config: str, head: str = HEAD) -> None:
    scratch.hand_over(folder, config, head, number)


class Checked:
    """Stands in for measuring: it keeps what it was asked, and passes."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.weights: dict[str, int] = {}

    def __call__(self, options: Any, shell: Shell) -> Any:
        name = str(options.config)
        self.asked[name] = options
        self.weights[name] = (options.tuned / "model.safetensors").read_bytes()[-1]
        return SimpleNamespace(outcome="pass", exit_code=0)


def judge(names: tuple[str, ...], setting: CiSetting, shell: Shell, check: Checked) -> list[Any]:
    return list(
        judge_handover(changed(*names), setting, shell, handover=Path("handover"), head=HEAD, check=check)
    )


# ── The judge ────────────────────────────────────────────────────────────────────────────────────


def test_each_config_is_judged_by_its_own_model(setting: CiSetting, shell: Shell, tmp_path: Path) -> None:
    """By the name that git gives, whatever the order; from a copy that is gone afterwards."""
    hand_over(tmp_path / "handover", 0, "two.yaml")
    hand_over(tmp_path / "handover", 1, "one.yaml")
    check = Checked()
    runs = judge(("one.yaml", "two.yaml"), setting, shell, check)
    assert [(run.change.path, run.outcome, run.exit_code) for run in runs] == [
        ("one.yaml", "pass", 0),
        ("two.yaml", "pass", 0),
    ]
    assert check.weights == {"one.yaml": 1, "two.yaml": 0}
    assert {run.training for run in runs} == {f"40 steps in 61 s ({REPORTED})"}
    for options in check.asked.values():
        assert (options.pull, options.judged) == (7, True)
        assert not options.tuned.is_relative_to(tmp_path / "handover")
        assert not options.tuned.exists()


def test_a_config_without_a_model_was_not_trained(setting: CiSetting, shell: Shell, tmp_path: Path) -> None:
    """An error, exit 3, in its own run folder; the other one is judged."""
    hand_over(tmp_path / "handover", 0, "two.yaml")
    one, two = judge(("one.yaml", "two.yaml"), setting, shell, Checked())
    assert (one.outcome, one.exit_code, two.outcome) == ("error", 3, "pass")
    verdict = json.loads((tmp_path / "run" / one.folder / "verdict.json").read_text())
    assert verdict["outcome"] == "error"
    assert "one.yaml was not trained" in verdict["error"]["message"]


def test_a_model_for_another_config_is_left_out(
    setting: CiSetting, shell: Shell, said: list[str], tmp_path: Path
) -> None:
    """The trainer cannot add a config to those that changed; its name is shown escaped."""
    hand_over(tmp_path / "handover", 0, "one.yaml")
    hand_over(tmp_path / "handover", 1, "éxtra.yaml")
    check = Checked()
    assert len(judge(("one.yaml",), setting, shell, check)) == 1
    assert list(check.asked) == ["one.yaml"]
    assert [text for text in said if "\\xe9xtra" in text]
    assert all(text.isascii() for text in said)


@pytest.mark.parametrize("wrong", ["forged result", "another head", "missing", "empty"])
def test_a_handover_that_is_refused_passes_nothing(
    wrong: str, setting: CiSetting, shell: Shell, tmp_path: Path
) -> None:
    """Every changed config ends as an error, and none is measured."""
    if wrong == "empty":
        (tmp_path / "handover").mkdir()
    elif wrong != "missing":
        hand_over(tmp_path / "handover", 0, "one.yaml", "d" * 40 if wrong == "another head" else HEAD)
    if wrong == "forged result":
        (tmp_path / "handover/000/verdict.json").write_text('{"outcome": "pass"}')
    check = Checked()
    runs = judge(("one.yaml", "two.yaml"), setting, shell, check)
    expected = 3 if wrong in ("missing", "empty") else 2
    assert [(run.outcome, run.exit_code) for run in runs] == [("error", expected)] * 2
    assert check.asked == {}


def test_a_blocked_config_stays_blocked_without_a_model(
    setting: CiSetting, shell: Shell, tmp_path: Path
) -> None:
    """It was rightly not trained: the block is the reason to give, exit 1."""
    (tmp_path / "handover").mkdir()
    rules = (ProposedRule("target/new/min_score", 0.5, target=True),)
    (run,) = judge(("one.yaml",), replace(setting, proposed=rules), shell, Checked())
    assert (run.outcome, run.exit_code) == ("fail", 1)
    assert "target/new/min_score" in run.blocked


# ── The training job ─────────────────────────────────────────────────────────────────────────────

TOKENS = ("GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_in_the_environment_is_refused(
    name: str, setting: CiSetting, shell: Shell, tmp_path: Path
) -> None:
    """Exit 2 before anything is trained; the message names the variable and not its value."""
    beside = replace(shell, environ={name: "ghs_secret"})
    with pytest.raises(UsageError, match=name) as raised:
        train_configs(changed("one.yaml"), setting, beside, handover=tmp_path / "handover", head=HEAD)
    assert "ghs_secret" not in raised.value.message + raised.value.hint
    assert not (tmp_path / "handover").exists()
    refuse_tokens({name: ""}, tmp_path)  # the action sets it to nothing


@pytest.mark.parametrize(
    "line",
    [
        '[http "https://github.com/"]\n\textraheader = AUTHORIZATION: basic eDp5',
        '[includeIf "gitdir:/x/.git"]\n\tpath = /runner/temp/git-credentials-1-2.config',
        '[remote "origin"]\n\turl = https://x-access-token:ghs_secret@github.com/o/n',
    ],
)
def test_a_token_that_the_checkout_keeps_is_refused(line: str, tmp_path: Path) -> None:
    """Each way in which actions/checkout and people leave one in `.git/config`."""
    (tmp_path / ".git").mkdir()
    config = tmp_path / ".git/config"
    config.write_text('[core]\n[remote "origin"]\n\turl = https://github.com/o/n\n')
    refuse_tokens({}, tmp_path)
    config.write_text(config.read_text() + line)
    with pytest.raises(UsageError, match=r"\.git/config"):
        refuse_tokens({}, tmp_path)


def test_a_salt_is_refused_where_only_training_is_done(tmp_path: Path) -> None:
    """What orders the documents would be in reach of what is trained; the action sets it to nothing there."""
    with pytest.raises(UsageError, match="FTGATE_SALT in its environment"):
        refuse_tokens({"FTGATE_SALT": "s" * 40}, tmp_path)
    refuse_tokens({"FTGATE_SALT": ""}, tmp_path)


def test_other_secrets_are_warned_of() -> None:
    """A gated base model needs HF_TOKEN; that what is trained can read it is said, its value is not."""
    environ = {"HF_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "x", "TOKENIZERS_PARALLELISM": "true", "A_TOKEN": ""}
    assert readable_secrets(environ) == ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN")


def test_more_models_than_a_handover_holds_are_refused_before_any_is_trained(
    setting: CiSetting, shell: Shell, tmp_path: Path
) -> None:
    """Else the judge would refuse them all, after the GPU's hours."""
    changes = tuple(ChangedConfig(f"{number}.yaml", "edited") for number in range(65))
    with pytest.raises(UsageError, match="65 training configs changed, and a handover holds 64 models"):
        train_configs(changes, setting, shell, handover=tmp_path / "hand", head=HEAD)
    assert not (tmp_path / "run").exists()


def test_a_handover_folder_that_is_in_use_is_refused(
    setting: CiSetting, shell: Shell, tmp_path: Path
) -> None:
    """An earlier job's models must not go out with this one's."""
    hand_over(tmp_path / "handover", 0, "one.yaml")
    with pytest.raises(UsageError, match="not empty"):
        train_configs(changed("one.yaml"), setting, shell, handover=tmp_path / "handover", head=HEAD)


def test_a_blocked_config_is_not_trained(setting: CiSetting, shell: Shell, tmp_path: Path) -> None:
    """Nothing is handed over for it, and the job says why."""
    rules = (ProposedRule("target/new/min_score", 0.5, target=True),)
    blocked = replace(setting, proposed=rules)
    (run,) = train_configs(changed("one.yaml"), blocked, shell, handover=tmp_path / "handover", head=HEAD)
    assert (run.outcome, run.exit_code, run.hint == TRAINED) == ("fail", 1, False)
    assert not (tmp_path / "handover").exists()


def test_a_training_that_fails_hands_nothing_over(setting: CiSetting, shell: Shell, tmp_path: Path) -> None:
    """Its error is its own, and lies in its run's folder."""
    (tmp_path / "one.yaml").write_text(json.dumps({**CONFIG, "dataset_name": "./nowhere"}))
    (run,) = train_configs(changed("one.yaml"), setting, shell, handover=tmp_path / "handover", head=HEAD)
    assert (run.outcome, run.exit_code) == ("error", 2)
    assert (tmp_path / "run" / run.folder / "verdict.json").is_file()
    assert not (tmp_path / "handover").exists()
