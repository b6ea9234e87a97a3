"""lm-eval's `hf` and `ftgate` on real weights and real benchmarks: the same numbers, and the time; one table.

    python -m benchmarks.equal WORK --model FOLDER --benchmarks FOLDER [--documents 500] [--dtype float32]

Both through `lm_eval.simple_evaluate`, in one process, one after the other. *differ* counts documents whose
own result (right or wrong; for GSM8K the text) is another; *apart* is the largest difference of a
log-likelihood. GSM8K is 5-shot, greedy, up to 256 new tokens. `--benchmarks` holds arc_easy, piqa,
winogrande, lambada_openai (see three_ways.py) and gsm8k (`context`, `chain_of_thought`, `answer`) as JSON
lines.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml

from benchmarks.shapes import device
from benchmarks.three_ways import GENERAL, task, tasks

Samples = dict[str, list[dict[str, Any]]]


def gsm8k(file: Path) -> dict[str, Any]:
    """lm-eval's gsm8k over a local file, its strict filter."""
    return task(
        "gsm8k",
        file,
        output_type="generate_until",
        fewshot_split="test",
        fewshot_config={"sampler": "first_n"},
        doc_to_text="Question: {{context}}\nAnswer:",
        doc_to_target="{{chain_of_thought}}\n#### {{answer}}",
    ) | {
        "num_fewshot": 5,
        "generation_kwargs": {"until": ["Question:", "</s>"], "do_sample": False, "temperature": 0.0},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {"name": "strict-match", "filter": [
                {"function": "regex", "regex_pattern": r"#### (\-?[0-9\.\,]+)"}, {"function": "take_first"}]}
        ],
    }  # fmt: skip


def evaluate(kind: str, name: str, options: Any) -> tuple[dict[str, float], list[Any], float]:
    """Metrics, samples in their documents' order, and seconds of one task by one model class."""
    from lm_eval import simple_evaluate
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    if kind not in options.models:
        make: Any = get_model(kind)
        options.models[kind] = make(
            pretrained=str(options.model),
            dtype=options.dtype,
            softmax_dtype="float32",
            batch_size=options.batch_size,
            device=device(),
        )
    manager = TaskManager(include_path="tasks", include_defaults=False)
    began = time.perf_counter()
    limit = min(options.documents, options.texts) if name == "gsm8k" else options.documents
    found: Any = simple_evaluate(
        options.models[kind],
        tasks=[name],
        task_manager=manager,
        bootstrap_iters=0,
        limit=limit,
        log_samples=True,
    )
    seconds = time.perf_counter() - began
    numbers = {
        key: value
        for key, value in found["results"][name].items()
        if isinstance(value, float) and "stderr" not in key
    }
    return numbers, sorted(found["samples"][name], key=lambda sample: sample["doc_id"]), seconds


def compare(name: str, options: Any) -> str:
    """One row."""
    theirs, own_samples, slow = evaluate("hf", name, options)
    ours, samples, fast = evaluate("ftgate", name, options)
    differ, apart = 0, 0.0
    for one, other in zip(own_samples, samples, strict=True):
        if name == "gsm8k":
            differ += one["resps"] != other["resps"]
            continue
        differ += one["acc"] != other["acc"]
        for (a, *_), (b, *_) in zip(one["filtered_resps"], other["filtered_resps"], strict=True):
            apart = max(apart, abs(float(a) - float(b)))
    metric = next(key for key in theirs if key.startswith(("acc,", "exact_match,")))
    return (
        f"| {name} | {len(samples)} | {theirs[metric]:.4f} | {ours[metric]:.4f} | {differ} | {apart:.1e} "
        f"| {slow:.1f} | {fast:.1f} | {slow / fast:.1f}x |"
    )


def main() -> None:
    """A row a task, as soon as it is known."""
    import gate.scoring  # noqa: F401  (registers `ftgate`)

    options = arguments()
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    options.work.mkdir(parents=True, exist_ok=True)
    options.models = {}
    with chdir(options.work):
        Path("tasks").mkdir(exist_ok=True)
        each: list[Any] = [t for t in tasks(options.benchmarks, ["a"]) if t["task"] in GENERAL]
        for found in (*each, gsm8k(options.benchmarks / "gsm8k.jsonl")):
            Path(f"tasks/{found['task']}.yaml").write_text(yaml.safe_dump(found, sort_keys=False))
        print(f"{options.model.name}, {options.dtype}, {device()}, HF in batches of {options.batch_size}\n")
        print("| task | documents | hf | ftgate | differ | apart | hf s | ftgate s | |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for name in options.only or (*GENERAL, "gsm8k"):
            print(compare(name, options), flush=True)


def arguments() -> argparse.Namespace:
    """The command line, with absolute paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    absolute = lambda text: Path(text).absolute()  # noqa: E731
    parser.add_argument("work", type=absolute)
    for name in ("--model", "--benchmarks"):
        parser.add_argument(name, type=absolute, required=True)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--texts", type=int, default=200, help="documents of GSM8K")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--only", nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    main()
