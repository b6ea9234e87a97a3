"""A second reference: how a policy names it, what may be compared with it, and what it catches."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import jsonschema
import pytest
import small_runs
from small_runs import BASE, WHERE

from gate.champion import TrustedFirst, find_champion, settings_differ
from gate.ci.record import read_result
from gate.errors import ConfigErrors, MeasurementError, UsageError
from gate.foresight import Flips, foresee
from gate.policy import load_policy
from gate.progress import SilentProgress
from gate.records import (
    Block,
    BlockResult,
    Champion,
    Cost,
    Leaf,
    Measurements,
    ModelRef,
    Policy,
    Rule,
    TaskInfo,
    TaskSpec,
    Waiver,
)
from gate.report import SCHEMA_FILE, make_view
from gate.report.document import encode_document
from gate.report.environment import said_plain
from gate.schedule import key_of, make_schedule
from gate.shell import Shell
from gate.store import Store
from gate.verdict import Verdict, judge
from gate.verdict.champion import champion_tasks, pair_with_champion
from gate.verdict.settling import Series, ask

N = 1_000


def answers(right: int) -> tuple[float, ...]:
    """A model that has the first `right` of all documents right."""
    return (1.0,) * right + (0.0,) * (N - right)


def run_of(name: str, right: int, *, task: str = "general/x", base: int = 800) -> Measurements:
    """A model's run: so many documents right, against a base with 800 of 1,000."""
    leaf = small_runs.leaf_of(answers(base), answers(right), task=task, leaf="x")
    tuned = ModelRef(name, "/m", f"sha256:{name}")
    return small_runs.run_of(leaf, tuned=tuned, num_fewshot=0, digest="d")


def policy_of(*rules: Rule, **changes: object) -> Policy:
    specs = (TaskSpec("general", "x"),)
    champion = Champion(run="champions/latest")
    return Policy(rules, specs, path="thresholds.yaml", champion=champion, **changes)  # type: ignore[arg-type]


FROM_BASE = Rule("general", "x", "max_drop", 0.01)
FROM_CHAMPION = Rule("general", "x", "max_drop", 0.01, reference="champion")


def decide(ours: Measurements, theirs: Measurements | None, policy: Policy) -> Verdict:
    pairs = None if theirs is None else pair_with_champion(ours, theirs, policy)
    return judge(ours, policy, None, Cost(), WHERE, champion=pairs)


# ── What it catches ──────────────────────────────────────────────────────────────────────────────


def test_creeping_loss_passes_the_base_rule_and_is_caught_by_the_champions() -> None:
    """Planted: ten models, each 0.9 points below the one before, the first ten points above the base."""
    policy = policy_of(FROM_BASE, replace(FROM_CHAMPION, margin=0.03))
    champion = run_of("champion", 900)
    outcomes = []
    for number in range(1, 11):
        ours = run_of(f"model {number}", 900 - 9 * number)
        found = {each.rule: each.outcome for each in decide(ours, champion, policy).findings}
        outcomes.append((found["general/x/max_drop"], found["general/x/max_drop_from_champion"]))
    assert [base for base, _ in outcomes] == ["pass"] * 10
    assert [against for _, against in outcomes] == ["pass"] * 3 + ["fail"] * 7


def test_a_champion_finding_holds_the_champions_numbers() -> None:
    """Base and counts are of the champion's pairs; the verdict names the champion."""
    verdict = decide(run_of("ours", 880), run_of("champion", 900), policy_of(FROM_BASE, FROM_CHAMPION))
    base, champion = verdict.findings
    assert (base.base, round(base.difference, 9), base.reference) == (0.8, 0.08, "base")
    assert (champion.base, champion.fell, champion.rose) == (0.9, 20, 0)
    assert (champion.reference, champion.outcome) == ("champion", "fail")
    assert verdict.champion is not None
    assert (verdict.outcome, verdict.champion.name) == ("fail", "champion")


def test_the_same_estimators_prove() -> None:
    """Under `decide: proven` a drop from the champion needs a proof like one from the base."""
    policy = policy_of(replace(FROM_CHAMPION, margin=0.02), decide="proven")
    (unsure,) = decide(run_of("ours", 885), run_of("champion", 900), policy).findings
    (sure,) = decide(run_of("ours", 900), run_of("champion", 900), policy).findings
    assert (unsure.outcome, unsure.proven) == ("undecided", False)
    assert (sure.outcome, sure.proven) == ("pass", True)


def test_all_documents_are_scored_for_a_champion_rule() -> None:
    """Under `decide: score` such a rule asks nothing of the sequential test."""
    series = [Series(("general/x", "x", "acc", "none"), N, 1.0, "accuracy", True, "mean")]
    assert ask(FROM_BASE, series) is not None
    assert ask(FROM_CHAMPION, series) is None


def test_a_champion_rule_that_a_waiver_skips_is_scored_in_full_too() -> None:
    """It is shown all the same, so the run must not end with fewer documents than the champion has."""
    waiver = Waiver("general/x/max_drop_from_champion", None, 0.01, "r", "2027-01-01")
    policy = policy_of(FROM_BASE, replace(FROM_CHAMPION, waiver=waiver), decide="score")
    ours = run_of("ours", 880)
    key = key_of(ours.tasks[0], "x")
    order = {key: tuple(Block("general/x", "x", k, (k,)) for k in range(N))}
    schedule, standing = make_schedule(policy, ours.tasks, {key: "mean"}, order)
    drawn = len(schedule.next_round(standing)[key])
    (all_of,) = ours.measurements
    seen = replace(
        all_of,
        numbers=all_of.numbers[:drawn],
        hashes=all_of.hashes[:drawn],
        base=all_of.base[:drawn],
        tuned=all_of.tuned[:drawn],
        rounds=(0,) * drawn,
    )
    pairs = pair_with_champion(replace(ours, measurements=(seen,)), run_of("champion", 900), policy)
    assert sum(pairs.measurements[0].base) == 900


def test_the_report_says_against_whom() -> None:
    """The sentence, the panel and the counts tell the two references apart."""
    verdict = decide(run_of("ours", 880), run_of("champion", 900), policy_of(FROM_BASE, FROM_CHAMPION))
    view = make_view(verdict, (), ())
    assert "on x against the champion, allowed 1.0" in said_plain(view.claim)
    assert [panel.title for panel in view.panels] == [
        "Change in general ability",
        "Change against the champion",
    ]
    assert (view.counts.fell, view.counts.rose) == (0, 80)
    assert [pair.row.base for group in view.pairs for pair in group.pairs] == ["80.0 %"]
    assert view.rows[1].base == "champion 90.0 %"


# ── What may be compared ─────────────────────────────────────────────────────────────────────────


def other_documents(theirs: Measurements) -> Measurements:
    one = theirs.measurements[0]
    changed = replace(one, hashes=("another", *one.hashes[1:]))
    return replace(theirs, measurements=(changed,))


def fewer_documents(theirs: Measurements) -> Measurements:
    one = theirs.measurements[0]
    n = 400
    changed = replace(
        one,
        numbers=one.numbers[:n],
        hashes=one.hashes[:n],
        base=one.base[:n],
        tuned=one.tuned[:n],
        rounds=(0,) * n,
    )
    return replace(theirs, measurements=(changed,))


def other_task(**changes: object) -> object:
    def change(theirs: Measurements) -> Measurements:
        return replace(theirs, tasks=(replace(theirs.tasks[0], **changes),))  # type: ignore[arg-type]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_documents, "other documents of x"),
        (fewer_documents, "scored 400 documents of x, this one 1,000, settled early: `ftgate audit`"),
        (other_task(digest="other"), "its prompts or its code"),
        (other_task(num_fewshot=5), "few-shot examples: 5 for the champion, 0 here"),
        (other_task(metric="f1"), "its metric: f1,none for the champion, acc,none here"),
        (other_task(task="general/y"), "it was not measured of the champion"),
    ],
)
def test_a_champion_of_other_documents_is_refused(change: object, words: str) -> None:
    """Planted: whatever makes the two runs incomparable is named, with what to do; nothing is judged."""
    theirs = change(run_of("champion", 900))  # type: ignore[operator]
    with pytest.raises(ConfigErrors) as caught:
        decide(run_of("ours", 880), theirs, policy_of(FROM_CHAMPION))
    assert words in caught.value.message
    assert "cannot be compared with the champion champion" in caught.value.message
    assert "champion: {model: DIGEST}" in caught.value.problems[0].hint


def test_documents_are_paired_by_number() -> None:
    """Planted: the champion's rows in another order are the same rows."""
    theirs = run_of("champion", 900)
    one = theirs.measurements[0]
    backwards = replace(
        one, **{key: getattr(one, key)[::-1] for key in ("numbers", "hashes", "base", "tuned")}
    )
    policy = policy_of(FROM_CHAMPION)
    ours = run_of("ours", 880)
    assert decide(ours, replace(theirs, measurements=(backwards,)), policy) == decide(ours, theirs, policy)


def test_other_settings_are_named() -> None:
    """dtype, device and batch size move a score by themselves."""
    theirs = replace(WHERE, dtype="bfloat16", device="NVIDIA H100", batch_size=64)
    said = [*settings_differ(WHERE, theirs, BASE, replace(BASE, name="old", digest="sha256:o"))]
    assert said == [
        "dtype bfloat16, here float32",
        "device NVIDIA H100, here cpu",
        "batch size 64, here 16",
        "base model old (sha256:o), here base (sha256:b)",
    ]
    assert not [*settings_differ(WHERE, WHERE, BASE, BASE)]


def test_a_champion_rule_needs_its_pairs() -> None:
    """Without pairs, or with another model's, nothing is judged."""
    ours, theirs, policy = run_of("ours", 880), run_of("champion", 900), policy_of(FROM_CHAMPION)
    with pytest.raises(UsageError, match="measured no champion"):
        decide(ours, None, policy)
    pairs = pair_with_champion(ours, theirs, policy)
    with pytest.raises(MeasurementError, match="not measured against another"):
        judge(run_of("another", 880), policy, None, Cost(), WHERE, champion=pairs)


def test_a_verdict_refuses_a_champion_finding_without_a_champion() -> None:
    """Nor can one say that it is about the champion under the id of a base rule."""
    verdict = decide(run_of("ours", 895), run_of("champion", 900), policy_of(FROM_CHAMPION))
    with pytest.raises(MeasurementError, match="there is none"):
        replace(verdict, champion=None)
    (finding,) = verdict.findings
    with pytest.raises(MeasurementError, match="is not a general rule about max_drop"):
        replace(verdict, findings=(replace(finding, rule="general/x/max_drop"),))


def test_only_the_tasks_of_champion_rules_are_compared() -> None:
    """A mean against the champion needs all general tasks."""
    specs = (TaskSpec("target", "t"), TaskSpec("general", "x"), TaskSpec("general", "y"))
    policy = replace(policy_of(FROM_CHAMPION, Rule("target", "t", "min_gain", 0.1)), tasks=specs)
    assert champion_tasks(policy) == ("general/x",)
    mean = Rule("average", "general", "max_drop", 0.01, reference="champion")
    assert champion_tasks(replace(policy, rules=(mean,))) == ("general/x", "general/y")


# ── How a policy says it ─────────────────────────────────────────────────────────────────────────

POLICY = """version: 1
champion: {model: org/model, revision: abc}
target: [{task: t, min_gain: 0.1, min_gain_over_champion: 0.0, max_drop_from_champion: 0.02}]
general:
  defaults: {max_drop: 0.02, max_drop_from_champion: 0.01}
  tasks: [a, {task: b, max_drop_from_champion: 0.03}]
  average: {max_drop_from_champion: 0.005}
text: [{corpus: c.txt, max_rise_from_champion: 0.01}]
waivers:
  - {rule: general/b/max_drop_from_champion, max_drop_from_champion: 0.5, reason: r, until: 2027-01-01}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "c.txt").write_text("text")
    (folder / "thresholds.yaml").write_text(text)
    return folder / "thresholds.yaml"


def test_a_policy_names_its_champion(tmp_path: Path) -> None:
    """Margins against the champion stand beside those against the base, and can be waived by their ids."""
    policy = load_policy(written(tmp_path, POLICY), today=date(2026, 11, 24))
    assert policy.champion == Champion(model="org/model", revision="abc")
    assert {rule.id: rule.margin for rule in policy.rules if rule.reference == "champion"} == {
        "target/t/min_gain_over_champion": 0.0,
        "target/t/max_drop_from_champion": 0.02,
        "general/a/max_drop_from_champion": 0.01,
        "general/b/max_drop_from_champion": 0.5,
        "average/general/max_drop_from_champion": 0.005,
        "text/c/max_rise_from_champion": 0.01,
    }
    assert {rule.id for rule in policy.rules if rule.reference == "base"} == {
        "target/t/min_gain",
        "general/a/max_drop",
        "general/b/max_drop",
    }


@pytest.mark.parametrize(
    ("champion", "words"),
    [
        ("", "needs a `champion`"),
        ("champion: {}", "needs either `run` or `model`"),
        ("champion: {run: a, model: b}", "needs either `run` or `model`"),
        ("champion: {run: nowhere}", "no such folder"),
        ("champion: {run: ., revision: x}", "is a model's"),
        ("champion: {model: 'sha256:12'}", "is no digest"),
        ("champion: {model: a, branch: b}", "unknown key"),
        ("champion: {model: a}\nseeds: 3", "goes with one training"),
    ],
)
def test_odd_champions(tmp_path: Path, champion: str, words: str) -> None:
    """Each mistake is told."""
    text = f"version: 1\n{champion}\ngeneral: {{tasks: [{{task: a, max_drop_from_champion: 0.1}}]}}\n"
    with pytest.raises(ConfigErrors, match=words):
        load_policy(written(tmp_path, text))


def test_a_champion_without_rules_is_a_mistake(tmp_path: Path) -> None:
    """Else somebody believes that it is held against it."""
    text = "version: 1\nchampion: {model: a}\ngeneral: {tasks: [{task: a, max_drop: 0.1}]}\n"
    with pytest.raises(ConfigErrors, match="no rule is held against it"):
        load_policy(written(tmp_path, text))


def test_plan_shows_champion_rules() -> None:
    """With figures at an assumed rate, whatever was seen against the base, and all documents."""
    info = TaskInfo("general/x", "benchmarks", "acc", "none", "accuracy", True, (Leaf("x", N, N),))
    policy = policy_of(replace(FROM_BASE, margin=0.05), replace(FROM_CHAMPION, margin=0.05), decide="score")
    known = {"general/x": Flips(0.02, True, "history", 5)}
    base, champion = foresee(policy, (info,), known).rules
    assert (base.rule, base.flips.rate, base.expected is None) == ("general/x/max_drop", 0.02, False)
    assert (champion.rule, champion.flips.rate) == ("general/x/max_drop_from_champion", 0.1)
    assert champion.expected is None
    assert champion.sharpness


# ── Whose answers count ──────────────────────────────────────────────────────────────────────────


def block(value: float) -> BlockResult:
    return BlockResult((0,), ("h",), ((),), {"acc,none": (value,)})


def test_a_pull_request_cannot_make_the_champion_worse(tmp_path: Path) -> None:
    """Planted: a forged block of the champion in the pull request's own place; the merged ref's counts."""
    key = "0" * 64
    Store(tmp_path, pull=7, warn=pytest.fail).put_block(key, block(0.0))
    own = TrustedFirst.like(Store(tmp_path, pull=7, warn=pytest.fail))
    assert own.get_block(key, "tuned") == block(0.0)  # nobody else has measured it
    Store(tmp_path, warn=pytest.fail).put_block(key, block(1.0))
    assert Store(tmp_path, pull=7, warn=pytest.fail).get_block(key, "tuned") == block(0.0)
    assert own.get_block(key, "tuned") == block(1.0)


def test_a_pull_requests_own_model_is_no_champion(tmp_path: Path) -> None:
    """A digest is looked for at the store's root alone."""
    digest = "sha256:" + "a" * 64
    Store(tmp_path, pull=7, warn=pytest.fail).model_path(digest).mkdir(parents=True)
    policy = replace(policy_of(FROM_CHAMPION), champion=Champion(model=digest))
    shell = Shell({"FTGATE_CACHE": str(tmp_path)}, pytest.fail, pytest.fail, SilentProgress())
    with pytest.raises(ConfigErrors, match="the store holds no model"):
        find_champion(policy, BASE, (), shell)
    assert find_champion(replace(policy, champion=None), BASE, (), shell) is None


def test_the_document_names_the_champion(tmp_path: Path) -> None:
    """verdict.json keeps the schema, and comes back as the same verdict."""
    verdict = decide(run_of("ours", 880), run_of("champion", 900), policy_of(FROM_BASE, FROM_CHAMPION))
    document = encode_document(verdict)
    jsonschema.validate(json.loads(document), json.loads(SCHEMA_FILE.read_text()))
    (tmp_path / "verdict.json").write_bytes(document)
    assert read_result(tmp_path / "verdict.json") == verdict
