"""From text to packs, beside lm-eval's tokenising of the same requests; no model, no device.

    python -m benchmarks.building [--tokenizer FOLDER] [--share 1.0] [--one-core]

*lm-eval* is its own tokenising of each request, one string at a time. *ours* is readings, trees and packs,
in blocks of 32 documents. The last row is as large as MMLU 5-shot, 14,042 documents: *GiB* is the process's
peak memory so far, requests included, which is why it comes last.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from importlib.resources import files
from typing import Any

from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer

from benchmarks.mixes import KINDS, Mix, make_mix
from gate.scoring.engine import GPU_SHAPE
from gate.scoring.readings import reader
from gate.scoring.tree import make_packs

MMLU = 14_042  # documents


def ours(tokenizer: Any, mix: Mix) -> tuple[float, int, int]:
    """Seconds, request tokens, nodes; a fresh reader, so that nothing is known beforehand."""
    began = time.perf_counter()
    read = reader(tokenizer, 4096)
    kept = [[one for each in read.read(block) for one in each] for block in mix.blocks]
    nodes = sum(len(pack) for group in kept for pack in make_packs(group, GPU_SHAPE))
    seconds = time.perf_counter() - began
    return seconds, sum(len(each.tokens) for group in kept for each in group), nodes


def theirs(tokenizer: Any, mix: Mix) -> float:
    """Seconds of lm-eval's own code for it, around a model that is not there."""
    harness = object.__new__(HFLM)
    harness.tokenizer, harness.backend = tokenizer, "causal"
    harness.add_bos_token = harness.custom_prefix_token_id = None
    began = time.perf_counter()
    for request in mix.requests:
        if request.kind == "loglikelihood" and request.context:
            harness._encode_pair(request.context, request.continuation)
        else:
            harness.tok_encode(request.context + request.continuation)
    return time.perf_counter() - began


def row(tokenizer: Any, name: str, mix: Mix) -> str:
    """One row of the table."""
    seconds, tokens, nodes = ours(tokenizer, mix)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    his = theirs(tokenizer, mix)
    return (
        f"| {name} | {len(mix.requests):,} | {tokens:,} | {nodes:,} | {tokens / nodes:.1f} "
        f"| {his:.2f} | {seconds:.2f} | {his / seconds:.1f}x | {peak:.2f} |"
    )


def main() -> None:
    """Every mix, then one of MMLU's size; a row each as soon as it is known."""
    options = arguments()
    if options.one_core:
        os.environ["RAYON_NUM_THREADS"] = "1"
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    print("| mix | requests | request tokens | nodes | tokens a node | lm-eval s | ours s | faster | GiB |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in KINDS:
        print(row(tokenizer, name, make_mix(name, options.share)), flush=True)
    size = MMLU / KINDS["5-shot letters"][1] * options.share
    print(row(tokenizer, "5-shot letters, MMLU's size", make_mix("5-shot letters", size)), flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokenizer", default=str(files("gate.demo") / "base"))
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--one-core", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
