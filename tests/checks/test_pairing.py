"""Two models' blocks become one measurement only when they match, to the document."""

import math
from dataclasses import dataclass, replace

import pytest

from checks import check_like_for_like, flips, pair
from gate.errors import MeasurementError, NotLikeForLike
from gate.records import BlockResult, Document, Leaf, Request, Response, TaskInfo

DOCUMENTS = tuple(
    Document(
        n, f"hash{n % 3}", (Request("loglikelihood", f"q{n}", " a"), Request("loglikelihood", f"q{n}", " b"))
    )
    for n in range(4)
)
INFO = TaskInfo("general/t", "benchmarks", "acc", "none", "accuracy", True, (Leaf("t", 4, 4),))


@dataclass(frozen=True)
class FakeLeaf:
    """A leaf whose corpus-level value is the largest item."""

    name: str = "t"
    digest: str = ""
    documents: tuple = DOCUMENTS
    aggregation: str = "mean"
    weights: tuple | None = None
    replicates: int = 50

    def evaluate(self, position, responses):
        raise NotImplementedError

    def aggregate(self, items):
        return max(map(float, items))

    def answer(self, position, responses):
        return "ab"[max((0, 1), key=lambda i: responses[i].logprob)]


def block(numbers, values, items=(), hashes=None, spread=1.0):
    responses = tuple(
        (Response(-1.0, True), Response(-1.0 - spread if v else -1.0 + spread, False)) for v in values
    )
    return BlockResult(
        tuple(numbers),
        tuple(hashes or (DOCUMENTS[n % 4].hash for n in numbers)),
        responses,
        {"acc,none": tuple(values)},
        {"acc,none": tuple(items)} if items else {},
    )


BASE = [block((2, 0), (1.0, 1.0)), block((3, 1), (0.0, 1.0))]
TUNED = [block((3, 1), (1.0, 0.0)), block((2, 0), (1.0, 0.0), spread=2.0)]


def test_pairs_by_number_whatever_the_blocks():
    """Documents stand by number in both, and duplicates keep theirs."""
    made = pair(INFO, FakeLeaf(), BASE, TUNED)
    assert made.numbers == (0, 1, 2, 3)
    assert made.hashes == ("hash0", "hash1", "hash2", "hash0")
    assert (made.base, made.tuned) == ((1.0, 1.0, 1.0, 0.0), (0.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("tuned", "info", "said"),
    [
        (TUNED[:1], INFO, "scored by the base model alone"),
        ([*TUNED, block((7,), (1.0,), hashes=["h"])], INFO, "scored by the tuned model alone"),
        ([*TUNED, TUNED[0]], INFO, "scored twice"),
        (
            [TUNED[0], block((2, 0), (1.0, 0.0), hashes=("hash2", "hash1"))],
            INFO,
            "document 0 is not the same",
        ),
        ([TUNED[0], block((2, 0), (1.0, math.nan))], INFO, "no finite acc,none from the tuned model"),
        ([TUNED[0], block((2, 0), (math.inf, 0.0))], INFO, "no finite"),
        ([TUNED[0], replace(TUNED[1], values={})], INFO, "no finite"),
        ([TUNED[0], replace(TUNED[1], values={"acc,none": (1.0,)})], INFO, "another length"),
        (TUNED, replace(INFO, leaves=(Leaf("t", 5, 5),)), "not as many as were counted"),
        (TUNED, replace(INFO, leaves=(Leaf("t", 4, 3),)), "4 documents were scored, 3 planned"),
    ],
)
def test_refuses_what_does_not_match(tuned, info, said):
    """A lost, extra, doubled or other document, a number that is none, fewer or more than planned."""
    with pytest.raises(MeasurementError, match=said):
        pair(info, FakeLeaf(), BASE, tuned)


def test_fewer_documents_than_planned_on_both_sides():
    """Equal on both sides is not enough."""
    with pytest.raises(MeasurementError, match="2 documents were scored, 4 planned"):
        pair(INFO, FakeLeaf(), BASE[:1], TUNED[1:])


def test_corpus_metric_has_paired_replicates():
    """The same documents are drawn for both sides: equal items give equal replicates, and so again."""
    leaf = FakeLeaf(aggregation="corpus")
    base = [block(range(4), (1.0,) * 4, items=("1", "2", "3", "4"))]
    tuned = [block(range(4), (1.0,) * 4, items=("11", "12", "13", "14"))]
    made = pair(INFO, leaf, base, tuned)
    assert made.corpus == (4.0, 14.0)
    assert len(made.replicates) == 50
    assert all(b + 10 == t for b, t in made.replicates)
    assert len(set(made.replicates)) > 1
    assert pair(INFO, leaf, base, tuned) == made


def test_corpus_metric_without_items_is_refused():
    """A document that has no item is not left out in silence."""
    with pytest.raises(MeasurementError, match="has no acc,none"):
        pair(INFO, FakeLeaf(aggregation="corpus"), BASE, TUNED)


def test_weights_follow_the_documents():
    """Bytes for documents in the measurement's order."""
    leaf = FakeLeaf(aggregation="ratio", weights=(10.0, 11.0, 12.0, 13.0))
    assert pair(INFO, leaf, BASE, TUNED).weights == (10.0, 11.0, 12.0, 13.0)


def test_flips_worst_first_with_both_answers():
    """What fell stands first, the larger move before the smaller; then what rose; the cap cuts the end."""
    found = flips(INFO, FakeLeaf(), BASE, TUNED)
    assert [(flip.number, flip.fell) for flip in found] == [(0, True), (1, True), (3, False)]
    assert (found[0].base_answer, found[0].tuned_answer) == ("a", "b")
    assert [flip.number for flip in flips(INFO, FakeLeaf(), BASE, TUNED, cap=1)] == [0]


def test_no_flips_without_right_and_wrong():
    """A metric that is no accuracy has none."""
    assert flips(replace(INFO, unit="perplexity"), FakeLeaf(), BASE, TUNED) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"requests": (Request("loglikelihood", "q1", " a"), Request("loglikelihood", "q1", " c"))},
            "continuation",
        ),
        (
            {"requests": (Request("loglikelihood", "<s>q1", " a"), DOCUMENTS[1].requests[1])},
            "at character 0",
        ),
        ({"requests": DOCUMENTS[1].requests[:1]}, "2 requests to the base model, 1 to"),
        ({"hash": "other"}, "document 1 of the base"),
    ],
)
def test_not_like_for_like_names_the_first_difference(change, said):
    """Another option, another prompt, a lost request, another document."""
    other = (DOCUMENTS[0], replace(DOCUMENTS[1], **change), *DOCUMENTS[2:])
    check_like_for_like(DOCUMENTS, DOCUMENTS)
    with pytest.raises(NotLikeForLike, match=said):
        check_like_for_like(DOCUMENTS, other)
    with pytest.raises(NotLikeForLike, match="4 documents"):
        check_like_for_like(DOCUMENTS, DOCUMENTS[:3])
