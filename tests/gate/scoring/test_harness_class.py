"""The model class `ftgate` of lm-eval: `simple_evaluate` gives what it gives with `hf`."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

import gate.scoring  # noqa: F401 - registers the class
from gate.records import ModelRef

TASKS = Path(__file__).parents[2] / "checks" / "tasks"
ALL = ["mini_arc", "mini_adjunct", "mini_winogrande", "mini_lambada", "mini_text", "mini_gsm8k"]


def evaluate(model: str, path: str, tasks: list[str], peft: str = "", **options: Any) -> dict[str, Any]:
    """`simple_evaluate` of one model class, through a string of model arguments as users write it."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    arguments = f"pretrained={path},dtype=float32" + (f",peft={peft}" if peft else "")
    arguments += ",softmax_dtype=float32" if model == "hf" else ""
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    with chdir(TASKS):
        found: dict[str, Any] = lm_eval.simple_evaluate(
            model=model,
            model_args=arguments,
            tasks=tasks,
            device="cpu",
            task_manager=manager,
            bootstrap_iters=0,
            **options,
        )
    return found


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """The same answers to every request, and the same values of every document."""
    for task, samples in theirs["samples"].items():
        for mine, other in zip(ours["samples"][task], samples, strict=True):
            assert mine["doc_hash"] == other["doc_hash"]
            for one, two in zip(flat(mine["resps"]), flat(other["resps"]), strict=True):
                if isinstance(two, float):
                    assert one == pytest.approx(two, abs=1e-4, rel=1e-6)
                else:
                    assert one == two
        for name, value in theirs["results"][task].items():
            if isinstance(value, float):
                assert ours["results"][task][name] == pytest.approx(value, rel=1e-4), name


def flat(value: Any) -> list[Any]:
    return [leaf for each in value for leaf in flat(each)] if isinstance(value, list | tuple) else [value]


def test_simple_evaluate_equals_hf(base: ModelRef) -> None:
    """Multiple choice with examples, pairs, log-likelihood, rolling text and generation with two filters."""
    ours = evaluate("ftgate", base.path, ALL, num_fewshot=None, batch_size="8")
    assert_equal(ours, evaluate("hf", base.path, ALL, batch_size=8))


def test_an_adapter_and_a_chat_template(
    base: ModelRef, adapter_and_merged: tuple[ModelRef, ModelRef], maker: Any
) -> None:
    """`peft=`, and prompts made by the model's own template."""
    adapter = adapter_and_merged[0].path
    folder = maker.copy("chatty")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    options = {"apply_chat_template": True, "fewshot_as_multiturn": True, "num_fewshot": 1}
    for path, peft, more in ((base.path, adapter, {}), (str(folder), "", options)):
        ours, theirs = (
            evaluate(name, path, ["mini_arc"], peft, batch_size=4, **more) for name in ("ftgate", "hf")
        )
        assert_equal(ours, theirs)
    plain = evaluate("ftgate", base.path, ["mini_arc"], batch_size="auto")
    assert plain["samples"]["mini_arc"][0]["resps"] != ours["samples"]["mini_arc"][0]["resps"]


def test_it_answers_through_trees_and_says_where_it_cannot(
    base: ModelRef, maker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The fast path is in use; a model that a tree cannot score is lm-eval's, with one line."""
    from lm_eval.api.registry import get_model

    made = get_model("ftgate")(pretrained=base.path, dtype="float32", device="cpu", batch_size=2)
    assert made._tree is not None
    model, tokenizer = maker.load()
    model.config.rope_parameters = {**model.config.rope_parameters, "rope_type": "dynamic", "factor": 2.0}
    folder = maker.save("dynamic", model, tokenizer)
    with caplog.at_level(logging.WARNING, "lm_eval.ftgate"):
        ours = evaluate("ftgate", folder.path, ["mini_adjunct"], batch_size=4)
    said = [each.message for each in caplog.records if each.name == "lm_eval.ftgate"]
    assert len(said) == 1
    assert "lm-eval's HF model answers" in said[0]
    assert "dynamic" in said[0]
    assert_equal(ours, evaluate("hf", folder.path, ["mini_adjunct"], batch_size=4))


def test_importing_registers_cheaply() -> None:
    """`import gate.scoring` makes the name known beside lm-eval's own, without loading torch."""
    code = (
        "import sys, gate.scoring; from lm_eval.api.registry import model_registry as r; "
        "print('ftgate' in r, 'hf' in r, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "False", "False"]
