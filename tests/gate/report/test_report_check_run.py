"""A config's check run: its title, its sizes, and on which lines it has a remark."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from gate.records import PolicyChange
from gate.report import CheckRunText, render_check_run, render_overall_check_run, render_pull_request
from gate.verdict import Failure, Verdict

LINES = {"model_name_or_path": 2, "learning_rate": 5, "num_train_epochs": 8, "per_device_train_batch_size": 9}


def check(
    sample: ModuleType,
    pulls: ModuleType,
    result: Verdict | Failure,
    path: str = "configs/full.yaml",
    **more: object,
) -> CheckRunText:
    run = pulls.config_run(path, result.outcome, exit_code=result.exit_code)
    config = pulls.training_config(**LINES)
    whole = pulls.ci_run(run, **more)
    return render_check_run(pulls.view_of(sample, result), run, whole, pulls.context(), config=config)


def places(found: CheckRunText) -> list[tuple[str, int, str, str]]:
    return [(it.path, it.line, it.level, it.title) for it in found.remarks]


def test_lost_capability_is_remarked_where_the_learning_rate_stands(
    sample: ModuleType, pulls: ModuleType
) -> None:
    """One remark on the config for all rules that do not hold, one on each rule's line of the policy."""
    found = check(sample, pulls, sample.blocked())
    assert places(found) == [
        ("configs/full.yaml", 5, "failure", "capability lost"),
        ("thresholds.yaml", 12, "warning", "this rule blocks configs/full.yaml"),
    ]
    assert found.remarks[0].message == (
        "arc_easy: −3.1 ± 0.6 points, allowed −2.0. "
        "A lower learning rate, fewer steps or an adapter forgets less."
    )
    assert found.title.startswith(
        "blocked, capability lost: gained 12.4 points on banking77 but lost 3.1 ± 0.6"
    )


def test_a_missed_target_is_remarked_where_the_length_stands(sample: ModuleType, pulls: ModuleType) -> None:
    """Too little learned points at the epochs."""
    missed = sample.verdict(sample.finding("target/banking77/min_gain", 0.13, 0.14, 0.05, 0.01))
    assert ("configs/full.yaml", 8, "failure", "target missed") in places(check(sample, pulls, missed))


def test_undecided_is_a_warning_and_a_pass_says_nothing(sample: ModuleType, pulls: ModuleType) -> None:
    """A remark is there only where someone can do something."""
    assert ("configs/full.yaml", 5, "warning", "capability lost") not in places(
        check(sample, pulls, sample.blocked())
    )
    assert places(check(sample, pulls, sample.undecided()))[0][2] == "warning"
    assert check(sample, pulls, sample.passing()).remarks == ()


def test_errors_are_remarked_on_the_lines_that_they_name(sample: ModuleType, pulls: ModuleType) -> None:
    """A config's problems each on their line; out of memory on the batch size."""
    typo = check(sample, pulls, pulls.config_error(sample), "configs/typo.yaml")
    assert places(typo) == [
        ("configs/typo.yaml", 12, "failure", "config error"),
        ("configs/typo.yaml", 14, "failure", "config error"),
    ]
    assert places(check(sample, pulls, sample.failure())) == [
        ("configs/full.yaml", 9, "failure", "could not measure")
    ]


def test_a_remark_on_the_policy_stands_on_the_heads_line(sample: ModuleType, pulls: ModuleType) -> None:
    """Where the head's file is another one, a rule that moved is remarked where it is now, and one that is
    not there as it judged is not."""
    blocked = sample.blocked()
    rule = next(it.rule for it in blocked.findings if it.outcome == "fail")
    change = PolicyChange("thresholds.yaml", "-a\n+b", lines={rule: 40})
    found = check(sample, pulls, blocked, policy=change)
    assert [(it.path, it.line) for it in found.remarks] == [("configs/full.yaml", 5), ("thresholds.yaml", 40)]
    assert "This pull request changes the policy" in found.summary
    gone = check(sample, pulls, blocked, policy=replace(change, lines={}))
    assert [it.path for it in gone.remarks] == ["configs/full.yaml"]


def test_a_blocked_config_without_a_run_is_explained(sample: ModuleType, pulls: ModuleType) -> None:
    """Nothing measured: the reason is the title, the remark and the summary."""
    run = pulls.config_run(
        "configs/new.yaml", "fail", blocked="unknown base model evil", hint="land it first"
    )
    found = render_check_run(None, run, pulls.ci_run(run), pulls.context())
    assert found.title == "blocked, not judged: unknown base model evil"
    assert places(found) == [("configs/new.yaml", 1, "failure", "blocked, not judged")]
    assert "land it first" in found.summary


def test_summary_and_text_fit(sample: ModuleType, pulls: ModuleType) -> None:
    """Thousands of rules that do not hold: both stay below GitHub's 65,535 bytes."""
    its = [sample.finding(f"general/{'漢' * 40}{n}/max_drop", 0.5, 0.4, 0.02, 0.01) for n in range(2000)]
    found = check(sample, pulls, sample.verdict(*its))
    assert len(found.summary.encode()) < 65_535
    assert len(found.text.encode()) < 65_535
    assert len(found.remarks) <= 20
    assert all(len(it.message.encode()) < 64_000 for it in found.remarks)


def test_the_whole_pull_request_has_a_check_run_with_the_comment(
    sample: ModuleType, pulls: ModuleType
) -> None:
    """Its text is the comment's, so that a publisher can restore it; its title counts the configs."""
    run, views = pulls.every_way(sample)
    comment = render_pull_request(run, views, pulls.context())
    found = render_overall_check_run(run, views, comment, pulls.context())
    assert found.text == comment
    assert found.title.startswith("could not measure: 1 of 8 configs could not be measured")
    assert "| ❌ | `configs/full.yaml` |" in found.summary
    nothing = replace(run, runs=(), outcome="pass", exit_code=0, message="no training config changed")
    assert render_overall_check_run(nothing, {}, "x").title == "no training config changed"
