"""Tasks are found with their data and metric before anything is trained; every problem at once."""

import json
import textwrap
import time

import pytest

from checks import open_tasks
from checks.benchmark_tasks import TaskNames, own_index
from gate.errors import ConfigErrors, DataError
from gate.records import Place, Policy, TaskSpec

CHOICES = """
    task: {name}
    dataset_path: json
    dataset_kwargs: {{data_files: {{test: {data}}}}}
    output_type: multiple_choice
    test_split: test
    doc_to_text: ""
    doc_to_target: 0
    doc_to_choice: ["yes", "no"]
    num_fewshot: 0
"""
GENERATE = """
    task: {name}
    dataset_path: json
    dataset_kwargs: {{data_files: {{test: rows.jsonl}}}}
    output_type: generate_until
    test_split: test
    doc_to_text: "{{{{n}}}}"
    doc_to_target: "{{{{n}}}}"
    generation_kwargs: {{until: ["."]}}
    num_fewshot: 0
    metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


@pytest.fixture
def evals(tmp_path):
    """A team's own folder of tasks, with three rows of data; `add` writes a task or its Python."""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"n": str(n)}) + "\n" for n in (1, 2, 2)))

    def add(name, text, **values):
        values = {"name": name.partition(".")[0], "data": "rows.jsonl"} | values
        (tmp_path / name).write_text(
            textwrap.dedent(text.format(**values) if name.endswith("yaml") else text)
        )

    add.folder = tmp_path
    return add


def open_one(evals, task, **spec):
    spec = TaskSpec("general", task, **spec)
    return open_tasks((spec,), Policy((), (spec,), include=(str(evals.folder),)))[0]


def problem(evals, task, **spec):
    with pytest.raises(ConfigErrors) as caught:
        open_one(evals, task, **spec)
    (only,) = caught.value.problems
    return f"{only.message} ({only.hint})"


def test_every_problem_at_once_with_its_line(opened):
    """One bad metric, one bad filter, one missing file, one missing corpus: four problems, four lines."""
    with pytest.raises(ConfigErrors) as caught:
        opened(
            TaskSpec("general", "mini_arc", metric="acc_nrom", place=Place("t.yaml", 4)),
            TaskSpec("general", "mini_gsm8k", filter="loose", place=Place("t.yaml", 5)),
            TaskSpec("target", "x", path="nowhere/x.yaml", place=Place("t.yaml", 6)),
            "mini_adjunct",
            TaskSpec("text", "c", path="nowhere/c.jsonl", place=Place("t.yaml", 7)),
        )
    problems = caught.value.problems
    assert [(p.file, p.line) for p in problems] == [("t.yaml", line) for line in (4, 5, 6, 7)]
    assert "did you mean 'acc_norm'?" in problems[0].message
    assert "acc, acc_norm" in problems[0].message
    assert "strict-match, flexible-extract" in problems[1].message


def test_ambiguous_metric_is_an_error_that_lists_them(opened):
    """Two metrics and nothing that says which."""
    with pytest.raises(ConfigErrors, match="acc,none, acc_norm,none"):
        opened("mini_arc")


def test_metric_reasons(opened):
    """What the rule says, and else the only one; the unit follows the metric."""
    ruled, only, corpus = opened(
        TaskSpec("general", "mini_arc", metric="acc"),
        "mini_adjunct",
        TaskSpec("general", "mini_lambada", metric="perplexity"),
    )
    assert ruled.info.metric_reason == "named by the rule"
    assert (only.info.metric_reason, only.info.unit, only.info.higher_is_better) == (
        "the only one",
        "accuracy",
        True,
    )
    assert (corpus.info.unit, corpus.info.higher_is_better) == ("perplexity", False)


def test_group_and_tag_have_leaves_with_weights(opened):
    """By documents, equally, and equally where lm-eval aggregates nothing."""
    by_size, macro, tag = opened("mini_syntax", "mini_macro", "mini_pairs")
    assert [(leaf.name, leaf.documents_total) for leaf in by_size.info.leaves] == [
        ("mini_adjunct", 30),
        ("mini_irregular", 10),
    ]
    assert [leaf.weight for leaf in by_size.info.leaves] == [0.75, 0.25]
    assert [leaf.weight for leaf in macro.info.leaves] == [0.5, 0.5]
    assert [leaf.weight for leaf in tag.info.leaves] == [0.5, 0.5]


def test_limit_plans_fewer_documents_and_builds_all(opened):
    """The limit is spread over a group's tasks, and prompts are built for every document still."""
    (task,) = opened(TaskSpec("general", "mini_syntax", limit=8))
    assert sum(leaf.documents_planned for leaf in task.info.leaves) == 8
    assert [len(leaf.documents) for leaf in task.build(None).leaves] == [30, 10]


def test_path_of_a_task_file_needs_no_index(tasks_folder):
    """A task by its path is found with its data beside it, and lm-eval's own tasks stay unread."""
    spec = TaskSpec("target", "mini_adjunct", path=str(tasks_folder / "mini_adjunct.yaml"))
    started = time.monotonic()
    (task,) = open_tasks((spec,), Policy((), (spec,)))
    assert task.info.documents_total == 30
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: [broken\n", "YAML is broken"),
        (CHOICES.replace("{data}", "absent.jsonl"), "data cannot be found"),
        (CHOICES.replace("{data}", "empty.jsonl"), "empty"),
        (CHOICES.replace("test_split: test", "test_split: dev"), "cannot be loaded"),
        (CHOICES.replace('["yes", "no"]', "!function absent.choices"), "not installed"),
        (GENERATE.replace('until: ["."]', 'until: ["."], do_sample: true'), "samples its answers"),
        (CHOICES.replace("multiple_choice", "multiple_guess"), "cannot be loaded"),
    ],
)
def test_what_is_wrong_with_a_task_is_named(evals, text, said):
    """Broken YAML, missing and empty data, missing split and code, sampling, a wrong type."""
    evals("bad.yaml", text)
    (evals.folder / "empty.jsonl").write_text("")
    assert said in problem(evals, "bad", path=str(evals.folder / "bad.yaml"))


def test_num_fewshot_that_lm_eval_would_ignore(evals):
    """A task fixed at 0 examples, and one with too few rows to draw from."""
    evals("fixed.yaml", CHOICES)
    assert "without examples" in problem(evals, "fixed", num_fewshot=5)
    evals("free.yaml", CHOICES.replace("num_fewshot: 0", ""))
    assert "fewer than num_fewshot 9" in problem(evals, "free", num_fewshot=9, metric="acc")
    assert open_one(evals, "free", num_fewshot=2, metric="acc").info.num_fewshot == 2


def test_filter_over_several_documents_is_refused(evals):
    """A filter that ranks answers among documents cannot be applied block by block; one that does not may."""
    evals("across.py", "def rank(resps, docs):\n    return [[len(resps)] for _ in resps]\n")
    evals("alone.py", "def strip(resps, docs):\n    return [[one.strip() for one in r] for r in resps]\n")
    parts = "{{function: custom, filter_fn: !function %s}}, {{function: take_first}}"
    filters = f"\n    filter_list: [{{{{name: f, filter: [{parts}]}}}}]\n"
    evals("across_.yaml", GENERATE + filters % "across.rank")
    evals("alone_.yaml", GENERATE + filters % "alone.strip")
    assert "several documents at once" in problem(evals, "across_")
    assert open_one(evals, "alone_").info.filter == "f"


def test_fewer_documents_than_the_task_has_is_an_error(evals):
    """A task whose documents shrink between opening and building."""
    evals(
        "calls.py",
        "CALLS = []\ndef fewer(rows):\n    CALLS.append(1)\n"
        "    return rows.select(range(3 if len(CALLS) < 3 else 2))\n",
    )
    evals("shrinking.yaml", CHOICES + "    process_docs: !function calls.fewer\n")
    with pytest.raises(DataError, match="2 of its 3 documents"):
        open_one(evals, "shrinking", metric="acc").build(None)


def test_duplicate_documents_keep_their_number(evals):
    """Equal rows have one hash and two numbers."""
    evals("twice.yaml", GENERATE)
    documents = open_one(evals, "twice").build(None).leaves[0].documents
    assert [document.number for document in documents] == [0, 1, 2]
    assert documents[1].hash == documents[2].hash != documents[0].hash


def test_repeats_are_asked_and_filtered_as_one_document(evals):
    """Three answers a document, by majority."""
    evals(
        "vote.yaml",
        GENERATE
        + """
    repeats: 3
    filter_list: [{{name: maj, filter: [{{function: majority_vote}}, {{function: take_first}}]}}]
    """,
    )
    from gate.records import Response

    leaf = open_one(evals, "vote").build(None).leaves[0]
    assert len(leaf.documents[0].requests) == 3
    assert leaf.evaluate(0, [Response(text=t) for t in ("1", "7", "1")]).values == {"exact_match,maj": 1.0}
    assert leaf.evaluate(0, [Response(text=t) for t in ("1", "7", "7")]).values == {"exact_match,maj": 0.0}


@pytest.mark.parametrize("change", ["data", "yaml", "code", "lookup", "shots", "system", "metric"])
def test_digest_covers_what_changes_the_answer(evals, change):
    """Data, YAML, code and what it may read beside it, examples, system instruction, metric; nothing else."""
    evals("scores.py", "def right(doc, results):\n    return {'acc': 1.0, 'em': 0.0}\n")
    text = CHOICES.replace("num_fewshot: 0", "process_results: !function scores.right") + (
        "    metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true},"
        " {{metric: em, aggregation: mean, higher_is_better: true}}]\n".replace("true},", "true}},")
    )
    evals("mine.yaml", text)
    lookup = evals.folder / "tables" / "lookup.json"
    lookup.parent.mkdir()
    lookup.write_text('{"yes": 1}')
    spec = {"metric": "acc"}
    before = open_one(evals, "mine", **spec).build(None).info.digest
    for other in (
        "__pycache__/scores.pyc",
        ".git/HEAD",
        "runs/a/policy.resolved.json",
        "runs/a/verdict.json",
    ):
        (evals.folder / other).parent.mkdir(parents=True, exist_ok=True)
        (evals.folder / other).write_text("of no account")
    assert open_one(evals, "mine", **spec).build(None).info.digest == before
    if change == "data":
        (evals.folder / "rows.jsonl").write_text('{"n": "1"}\n{"n": "2"}\n{"n": "4"}\n')
    elif change == "yaml":
        evals("mine.yaml", text.replace('"no"]', '"nay"]'))
    elif change == "code":
        evals("scores.py", "def right(doc, results):\n    return {'acc': 0.5, 'em': 0.0}\n")
    elif change == "lookup":
        lookup.write_text('{"yes": 2}')
    elif change == "shots":
        spec["num_fewshot"] = 1
    elif change == "system":
        spec["system_instruction"] = "Be brief."
    else:
        spec["metric"] = "em"
    assert open_one(evals, "mine", **spec).build(None).info.digest != before


def test_own_index_is_kept_by_version_and_made_again_when_broken(tmp_path):
    """Read back it is what was written; a name is found in it; an unknown one gets its neighbours."""
    import lm_eval.tasks
    from lm_eval.tasks._index import Entry, Kind

    from checks.benchmark_tasks import OWN_TASKS, _read_index, _write_index

    file = tmp_path / f"lm-eval-{lm_eval.__version__}-tasks.json"
    entries = {
        "piqa": Entry("piqa", Kind.TASK, OWN_TASKS / "piqa" / "piqa.yaml", None, {"multiple_choice"}),
        "multiple_choice": Entry("multiple_choice", Kind.TAG, None, None, {"piqa"}),
    }
    _write_index(file, entries)
    assert own_index(tmp_path) == entries
    names = TaskNames(tmp_path)
    assert "piqa" in names
    assert names["piqa"].yaml_path.is_file()
    assert names.nearest("piqqa") == ["piqa"]
    file.write_text("{")
    assert _read_index(file) is None


def test_unknown_task_is_named_with_its_neighbours(evals, tmp_path):
    """The nearest names, and the file of the folder that could not be read."""
    import lm_eval
    from lm_eval.tasks._index import Entry, Kind

    from checks.benchmark_tasks import OWN_TASKS, _write_index

    evals("broken.yaml", "task: [")
    index = tmp_path / "index"
    entry = Entry("hellaswag", Kind.TASK, OWN_TASKS / "hellaswag" / "hellaswag.yaml", None, set())
    _write_index(index / f"lm-eval-{lm_eval.__version__}-tasks.json", {"hellaswag": entry})
    spec = TaskSpec("general", "helaswag")
    with pytest.raises(ConfigErrors) as caught:
        open_tasks((spec,), Policy((), (spec,), include=(str(evals.folder),)), index_folder=index)
    assert "did you mean hellaswag?" in caught.value.problems[0].hint
    assert "broken.yaml could not be read" in caught.value.problems[0].hint


def test_documents_carry_the_field_that_says_which_belong_together(evals):
    """Equal values, equal clusters; the requests and what the store calls them stay the same."""
    evals("asked.yaml", GENERATE)
    plain, clustered = (open_one(evals, "asked", **spec).build(None) for spec in ({}, {"cluster_by": "n"}))
    one, two, again = (document.cluster for document in clustered.leaves[0].documents)
    assert one != two == again
    assert [document.cluster for document in plain.leaves[0].documents] == [None] * 3
    assert clustered.leaves[0].digest == plain.leaves[0].digest


def test_clusters_are_counted_when_a_task_is_opened(evals):
    """By their sizes, of what is planned; none where no field is named."""
    evals("asked.yaml", GENERATE)
    info = open_one(evals, "asked", cluster_by="n").info
    assert (info.cluster_by, info.leaves[0].clusters) == ("n", ((1, 1), (2, 1)))
    assert open_one(evals, "asked").info.leaves[0].clusters == ()
    drawn = open_one(evals, "asked", cluster_by="n", limit=2).info.leaves[0].clusters
    assert sum(size * number for size, number in drawn) == 2


GREEDY = CHOICES.replace("multiple_choice", "loglikelihood").replace("target: 0", 'target: "yes"')
GREEDY += "    metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]\n"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (CHOICES, True),
        (GENERATE, True),
        (GENERATE + "    repeats: 3\n", False),
        (CHOICES + "    process_results: !function own.results\n", False),
        (GREEDY, True),
    ],
    ids=["options", "text", "several answers", "own Python", "one option"],
)
def test_right_or_wrong_is_known_by_what_computes_it(evals, text, known):
    """lm-eval's own code for one answer; `acc` out of a task's own Python may be anything, as some are."""
    evals("own.py", "def results(doc, results):\n    return {'acc': 0.25}\n")
    evals("asked.yaml", text)
    opened = open_one(evals, "asked", metric=None if "generate_until" in text else "acc")
    assert opened.info.unit == "accuracy"
    assert opened.info.right_or_wrong is known


def test_a_field_that_is_not_there_is_told_before_anything_is_trained(evals):
    """With the fields that the documents have."""
    evals("asked.yaml", GENERATE)
    assert "no field 'passage', which `cluster_by` names" in problem(evals, "asked", cluster_by="passage")
