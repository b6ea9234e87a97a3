"""Do two model folders belong together: adapter and base, tuned model and base?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.errors import ModelError
from gate.models.files import has_tokenizer, read_json
from gate.models.headers import tensor_shapes
from gate.models.naming import check_base_named

Shape = tuple[int, ...]
FAMILY = (
    "model_type", "architectures", "hidden_size", "n_embd", "num_hidden_layers", "n_layer",
    "num_attention_heads", "n_head", "num_key_value_heads", "head_dim", "intermediate_size",
)  # fmt: skip
ANOTHER_BASE = "it was tuned from another base; name that one"
STORED_TRANSPOSED = ("gpt2", "openai-gpt", "ctrl")  # Conv1D: (inputs, outputs)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the base's embeddings: those its tokens need, and with the padding, which may come and go."""

    needed: int
    padded: int


def check_same_family(base: Path, tuned: Path) -> None:
    """Raises ModelError unless the full model `tuned` can have been tuned from `base`.

    Same architecture and sizes; tensors of equal names have equal shapes, apart from appended rows of the
    vocabulary; the base's token ids are unchanged.
    """
    ours, theirs = _config(base), _config(tuned)
    for key in FAMILY:
        if key in ours and key in theirs and ours[key] != theirs[key]:
            raise ModelError(
                f"{tuned} is not of the base {base}: {key} is {theirs[key]}, the base's is {ours[key]}",
                hint=ANOTHER_BASE,
            )
    check_vocabulary(base, tuned)
    check_template_kept(base, tuned)
    if "quantization_config" in ours or "quantization_config" in theirs:
        return  # packed weights have other shapes
    shapes, rows = tensor_shapes(base), _rows(base)
    for name, shape in sorted(tensor_shapes(tuned).items()):
        if name in shapes and not _same_or_appended(shape, shapes[name], rows):
            raise _mismatch(tuned, base, name, shape, shapes[name])


def check_adapter_fits(adapter: Path, base: Path, base_name: str = "", revision: str | None = None) -> None:
    """Raises ModelError, naming the first mismatch, unless the adapter's tensors fit the base's modules.

    The base that the adapter names must be no other than this one, which the user calls `base_name`, nor
    may it name another commit than `revision`.
    LoRA: A is (rank, inputs) and B is (outputs, rank) of a base weight (outputs, inputs). Weights that
    the adapter saved whole (embeddings, head) may have appended rows.
    """
    check_base_named(adapter, base, base_name, revision)
    check_vocabulary(base, adapter)
    check_template_kept(base, adapter)
    if "quantization_config" in _config(base):
        return  # packed weights have other shapes; peft checks when it loads
    shapes, rows = tensor_shapes(base), _rows(base)
    transposed = _config(base).get("model_type") in STORED_TRANSPOSED
    for name, shape in sorted(tensor_shapes(adapter).items()):
        module, part = _split(name)
        if part is None:
            continue
        weight = _base_weight(module, shapes)
        if weight is None:
            if any(f"{module}." in each for each in shapes):
                continue  # a fused module, whose parts the base stores under other names
            raise ModelError(
                f"the adapter {adapter} does not fit the base {base}: the base has no {module}",
                hint=ANOTHER_BASE,
            )
        linear = weight[::-1] if transposed and part in ("A", "B") else weight
        if not _fits(part, shape, linear, rows):
            raise _mismatch(adapter, base, name, shape, weight)


def check_vocabulary(base: Path, tuned: Path) -> None:
    """Raises ModelError where `tuned` brings a tokenizer in which an id of the base's is gone or changed.

    Appended tokens are fine. Compares what can be read as JSON (tokenizer.json, vocab.json); a folder
    without either is compared by the scorer when it loads the tokenizers.
    """
    ours, theirs = _vocabulary(base), _vocabulary(tuned)
    if not ours or not theirs:
        return
    for token, number in ours.items():
        if theirs.get(token) != number:
            now = "is gone" if token not in theirs else f"has the id {theirs[token]}"
            raise ModelError(
                f"{tuned} has another vocabulary than the base {base}: {token!r}, id {number} there, {now}",
                hint=ANOTHER_BASE,
            )


def check_template_kept(base: Path, tuned: Path) -> None:
    """Raises ModelError where `tuned` brings a tokenizer without the chat template that the base has."""
    if has_tokenizer(tuned) and _has_template(base) and not _has_template(tuned):
        raise ModelError(
            f"{tuned} lost the chat template that the base {base} has",
            hint="save the tokenizer again from the one that was trained with, or copy the base's template",
        )


def _has_template(path: Path) -> bool:
    files = ("chat_template.jinja", "chat_template.json")
    if any((path / name).is_file() for name in files) or any(path.glob("additional_chat_templates/*.jinja")):
        return True
    config = path / "tokenizer_config.json"
    return config.is_file() and bool(read_json(config).get("chat_template"))


def _config(path: Path) -> dict[str, object]:
    config = read_json(path / "config.json")
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def _vocabulary(path: Path) -> dict[str, int]:
    if (path / "tokenizer.json").is_file():
        return _fast_vocabulary(path / "tokenizer.json")
    found: dict[str, int] = {}
    if (path / "vocab.json").is_file():
        for name in ("vocab.json", "added_tokens.json"):
            if (path / name).is_file():
                found.update({k: v for k, v in read_json(path / name).items() if isinstance(v, int)})
    return found


def _fast_vocabulary(file: Path) -> dict[str, int]:
    whole = read_json(file)
    model, added = whole.get("model"), whole.get("added_tokens")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    try:
        if isinstance(vocab, list):  # Unigram: [token, score], the id is the place
            found = {str(pair[0]): number for number, pair in enumerate(vocab)}
        else:
            found = {str(token): int(number) for token, number in (vocab or {}).items()}
        found.update({str(each["content"]): int(each["id"]) for each in added or []})  # type: ignore[attr-defined]
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(f"{file} is not a tokenizer that can be read", hint="save it again") from error
    return found


def _rows(base: Path) -> Rows:
    numbers = _vocabulary(base).values()
    size = _config(base).get("vocab_size")
    padded = size if isinstance(size, int) else 0
    return Rows(needed=max(numbers) + 1 if numbers else padded, padded=padded)


def _same_or_appended(shape: Shape, base: Shape, rows: Rows) -> bool:
    if shape == base:
        return True
    is_vocabulary = len(base) == len(shape) == 2 and base[0] == rows.padded and shape[1] == base[1]
    return is_vocabulary and shape[0] >= rows.needed > 0


def _split(name: str) -> tuple[str, str | None]:
    """Module name and kind of part of a peft tensor's name; None for kinds whose shape says nothing."""
    plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
    for mark, part in (
        (".lora_A.", "A"), (".lora_B.", "B"), (".lora_embedding_A", "vocabulary_A"),
        (".lora_embedding_B", "vocabulary_B"), (".lora_magnitude_vector", None),
        (".original_module", None), (".token_adapter.", None), (".trainable_tokens", None),
    ):  # fmt: skip
        if mark in plain:
            return plain.split(mark)[0], part
    if plain.endswith(".weight") and name.startswith("base_model.model."):
        return plain.removesuffix(".weight").replace(".modules_to_save", ""), "whole"
    return plain, None


def _base_weight(module: str, shapes: Mapping[str, Shape]) -> Shape | None:
    """Shape of a module's weight in the base: its name may have another prefix there, a tied head none."""
    wanted = f"{module}.weight"
    if wanted in shapes:
        return shapes[wanted]
    for name, shape in shapes.items():
        if wanted.endswith(f".{name}") or name.endswith(f".{wanted}"):
            return shape
    if module.split(".")[-1] in ("lm_head", "embed_out"):
        return next((s for n, s in shapes.items() if n.endswith(("embed_tokens.weight", "wte.weight"))), None)
    return None


def _fits(part: str, shape: Shape, weight: Shape, rows: Rows) -> bool:
    if part == "whole":
        return _same_or_appended(shape, weight, rows)
    if len(weight) != 2 or len(shape) != 2:
        return True  # convolutions and stacked experts: peft checks when it loads
    if part == "vocabulary_A":
        return shape[1] >= rows.needed
    if part == "A":
        return shape[1] == weight[1]
    return shape[0] == weight[0 if part == "B" else 1]


def _mismatch(tuned: Path, base: Path, name: str, shape: Shape, weight: Shape) -> ModelError:
    return ModelError(
        f"{tuned} does not fit the base {base}: {name} is {list(shape)}, the base's weight {list(weight)}",
        hint=ANOTHER_BASE,
    )
