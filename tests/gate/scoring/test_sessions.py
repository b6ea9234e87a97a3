"""gate.scoring.session on real small models: lm-eval's own numbers, and every trap named."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from safetensors.torch import load_file, save_file

from gate.errors import (
    GateError,
    InfrastructureError,
    MeasurementError,
    ModelError,
    NotLikeForLike,
    OutOfMemory,
)
from gate.models import check_adapter_fits, check_same_family, inspect_model
from gate.records import Evaluation, ModelRef, Request, Response, Trust
from gate.scoring import SIDES, FellBack, ModelSession, Way
from gate.scoring.hf import answer
from gate.scoring.loading import require_bare

FLOAT32 = Evaluation(dtype="float32", batch_size=4, device="cpu")
SENTENCES = [
    "The cats are sleeping on the mat.",
    "The cats is sleeping on the mat.",
    "Nobody has ever seen a dog that flies.",
    "What time does the bank open tomorrow morning?",
    "I lost my card",
    "A",
]
LIKELIHOODS = [Request("loglikelihood", "", text) for text in SENTENCES]
LIKELIHOODS += [Request("loglikelihood", "Question: " * n + "Is it? Answer:", " yes") for n in range(1, 5)]
LIKELIHOODS += [Request("loglikelihood", "One two three ", "four")]
ROLLING = [Request("loglikelihood_rolling", text) for text in (*SENTENCES, "word " * 1500)]
GENERATION = json.dumps({"until": ["\n", "."], "max_gen_toks": 6})
GENERATED = [Request("generate_until", text, generation=GENERATION) for text in SENTENCES]
# The kinds mixed, so that the order of answers is put to the test.
MIXED = [each for group in zip(LIKELIHOODS, ROLLING, GENERATED, strict=False) for each in group] + LIKELIHOODS


def session(
    base: ModelRef, tuned: ModelRef, evaluation: Evaluation = FLOAT32, bits: int | None = None
) -> ModelSession:
    return ModelSession(base, tuned, evaluation, Trust(), bits)


def ask_lm_eval(
    requests: list[Request], path: str, peft: str | None = None, tokenizer: str | None = None
) -> list[Response]:
    """Answers of lm-eval's own model, made the way its users make it, one kind after the other."""
    model = HFLM(
        pretrained=path,
        peft=peft,
        tokenizer=tokenizer,
        dtype="float32",
        softmax_dtype="float32",
        batch_size=4,
        device="cpu",
    )
    answers: dict[int, Response] = {}
    for kind in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
        places = [place for place, request in enumerate(requests) if request.kind == kind]
        instances = [_instance(requests[place]) for place in places]
        for place, found in zip(places, getattr(model, kind)(instances), strict=True):
            answers[place] = {
                "loglikelihood": lambda one: Response(logprob=one[0], greedy=one[1]),
                "loglikelihood_rolling": lambda one: Response(logprob=one),
                "generate_until": lambda one: Response(text=one),
            }[kind](found)
    return [answers[place] for place in range(len(requests))]


def _instance(request: Request) -> Instance:
    parts: dict[str, tuple[Any, ...]] = {
        "loglikelihood": (request.context, request.continuation),
        "loglikelihood_rolling": (request.context,),
        "generate_until": (request.context, json.loads(request.generation or "{}")),
    }
    return Instance(request_type=request.kind, doc={}, arguments=parts[request.kind], idx=0)


def assert_same(ours: list[Response], theirs: list[Response], within: float = 1e-4) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.greedy, mine.text) == (other.greedy, other.text)
        if other.logprob is None:
            assert mine.logprob is None
        else:
            assert mine.logprob == pytest.approx(other.logprob, abs=within, rel=1e-6)


@pytest.mark.parametrize("which", ["base", "full", "adapter"])
def test_answers_equal_lm_evals(
    which: str, base: ModelRef, tuned_full: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef]
) -> None:
    """All three kinds of request, one by one, in float32, for a base, a full model and an adapter."""
    adapter = adapter_and_merged[0]
    tuned = adapter if which == "adapter" else tuned_full
    with session(base, tuned) as both:
        ours = both.scorer("base" if which == "base" else "tuned").score(MIXED)
    path = tuned_full.path if which == "full" else base.path
    assert_same(ours, ask_lm_eval(MIXED, path, peft=adapter.path if which == "adapter" else None))


def test_adapter_equals_the_merged_model_and_leaves_the_base(
    base: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef]
) -> None:
    """Base, adapter, base again: the adapter's scores are the merged model's, the base's stay its own."""
    adapter, merged = adapter_and_merged
    with session(base, adapter) as both, session(base, merged) as whole:
        before = both.scorer("base").score(LIKELIHOODS)
        tuned = both.scorer("tuned").score(LIKELIHOODS)
        after = both.scorer("base").score(LIKELIHOODS)
        assert_same(tuned, whole.scorer("tuned").score(LIKELIHOODS), within=1e-3)
    assert after == before
    assert all(mine.logprob != other.logprob for mine, other in zip(before, tuned, strict=True))


def test_the_base_stays_in_memory_under_an_adapter(
    base: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef]
) -> None:
    """On and off: the same tensors each time, bare between, and each side's scores to the bit its own."""
    with session(base, adapter_and_merged[0]) as both:
        first = {side: both.scorer(side).score(MIXED) for side in SIDES}
        weights = [weight.data_ptr() for weight in both._shelf.model.get_base_model().parameters()]
        again = {side: both.scorer(side).score(MIXED) for side in SIDES}
        both._shelf.take("base")
        bare = {weight.data_ptr() for weight in both._shelf.model.parameters()}
    assert again == first
    assert bare < set(weights)


def test_a_base_that_changed_under_an_adapter_is_loaded_anew(
    base: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef]
) -> None:
    """Whatever moves a weight of it while the adapter is on, its next scores are its own."""
    with session(base, adapter_and_merged[0]) as both:
        before = both.scorer("base").score(LIKELIHOODS)
        both.scorer("tuned").score(LIKELIHOODS)
        with torch.no_grad():
            both._shelf.model.get_base_model().model.norm.weight.mul_(1.001)
        assert both.scorer("base").score(LIKELIHOODS) == before


def test_a_scorer_that_is_not_exact_is_named_and_remembered(base: ModelRef, maker: Any) -> None:
    """`tree` ends with the reason; `auto` takes lm-eval's model, and later runs know without loading one."""
    model, tokenizer = maker.load()
    model.config.rope_parameters = {**model.config.rope_parameters, "rope_type": "dynamic", "factor": 2.0}
    tuned = maker.save("dynamic", model, tokenizer)
    believed: dict[str, str] = {}
    with ModelSession(base, tuned, FLOAT32, Trust(), believed=believed) as both:
        both.scorer("base").score(LIKELIHOODS)
        with pytest.raises(FellBack, match=r"not exact for dynamic: .*dynamic") as caught:
            both.scorer("tuned").score(LIKELIHOODS)
        both.fall_back(caught.value)
        assert_same(both.scorer("tuned").score(LIKELIHOODS), ask_lm_eval(LIKELIHOODS, tuned.path))
        assert (
            both.scorer("base").identity["scorer"] == both.scorer("tuned").identity["scorer"] == "lm-eval-hf"
        )
    later = ModelSession(base, tuned, FLOAT32, Trust(), believed=believed)
    assert (later.way, later.note, later.loaded) == (Way("hf", 4), caught.value.message, None)
    strict = ModelSession(base, tuned, replace(FLOAT32, scorer="tree"), Trust(), believed=believed)
    with pytest.raises(FellBack, match="not exact for dynamic"):
        _ = strict.way


def test_texts_that_rows_cannot_make_are_lm_evals_for_both(base: ModelRef, maker: Any) -> None:
    """The tuned model's generation config changes greedy decoding: log-likelihoods stay the tree's."""
    model, tokenizer = maker.load()
    model.generation_config.repetition_penalty = 1.5
    tuned = maker.save("repeating", model, tokenizer)
    believed: dict[str, str] = {}
    with ModelSession(base, tuned, FLOAT32, Trust(), believed=believed) as both:
        both.scorer("base").score(MIXED)
        with pytest.raises(
            FellBack, match=r"texts is not exact for repeating: .*repetition_penalty"
        ) as caught:
            both.scorer("tuned").score(MIXED)
        both.fall_back(caught.value)
        assert (both.way.scorer, both.way.rows) == ("tree", 0)
        assert_same(both.scorer("tuned").score(MIXED), ask_lm_eval(MIXED, tuned.path))
        assert "repetition_penalty" in both.note
    later = ModelSession(base, tuned, FLOAT32, Trust(), believed=believed)
    assert (later.way.rows, later.loaded) == (0, None)
    assert (
        later.scorer("base").generation
        != ModelSession(base, base, FLOAT32, Trust()).scorer("base").generation
    )


def test_nothing_is_loaded_before_a_request(
    base: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef]
) -> None:
    """Identity, settings and templates need no weights; a request loads one model, the end frees it."""
    with session(base, adapter_and_merged[0]) as both:
        assert both.scorer("base").identity["model"] == base.digest
        assert both.scorer("tuned").identity["base"] == base.digest
        assert both.chat_template("base") is None
        assert both.loaded is None
        both.scorer("base").score(LIKELIHOODS[:1])
        assert both.loaded == "base"
        both.scorer("tuned").score(LIKELIHOODS[:1])
        assert both.loaded == "tuned"
    assert both.loaded is None


@pytest.mark.parametrize("scorer", ["tree", "hf"])
def test_another_size_shares_the_model(scorer: Any, base: ModelRef, tuned_full: ModelRef) -> None:
    """Smaller packs and batches are another identity, on the same model in memory."""
    with session(base, tuned_full, replace(FLOAT32, scorer=scorer)) as both:
        whole = both.scorer("base").score(LIKELIHOODS)
        model, smaller = both._shelf.model, both.way.smaller()
        assert smaller is not None
        assert_same(both.scorer("base", smaller).score(LIKELIHOODS), whole)
        assert both._shelf.model is model
        assert both.scorer("base", smaller).identity != both.scorer("base").identity


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"dtype": "bfloat16"}, "dtype"),
        ({"scorer": "hf"}, "scorer"),
        ({"quantization": "match_training"}, "quantization"),
    ],
)
def test_identity_covers_the_evaluation(
    change: Mapping[str, Any], part: str, base: ModelRef, tuned_full: ModelRef
) -> None:
    """What the policy says about measuring is part of what a stored answer is kept under, on both sides."""
    for side in ("base", "tuned"):
        plain = session(base, tuned_full, bits=4).scorer(side).identity
        other = session(base, tuned_full, replace(FLOAT32, **change), bits=4).scorer(side).identity
        assert plain[part] != other[part]


def test_the_batch_is_of_lm_evals_model_alone(base: ModelRef) -> None:
    """It moves that one's answers, and under the tree those of texts; not the tree's log-likelihoods."""
    for scorer in ("hf", "tree"):
        one, other = (
            session(base, base, replace(FLOAT32, scorer=scorer, batch_size=size)).scorer("base")  # type: ignore[arg-type]
            for size in (4, 8)
        )
        assert (one.identity == other.identity) == (scorer == "tree")
        assert (one.identity, one.generation) != (other.identity, other.generation)


def test_identity_covers_models_and_versions(
    base: ModelRef, tuned_full: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef]
) -> None:
    """The model's digest, an adapter's base, and the packages that compute."""
    other = replace(base, digest="sha256:other")
    full, of_other = (session(each, tuned_full).scorer("tuned").identity for each in (base, other))
    assert full == of_other  # a full model's scores do not depend on its base
    adapter = adapter_and_merged[0]
    mine, theirs = (session(each, adapter).scorer("tuned").identity for each in (base, other))
    assert mine["base"] != theirs["base"]
    assert {"torch", "transformers", "lm_eval", "peft", "device", "max_length"} <= mine.keys()
    assert session(base, adapter).scorer("base").identity == session(base, tuned_full).scorer("base").identity


def test_auto_dtype_is_the_bases_for_both(base: ModelRef, tuned_full: ModelRef) -> None:
    """The demo's base is bfloat16; a tuned model saved in float32 is measured in bfloat16 too."""
    both = session(base, tuned_full, Evaluation(device="cpu"))
    assert json.loads((Path(tuned_full.path) / "config.json").read_text())["dtype"] == "float32"
    assert {both.scorer(side).identity["dtype"] for side in ("base", "tuned")} == {"bfloat16"}


def test_match_training_measures_over_the_quantised_base(
    base: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef]
) -> None:
    """A QLoRA adapter over the NF4 base; the base itself is measured in NF4, and both say so."""
    matched = replace(FLOAT32, quantization="match_training")
    with session(base, adapter_and_merged[0], matched, bits=4) as both, session(base, base) as plain:
        quantised = both.scorer("base").score(LIKELIHOODS)
        tuned = both.scorer("tuned").score(LIKELIHOODS)
        assert {both.scorer(side).identity["quantization"] for side in ("base", "tuned")} == {"nf4"}
        exact = plain.scorer("base").score(LIKELIHOODS)
    assert len({answers[0].logprob for answers in (quantised, tuned, exact)}) == 3


def test_a_base_seen_through_an_adapter_is_refused(maker: Any) -> None:
    """A wrapped model, and one that peft was injected into, are no base."""
    wrapped = maker.with_adapter(maker.load()[0])
    for model in (wrapped, wrapped.get_base_model()):
        with pytest.raises(MeasurementError, match="through an adapter"):
            require_bare(model)
    require_bare(maker.load()[0])


@pytest.mark.parametrize("appended", [1, 2])
def test_appended_tokens_are_allowed(appended: int, base: ModelRef, maker: Any) -> None:
    """One and two new tokens with a chat template, embeddings padded: the commonest fine-tune."""
    model, tokenizer = maker.load()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|bot|>"][:appended]})
    tokenizer.chat_template = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}"
    model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64)
    maker.disturb(model)
    tuned = maker.save("tuned", model, tokenizer)
    check_same_family(Path(base.path), Path(tuned.path))
    with session(base, tuned) as both:
        template = both.chat_template_for("tuned")
        assert template is not None
        prompt = template.render([{"role": "user", "content": "Hello"}], add_generation_prompt=True)
        assert prompt == "<|user|>Hello"
        requests = [Request("loglikelihood", prompt, " there")]
        assert all(both.scorer(side).score(requests)[0].logprob for side in ("base", "tuned"))
        assert_same(both.scorer("tuned").score(requests), ask_lm_eval(requests, tuned.path))


def test_an_adapter_with_appended_tokens(base: ModelRef, maker: Any) -> None:
    """An adapter that saved grown embeddings is put on a base that is grown for it alone."""
    model, tokenizer = maker.load()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    model.resize_token_embeddings(len(tokenizer))
    wrapped = maker.with_adapter(model, modules_to_save=["embed_tokens"])
    adapter = maker.save("adapter", wrapped, tokenizer)
    check_adapter_fits(Path(adapter.path), Path(base.path))
    requests = [Request("loglikelihood", "<|user|>Hello", " there"), *LIKELIHOODS]
    with session(base, adapter) as both:
        before = both.scorer("base").score(requests)
        tuned = both.scorer("tuned").score(requests)
        assert both.scorer("base").score(requests) == before
    assert_same(tuned, ask_lm_eval(requests, base.path, adapter.path, tokenizer=adapter.path))


def test_a_tokenizer_that_outgrew_its_model(base: ModelRef, maker: Any) -> None:
    """New tokens without rows in the embeddings would be random numbers; they are refused."""
    model, tokenizer = maker.load()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    adapter = maker.save("adapter", maker.with_adapter(model), tokenizer)
    with (
        session(base, adapter) as both,
        pytest.raises(ModelError, match="4097 tokens, its model embeds 4096"),
    ):
        both.scorer("tuned").score(LIKELIHOODS)


def edit_tokenizer(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    whole = json.loads((folder / "tokenizer.json").read_text())
    change(whole)
    (folder / "tokenizer.json").write_text(json.dumps(whole))


def add_start_token(whole: dict[str, Any]) -> None:
    """Make the tokenizer put its start token before every text, as Llama's does."""
    start = "<|endoftext|>"
    whole["post_processor"]["single"].insert(0, {"SpecialToken": {"id": start, "type_id": 0}})
    whole["post_processor"]["special_tokens"] = {start: {"id": start, "ids": [0], "tokens": [start]}}


@pytest.fixture
def starting(maker: Any) -> ModelRef:
    """The demo's base with a tokenizer that adds a start token."""
    edit_tokenizer(maker.copy("starting"), add_start_token)
    return inspect_model(maker.root / "starting", "starting")


def test_a_start_token_that_the_template_wrote_is_not_doubled(starting: ModelRef) -> None:
    """A template that begins with the start token gives the same prompt as a tokenizer that adds it."""
    texts = ["Hello", "<|endoftext|>Hello"]
    requests = [Request("loglikelihood", text, " there") for text in texts]
    with session(starting, starting) as both:
        added, written = both.scorer("base").score(requests)
    assert added == written
    assert_same([added, written], ask_lm_eval(requests, starting.path))


STARTED = [
    Request("generate_until", text, generation=GENERATION) for text in ("A longer text", "<|endoftext|>A")
]


@pytest.mark.parametrize(
    ("scorer", "requests"),
    [("auto", [Request("loglikelihood", " <|endoftext|>Hello", " there")]), ("hf", STARTED)],
    ids=["template begins with a space", "one of a batch"],
)
def test_a_doubled_start_token_is_named(scorer: Any, requests: list[Request], starting: ModelRef) -> None:
    """Where lm-eval would score two start tokens in a row, it is an error."""
    evaluation = replace(FLOAT32, scorer=scorer)
    with (
        ModelSession(starting, starting, evaluation, Trust()) as both,
        pytest.raises(MeasurementError, match="doubled start token"),
    ):
        both.scorer("base").score(requests)


def test_a_prompt_with_a_start_token_is_read_as_alone(starting: ModelRef) -> None:
    """By rows nothing doubles because of the prompt that comes first, as lm-eval has it one by one."""
    with session(starting, starting) as both:
        together = both.scorer("base").score(STARTED)
    with ModelSession(starting, starting, replace(FLOAT32, scorer="hf"), Trust()) as alone:
        assert together == [alone.scorer("base").score([request])[0] for request in STARTED]


def test_rolling_has_one_start_token(starting: ModelRef, base: ModelRef) -> None:
    """A tokenizer that adds a start token scores a text as one that does not: after one start token."""
    with session(starting, base) as both:
        assert both.scorer("base").score(ROLLING) == both.scorer("tuned").score(ROLLING)


def test_texts_read_as_other_tokens_are_not_like_for_like(
    base: ModelRef, starting: ModelRef, maker: Any
) -> None:
    """A tokenizer that changed its ways is named with the first difference; appended tokens may differ."""
    requests = [
        Request("loglikelihood", "Hello <|user|>", " there"),
        Request("loglikelihood", "Hello", " there"),
    ]
    with pytest.raises(NotLikeForLike, match="'Hello there' as other tokens: the first difference is at 0"):
        session(base, starting).check_like_for_like(requests[1:])
    model, tokenizer = maker.load()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    model.resize_token_embeddings(len(tokenizer))
    grown = maker.save("grown", model, tokenizer)
    session(base, grown).check_like_for_like(requests)
    session(base, grown).check_like_for_like([Request("loglikelihood", "<|user|>", "")])
    cut = maker.copy("cut", Path(grown.path))
    edit_tokenizer(cut, lambda whole: whole["model"].update(merges=whole["model"]["merges"][:100]))
    with pytest.raises(NotLikeForLike, match="'Hello ' as other tokens"):
        session(base, inspect_model(cut, "cut")).check_like_for_like(requests[:1])
    with_its_own = session(base, inspect_model(maker.copy("copied"), "copied"))
    with_its_own.check_like_for_like(iter([]))
    assert with_its_own.loaded is None


@pytest.mark.parametrize(("token", "fine"), [("zebra", True), ("€", False), (" \n ", False)])
def test_appended_words(token: str, fine: bool, base: ModelRef, maker: Any) -> None:
    """A word may be appended, and texts around it must read the same; not a letter or whitespace."""
    model, tokenizer = maker.load()
    tokenizer.add_tokens([token])
    model.resize_token_embeddings(len(tokenizer))
    both = session(base, maker.save("grown", model, tokenizer))
    texts = [Request("loglikelihood", "Hello, zebra and", " friends")]
    if fine:
        both.check_like_for_like(texts)
        return
    with pytest.raises(NotLikeForLike, match=f"appended {re.escape(repr(token))}"):
        both.check_like_for_like(texts)


def test_chat_templates(base: ModelRef, maker: Any) -> None:
    """`auto` is the base's own or none; a template asked for by name must be there; system may be refused."""
    folder = maker.copy("tuned")
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    template += (
        "{% for m in messages %}[{{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(template)
    tuned = inspect_model(folder, "tuned")
    both = session(base, tuned)
    assert both.chat_template_for("none") is None
    assert both.chat_template_for("auto") is None
    with pytest.raises(ModelError, match="base model has no chat template"):
        both.chat_template_for("base")
    found = both.chat_template_for("tuned")
    assert found is not None
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert found.render(messages, add_generation_prompt=True) == "[u]>"
    assert found.name == "tuned"
    own = session(tuned, base).chat_template_for("auto")
    assert own is not None
    assert (own.name, own.tokenizer) == ("base", found.tokenizer)


def lose(folder: Path, name: str) -> None:
    file = next(folder.glob("*.safetensors"))
    tensors = load_file(file)
    del tensors[next(each for each in sorted(tensors) if name in each)]
    save_file(tensors, file, metadata={"format": "pt"})


def test_missing_weights_are_not_made_up(
    base: ModelRef, maker: Any, adapter_and_merged: tuple[ModelRef, ModelRef]
) -> None:
    """transformers and peft fill gaps at random with a warning; here a gap is an error."""
    full, adapter = maker.copy("full"), maker.copy("adapter", Path(adapter_and_merged[0].path))
    lose(full, "layers.3.mlp")
    lose(adapter, "layers.3.self_attn.q_proj.lora_B")
    for folder, message in (
        (full, "lacks weights: model.layers.3.mlp"),
        (adapter, r"layers\.3.*lora_B.*one side"),
    ):
        with session(base, inspect_model(folder, "t")) as both, pytest.raises(ModelError, match=message):
            both.scorer("tuned").score(LIKELIHOODS)


def test_changed_ids_are_refused_when_tokenizers_load(base: ModelRef, maker: Any) -> None:
    """Two words that changed places make another vocabulary."""

    def swap(whole: dict[str, Any]) -> None:
        vocab = whole["model"]["vocab"]
        vocab["a"], vocab["b"] = vocab["b"], vocab["a"]

    folder = maker.copy("tuned")
    edit_tokenizer(folder, swap)
    with pytest.raises(ModelError, match="another vocabulary"):
        session(base, inspect_model(folder, "t")).chat_template("tuned")


def test_numbers_that_are_not_finite(base: ModelRef, maker: Any) -> None:
    """A model that overflows gives no score; its self-test hands it on, and lm-eval's model names it."""
    model, tokenizer = maker.load()
    with torch.no_grad():
        model.model.norm.weight.fill_(math.inf)
    broken = maker.save("broken", model, tokenizer)
    with session(base, broken) as both, pytest.raises(FellBack) as caught:
        both.scorer("tuned").score(LIKELIHOODS)
    both.fall_back(caught.value)
    assert both.way.scorer == "hf"
    with both, pytest.raises(MeasurementError, match="log-likelihood is nan"):
        both.scorer("tuned").score(LIKELIHOODS)
    with both, pytest.raises(MeasurementError, match="logits that are not finite"):
        both.scorer("tuned").score(GENERATED)


@pytest.mark.parametrize("changed", ["full", "adapter", "the adapter's base"])
def test_files_that_changed_after_the_plan(
    changed: str, base: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef], maker: Any
) -> None:
    """Answers of other weights are never given, and so never stored, under the planned model's digest."""
    first = inspect_model(maker.copy("base"), "first")
    tuned = inspect_model(maker.copy("full"), "full")
    if changed != "full":
        tuned = inspect_model(maker.copy("adapter", Path(adapter_and_merged[0].path)), "adapter")
    moved = Path((first if "base" in changed else tuned).path)
    file = next(moved.glob("*.safetensors"))
    tensors = load_file(file)
    save_file({name: tensor * 1.5 for name, tensor in tensors.items()}, file, metadata={"format": "pt"})
    with session(first, tuned) as both, pytest.raises(MeasurementError, match="changed while the run"):
        both.scorer("tuned").score(LIKELIHOODS)


def test_requests_that_lm_eval_cannot_score(base: ModelRef) -> None:
    """An empty continuation and a prompt without room to answer are named, without a traceback."""
    with session(base, base) as both:
        for request in (
            Request("loglikelihood", "text", ""),
            Request("generate_until", "text", generation='{"max_gen_toks": 4096}'),
        ):
            with pytest.raises(MeasurementError, match=r"could not score|cannot be scored"):
                both.scorer("base").score([request])


class Full:
    """A model whose device is full."""

    batch_size = 16

    def __init__(self, error: Exception) -> None:
        self.error = error

    def loglikelihood(self, *args: object, **kwargs: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
            OutOfMemory,
        ),
        (MemoryError(), OutOfMemory),
        (RuntimeError("shapes do not match"), MeasurementError),
    ],
)
def test_out_of_memory_is_told_apart(raised: Exception, expected: type[GateError]) -> None:
    """Only a batch that did not fit is worth asking again in halves."""
    model: Any = Full(raised)
    with pytest.raises(expected) as caught:
        answer(model, LIKELIHOODS[:1], "cpu")
    assert type(caught.value) is expected


def test_devices_and_models_that_cannot_be_used(base: ModelRef, maker: Any) -> None:
    """A GPU that is not there, and an encoder-decoder, are said to be so before anything is loaded."""
    with pytest.raises(InfrastructureError, match="no device cuda:99"):
        _ = session(base, base, replace(FLOAT32, device="cuda:99")).settings
    folder = maker.copy("t5")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "is_encoder_decoder": True}))
    with pytest.raises(ModelError, match="encoder-decoder"):
        _ = session(inspect_model(folder, "t5"), base).settings
