"""What a request for text asks, read from lm-eval's generation arguments."""

from __future__ import annotations

import copy
import json

import pytest
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text

from gate.scoring.stopping import Ask, read_ask


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"until": ["\n", "Q:"], "max_gen_toks": 7},
        {"until": "\n"},
        {"max_new_tokens": 9, "max_tokens": 3},
        {"do_sample": False, "temperature": 0.0},
        {"until": []},
    ],
)
def test_a_greedy_request_is_read_as_lm_eval_reads_it(said: dict) -> None:
    """Stop strings, the end token's text, and how many tokens."""
    theirs = normalize_gen_kwargs(copy.deepcopy(said), 256)
    until = handle_stop_sequences(theirs["until"], eos="</s>")
    assert read_ask(json.dumps(said), 256, "</s>") == Ask(theirs["max_gen_toks"], tuple(until))


@pytest.mark.parametrize(
    "said", [{"do_sample": True}, {"temperature": 0.7}, {"num_beams": 2}, {"max_length": 90}, {"top_k": 3}]
)
def test_what_is_more_than_greedy_is_left_to_lm_eval(said: dict) -> None:
    """Sampling, beams, and arguments that mean something else."""
    assert read_ask(json.dumps(said), 256, "</s>") is None


@pytest.mark.parametrize("text", ["a\nb", "ab Q: c\n", "none", "", "Q:Q:", "x</s>y", "\n"])
def test_a_text_is_cut_as_lm_eval_cuts_it(text: str) -> None:
    """At the first stop string, each in turn."""
    ask = Ask(8, ("\n", "Q:", "</s>"))
    assert ask.cut(text) == postprocess_generated_text(text, list(ask.stops), None)
    assert ask.ended(text) == (ask.cut(text) != text)
