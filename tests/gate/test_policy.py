"""thresholds.yaml: what it means, and that nothing odd is taken for a rule."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate import policy as policy_room
from gate.errors import ConfigErrors
from gate.policy import entries, load_policy
from gate.policy.champion import CHAMPION_KEYS
from gate.policy.pull_request import PULL_REQUEST_KEYS
from gate.policy.slices import SLICES_KEYS
from gate.policy.waivers import WAIVER_KEYS
from gate.records import Evaluation, Place, Policy, PullRequestPolicy, Trust

FULL = """\
version: 1
confidence: 0.9
decide: full
include: [evals/]
target:
  - {task: my_intents, min_gain: 0.05, min_score: 0.80, chat_template: tuned}
general:
  defaults: {max_drop: 0.02, num_fewshot: 5}
  tasks:
    - hellaswag
    - {task: arc_challenge, num_fewshot: 25, max_drop: 0, metric: acc, filter: none}
    - {task: evals/own.yaml, limit: 200, system_instruction: Be brief.}
  average: {max_drop: 0.01}
text:
  - {corpus: evals/general.jsonl, report: true}
  - {corpus: evals/general.jsonl, name: legal, field: body, limit: 50, max_rise: 0.1}
evaluation: {dtype: bfloat16, chat_template: none, quantization: match_training, scorer: hf, batch_size: 4,
  device: cpu}
trust: {remote_code: true, generated_code: true, env: [HF_HOME]}
"""
LEAST = "version: 1\ntarget: [{task: a, min_gain: 0.1}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "own.yaml").write_text("task: own\n")
    (tmp_path / "evals" / "general.jsonl").write_text('{"text": "a"}\n')
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "thresholds.yaml"
    path.write_text(text)
    return path


def problems_of(path: Path) -> tuple[Any, ...]:
    with pytest.raises(ConfigErrors) as caught:
        load_policy(path)
    assert caught.value.exit_code == 2
    return caught.value.problems


def test_where_there_is_no_policy_it_says_who_writes_one(tmp_path: Path) -> None:
    """The first error of many: the hint is the command that ends it."""
    (problem,) = problems_of(tmp_path / "thresholds.yaml")
    assert (problem.message, problem.hint) == ("no such file", "`ftgate init` writes one")


def test_every_key_is_read(folder: Path) -> None:
    """A policy that uses each key: its rules in order, their margins and places, its tasks, its settings."""
    path = write(folder, FULL)
    policy = load_policy(path)
    assert [(rule.id, rule.margin) for rule in policy.rules] == [
        ("target/my_intents/min_gain", 0.05),
        ("target/my_intents/min_score", 0.80),
        ("general/hellaswag/max_drop", 0.02),
        ("general/arc_challenge/acc,none/max_drop", 0.0),
        ("general/own/max_drop", 0.02),
        ("average/general/max_drop", 0.01),
        ("text/general/report", None),
        ("text/legal/max_rise", 0.1),
    ]
    assert [rule.place.line for rule in policy.rules] == [6, 6, 10, 11, 12, 13, 15, 16]
    assert policy.rules[0].place == Place(str(path), 6)
    own = policy.tasks[3]
    assert (own.id, own.path, own.limit, own.num_fewshot) == (
        "general/own",
        str(folder / "evals/own.yaml"),
        200,
        5,
    )
    assert [task.num_fewshot for task in policy.tasks] == [None, 5, 25, 5, None, None]
    assert policy.tasks[0].chat_template == "tuned"
    assert policy.tasks[3].system_instruction == "Be brief."
    assert (policy.tasks[5].text_field, policy.tasks[5].path) == ("body", str(folder / "evals/general.jsonl"))
    assert policy.evaluation == Evaluation("bfloat16", "none", "match_training", "hf", 4, "cpu")
    assert policy.trust == Trust(remote_code=True, generated_code=True, env=("HF_HOME",))
    assert (policy.confidence, policy.decide, len(policy.digest)) == (0.9, "full", 64)
    assert policy.include == (str(folder / "evals/"),)


def test_defaults(folder: Path) -> None:
    """The least policy: as few documents as the verdict takes, 95 %, nothing trusted."""
    policy = load_policy(write(folder, LEAST))
    assert (policy.confidence, policy.decide, policy.include) == (0.95, "score", ())
    assert (policy.evaluation, policy.trust) == (Evaluation(), Trust())
    assert Policy((), ()).decide == policy.decide


def test_the_default_refuses_nothing(folder: Path) -> None:
    """What a policy asks for beside it is valid without a word about `decide`, which is then `score`."""
    assert load_policy(write(folder, LEAST + "on_fail: stop\n")).on_fail == "stop"
    assert load_policy(write(folder, LEAST + "fail_budget: 0.1\n")).decide == "score"
    assert load_policy(write(folder, LEAST + "seeds: 3\n")).decide == "score"


def test_average_alone_is_a_rule(folder: Path) -> None:
    """Tasks without their own margin may be there for the average."""
    policy = load_policy(write(folder, "version: 1\ngeneral: {tasks: [a, b], average: {max_drop: 0.01}}\n"))
    assert [rule.id for rule in policy.rules] == ["average/general/max_drop"]
    assert [task.id for task in policy.tasks] == ["general/a", "general/b"]


def test_same_task_in_two_kinds(folder: Path) -> None:
    """A task may be both a target and a general task."""
    policy = load_policy(write(folder, LEAST + "general: {tasks: [{task: a, max_drop: 0.1}]}\n"))
    assert [task.id for task in policy.tasks] == ["target/a", "general/a"]


TASK = "target: [{task: a, min_gain: %s}]"
# A whole file, and the problem: its line, its key, its words.
WHOLE = {
    "a list": ("- a\n", 1, "", "expected a mapping of rules"),
    "a word": ("hello\n", 1, "", "expected a mapping of rules"),
    "no version": ("target: [{task: a, min_gain: 0.1}]\n", 1, "", "needs `version: 1`"),
    "no rule": ("version: 1\n", 1, "", "holds no rule that can fail"),
    "another version": ("version: 2", 1, "version", "expected 1, got 2"),
    "version true": ("version: true", 1, "version", "expected 1, got true"),
}
# Below `version: 1`, in line 2.
ODD = {
    "only reports": (
        "text: [{corpus: evals/general.jsonl, report: true}]",
        "",
        "holds no rule that can fail",
    ),
    "typo at the top": ("genral: {tasks: [a]}", "genral", "did you mean `general`?"),
    "typo in a task": (
        "target: [{task: a, min_gian: 0.1}]",
        "target[0].min_gian",
        "did you mean `min_gain`?",
    ),
    "on_fail without score": ("on_fail: stop\ndecide: full", "on_fail", "only `decide: score` stops before"),
    "a budget over 1": ("fail_budget: 2", "fail_budget", "between 0 and 1"),
    "clusters of a target": (
        "target: [{task: a, min_gain: 0.1, cluster_by: passage}]",
        "target[0].cluster_by",
        "unknown key",
    ),
    "decide typo": ("decide: ful", "decide", "did you mean `full`?"),
    "later: drift": ("drift: {report: true}", "drift", "not supported by this version"),
    "later: spectrum": ("spectrum: {report: true}", "spectrum", "not supported by this version"),
    "no waiver": ("waivers: []", "waivers", "expected a list with at least one entry"),
    "unknown device": ("prices: {h1000: 2}", "prices.h1000", "unknown key"),
    "a price below 0": ("prices: {h100: -2}", "prices.h100", "expected a number"),
    "NaN": (TASK % ".nan", "target[0].min_gain", "expected a number of at least 0, got nan"),
    "infinite": (TASK % ".inf", "target[0].min_gain", "expected a number of at least 0, got inf"),
    "too large": (TASK % ("9" * 5000), "target[0].min_gain", "expected a number of at least 0"),
    "negative": (TASK % "-0.1", "target[0].min_gain", "got -0.1"),
    "a boolean": (TASK % "true", "target[0].min_gain", "got true"),
    "no": (TASK % "no", "target[0].min_gain", "got `no`"),
    "a word as margin": (TASK % "high", "target[0].min_gain", "got `high`"),
    "a quoted number": (TASK % '"0.1"', "target[0].min_gain", "got `0.1`"),
    "nothing": (TASK % "", "target[0].min_gain", "got nothing"),
    "percent": (TASK % "5%", "target[0].min_gain", "got `5%`"),
    "no bound": ("target: [{task: a}]", "target[0]", "needs `min_gain` or `min_score`"),
    "no task": ("target: [{min_gain: 0.1}]", "target[0]", "needs `task`"),
    "task a number": ("target: [{task: 1, min_gain: 0.1}]", "target[0].task", "expected text, got 1"),
    "empty target": ("target: []", "target", "at least one entry"),
    "blank target": ("target:", "target", "got nothing"),
    "target a word": ("target: a", "target", "expected a list"),
    "target of words": ("target: [a]", "target[0]", "expected a mapping such as"),
    "twice": (
        "target: [{task: a, min_gain: 0.1}, {task: a, min_gain: 0.2}]",
        "target[1]",
        "twice, first in line 2",
    ),
    "no margin": ("general: {tasks: [a]}", "general.tasks[0]", "nothing is asked of this task"),
    "no tasks": ("general: {average: {max_drop: 0.1}}", "general", "has no `tasks`"),
    "empty average": ("general: {tasks: [a], average: {}}", "general.average", "needs `max_drop`"),
    "general a list": ("general: [a]", "general", "expected a mapping, got a list"),
    "tuned template": (
        "general: {tasks: [{task: a, max_drop: 0.1, chat_template: tuned}]}",
        "general.tasks[0].chat_template",
        "expected one of auto, none, base, got `tuned`",
    ),
    "limit 0": (
        "target: [{task: a, min_gain: 0.1, limit: 0}]",
        "target[0].limit",
        "a whole number of at least 1",
    ),
    "limit a share": ("target: [{task: a, min_gain: 0.1, limit: 0.5}]", "target[0].limit", "a whole number"),
    "few-shot below 0": (
        "target: [{task: a, min_gain: 0.1, num_fewshot: -1}]",
        "target[0].num_fewshot",
        "got -1",
    ),
    "empty metric": ('target: [{task: a, min_gain: 0.1, metric: ""}]', "target[0].metric", "got empty text"),
    "no such task file": ("target: [{task: x.yaml, min_gain: 0.1}]", "target[0].task", "no such file"),
    "no such folder": ("include: [nowhere]", "include[0]", "no such folder"),
    "include too long": (f"include: [{'x' * 300}]", "include[0]", "no such folder"),
    "include a word": ("include: evals", "include", "expected a list"),
    "no corpus": ("text: [{max_rise: 0.1}]", "text[0]", "needs `corpus`"),
    "no such corpus": ("text: [{corpus: x.jsonl, max_rise: 0.1}]", "text[0].corpus", "no such file"),
    "corpus unasked": (
        "text: [{corpus: evals/general.jsonl}]",
        "text[0]",
        "needs `max_rise` or `report: true`",
    ),
    "report false": (
        "text: [{corpus: evals/general.jsonl, report: false}]",
        "text[0].report",
        "nothing is asked",
    ),
    "report and rise": (
        "text: [{corpus: evals/general.jsonl, report: true, max_rise: 0.1}]",
        "text[0].report",
        "excludes `max_rise`",
    ),
    "confidence 1": ("confidence: 1", "confidence", "between 0.5 and 1"),
    "confidence 0.5": ("confidence: 0.5", "confidence", "between 0.5 and 1"),
    "confidence 95": ("confidence: 95", "confidence", "between 0.5 and 1"),
    "dtype": ("evaluation: {dtype: fp32}", "evaluation.dtype", "expected one of auto, float32"),
    "scorer": ("evaluation: {scorer: fast}", "evaluation.scorer", "expected one of auto, tree, hf, vllm"),
    "batch size": ("evaluation: {batch_size: auto}", "evaluation.batch_size", "a whole number"),
    "evaluation key": ("evaluation: {dtypes: auto}", "evaluation.dtypes", "did you mean `dtype`?"),
    "trust no": ("trust: {remote_code: no}", "trust.remote_code", "expected true or false, got `no`"),
    "trust env": ("trust: {env: [A B]}", "trust.env[0]", "the name of an environment variable"),
    "trust env a word": ("trust: {env: HF_HOME}", "trust.env", "expected a list of variable names"),
}


@pytest.mark.parametrize("scorer", ["auto", "tree", "hf", "vllm"])
def test_scorers(folder: Path, scorer: str) -> None:
    """Each of them is read; `auto` is the default."""
    assert (
        load_policy(write(folder, f"{LEAST}evaluation: {{scorer: {scorer}}}\n")).evaluation.scorer == scorer
    )
    assert load_policy(write(folder, LEAST)).evaluation.scorer == "auto"


@pytest.mark.parametrize(("text", "line", "key", "message"), WHOLE.values(), ids=WHOLE)
def test_odd_files(folder: Path, text: str, line: int, key: str, message: str) -> None:
    """A file that is no policy, or one without a rule that can fail, is refused."""
    found = problems_of(write(folder, text))
    assert (found[0].line, found[0].key) == (line, key)
    assert message in str(found[0])


@pytest.mark.parametrize(("text", "key", "message"), ODD.values(), ids=ODD)
def test_odd_keys(folder: Path, text: str, key: str, message: str) -> None:
    """Each mistake is told with its file, line and key and what was expected."""
    path = write(folder, f"version: 1\n{text}\n")
    found = [problem for problem in problems_of(path) if problem.key == key and message in str(problem)]
    assert found
    assert found[0].file == str(path)
    assert found[0].line == (2 if key else 1)


def test_all_problems_at_once(folder: Path) -> None:
    """Mistakes in several sections are told together."""
    text = "version: 3\nconfidence: 2\ntarget: [{task: a}]\ngeneral: {tasks: [b]}\ntrust: {x: 1}\nwhat: 1\n"
    found = problems_of(write(folder, text))
    assert [problem.line for problem in sorted(found, key=lambda p: p.line)] == [1, 2, 3, 4, 5, 6]


def test_how_it_decides(folder: Path) -> None:
    """What decides, what happens after a certain fail, and which documents belong together."""
    rules = "general: {defaults: {cluster_by: passage}, tasks: [{task: a, max_drop: 0.1}]}"
    policy = load_policy(write(folder, f"version: 1\ndecide: proven\n{rules}\n"))
    assert (policy.decide, policy.tasks[0].cluster_by) == ("proven", "passage")
    policy = load_policy(write(folder, f"version: 1\ndecide: score\non_fail: stop\n{rules}\n"))
    assert (policy.decide, policy.on_fail, policy.fail_budget) == ("score", "stop", 0.5)
    policy = load_policy(write(folder, f"version: 1\ndecide: score\nfail_budget: 0.1\n{rules}\n"))
    assert (policy.on_fail, policy.fail_budget) == ("complete", 0.1)


def test_keys_are_frozen() -> None:
    """The words of thresholds.yaml are an interface: a change here is a change for every user."""
    assert {
        "top": policy_room.POLICY_KEYS,
        "evaluation": policy_room.EVALUATION_KEYS,
        "trust": policy_room.TRUST_KEYS,
        "pull_request": PULL_REQUEST_KEYS,
        "target": entries.TARGET_KEYS,
        "general": entries.GENERAL_KEYS,
        "general.defaults": entries.DEFAULTS_KEYS,
        "general.tasks": entries.TASK_KEYS,
        "general.tasks.slices": SLICES_KEYS,
        "general.average": entries.AVERAGE_KEYS,
        "text": entries.TEXT_KEYS,
        "waivers": WAIVER_KEYS,
        "champion": CHAMPION_KEYS,
    } == {
        "top": (
            "version", "confidence", "decide", "include", "target", "general", "text", "evaluation", "trust",
            "pull_request", "waivers", "prices", "on_fail", "fail_budget", "seeds", "champion",
        ),
        "champion": ("run", "model", "revision"),
        "waivers": (
            "rule", "max_drop", "min_gain", "min_score", "max_rise", "min_gain_over_champion",
            "max_drop_from_champion", "max_rise_from_champion", "skip", "reason", "until",
        ),
        "pull_request": ("when", "label", "new_targets", "bases", "configs", "template"),
        "evaluation": ("dtype", "chat_template", "quantization", "scorer", "batch_size", "device"),
        "trust": ("remote_code", "generated_code", "env"),
        "target": (
            "task", "min_gain", "min_score", "min_gain_over_champion", "max_drop_from_champion",
            "num_fewshot", "limit", "metric", "filter", "chat_template", "system_instruction",
        ),
        "general": ("defaults", "tasks", "average"),
        "general.defaults": (
            "max_drop", "max_drop_from_champion", "num_fewshot", "limit", "metric", "filter", "chat_template",
            "system_instruction", "cluster_by",
        ),
        "general.tasks": (
            "task", "max_drop", "max_drop_from_champion", "num_fewshot", "limit", "metric", "filter",
            "chat_template", "system_instruction", "cluster_by", "slices",
        ),
        "general.tasks.slices": ("by", "max_drop", "min_documents"),
        "general.average": ("max_drop", "max_drop_from_champion"),
        "text": ("corpus", "name", "field", "limit", "max_rise", "max_rise_from_champion", "report"),
    }  # fmt: skip


KEYS = sorted(
    {*policy_room.POLICY_KEYS, *entries.TARGET_KEYS, *entries.TASK_KEYS, *entries.TEXT_KEYS, "defaults"}
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["a", "evals", "full"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(data=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_mapping_is_a_policy_or_refused(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Whatever stands under the keys: a policy with a rule that can fail, or `ConfigErrors`."""
    text = json.dumps(data).replace("NaN", ".nan").replace("Infinity", ".inf")
    path = write(tmp_path_factory.mktemp("fuzz"), text)
    try:
        policy = load_policy(path)
    except ConfigErrors:
        return
    assert any(rule.margin is not None and rule.margin >= 0 for rule in policy.rules)


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=100))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Random bytes are no policy."""
    path = tmp_path_factory.mktemp("fuzz") / "thresholds.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigErrors):
        load_policy(path)


def test_pull_request_defaults_and_values(tmp_path: Path) -> None:
    """Without the section the defaults hold; with it each key is read, the template as a path."""
    head = "version: 1\ntarget: [{task: a, min_gain: 0.1}]\n"
    path = tmp_path / "thresholds.yaml"
    path.write_text(head)
    assert load_policy(path).pull_request == PullRequestPolicy()
    (tmp_path / "comment.md.j2").write_text("x")
    path.write_text(
        head + "pull_request: {when: label, label: gpu, new_targets: allow, bases: [org/b@v1],"
        " configs: ['c/**'], template: comment.md.j2}\n"
    )
    template = str(tmp_path / "comment.md.j2")
    assert load_policy(path).pull_request == PullRequestPolicy(
        "label", "gpu", "allow", ("org/b@v1",), ("c/**",), template
    )


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ("[]", "pull_request: expected a mapping"),
        ("{when: never}", "pull_request.when: expected one of ready, label, every-push"),
        ("{new_target: allow}", "pull_request.new_target: unknown key"),
        ("{bases: [7]}", "pull_request.bases[0]: expected the name of a base model"),
        ("{bases: []}", "pull_request.bases: expected a list with at least one entry"),
        ("{configs: '*.yaml'}", "pull_request.configs: expected a list"),
        ("{template: nowhere.j2}", "pull_request.template: no such file"),
    ],
)
def test_pull_request_problems(tmp_path: Path, section: str, complaint: str) -> None:
    """Every mistake is told at its key."""
    path = tmp_path / "thresholds.yaml"
    path.write_text(f"version: 1\ntarget: [{{task: a, min_gain: 0.1}}]\npull_request: {section}\n")
    with pytest.raises(ConfigErrors) as caught:
        load_policy(path)
    assert complaint in str(caught.value)
