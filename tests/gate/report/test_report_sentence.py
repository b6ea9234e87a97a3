"""The first thing a report says, and how its numbers read."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from gate.records import Cost, RunError
from gate.report.quantities import device_hours, duration, millions, scale_of, size_of
from gate.report.rows import make_row, worst_first
from gate.report.sentence import headline, plain
from gate.verdict import Failure

GAIN = ("target/banking77/min_gain", 0.13, 0.254, 0.05, 0.0146)
FEW = ("target/banking77/min_gain", 0.13, 0.142, 0.05, 0.0146)
SCORE = ("target/banking77/min_score", 0.13, 0.254, 0.8, 0.015)
LOST = ("general/arc_easy/max_drop", 0.5, 0.469, 0.02, 0.006)
NOISE = ("general/piqa/max_drop", 0.65, 0.642, 0.02, 0.0125)
ROSE = ("general/piqa/max_drop", 0.65, 0.66, 0.02, 0.0125)
MEAN = ("average/general/max_drop", 0.5, 0.486, 0.01, 0.003)
TEXT = ("text/books/max_rise", 1.0, 1.13, 0.05, 0.006)
NEAR = ("general/arc_easy/max_drop", 0.5, 0.4796, 0.02, 0.006)

SENTENCES = [
    ([GAIN, LOST], "blocked: gained 12.4 points on banking77 but lost 3.1 ± 0.6 on arc_easy, allowed 2.0"),
    (
        [GAIN, LOST, MEAN],
        "blocked: gained 12.4 points on banking77 but lost 3.1 ± 0.6 on arc_easy, allowed 2.0; "
        "1 more rule does not hold",
    ),
    ([FEW, ROSE], "blocked: gained 1.2 points on banking77, needs 5.0"),
    (
        [FEW, LOST],
        "blocked: gained 1.2 points on banking77, needs 5.0 and lost 3.1 ± 0.6 on arc_easy, allowed 2.0",
    ),
    ([SCORE, ROSE], "blocked: scored 25.4 % on banking77, needs 80.0 %"),
    (
        [GAIN, MEAN],
        "blocked: gained 12.4 points on banking77 but lost 1.4 ± 0.3 on the mean of the general tasks, "
        "allowed 1.0",
    ),
    ([LOST], "blocked: lost 3.1 ± 0.6 points on arc_easy, allowed 2.0"),
    (
        [GAIN, NEAR],
        "blocked: gained 12.4 points on banking77 but lost 2.04 ± 0.60 on arc_easy, allowed 2.00",
    ),
    (
        [GAIN, NOISE],
        "may merge: gained 12.4 points on banking77 and at worst lost 0.8 ± 1.2 on piqa, allowed 2.0 "
        "(within noise)",
    ),
    ([GAIN, ROSE], "may merge: gained 12.4 points on banking77 and lost nothing on 1 general task"),
    ([GAIN], "may merge: gained 12.4 points on banking77"),
]


@pytest.mark.parametrize(("rules", "expected"), SENTENCES)
def test_the_sentence_says_whether_to_merge_and_why(
    sample: ModuleType, rules: list[tuple[str, float, float, float, float]], expected: str
) -> None:
    """Each way to pass or to be blocked has its own sentence, numbers apart from their limits."""
    verdict = sample.verdict(*(sample.finding(*rule) for rule in rules))
    assert plain(headline(verdict)) == expected


def test_text_that_rose_too_much_is_said_in_bits_and_percent(sample: ModuleType) -> None:
    """A text rule blocks in its own unit, with the relative change."""
    text = sample.finding(*TEXT, unit="bits per byte", metric="bits_per_byte")
    said = plain(headline(sample.verdict(sample.finding(*GAIN), text)))
    assert said == (
        "blocked: gained 12.4 points on banking77 but bits per byte on books rose by 0.130 ± 0.006 "
        "(+13.0 %), allowed 0.050"
    )


def test_an_undecided_verdict_says_what_is_not_settled(sample: ModuleType) -> None:
    """Undecided is its own word and is never told as a loss."""
    said = plain(headline(sample.undecided()))
    assert said.startswith("undecided: gained 12.4 points on banking77 but the loss is not settled: ")


def test_a_failure_could_not_measure(sample: ModuleType) -> None:
    """A failure names what happened and where, and says that it may not merge."""
    failure = Failure(RunError("non_finite_loss", "train", "loss is NaN"), cost=Cost())
    assert plain(headline(failure)) == (
        "could not measure: non finite loss while training; nothing was judged, so it may not merge"
    )


def test_the_worst_task_is_the_one_nearest_its_own_limit(sample: ModuleType) -> None:
    """A loss is held against its margin, not against other tasks' losses."""
    small = sample.finding("general/a/max_drop", 0.5, 0.485, 0.02, 0.01)
    large = sample.finding("general/b/max_drop", 0.5, 0.470, 0.10, 0.01)
    assert [it.task for it in worst_first([large, small])] == ["a", "b"]


def test_within_noise_is_said_only_where_no_change_is_within_the_interval(sample: ModuleType) -> None:
    """An interval that holds zero is within noise; one that does not, or a score, is not."""
    assert make_row(sample.finding(*NOISE)).within_noise
    assert not make_row(sample.finding(*LOST)).within_noise
    assert not make_row(sample.finding(*SCORE)).within_noise


def test_a_part_of_a_benchmark_is_never_called_its_score(sample: ModuleType) -> None:
    """Documents left out are in the row and in the sentence, with what remains uncertain."""
    part = sample.limited(replace(sample.finding(*LOST), documents_total=1000), 200)
    row = make_row(part)
    assert (row.documents, row.left) == ("200 of 1,000", "1.1")
    assert "(200 of 1,000 documents)" in plain(headline(sample.verdict(part)))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (duration(0.41), "0.4 s"),
        (duration(59.6), "1 min"),
        (duration(72), "1 min 12 s"),
        (duration(7500), "2 h 5 min"),
        (size_of(812), "812 B"),
        (size_of(5_812_000_000), "5.4 GiB"),
        (millions(294_912), "295 k"),
        (millions(134_515_008), "135 M"),
        (device_hours(168, 1), "0.047 device-hours"),
        (device_hours(7200, 8), "16.0 device-hours"),
        (scale_of("accuracy").change(-0.031), "\u22123.1"),
        (scale_of("accuracy").change(-0.0001), "0.0"),
        (scale_of("bits per byte").level(1.0224), "1.022"),
    ],
)
def test_numbers_read_as_people_say_them(said: str, expected: str) -> None:
    """Times, sizes, counts and changes have units and no false precision."""
    assert said == expected
