"""Which metric is judged: the rule, the table, the group, the only one, or an error."""

import pytest

from checks.metrics import NoChoice, choose, unit_of

PAIRS = [("acc", "none"), ("acc_norm", "none")]
GSM = [("exact_match", "strict-match"), ("exact_match", "flexible-extract")]


@pytest.mark.parametrize(
    ("names", "pairs", "metric", "filter", "preferred", "expected"),
    [
        (["x"], PAIRS[:1], None, None, None, ("acc,none", "the only one")),
        (["x"], PAIRS, "acc_norm", None, None, ("acc_norm,none", "named by the rule")),
        (["hellaswag"], PAIRS, None, None, None, ("acc_norm,none", "shipped table")),
        (["hellaswag"], PAIRS, "acc", None, None, ("acc,none", "named by the rule")),
        (["piqa"], PAIRS, None, None, None, ("acc,none", "shipped table")),
        (["gsm8k"], GSM, None, None, None, ("exact_match,strict-match", "shipped table")),
        (["gsm8k"], GSM, "exact_match", None, None, ("exact_match,strict-match", "shipped table")),
        (
            ["mine"],
            GSM,
            None,
            "flexible-extract",
            None,
            ("exact_match,flexible-extract", "named by the rule"),
        ),
        (["mine", "arc_easy"], PAIRS, None, None, None, ("acc_norm,none", "shipped table")),
        (["mine"], PAIRS, None, None, "acc", ("acc,none", "the one its group aggregates")),
    ],
)
def test_choice(names, pairs, metric, filter, preferred, expected):
    """The order of precedence."""
    found = choose(names, pairs, metric, filter, preferred=preferred)
    assert (found.key, found.reason) == expected


@pytest.mark.parametrize(
    ("metric", "filter", "said"),
    [
        ("acc_nrom", None, "did you mean 'acc_norm'"),
        (None, "maj", "no filter 'maj'"),
        (None, None, "acc,none, acc_norm,none"),
    ],
)
def test_no_choice_lists_what_there_is(metric, filter, said):
    """A typo, a filter that is not there, and two metrics without a word which."""
    with pytest.raises(NoChoice, match=said):
        choose(["x"], PAIRS, metric, filter)


def test_units():
    """A fraction is an accuracy; everything else is called by its name."""
    assert [unit_of(m) for m in ("acc", "exact_match", "bleu", "bits_per_byte")] == [
        "accuracy",
        "accuracy",
        "bleu",
        "bits per byte",
    ]
