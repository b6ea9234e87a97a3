"""A model over several devices: chosen by its size, and scored as the same model on one device is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CONFIGS
from transformers import AutoModelForCausalLM, AutoTokenizer

from gate.records import ModelRef, Request
from gate.scoring.engine import TreeEngine
from gate.scoring.hf import HarnessModel, answer
from gate.scoring.selftest import choose, forest
from gate.scoring.settings import devices_needed, weight_bytes

GIB = 1 << 30


@pytest.mark.parametrize(
    ("weights", "memories", "needed"),
    [
        (16, [80, 80], 1),
        (60, [80, 80], 1),
        (70, [80, 80], 2),  # with too little room left to compute
        (140, [80, 80, 80, 80], 4),
        (140, [], 1),
    ],
)
def test_a_model_is_spread_by_its_size(weights: int, memories: list[int], needed: int) -> None:
    """Over all devices where its weights leave the first one no room, else on that one."""
    assert devices_needed(weights * GIB, [memory * GIB for memory in memories]) == needed


def test_weights_are_counted_as_they_are_measured(base: ModelRef) -> None:
    """From the files' headers, in the dtype and quantisation that the run has."""
    half = weight_bytes(base, "bfloat16", "none")
    assert weight_bytes(base, "float32", "none") == 2 * half
    assert weight_bytes(base, "bfloat16", "nf4") < half / 3
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.bfloat16)
    assert half == pytest.approx(2 * sum(weight.numel() for weight in model.parameters()), rel=0.01)


def test_layers_that_lie_elsewhere_score_alike(base: ModelRef, tmp_path: Path) -> None:
    """Some layers on the CPU, others fetched by accelerate's hooks: the bits of the model in one place."""
    whole = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    names = [f"model.layers.{number}" for number in range(whole.config.num_hidden_layers)]
    places: dict[str, str | int] = dict.fromkeys(("model.embed_tokens", "model.norm", "lm_head"), "cpu")
    places |= {"model.rotary_emb": "cpu", **{name: ("cpu", "disk")[at % 2] for at, name in enumerate(names)}}
    parts = AutoModelForCausalLM.from_pretrained(
        base.path, dtype=torch.float32, device_map=places, offload_folder=str(tmp_path)
    )
    assert {"cpu", "disk"} == set(parts.hf_device_map.values())
    readings = forest(1000, 200)
    engine, reason = choose(parts, 1024)
    assert engine is not None, reason
    same = TreeEngine(whole, engine.shape, engine.attention)
    assert engine.loglikelihoods([readings]) == same.loglikelihoods([readings])
    assert by_harness(parts, base) == by_harness(whole, base)


ASKED = [Request("loglikelihood", f"What is {what}?", " a river") for what in ("this", "the Nile or the Po")]


def by_harness(model: Any, base: ModelRef) -> list[float | None]:
    """The fall-back's log-likelihoods."""
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    harness = HarnessModel(pretrained=model, tokenizer=tokenizer, batch_size=2, softmax_dtype="float32")
    return [each.logprob for each in answer(harness, ASKED, "cpu")]


HALVES = """
import json, sys, torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.distributed import DistributedConfig
from gate.records import Request
from gate.scoring.hf import HarnessModel, answer
from gate.scoring.selftest import choose, forest
torch.set_num_threads(1)
dist.init_process_group("gloo")
path, asked = sys.argv[1], [Request("loglikelihood", *each) for each in json.loads(sys.argv[2])]
model = AutoModelForCausalLM.from_pretrained(
    path, dtype=torch.float32, distributed_config=DistributedConfig(tp_plan="auto")
)
engine, reason = choose(model, 1024)
assert engine is not None, reason
harness = HarnessModel(
    pretrained=model, tokenizer=AutoTokenizer.from_pretrained(path), batch_size=2, softmax_dtype="float32"
)
found = {
    "own": model.model.layers[0].mlp.up_proj.weight.to_local().numel(),
    "tree": engine.loglikelihoods([forest(1000, 200)])[0],
    "hf": [each.logprob for each in answer(harness, asked, "cpu")],
}
if dist.get_rank() == 0:
    print(json.dumps(found))
dist.destroy_process_group()
"""


def test_a_model_whose_matrices_are_halved_scores_alike(base: ModelRef, maker: Any) -> None:
    """Two gloo processes with half of every matrix each: the whole model's scores, self-test included, by the
    tree and by the fall-back."""
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    torch.manual_seed(0)
    config = CONFIGS["llama"]()
    config.vocab_size = len(tokenizer)
    whole = AutoModelForCausalLM.from_config(config).eval()
    ref = maker.save("halved", whole, tokenizer)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    asked = json.dumps([(each.context, each.continuation) for each in ASKED])
    shown = subprocess.run(
        [*launch, sys.executable, "-c", HALVES, ref.path, asked],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout.splitlines()[-1])
    assert found["own"] == whole.model.layers[0].mlp.up_proj.weight.numel() / 2
    wanted = TreeEngine(whole).loglikelihoods([forest(1000, 200)])[0]
    assert [score for score, _ in found["tree"]] == pytest.approx([score for score, _ in wanted], abs=1e-4)
    assert found["hf"] == pytest.approx(by_harness(whole, ref), abs=1e-4)
