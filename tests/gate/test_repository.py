"""gate.repository: real git in real repositories, hostile names and hostile settings among them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from scratch import Scratch, git

from gate.changes import FileChange
from gate.errors import InfrastructureError, UsageError
from gate.repository import Repository, TreeFile

HOSTILE = [
    "a b.txt",
    "tab\there.txt",
    "line\nbreak.txt",
    '"quoted".txt',
    "-option.txt",
    ":(glob)*.txt",
    "*.txt",
    "ünïcode.txt",
    "::set-output.txt",
    "$(touch owned).txt",
    "\udcff\udcfe.txt",  # bytes that are no UTF-8
    "deep/er/and/deeper.txt",
]


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "repo", {"a.txt": "one\n", "folder/b.txt": "two\n"})


def repository(scratch: Scratch) -> Repository:
    return Repository(scratch.path)


def extracted(scratch: Scratch, commit: str, folder: Path) -> tuple[str, ...]:
    folder.mkdir()
    found = repository(scratch)
    return found.extract(found.files(commit), folder)


# ── Commits ──────────────────────────────────────────────────────────────────────────────────────


def test_commits_and_merge_base(scratch: Scratch) -> None:
    """Names become full ids; two branches parted where they did."""
    topic = scratch.commit({"c.txt": "x"})
    scratch.checkout("main")
    scratch.commit({"d.txt": "y"})
    found = repository(scratch)
    assert found.commit("topic") == topic
    assert found.commit(topic[:10]) == topic
    assert found.merge_base("main", "topic") == scratch.base
    assert found.parents(topic) == (scratch.base,)
    assert found.holds(topic)
    assert not found.holds("f" * 40)
    assert not found.holds("")


@pytest.mark.parametrize("name", ["nowhere", "f" * 40, "--all", "HEAD:a.txt", "a\nb"])
def test_an_unknown_commit_says_fetch_depth(scratch: Scratch, name: str) -> None:
    """A commit that the clone lacks, and what is none, are told with what helps."""
    with pytest.raises(UsageError) as caught:
        repository(scratch).commit(name)
    assert "fetch-depth: 0" in caught.value.hint


def test_a_shallow_clone_says_fetch_depth(scratch: Scratch, tmp_path: Path) -> None:
    """Where two refs parted is not known there."""
    scratch.commit({"c.txt": "x"})
    scratch.checkout("main")
    scratch.commit({"d.txt": "y"})
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", "--no-single-branch", f"file://{scratch.path}", str(shallow))
    found = Repository(shallow)
    assert found.shallow
    with pytest.raises(UsageError, match="a shallow clone does not hold where") as caught:
        found.merge_base("origin/main", "origin/topic")
    assert "fetch-depth: 0" in caught.value.hint


def test_unrelated_histories(scratch: Scratch) -> None:
    """No common commit in a whole clone is an error too, and no traceback."""
    git(scratch.path, "checkout", "-q", "--orphan", "island")
    scratch.commit({"e.txt": "z"})
    with pytest.raises(UsageError, match="this clone does not hold where"):
        repository(scratch).merge_base("main", "island")


def test_no_repository_and_no_git(tmp_path: Path, scratch: Scratch) -> None:
    """Both are told in words."""
    with pytest.raises(UsageError, match="is not a git repository"):
        Repository(tmp_path).commit("HEAD")
    with pytest.raises(UsageError, match="git is not installed"):
        Repository(scratch.path, git="no-such-git").commit("HEAD")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/acme/tunes.git", "acme/tunes"),
        ("git@github.com:acme/tunes", "acme/tunes"),
        ("ssh://git@git.acme.example/acme/tunes.git", "acme/tunes"),
        ("/srv/git", ""),
        ("", ""),
    ],
)
def test_the_remotes_name(scratch: Scratch, url: str, name: str) -> None:
    """OWNER/NAME of the usual addresses."""
    if url:
        git(scratch.path, "remote", "add", "origin", url)
    if url == "/srv/git":
        assert repository(scratch).remote() == "srv/git"
    else:
        assert repository(scratch).remote() == name


# ── Changed files ────────────────────────────────────────────────────────────────────────────────


def test_changed_files(scratch: Scratch) -> None:
    """Added, edited, deleted, moved, and made a link of."""
    (scratch.path / "folder/b.txt").rename(scratch.path / "moved.txt")
    (scratch.path / "a.txt").unlink()
    (scratch.path / "a.txt").symlink_to("moved.txt")
    head = scratch.commit({"new.txt": "x"})
    assert set(repository(scratch).changed(scratch.base, head)) == {
        FileChange("T", "a.txt"),
        FileChange("R", "moved.txt", "folder/b.txt"),
        FileChange("A", "new.txt"),
    }
    assert repository(scratch).changed(head, head) == ()
    removed = scratch.commit({"new.txt": None})
    assert repository(scratch).changed(head, removed) == (FileChange("D", "new.txt"),)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(scratch: Scratch, name: str, tmp_path: Path) -> None:
    """Whatever a file is called, it is seen as changed, listed, read and written as it is."""
    head = scratch.commit({name: "content"})
    assert repository(scratch).changed(scratch.base, head) == (FileChange("A", name),)
    assert extracted(scratch, head, tmp_path / "out") == ()
    assert (tmp_path / "out" / name).read_text() == "content"
    assert not list(tmp_path.rglob("owned"))


def test_many_renames_are_all_found(scratch: Scratch) -> None:
    """git's limit on renames is off: a config must not hide among a thousand files."""
    many = {f"old/{n}.txt": f"{n}\n" * 20 for n in range(1_200)}
    first = scratch.commit({**many, "old/config.yaml": "the one\n" * 20})
    os.rename(scratch.path / "old", scratch.path / "new")
    head = scratch.commit({f"new/{n}.txt": f"{n}\n" * 20 + "more\n" for n in range(1_200)})
    assert FileChange("R", "new/config.yaml", "old/config.yaml") in repository(scratch).changed(first, head)


# ── Writing a ref's files ────────────────────────────────────────────────────────────────────────


def test_a_refs_files_as_they_are(scratch: Scratch, tmp_path: Path) -> None:
    """Bytes, folders and the executable bit; the checkout is neither read nor changed."""
    scratch.commit({"run.sh": "#!/bin/sh\n", "binary": "\r\n\0\x1a"})
    (scratch.path / "run.sh").chmod(0o755)
    head = scratch.commit()
    (scratch.path / "a.txt").write_text("changed in the checkout")
    assert extracted(scratch, head, tmp_path / "out") == ()
    assert (tmp_path / "out/a.txt").read_text() == "one\n"
    assert (tmp_path / "out/binary").read_bytes() == b"\r\n\0\x1a"
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/a.txt", os.X_OK)
    assert (scratch.path / "a.txt").read_text() == "changed in the checkout"


def test_links_that_lead_out_are_left_out(scratch: Scratch, tmp_path: Path) -> None:
    """Absolute, upwards, and by way of another link; those that stay inside stay links."""
    (tmp_path / "secret").write_text("secret")
    deep = scratch.path / "x/y"
    deep.mkdir(parents=True)
    for name, target in {
        "inside": "a.txt",
        "absolute": str(tmp_path / "secret"),
        "upwards": "../secret",
        "x/y/root": "../..",
        "by-way": "x/y/root/../secret",
        "dangling": "nowhere",
    }.items():
        (scratch.path / name).symlink_to(target)
    head = scratch.commit()
    left_out = extracted(scratch, head, tmp_path / "out")
    assert set(left_out) == {"absolute", "upwards", "by-way"}
    assert (tmp_path / "out/inside").read_text() == "one\n"
    assert all(os.path.realpath(p).startswith(str(tmp_path / "out")) for p in (tmp_path / "out").rglob("*"))
    links = repository(scratch).links(repository(scratch).files(head))
    assert links["inside"] == "a.txt"
    assert "absolute" not in links
    assert "upwards" not in links


def test_submodules_are_left_out_and_seen_to_change(scratch: Scratch, tmp_path: Path) -> None:
    """A submodule's content is not in the repository; that its commit changed is."""
    other = Scratch(tmp_path / "other", {"z.txt": "z"})
    git(scratch.path, "submodule", "--quiet", "add", str(other.path), "data/sub")
    first = scratch.commit()
    assert extracted(scratch, first, tmp_path / "out") == ("data/sub",)
    later = other.commit({"z.txt": "zz"})
    git(scratch.path / "data/sub", "fetch", "-q", str(other.path), later)
    git(scratch.path / "data/sub", "checkout", "-q", later)
    head = scratch.commit()
    assert repository(scratch).changed(first, head) == (FileChange("M", "data/sub"),)


def test_names_that_git_would_refuse_are_never_written(scratch: Scratch, tmp_path: Path) -> None:
    """A tree can be made by hand; what would leave the folder or land in .git is left out."""
    blob = repository(scratch).files(scratch.base)[0].object_id
    names = ["../out.txt", "/abs.txt", "a/../../x.txt", ".git/hooks/x", "ok/.GIT/config", "a//b"]
    (tmp_path / "room/out").mkdir(parents=True)
    files = [TreeFile(name, "100644", blob) for name in names]
    assert repository(scratch).extract(files, tmp_path / "room/out") == tuple(names)
    assert list((tmp_path / "room").rglob("*")) == [tmp_path / "room/out"]


def test_a_lost_object_is_an_error(scratch: Scratch, tmp_path: Path) -> None:
    """Never an empty file in its place."""
    with pytest.raises(InfrastructureError, match="has lost the object"):
        repository(scratch).extract([TreeFile("x", "100644", "f" * 40)], tmp_path)


def test_no_filter_hook_or_setting_of_the_repository_runs(scratch: Scratch, tmp_path: Path) -> None:
    """Its own config names commands wherever git would run one; none does, and bytes are the commit's."""
    attributes = "*.txt filter=evil text eol=crlf diff=evil\n"
    head = scratch.commit({".gitattributes": attributes, "a.txt": "two\n"})
    mark = tmp_path / "ran"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    evil.chmod(0o755)
    for key in (
        *("filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv", "diff.evil.command"),
        *("diff.external", "core.fsmonitor", "core.pager", "core.sshCommand", "core.editor"),
    ):
        git(scratch.path, "config", key, str(evil))
    mark.unlink(missing_ok=True)
    for hook in ("post-checkout", "post-index-change", "reference-transaction"):
        (scratch.path / ".git/hooks" / hook).write_bytes(evil.read_bytes())
        (scratch.path / ".git/hooks" / hook).chmod(0o755)
    found = repository(scratch)
    assert found.changed(scratch.base, head)
    extracted(scratch, head, tmp_path / "out")
    assert found.merge_base("HEAD", scratch.base) == scratch.base
    assert (tmp_path / "out/a.txt").read_bytes() == b"two\n"
    assert not mark.exists()


def test_replaced_objects_are_not_believed(scratch: Scratch, tmp_path: Path) -> None:
    """`git replace` could show another policy under the base ref's commit."""
    lie = scratch.commit({"a.txt": "a lie\n"})
    git(scratch.path, "replace", scratch.base, lie)
    extracted(scratch, scratch.base, tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_text() == "one\n"


@pytest.mark.parametrize("fate", ["there", "missing", "damaged"])
def test_git_lfs(scratch: Scratch, tmp_path: Path, fate: str) -> None:
    """What a pointer stands for is taken from the clone, checked; a pointer without it stays one."""
    content = b"weights" * 100
    name = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize {len(content)}\n"
    head = scratch.commit({"model.safetensors": pointer})
    stored = scratch.path / ".git/lfs/objects" / name[:2] / name[2:4] / name
    if fate != "missing":
        stored.parent.mkdir(parents=True)
        stored.write_bytes(content if fate == "there" else b"other")
    if fate == "damaged":
        with pytest.raises(InfrastructureError, match="is damaged"):
            extracted(scratch, head, tmp_path / "out")
        return
    extracted(scratch, head, tmp_path / "out")
    expected = content if fate == "there" else pointer.encode()
    assert (tmp_path / "out/model.safetensors").read_bytes() == expected


def test_git_sees_no_secret_of_ours(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment is made, not handed on: neither token nor GIT_ variables reach it."""
    shown = tmp_path / "shown"
    fake = tmp_path / "git"
    fake.write_text(f"#!/bin/sh\nenv > {shown}\necho {'a' * 40}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("GITHUB_TOKEN", "hidden-token")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    Repository(scratch.path, git=str(fake)).commit("HEAD")
    assert "hidden-token" not in shown.read_text()
    assert "GIT_DIR" not in shown.read_text()
