"""From text to packs, beside lm-eval's way from the same requests to its batches; no model, no device.

    python -m benchmarks.building [--tokenizer FOLDER] [--share 1.0] [--one-core]

*tokenising* is lm-eval's own, one string at a time, *batches* its sorting, grouping and padding to batches
of 64 (not of rolling text). *ours* is tokens, trees and packs as for a GPU, in blocks of 32 documents. The
best of three runs of each; few-shot prompts are made before, by the same code of lm-eval for both. The last
row is as large as MMLU 5-shot, 14,042 documents: *GiB* is the process's peak memory so far, requests
included, which is why it comes last. With `--one-core` the process's own time is counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from importlib.resources import files
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import Collator
from lm_eval.models.utils_hf import pad_and_concat
from transformers import AutoTokenizer

from benchmarks.mixes import KINDS, Mix, make_mix
from gate.scoring.engine import GPU_SHAPE
from gate.scoring.readings import reader
from gate.scoring.tree import make_packs

MMLU = 14_042  # documents
Pair = tuple[tuple[str, str], list[int], list[int]]


def now() -> float:
    """Seconds, from any beginning."""
    alone = os.environ.get("RAYON_NUM_THREADS") == "1"
    return time.process_time() if alone else time.perf_counter()


def ours(tokenizer: Any, mix: Mix) -> tuple[float, int, int]:
    """Seconds, request tokens, nodes; a fresh reader, so that nothing is known beforehand."""
    began = now()
    read = reader(tokenizer, 4096)
    kept = [[one for each in read.read(block) for one in each] for block in mix.blocks]
    nodes = sum(len(pack) for group in kept for pack in make_packs(group, GPU_SHAPE))
    seconds = now() - began
    return seconds, sum(len(each.tokens) for group in kept for each in group), nodes


def theirs(tokenizer: Any, mix: Mix) -> tuple[float, float]:
    """Seconds of lm-eval's own code for tokenising and for its batches, around a model that is not there."""
    harness = object.__new__(HFLM)
    harness.tokenizer, harness.backend = tokenizer, "causal"
    harness.add_bos_token = harness.custom_prefix_token_id = None
    began = now()
    pairs: list[Pair] = []
    for request in mix.requests:
        if request.kind == "loglikelihood" and request.context:
            pairs.append((("", ""), *harness._encode_pair(request.context, request.continuation)))
        elif request.kind == "loglikelihood":
            tokens = harness.tok_encode(request.continuation)
            pairs.append((("", ""), [harness.prefix_token_id], tokens))
        else:
            harness.tok_encode(request.context)
    tokenised = now()
    make_batches(pairs)
    return tokenised - began, now() - tokenised


def make_batches(pairs: list[Pair]) -> None:
    """What lm-eval 0.4.13's `_loglikelihood_tokens` does with tokens before it calls its model."""
    order = Collator(
        pairs,
        sort_fn=lambda pair: (-len(pair[1] + pair[2]), tuple(pair[1] + pair[2])),
        group_by="contexts",
        group_fn=lambda pair: pair[-2] + pair[-1][:-1],
    )
    for chunk in order.get_batched(n=64):
        rows = [torch.tensor((pair[1] + pair[2])[:-1], dtype=torch.long) for pair in chunk]
        pad_and_concat(max(map(len, rows)), rows, padding_side="right")


def row(tokenizer: Any, name: str, mix: Mix, times: int = 3) -> str:
    """One row of the table."""
    seconds, tokens, nodes = min(ours(tokenizer, mix) for _ in range(times))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tokenising, batches = min((theirs(tokenizer, mix) for _ in range(times)), key=sum)
    return (
        f"| {name} | {len(mix.requests):,} | {tokens:,} | {nodes:,} | {tokens / nodes:.1f} "
        f"| {tokenising:.2f} | {batches:.2f} | {seconds:.2f} | {(tokenising + batches) / seconds:.1f}x "
        f"| {peak:.2f} |"
    )


def main() -> None:
    """Every mix, then one of MMLU's size; a row each as soon as it is known."""
    options = arguments()
    if options.one_core:
        os.environ["RAYON_NUM_THREADS"] = "1"
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    print(
        "| mix | requests | request tokens | nodes | tokens a node "
        "| lm-eval: tokenising s | batches s | ours s | faster | GiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in KINDS:
        print(row(tokenizer, name, make_mix(name, options.share)), flush=True)
    size = MMLU / KINDS["5-shot letters"][1] * options.share
    print(row(tokenizer, "5-shot letters, MMLU's size", make_mix("5-shot letters", size), 1), flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokenizer", default=str(files("gate.demo") / "base"))
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--one-core", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
