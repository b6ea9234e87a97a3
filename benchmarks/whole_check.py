"""A whole `ftgate check --tuned` beside two runs of lm-eval over the same documents; prints one table.

    python -m benchmarks.whole_check WORK --benchmarks FOLDER --tokenizer FOLDER [--shape 8b]
    python -m benchmarks.whole_check WORK --benchmarks FOLDER --model FOLDER

Every line is a whole process from start to end, loading and request building included. Base and tuned model
are random weights of a Llama of that shape, or `--model` and a copy of it with a little noise. lm-eval runs
its HF model in the same dtype, log-softmax in float32, at each of `--batch-sizes`; its best pair counts.
The base's answers are stored by the first check, and the second one is of another tuned model.
`--benchmarks` holds arc_easy, piqa, winogrande and lambada_openai as JSON lines (see three_ways.py).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.shapes import SHAPES, device, random_llama
from benchmarks.three_ways import GENERAL, tasks

SHOTS = {"arc_easy": 10, "piqa": 0, "winogrande": 5, "lambada": 0}
FTGATE = (sys.executable, "-P", "-m", "gate.cli")


def make_random(folder: Path, shape: str, tokenizer: Path, seed: int) -> None:
    """A Llama of that shape with random weights in bfloat16, saved as safetensors."""
    import torch
    from transformers import AutoTokenizer

    words: Any = AutoTokenizer.from_pretrained(tokenizer)
    ends = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    random_llama(shape, torch.bfloat16, seed, **ends).save_pretrained(folder)
    words.save_pretrained(folder)


def make_models(work: Path, options: argparse.Namespace) -> None:
    """`base`, `tuned`, and `other`: the tuned model under another digest, its weights linked."""
    if options.model:
        from gate.scoring.noise import copy_with_noise

        shutil.copytree(options.model, work / "base")
        (work / "tuned").mkdir()
        copy_with_noise(work / "base", work / "tuned", 0.02)
    else:
        make_random(work / "base", options.shape, options.tokenizer, 0)
        make_random(work / "tuned", options.shape, options.tokenizer, 1)
    shutil.copytree(work / "tuned", work / "other", copy_function=os.link)
    config = json.loads((work / "tuned" / "config.json").read_text())
    (work / "other" / "config.json").unlink()
    (work / "other" / "config.json").write_text(json.dumps({**config, "_other": True}))


def lay_out(work: Path, options: argparse.Namespace) -> None:
    """Tasks, policy and config into the folder to work in."""
    (work / "tasks").mkdir(parents=True)
    general = [each for each in tasks(options.benchmarks, ["a"]) if each["task"] in GENERAL]
    for each in general:
        shots = SHOTS[str(each["task"])]
        few = {"fewshot_split": "test", "fewshot_config": {"sampler": "first_n"}} if shots else {}
        found = {**each, **few, "num_fewshot": shots}
        (work / f"tasks/{each['task']}.yaml").write_text(yaml.safe_dump(found, sort_keys=False))
    policy = {
        "version": 1,
        "decide": options.decide,
        "include": ["tasks/"],
        "general": {
            "defaults": {"max_drop": 0.03, "limit": options.documents},
            "tasks": [{"task": name, "num_fewshot": SHOTS[name]} for name in GENERAL],
        },
        "evaluation": {"chat_template": "none", "batch_size": options.batch_sizes[0]},
    }
    (work / "thresholds.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
    data = work / "data"
    data.mkdir()
    (data / "train.jsonl").write_text(json.dumps({"prompt": "a", "completion": " b"}) + "\n")
    config = {"model_name_or_path": "base", "dataset_name": "data", "output_dir": "out", "max_steps": 1}
    (work / "config.yaml").write_text(yaml.safe_dump(config))


def timed(command: Sequence[str], work: Path, allowed: Sequence[int] = (0,)) -> float:
    """Seconds of a whole process. Raises RuntimeError with its last words if it failed."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "FTGATE_CACHE": str(work / "cache")}
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=work, env={**os.environ, **offline}, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode not in allowed:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return took


def score(folder: str, batch_size: str, limit: int) -> None:
    """lm-eval over the tasks in the current folder (in a process of its own)."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(
        pretrained=folder,
        dtype="auto",
        softmax_dtype="float32",
        batch_size=int(batch_size),
        device=device(),
    )
    manager = TaskManager(include_path="tasks", include_defaults=False)
    simple_evaluate(model, tasks=list(GENERAL), task_manager=manager, bootstrap_iters=0, limit=limit)


def check(work: Path, tuned: str) -> float:
    """One `ftgate check --tuned`, whatever it decides."""
    command = [*FTGATE, "check", "config.yaml", "--tuned", tuned, "--run-dir", f"runs/{tuned}"]
    return timed(command, work, (0, 1, 4))


def peers(work: Path, options: argparse.Namespace) -> list[tuple[str, float]]:
    """Two runs of lm-eval, at each batch size that fits."""
    found = []
    for size in options.batch_sizes:
        again = [sys.executable, "-m", "benchmarks.whole_check", "--score"]
        try:
            took = sum(
                timed([*again, each, str(size), str(options.documents)], work) for each in ("base", "tuned")
            )
        except RuntimeError as error:
            print(f"lm-eval at batch {size}: {str(error)[-200:]}", flush=True)
            continue
        found.append((f"lm-eval, base and tuned, batch {size}", took))
        print(f"{found[-1][0]}: {took:.1f} s", flush=True)
    return found


def main() -> None:
    """Make the models, run everything once, print the table."""
    if sys.argv[1:2] == ["--score"]:
        return score(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    make_models(options.work, options)
    lay_out(options.work, options)
    rows = [("ftgate check --tuned, nothing stored", check(options.work, "tuned"))]
    print(f"{rows[-1][0]}: {rows[-1][1]:.1f} s", flush=True)
    rows.append(("ftgate check --tuned, base stored", check(options.work, "other")))
    print(f"{rows[-1][0]}: {rows[-1][1]:.1f} s", flush=True)
    others = peers(options.work, options)
    best = min((took for _, took in others), default=float("nan"))
    print("\n| what | seconds | lm-eval's best pair over it |\n|---|---:|---:|")
    for name, took in [*rows, *others]:
        print(f"| {name} | {took:.1f} | {best / took:.1f} |")


def arguments() -> argparse.Namespace:
    """The command line, with absolute paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    absolute = lambda text: Path(text).absolute()  # noqa: E731
    parser.add_argument("work", type=absolute)
    parser.add_argument("--benchmarks", type=absolute, required=True)
    parser.add_argument("--tokenizer", type=absolute)
    parser.add_argument("--model", type=absolute)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="8b")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--decide", choices=("full", "score"), default="full")
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[32, 128])
    return parser.parse_args()


if __name__ == "__main__":
    main()
