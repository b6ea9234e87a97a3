"""Texts by rows equal lm-eval's own, whatever lies beside them, and are believed after a self-test alone."""

from __future__ import annotations

import copy
import json
import random
from importlib.resources import files
from typing import Any

import pytest
import torch
from tiny_models import CONFIGS, tiny
from transformers import AutoModelForCausalLM, AutoTokenizer

from gate.errors import MeasurementError
from gate.records import Request
from gate.scoring import decoding
from gate.scoring.forward import Unsound
from gate.scoring.generating import Generator, Text, end_tokens, generate, read_prompts, require_greedy
from gate.scoring.hf import HarnessModel, answer
from gate.scoring.rowtest import check, choose_rows
from gate.scoring.stopping import Ask

LEFT = {
    "llama, dynamic rope", "phi 3, longrope", "gpt-neo", "falcon, alibi", "bloom", "mamba", "qwen3 next",
}  # fmt: skip


@pytest.fixture(scope="module")
def harness() -> HarnessModel:
    """lm-eval's model around the demo's, in float32."""
    folder = str(files("gate.demo") / "base")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return HarnessModel(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=4)


def prompts(count: int) -> list[Request]:
    """Few-shot prompts that share a beginning, with stop strings of one and of several tokens."""
    text = (files("gate.demo") / "data" / "text.jsonl").read_text().splitlines()
    lines = [json.loads(line)["text"].split() for line in text if len(line) > 400]
    shots, rng, found = " ".join(lines[0][:60]), random.Random(3), []
    for number in range(count):
        words = " ".join(lines[number + 1][: rng.randint(1, 50)])
        until = (["\n\n"], [" the", "of a "], ".\n", [])[number % 4]
        said = {"until": until, "max_gen_toks": 6 + number % 11}
        context = words if number % 5 == 0 else f"{shots}\n\n{words}"
        found.append(Request("generate_until", context, generation=json.dumps(said)))
    return found


def by_rows(harness: HarnessModel, requests: list[Request], **settings: Any) -> list[str | None]:
    """The same by the generator."""
    model = harness.model
    return generate(Generator(model, harness.tok_decode, end_tokens(model), **settings), harness, requests)


def test_texts_are_lm_evals_in_any_company(harness: HarnessModel) -> None:
    """24 texts on 24 rows, on five that change hands and move, on one; with either attention."""
    requests = prompts(24)
    theirs = [each.text for each in answer(harness, requests, "cpu")]
    assert len(set(theirs)) > 12
    for settings in ({"most": 24}, {"most": 5}, {"most": 1}, {"most": 24, "packed": False}):
        assert by_rows(harness, requests, **settings) == theirs


def test_a_prompt_that_is_too_long_loses_its_beginning(harness: HarnessModel) -> None:
    """As lm-eval cuts it, with room for the new tokens."""
    words = " ".join(f"word{number} and" for number in range(900))
    said = json.dumps({"until": [], "max_gen_toks": 12})
    requests = [Request("generate_until", words, generation=said), prompts(2)[1]]
    assert by_rows(harness, requests) == [each.text for each in answer(harness, requests, "cpu")]


class Counted(decoding.Decoder):
    """Notes how many there were."""

    count = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        type(self).count += 1


def test_the_cache_is_kept_for_the_next_call(harness: HarnessModel) -> None:
    """One decoder for calls of one shape, another where it changes, none after a release or an error; and
    the texts are those of a new one."""
    Counted.count = 0
    model, requests = harness.model, prompts(24)
    generator = Generator(model, harness.tok_decode, end_tokens(model), most=6, decoder=Counted)
    made = []
    for some in (requests[:12], requests[11::-1], requests[:12]):
        found = generate(generator, harness, some)
        made.append((Counted.count, found == by_rows(harness, some, most=6)))
    assert made == [(1, True)] * 3
    generate(generator, harness, requests[:2])
    assert Counted.count == 2
    generator.release()
    generate(generator, harness, requests[:2])
    assert Counted.count == 3


def test_nothing_is_kept_after_an_error() -> None:
    """What is not finite would stay in the cache."""
    model = tiny("llama")
    generator = Generator(model, lambda tokens: "", frozenset())
    text = Text((5, 6, 7), Ask(4, ()))
    generator.generate([text])
    assert generator._kept is not None
    with torch.no_grad():
        model.get_output_embeddings().weight[7] = float("inf")
    with pytest.raises(MeasurementError, match="not finite"):
        generator.generate([Text((5, 6, 7), Ask(4, ()))])
    assert generator._kept is None


@pytest.mark.parametrize("add_start", [None, True])
def test_a_prompt_is_read_as_lm_eval_reads_it_alone(harness: HarnessModel, add_start: bool | None) -> None:
    """Whether it brings a start token or not, whatever comes first in its batch, and cut on the left."""
    start = harness.tokenizer.bos_token
    assert start
    tokenizer = copy.deepcopy(harness.tokenizer)
    processor = tokenizer.backend_tokenizer
    bare = tokenizer.encode("a", add_special_tokens=True)
    if bare[0] != tokenizer.bos_token_id:  # the demo's adds none: one that does, as most do
        from tokenizers.processors import TemplateProcessing

        pair = [(start, tokenizer.bos_token_id)]
        processor.post_processor = TemplateProcessing(single=f"{start} $A", special_tokens=pair)
    model = HarnessModel(pretrained=harness.model, tokenizer=tokenizer, batch_size=1, add_bos_token=add_start)
    contexts = ["Once upon a time", f"{start}Once upon a time", "The end", f"{start}The " + "end " * 40]
    alone = []
    for text in contexts:
        ids, mask = model.tok_batch_encode([text], left_truncate_len=30)
        alone.append(tuple(ids[0][mask[0].bool()].tolist()))
    assert [ids.count(tokenizer.bos_token_id) for ids in alone] == [1, 1, 1, 0]
    for order in (contexts, contexts[::-1]):
        found = dict(zip(order, read_prompts(model, order, 30), strict=True))
        assert [found[text] for text in contexts] == alone


def test_a_text_ends_at_the_models_end_token(harness: HarnessModel) -> None:
    """The token that the model makes third is called its end: nothing comes after it."""
    request = Request("generate_until", "Anna went to the", generation='{"until": [], "max_gen_toks": 9}')
    made = harness.tok_encode(by_rows(harness, [request])[0] or "")
    ends = frozenset([made[2]])
    generator = Generator(harness.model, harness.tok_decode, ends)
    text = generate(generator, harness, [request])[0]
    assert text == harness.tok_decode(made[: made.index(made[2]) + 1])


@pytest.mark.parametrize("until", [[], [" store and bought", " and"]])
def test_nothing_after_a_stop_string_counts(harness: HarnessModel, until: list[str]) -> None:
    """A stop string that decoding leaves out, the tokenizer's end token, where the generation config names
    another; and one that lies within a longer one: as lm-eval's model stops when asked alone."""
    model = copy.deepcopy(harness.model)
    model.generation_config.eos_token_id = None
    end, often = harness.eot_token_id, harness.tok_encode(" a")[-1]

    def swapped(module: Any, given: Any, logits: torch.Tensor) -> torch.Tensor:
        places = list(range(logits.shape[-1]))
        places[end], places[often] = often, end
        return logits[..., places]

    if not until:
        model.get_output_embeddings().register_forward_hook(swapped)
    alone = HarnessModel(pretrained=model, tokenizer=harness.tokenizer, backend="causal", batch_size=1)
    requests = [
        Request("generate_until", context, generation=json.dumps({"until": until, "max_gen_toks": 9 + more}))
        for more, context in enumerate(("Anna went to the", "The old man said that", "In the morning she"))
    ]
    theirs = [each.text for each in answer(alone, requests, "cpu")]
    generator = Generator(model, lambda tokens: str(harness.tokenizer.decode(tokens)), end_tokens(model))
    assert generate(generator, alone, requests) == theirs


def test_what_is_not_greedy_is_left(harness: HarnessModel) -> None:
    """A sampled request gets no text here; those beside it do."""
    sampled = Request("generate_until", "Once", generation='{"do_sample": true, "temperature": 0.7}')
    plain = prompts(1)[0]
    found = by_rows(harness, [sampled, plain])
    assert found[0] is None
    assert found[1] == by_rows(harness, [plain])[0]


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_an_architecture_is_decoded_as_its_own_or_left(name: str) -> None:
    """The self-test believes a generator that makes the model's own choices, and else says why not."""
    generator, reason = choose_rows(tiny(name), lambda tokens: "")
    assert (generator is None) == (name in LEFT)
    assert generator is not None or reason


def test_a_penalty_in_the_models_own_config_is_not_greedy_decoding() -> None:
    """transformers would apply it; the rows do not."""
    model = tiny("llama")
    require_greedy(model)
    model.generation_config.repetition_penalty = 1.3
    with pytest.raises(Unsound, match="repetition_penalty"):
        require_greedy(model)


def test_a_logit_that_is_not_finite_is_an_error() -> None:
    """A text would be arbitrary, at its first token and at any later one."""
    model = tiny("llama")
    with torch.no_grad():
        model.get_output_embeddings().weight[7] = float("inf")
    with pytest.raises(MeasurementError, match="not finite"):
        check(Generator(model, lambda tokens: "", frozenset()))


class Late(decoding.Decoder):
    """A planted fault: a row sees one column less than its text has."""

    def _mask(self, window: int | None) -> torch.Tensor:
        self.start += 1
        mask = super()._mask(window)
        self.start -= 1
        return mask


class Wide(decoding.Decoder):
    """A planted fault: the sliding window is forgotten."""

    def _mask(self, window: int | None) -> torch.Tensor:
        return super()._mask(None)


class Shifted(decoding.Decoder):
    """A planted fault: positions are off by one after rows have moved."""

    def move(self, columns: int) -> None:
        assert self.active.any()  # else the self-test asks nothing of moving
        super().move(columns)
        self.start -= 1


@pytest.mark.parametrize(
    ("name", "fault"), [("llama", Late), ("mistral, window", Wide), ("llama", Shifted), ("gemma 3", Wide)]
)
def test_a_planted_fault_is_found(name: str, fault: type[decoding.Decoder]) -> None:
    """Masks, windows and positions that are off change logits of the crafted texts."""
    check(Generator(tiny(name), lambda tokens: "", frozenset(), most=3))
    with pytest.raises(Unsound, match="logits by rows are off"):
        check(Generator(tiny(name), lambda tokens: "", frozenset(), most=3, decoder=fault))
