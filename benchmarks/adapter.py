"""Base and adapter over one copy of the weights, beside the base alone: time and peak memory; one table.

    python -m benchmarks.adapter WORK [--shape small|1.5b|8b] [--tokenizer FOLDER] [--share 1.0] [--rank 16]

Random weights of a Llama of that shape and a LoRA on all of its linear layers, through a `ModelSession` as
`check` uses it: loading, self-test, base, adapter put on, adapter; and the base again with the adapter off.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from benchmarks.mixes import make_mix
from benchmarks.shapes import SHAPES
from benchmarks.whole_check import make_random
from gate.models import inspect_model
from gate.records import Evaluation, Request, Trust
from gate.scoring import ModelSession, Side

# A shape of seconds on a CPU beside those of whole_check.
MIXES = ("0-shot, 4 long options", "5-shot letters")


def make_adapter(base: Path, folder: Path, rank: int) -> None:
    """A LoRA with random, not zero, B matrices."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    config = LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(str(folder))


def peak() -> int:
    """Bytes of GPU memory at most since the last call; of the process, ever, where there is no GPU."""
    if not torch.cuda.is_available():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return found


def main() -> None:
    """A row as soon as it is known."""
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    base, adapter = options.work / "base", options.work / "adapter"
    if not base.exists():
        make_random(base, options.shape, options.tokenizer, 0)
    if not adapter.exists():
        make_adapter(base, adapter, options.rank)
    groups: list[list[Request]] = [block for name in MIXES for block in make_mix(name, options.share).blocks]
    models = inspect_model(base, "base"), inspect_model(adapter, "adapter", need_tokenizer=False)
    print(
        "| what | s | of the base alone | peak GiB | of the base alone |\n|---|---|---|---|---|", flush=True
    )
    with ModelSession(*models, Evaluation(), Trust()) as session:

        def score(side: Side) -> Callable[[], object]:
            return lambda: session.scorer(side).score_groups(groups)

        def first(side: Side) -> Callable[[], object]:
            return lambda: session.scorer(side).score([groups[0][0]])

        row("loading and self-test, base", first("base"))
        before = session.scorer("base").score([groups[0][0]])
        alone = row("base", score("base"))
        on = row("adapter on, self-test", first("tuned"), alone)
        tuned = row("adapter", score("tuned"), alone)
        off = row("adapter off", first("base"), alone)
        total = alone[0] + on[0] + tuned[0]
        most = max(each[1] for each in (alone, on, tuned, off))
        row_of("base and adapter", total, most, alone)
        same = session.scorer("base").score([groups[0][0]]) == before
        print(f"the base's scores after the adapter are those from before: {same}", flush=True)


def row(what: str, do: Callable[[], object], alone: tuple[float, int] | None = None) -> tuple[float, int]:
    """Time and memory of one thing, printed."""
    peak()
    began = time.perf_counter()
    do()
    found = time.perf_counter() - began, peak()
    row_of(what, *found, alone or found)
    return found


def row_of(what: str, seconds: float, memory: int, alone: tuple[float, int]) -> None:
    """Print a row."""
    print(
        f"| {what} | {seconds:.1f} | {seconds / alone[0]:.2f} | {memory / 2**30:.2f} "
        f"| {memory / alone[1]:.2f} |",
        flush=True,
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--tokenizer", type=Path, default=Path(str(files("gate.demo") / "base")))
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--rank", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    main()
