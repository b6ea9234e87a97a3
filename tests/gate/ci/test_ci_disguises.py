"""What a pull request could do so that a training config, its data or its base model is not recognised."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from scratch import CONFIG, FILES, Ended, Scratch, git, pull_payload, run_in, write

LORA, NEW = "configs/lora.yaml", "configs/new.yaml"
HUB = CONFIG.replace("model_name_or_path: base", "model_name_or_path: org/model")
UTF16 = {".gitattributes": "configs/*.yaml text working-tree-encoding=UTF-16LE\n"}


def judged(scratch: Scratch, head: str) -> Ended:
    return run_in(scratch, "pull_request", pull_payload(scratch, head))


def re_encoded(scratch: Scratch) -> str:
    """Commit attributes that have a checkout write the configs in another encoding, then check them out."""
    write(scratch.path, UTF16)
    git(scratch.path, "add", ".gitattributes")
    git(scratch.path, "commit", "-q", "-m", "x")
    for file in (scratch.path / "configs").iterdir():
        file.unlink()
    git(scratch.path, "checkout", "--", "configs")
    assert b"\0" in (scratch.path / LORA).read_bytes()
    return git(scratch.path, "rev-parse", "HEAD")


def test_attributes_hide_no_config_whose_data_changes(tmp_path: Path) -> None:
    """Configs are read as git has them: in the checkout they could be anything."""
    scratch = Scratch(tmp_path / "repo")
    scratch.commit({"data/train/train.jsonl": '{"text": "poison"}\n'})
    assert judged(scratch, re_encoded(scratch)).reasons == {LORA: "data"}


def test_attributes_hide_no_new_config(tmp_path: Path) -> None:
    """It counts, and as nobody can train from it as it is checked out, the check is red."""
    scratch = Scratch(tmp_path / "repo")
    scratch.commit({NEW: CONFIG})
    ended = judged(scratch, re_encoded(scratch))
    assert (ended.code, ended.reasons) == (2, {NEW: "added"})


@pytest.mark.parametrize("way", ["link", "link to a link", "link out of the repository"])
def test_a_link_in_front_of_a_hub_models_name_is_blocked(tmp_path: Path, way: str) -> None:
    """`org/model` would be found on this disk, where the link leads, and be what is measured against."""
    scratch = Scratch(tmp_path / "repo", {**FILES, "configs/hub.yaml": HUB})
    outside = tmp_path / "weak"
    write(outside, {"model/config.json": "{}"})
    write(scratch.path, {LORA: HUB, "weak/model/config.json": "{}"})
    os.symlink("weak", scratch.path / "step")
    leads: dict[str, str | Path] = {
        "link": "weak",
        "link to a link": "step",
        "link out of the repository": outside,
    }
    os.symlink(leads[way], scratch.path / "org")
    ended = judged(scratch, scratch.commit())
    assert (ended.code, ended.stub.asked) == (1, [])
    assert "brings its own base model org/model" in ended.run.runs[0].blocked


def test_a_linked_base_model_of_the_base_ref_is_measured_from_there(tmp_path: Path) -> None:
    """A link that the base ref has is the base ref's; what it leads to must be the same at the head."""
    config = CONFIG.replace("path: base", "path: link/model")
    scratch = Scratch(tmp_path / "repo", {**FILES, LORA: config, "models/model/config.json": "{}"})
    git(scratch.path, "checkout", "-q", "main")
    os.symlink("models", scratch.path / "link")
    scratch.base = scratch.commit()
    git(scratch.path, "checkout", "-q", "-B", "topic")
    same = judged(scratch, scratch.commit({LORA: config + "# x\n"}))
    folder = same.stub.asked[0].base_folder
    assert same.code == 0
    assert folder is not None
    assert folder.parts[-3:] == ("base-ref", "link", "model")
    other = judged(scratch, scratch.commit({"models/model/config.json": '{"a": 1}'}))
    assert other.code == 1
    assert other.run.runs[0].blocked == "the pull request changes the base model link/model"


def test_a_base_model_of_the_checkout_that_is_named_in_full(tmp_path: Path) -> None:
    """It is the repository's, so it is compared with the base ref's and measured from there."""
    name = str(tmp_path / "repo" / "base")
    config = CONFIG.replace("path: base", f"path: {name}")
    scratch = Scratch(tmp_path / "repo", {**FILES, LORA: config})
    same = judged(scratch, scratch.commit({LORA: config + "seed: 1\n"}))
    folder = same.stub.asked[0].base_folder
    assert folder is not None
    assert folder.parts[-2:] == ("base-ref", "base")
    other = judged(scratch, scratch.commit({"base/config.json": '{"a": 1}'}))
    assert [each.blocked for each in other.run.runs if each.change.path == LORA] == [
        f"the pull request changes the base model {name}"
    ]


@pytest.mark.parametrize(
    "named", ["data/t-?.jsonl", "data/t-[0-9].jsonl", "data/{t-1,b}.jsonl", "**/t-1.jsonl", "in full"]
)
def test_data_that_is_named_by_a_pattern_or_in_full(tmp_path: Path, named: str) -> None:
    """A config's data changed, however the config names it."""
    path = str(tmp_path / "repo" / "data" / "t-1.jsonl") if named == "in full" else named
    config = f'model_name_or_path: base\ndatasets: [{{path: json, data_files: "{path}"}}]\n'
    scratch = Scratch(tmp_path / "repo", {**FILES, NEW: config, "data/t-1.jsonl": "{}\n"})
    head = scratch.commit({"data/t-1.jsonl": '{"text": "poison"}\n'})
    assert judged(scratch, head).reasons == {NEW: "data"}


@pytest.mark.parametrize("name", ["configs/new.YAML", "configs/new.Yml"])
def test_a_config_whose_name_ends_in_capitals(tmp_path: Path, name: str) -> None:
    """It is a YAML file all the same."""
    scratch = Scratch(tmp_path / "repo")
    assert judged(scratch, scratch.commit({name: CONFIG})).reasons == {name: "added"}


@pytest.mark.parametrize(
    "text",
    [
        "env: &b {model_name_or_path: base, dataset_name: data/train}\n<<: *b\n",
        "!!map {model_name_or_path: base, dataset_name: data/train}\n",
        '{"model_name_or_path": base, "dataset_name": data/train, a: !!binary ""}\n',
        '{? "model_name_or_path" : base, dataset_name: data/train, dataset_name: data/other}\n',
        "&a model_name_or_path: base\n&b dataset_name: data/train\n&c dataset_name: data/other\n",
        '"model_name_or_p\\x61th": base\nseed: 1\nseed: 2\n',
        '? "model_name_\\\n  or_path"\n: base\nseed: 1\nseed: 2\n',
        f"#{'x' * (1 << 20)}\nmodel_name_or_path: base\ndataset_name: data/train\n",
    ],
    ids=["merge", "tag", "json", "explicit", "anchors", "escape", "broken line", "long"],
)
def test_yaml_that_only_a_trainer_reads_is_no_way_past_the_gate(tmp_path: Path, text: str) -> None:
    """PyYAML takes all of these; ftgate says what is wrong with them, and never "no config changed"."""
    scratch = Scratch(tmp_path / "repo")
    ended = judged(scratch, scratch.commit({NEW: text}))
    assert (ended.code, list(ended.reasons)) == (2, [NEW])


def test_broken_yaml_of_another_kind_is_no_config(tmp_path: Path) -> None:
    """A template of another tool stays green: it only mentions what marks a config."""
    scratch = Scratch(tmp_path / "repo")
    text = '{{ if .x }}\nargs: ["--my.model_name_or_path", "model_name_or_path", "C:\\\\u"]\n'
    assert judged(scratch, scratch.commit({"chart/job.yaml": text})).code == 0


def test_a_link_out_of_the_base_ref_is_left_out(tmp_path: Path) -> None:
    """A policy's folder may hold one; it is no reason that nothing can be judged any more."""
    scratch = Scratch(tmp_path / "repo")
    git(scratch.path, "checkout", "-q", "main")
    os.symlink("/etc/passwd", scratch.path / "tasks" / "other.yaml")
    scratch.base = scratch.commit()
    git(scratch.path, "checkout", "-q", "-B", "topic")
    assert judged(scratch, scratch.commit({LORA: CONFIG + "seed: 1\n"})).code == 0


@pytest.mark.parametrize("key", ["model_name_or_path", "dataset_name", "output_dir"])
@pytest.mark.parametrize("name", ["da\0ta", "~a\0b", "x" * 300, "~nobody-here/x", "a" * 5000, "half\ud83d"])
def test_a_name_that_no_file_can_have_ends_no_run(tmp_path: Path, key: str, name: str) -> None:
    """The config that names it is found and answered for like any other; it never takes the run down."""
    scratch = Scratch(tmp_path / "repo")
    config = {"model_name_or_path": "base", "dataset_name": "data/train", "output_dir": "out", key: name}
    ended = judged(scratch, scratch.commit({NEW: json.dumps(config)}))
    assert ended.reasons == {NEW: "added"}
    assert ended.code == 2 if name.endswith("\ud83d") else ended.code in (0, 1, 2)
