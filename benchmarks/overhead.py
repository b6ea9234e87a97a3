"""What ftgate costs beside the work itself, on the demo's LoRA config; prints one table.

    python benchmarks/overhead.py [WORK]

Every line is a whole process, one after the other, on the same data: `ftgate check` with nothing in its
store; `trl sft` with the same config; TRL's script without the launcher that `trl sft` starts it through
(torch is then imported once and not twice); and lm-eval's own `simple_evaluate` with its HF model, float32,
the same tasks, text and batch size, for base and tuned model in one process, reading no task but these. The
last lines are how long the commands take that need no model. Processor seconds, of a process and all that
it started, are what to compare on a machine that is busy with something else.
"""

# make bench: three minutes on two cores

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one or more processes: by the clock, and of processor time with all they started."""

    wall: float
    processor: float

    def __add__(self, other: Took) -> Took:
        return Took(self.wall + other.wall, self.processor + other.processor)


def run(
    command: Sequence[str], work: Path, environ: Mapping[str, str], allowed: Sequence[int] = (0,)
) -> Took:
    """A process from start to end. Raises RuntimeError with its last words if it failed."""
    before, began = processor_seconds(), time.perf_counter()
    done = subprocess.run(command, cwd=work, env=environ, capture_output=True, text=True, check=False)
    took = Took(time.perf_counter() - began, processor_seconds() - before)
    if done.returncode not in allowed:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return took


def processor_seconds() -> float:
    """Of all children that have ended, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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


def measure(work: Path) -> list[tuple[str, Took]]:
    """The lines of the table: what ran, and what it took."""
    environ = environment(work)
    check = [*FTGATE, "check", CONFIG, "--run-dir", RUN]
    trl = [str(Path(sys.executable).with_name("trl")), "sft", "--config", CONFIG]
    script = [sys.executable, "-m", "trl.scripts.sft", "--config", CONFIG]
    verdicts = (0, 1)
    gate = run(check, work, environ, verdicts)
    again = run(check, work, environ, verdicts)
    launched, plain = run(trl, work, environ), run(script, work, environ)
    scored = run([sys.executable, str(Path(__file__).absolute()), "--score"], work, environ)
    return [
        ("ftgate check, nothing stored", gate),
        ("trl sft", launched),
        ("TRL's script without its launcher", plain),
        ("lm-eval, base and tuned", scored),
        ("trl sft + lm-eval", launched + scored),
        ("TRL's script + lm-eval", plain + scored),
        ("ftgate check, everything stored", again),
        ("ftgate --help", run_median([*FTGATE, "--help"], work, environ)),
        ("ftgate judge", run_median([*FTGATE, "judge", RUN], work, environ, verdicts)),
    ]


def run_median(
    command: Sequence[str], work: Path, environ: Mapping[str, str], allowed: Sequence[int] = (0,)
) -> Took:
    """The run of median wall time, after one that warms the disk's cache."""
    times = [run(command, work, environ, allowed) for _ in range(REPEATS + 1)]
    return sorted(times[1:], key=lambda took: took.wall)[REPEATS // 2]


def table(rows: Sequence[tuple[str, Took]]) -> str:
    """Seconds, and `ftgate check` over each of the sums."""
    whole = rows[0][1]
    lines = ["| what | seconds | processor seconds | ftgate check over it |", "|---|---:|---:|---:|"]
    for name, took in rows:
        ratio = ""
        if " + " in name:
            by_clock, by_work = whole.wall / took.wall - 1, whole.processor / took.processor - 1
            ratio = f"{by_clock:+.0%} ({by_work:+.0%} of processor time)"
        lines.append(f"| {name} | {took.wall:.2f} | {took.processor:.2f} | {ratio} |")
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
