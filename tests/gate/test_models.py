"""gate.models: model folders that are whole, broken, unsafe, or of another base."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import gate
from gate.errors import ModelError
from gate.models import (
    base_in_doubt,
    check_adapter_fits,
    check_same_family,
    digest_model,
    inspect_model,
    model_files,
    read_header,
    tensor_shapes,
)

DEMO = Path(gate.__file__).parent / "demo" / "base"
CONFIG = {"model_type": "llama", "hidden_size": 4, "num_hidden_layers": 1, "vocab_size": 6}
SHAPES = {"model.embed_tokens.weight": (6, 4), "model.layers.0.self_attn.q_proj.weight": (2, 4)}


def write_weights(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    header, place = {}, 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(place))


def tokenizer(*tokens: str) -> dict[str, object]:
    return {"model": {"type": "BPE", "vocab": {token: number for number, token in enumerate(tokens)}}}


def make_model(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
    config: Mapping[str, object] = CONFIG,
    tokens: str = "abcde",
) -> Path:
    folder.mkdir(parents=True)
    write_weights(folder / "model.safetensors", shapes)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(*tokens)))
    return folder


def make_adapter(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    folder.mkdir(parents=True)
    write_weights(folder / "adapter_model.safetensors", shapes)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    return folder


def lora(module: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    prefix = f"base_model.model.{module}"
    return {f"{prefix}.lora_A.weight": (2, inputs), f"{prefix}.lora_B.weight": (outputs, 2)}


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_the_demo_base_is_a_whole_model() -> None:
    """A real model by transformers passes every check."""
    ref = inspect_model(DEMO, "demo", revision="r1")
    assert (ref.kind, ref.name, ref.revision) == ("full", "demo", "r1")
    assert ref.digest == digest_model(DEMO)
    assert tensor_shapes(DEMO)["model.embed_tokens.weight"] == (4096, 192)
    check_same_family(DEMO, DEMO)


def break_weights(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])


def break_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 9) + b"not json!")


def cut_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:20])


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def no_tensors(folder: Path) -> None:
    write_weights(folder / "model.safetensors", {})


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def only_optimizer(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "optimizer.pt")


def gguf_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-q4.gguf")


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = {"weight_map": {"model.embed_tokens.weight": "a.safetensors", "x": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def misplaced_tensor(folder: Path) -> None:
    missing_shard(folder)
    write_weights(folder / "b.safetensors", {"y": (1,)})


def shard_elsewhere(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"x": "../other/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def empty_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated weights": (break_weights, "damaged"),
    "unreadable header": (break_header, "header is not readable"),
    "cut header": (cut_header, "ends inside its header"),
    "empty weights": (empty_weights, "ends inside its header"),
    "no tensors": (no_tensors, "holds no tensors"),
    "pickle": (pickle_only, "pickle weights only"),
    "optimizer state is no weights": (only_optimizer, "no weights"),
    "GGUF": (gguf_only, "GGUF"),
    "missing shard": (missing_shard, "lacks the shard b.safetensors"),
    "shards mixed up": (misplaced_tensor, "lacks x"),
    "shard outside": (shard_elsewhere, "not in its folder"),
    "empty index": (empty_index, "no weight_map"),
    "remote code": (lambda f: edit(f / "config.json", auto_map={"AutoModel": "m.M"}), "its own code"),
    "nested remote code": (
        lambda f: edit(f / "config.json", text_config={"auto_map": {"AutoModel": "m.M"}}),
        "its own code",
    ),
    "tokenizer's code": (
        lambda f: (f / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "t.T"}}'),
        "tokenizer_config.json",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
    "broken JSON": (lambda f: (f / "config.json").write_text("{"), "not readable JSON"),
    "binary JSON": (lambda f: (f / "tokenizer.json").write_bytes(b"\xff\xfe"), "not readable JSON"),
    "deep JSON": (lambda f: (f / "config.json").write_text("[" * 200_000), "not readable JSON"),
    "a list for a config": (lambda f: (f / "config.json").write_text("[]"), "expected an object"),
    "no config": (lambda f: (f / "config.json").unlink(), "no model in"),
    "another config": (lambda f: (f / "config.json").write_text('{"a": 1}'), "no model_type"),
    "two kinds": (
        lambda f: (f / "adapter_config.json").write_text('{"peft_type": "LORA"}'),
        "an adapter and a full model",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_no_usable_model_is_refused(name: str, tmp_path: Path) -> None:
    """Each kind of broken or unsafe folder is named, as a usage error (exit 2)."""
    change, message = REFUSALS[name]
    folder = make_model(tmp_path / "model")
    inspect_model(folder, "m")
    change(folder)
    with pytest.raises(ModelError, match=message) as caught:
        inspect_model(folder, "m")
    assert caught.value.exit_code == 2
    assert str(folder) in caught.value.message


def test_missing_folder_and_file(tmp_path: Path) -> None:
    """A path that is not there, or is a file, is said to be so."""
    with pytest.raises(ModelError, match="no model folder"):
        inspect_model(tmp_path / "gone", "m")
    folder = make_model(tmp_path / "model")
    with pytest.raises(ModelError, match="is a file") as caught:
        inspect_model(folder / "model.safetensors", "m")
    assert str(folder) in caught.value.hint


def test_a_parent_of_checkpoints_points_to_the_last(tmp_path: Path) -> None:
    """A trainer's output folder without a model hints at the checkpoint within."""
    make_model(tmp_path / "out" / "checkpoint-60")
    with pytest.raises(ModelError, match="no model in") as caught:
        inspect_model(tmp_path / "out", "m")
    assert "checkpoint-60" in caught.value.hint


def test_adapter_refusals(tmp_path: Path) -> None:
    """An adapter needs no tokenizer, but peft_type and safetensors."""
    adapter = make_adapter(tmp_path / "a", lora("model.layers.0.self_attn.q_proj", 2, 4))
    assert inspect_model(adapter, "a").kind == "adapter"
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickle weights only"):
        inspect_model(adapter, "a")
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="no peft_type"):
        inspect_model(adapter, "a")


def test_allowed_code_is_part_of_the_digest(tmp_path: Path) -> None:
    """With remote code allowed, the code's files count; without auto_map they do not."""
    folder = make_model(tmp_path / "model")
    (folder / "modeling.py").write_text("a = 1")
    assert Path("modeling.py") not in model_files(folder)
    edit(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling.M"})
    before = inspect_model(folder, "m", remote_code=True).digest
    (folder / "modeling.py").write_text("a = 2")
    assert digest_model(folder) != before


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "generation_config.json", "tokenizer.json",
     "tokenizer_config.json", "chat_template.jinja", "additional_chat_templates/tools.jinja"],
)  # fmt: skip
def test_digest_covers_each_file_that_counts(name: str, tmp_path: Path) -> None:
    """A changed or new file that changes answers changes the digest."""
    folder = make_model(tmp_path / "model")
    before = digest_model(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text('{"another": 1}')
    assert digest_model(folder) != before


def test_digest_ignores_the_rest_and_is_of_contents(tmp_path: Path) -> None:
    """Logs, checkpoints and optimizer state change nothing; a copy has the same digest."""
    folder = make_model(tmp_path / "model")
    before = digest_model(folder)
    for name in ("README.md", "training_args.bin", "optimizer.pt", "trainer_state.json", "old.safetensors"):
        (folder / name).write_text("x")
    make_model(folder / "checkpoint-1")
    assert digest_model(folder) == before
    shutil.copytree(folder, tmp_path / "copy")
    assert digest_model(tmp_path / "copy") == before


def test_digest_of_a_sharded_model(tmp_path: Path) -> None:
    """Shards and index count, and swapped contents of two shards are another model."""
    folder = make_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    write_weights(folder / "a.safetensors", {"x": (1,)})
    write_weights(folder / "b.safetensors", {"y": (1,)})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    assert inspect_model(folder, "m").kind == "full"
    assert {Path("a.safetensors"), Path("b.safetensors"), Path(index.name)} <= set(model_files(folder))
    before = digest_model(folder)
    (folder / "a.safetensors").rename(folder / "c")
    (folder / "b.safetensors").rename(folder / "a.safetensors")
    (folder / "c").rename(folder / "b.safetensors")
    assert digest_model(folder) != before


def test_header_bytes_must_match_shapes(tmp_path: Path) -> None:
    """Offsets that overlap, leave gaps, or do not hold the shape are damage."""
    for offsets in ([0, 4], [4, 12], [0, 12]):
        text = json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": offsets}}).encode()
        file = tmp_path / "x.safetensors"
        file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(12))
        with pytest.raises(ModelError, match="damaged"):
            read_header(file)


def test_adapter_fits(tmp_path: Path) -> None:
    """An adapter of the base's shapes fits; whole embeddings may have appended rows."""
    base = make_model(tmp_path / "base")
    shapes = lora("model.layers.0.self_attn.q_proj", 2, 4)
    check_adapter_fits(make_adapter(tmp_path / "a", shapes), base)
    grown = {**shapes, "base_model.model.model.embed_tokens.weight": (8, 4)}
    check_adapter_fits(make_adapter(tmp_path / "b", grown), base)
    head = {**shapes, "base_model.model.lm_head.weight": (7, 4)}
    check_adapter_fits(make_adapter(tmp_path / "c", head), base)


@pytest.mark.parametrize(
    ("shapes", "named"),
    [
        (lora("model.layers.0.self_attn.q_proj", 2, 5), "lora_A"),
        (lora("model.layers.0.self_attn.q_proj", 4, 4), "lora_B"),
        (lora("model.layers.1.self_attn.q_proj", 2, 4), "has no model.layers.1.self_attn.q_proj"),
        ({"base_model.model.model.embed_tokens.weight": (4, 4)}, "embed_tokens"),
        ({"base_model.model.model.embed_tokens.weight": (6, 3)}, "embed_tokens"),
    ],
)
def test_adapter_of_another_base(shapes: Mapping[str, tuple[int, ...]], named: str, tmp_path: Path) -> None:
    """Other widths, other layers, another vocabulary: the first mismatch is named."""
    base = make_model(tmp_path / "base")
    with pytest.raises(ModelError, match=named):
        check_adapter_fits(make_adapter(tmp_path / "a", shapes), base)


def adapter_of(folder: Path, named: str) -> Path:
    adapter = make_adapter(folder / "adapter", lora("model.layers.0.self_attn.q_proj", 2, 4))
    edit(adapter / "adapter_config.json", base_model_name_or_path=named)
    return adapter


@pytest.mark.parametrize(
    "named", ["", "org/base", "elsewhere/base", "/gone/trained-from", "./gone", "plain", "{base}", "{copy}"]
)
def test_adapter_that_names_this_base(named: str, tmp_path: Path) -> None:
    """The base's name, its folder, a copy of it, or a folder that is not here."""
    base, copy = make_model(tmp_path / "base"), tmp_path / "copy"
    shutil.copytree(base, copy)
    check_adapter_fits(adapter_of(tmp_path, named.format(base=base, copy=copy)), base, "org/base")


@pytest.mark.parametrize("named", ["org/sibling", "{sibling}"])
def test_adapter_that_names_another_base(named: str, tmp_path: Path) -> None:
    """Equal shapes do not make a sibling the base: both are named."""
    base, sibling = make_model(tmp_path / "base"), make_model(tmp_path / "sibling")
    edit(sibling / "config.json", rope_theta=7)
    named = named.format(sibling=sibling)
    with pytest.raises(ModelError, match=f"tuned from {named}, and not from the base org/base") as caught:
        check_adapter_fits(adapter_of(tmp_path, named), base, "org/base")
    assert "base_model_name_or_path" in caught.value.hint


def test_adapter_of_another_commit(tmp_path: Path) -> None:
    """Two full commits of one base that differ are an error; a branch, or a local base, says nothing."""
    base, adapter = make_model(tmp_path / "base"), adapter_of(tmp_path, "org/base")
    ours, other = "a" * 40, "b" * 40
    for trained, pinned in ((ours, ours), ("main", ours), (None, ours), (other, None), (other, "main")):
        edit(adapter / "adapter_config.json", revision=trained)
        check_adapter_fits(adapter, base, "org/base", pinned)
    edit(adapter / "adapter_config.json", revision=other)
    with pytest.raises(ModelError, match=f"from the base at {other}, and not at {ours}") as caught:
        check_adapter_fits(adapter, base, "org/base", ours)
    assert "pin that revision" in caught.value.hint


@pytest.mark.parametrize("named", ["", "elsewhere/base", "/gone/trained-from", "plain"])
def test_a_base_known_by_its_shapes_alone_is_a_doubt(named: str, tmp_path: Path) -> None:
    """Folders have other names on other machines: let through, and said with both names."""
    base = make_model(tmp_path / "base")
    doubt = base_in_doubt(adapter_of(tmp_path, named), base, "org/base")
    assert doubt is not None
    assert (named or "does not say") in doubt
    assert "put on org/base" in doubt


@pytest.mark.parametrize("named", ["org/base", "{base}", "{copy}"])
def test_a_base_that_is_known_is_no_doubt(named: str, tmp_path: Path) -> None:
    """By its name, its folder, or a folder with the very same model."""
    base, copy = make_model(tmp_path / "base"), tmp_path / "copy"
    shutil.copytree(base, copy)
    assert base_in_doubt(adapter_of(tmp_path, named.format(base=base, copy=copy)), base, "org/base") is None


def test_adapter_with_another_vocabulary(tmp_path: Path) -> None:
    """An adapter's own tokenizer must keep the base's ids."""
    base = make_model(tmp_path / "base")
    adapter = make_adapter(tmp_path / "a", lora("model.layers.0.self_attn.q_proj", 2, 4))
    (adapter / "tokenizer.json").write_text(json.dumps(tokenizer(*"abcdef")))
    check_adapter_fits(adapter, base)
    (adapter / "tokenizer.json").write_text(json.dumps(tokenizer(*"abdce")))
    with pytest.raises(ModelError, match="'c', id 2 there, has the id 3"):
        check_adapter_fits(adapter, base)


def test_conv1d_weights_are_stored_transposed(tmp_path: Path) -> None:
    """GPT-2 stores (inputs, outputs), and names its modules with another prefix on disk."""
    config = {"model_type": "gpt2", "n_embd": 4, "vocab_size": 6}
    base = make_model(tmp_path / "base", {"h.0.attn.c_attn.weight": (4, 12)}, config)
    check_adapter_fits(make_adapter(tmp_path / "a", lora("transformer.h.0.attn.c_attn", 12, 4)), base)
    with pytest.raises(ModelError, match="lora_A"):
        check_adapter_fits(make_adapter(tmp_path / "b", lora("transformer.h.0.attn.c_attn", 4, 12)), base)


def test_tuned_with_appended_tokens_is_of_the_family(tmp_path: Path) -> None:
    """One and two appended tokens, and padded or unpadded embeddings, keep the base's ids."""
    base = make_model(tmp_path / "base")
    for number, (tokens, rows) in enumerate([("abcdef", 6), ("abcdefg", 7), ("abcdefg", 64), ("abcde", 5)]):
        shapes = {**SHAPES, "model.embed_tokens.weight": (rows, 4)}
        tuned = make_model(tmp_path / str(number), shapes, {**CONFIG, "vocab_size": rows}, tokens)
        check_same_family(base, tuned)


@pytest.mark.parametrize(
    ("shapes", "config", "tokens", "named"),
    [
        (SHAPES, {**CONFIG, "model_type": "mistral"}, "abcde", "model_type is mistral"),
        (SHAPES, {**CONFIG, "hidden_size": 8}, "abcde", "hidden_size is 8"),
        (SHAPES, {**CONFIG, "num_hidden_layers": 2}, "abcde", "num_hidden_layers"),
        (SHAPES, CONFIG, "abced", "another vocabulary"),
        (SHAPES, CONFIG, "abcd", "'e', id 4 there, is gone"),
        ({**SHAPES, "model.embed_tokens.weight": (4, 4)}, CONFIG, "abcde", "embed_tokens"),
        ({**SHAPES, "model.layers.0.self_attn.q_proj.weight": (4, 4)}, CONFIG, "abcde", "q_proj"),
    ],
)
def test_tuned_of_another_base(
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, object],
    tokens: str,
    named: str,
    tmp_path: Path,
) -> None:
    """Another architecture, size or vocabulary is of another base, and the difference is named."""
    base = make_model(tmp_path / "base")
    tuned = make_model(tmp_path / "tuned", shapes, config, tokens)
    with pytest.raises(ModelError, match=named):
        check_same_family(base, tuned)


def test_unigram_vocabulary_is_compared(tmp_path: Path) -> None:
    """A Unigram tokenizer's ids are its places in a list."""
    base, tuned = make_model(tmp_path / "base"), make_model(tmp_path / "tuned")
    for folder, tokens in ((base, "abc"), (tuned, "acb")):
        unigram = {"model": {"vocab": [[token, -1.0] for token in tokens]}}
        (folder / "tokenizer.json").write_text(json.dumps(unigram))
    with pytest.raises(ModelError, match="'b', id 1 there, has the id 2"):
        check_same_family(base, tuned)


def test_models_need_no_heavy_imports() -> None:
    """`ftgate verify` starts without torch, numpy or transformers."""
    code = (
        "import sys, gate.models; print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_lost_chat_template_is_named(tmp_path: Path) -> None:
    """A tuned model or adapter that brings a tokenizer must bring the template that the base has."""
    base, tuned = make_model(tmp_path / "base"), make_model(tmp_path / "tuned")
    adapter = make_adapter(tmp_path / "a", lora("model.layers.0.self_attn.q_proj", 2, 4))
    (base / "chat_template.jinja").write_text("{{ messages }}")
    check_adapter_fits(adapter, base)
    shutil.copy(base / "tokenizer.json", adapter)
    with pytest.raises(ModelError, match="lost the chat template"):
        check_adapter_fits(adapter, base)
    with pytest.raises(ModelError, match="lost the chat template"):
        check_same_family(base, tuned)
    (tuned / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    check_same_family(base, tuned)
