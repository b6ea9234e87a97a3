"""What ftgate stores of a run equals lm-eval's own `simple_evaluate`, to the document."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import gate
from gate.pipeline import CheckOptions, check_config
from gate.progress import SilentProgress
from gate.runfolder import RunFolder
from gate.shell import Shell

pytestmark = pytest.mark.slow

BASE = Path(gate.__file__).parent / "demo" / "base"
TASKS = Path(__file__).parent.parent / "checks" / "tasks"
POLICY = {
    "version": 1,
    "decide": "full",
    "include": [str(TASKS)],
    "general": {
        "tasks": [
            {"task": "mini_arc", "num_fewshot": 2, "metric": "acc_norm", "max_drop": 1.0},
            {"task": "mini_adjunct", "max_drop": 1.0},
        ]
    },
    "evaluation": {"dtype": "float32", "batch_size": 8},
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base with every weight moved by a tenth, seeded."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("full")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + 0.1 * torch.randn_like(weight))
    model.save_pretrained(folder)
    for file in BASE.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of the base with random, not zero, B matrices."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    config = LoraConfig(
        r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM", init_lora_weights=False
    )
    get_peft_model(model, config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"FTGATE_CACHE": str(tmp_path_factory.mktemp("store")), "HF_HUB_OFFLINE": "1"}


def stored(tuned: Path, environ: dict[str, str], work: Path) -> dict[str, dict[int, tuple[float, float]]]:
    """Per task and document number: ftgate's (base, tuned)."""
    (work / "thresholds.yaml").write_text(yaml.safe_dump(POLICY))
    shell = Shell(environ, say=lambda _: None, warn=lambda _: None, progress=SilentProgress())
    options = CheckOptions(None, work / "thresholds.yaml", tuned=tuned, base=str(BASE), run_dir=work / "run")
    with chdir(TASKS):
        check_config(options, shell)
    found = {}
    for each in RunFolder.open(work / "run").read_measurements().measurements:
        pairs = zip(each.base, each.tuned, strict=True)
        found[each.leaf] = dict(zip(each.numbers, pairs, strict=True))
    return found


def theirs(**model: Any) -> dict[str, dict[int, float]]:
    """Per task and document number: the value in lm-eval's samples."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    found = {}
    for task, shots, metric in (("mini_arc", 2, "acc_norm"), ("mini_adjunct", None, "acc")):
        with chdir(TASKS):
            results = lm_eval.simple_evaluate(
                model="hf",
                model_args={**model, "dtype": "float32"},
                tasks=[task],
                num_fewshot=shots,
                batch_size=8,
                device="cpu",
                task_manager=manager,
                bootstrap_iters=0,
            )
        found[task] = {sample["doc_id"]: float(sample[metric]) for sample in results["samples"][task]}
    return found


@pytest.mark.parametrize("kind", ["full", "adapter"])
def test_every_document_is_lm_evals(
    kind: str, store: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Base and tuned model, full and adapter, with and without few-shot examples: each document's value."""
    tuned: Path = request.getfixturevalue(kind)
    ours = stored(tuned, store, tmp_path)
    base = theirs(pretrained=str(BASE))
    model = {"pretrained": str(tuned)} if kind == "full" else {"pretrained": str(BASE), "peft": str(tuned)}
    other = theirs(**model)
    for task, documents in ours.items():
        assert {number: pair[0] for number, pair in documents.items()} == base[task]
        assert {number: pair[1] for number, pair in documents.items()} == other[task]
    assert base != other
