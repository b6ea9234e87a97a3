"""Full, LoRA and QLoRA of one model on Banking77, checked by ftgate itself; prints one table.

    python benchmarks/three_ways.py WORK --base SmolLM2 --banking FOLDER --benchmarks FOLDER --text FILE

WORK is the folder to work in: it gets the tasks, the policy, the TRL configs and the runs. `--banking`
holds banking_train.jsonl and banking_test.jsonl (`text`, `category`); `--benchmarks` holds arc_easy, piqa
(`query`, `choices`, `gold`), winogrande (`context_options`, `continuation`, `gold`) and lambada_openai
(`context`, `continuation`) as JSON lines; `--text` has documents of general English (`text`).
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import chdir
from pathlib import Path

import yaml

from gate.pipeline import CheckOptions, check_config
from gate.report import comparison_row, comparison_sentence, comparison_table
from gate.shell import Shell

GENERAL = ("arc_easy", "piqa", "winogrande", "lambada")

METHODS: dict[str, dict[str, object]] = {
    "full-5e-5": {"learning_rate": 5e-5},
    "lora": {"learning_rate": 2e-4, "use_peft": True, "lora_r": 16, "lora_alpha": 32},
    "qlora": {"learning_rate": 2e-4, "use_peft": True, "lora_r": 16, "lora_alpha": 32, "load_in_4bit": True},
    "full-3e-4": {"learning_rate": 3e-4},
}
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def recipe(base: Path, method: dict[str, object]) -> dict[str, object]:
    """One epoch at batch 32, the same data in the same order, as a TRL `sft` config."""
    adapter = {"lora_target_modules": ALL_LINEAR} if method.get("use_peft") else {}
    return {
        "model_name_or_path": str(base),
        "dataset_name": "train",
        "num_train_epochs": 1,
        "per_device_train_batch_size": 32,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 10,
        "max_length": 256,
        "gradient_checkpointing": False,
        "logging_steps": 10,
        "save_strategy": "no",
        "report_to": "none",
        "seed": 1,
        "output_dir": "out",
        **method,
        **adapter,
    }


def task(name: str, file: Path, **rest: object) -> dict[str, object]:
    """An lm-eval task over a local file, zero-shot, judged by accuracy."""
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test",
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
        **rest,
    }


def tasks(benchmarks: Path, intents: list[str]) -> list[dict[str, object]]:
    """The target and the four general tasks, each in lm-eval's own form."""
    options = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "gold"}
    question = {"doc_to_text": "{{query}}\nAnswer:", "target_delimiter": " ", **options}
    return [
        task(
            "banking77",
            Path("banking_test.jsonl").absolute(),
            output_type="multiple_choice",
            doc_to_text="Customer: {{text}}\nIntent:",
            doc_to_choice=intents,
            doc_to_target="intent",
        ),
        task("arc_easy", benchmarks / "arc_easy.jsonl", **question),
        task("piqa", benchmarks / "piqa.jsonl", **question),
        task(
            "winogrande",
            benchmarks / "winogrande.jsonl",
            output_type="multiple_choice",
            doc_to_text="gold",
            doc_to_choice="context_options",
            doc_to_target="continuation",
        ),
        task(
            "lambada",
            benchmarks / "lambada_openai.jsonl",
            output_type="loglikelihood",
            doc_to_text="context",
            doc_to_target="{{' ' + continuation}}",
        ),
    ]


def policy(text: Path, limit: int | None, batch_size: int, quantization: str) -> dict[str, object]:
    """One policy for all: gain 30 points, lose at most 3 points a task and 1 on average."""
    return {
        "version": 1,
        "decide": "full",
        "include": ["tasks/"],
        "target": [{"task": "banking77", "min_gain": 0.30, **({"limit": limit} if limit else {})}],
        "general": {"defaults": {"max_drop": 0.03}, "tasks": list(GENERAL), "average": {"max_drop": 0.01}},
        "text": [{"corpus": str(text), "report": True}],
        "evaluation": {"chat_template": "none", "batch_size": batch_size, "quantization": quantization},
    }


def lay_out(work: Path, options: argparse.Namespace) -> None:
    """Write data, tasks, policy and configs into the current folder."""
    rows = [json.loads(line) for line in (options.banking / "banking_train.jsonl").read_text().splitlines()]
    test = [json.loads(line) for line in (options.banking / "banking_test.jsonl").read_text().splitlines()]
    for folder in ("train", "tasks", "configs"):
        Path(folder).mkdir(exist_ok=True)
    pairs = [{"prompt": f"Customer: {row['text']}\nIntent:", "completion": f" {intent(row)}"} for row in rows]
    write_lines(Path("train/train.jsonl"), pairs)
    write_lines(Path("banking_test.jsonl"), [{"text": row["text"], "intent": intent(row)} for row in test])
    for each in tasks(options.benchmarks, sorted({intent(row) for row in rows})):
        Path(f"tasks/{each['task']}.yaml").write_text(yaml.safe_dump(each, sort_keys=False))
    rules = policy(options.text, options.limit, options.batch_size, options.quantization)
    Path("thresholds.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))
    for name, method in METHODS.items():
        config = recipe(options.base, method)
        if options.cpu:
            config |= {"use_cpu": True, "bf16": False}
        Path(f"configs/{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def intent(row: dict[str, str]) -> str:
    """A category as words."""
    return row["category"].replace("_", " ")


def write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def arguments() -> argparse.Namespace:
    """The command line, with absolute paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    absolute = lambda text: Path(text).absolute()  # noqa: E731
    parser.add_argument("work", type=absolute)
    for name in ("--base", "--banking", "--benchmarks", "--text"):
        parser.add_argument(name, type=absolute, required=True)
    parser.add_argument("--limit", type=int, help="target documents, drawn at random; all by default")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--quantization", choices=("none", "match_training"), default="none")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--only", choices=sorted(METHODS), nargs="*", default=list(METHODS))
    return parser.parse_args()


def main() -> None:
    """Check every method and print the comparison."""
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("FTGATE_CACHE", str(options.work / "cache"))
    shell = Shell.of_process()
    with chdir(options.work):
        lay_out(options.work, options)
        rows = []
        for name in options.only:
            config, policy_file = Path(f"configs/{name}.yaml"), Path("thresholds.yaml")
            asked = CheckOptions(config, policy_file, run_dir=Path("runs", f"{name}-{options.quantization}"))
            rows.append(comparison_row(name, check_config(asked, shell)))
    print(comparison_table(rows, "markdown"))
    print(comparison_sentence(rows))


if __name__ == "__main__":
    main()
