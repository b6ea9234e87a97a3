"""A real fine-tune that lost grammar is blocked and a harmless copy passes: one command each, one policy."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import gate

DEMO = Path(gate.__file__).parent / "demo"
TASKS = (
    "adjunct_island",
    "determiner_noun_agreement_irregular_2",
    "irregular_past_participle_verbs",
    "superlative_quantifiers_1",
    "wh_questions_object_gap",
)
# Nothing but what must not be forgotten; the margins are the demo's. float32 is what a CPU is quick in.
POLICY = {
    "version": 1,
    "include": ["tasks/"],
    "general": {"defaults": {"max_drop": 0.05}, "tasks": list(TASKS), "average": {"max_drop": 0.02}},
    "evaluation": {"dtype": "float32"},
}
FULL = {**POLICY, "decide": "full"}
NOISE = 0.02
STEPS, BATCH, LEARNING_RATE = 60, 16, 2e-3  # the learning rate of a LoRA, kept when `use_peft` went

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def repository(make_repository: Callable[[], Any]) -> Any:
    """A repository with all 1,500 minimal pairs, a harmless copy of the base and a harmful fine-tune."""
    torch.set_num_threads(1)
    made = make_repository()
    shutil.copytree(DEMO / "data" / "blimp", made.path / "data" / "blimp", dirs_exist_ok=True)
    made.write("thresholds.yaml", FULL)
    for name, change in (("harmless", add_noise), ("harmful", fine_tune)):
        model, tokenizer = load(made.path / "base")
        change(model, tokenizer)
        model.save_pretrained(made.path / name)
        tokenizer.save_pretrained(made.path / name)
    return made


def load(folder: Path) -> tuple[Any, Any]:
    """Model, in float32, and tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder)


def add_noise(model: Any, _tokenizer: Any) -> None:
    """Each weight times 1 +- 2 %."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + NOISE * torch.randn(weight.shape, generator=generator))


def fine_tune(model: Any, tokenizer: Any) -> None:
    """Full fine-tuning on the demo's training data: next-token loss, AdamW, cosine to zero, clipped at 1."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    model.train()
    for texts in itertools.islice(batches(tokenizer.eos_token), STEPS):
        inputs = tokenizer(texts, return_tensors="pt", padding=True)
        labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def batches(end: str) -> Iterator[list[str]]:
    """Prompts with their completions, in a seeded random order, epoch after epoch."""
    lines = (DEMO / "data" / "train" / "train.jsonl").read_text().splitlines()
    texts = [row["prompt"] + row["completion"] + end for row in map(json.loads, lines)]
    generator = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(len(texts), generator=generator).tolist()
        yield from ([texts[at] for at in order[i : i + BATCH]] for i in range(0, len(order) - BATCH, BATCH))


def check(repository: Any, tuned: str) -> tuple[int, dict[str, Any]]:
    """Exit code and verdict of `ftgate check --base base --tuned TUNED`, everything else as it comes."""
    done = repository.ftgate("check", "--base", "base", "--tuned", tuned, "--run-dir", f"runs/{tuned}")
    verdict = repository.verdict(f"runs/{tuned}")
    assert verdict["outcome"] != "error", done.stderr
    return done.returncode, verdict


def average_drop(verdict: dict[str, Any]) -> float:
    """Points of accuracy lost in the mean over the general tasks."""
    (average,) = (finding for finding in verdict["findings"] if finding["kind"] == "average")
    return -average["difference"]


def test_the_harmful_fine_tune_is_blocked(repository: Any) -> None:
    """Exit 1, over every document, and because of the mean: what was lost is no accident of one task."""
    code, verdict = check(repository, "harmful")
    assert (code, verdict["outcome"]) == (1, "fail")
    assert all(found["documents_scored"] == found["documents_total"] for found in verdict["findings"])
    assert average_drop(verdict) > 0.02


def test_the_harmless_copy_passes(repository: Any) -> None:
    """Exit 0 under the same policy: noise that changes nothing is not blocked."""
    code, verdict = check(repository, "harmless")
    assert (code, verdict["outcome"]) == (0, "pass")
    assert abs(average_drop(verdict)) < 0.02


@pytest.mark.parametrize(("tuned", "code"), [("harmless", 0), ("harmful", 1)])
def test_score_says_what_full_says_from_fewer_documents(repository: Any, tuned: str, code: int) -> None:
    """The same verdict; each rule is settled as the full benchmark settles it, and its full number lies where
    the report says. Judged again, the stored rounds repeat it; what needs more is refused."""
    _, full = check(repository, tuned)
    repository.write("score.yaml", {**POLICY, "fail_budget": 1.0})  # `score` is the default
    run = f"runs/{tuned}-score"
    words = ("--base", "base", "--tuned", tuned, "--thresholds", "score.yaml", "--run-dir", run)
    done = repository.ftgate("check", *words)
    score = repository.verdict(run)
    assert done.returncode == code, done.stderr
    pairs = list(zip(full["findings"], score["findings"], strict=True))
    assert [found["outcome"] for _, found in pairs] == [whole["outcome"] for whole, _ in pairs]
    used = [found["documents_scored"] / found["documents_planned"] for _, found in pairs]
    assert sum(used) < 0.95 * len(used)
    for whole, found in pairs:
        left = found["remaining"] or {"low": whole["difference"], "high": whole["difference"]}
        assert left["low"] - 1e-9 <= whole["difference"] <= left["high"] + 1e-9
    assert "settled after" in (repository.path / run / "comment.md").read_text()
    assert score["provenance"]["order_digest"].startswith("sha256:")
    assert repository.ftgate("judge", run).returncode == code
    assert repository.verdict(run)["findings"] == score["findings"]
    refused = repository.ftgate("judge", run, "--thresholds", "thresholds.yaml")
    assert refused.returncode == 2
    assert "needs all 300 documents under this policy" in refused.stderr
    assert repository.verdict(run)["findings"] == score["findings"]


def test_an_interrupted_score_goes_on_in_its_order(
    repository: Any, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    """Ctrl-C in the middle of the rounds, then the same command: the same documents in the same order, and
    the same findings, as in one go under the same salt."""
    repository.write("score.yaml", {**POLICY, "decide": "score"})
    words = ("check", "--base", "base", "--tuned", "harmless", "--thresholds", "score.yaml", "--run-dir")
    here, other = tmp_path / "here", tmp_path / "other"
    process = repository.start(*words, "runs/broken", FTGATE_CACHE=str(here))
    wait_for(lambda: len(list(here.glob("v1/blocks/*/*.parquet"))) >= 8, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert repository.ftgate(*words, "runs/broken", FTGATE_CACHE=str(here)).returncode == 0
    (other / "v1").mkdir(parents=True)
    shutil.copy(here / "v1" / "salt", other / "v1" / "salt")
    assert repository.ftgate(*words, "runs/whole", FTGATE_CACHE=str(other)).returncode == 0
    broken, whole = (repository.verdict(f"runs/{name}") for name in ("broken", "whole"))
    assert broken["provenance"]["order_digest"] == whole["provenance"]["order_digest"]
    assert broken["findings"] == whole["findings"]
    assert broken["cost"]["blocks_from_store"] >= 8
