"""Text corpora: what is read, what is refused, and that the number is lm-eval's."""

import json
import math

import pytest

from checks import block_result, pair
from checks.bits_per_byte import open_tasks, read_corpus
from gate.errors import ConfigErrors, DataError, MeasurementError
from gate.records import Place, Policy, Response, TaskSpec


def lines(*texts, field="text"):
    return "".join(json.dumps({field: text}) + "\n" for text in texts).encode()


def opened(path, **spec):
    spec = TaskSpec("text", "corpus", path=str(path), place=Place("t.yaml", 3), **spec)
    return open_tasks((spec,), Policy((), (spec,)), index_folder=None)[0]


def test_reads_jsonl_text_and_folder(tmp_path):
    """The field of each line; a file as one document; a folder's files in the order of their names."""
    (tmp_path / "a.jsonl").write_bytes(lines("one\u2028line", "zwei", field="body") + b"\n")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "2.txt").write_text("second")
    (tmp_path / "f" / "1.txt").write_text("first\n")
    assert read_corpus(tmp_path / "a.jsonl", "body") == ("one\u2028line", "zwei")
    assert read_corpus(tmp_path / "f" / "1.txt") == ("first\n",)
    assert read_corpus(tmp_path / "f") == ("first\n", "second")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no corpus"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"{broken", "1 is not a line of JSON"),
        (lines("a") + b"[1]\n", "2 has no text in the field 'text'"),
        (lines("a", field="body"), "no text in the field 'text'"),
        (b'{"text": 3}\n', "no text in the field"),
        (lines("a", "  "), "an empty document"),
        (b'{"text": "\\ud800"}\n', "surrogate"),
        (b"[" * 200_000, "not a line of JSON"),
    ],
)
def test_refuses_with_place_and_reason(tmp_path, content, said):
    """Missing, empty, not text, broken, without the field: a problem at the policy's line."""
    if content is not None:
        (tmp_path / "c.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_corpus(tmp_path / "c.jsonl")
    with pytest.raises(ConfigErrors) as caught:
        opened(tmp_path / "c.jsonl")
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == ("t.yaml", 3)


def test_value_is_bits_over_bytes(tmp_path):
    """Two documents of 4 and 2 bytes: the ratio of sums, not the mean of ratios."""
    (tmp_path / "c.jsonl").write_bytes(lines("aé1", "bb"))
    prepared = opened(tmp_path / "c.jsonl").build(None)
    (leaf,) = prepared.leaves
    answers = [[Response(logprob=-math.log(2) * bits)] for bits in (8.0, 6.0)]
    worse = [[Response(logprob=-math.log(2) * bits)] for bits in (9.0, 6.0)]
    made = pair(
        prepared.info,
        leaf,
        [block_result(leaf, (0, 1), answers, 0.0)],
        [block_result(leaf, (1, 0), worse[::-1], 0.0)],
    )
    assert made.base == pytest.approx((8.0, 6.0))
    assert made.tuned == pytest.approx((9.0, 6.0))
    assert (made.weights, made.aggregation, made.higher_is_better) == ((4.0, 2.0), "ratio", False)


def test_equals_lm_evals_task_on_the_same_text(tasks_folder, respond):
    """The same answers through lm-eval's own aggregation of a rolling task."""
    from lm_eval.api.metrics import bits_per_byte

    prepared = opened(tasks_folder / "data" / "text.jsonl").build(None)
    (leaf,) = prepared.leaves
    responses = respond([document.requests[0] for document in leaf.documents])
    block = block_result(leaf, range(len(responses)), [[one] for one in responses], 0.0)
    made = pair(prepared.info, leaf, [block], [block])
    lm_evals = bits_per_byte(list(zip([r.logprob for r in responses], made.weights, strict=True)))
    assert math.fsum(made.base) / math.fsum(made.weights) == pytest.approx(lm_evals, rel=1e-12)


def test_limit_and_digest(tmp_path):
    """A limit plans fewer of the documents; another text is another digest."""
    (tmp_path / "c.jsonl").write_bytes(lines("a", "b", "c"))
    task = opened(tmp_path / "c.jsonl", limit=2)
    assert (task.info.documents_planned, task.info.documents_total) == (2, 3)
    (tmp_path / "c.jsonl").write_bytes(lines("a", "b", "d"))
    assert opened(tmp_path / "c.jsonl").build(None).info.digest != task.build(None).info.digest


def test_answer_without_likelihood_is_refused(tmp_path):
    """Generated text is no measurement of loss."""
    (tmp_path / "c.jsonl").write_bytes(lines("a"))
    (leaf,) = opened(tmp_path / "c.jsonl").build(None).leaves
    with pytest.raises(MeasurementError):
        leaf.evaluate(0, [Response(text="a")])
