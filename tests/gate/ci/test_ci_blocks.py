"""What a pull request may not bring along: a base model or target rules that nobody has agreed to."""

from __future__ import annotations

from pathlib import Path

import pytest
from scratch import CONFIG, FILES, POLICY, Ended, Scratch, StubCheck, pull_payload, run_in

LORA, NEW = "configs/lora.yaml", "configs/new.yaml"
EDITED = CONFIG.replace("1.0e-3", "2.0e-3")
HUB = CONFIG.replace("model_name_or_path: base", "model_name_or_path: org/model\nmodel_revision: v1")
WITH_TARGET = POLICY.replace("0.1}]", "0.1}, {task: other, min_gain: 0.2}]")


def run(path: Path, files: dict[str, str | None], base: dict[str, str] | None = None) -> Ended:
    """A pull request with these changes against a base ref with those files."""
    scratch = Scratch(path / "repo", {**FILES, **(base or {})})
    head = scratch.commit(files)
    return run_in(scratch, "pull_request", pull_payload(scratch, head))


def allow(policy: str, words: str) -> dict[str, str]:
    return {"thresholds.yaml": f"{policy}pull_request: {{{words}}}\n"}


# ── Base models ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("files", "base", "words"),
    [
        ({LORA: HUB}, {}, "no config of the base ref trains from org/model@v1"),
        ({LORA: HUB}, {NEW: HUB.replace("v1", "v2")}, "no config of the base ref trains from org/model@v1"),
        ({LORA: HUB}, allow(POLICY, "bases: [org/model@v2]"), "no config of the base ref trains"),
        ({LORA: HUB}, allow(POLICY, "bases: [org/mod]"), "no config of the base ref trains"),
        ({LORA: EDITED, "base/config.json": '{"a": 1}'}, {}, "changes the base model base"),
        ({LORA: EDITED, "base/model.safetensors": "x"}, {}, "changes the base model base"),
        ({LORA: EDITED, "base/config.json": None}, {}, "changes the base model base"),
        ({"base/config.json": '{"a": 1}'}, {}, "changes the base model base"),
        # A folder of the hub model's name would be taken for it.
        ({LORA: HUB, "org/model/config.json": "{}"}, {NEW: HUB}, "brings its own base model org/model"),
        (
            {LORA: HUB, "org/model/config.json": "{}"},
            allow(POLICY, "bases: [org/model]"),
            "brings its own base model",
        ),
    ],
)
def test_a_base_model_that_nobody_agreed_to(
    tmp_path: Path, files: dict[str, str | None], base: dict[str, str], words: str
) -> None:
    """Blocked with the two steps that are allowed, and nothing is trained."""
    ended = run(tmp_path, files, base)
    first = next(each for each in ended.run.runs if each.change.path == LORA)
    assert (ended.code, first.outcome, first.exit_code) == (1, "fail", 1)
    assert words in first.blocked
    assert "1. a pull request with" in first.hint
    assert LORA not in ended.stub.configs
    assert first.blocked[:30] in ended.summary()


@pytest.mark.parametrize(
    ("config", "base"),
    [
        (HUB, {NEW: HUB}),
        (HUB, allow(POLICY, "bases: [org/model@v1]")),
        (HUB, allow(POLICY, "bases: [org/model]")),
        (EDITED.replace("path: base", "path: ./base/"), {}),
    ],
)
def test_a_base_model_that_was_agreed_to(tmp_path: Path, config: str, base: dict[str, str]) -> None:
    """Another config's at the base ref, or one of the policy's list."""
    ended = run(tmp_path, {LORA: config}, base)
    assert (ended.code, ended.stub.configs) == (0, [LORA])


def test_a_local_base_is_measured_from_the_base_ref(tmp_path: Path) -> None:
    """What the checkout's copy was changed to without a commit is not what is measured."""
    scratch = Scratch(tmp_path / "repo")
    head = scratch.commit({LORA: EDITED})
    (scratch.path / "base/config.json").write_text("tampered")
    seen: list[str] = []

    class Looking(StubCheck):
        def __call__(self, options, shell):  # type: ignore[no-untyped-def]
            seen.append((options.base_folder / "config.json").read_text())
            return super().__call__(options, shell)

    assert run_in(scratch, "pull_request", pull_payload(scratch, head), stub=Looking()).code == 0
    assert seen == ["{}"]


def test_a_base_outside_of_git_is_where_it_is(tmp_path: Path) -> None:
    """A folder of the machine, by its absolute name, as the base ref's configs have it."""
    model = tmp_path / "models/x"
    model.mkdir(parents=True)
    config = CONFIG.replace("path: base", f"path: {model}")
    ended = run(tmp_path, {LORA: config + "# x\n"}, {LORA: config})
    assert ended.code == 0
    assert ended.stub.asked[0].base_folder == model


# ── Target rules ─────────────────────────────────────────────────────────────────────────────────


def test_a_config_with_its_own_target_is_blocked(tmp_path: Path) -> None:
    """Config and rule together: the rule is shown as proposed, and the recipe said."""
    ended = run(tmp_path, {NEW: CONFIG, "thresholds.yaml": WITH_TARGET})
    by_path = {each.change.path: each for each in ended.run.runs}
    assert ended.code == 1
    assert "target/other/min_gain" in by_path[NEW].blocked
    assert "1. a pull request with the task and its rule" in by_path[NEW].hint
    assert [rule.rule for rule in ended.run.policy.proposed] == ["target/other/min_gain"]
    assert NEW not in ended.stub.configs
    # The others change by the policy alone, and are judged by the base ref's.
    assert by_path[LORA].outcome == "pass"


def test_allowed_targets_are_proposed_and_not_judged(tmp_path: Path) -> None:
    """`new_targets: allow` on the base ref lets its rules decide; the pull request's own word does not."""
    files: dict[str, str | None] = {NEW: CONFIG, "thresholds.yaml": WITH_TARGET}
    ended = run(tmp_path / "allowed", files, allow(POLICY, "new_targets: allow"))
    assert ended.code == 0
    assert [rule.rule for rule in ended.run.policy.proposed] == ["target/other/min_gain"]
    files["thresholds.yaml"] = allow(WITH_TARGET, "new_targets: allow")["thresholds.yaml"]
    assert run(tmp_path / "own", files).code == 1


def test_the_first_step_of_the_recipe_is_not_blocked(tmp_path: Path) -> None:
    """A pull request with task and rule alone."""
    ended = run(tmp_path, {"thresholds.yaml": WITH_TARGET, "tasks/other.yaml": "task: other\n"})
    assert ended.code == 0
    assert {each.blocked for each in ended.run.runs} == {""}


def test_another_margin_is_no_new_target(tmp_path: Path) -> None:
    """A known rule with another margin is shown in the difference; the base ref's margin judges."""
    ended = run(tmp_path, {LORA: EDITED, "thresholds.yaml": POLICY.replace("0.1", "0.01")})
    assert ended.code == 0
    assert ended.run.policy.proposed == ()
    assert "+target: [{task: mine, min_gain: 0.01}]" in ended.run.policy.difference


# ── Other tricks ─────────────────────────────────────────────────────────────────────────────────


def test_a_config_that_is_a_link_is_an_error(tmp_path: Path) -> None:
    """It would show what lies elsewhere, also outside of the repository."""
    scratch = Scratch(tmp_path / "repo")
    (scratch.path / LORA).unlink()
    (scratch.path / LORA).symlink_to("/etc/passwd")
    ended = run_in(scratch, "pull_request", pull_payload(scratch, scratch.commit()))
    assert ended.code == 2
    assert "is a symbolic link" in ended.summary()
    assert ended.stub.asked == []


@pytest.mark.parametrize(
    "content",
    [
        "# " + "x" * (2 << 20) + "\n" + EDITED,  # larger than what is read
        EDITED.replace("model_name_or_path", '"model_name\\u005for_path"'),
        "{model_name_or_path: base, dataset_name: data/train}\n",
        "base_model: x\nmicro_batch_size: 1\n",  # another trainer's
        "\0",
        "- a\n",
    ],
    ids=["padded", "escaped", "flow", "foreign", "binary", "list"],
)
def test_a_config_cannot_be_disguised(tmp_path: Path, content: str) -> None:
    """Whatever is made of a config's file, it is run or it is an error; it is never out of sight."""
    ended = run(tmp_path, {LORA: content})
    assert ended.reasons == {LORA: "edited"}
    assert ended.code == (0 if ended.stub.asked else 2)


def test_a_policy_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """It could show a file of the machine in an error's text."""
    scratch = Scratch(tmp_path / "repo")
    (scratch.path / "thresholds.yaml").unlink()
    (scratch.path / "thresholds.yaml").symlink_to("/etc/passwd")
    ended = run_in(scratch, "pull_request", pull_payload(scratch, scratch.commit()))
    assert ended.code == 2
    assert ended.run.error == "thresholds.yaml is a link"


@pytest.mark.parametrize(
    "text",
    ["x" * 5_000, "~nobody-of-that-name/x", "**/" * 3_000 + "x", "a/*" * 3_000, "/proc", "../" * 50 + "etc"],
    ids=["long", "home", "stars", "more stars", "proc", "upwards"],
)
def test_texts_that_are_no_paths_do_no_harm(tmp_path: Path, text: str) -> None:
    """Whatever stands in a config, finding out what it depends on ends, soon and well."""
    ended = run(tmp_path, {LORA: EDITED + f"run_name: x\nchat_template_path: {text!r}\n", "data/x": "y"})
    assert ended.run.error == ""
    assert ended.reasons == {LORA: "edited"}


def test_a_base_model_in_nobodys_home_is_blocked(tmp_path: Path) -> None:
    """And no traceback."""
    config = CONFIG.replace("path: base", "path: ~nobody-of-that-name/model")
    ended = run(tmp_path, {LORA: config})
    assert ended.run.error == ""
    assert ended.code in (1, 2)
