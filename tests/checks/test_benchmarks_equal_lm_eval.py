"""Prompts, requests, hashes, values and aggregates equal lm-eval's own `simple_evaluate`, to the document."""

import json
import math
import random

import lm_eval
import pytest
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from checks import ChatTemplate, block_result, open_tasks, pair
from gate.records import Policy, TaskSpec


def lm_eval_results(model, task, folder, **options):
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return lm_eval.simple_evaluate(
        model=model, tasks=[task], task_manager=manager, bootstrap_iters=0, log_samples=True, **options
    )


def measured(prepared, respond):
    """Each leaf's documents, answered and evaluated as one block."""
    blocks = {}
    for leaf in prepared.leaves:
        asked = [request for document in leaf.documents for request in document.requests]
        answers = iter(respond(asked))
        responses = [[next(answers) for _ in document.requests] for document in leaf.documents]
        blocks[leaf.name] = block_result(leaf, range(len(leaf.documents)), responses, 0.0)
    return blocks


def requests_of(samples):
    return [
        [
            tuple(json.dumps(a, sort_keys=True) if isinstance(a, dict) else a for a in args)
            for args in s["arguments"]
        ]
        for s in samples
    ]


def ours(document):
    return [
        tuple(
            part for part in (r.context, r.continuation or r.generation) if part or r.kind == "loglikelihood"
        )
        for r in document.requests
    ]


def assert_same(result, prepared, blocks):
    """Every leaf's samples and every metric of every filter are lm-eval's."""
    for leaf in prepared.leaves:
        block, samples = blocks[leaf.name], result["samples"][leaf.name]
        for name in {sample["filter"] for sample in samples}:
            mine = sorted((s for s in samples if s["filter"] == name), key=lambda s: s["doc_id"])
            assert [s["doc_hash"] for s in mine] == list(block.hashes)
            assert requests_of(mine) == [ours(document) for document in leaf.documents]
            for metric in mine[0]["metrics"]:
                key = f"{metric},{name}"
                if key in block.values:
                    assert [float(s[metric]) for s in mine] == list(block.values[key])
                else:
                    assert [json.dumps(s[metric]) for s in mine] == list(block.items[key])


@pytest.mark.parametrize(
    ("task", "shots", "metric"),
    [
        ("mini_arc", 2, "acc_norm"),
        ("mini_winogrande", None, None),
        ("mini_adjunct", None, None),
        ("mini_lambada", None, "perplexity"),
        ("mini_text", None, "bits_per_byte"),
    ],
)
def test_values_and_aggregates_equal_lm_eval(
    task, shots, metric, opened, base_model, respond, tasks_folder, monkeypatch
):
    """A multiple-choice task with examples, options as contexts, pairs, a corpus metric, and rolling text."""
    (open_task,) = opened(TaskSpec("general", task, num_fewshot=shots, metric=metric))
    prepared = open_task.build(None)
    blocks = measured(prepared, respond)
    monkeypatch.chdir(tasks_folder)
    result = lm_eval_results(base_model, task, tasks_folder, num_fewshot=shots)
    assert_same(result, prepared, blocks)
    leaf, info = prepared.leaves[0], prepared.info
    paired = pair(info, leaf, [blocks[task]], [blocks[task]])
    value = paired.corpus[0] if paired.corpus else math.fsum(paired.base) / len(paired.base)
    assert value == pytest.approx(result["results"][task][f"{info.metric},{info.filter}"], rel=1e-12)


def test_generation_with_two_filters_equals_lm_eval(opened, base_model, respond, tasks_folder, monkeypatch):
    """Generated text goes through both filters as in lm-eval."""
    (open_task,) = opened(TaskSpec("general", "mini_gsm8k", filter="flexible-extract"))
    prepared = open_task.build(None)
    blocks = measured(prepared, respond)
    monkeypatch.chdir(tasks_folder)
    assert_same(lm_eval_results(base_model, "mini_gsm8k", tasks_folder), prepared, blocks)
    assert set(blocks["mini_gsm8k"].values) == {"exact_match,strict-match", "exact_match,flexible-extract"}


@pytest.mark.parametrize("group", ["mini_syntax", "mini_macro"])
def test_group_is_weighted_as_lm_eval_aggregates_it(
    group, opened, base_model, respond, tasks_folder, monkeypatch
):
    """By size for one group, every task the same for the other."""
    (open_task,) = opened(group)
    prepared = open_task.build(None)
    blocks = measured(prepared, respond)
    monkeypatch.chdir(tasks_folder)
    result = lm_eval_results(base_model, group, tasks_folder)
    assert_same(result, prepared, blocks)
    means = {name: math.fsum(block.values["acc,none"]) / len(block.numbers) for name, block in blocks.items()}
    value = math.fsum(leaf.weight * means[leaf.name] for leaf in prepared.info.leaves)
    assert value == pytest.approx(result["groups"][group]["acc,none"], rel=1e-12)


class Chatting(LM):
    """A model for lm-eval that has a chat template and answers everything alike."""

    tokenizer_name = "t"

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        turns = "".join(f"<{m['role']}>{m['content']}</{m['role']}>" for m in chat_history)
        return turns + ("<assistant>" if add_generation_prompt else "")

    def loglikelihood(self, requests, disable_tqdm=False):
        return [(-1.0, False)] * len(requests)

    loglikelihood_rolling = generate_until = loglikelihood


def test_random_prompts_equal_lm_eval(tmp_path, monkeypatch):
    """Documents that a task's own Python shuffles with the global generator come out as in lm-eval."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(30)))
    (tmp_path / "shuffle.py").write_text(
        "import random, numpy, datasets\n"
        "def docs(rows):\n"
        "    made = [{'q': f\"{row['n']} {random.random()} {numpy.random.rand()}\"} for row in rows]\n"
        "    random.shuffle(made)\n"
        "    return datasets.Dataset.from_list(made)\n"
    )
    (tmp_path / "shuffled.yaml").write_text(
        "task: shuffled\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n"
        "output_type: multiple_choice\ntest_split: test\nprocess_docs: !function shuffle.docs\n"
        'doc_to_text: "{{q}}"\ndoc_to_target: 0\ndoc_to_choice: ["a", "b"]\n'
    )
    spec = TaskSpec("general", "shuffled", num_fewshot=3, metric="acc")
    before = random.getstate()
    (task,) = open_tasks((spec,), Policy((), (spec,), include=(str(tmp_path),)))
    prepared = task.build(None)
    assert random.getstate() == before
    result = lm_eval_results(Chatting(), "shuffled", tmp_path, num_fewshot=3)
    samples = [s for s in result["samples"]["shuffled"] if s["filter"] == "none"]
    assert requests_of(samples) == [ours(document) for document in prepared.leaves[0].documents]


def test_chat_prompts_equal_lm_eval(opened, tasks_folder, monkeypatch):
    """Chat template, system instruction and examples as turns give lm-eval's very prompts."""
    model = Chatting()
    spec = TaskSpec("general", "mini_arc", num_fewshot=2, metric="acc", system_instruction="Be brief.")
    (open_task,) = opened(spec)
    prepared = open_task.build(ChatTemplate("base", model.apply_chat_template, "t"))
    monkeypatch.chdir(tasks_folder)
    result = lm_eval_results(
        model,
        "mini_arc",
        tasks_folder,
        num_fewshot=2,
        system_instruction="Be brief.",
        apply_chat_template=True,
    )
    samples = [s for s in result["samples"]["mini_arc"] if s["filter"] == "none"]
    assert requests_of(samples) == [ours(document) for document in prepared.leaves[0].documents]
    assert prepared.info.chat_template == "base"
    assert "<system>Be brief.</system>" in samples[0]["arguments"][0][0]
