"""Generation by rows beside transformers' own ways; prints one table.

    python -m benchmarks.generation [--shape small|1.5b|8b] [--prompts 192] [--tokens 128]
        [--batch-sizes 64 192] [--continuous] [--scale 1.0]

Random weights of a Llama of that shape. Prompts of 640 to 800 tokens (times `--scale`), of which the first
600 are shared, as few-shot prompts are. Peers: lm-eval's way, HF `generate` in batches padded on the left,
at each batch size that fits; with `--continuous` transformers' `generate_batch`, with CUDA graphs where there
is a GPU. *same* is how many texts equal those of `generate` at its first batch size; in bfloat16 near ties
part them.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import Any

import torch

from benchmarks.scoring import load, timed
from benchmarks.shapes import SHAPES
from gate.scoring.generating import Text
from gate.scoring.rowtest import choose_rows
from gate.scoring.stopping import Ask

Texts = list[list[int]]


def make_prompts(count: int, scale: float, words: int) -> Texts:
    """Token lists that share their beginning."""
    rng = random.Random(0)
    shared = [rng.randrange(5, words) for _ in range(round(600 * scale))]
    lengths = [round(rng.randint(40, 200) * scale) for _ in range(count)]
    return [shared + [rng.randrange(5, words) for _ in range(length)] for length in lengths]


def by_rows(generator: Any, prompts: Texts, tokens: int) -> Texts:
    """Ours."""
    texts = [Text(tuple(prompt), Ask(tokens, ())) for prompt in prompts]
    generator.generate(texts)
    return [text.made for text in texts]


def by_generate(model: Any, prompts: Texts, tokens: int, batch: int) -> Texts:
    """HF `generate`, longest prompts first, as lm-eval batches them."""
    order = sorted(range(len(prompts)), key=lambda n: -len(prompts[n]))
    made: Texts = [[] for _ in prompts]
    for begin in range(0, len(order), batch):
        some = order[begin : begin + batch]
        longest = max(len(prompts[n]) for n in some)
        ids = torch.tensor(
            [[0] * (longest - len(prompts[n])) + prompts[n] for n in some], device=model.device
        )
        mask = torch.tensor(
            [[0] * (longest - len(prompts[n])) + [1] * len(prompts[n]) for n in some], device=model.device
        )
        out = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
        )
        for n, row in zip(some, out.tolist(), strict=True):
            made[n] = row[longest:]
    return made


def by_generate_batch(model: Any, prompts: Texts, tokens: int) -> Texts:
    """transformers' continuous batching."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    make: Any = GenerationConfig
    config = make(max_new_tokens=tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)
    batching = ContinuousBatchingConfig(use_cuda_graph=torch.cuda.is_available())
    out = model.generate_batch(
        inputs=prompts, generation_config=config, continuous_batching_config=batching, progress_bar=False
    )
    return [
        out[key].generated_tokens for key in sorted(out, key=lambda key: int(str(key).rsplit("_", 1)[-1]))
    ]


def measure(name: str, work: Callable[[], Texts], first: Texts | None) -> tuple[float, Texts] | None:
    """A row of the table; None where it does not run here."""
    try:
        texts, seconds, memory = timed(work)
    except (Exception, torch.OutOfMemoryError) as error:
        print(
            f"| {name} | {type(error).__name__}: {(str(error).splitlines() or [''])[0][:80]} | | |",
            flush=True,
        )
        return None
    made = sum(map(len, texts))
    same = (
        "" if first is None else f"{sum(a == b for a, b in zip(texts, first, strict=False))} of {len(first)}"
    )
    gib = memory / 2**30
    print(f"| {name} | {seconds:.2f} | {made / seconds:,.0f} | {gib:.1f} | {same} |", flush=True)
    return seconds, texts


def main() -> None:
    """Every way, a row each as soon as it is known."""
    options = arguments()
    model, _ = load(options)
    words = 30_000 if model.config.vocab_size > 30_000 else model.config.vocab_size
    prompts = make_prompts(options.prompts, options.scale, words)
    model.generation_config.eos_token_id = None
    generator, reason = choose_rows(model, lambda tokens: "")
    print(f"{options.shape}, {model.dtype}, {len(prompts)} prompts, {options.tokens} new tokens {reason}")
    print("| way | seconds | tokens a second | GiB | same |\n|---|---|---|---|---|", flush=True)
    best = float("inf")
    first: Texts | None = None
    for batch in options.batch_sizes:
        by_generate(model, prompts[:batch], 4, batch)  # warm
        found = measure(
            f"HF generate, batch {batch}",
            partial(by_generate, model, prompts, options.tokens, batch),
            first,
        )
        if found:
            best, first = min(best, found[0]), first or found[1]
    if generator is not None:
        by_rows(generator, prompts[:8], 4)
        ours = measure("rows", lambda: by_rows(generator, prompts, options.tokens), first)
        if ours:
            print(f"rows over the best of HF generate: {best / ours[0]:.1f}x", flush=True)
    if options.continuous:
        measure("generate_batch", lambda: by_generate_batch(model, prompts, options.tokens), first)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--prompts", type=int, default=192)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[64, 192])
    parser.add_argument("--continuous", action="store_true", help="generate_batch too")
    parser.add_argument("--dtype")
    parser.set_defaults(model=None, tokenizer=str(files("gate.demo") / "base"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
