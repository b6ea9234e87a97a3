"""The tree engine on real tokens and a real model: lm-eval's numbers, the same bits in any company."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import one_by_one, texts, tiny
from transformers import AutoModelForCausalLM, AutoTokenizer

from gate.records import ModelRef, Request
from gate.scoring.ahead import ahead
from gate.scoring.attention import switched
from gate.scoring.engine import GPU_SHAPE, TreeEngine
from gate.scoring.forward import ROWS_AT_ONCE, Caller, at_once, by_rows
from gate.scoring.hf import HarnessModel, answer
from gate.scoring.readings import Reading, reader
from gate.scoring.tree import PackShape


@pytest.fixture(scope="module")
def loaded(base: ModelRef) -> tuple[Any, Any]:
    """The demo's base in float32."""
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(base.path)


def asked(tokenizer: Any) -> list[Request]:
    """Options of one context, pairs, no context, spaces, a text too long, rolling text in several windows."""
    questions = ("What is a river?", "Which animal can fly?", "Where does the sun rise?")
    shots = "Question: Who reads books?\nAnswer: people\n\n"
    requests = [
        Request("loglikelihood", f"{shots}Question: {each}\nAnswer:", option)
        for each in questions
        for option in (" a bird", " water that runs to the sea", " in the east", " in the", "\n")
    ]
    requests += [Request("loglikelihood", f"The {who}  ", "went home early") for who in ("man", "women")]
    requests += [Request("loglikelihood", "", text) for text in ("He went home.", "He go home.")]
    requests += [
        Request("loglikelihood", "far too long " * 60, " and over"),
        Request("loglikelihood", "a", " b"),
    ]
    return [*requests, *(Request("loglikelihood_rolling", "It rained for days. " * n) for n in (1, 40))]


def greedy_end(model: Any, tokenizer: Any, context: str) -> Request:
    """What the model itself would say next: a request that is greedy."""
    tokens = tokenizer(context, return_tensors="pt").input_ids
    made = model.generate(tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=4)
    return Request("loglikelihood", context, tokenizer.decode(made[0, tokens.shape[1] :]))


def test_equal_to_lm_eval_one_by_one(loaded: tuple[Any, Any]) -> None:
    """Every log-likelihood to 1e-4 (rolling text: to float32's own step), is_greedy to the request."""
    model, tokenizer = loaded
    requests = [*asked(tokenizer), greedy_end(model, tokenizer, "The cat sat on the")]
    harness = HarnessModel(
        pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=1, max_length=96,
        softmax_dtype="float32",
    )  # fmt: skip
    theirs = answer(harness, requests, "cpu")
    readings = reader(tokenizer, 96).read(requests)
    (scores,) = TreeEngine(model).loglikelihoods([[one for each in readings for one in each]])
    left = iter(scores)
    for request, parts, their in zip(requests, readings, theirs, strict=True):
        mine = [next(left) for _ in parts]
        assert sum(score for score, _ in mine) == pytest.approx(their.logprob, abs=1e-4, rel=1e-6), request
        assert their.greedy is None or mine[0][1] == their.greedy
    assert {each.greedy for each in theirs} == {True, False, None}


ALONE = """
import sys, json, torch
sys.path.insert(0, "tests/doubles")
from tiny_models import texts, tiny
from gate.scoring.engine import TreeEngine
torch.set_num_threads(1)
engine = TreeEngine(tiny("llama"), attention=sys.argv[1])
print(json.dumps(engine.loglikelihoods([texts(4, seed=1)])[0]))
"""


@pytest.mark.parametrize("attention", ["dense", "blocks"])
def test_the_same_bits_in_any_company(attention: Any, pytestconfig: pytest.Config) -> None:
    """A group alone, among others, twice in a call, and in another process."""
    engine = TreeEngine(tiny("llama"), attention=attention)
    group, others = texts(4, seed=1), [texts(3, seed=seed) for seed in (2, 3)]
    (by_itself,) = engine.loglikelihoods([group])
    among = engine.loglikelihoods([others[0], group, others[1], group])
    assert among[1] == among[3] == by_itself
    command = [sys.executable, "-c", ALONE, attention]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=pytestconfig.rootpath)
    assert [tuple(each) for each in json.loads(shown.stdout)] == by_itself


def test_cuts_do_not_move_scores() -> None:
    """Packs of any size agree, though a shared beginning is computed in several of them."""
    model, group = tiny("gemma 3"), texts(6, seed=4)
    whole = TreeEngine(model, PackShape(limit=4096, overhead=4096)).loglikelihoods([group])[0]
    for limit in (40, 64, 200):
        parts = TreeEngine(model, PackShape(limit=limit)).loglikelihoods([group])[0]
        assert [s for s, _ in parts] == pytest.approx([s for s, _ in whole], abs=1e-4)


def test_nothing_asked_nothing_answered() -> None:
    """No groups, and groups without readings."""
    engine = TreeEngine(tiny("llama"))
    assert engine.loglikelihoods([]) == []
    assert engine.loglikelihoods([[], []]) == [[], []]


class Watched(Caller):
    """Notes how many rows of logits exist at once."""

    rows: list[int]

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        self.rows = [*getattr(self, "rows", []), len(hidden)]
        return super().logits(hidden)


def test_logits_exist_in_chunks_and_at_scored_nodes_alone() -> None:
    """Never tokens times vocabulary: at most ROWS_AT_ONCE rows, and none for what is not scored."""
    rng = np.random.default_rng(0)
    long = [Reading(rng.integers(1, 128, 120).astype(np.int32), 1) for _ in range(20)]
    engine = TreeEngine(tiny("llama"), PackShape(limit=4096, overhead=9999), caller=Watched)
    (found,) = engine.loglikelihoods([long])
    assert isinstance(engine.caller, Watched)
    assert max(engine.caller.rows) == ROWS_AT_ONCE
    assert sum(engine.caller.rows) <= 20 * 119
    assert [s for s, _ in found] == pytest.approx(
        [s for s, _ in one_by_one(engine.caller.model, long)], abs=1e-3
    )
    engine.caller.rows = []
    engine.loglikelihoods([[Reading(np.arange(1, 100, dtype=np.int32), 98)]])
    assert engine.caller.rows == [1]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", ["llama", "mistral, window", "gemma 3", "qwen2, window", "gpt-neox"])
def test_passes_of_fixed_size_give_the_same_scores(name: str) -> None:
    """The GPU's way, on a CPU: groups side by side, padded, FlexAttention's masks filled anew each time.

    Not compiled, so that it looks at the mask's elements; `test_tree` holds the block tables against them.
    """
    model = tiny(name)
    groups = [texts(count, seed=count) for count in (1, 3, 2, 5, 1)]
    dense = TreeEngine(model).loglikelihoods(groups)
    before = model.config._attn_implementation
    engine = TreeEngine(model, PackShape(limit=512, step=128, overhead=64), "flex", compiled=False)
    with torch.compiler.set_stance("force_eager"):
        found = engine.loglikelihoods(groups)
    assert model.config._attn_implementation == before
    for mine, other in zip(found, dense, strict=True):
        assert [s for s, _ in mine] == pytest.approx([s for s, _ in other], abs=1e-4)
        assert [g for _, g in mine] == [g for _, g in other]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_is_switched_is_switched_back() -> None:
    """Attention and compiled layers, when scoring fails too."""
    caller = TreeEngine(tiny("llama")).caller

    def fail() -> None:
        with switched(caller, "flex", compiled=True):
            assert caller.model.config._attn_implementation == "flex_attention"
            assert all(layer._compiled_call_impl is not None for layer in caller.body.layers)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert caller.model.config._attn_implementation == "sdpa"
    assert all(layer._compiled_call_impl is None for layer in caller.body.layers)


def test_the_engine_says_how_it_scores() -> None:
    """For the report."""
    assert TreeEngine(tiny("llama"), GPU_SHAPE).how == "packs of 8,192 tokens, dense masks"
    assert TreeEngine(tiny("llama"), attention="blocks").how == "packs of 2,048 tokens, attention by blocks"


def test_items_are_made_ahead_in_order() -> None:
    """By another thread, no more than asked for and a few; closing ends it."""
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    items = ahead(numbers(), depth=3)
    assert [next(items) for _ in range(10)] == list(range(10))
    items.close()  # type: ignore[attr-defined]
    assert len(made) < 20
    assert not any(thread.name.startswith("ftgate") for thread in threading.enumerate())
    assert list(ahead(iter("abc"))) == ["a", "b", "c"]


def test_an_error_ahead_is_raised_where_the_item_is_missed() -> None:
    """After the items that were made before it."""

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("on purpose")

    items = ahead(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="on purpose"):
        next(items)


@pytest.mark.parametrize("attention", ["dense", "flex"])
def test_groups_are_asked_for_as_they_are_needed(attention: Any) -> None:
    """From an iterator; what fails there is raised here, unchanged."""
    engine = TreeEngine(tiny("llama"), PackShape(limit=512, step=128), attention, compiled=False)

    def groups() -> Iterator[list[Reading]]:
        yield from ([], texts(2, seed=1), [])
        if attention == "flex":
            raise KeyError("on purpose")

    if attention == "flex":
        with pytest.raises(KeyError, match="on purpose"), torch.compiler.set_stance("force_eager"):
            engine.loglikelihoods(groups())
    else:
        assert engine.loglikelihoods(groups()) == engine.loglikelihoods([[], texts(2, seed=1), []])


def test_a_likeliest_token_is_the_first_of_equals() -> None:
    """By rows as at once, as torch's argmax has it; log-probabilities to the last bits."""
    torch.manual_seed(0)
    logits = torch.randint(-3, 3, (50, 9)).float()
    rows, tokens = torch.arange(50).repeat_interleave(9), torch.arange(9).repeat(50)
    value, greedy = by_rows(logits, rows, tokens)
    wanted, likeliest = at_once(logits, rows, tokens)
    assert greedy.equal(likeliest)
    assert int(greedy.sum()) == 50
    assert int((value == value.view(50, 9).amax(-1).repeat_interleave(9)).sum()) > 60  # ties that are not it
    torch.testing.assert_close(value, wanted, atol=1e-6, rtol=0)
    assert by_rows(logits.to(torch.bfloat16), rows, tokens)[0].equal(value)
    assert not torch.isfinite(by_rows(logits.fill_(float("inf")), rows, tokens)[0]).any()
