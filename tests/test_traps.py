"""The traps that make a gate green without measuring, each planted before `ftgate check`: never a pass.

Real models made from the embedded base, and a policy so lenient that whatever is measured passes. The same
traps are tested one by one beside the code that springs them: tests/gate/scoring, tests/gate/test_models.py,
tests/gate/test_store.py, tests/checks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Read by `datasets` when it is imported: offline, and no trace in the user's cache.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
os.environ.setdefault("HF_DATASETS_CACHE", tempfile.mkdtemp(prefix="ftgate-datasets-"))

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import gate
from gate.errors import GateError, MeasurementError, ModelError, NotLikeForLike
from gate.pipeline import CheckOptions, check_config
from gate.progress import SilentProgress
from gate.report import read_document
from gate.runfolder import RunFolder
from gate.shell import Shell
from gate.verdict import Result, Verdict

DEMO = Path(gate.__file__).parent / "demo"
START = "<|endoftext|>"
PAIRS = 60
pytestmark = pytest.mark.slow

TASK = """
task: pairs
dataset_path: json
dataset_kwargs: {data_files: {test: pairs.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: ""
doc_to_target: 0
doc_to_choice: "{{[sentence_good, sentence_bad]}}"
num_fewshot: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
LENIENT = """
version: 1
decide: full
include: [tasks]
general: {tasks: [{task: pairs, max_drop: 1.0}]}
evaluation: {dtype: float32, batch_size: 64, device: cpu}
"""


@dataclass
class Repo:
    """A small repository: a base model, one task, a lenient policy; `said` is all that was warned of."""

    folder: Path
    said: list[str] = field(default_factory=list)

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def tuned(self) -> Path:
        return self.folder / "tuned"

    @property
    def blocks(self) -> set[Path]:
        return set((self.folder / "cache").rglob("*.parquet"))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def check(self, tuned: Path | None = None) -> Result:
        """`ftgate check --base base --tuned tuned`, into the folder `run`."""
        shell = Shell(
            {**os.environ, "FTGATE_CACHE": str(self.folder / "cache")},
            say=lambda text: None,
            warn=self.said.append,
            progress=SilentProgress(),
        )
        options = CheckOptions(
            None,
            self.folder / "thresholds.yaml",
            tuned=tuned or self.tuned,
            base=str(self.base),
            run_dir=self.folder / "run",
        )
        return check_config(options, shell)

    def outcome(self) -> str:
        """What the run's folder says."""
        return read_document(self.folder / "run" / "verdict.json").outcome


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """The base as it is, and 60 minimal pairs."""
    torch.set_num_threads(1)
    made = Repo(tmp_path)
    shutil.copytree(DEMO / "base", made.base)
    lines = (DEMO / "data" / "blimp" / "adjunct_island.jsonl").read_text().splitlines(keepends=True)
    made.write("tasks/pairs.jsonl", "".join(lines[:PAIRS]))
    made.write("tasks/pairs.yaml", TASK)
    made.write("thresholds.yaml", LENIENT)
    return made


# ── Models ───────────────────────────────────────────────────────────────────────────────────────


def load(folder: Path) -> tuple[Any, Any]:
    """Model, in float32, and tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder)


def disturb(model: Any, share: float = 0.02) -> None:
    """Noise on all weights, as a stand-in for training."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(share * weight.std() * torch.randn_like(weight))


def save_tuned(repo: Repo, share: float = 0.02, *, name: str = "tuned") -> None:
    """A tuned model of the repository's base, with the base's tokenizer files."""
    model, _ = load(repo.base)
    disturb(model, share)
    folder = repo.folder / name
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (repo.base / file).is_file():
            shutil.copy(repo.base / file, folder)


def save_adapter(repo: Repo, folder: Path, *, alpha: int = 8) -> None:
    """A LoRA whose weights are not zero."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=alpha, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    wrapped = get_peft_model(load(repo.base)[0], config)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    wrapped.save_pretrained(folder)


def edit_json(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    whole = json.loads(file.read_text())
    change(whole)
    file.write_text(json.dumps(whole))


def add_start_token(folder: Path) -> None:
    """Make a tokenizer put its start token before every text, as Llama's does."""

    def change(whole: dict[str, Any]) -> None:
        whole["post_processor"]["single"].insert(0, {"SpecialToken": {"id": START, "type_id": 0}})
        whole["post_processor"]["special_tokens"] = {START: {"id": START, "ids": [0], "tokens": [START]}}

    edit_json(folder / "tokenizer.json", change)


# ── The traps ────────────────────────────────────────────────────────────────────────────────────


def adapter_without_scale(repo: Repo) -> None:
    save_adapter(repo, repo.tuned, alpha=0)


def copy_of_the_base(repo: Repo) -> None:
    shutil.copytree(repo.base, repo.tuned)


def base_in_another_dtype(repo: Repo) -> None:
    model, tokenizer = load(repo.base)
    model.save_pretrained(repo.tuned)
    tokenizer.save_pretrained(repo.tuned)


def tokenizer_with_a_start_token(repo: Repo) -> None:
    save_tuned(repo)
    add_start_token(repo.tuned)


def tokenizer_with_another_normalizer(repo: Repo) -> None:
    save_tuned(repo)
    lower = {"type": "Lowercase"}
    edit_json(repo.tuned / "tokenizer.json", lambda whole: whole.update(normalizer=lower))


def template_that_doubles_the_start_token(repo: Repo) -> None:
    add_start_token(repo.base)
    template = "\n" + START + "{% for m in messages %}{{ m.content }}{% endfor %}"
    (repo.base / "chat_template.jinja").write_text(template)
    save_tuned(repo)


def template_lost_on_saving(repo: Repo) -> None:
    (repo.base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    save_tuned(repo)
    (repo.tuned / "chat_template.jinja").unlink()


def task_that_shrinks(repo: Repo) -> None:
    """Its documents are counted when it is opened; when its prompts are built, one is gone."""
    save_tuned(repo)
    repo.write(
        "tasks/shrink.py",
        "CALLS = []\ndef fewer(rows):\n    CALLS.append(1)\n"
        f"    return rows.select(range({PAIRS} if len(CALLS) < 3 else {PAIRS - 1}))\n",
    )
    repo.write("tasks/pairs.yaml", TASK + "process_docs: !function shrink.fewer\n")


def adapter_as_the_base(repo: Repo) -> None:
    save_tuned(repo)
    save_adapter(repo, repo.folder / "adapter")
    shutil.rmtree(repo.base)
    shutil.copytree(repo.folder / "adapter", repo.base)


def adapter_beside_the_base(repo: Repo) -> None:
    """transformers puts an adapter that lies in a model's folder on it without a word."""
    save_tuned(repo)
    save_adapter(repo, repo.folder / "adapter")
    for file in (repo.folder / "adapter").glob("adapter_*"):
        shutil.copy(file, repo.base)


def adapter_beside_the_tuned_model(repo: Repo) -> None:
    save_tuned(repo)
    save_adapter(repo, repo.folder / "adapter", alpha=0)
    for file in (repo.folder / "adapter").glob("adapter_*"):
        shutil.copy(file, repo.tuned)


TRAPS: tuple[tuple[Callable[[Repo], None], type[GateError], str], ...] = (
    (adapter_without_scale, MeasurementError, "adapter was loaded but not applied"),
    (copy_of_the_base, ModelError, "same weights"),
    (base_in_another_dtype, ModelError, "same weights"),
    (tokenizer_with_a_start_token, NotLikeForLike, "as other tokens: the first difference is at 0"),
    (tokenizer_with_another_normalizer, NotLikeForLike, "as other tokens: the first difference is at"),
    (template_that_doubles_the_start_token, MeasurementError, "doubled start token"),
    (template_lost_on_saving, ModelError, "lost the chat template"),
    (task_that_shrinks, GateError, f"{PAIRS - 1} of its {PAIRS} documents"),
    (adapter_as_the_base, GateError, "is an adapter, not a base model"),
    (adapter_beside_the_base, GateError, "holds an adapter and a full model"),
    (adapter_beside_the_tuned_model, GateError, "holds an adapter and a full model"),
)


@pytest.mark.parametrize(("plant", "error", "said"), TRAPS, ids=[plant.__name__ for plant, *_ in TRAPS])
def test_a_trap_is_named_and_never_a_pass(
    plant: Callable[[Repo], None], error: type[GateError], said: str, repo: Repo
) -> None:
    """The check ends with exit code 2 or 3 and names the trap; the run's verdict is `error`."""
    plant(repo)
    with pytest.raises(error, match=said) as raised:
        repo.check()
    assert raised.value.exit_code in (2, 3)
    assert repo.outcome() == "error"


def test_without_a_trap_the_same_check_passes(repo: Repo) -> None:
    """What the table above plants is what makes the difference."""
    save_tuned(repo)
    result = repo.check()
    assert isinstance(result, Verdict)
    assert (result.outcome, repo.outcome()) == ("pass", "pass")
    assert result.findings[0].documents_scored == PAIRS


def test_a_cache_that_answers_for_another_model(repo: Repo) -> None:
    """A harmful model whose stored answers were replaced by a harmless one's is scored again, and blocked."""
    repo.write("thresholds.yaml", LENIENT.replace("max_drop: 1.0", "max_drop: 0.1"))
    save_tuned(repo)
    save_tuned(repo, 1.0, name="harmful")
    assert repo.check().outcome == "pass"
    harmless = repo.blocks
    blocked = repo.check(repo.folder / "harmful")
    assert blocked.outcome == "fail"
    for file in repo.blocks - harmless:
        shutil.copy(sorted(harmless)[0], file)
    again = repo.check(repo.folder / "harmful")
    assert isinstance(again, Verdict)
    assert isinstance(blocked, Verdict)
    assert again.findings == blocked.findings
    assert any("another" in text for text in repo.said), repo.said


# ── What looks like a trap and is none ───────────────────────────────────────────────────────────

APPENDED = """
version: 1
decide: full
include: [tasks]
target: [{task: intents, min_gain: 0.0, chat_template: tuned, limit: 24}]
general: {tasks: [{task: pairs, max_drop: 1.0}]}
evaluation: {dtype: float32, batch_size: 64, device: cpu}
"""


def test_an_adapter_whose_base_has_another_name_is_judged_with_a_warning(repo: Repo) -> None:
    """Trained on another machine: its shapes fit, so it is measured; terminal and verdict name both bases."""
    save_adapter(repo, repo.tuned)
    config = repo.tuned / "adapter_config.json"
    edit_json(config, lambda whole: whole.update(base_model_name_or_path="/gone/models/base"))
    result = repo.check()
    assert isinstance(result, Verdict)
    for said in (repo.said, result.provenance.warnings):
        assert any("tuned from /gone/models/base; it was put on" in text for text in said)


@pytest.mark.parametrize("appended", [1, 2])
def test_a_chat_template_with_appended_tokens_on_a_plain_base(appended: int, repo: Repo) -> None:
    """New tokens, padded embeddings, a template of its own: measured, the target with the tuned template."""
    tokens = ["<|user|>", "<|bot|>"][:appended]
    model, tokenizer = load(repo.base)
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    tokenizer.chat_template = (
        "{% for m in messages %}" + tokens[0] + "{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}" + tokens[-1] + "{% endif %}"
    )
    model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64)
    disturb(model)
    model.save_pretrained(repo.tuned)
    tokenizer.save_pretrained(repo.tuned)
    task = (Path(gate.__file__).parents[1] / "checks" / "tasks" / "banking12.yaml").read_text()
    repo.write("tasks/intents.yaml", task.replace("task: banking12", "task: intents"))
    shutil.copytree(DEMO / "data", repo.folder / "tasks" / "data", ignore=shutil.ignore_patterns("blimp"))
    repo.write("thresholds.yaml", APPENDED)
    result = repo.check()
    assert isinstance(result, Verdict)
    assert result.outcome in ("pass", "fail")
    scored = {finding.rule: finding.documents_scored for finding in result.findings}
    assert scored == {"target/intents/min_gain": 24, "general/pairs/max_drop": PAIRS}
    tasks = RunFolder.open(repo.folder / "run").read_measurements().tasks
    templates = {info.task: info.chat_template for info in tasks}
    assert templates == {"target/intents": "tuned", "general/pairs": "none"}
