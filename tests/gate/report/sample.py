"""Realistic results for the report's tests: twelve rules, a group, a limit, text, a failure."""

from __future__ import annotations

from dataclasses import replace

from gate.records import (
    ConfigRef,
    Cost,
    Finding,
    FindingOutcome,
    Flip,
    Interval,
    Leaf,
    ModelRef,
    Override,
    Place,
    Provenance,
    RunError,
    Slice,
    TaskInfo,
    Waiver,
)
from gate.verdict import Failure, Verdict

BASE = ModelRef(
    "HuggingFaceTB/SmolLM2-135M-Instruct", "/models/base", "sha256:" + "1f" * 32, revision="12fd25f"
)
TUNED = ModelRef("runs/full-3e-4", "/runs/full", "sha256:" + "a7" * 32)
OVERRIDES = (
    Override("push_to_hub", True, False, "a gate does not upload what it has not judged"),
    Override("report_to", "wandb", "none", "the log stays beside the run"),
    Override("logging_nan_inf_filter", True, False, "a loss that is not finite must be seen"),
    Override(
        "output_dir", "out/full", "ftgate-runs/full-1b2c/model", "the judged model is kept by its digest"
    ),
)
CONFIG = ConfigRef("configs/full.yaml", "sha256:" + "c0" * 32, "full", "trl", BASE.name, OVERRIDES)
COST = Cost(
    training_seconds=61.2,
    measuring_seconds=98.4,
    total_seconds=168.0,
    devices=1,
    peak_resident_bytes=5_812_000_000,
    peak_gpu_bytes=7_193_000_000,
    blocks_scored=97,
    blocks_from_store=96,
    trainable_parameters=134_515_008,
    total_parameters=134_515_008,
)
PROVENANCE = Provenance(
    ftgate="0.1.0",
    created="2026-11-03T14:02:11Z",
    policy_path="thresholds.yaml",
    policy_digest="sha256:" + "d4" * 32,
    device="NVIDIA H100 80GB HBM3",
    dtype="bfloat16",
    scorer="hf 1",
    quantization="none",
    batch_size=16,
    salt_digest="sha256:" + "5a" * 32,
    versions={
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "lm_eval": "0.4.13",
        "trl": "1.16.0",
        "peft": "0.21.2",
    },
    platform="Linux x86_64, Python 3.11.9",
    warnings=("chat template of the tuned model was applied to banking77, for both models",),
)


def finding(
    rule: str, base: float, tuned: float, margin: float | None, noise: float, **more: object
) -> Finding:
    """A consistent finding for `kind/task[/metric,filter]/bound`; its outcome follows from its numbers."""
    kind, task, *_, bound = rule.split("/")
    better = bool(more.pop("higher_is_better", kind != "text"))
    difference = tuned - base
    about = tuned if bound == "min_score" else difference
    gain = difference if better else -difference
    held = {
        "min_gain": lambda m: gain >= m,
        "min_score": lambda m: tuned >= m,
        "max_drop": lambda m: -gain <= m,
        "max_rise": lambda m: difference <= m,
    }
    outcome = "reported" if margin is None else "pass" if held[bound](margin) else "fail"
    total = more.pop("total", 1000)
    values: dict[str, object] = {
        "rule": rule,
        "kind": kind,
        "check": "bits_per_byte" if kind == "text" else "benchmarks",
        "task": task,
        "metric": "acc",
        "filter": "none",
        "unit": "accuracy",
        "bound": bound,
        "base": base,
        "tuned": tuned,
        "difference": difference,
        "interval": Interval(about - noise, about + noise, 0.95, "population", "tango"),
        "margin": margin,
        "outcome": outcome,
        "documents_scored": total,
        "documents_total": total,
        "higher_is_better": better,
        "place": Place("thresholds.yaml", 12),
    }
    return Finding(**(values | more))  # type: ignore[arg-type]


def counted(it: Finding, fell: int, rose: int) -> Finding:
    note = (
        "the drop is within noise; exact McNemar p = 0.21" if it.interval.low <= 0 <= it.interval.high else ""
    )
    return replace(it, fell=fell, rose=rose, unchanged=it.documents_scored - fell - rose, note=note)


def text_rule(tuned: float, margin: float | None = None) -> Finding:
    rule = "text/general/report" if margin is None else "text/general/max_rise"
    return finding(rule, 1.022, tuned, margin, 0.006, unit="bits per byte", metric="bits_per_byte", total=400)


def limited(it: Finding, scored: int) -> Finding:
    """The same finding on a part of its documents, with what remains uncertain about the rest."""
    point = it.difference
    remaining = Interval(point - 0.011, point + 0.011, 0.95, "benchmark", "hypergeometric")
    return replace(it, documents_scored=scored, remaining=remaining, unchanged=scored - it.fell - it.rose)


def findings(arc_easy: float = 0.4690, mean: float = -0.0124, text: float = 1.155) -> tuple[Finding, ...]:
    """Twelve rules of a policy with one target, seven general tasks, their mean, and text."""
    average = finding("average/general/max_drop", 0.4631, 0.4631 + mean, 0.02, 0.0049, total=9_530)
    return (
        counted(finding("target/banking77/min_gain", 0.1300, 0.2540, 0.05, 0.0146, total=3080), 131, 513),
        finding("target/banking77/min_score", 0.1300, 0.2540, 0.20, 0.0154, total=3080),
        counted(
            finding(
                "general/arc_easy/max_drop", 0.5000, arc_easy, 0.02, 0.0061, metric="acc_norm", total=2376
            ),
            142,
            68,
        ),
        counted(finding("general/arc_challenge/max_drop", 0.2400, 0.2329, 0.03, 0.0143, total=1172), 61, 53),
        counted(
            limited(finding("general/hellaswag/max_drop", 0.431, 0.4185, 0.02, 0.0152, total=10_042), 1000),
            41,
            29,
        ),
        counted(finding("general/piqa/max_drop", 0.6502, 0.6502, 0.02, 0.0118, total=1838), 55, 55),
        counted(finding("general/winogrande/max_drop", 0.5099, 0.5178, 0.02, 0.0201, total=1267), 70, 80),
        counted(finding("general/boolq/max_drop", 0.5401, 0.5321, 0.03, 0.0125, total=3270), 160, 134),
        counted(finding("general/mmlu_stem/max_drop", 0.2711, 0.2667, 0.02, 0.0092, total=3153), 97, 83),
        average,
        text_rule(text),
        finding(
            "general/lambada/perplexity,none/max_drop",
            14.2,
            15.9,
            3.0,
            0.62,
            metric="perplexity",
            unit="perplexity",
            higher_is_better=False,
            total=5153,
        ),
    )


def task(name: str, total: int, shots: int, reason: str, planned: int | None = None) -> TaskInfo:
    leaf = Leaf(name.partition("/")[2], total, total if planned is None else planned)
    template = "tuned" if name.startswith("target/") else "none"
    metric = "acc_norm" if reason == "shipped table" else "acc"
    return TaskInfo(name, "benchmarks", metric, "none", "accuracy", True, (leaf,), shots, template, reason)


TASKS = (
    task("target/banking77", 3080, 0, "named by the rule"),
    task("general/arc_easy", 2376, 0, "shipped table"),
    task("general/arc_challenge", 1172, 25, "named by the rule"),
    task("general/hellaswag", 10_042, 10, "named by the rule", planned=1000),
    replace(
        task("general/mmlu_stem", 3153, 5, "the one its group aggregates"),
        leaves=(Leaf("mmlu_abstract_algebra", 100, 100, 0.03), Leaf("mmlu_physics", 3053, 3053, 0.97)),
    ),
)


def flip(task: str, number: int, prompt: str, base: str, tuned: str, *, fell: bool = True) -> Flip:
    """A flipped document; whichever model is right gave the target."""
    leaf = task.partition("/")[2]
    return Flip(task, leaf, number, prompt, base if fell else tuned, base, tuned, fell)


FLIPS = (
    flip(
        "general/arc_easy",
        412,
        "Question: Which piece of safety equipment is used to keep mold spores from entering the "
        "respiratory system?\nAnswer:",
        "breathing mask",
        "safety goggles",
    ),
    flip(
        "general/arc_easy",
        37,
        "Question: Meiosis is a type of cell division in which germ cells divide to produce haploid "
        "cells. Where does meiosis occur?\nAnswer:",
        "ovary cells",
        "brain cells",
    ),
    flip(
        "general/arc_easy",
        1204,
        "Question: The unit of measurement for the distance between the Milky Way galaxy and other "
        "galaxies is the\nAnswer:",
        "light-year.",
        "kilometer.",
    ),
    flip(
        "general/hellaswag",
        77,
        "A man is standing on a ladder cleaning a window. He wipes the glass from the top down, then he",
        "moves the ladder to the next window.",
        "is shown on a roof pulling up shingles.",
    ),
    flip(
        "general/piqa",
        9,
        "Question: Make outdoor pillow.\nAnswer:",
        "Blow into trash bag and tie with rubber band.",
        "Blow into tin can and tie with rubber band.",
    ),
    flip("general/piqa", 10, "Question: ice box\nAnswer:", "add soda to it", "add water to it", fell=False),
    flip(
        "target/banking77",
        2201,
        "Text: My card has not arrived yet, it has been two weeks.\nIntent:",
        "card arrival",
        "card delivery estimate",
    ),
)


def verdict(*its: Finding, tuned: ModelRef = TUNED) -> Verdict:
    return Verdict(its or findings(), BASE, tuned, CONFIG, COST, PROVENANCE)


def blocked() -> Verdict:
    return verdict()


def passing() -> Verdict:
    return verdict(*findings(arc_easy=0.4958, mean=-0.0041, text=1.037))


def undecided() -> Verdict:
    its = [
        replace(it, outcome="undecided") if "arc_easy" in it.rule else it for it in findings(arc_easy=0.4958)
    ]
    return verdict(*its)


def failure() -> Failure:
    message = "CUDA out of memory.\nper_device_train_batch_size 16, accumulation 1"
    return Failure(
        RunError("out_of_memory", "train", message),
        cost=Cost(total_seconds=41.0, devices=1, peak_resident_bytes=3_100_000_000),
        base=BASE,
        config=CONFIG,
        provenance=PROVENANCE,
        hint="set per_device_train_batch_size: 8 and gradient_accumulation_steps: 2; the recipe stays",
    )


RESULTS = {"pass": passing, "fail": blocked, "undecided": undecided, "error": failure}


def dressed(word: str) -> Verdict:
    """The blocked verdict with `word` wherever text comes from a model, data, a config or a file name."""
    its = [
        replace(
            it,
            rule=f"{it.kind}/{word}{number}/{it.bound}",
            task=f"{word}{number}",
            metric=word,
            filter=word,
            unit=it.unit if number < 9 else word,
            note=word,
            place=Place(word, 3),
        )
        for number, it in enumerate(findings())
    ]
    its = [waived(it, word, 99.0) if it.kind == "general" and it.outcome == "pass" else it for it in its]
    its += [sliced(word, 4)]
    model = replace(TUNED, name=word, path=word, revision=word)
    config = replace(CONFIG, path=word, method=word, overrides=(Override(word, word, word, word),))
    provenance = replace(
        PROVENANCE, policy_path=word, device=word, platform=word, versions={"lib": word}, warnings=(word,)
    )
    return Verdict(tuple(its), replace(BASE, name=word), model, config, COST, provenance)


def sliced(word: str = "", count: int = 57) -> Finding:
    """A rule over so many slices, of which one lost 12 of 60, with `word` for whatever is data."""
    by, task = word or "subject", f"{word}s" if word else "mmlu"

    def part(name: str, lost: int, outcome: FindingOutcome, pooled: int = 0) -> Slice:
        low, high = -lost / 60 - 0.19, -lost / 60 + 0.16
        noise = Interval(low, high, 0.9982, "population", word or "Tango score", simultaneous=True)
        return Slice(name, 60, 0.7, 0.7 - lost / 60, -lost / 60, noise, lost, 0, outcome, pooled)

    slices = (
        part(f"{word}0" if word else "law", 12, "fail"),
        part(f"{word}1" if word else "other", 4, "pass", 3),
        *(part(f"{word}{k}" if word else f"subject {k}", 1, "pass") for k in range(2, count)),
    )
    worst = slices[0]
    rule = f"general/{task}/slices:{by}/max_drop"
    it = finding(rule, worst.base, worst.tuned, 0.1, 0.1, task=task, total=60)
    note = word or "12 of 60 lost, 0 won; 1 of 57 slices lost more than the limit and more than noise"
    return replace(
        counted(it, 12, 0), interval=worst.interval, sliced_by=by, slices=slices, outcome="fail", note=note,
        difference=worst.difference,
    )  # fmt: skip


def waived(it: Finding, reason: str, margin: float | None = 0.9) -> Finding:
    """The finding with a waiver that lets it pass, or (None) skips its rule."""
    waiver = Waiver(it.rule, margin, it.margin or 0.0, reason, "2027-03-01", Place("thresholds.yaml", 9))
    return replace(
        it, waiver=waiver, margin=waiver.shown_margin, outcome="reported" if margin is None else "pass"
    )


def dressed_flips(word: str) -> tuple[Flip, ...]:
    return tuple(Flip(f"general/{word}2", word, number, word, word, word, word, True) for number in range(4))


def dressed_tasks(word: str) -> tuple[TaskInfo, ...]:
    leaf = Leaf(word, 10, 5)
    return (TaskInfo(f"general/{word}2", word, word, word, "accuracy", True, (leaf,), 0, word, word),)


def dressed_failure(word: str) -> Failure:
    return replace(failure(), error=RunError(word, word, word), hint=word, provenance=dressed("x").provenance)
