"""docs/thresholds.md: its snippets load, and it speaks of every key."""

import re
from pathlib import Path

import pytest

from gate import policy as policy_room
from gate.policy import entries, load_policy
from gate.policy.champion import CHAMPION_KEYS
from gate.policy.pull_request import PULL_REQUEST_KEYS
from gate.policy.slices import SLICES_KEYS
from gate.policy.waivers import BOUNDS, WAIVER_KEYS

DOCS = (Path(__file__).parents[2] / "docs" / "thresholds.md").read_text()
SNIPPETS = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
RULE = "target: [{task: a, min_gain: 0.1}]\n"


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippets_load(tmp_path: Path, snippet: str) -> None:
    """Each snippet is a policy, or the part of one that it shows."""
    for name in ("data/general.jsonl", "data/legal.txt", "evals/my_answers.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    path = tmp_path / "thresholds.yaml"
    head = "" if "version:" in snippet else "version: 1\n"
    rule = "" if re.search(r"min_gain|max_drop|max_rise", snippet) else RULE
    path.write_text(head + rule + snippet)
    assert load_policy(path).rules


def test_every_key_is_explained() -> None:
    """Each key stands in a table of the page."""
    groups = (
        policy_room.POLICY_KEYS, policy_room.EVALUATION_KEYS, policy_room.TRUST_KEYS, entries.TARGET_KEYS,
        entries.GENERAL_KEYS, entries.TASK_KEYS, entries.TEXT_KEYS, PULL_REQUEST_KEYS, SLICES_KEYS,
        CHAMPION_KEYS,
        set(WAIVER_KEYS) - set(BOUNDS),
    )  # fmt: skip
    explained = set(re.findall(r"^\| `(\w+)` \|", DOCS, re.MULTILINE))
    assert explained == {key for group in groups for key in group}
    assert all(f"`{key}`" in DOCS for key in policy_room.LATER_KEYS)


def test_defaults_are_those_of_the_code(tmp_path: Path) -> None:
    """The defaults in the tables are what an empty section gives."""
    path = tmp_path / "thresholds.yaml"
    path.write_text("version: 1\n" + RULE)
    policy = load_policy(path)
    told = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", DOCS, re.MULTILINE))
    evaluation, trust = policy.evaluation, policy.trust
    assert float(told["confidence"]) == policy.confidence
    assert told["decide"] == policy.decide
    assert [told[key] for key in ("dtype", "quantization", "scorer", "device", "batch_size")] == [
        evaluation.dtype, evaluation.quantization, evaluation.scorer, evaluation.device,
        str(evaluation.batch_size),
    ]  # fmt: skip
    assert told["chat_template"] == evaluation.chat_template == policy.tasks[0].chat_template
    assert [told["remote_code"], told["generated_code"], told["env"]] == [
        str(trust.remote_code).lower(), str(trust.generated_code).lower(), str(list(trust.env)),
    ]  # fmt: skip
    pull_request = policy.pull_request
    assert [told[key] for key in ("when", "label", "new_targets")] == [
        pull_request.when, pull_request.label, pull_request.new_targets,
    ]  # fmt: skip
