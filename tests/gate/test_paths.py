"""How a rule came to be settled: its path from the stored rounds, and the picture of it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from small_runs import WHERE, leaf_of, run_of

from gate.records import (
    Cost,
    Measurement,
    Measurements,
    Policy,
    Rule,
    TaskSpec,
)
from gate.report import render
from gate.stats.claims import band, remaining
from gate.stats.sequential import Block, Evidence, Stratum, observe, start
from gate.verdict import Verdict, judge, order_digest
from gate.verdict.paths import MOST_LOOKS, RulePath, paths_of

PLANNED = 4000


def drawn(task: str, scored: int, lost: float, won: float) -> Measurement:
    """A task of 4,000 documents of which `scored` were drawn, 32 a round."""
    rng = np.random.default_rng([scored, len(task)])
    chance = rng.random(scored)
    base, tuned = np.full(scored, 1.0), np.full(scored, 1.0)
    tuned[chance < lost], base[chance > 1 - won] = 0.0, 0.0
    rounds = tuple(k // 32 for k in range(scored))
    return leaf_of(base.tolist(), tuned.tolist(), task=task, documents_total=PLANNED, rounds=rounds)


@pytest.fixture(scope="module")
def judged() -> tuple[Measurements, Policy, Verdict]:
    """One rule that holds, settled early; one that breaks."""
    found = run_of(drawn("general/kept", 1600, 0.03, 0.03), drawn("general/lost", 1600, 0.12, 0.02))
    rules = (Rule("general", "kept", "max_drop", 0.03), Rule("general", "lost", "max_drop", 0.03))
    specs = (TaskSpec("general", "kept"), TaskSpec("general", "lost"))
    policy = Policy(rules, specs, decide="score", path="thresholds.yaml")
    where = replace(WHERE, order_digest=order_digest(found))
    return found, policy, judge(found, policy, None, Cost(), where)


def paths(judged: tuple[Measurements, Policy, Verdict]) -> tuple[RulePath, ...]:
    measured, policy, verdict = judged
    return paths_of(measured, policy, [finding.rule for finding in verdict.findings if finding.early])


def test_a_path_ends_where_the_verdict_says(judged: tuple[Measurements, Policy, Verdict]) -> None:
    """At the finding's own documents, number and remaining uncertainty, on the margin's right side."""
    findings = {finding.rule: finding for finding in judged[2].findings}
    for path in paths(judged):
        finding, last = findings[path.rule], path.looks[-1]
        assert finding.remaining is not None
        assert (last.documents, path.planned, path.settled) == (finding.documents_scored, PLANNED, True)
        assert last.estimate == pytest.approx(finding.difference)
        assert (last.low, last.high) == pytest.approx((finding.remaining.low, finding.remaining.high))
    assert [finding.outcome for finding in judged[2].findings] == ["pass", "fail"]


def test_a_path_holds_its_estimate_and_narrows(judged: tuple[Measurements, Policy, Verdict]) -> None:
    """Every look's band holds its estimate; documents rise; the last band is narrower than the first."""
    for path in paths(judged):
        assert 2 <= len(path.looks) <= MOST_LOOKS
        assert all(look.low <= look.estimate <= look.high for look in path.looks)
        counts = [look.documents for look in path.looks]
        assert counts == sorted(set(counts))
        first, last = path.looks[0], path.looks[-1]
        assert last.high - last.low < first.high - first.low


def test_there_is_no_path_without_early_stopping(judged: tuple[Measurements, Policy, Verdict]) -> None:
    """Under another `decide`, for no rule, and for a rule that does not exist."""
    measured, policy, _ = judged
    assert paths_of(measured, policy, []) == ()
    assert paths_of(measured, policy, ["general/other/max_drop"]) == ()
    assert paths_of(measured, replace(policy, decide="full"), ["general/kept/max_drop"]) == ()


def seen(documents: int, size: int = 500) -> Evidence:
    rng = np.random.default_rng(documents)
    evidence = start([Stratum(size)])
    for _ in range(0, documents, 50):
        evidence = observe(evidence, [Block(rng.choice([-1.0, 0.0, 1.0], 50, p=[0.1, 0.7, 0.2]))])
    return evidence


@pytest.mark.parametrize("documents", [50, 200, 450, 500])
def test_the_drawn_band_is_the_exact_one(documents: int) -> None:
    """To a ten-thousandth; with all documents it has no width."""
    evidence = seen(documents)
    found, exact = band(evidence, 0.05, 0.01), remaining(evidence, 0.1)
    assert found.estimate == exact.estimate
    assert found.high == pytest.approx(exact.high, abs=2e-4)
    assert found.low == pytest.approx(remaining(evidence, 0.02).low, abs=2e-4)
    assert (found.high == found.low) == (documents == 500)


def test_the_report_draws_the_paths(judged: tuple[Measurements, Policy, Verdict]) -> None:
    """One picture a rule, its places within it, with words for who does not see it; cells in the comment."""
    _, _, verdict = judged
    report = render(verdict, (), (), paths=paths(judged))
    assert report.html.count('<svg class="path"') == 2
    assert re.search(
        r'aria-label="Where the full benchmark’s number could lie: after 32 documents', report.html
    )
    for points in re.findall(r'<poly\w+ class="\w+" points="([^"]*)"', report.html):
        places = [tuple(map(float, place.split(","))) for place in points.split()]
        assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in places)
    assert "How 2 rules were settled early</summary>" in report.comment
    assert "worst" not in report.comment.split("settled early</summary>")[1].split("</details>")[0]
    assert re.search(r"[▁▂▃▄▅▆▇█]{12}", report.comment)
    assert 'class="path"' not in render(verdict, (), ()).html


def test_the_report_says_which_paths_it_leaves_out(judged: tuple[Measurements, Policy, Verdict]) -> None:
    """A rule that is not settled is not counted as settled, and one that is not drawn is not passed over."""
    _, _, verdict = judged
    drawn_ = paths(judged)[:1]
    report = render(verdict, (), (), paths=drawn_)
    assert "1 more rule likewise: only the worst 1 are drawn" in report.comment
    assert "The 1 worst of 2 rules" in report.html
    assert "The 2 worst" not in render(verdict, (), (), paths=paths(judged)).html
    kept, lost = sorted(verdict.findings, key=lambda it: it.outcome == "fail")
    open_ = replace(verdict, findings=(replace(kept, outcome="undecided"), lost))
    comment = render(open_, (), (), paths=paths(judged)).comment
    assert "How 1 rule was settled early, and 1 not" in comment
