"""Training configs of TRL: what they mean, and every mistake found before anything is trained."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gate
from gate.configs import FOREIGN, READERS, load_config, trl
from gate.configs.trl_keys import KEYS
from gate.errors import ConfigErrors
from gate.records import Dataset, Override, TrainingConfig

ROW = '{"prompt": "a", "completion": "b"}\n'
HEAD = "model_name_or_path: org/base\ndataset_name: org/data\n"


def write(folder: Path, text: str, name: str = "config.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def load(folder: Path, text: str, **options: Any) -> TrainingConfig:
    return load_config(write(folder, text), **options)


def problems_of(path: Path) -> tuple[Any, ...]:
    with pytest.raises(ConfigErrors) as caught:
        load_config(path)
    assert caught.value.exit_code == 2
    return caught.value.problems


# ── What a config means ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "method", "bits"),
    [
        ("", "full", None),
        ("use_peft: false\nlora_r: 16\nlora_alpha: 32\n", "full", None),
        ("lora_r: 16\n", "full", None),
        ("use_peft: true\n", "lora", None),
        ("use_peft: yes\n", "lora", None),
        ('use_peft: "true"\n', "lora", None),
        ("use_peft: true\nuse_dora: true\nload_in_4bit: false\n", "lora", None),
        ("use_peft: true\nload_in_4bit: true\n", "qlora", 4),
        ("use_peft: true\nload_in_8bit: true\n", "qlora", 8),
    ],
)
def test_method(tmp_path: Path, text: str, method: str, bits: int | None) -> None:
    """LoRA if `use_peft` says so, whatever else stands there; QLoRA if the base is quantised too."""
    config = load(tmp_path, HEAD + text)
    assert (config.method, config.quantization_bits) == (method, bits)


def test_the_common_vocabulary(tmp_path: Path) -> None:
    """Each setting that the gate uses, with its line."""
    text = HEAD + (
        "model_revision: abc\ndataset_config: en\ndataset_train_split: train_sft\nlearning_rate: 1e-4\n"
        "per_device_train_batch_size: 4\ngradient_accumulation_steps: 2\nnum_train_epochs: 2\nmax_steps: 60\n"
        "trust_remote_code: true\nnum_processes: 2\nenv: {WANDB_PROJECT: x, HF_TOKEN: secret}\n"
        "hub_token: secret\n"
    )
    config = load(tmp_path, text)
    assert (config.trainer, config.base_model, config.base_revision) == ("trl", "org/base", "abc")
    assert config.datasets == (Dataset("org/data", "en", "train_sft"),)
    assert (config.learning_rate, config.batch_size, config.gradient_accumulation) == (1e-4, 4, 2)
    assert (config.epochs, config.max_steps, config.processes, config.trust_remote_code) == (2.0, 60, 2, True)
    assert config.environment == ("WANDB_PROJECT", "HF_TOKEN")
    assert (config.lines["learning_rate"], len(config.digest)) == (6, 64)
    assert "secret" not in str(config)


def test_defaults_are_those_of_trl(tmp_path: Path) -> None:
    """What a config leaves out has TRL's default."""
    config = load(tmp_path, HEAD + "max_steps: -1\n")
    assert (config.learning_rate, config.batch_size, config.gradient_accumulation) == (2e-5, 8, 1)
    assert (config.epochs, config.max_steps, config.processes, config.base_revision) == (3.0, None, 1, None)


def test_base_from_elsewhere(tmp_path: Path) -> None:
    """`base` stands for the file's base model, which then may be missing."""
    config = load(tmp_path, "dataset_name: org/data\nmodel_revision: abc\n", base="local/base")
    assert (config.base_model, config.base_revision) == ("local/base", None)


def test_accelerate_config_says_how_many_processes(tmp_path: Path) -> None:
    """A file of accelerate's is read for its number of processes; the config's own number wins."""
    launch = write(tmp_path, "num_processes: 4\n", "launch.yaml")
    assert load(tmp_path, HEAD + f"accelerate_config: {launch}\n").processes == 4
    assert load(tmp_path, HEAD + f"accelerate_config: {launch}\nnum_processes: 2\n").processes == 2


def test_mixture_on_the_hub_and_on_disk(tmp_path: Path) -> None:
    """`datasets:` goes before `dataset_name`; local files are named one by one."""
    one, two = write(tmp_path, ROW, "one.jsonl"), write(tmp_path, ROW, "two.jsonl")
    text = HEAD + (
        "datasets:\n  - {path: org/chat, name: en, split: 'train[:10%]'}\n"
        f"  - {{path: json, data_files: [{one}, {tmp_path}/t*.jsonl]}}\n"
    )
    assert load(tmp_path, text).datasets == (
        Dataset("org/chat", "en", "train[:10%]"),
        Dataset(str(one)),
        Dataset(str(two)),
    )


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_the_demo_configs_load(method: str) -> None:
    """The configs of the demo have every key right (their paths start at the demo's own folder)."""
    path = Path(gate.__file__).parent / "demo" / "configs" / f"{method}.yaml"
    assert load_config(path).method == method


# ── Overrides ────────────────────────────────────────────────────────────────────────────────────


def test_overrides_of_a_plain_config(tmp_path: Path) -> None:
    """Only the folder and the hidden losses differ when a config asks for nothing else."""
    changes = trl.overrides(load(tmp_path, HEAD).settings, "out")
    assert [(change.key, change.now) for change in changes] == [
        ("output_dir", "out"),
        ("logging_nan_inf_filter", False),
    ]
    assert all(change.reason for change in changes)


def test_overrides_of_a_config_that_publishes(tmp_path: Path) -> None:
    """Uploads, trackers, hidden losses, lacking checkpoints and silent recipes are taken back."""
    text = HEAD + (
        "output_dir: data/x\npush_to_hub: true\nhub_model_id: org/x\nreport_to: [wandb, trackio]\n"
        'logging_strategy: "no"\nsave_strategy: "no"\nsave_only_model: true\nauto_find_batch_size: true\n'
    )
    changes = trl.overrides(load(tmp_path, text).settings, "out")
    assert [(change.key, change.was, change.now) for change in changes] == [
        ("output_dir", "data/x", "out"),
        ("push_to_hub", True, False),
        ("report_to", "wandb, trackio", "none"),
        ("logging_nan_inf_filter", True, False),
        ("logging_strategy", "no", "steps"),
        ("save_strategy", "no", "steps"),
        ("save_only_model", True, False),
        ("auto_find_batch_size", True, False),
        ("save_total_limit", None, 1),
    ]


def test_overrides_leave_what_agrees(tmp_path: Path) -> None:
    """A strategy of the config's own stays, and what is as the gate wants it is not listed."""
    text = HEAD + "output_dir: out\nlogging_nan_inf_filter: false\nsave_strategy: epoch\nreport_to: none\n"
    assert trl.overrides(load(tmp_path, text).settings, "out") == ()


def test_override_is_a_record() -> None:
    """`trl.overrides` speaks in `Override`s whose keys TRL knows."""
    changes = trl.overrides({"save_strategy": "no"}, "out")
    assert all(isinstance(change, Override) and change.key in KEYS for change in changes)


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────────

ODD = {
    "typo": ("learning_rat: 1e-4", "learning_rat", "did you mean `learning_rate`?"),
    "renamed": ("torch_dtype: bfloat16", "torch_dtype", "write `dtype`"),
    "another house's mixture": ("dataset_mixture: {datasets: []}", "dataset_mixture", "write `datasets:`"),
    "unknown": ("zzzz: 1", "zzzz", "is no key of `trl sft`"),
    "NaN": ("learning_rate: .nan", "learning_rate", "expected a finite number, got nan"),
    "infinite": ("learning_rate: .inf", "learning_rate", "expected a finite number, got inf"),
    "huge": ("learning_rate: 1e999", "learning_rate", "expected a finite number"),
    "negative": ("learning_rate: -1e-4", "learning_rate", "expected a number of at least 0"),
    "a word": ("learning_rate: fast", "learning_rate", "expected a number, got `fast`"),
    "a boolean": ("learning_rate: yes", "learning_rate", "expected a number, got true"),
    "nothing": ("learning_rate:", "learning_rate", "leave the key out"),
    "half a batch": ("per_device_train_batch_size: 0.5", "per_device_train_batch_size", "a whole number"),
    "no batch": ("per_device_train_batch_size: 0", "per_device_train_batch_size", "at least 1"),
    "no epochs": ("num_train_epochs: 0", "num_train_epochs", "more than 0"),
    "dropout": ("lora_dropout: 5", "lora_dropout", "from 0 to 1"),
    "blank adapter": ("use_peft:", "use_peft", "leave the key out"),
    "adapter 1": ("use_peft: 1", "use_peft", "expected true or false, got 1"),
    "adapter lora": ("use_peft: lora", "use_peft", "expected true or false, got `lora`"),
    "bare no": ("save_strategy: no", "save_strategy", "the trainer reads a bare no"),
    "strategy": ("save_strategy: epochs", "save_strategy", "did you mean `epoch`?"),
    "scheduler": ("lr_scheduler_type: cosin", "lr_scheduler_type", "did you mean `cosine`?"),
    "optimizer": ("optim: adamw", "optim", "expected a known value"),
    "revision": ("model_revision: 1.0", "model_revision", "text, in quotes"),
    "modules": ("lora_target_modules: [1]", "lora_target_modules", "a list of words"),
    "kwargs": ("model_init_kwargs: [a]", "model_init_kwargs", "expected a mapping, got a list"),
    "4 bits, no adapter": ("load_in_4bit: true", "load_in_4bit", "needs an adapter"),
    "8 bits, no adapter": ("use_peft: false\nload_in_8bit: true", "load_in_8bit", "needs an adapter"),
    "4 and 8 bits": ("use_peft: true\nload_in_4bit: true\nload_in_8bit: true", "load_in_8bit", "excludes"),
    "two precisions": ("fp16: true\nbf16: true", "fp16", "excludes `bf16`"),
    "resumes": ("resume_from_checkpoint: out/checkpoint-5", "resume_from_checkpoint", "leave it out"),
    "variable": ("chat_template_path: ${HOME}/x.jinja", "chat_template_path", "`${HOME}` is not replaced"),
    "variable inside": (
        "model_init_kwargs: {revision: '${R}'}",
        "model_init_kwargs.revision",
        "not replaced",
    ),
    "env a list": ("env: [A]", "env", "expected a mapping of variables"),
    "env nested": ("env: {A: [1]}", "env.A", "expected NAME: text"),
    "no accelerate config": ("accelerate_config: zero9", "accelerate_config", "no such accelerate config"),
    "datasets a word": ("datasets: org/data", "datasets", "expected a list"),
    "dataset a word": ("datasets: [org/data]", "datasets[0]", "expected a mapping with `path`"),
    "dataset id": ("datasets: [{id: org/data}]", "datasets[0].id", "unknown key"),
    "dataset no path": ("datasets: [{name: en}]", "datasets[0]", "needs `path`"),
    "dataset no files": ("datasets: [{path: json}]", "datasets[0].path", "needs `data_files`"),
    "dataset missing file": (
        "datasets: [{path: json, data_files: x.jsonl}]",
        "datasets[0].data_files",
        "no such file: x.jsonl",
    ),
    "dataset elsewhere": (
        "datasets: [{path: json, data_files: 's3://b/x.jsonl'}]",
        "datasets[0].data_files",
        "is not on this disk",
    ),
    "one share": (
        "datasets: [{path: a/b, fraction: 0.5}, {path: a/c}]",
        "datasets",
        "in every entry or in none",
    ),
}


@pytest.mark.parametrize(("text", "key", "message"), ODD.values(), ids=ODD)
def test_odd_keys(tmp_path: Path, text: str, key: str, message: str) -> None:
    """Each mistake is told with its file, line and key and what was expected."""
    path = write(tmp_path, f"{HEAD}{text}\n")
    found = [problem for problem in problems_of(path) if problem.key == key and message in str(problem)]
    assert found, problems_of(path)
    assert found[0].file == str(path)
    assert found[0].line >= 3


WHOLE = {
    "no model": ("dataset_name: org/data\n", "model_name_or_path", "names no base model"),
    "blank model": (
        "model_name_or_path:\ndataset_name: org/data\n",
        "model_name_or_path",
        "names no base model",
    ),
    "model path": ("model_name_or_path: ./none\ndataset_name: a/b\n", "model_name_or_path", "no such folder"),
    "no data": ("model_name_or_path: org/base\n", "", "names no training data"),
    "data path": ("model_name_or_path: a/b\ndataset_name: ../none\n", "dataset_name", "no such folder"),
    "data word": ("model_name_or_path: a/b\ndataset_name: none\n", "dataset_name", "is OWNER/NAME"),
    "data variable": (
        "model_name_or_path: a/b\ndataset_name: ${D}\n",
        "dataset_name",
        "`${D}` is not replaced",
    ),
    "a list": ("- a\n", "", "expected a training config, got a list"),
    "something else": ("services: {web: 1}\n", "", "is no training config that this version knows"),
    "axolotl": ("base_model: a/b\nadapter: lora\n", "base_model", "Axolotl, which is not supported"),
    "llama factory": (
        "model_name_or_path: a/b\nfinetuning_type: lora\n",
        "finetuning_type",
        "LLaMA-Factory, which is not supported",
    ),
    "torchtune": ("checkpointer: {_component_: x}\n", "checkpointer", "torchtune, which is not supported"),
}


@pytest.mark.parametrize(("text", "key", "message"), WHOLE.values(), ids=WHOLE)
def test_odd_files(tmp_path: Path, text: str, key: str, message: str) -> None:
    """Files without a model or data, and files of other trainers, are told what they lack."""
    found = problems_of(write(tmp_path, text))
    assert any(problem.key == key and message in str(problem) for problem in found), found


def test_all_problems_at_once(tmp_path: Path) -> None:
    """Mistakes of all sorts are told together."""
    found = problems_of(
        write(tmp_path, "model_name_or_path: ./x\nlearning_rate: -1\nfoo: 1\nload_in_4bit: true\n")
    )
    assert {problem.key for problem in found} == {
        "model_name_or_path", "learning_rate", "foo", "load_in_4bit", "",
    }  # fmt: skip


def test_variables_where_nothing_is_used(tmp_path: Path) -> None:
    """A variable in a key that the gate sets itself does no harm."""
    text = HEAD + "output_dir: ${OUT}\nhub_model_id: ${USER}/x\nrun_name: ${RUN}\nreport_to: []\n"
    assert load(tmp_path, text).method == "full"


def test_readers_are_a_table() -> None:
    """The supported trainers, in words that messages use; nobody is both supported and foreign."""
    assert [reader.NAME for reader in READERS] == ["trl"]
    assert not {"trl"} & {name.lower() for name in FOREIGN}


# ── Anything at all ──────────────────────────────────────────────────────────────────────────────

SOME_KEYS = sorted({*sorted(KEYS)[::6], "use_peft", "env", "datasets", "dataset_name", "path", "data_files"})
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("a/b")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(SOME_KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(data=st.dictionaries(st.sampled_from(SOME_KEYS), VALUES, max_size=6))
def test_any_mapping_is_a_config_or_refused(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Whatever stands under the keys: a config with a model and data, or `ConfigErrors`."""
    text = (
        json.dumps({"model_name_or_path": "a/b", **data}).replace("NaN", ".nan").replace("Infinity", ".inf")
    )
    try:
        config = load_config(write(tmp_path_factory.mktemp("fuzz"), text))
    except ConfigErrors:
        return
    assert config.base_model
    assert config.datasets


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=100))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Random bytes are no config."""
    path = tmp_path_factory.mktemp("fuzz") / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigErrors):
        load_config(path)
