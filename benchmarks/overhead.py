"""What ftgate costs beside the work itself, on the demo's LoRA config; prints one table.

    python benchmarks/overhead.py [WORK]

Every line is a whole process, one after the other, on the same data: `ftgate check` with nothing in its
store; `trl sft` with the same config; TRL's script without the launcher that `trl sft` starts it through
(torch is then imported once and not twice); and lm-eval's own `simple_evaluate` with its HF model, float32,
the same tasks, text and batch size, for base and tuned model in one process, reading no task but these. The
last lines are how long the commands take that need no model.
"""

# make bench: three minutes on two cores

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gate.demo.run import lay_out
from gate.policy import load_policy

CONFIG, RUN, ADAPTER = "configs/lora.yaml", "runs/lora", "out/lora"
FTGATE = (sys.executable, "-P", "-m", "gate.cli")
REPEATS = 5
TEXT_TASK = """
task: text
dataset_path: json
dataset_kwargs: {data_files: {test: data/text.jsonl}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: text
metric_list: [{metric: bits_per_byte}]
"""


def environment(work: Path) -> dict[str, str]:
    """The same for every process: no hub, caches of their own."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    caches = {"FTGATE_CACHE": str(work / "cache"), "HF_DATASETS_CACHE": str(work / "datasets")}
    return {**os.environ, **offline, **caches}


def seconds(
    command: Sequence[str], work: Path, environ: Mapping[str, str], allowed: Sequence[int] = (0,)
) -> float:
    """Wall time of a process from start to end. Raises RuntimeError with its last words if it failed."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=work, env=environ, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode not in allowed:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return took


def score() -> None:
    """lm-eval's own scoring of base and tuned model in the current folder (run in a process of its own)."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    policy = load_policy(Path("thresholds.yaml"))
    Path("tasks/text.yaml").write_text(TEXT_TASK)
    names = [spec.task for spec in policy.tasks if spec.kind != "text"] + ["text"]
    manager = TaskManager(include_path="tasks", include_defaults=False)
    for adapter in (None, ADAPTER):
        model = HFLM(
            pretrained="base",
            peft=adapter,
            dtype="float32",
            softmax_dtype="float32",
            batch_size=policy.evaluation.batch_size,
            device="cpu",
        )
        simple_evaluate(model, tasks=names, task_manager=manager, bootstrap_iters=0)


def measure(work: Path) -> list[tuple[str, float]]:
    """The lines of the table: what ran, and its seconds."""
    environ = environment(work)
    check = [*FTGATE, "check", CONFIG, "--run-dir", RUN]
    trl = [str(Path(sys.executable).with_name("trl")), "sft", "--config", CONFIG]
    script = [sys.executable, "-m", "trl.scripts.sft", "--config", CONFIG]
    verdicts = (0, 1)
    gate = seconds(check, work, environ, verdicts)
    again = seconds(check, work, environ, verdicts)
    launched, plain = seconds(trl, work, environ), seconds(script, work, environ)
    scored = seconds([sys.executable, str(Path(__file__).absolute()), "--score"], work, environ)
    quick = {
        "ftgate --help": seconds_median([*FTGATE, "--help"], work, environ),
        "ftgate judge": seconds_median([*FTGATE, "judge", RUN], work, environ, verdicts),
    }
    return [
        ("ftgate check, nothing stored", gate),
        ("trl sft", launched),
        ("TRL's script without its launcher", plain),
        ("lm-eval, base and tuned", scored),
        ("trl sft + lm-eval", launched + scored),
        ("TRL's script + lm-eval", plain + scored),
        ("ftgate check, everything stored", again),
        *quick.items(),
    ]


def seconds_median(
    command: Sequence[str], work: Path, environ: Mapping[str, str], allowed: Sequence[int] = (0,)
) -> float:
    """The median of some runs, after one that warms the disk's cache."""
    times = [seconds(command, work, environ, allowed) for _ in range(REPEATS + 1)]
    return statistics.median(times[1:])


def table(rows: Sequence[tuple[str, float]]) -> str:
    """Seconds, and `ftgate check` over each of the sums."""
    whole = rows[0][1]
    lines = ["| what | seconds | ftgate check over it |", "|---|---:|---:|"]
    for name, took in rows:
        ratio = f"{whole / took:.2f} ({whole / took - 1:+.0%})" if " + " in name else ""
        lines.append(f"| {name} | {took:.2f} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    """Lay the demo out, run everything once, print the table."""
    if sys.argv[1:] == ["--score"]:
        return score()
    with tempfile.TemporaryDirectory() as fresh:
        work = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else Path(fresh, "demo")
        lay_out(work)
        print(table(measure(work)))


if __name__ == "__main__":
    main()
