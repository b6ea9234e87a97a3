"""What only a CUDA device shows: out of memory in training and in scoring, 4 and 8 bits, GPU memory.

Left out of `make test`: `python -m pytest -m gpu tests` on a machine that has one, with the extra `gpu`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from gate.demo.run import lay_out
from gate.errors import OutOfMemory
from gate.pipeline import CheckOptions, check_config
from gate.progress import SilentProgress
from gate.shell import Shell

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]
STEPS = 20
HF = {"dtype": "float32", "scorer": "hf"}


def ignore(*_: object) -> None:
    """Say nothing."""


class Heard(list[str]):
    """What was warned of."""


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def shell(tmp_path: Path, heard: Heard) -> Shell:
    shell = Shell.of_process(quiet=True)
    environ = {**shell.environ, "FTGATE_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    return replace(shell, environ=environ, say=ignore, warn=heard.append, progress=SilentProgress())


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """The demo's repository, its policy cut down to what is needed here."""
    folder = tmp_path / "repository"
    lay_out(folder)
    with chdir(folder):
        yield folder


def write_config(name: str, **changed: object) -> Path:
    config = yaml.safe_load(Path("configs/lora.yaml").read_text())
    for key in ("use_cpu", "bf16", "num_train_epochs"):
        config.pop(key)
    config |= {"max_steps": STEPS, "output_dir": f"out/{name}", **changed}
    path = Path(f"configs/{name}.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


def write_policy(**evaluation: object) -> Path:
    policy = yaml.safe_load(Path("thresholds.yaml").read_text())
    policy["evaluation"] = evaluation
    path = Path("gpu.yaml")
    path.write_text(yaml.safe_dump(policy))
    return path


def verdict(run: str) -> dict[str, object]:
    document = json.loads(Path("runs", run, "verdict.json").read_text())
    assert isinstance(document, dict)
    return document


def scores(run: str) -> dict[str, tuple[float, float]]:
    findings = verdict(run)["findings"]
    assert isinstance(findings, list)
    return {finding["rule"]: (finding["base"], finding["tuned"]) for finding in findings}


@contextmanager
def memory_left(bytes_left: int) -> Iterator[None]:
    """Take all of the device's memory but `bytes_left`."""
    import torch

    torch.cuda.init()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - bytes_left, dtype=torch.uint8, device="cuda")
    try:
        yield
    finally:
        del taken
        torch.cuda.empty_cache()


@pytest.mark.usefixtures("repository")
def test_out_of_memory_in_training_keeps_the_recipe(shell: Shell) -> None:
    """Exit 3 with the batch and accumulation that would keep the recipe; nothing else is trained instead."""
    config = write_config("big", per_device_train_batch_size=2048, gradient_accumulation_steps=1)
    options = CheckOptions(config, write_policy(), run_dir=Path("runs/big"))
    with memory_left(900 << 20), pytest.raises(OutOfMemory) as caught:
        check_config(options, shell)
    assert caught.value.exit_code == 3
    said = f"{caught.value.message} {caught.value.hint}"
    assert "per_device_train_batch_size: 1024" in said
    assert "gradient_accumulation_steps: 2" in said
    assert verdict("big")["outcome"] == "error"


@pytest.mark.usefixtures("repository")
def test_out_of_memory_in_scoring_halves_the_batch_for_both_models(shell: Shell, heard: Heard) -> None:
    """The affected blocks are scored again for both, it is said, with the scores of a run that fits."""
    import torch

    config = write_config("lora")
    fits = CheckOptions(config, write_policy(batch_size=8, **HF), run_dir=Path("runs/fits"))
    check_config(fits, shell)
    assert not [text for text in heard if "out of memory" in text]
    huge = CheckOptions(config, write_policy(batch_size=4096, **HF), run_dir=Path("runs/huge"))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(80e6 / total)
    try:
        check_config(huge, shell)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    halved = [text for text in heard if "out of memory" in text]
    assert halved
    assert "for both models" in halved[0]
    for rule, (base, tuned) in scores("fits").items():
        assert scores("huge")[rule] == pytest.approx((base, tuned), abs=0.01), rule


@pytest.mark.usefixtures("repository")
def test_the_tree_scores_as_lm_evals_model(shell: Shell) -> None:
    """FlexAttention's packs in float32: every rule's numbers, and the scorer that the verdict names."""
    config = write_config("lora")
    for name, scorer in (("tree", "tree"), ("hf", "hf")):
        policy = write_policy(dtype="float32", scorer=scorer)
        check_config(CheckOptions(config, policy, run_dir=Path(f"runs/{name}")), shell)
    provenance = verdict("tree")["provenance"]
    assert isinstance(provenance, dict)
    assert provenance["scorer"].startswith("prefix tree")
    assert provenance["scorer_reason"] == ""
    for rule, (base, tuned) in scores("hf").items():
        assert scores("tree")[rule] == pytest.approx((base, tuned), abs=0.005), rule


@pytest.mark.usefixtures("repository")
def test_packs_that_do_not_fit_shrink_for_both_models(shell: Shell, heard: Heard) -> None:
    """The next smaller size, said once a size, with the numbers of a run that has room."""
    import torch

    config = write_config("lora")
    whole = CheckOptions(config, write_policy(dtype="float32", scorer="tree"), run_dir=Path("runs/whole"))
    check_config(whole, shell)
    heard.clear()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(300e6 / total)
    small = replace(whole, run_dir=Path("runs/small"), no_cache=True)
    try:
        check_config(small, shell)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    said = [text for text in heard if "out of memory" in text]
    assert said
    assert all("packs of" in text and "both models" in text for text in said)
    for rule, (base, tuned) in scores("whole").items():
        assert scores("small")[rule] == pytest.approx((base, tuned), abs=0.01), rule


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_training_and_measuring(shell: Shell, bits: int) -> None:
    """QLoRA in 4 and 8 bits trains, is measured over the quantised base where the policy says so, and the
    report says which; the base's own numbers are then those of the quantised base."""
    config = write_config("bits", **{f"load_in_{bits}bit": True}, learning_rate=2e-3)
    check_config(CheckOptions(config, write_policy(), run_dir=Path("runs/plain")), shell)
    matched = write_policy(quantization="match_training")
    check_config(CheckOptions(config, matched, run_dir=Path("runs/match")), shell)
    names = {4: "nf4", 8: "int8"}
    provenance = verdict("match")["provenance"]
    assert isinstance(provenance, dict)
    assert provenance["quantization"] == names[bits]
    text = next(rule for rule in scores("match") if rule.startswith("text/"))
    assert scores("match")[text][0] != scores("plain")[text][0]
    assert all(math.isfinite(number) for pair in scores("match").values() for number in pair)


@pytest.mark.usefixtures("repository")
def test_a_training_records_its_gpu_memory(shell: Shell) -> None:
    """Peak GPU memory and tokens a second of the training stand in the verdict's cost."""
    check_config(
        CheckOptions(
            write_config("full", use_peft=False, learning_rate=5e-4),
            write_policy(),
            run_dir=Path("runs/full"),
        ),
        shell,
    )
    cost = verdict("full")["cost"]
    assert isinstance(cost, dict)
    assert 1 << 20 < cost["peak_gpu_bytes"] < 64 << 30
    assert cost["tokens_per_second"] > 0
    assert cost["training_steps"] == STEPS


@pytest.mark.usefixtures("repository")
def test_liger_kernels_train_where_the_config_asks_for_them(shell: Shell) -> None:
    """`use_liger_kernel: true`, which the extra `gpu` is for, trains and is judged like any other."""
    config = write_config("liger", use_liger_kernel=True)
    result = check_config(CheckOptions(config, write_policy(), run_dir=Path("runs/liger")), shell)
    assert result.outcome in ("pass", "fail")
