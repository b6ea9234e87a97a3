"""A task whose few-shot examples are drawn by another seed: the same documents, other prompts."""

from __future__ import annotations

from gate.records import TaskSpec


def asked(prepared):
    """Every prompt of a task, by document."""
    return [[request.context for request in each.requests] for each in prepared.leaves[0].documents]


def test_another_seed_draws_other_examples_for_the_same_documents(opened):
    """Hashes stay, so that both pair; prompts and the task's digest differ; the same seed is the same."""
    (task,) = opened(TaskSpec("general", "mini_arc", num_fewshot=2, metric="acc"))
    plain, other = task.build(None), task.with_examples(4321).build(None)
    assert [each.hash for each in plain.leaves[0].documents] == [
        each.hash for each in other.leaves[0].documents
    ]
    assert asked(plain) != asked(other)
    assert plain.info.digest != other.info.digest
    again = task.build(None)
    assert asked(again) == asked(plain)
    assert again.info.digest == plain.info.digest


def test_a_task_without_examples_has_no_other_ones(opened):
    """Neither a task that shows none, nor running text."""
    (task,) = opened("mini_adjunct")
    assert task.with_examples(4321) is None
