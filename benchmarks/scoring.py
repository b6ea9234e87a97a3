"""The tree scorer beside lm-eval's HF model, on lm-eval's kinds of requests; prints one table.

    python -m benchmarks.scoring [--shape small|1.5b|8b] [--model FOLDER] [--tokenizer FOLDER]
        [--only MIX ...] [--batch-sizes 16 64] [--auto] [--share 1.0] [--dtype bfloat16]

Random weights of a Llama of that shape, or `--model`. Everything runs in one process on one device; on one
thread of a CPU the process's own time is counted, which other processes disturb less. HF:
log-softmax in float32, the best of the fixed batch sizes that fit, and with `--auto` also `batch_size=auto`.
*building* is from text to what the device gets: tokenising for HF; tokenising, trees and packs for ours.
*bound* is HF's request tokens, after its own grouping, over the tree's nodes. *apart* is the largest
difference of a log-likelihood between the two, *HF apart* that of HF between batch 1 and its best batch on
some of the requests, *flips* how many documents chose another option.
"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import torch
from lm_eval.api.instance import Instance
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.mixes import KINDS, Mix, make_mix
from benchmarks.scored import Row, Scored
from benchmarks.shapes import SHAPES, VOCABULARY, device, random_llama
from gate.records import Request
from gate.scoring.hf import HarnessModel
from gate.scoring.tree import make_packs

ALONE = 32  # requests that HF also scores one by one


def length(model: Any) -> int:
    """Tokens of a text, the same for both."""
    return min(4096, int(model.config.max_position_embeddings))


def synchronize() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def now() -> float:
    """Seconds, from any beginning."""
    alone = not torch.cuda.is_available() and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def timed(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """What `work` gives, seconds, and the device's peak memory meanwhile."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    synchronize()
    began = now()
    found = work()
    synchronize()
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return found, now() - began, peak


def by_tree(model: Any, tokenizer: Any, mix: Mix, engine: Any, read: Any) -> Scored:
    """Ours: blocks of 32 documents, all in one call."""
    counts: list[list[int]] = []

    def work() -> list[list[tuple[float, bool]]]:
        groups = []
        counts.clear()
        for block in mix.blocks:
            readings = read.read(block)
            counts.append([len(each) for each in readings])
            groups.append([one for each in readings for one in each])
        return list(engine.loglikelihoods(groups))

    answers, total, memory = timed(work)
    values = []
    for answer, count in zip(answers, counts, strict=True):
        scores = iter(value for value, _ in answer)
        values += [math.fsum(next(scores) for _ in range(number)) for number in count]
    return Scored(values, build_time(engine, read, mix), total, memory, nodes=count_nodes(engine, read, mix))


def build_time(engine: Any, read: Any, mix: Mix) -> float:
    """Seconds from text to packs."""
    began = now()
    for block in mix.blocks:
        make_packs([one for each in read.read(block) for one in each], engine.shape)
    return now() - began


def count_nodes(engine: Any, read: Any, mix: Mix) -> int:
    """Tokens that the device computes."""
    blocks = [[one for each in read.read(block) for one in each] for block in mix.blocks]
    return sum(len(pack) for block in blocks for pack in make_packs(block, engine.shape))


def instances(requests: Sequence[Request]) -> tuple[str, list[Instance]]:
    """The requests as lm-eval's."""
    kind = requests[0].kind
    arguments = [(r.context, r.continuation) if kind == "loglikelihood" else (r.context,) for r in requests]
    return kind, [Instance(request_type=kind, doc={}, arguments=each, idx=0) for each in arguments]


def by_harness(
    model: Any, tokenizer: Any, mix: Mix, batch_size: int | str, some: int | None = None
) -> Scored | None:
    """lm-eval's HF model; None where the batch does not fit."""
    harness = HarnessModel(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=batch_size,
        softmax_dtype="float32",
        max_length=length(model),
    )
    kind, asked = instances(mix.requests[:some])

    def work() -> list[Any]:
        return list(getattr(harness, kind)(asked, disable_tqdm=True))

    try:
        answers, total, memory = timed(work)
    except torch.OutOfMemoryError:
        return None
    building = math.nan
    if kind == "loglikelihood" and some is None:
        began = now()
        for context, continuation in (each.args for each in asked):
            harness._encode_pair(context, continuation) if context else harness.tok_encode(continuation)
        building = now() - began
    values = [each[0] if isinstance(each, tuple) else float(each) for each in answers]
    return Scored(values, building, total, memory, f"HF batch {batch_size}")


def request_tokens(tokenizer: Any, mix: Mix) -> int:
    """Tokens that HF's model gets: one-token continuations of one context are one row there."""
    rows = {(r.context, r.continuation if not _single(tokenizer, r) else "") for r in mix.requests}
    return sum(len(tokenizer.encode(context + text)) for context, text in rows)


def _single(tokenizer: Any, request: Request) -> bool:
    return (
        request.kind == "loglikelihood"
        and len(tokenizer.encode(request.continuation, add_special_tokens=False)) == 1
    )


def flips(mix: Mix, one: Sequence[float], other: Sequence[float]) -> int:
    """Documents whose best option differs."""
    found = start = 0
    for document in mix.documents:
        stop = start + len(document)
        best = [max(range(start, stop), key=values.__getitem__) for values in (one, other)]
        found += best[0] != best[1]
        start = stop
    return found


def matrix_peak(dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product on this device."""
    size = 8192 if torch.cuda.is_available() else 1024
    device = "cuda" if torch.cuda.is_available() else "cpu"
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        one @ other
    synchronize()
    began = now()
    for _ in range(10):
        one @ other
    synchronize()
    return 10 * 2 * size**3 / (now() - began)


def load(options: argparse.Namespace) -> tuple[Any, Any]:
    """Model and tokenizer."""
    dtype = getattr(torch, options.dtype or ("bfloat16" if device() == "cuda" else "float32"))
    tokenizer: Any = AutoTokenizer.from_pretrained(
        options.tokenizer or options.model or str(files("gate.demo") / "base")
    )
    if options.model:
        model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype)
        return model.to(device()).eval(), tokenizer
    return random_llama(options.shape, dtype, vocab_size=max(VOCABULARY, len(tokenizer))), tokenizer


def compare(model: Any, tokenizer: Any, mix: Mix, tree: tuple[Any, Any], options: argparse.Namespace) -> Row:
    """One mix by everybody. Ours runs twice, so that compiling is not in it; so does HF's first batch."""
    engine, read = tree
    began = now()
    by_tree(model, tokenizer, make_mix(mix.name, options.share / 8), engine, read)
    first = now() - began
    ours = by_tree(model, tokenizer, mix, engine, read)
    ours.how = f"first eighth {first:.1f} s"
    by_harness(model, tokenizer, mix, options.batch_sizes[0], ALONE)
    sizes = [*options.batch_sizes, *(["auto"] if options.auto else [])]
    peers = [found for size in sizes if (found := by_harness(model, tokenizer, mix, size)) is not None]
    best = min((each for each in peers if "auto" not in each.how), key=lambda each: each.total)
    row = Row(mix, ours, best, request_tokens(tokenizer, mix) / ours.nodes, peers)
    alone = by_harness(model, tokenizer, mix, 1, ALONE)
    if alone is not None:
        row.alone = max(abs(a - b) for a, b in zip(alone.values, best.values, strict=False))
    return row


def line(row: Row, parameters: int, peak: float) -> str:
    """One row of the table."""
    ours, best = row.ours, row.best
    apart = max(abs(a - b) for a, b in zip(ours.values, best.values, strict=True))
    rate = 2 * parameters * ours.nodes / ours.total
    lean = sum(a - b for a, b in zip(ours.values, best.values, strict=True)) / len(ours.values)
    return (
        f"| {row.mix.name} | {ours.total:.2f} | {ours.building:.2f} "
        f"| {best.total:.2f} ({best.how}) | {best.building:.2f} "
        f"| {row.ratio:.1f}x ({row.bound:.1f}) | {ours.nodes:,} | {rate / 1e12:.0f} | {rate / peak:.0%} "
        f"| {ours.memory / 2**30:.1f} / {best.memory / 2**30:.1f} | {apart:.4f} "
        f"| {row.alone:.4f} | {lean:+.5f} "
        f"| {flips(row.mix, ours.values, best.values)} of {len(row.mix.documents)} | {ours.how} |"
    )


HEADER = (
    "| mix | tree s | building | HF s | building | HF over tree (bound) | nodes | TFLOP/s | of peak | GiB "
    "| apart | HF apart "
    "| mean apart | flips | compiling |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Every mix, a row each as soon as it is known."""
    from gate.scoring.readings import reader
    from gate.scoring.selftest import choose
    from gate.scoring.settings import CPU_PACK
    from gate.scoring.way import PACKS

    options = arguments()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    model, tokenizer = load(options)
    peak = matrix_peak(model.dtype)
    parameters = sum(p.numel() for p in model.parameters()) - model.get_input_embeddings().weight.numel()
    head = model.get_output_embeddings().weight
    parameters -= head.numel() if head is not model.get_input_embeddings().weight else 0
    print(
        f"{options.model or options.shape}, {model.dtype}, {parameters / 1e9:.2f} G in the layers; "
        f"large matrix product {peak / 1e12:.1f} TFLOP/s",
        flush=True,
    )
    engine, reason = choose(model, PACKS[0] if device() == "cuda" else CPU_PACK)
    if engine is None:
        raise SystemExit(f"the tree scorer is not exact here: {reason}")
    print(f"{engine.how}; {torch.get_num_threads()} threads", flush=True)
    print(HEADER, flush=True)
    tree = engine, reader(tokenizer, length(model))
    rows = []
    for name in options.only or KINDS:
        rows.append(compare(model, tokenizer, make_mix(name, options.share), tree, options))
        print(line(rows[-1], parameters, peak), flush=True)
    choice = [row.ratio for row in rows if row.mix.choice]
    mean = math.exp(math.fsum(map(math.log, choice)) / max(1, len(choice)))
    print(f"geometric mean over multiple choice: {mean:.2f}x", flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--model")
    parser.add_argument("--tokenizer")
    parser.add_argument("--only", choices=list(KINDS), nargs="*")
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--auto", action="store_true")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--dtype")
    return parser.parse_args()


if __name__ == "__main__":
    main()
