"""`ftgate init`: a policy that loads, for what the repository holds."""

from pathlib import Path

import pytest

from gate.errors import StoreError, UsageError
from gate.initialise import thresholds_text, write_thresholds
from gate.policy import load_policy
from gate.yamlfile import load_yaml

CONFIG = "model_name_or_path: org/base\ndataset_name: org/data\n"
TASK = "task: my_intents\noutput_type: multiple_choice\nprocess_docs: !function x.y\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_an_empty_folder(tmp_path: Path) -> None:
    """Without any config the policy loads, and judges general tasks."""
    result = write_thresholds(tmp_path)
    policy = load_policy(result.path)
    assert result.path == tmp_path / "thresholds.yaml"
    assert "\ndecide: score\n" in result.path.read_text()
    assert policy.decide == "score"
    assert "general/hellaswag/max_drop" in [rule.id for rule in policy.rules]
    assert "average/general/max_drop" in [rule.id for rule in policy.rules]
    assert "no training config found" in result.message
    assert "ftgate check CONFIG" in result.message


def test_a_repository(tmp_path: Path) -> None:
    """Configs are listed with their method, the team's tasks are included, and the result loads."""
    write(tmp_path / "configs" / "full.yaml", CONFIG)
    write(
        tmp_path / "configs" / "q.yml",
        CONFIG + "use_peft: true\nload_in_4bit: true\ntrust_remote_code: true\n",
    )
    write(tmp_path / "configs" / "bad.yaml", CONFIG + "learning_rate: -1\n")
    write(tmp_path / "evals" / "my_intents.yaml", TASK)
    result = write_thresholds(tmp_path)
    text = result.path.read_text()
    assert [found.path for found in result.configs] == [
        "configs/bad.yaml",
        "configs/full.yaml",
        "configs/q.yml",
    ]
    assert "#   configs/full.yaml: full fine-tune of org/base\n" in text
    assert "#   configs/q.yml: QLoRA of org/base\n" in text
    assert "#   configs/bad.yaml: has problems" in text
    assert "learning_rate" in result.message
    assert load_policy(result.path).include == (str(tmp_path / "evals"),)
    assert "{task: my_intents, min_gain: 0.05" in text
    assert "#   quantization: match_training" in text
    assert "#   remote_code: true" in text


def test_what_is_commented_out_loads_too(tmp_path: Path) -> None:
    """A user who takes the comment signs away from the examples has a policy that loads."""
    write(tmp_path / "data" / "general.jsonl", '{"text": "a"}\n')
    (tmp_path / "evals").mkdir()
    examples = ("# include", "# target", "#   - {", "# text", "    # - {")
    lines = [
        line.replace("# ", "", 1) if line.startswith(examples) else line
        for line in thresholds_text((), ()).splitlines()
    ]
    policy = load_policy(write(tmp_path / "thresholds.yaml", "\n".join(lines)))
    ids = [rule.id for rule in policy.rules]
    assert ids[0] == "target/my_task/min_gain"
    assert "general/mmlu/max_drop" in ids
    assert ids[-1] == "text/general/report"
    assert len(policy.include) == 1


def test_settings_for_quantised_configs_fit_their_place(tmp_path: Path) -> None:
    """The commented lines for QLoRA and remote code load when they are taken in."""
    write(tmp_path / "q.yml", CONFIG + "use_peft: true\nload_in_4bit: true\ntrust_remote_code: true\n")
    path = write_thresholds(tmp_path).path
    text = path.read_text().replace("#   quantization", "  quantization")
    path.write_text(text.replace("  remote_code: false\n", "").replace("#   remote_code", "  remote_code"))
    policy = load_policy(path)
    assert policy.evaluation.quantization == "match_training"
    assert policy.trust.remote_code


def test_an_existing_policy_is_left_alone(tmp_path: Path) -> None:
    """Nothing is ever overwritten."""
    path = write(tmp_path / "thresholds.yaml", "mine\n")
    with pytest.raises(UsageError, match="left as it is"):
        write_thresholds(tmp_path)
    assert path.read_text() == "mine\n"


def test_no_folder_and_no_place(tmp_path: Path) -> None:
    """A folder that is not there is the user's mistake, one that cannot be written the machine's."""
    with pytest.raises(UsageError, match="no such folder"):
        write_thresholds(tmp_path / "none")
    (tmp_path / "thresholds.yaml").symlink_to(tmp_path / "none" / "x.yaml")
    with pytest.raises((UsageError, StoreError)):
        write_thresholds(tmp_path)


def test_the_walk_is_bounded(tmp_path: Path) -> None:
    """Hidden folders, environments, packages, links and files that are no configs are passed over."""
    for folder in (".git", "node_modules", "a/site-packages", "a/b/c/d/e/f/g/h"):
        write(tmp_path / folder / "c.yaml", CONFIG)
    write(tmp_path / "env" / "pyvenv.cfg", "")
    write(tmp_path / "env" / "share" / "c.yaml", CONFIG)
    write(tmp_path / "big.yaml", CONFIG + "# " + "x" * 100_000)
    write(tmp_path / "axolotl.yaml", "base_model: a/b\nadapter: lora\n")
    write(tmp_path / "compose.yaml", "services: {}\n")
    write(tmp_path / "broken.yaml", "a: [\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert write_thresholds(tmp_path).configs == ()


@pytest.mark.parametrize("name", ['we"ird', "a{b}", "ünï", "a: b", "x #y", "per%cent"])
def test_odd_names_do_no_harm(tmp_path: Path, name: str) -> None:
    """Folders may be called anything: the policy loads and finds them."""
    write(tmp_path / name / "task.yaml", TASK)
    write(tmp_path / name / "config.yaml", CONFIG.replace("org/base", "org/ba-se"))
    result = write_thresholds(tmp_path)
    assert load_policy(result.path).include == (str(tmp_path / name),)


def test_lines_are_short() -> None:
    """The file reads well in an editor and in a diff."""
    assert all(len(line) <= 110 for line in thresholds_text((), ()).splitlines())


def test_the_template_is_yaml_throughout(tmp_path: Path) -> None:
    """Every section of the file is a mapping or a value that YAML 1.1 and 1.2 read alike."""
    path = write_thresholds(tmp_path).path
    assert load_yaml(path).data == load_yaml(path, version="1.1").data
