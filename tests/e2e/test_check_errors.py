"""Bad input, as a user meets it: the right exit code, where and what to do, nothing trained, never a pass."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

CHECK = ("check", "sft.yaml", "--run-dir", "run")


@pytest.fixture(scope="module")
def repository(make_repository):
    """One repository for all of this file: nothing is ever trained or kept in it."""
    return make_repository()


@pytest.fixture
def refused(repository):
    """Runs a command that must be refused; what it says, on stderr and in all."""

    def run(*arguments: str, code: int = 2, **environ: str) -> str:
        done = repository.ftgate(*arguments, **environ)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "error: " in done.stderr
        assert "defect of ftgate" not in said
        assert nothing_happened(repository.path), said
        return done.stderr

    return run


def nothing_happened(folder: Path) -> bool:
    """Whether nothing was trained below a folder, and no verdict there passes."""
    verdicts = [json.loads(file.read_text())["outcome"] for file in folder.rglob("verdict.json")]
    return not {*verdicts} - {"error"} and not list(folder.rglob("events.jsonl"))


# ── Files that are no YAML ───────────────────────────────────────────────────────────────────────

LATIN = "# ja\nname: é".encode("latin-1")
BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
FORMS: dict[str, tuple[bytes | str | None, str]] = {
    "missing": (None, "no such file"),
    "a folder": (None, "is a folder"),
    "empty": ("", "is empty"),
    "only comments": ("# later\n", "is empty"),
    "binary": (b"\x7fELF\x02\x01\x00\x00", "is a binary file"),
    "not UTF-8": (LATIN, ":2: is not UTF-8 text (save the file as UTF-8)"),
    "broken": ("version: 1\ntarget: [1, 2\n", "is not valid YAML"),
    "20,000 deep": ("[" * 20_000, "nested more than 50 levels"),
    "an alias bomb": (BOMB, "aliases expanded"),
    "duplicate keys": ("seed: 1\nseed: 2\n", ":2: seed: is written twice, first in line 1 (keep one)"),
    "half a character": ('a: b\nc: "\\ud83d"\n', ":2: c: holds half a character"),
    "code": ("a: !!python/object/apply:os.mkdir [pwned]\n", ":1: tags such as"),
    "a list": ("- 1\n", ", got a list"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_no_yaml_is_named_config_and_policy_alike(repository, refused, form: str) -> None:
    """Both files are broken in the same way, and both are named with what is wrong."""
    content, words = FORMS[form]
    for name in ("broken-config.yaml", "broken-policy.yaml"):
        path = repository.path / name
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        if form == "a folder":
            path.mkdir()
        elif content is not None:
            repository.write(name, content)
    said = refused("check", "broken-config.yaml", "--thresholds", "broken-policy.yaml", "--run-dir", "run")
    for name in ("broken-config.yaml", "broken-policy.yaml"):
        told = next(line for line in said.splitlines() if line.startswith(f"error: {name}"))
        assert words in told
    assert not (repository.path / "pwned").exists()


NO_FILE = {
    "NUL": "da\0ta",
    "300 bytes": "x" * 300,
    "nobody": "~nobody-here/x",
    "NUL at home": "~a\0b",
}


@pytest.mark.parametrize("name", NO_FILE)
@pytest.mark.parametrize("key", ["dataset_name", "model_name_or_path"])
def test_a_name_that_no_file_can_have_is_no_file(repository, refused, key: str, name: str) -> None:
    """Said at the key's line, for data and base model alike; JSON is YAML."""
    config = {"model_name_or_path": "base", "dataset_name": "data/train", key: NO_FILE[name]}
    repository.write("names.json", json.dumps(config, indent=0))
    line = 2 + list(config).index(key)
    said = refused("check", "names.json", "--run-dir", "names-run")
    assert f"error: names.json:{line}: {key}: " in said or "is neither a folder nor a hub name" in said


# ── Values ───────────────────────────────────────────────────────────────────────────────────────

# A line of the file, and what its problem says after `FILE:LINE: `; None where it is right.
CONFIG_LINES: tuple[tuple[str, str | None], ...] = (
    ("model_name_or_path: base", None),
    ("dataset_name: data/train", None),
    ("learning_rate: .nan", "learning_rate: expected a finite number, got nan"),
    ("max_grad_norm: .inf", "max_grad_norm: expected a finite number, got inf"),
    ("weight_decay: -1", "weight_decay: expected a number of at least 0, got -1"),
    ("num_train_epochs: 0", "num_train_epochs: expected a number of more than 0, got 0"),
    ("max_steps: many", "max_steps: expected a whole number, got `many`"),
    ("per_device_train_batch_size: 1.5", "per_device_train_batch_size: expected a whole number, got 1.5"),
    ("gradient_accumulation_steps: -2", "gradient_accumulation_steps: expected a number of at least 1"),
    ("use_cpu: maybe", "use_cpu: expected true or false, got `maybe`"),
    ("lerning_rate: 1e-4", "lerning_rate: is no key of `trl sft` (did you mean `learning_rate`?)"),
    ("lora_r: 0", "lora_r: expected a number of at least 1, got 0"),
    ("load_in_4bit: true", "load_in_4bit: needs an adapter"),
    ("use_peft: no", None),
    ("adam_epsilon: 1e-8", None),
)
POLICY_LINES: tuple[tuple[str, str | None], ...] = (
    ("version: 2", "version: expected 1, got 2"),
    ("confidence: 1.5", "confidence: expected a number between 0.5 and 1, got 1.5"),
    ("decide: ful", "decide: expected one of full, score, proven, got `ful` (did you mean `full`?)"),
    ("include: [tasks/, nowhere]", "include[1]: no such folder: nowhere"),
    ("target:", None),
    ("  - {task: banking12, min_gain: .nan}", "target[0].min_gain: expected a number of at least 0, got nan"),
    ("  - {task: hellaswag, min_scor: 1}", "target[1].min_scor: unknown key (did you mean `min_score`?)"),
    ("general:", None),
    ("  defaults: {max_drop: -0.1}", "general.defaults.max_drop: expected a number of at least 0, got -0.1"),
    ("  tasks:", None),
    ("    - {task: piqa, max_drop: .inf}", "general.tasks[0].max_drop: expected a number of at least 0"),
    ("    - {task: boolq, max_drop: '0.1'}", "general.tasks[1].max_drop: expected a number of at least 0"),
    ("    - {task: copa, max_drop: 1e-4}", None),
    ("    - 7", "general.tasks[3]: expected a mapping"),
    ("  average: {max_drop: 1e400}", "general.average.max_drop: expected a number of at least 0, got inf"),
    (
        "evaluation: {batch_size: 0}",
        "evaluation.batch_size: expected a whole number between 1 and 65536, got 0",
    ),
    ("trust: {remote_code: no}", "trust.remote_code: expected true or false, got `no`"),
    ("generall: {}", "generall: unknown key (did you mean `general`?)"),
)


def test_every_error_of_config_and_policy_is_told_at_once(repository, refused) -> None:
    """Wrong numbers, types, words and keys of both files in one run, each at its line, and no other line."""
    files = {"values.yaml": CONFIG_LINES, "values-policy.yaml": POLICY_LINES}
    expected = set()
    for name, lines in files.items():
        repository.write(name, "".join(f"{line}\n" for line, _ in lines))
        expected |= {(f"{name}:{number}", words) for number, (_, words) in enumerate(lines, 1) if words}
    said = refused("check", "values.yaml", "--thresholds", "values-policy.yaml", "--run-dir", "run")
    errors = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")]
    for place, words in expected:
        assert any(error.startswith(f"{place}: {words}") for error in errors), f"{place}: {words}\n{said}"
    assert {error.split(": ")[0] for error in errors} == {place for place, _ in expected}
    assert not (repository.path / "run").exists()


def test_numbers_and_words_are_read_as_their_writers_meant_them(
    repository, refused, settings, policy
) -> None:
    """`1e-4` is a number in both files, `no` is false; a margin finer than one document is refused."""
    repository.write("words.yaml", "use_peft: no\nlearning_rate: 1e-4\n" + yaml_of(settings, "learning_rate"))
    text = "version: 1\ninclude: [tasks/]\ngeneral:\n  tasks:\n    - {task: adjunct_island, max_drop: 1e-4}\n"
    repository.write("fine.yaml", text)
    said = refused("check", "words.yaml", "--thresholds", "fine.yaml", "--run-dir", "run-words")
    assert "error: fine.yaml:5: general/adjunct_island/max_drop: 0.0001 is finer than one document" in said
    assert "60 documents" in said
    assert "use at least 0.017" in said
    config = json.loads((repository.path / "run-words/config.resolved.json").read_text())["record"]
    assert (config["learning_rate"], config["method"]) == (1e-4, "full")
    verdict = repository.verdict("run-words")
    assert (verdict["outcome"], verdict["error"]["stage"]) == ("error", "plan")


def yaml_of(settings: dict[str, object], *without: str) -> str:
    """Settings a line each."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items() if key not in without)


def test_a_broken_config_takes_an_earlier_pass_away(repository, refused) -> None:
    """A run folder never keeps the verdict of other inputs, even where the new ones cannot be read."""
    for name in ("verdict.json", "report.html"):
        repository.write(f"old/{name}", '{"schema": 1, "outcome": "pass"}')
    refused("check", "nowhere.yaml", "--run-dir", "old")
    assert not list((repository.path / "old").iterdir())


# ── Models ───────────────────────────────────────────────────────────────────────────────────────


def without_tokenizer(model: Path) -> None:
    for file in model.glob("tokenizer*"):
        file.unlink()


def no_model(model: Path) -> None:
    (model / "config.json").unlink()


def pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def with_code(model: Path) -> None:
    change_json(model / "config.json", auto_map={"AutoModelForCausalLM": "modeling.Model"})
    (model / "modeling.py").write_text("raise SystemExit('this code ran')\n")


def cut_short(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])


def gone(model: Path) -> None:
    shutil.rmtree(model)


def change_json(file: Path, **changed: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


def with_nan(model: Path) -> None:
    """One NaN, in bf16 or fp32, at the end of the file: the last number of some tensor."""
    file = model / "model.safetensors"
    content = file.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    dtypes = {
        entry["dtype"] for name, entry in json.loads(content[8 : 8 + length]).items() if "dtype" in entry
    }
    nan = {"BF16": b"\xc0\x7f", "F16": b"\x00\x7e", "F32": b"\x00\x00\xc0\x7f"}[dtypes.pop()]
    file.write_bytes(content[: -len(nan)] + nan)


BASES = {
    gone: ("neither a folder here nor in the cache", "name a local folder"),
    without_tokenizer: ("there is no tokenizer in broken", "save_pretrained"),
    no_model: ("there is no model in broken: no config.json", "name the folder that the trainer saved into"),
    pickled: ("pickle weights only (pytorch_model.bin), which run code", "model.safetensors"),
    with_code: ("brings its own code (auto_map in config.json)", "`trust: {remote_code: true}`"),
    cut_short: ("model.safetensors is damaged", "truncated"),
    with_nan: ("NaN or infinite weights in", "the file is damaged"),
}


@pytest.mark.parametrize("damage", BASES, ids=lambda damage: damage.__name__)
def test_a_base_model_that_cannot_be_used_is_told_with_the_tasks_errors(
    repository, refused, settings, policy, damage
) -> None:
    """The base at its line of the config, and in the same run a metric and a filter that no task has."""
    model = repository.path / "broken"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(repository.path / "base", model)
    damage(model)
    repository.write("model.yaml", "# A base\n" + yaml_of({**settings, "model_name_or_path": "broken"}))
    general = {"tasks": [{"task": "adjunct_island", "max_drop": 0.1, "filter": "strict"}]}
    target = [{"task": "banking12", "min_gain": 0.1, "metric": "acc_norm"}]
    repository.write("lacking.yaml", {**policy, "target": target, "general": general})
    said = refused("check", "model.yaml", "--thresholds", "lacking.yaml", "--run-dir", "run-model")
    message, hint = BASES[damage]
    told = next(line for line in said.splitlines() if "model.yaml:2: model_name_or_path: " in line)
    assert message in told
    assert hint in told
    assert re.search(r"lacking.yaml:1: target/banking12: .* no metric 'acc_norm'; it has acc", said)
    assert re.search(r"lacking.yaml:1: general/adjunct_island: .* no filter 'strict'", said)


def test_an_unknown_task_is_told_with_the_nearest_ones(repository, refused, policy) -> None:
    """A typo in the team's own task and in one of lm-eval's, and with them a `--base` that is not there."""
    names = [{"task": "adjunct_iland", "max_drop": 0.1}, {"task": "hellaswagg", "max_drop": 0.1}]
    repository.write("typo.yaml", {**policy, "general": {"tasks": names}})
    said = refused(*CHECK, "--thresholds", "typo.yaml", "--base", "./nowhere")
    assert re.search(r"typo.yaml:1: general/adjunct_iland: .*did you mean adjunct_island", said)
    assert re.search(r"typo.yaml:1: general/hellaswagg: .*did you mean hellaswag", said)
    assert "error: --base: there is nothing at nowhere (check the path)" in said


# ── Data ─────────────────────────────────────────────────────────────────────────────────────────

DATA = {
    "missing": (None, r"data.yaml:1: dataset_name: .*data/missing is neither a folder here nor in the cache"),
    "empty": ("", r"data/empty/train.jsonl: is empty, expected training data"),
    "lacking": ('{"a": 1}\n', r"data/lacking/train.jsonl:1: lacks the columns .*expected `text`.*found a"),
    "broken": ('{"text": "a"}\n{"text"\n', r"data/broken/train.jsonl:[23]: is not valid JSON"),
}


@pytest.mark.parametrize("name", DATA)
def test_training_data_that_cannot_be_trained_on_is_refused(repository, refused, settings, name: str) -> None:
    """A dataset that is missing, empty, broken or without the columns that TRL reads."""
    content, words = DATA[name]
    if content is not None:
        repository.write(f"data/{name}/train.jsonl", content)
    repository.write("data.yaml", {**settings, "dataset_name": f"data/{name}"})
    said = refused("check", "data.yaml", "--run-dir", "run-data")
    assert re.search(words, said), said


# ── Tuned models ─────────────────────────────────────────────────────────────────────────────────


def same(model: Path) -> None:
    """The base itself."""


def of_another_base(model: Path) -> None:
    change_json(model / "config.json", hidden_size=128)


def of_another_vocabulary(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    first, second = sorted(vocabulary, key=vocabulary.get)[300:302]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))


TUNED = {
    same: ("base and tuned are the same weights", "was anything trained?"),
    of_another_base: ("hidden_size is 128, the base's is", "it was tuned from another base; name that one"),
    of_another_vocabulary: ("has another vocabulary than the base", "it was tuned from another base"),
    with_nan: ("NaN or infinite weights in", "the training diverged"),
    gone: ("there is no model folder at tuned", "check the path"),
    pickled: ("pickle weights only", "model.safetensors"),
}


@pytest.mark.parametrize("change", TUNED, ids=lambda change: change.__name__)
def test_a_tuned_model_that_cannot_be_one_is_refused(repository, refused, change) -> None:
    """`--tuned` with the base itself, another base's or vocabulary's model, NaN weights, or no model."""
    model = repository.path / "tuned"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(repository.path / "base", model)
    change(model)
    said = refused("check", "--base", "base", "--tuned", "tuned", "--run-dir", "run-tuned")
    message, hint = TUNED[change]
    assert message in said
    assert hint in said
    assert repository.verdict("run-tuned")["error"]["stage"] == "plan"


# ── Command line ─────────────────────────────────────────────────────────────────────────────────


def test_a_command_line_that_asks_for_nothing_is_usage(repository) -> None:
    """No config, an unknown flag with the nearest, an unknown command: exit 2, in the command's own name."""
    nothing = repository.ftgate("check")
    flag = repository.ftgate("check", "sft.yaml", "--tunde", "x")
    command = repository.ftgate("chek")
    limit = repository.ftgate("check", "sft.yaml", "--train-timeout", "nan")
    assert [each.returncode for each in (nothing, flag, command, limit)] == [2] * 4
    assert "no training config given" in nothing.stderr
    assert "--tuned" in nothing.stderr
    assert "Usage: ftgate check" in flag.stderr
    assert "'--tuned'" in flag.stderr
    assert "'check'" in command.stderr
    assert "--train-timeout" in limit.stderr


@pytest.mark.parametrize(("debug", "shown"), [("", False), ("0", False), ("1", True)])
def test_a_traceback_is_shown_only_where_it_is_asked_for(
    repository, command_line, debug: str, shown: bool
) -> None:
    """`FTGATE_DEBUG=1`, before the error's own words, which stay the same."""
    done = subprocess.run(
        command_line(["judge", "nowhere"]),
        cwd=repository.path,
        env=repository.environment({"FTGATE_DEBUG": debug}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert ("Traceback" in done.stderr) is shown
    assert "error: there is no run folder at nowhere" in done.stderr


# ── Places that cannot be written ────────────────────────────────────────────────────────────────

PLACES = {
    "a file": ("thresholds.yaml", "a file stands where a folder should be"),
    "below a file": ("thresholds.yaml/run", "a file stands where a folder should be"),
    "read-only": ("/sys/ftgate", "--run-dir"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_run_folder_that_cannot_be_made_is_infrastructure(refused, place: str) -> None:
    """The run's folder is a file, lies under one, or on a read-only file system (which root minds too)."""
    path, hint = PLACES[place]
    said = refused("check", "sft.yaml", "--run-dir", path, code=3)
    assert f"cannot make the run folder {path}" in said
    assert hint in said


def test_a_folder_of_the_users_own_is_no_run_folder(repository, refused) -> None:
    """`--run-dir` with something else in it is refused, and nothing there is touched."""
    before = sorted((repository.path / "base").iterdir())
    said = refused("check", "sft.yaml", "--run-dir", "base")
    assert "base is not empty and is not a run folder of ftgate" in said
    assert sorted((repository.path / "base").iterdir()) == before


@pytest.mark.parametrize("place", PLACES)
def test_a_store_that_cannot_be_written_is_found_before_the_training(repository, refused, place: str) -> None:
    """The store is a file, lies under one, or is read-only: said at once, not after hours of training."""
    path, hint = PLACES[place]
    store = str(repository.path / path)  # an absolute path stays what it is
    said = refused(*CHECK, code=3, FTGATE_CACHE=store)
    assert store in said
    assert hint.replace("--run-dir", "FTGATE_CACHE") in said
    assert repository.verdict()["error"]["code"] == "store_error"


def limited(command: list[str], size: int, **options) -> subprocess.CompletedProcess[str]:
    """Run a command that cannot write files of more than `size` bytes, nor its children."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(("size", "stage"), [(500, "begin"), (1 << 20, "train")])
def test_a_disk_without_room_is_infrastructure(make_repository, command_line, size: int, stage: str) -> None:
    """No room for the run's first record, or none for the trained weights: exit 3, what to do, no pass."""
    repository = make_repository()
    # Python before 3.13 would keep a compiled module that was cut at the limit.
    environ = repository.environment({"PYTHONDONTWRITEBYTECODE": "1"})
    done = limited(command_line(CHECK), size, cwd=repository.path, env=environ)
    said = done.stdout + done.stderr
    assert done.returncode == 3, said
    assert "Traceback" not in said
    assert "defect of ftgate" not in said
    assert "to mend it: " in done.stderr
    verdicts = list(repository.path.rglob("verdict.json"))
    assert [json.loads(file.read_text())["outcome"] for file in verdicts] == (
        ["error"] if stage == "train" else []
    )
