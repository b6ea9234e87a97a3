"""`ftgate verify` believes a verdict that GitHub says was signed by the right workflow, and asks `gh` so."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gate.errors import InfrastructureError, UsageError
from gate.models import digest_model
from gate.signature import Answer, Signer, ask_gh, find_signer, why_unsigned

REPOSITORY, WORKFLOW, REF = "team/models", ".github/workflows/ftgate.yml", "refs/heads/main"
PINNED = ("--repo", REPOSITORY, "--signer-workflow", WORKFLOW, "--source-ref", REF)
# What gh writes, by the case.
NONE_FOUND = (
    "Loaded digest sha256:aa for file://verdict.json\n✗ No attestations found for subject sha256:aa\n"
)
NOT_FOUND = (
    "✗ Loading attestations from GitHub API failed\n\n"
    "Error: HTTP 404: Not Found (https://api.github.com/repos/team/models/attestations/sha256:aa)\n"
)
OTHER_WORKFLOW = (
    '✗ Sigstore verification failed\n\nError: verifying with issuer "sigstore.dev": failed to verify '
    "certificate identity: no matching CertificateIdentity found, last error: expected SAN value to match "
    'regex "^https://github.com/team/models/.github/workflows/ftgate.yml", got '
    '"https://github.com/team/models/.github/workflows/other.yml@refs/heads/evil"\n'
)
OTHER_REF = (
    "✗ Policy verification failed\n\n"
    "Error: expected SourceRepositoryRef to be refs/heads/main, got refs/heads/evil\n"
)
LOGIN = "To get started with GitHub CLI, please run:  gh auth login\n"


def attestation(digest: str, **change: object) -> list[dict[str, object]]:
    """gh's JSON for a verified attestation, as far as it is looked at."""
    statement = {"predicateType": "https://slsa.dev/provenance/v1", "subject": [
        {"name": "verdict.json", "digest": {"sha256": digest}}]}  # fmt: skip
    return [{"attestation": {}, "verificationResult": {"statement": {**statement, **change}}}]


class Stub:
    """A `gh` on PATH: it keeps its words and environment, writes what it is told, and ends so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = folder / "asked.json"
        folder.mkdir()

    def says(self, *, out: str = "", err: str = "", status: int = 0, sleep: float = 0.0) -> Stub:
        program = self.folder / "gh"
        program.write_text(
            f"#!{sys.executable} -I\n"
            "import json, os, sys, time\n"
            f"with open({str(self.kept)!r}, 'w') as kept:\n"
            "    json.dump({'words': sys.argv[1:], 'cwd': os.getcwd(), 'env': dict(os.environ)}, kept)\n"
            f"time.sleep({sleep})\n"
            f"sys.stdout.write({out!r})\nsys.stderr.write({err!r})\nsys.exit({status})\n",
            encoding="utf-8",
        )
        program.chmod(0o755)
        return self

    @property
    def asked(self) -> dict[str, object]:
        return json.loads(self.kept.read_text())


@pytest.fixture
def gh(tmp_path: Path) -> Stub:
    return Stub(tmp_path / "bin")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def verdict(tmp_path: Path, model: Path) -> Path:
    """A verdict that passed `model`; it names a repository of its own, which must count for nothing."""
    path = tmp_path / "verdict.json"
    found = {
        "schema": 1,
        "outcome": "pass",
        "tuned": {"digest": digest_model(model)},
        "base": {"digest": "b"},
    }
    path.write_text(json.dumps({**found, "repository": "evil/fork", "signer": "evil/fork"}))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verify(
    verdict: Path, model: Path, *options: str, gh: Stub | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """`ftgate verify` in a process of its own; PATH has the stub alone."""
    path = {"PATH": str(gh.folder) if gh else "/nowhere"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "gate.cli", "verify", str(verdict), str(model), *options],
        env={"HOME": "/nowhere", **path, **environ},
        cwd=verdict.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ── What is asked ────────────────────────────────────────────────────────────────────────────────


def test_gh_is_asked_about_the_file_the_repository_the_workflow_and_the_ref(
    gh: Stub, verdict: Path, model: Path
) -> None:
    """All three are pinned; the verdict's own words about its signer are not looked at."""
    gh.says(out=json.dumps(attestation(sha256(verdict))))
    done = verify(verdict, model, *PINNED, gh=gh, GH_TOKEN="a-token")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("yes: ")
    assert f"signed by {REPOSITORY}, {REPOSITORY}/{WORKFLOW}, {REF}" in done.stdout
    assert gh.asked["words"] == [
        *("attestation", "verify", str(verdict), "--repo", REPOSITORY),
        *("--signer-workflow", f"{REPOSITORY}/{WORKFLOW}", "--source-ref", REF, "--format", "json"),
    ]
    assert gh.asked["cwd"] == "/"
    assert gh.asked["env"]["GH_TOKEN"] == "a-token"
    assert "a-token" not in done.stdout + done.stderr


def test_the_repository_may_come_from_the_environment(gh: Stub, verdict: Path, model: Path) -> None:
    """GITHUB_REPOSITORY is the deploy job's; that nothing else is pinned is warned of."""
    gh.says(out=json.dumps(attestation(sha256(verdict))))
    done = verify(verdict.parent / "verdict.json", model, gh=gh, GITHUB_REPOSITORY=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert gh.asked["words"][3:] == ["--repo", REPOSITORY, "--format", "json"]
    assert "--signer-workflow" in done.stderr


def test_a_workflow_of_another_repository_may_sign() -> None:
    """A shared workflow's path is given with its repository, and left as it is."""
    signer = find_signer(REPOSITORY, "org/shared/.github/workflows/gate.yaml", None, {})
    assert signer == Signer(REPOSITORY, "org/shared/.github/workflows/gate.yaml")


@pytest.mark.parametrize(
    ("repository", "workflow", "ref"),
    [
        *(
            (name, None, None)
            for name in ("team", "team/models/x", "-R/x", "--repo=a/b", "team/mo dels", "t/\n")
        ),
        *(
            (REPOSITORY, name, None)
            for name in ("ftgate.yml", "../x.yml", ".github/workflows/../x.yml", "--x")
        ),
        *((REPOSITORY, None, name) for name in ("main", "refs/heads/a b", "--refs/heads/main")),
    ],
)
def test_what_is_no_name_is_a_usage_error(repository: str, workflow: str | None, ref: str | None) -> None:
    """Nothing reaches gh's command line that could be one of its options."""
    with pytest.raises(UsageError):
        find_signer(repository, workflow, ref, {})


def test_without_a_repository_nothing_is_asked(gh: Stub, verdict: Path, model: Path) -> None:
    """Exit 2 with both ways out; the one in the verdict is not taken."""
    gh.says()
    done = verify(verdict, model, gh=gh)
    assert done.returncode == 2
    assert "--repo OWNER/NAME" in done.stderr
    assert "--unsigned" in done.stderr
    assert not gh.kept.exists()


def test_unsigned_asks_nobody(gh: Stub, verdict: Path, model: Path) -> None:
    """A local verdict, said to be one; the answer says so too. With a signer's name it is a contradiction."""
    gh.says(status=1)
    done = verify(verdict, model, "--unsigned", gh=gh)
    assert (done.returncode, gh.kept.exists()) == (0, False), done.stdout + done.stderr
    assert "unsigned" in done.stdout
    assert verify(verdict, model, "--unsigned", "--repo", REPOSITORY, gh=gh).returncode == 2


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("err", "words"),
    [
        (NONE_FOUND, "has signed no such file"),
        (NOT_FOUND, "has signed no such file"),
        (OTHER_WORKFLOW, "its signature is not of"),
        (OTHER_REF, "its signature is not of"),
    ],
)
def test_a_verdict_that_is_not_signed_so_is_a_no(
    err: str, words: str, gh: Stub, verdict: Path, model: Path
) -> None:
    """Exit 1, whatever model and outcome: by nobody, by another workflow, on another branch."""
    gh.says(err=err, status=1)
    done = verify(verdict, model, *PINNED, gh=gh)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("no: ")
    assert words in done.stdout


@pytest.mark.parametrize(
    ("err", "status", "words"),
    [
        (LOGIN, 4, "set GH_TOKEN"),
        ("Error: HTTP 403: Resource not accessible by integration\n", 1, "HTTP 403"),
        ("Error: HTTP 401: Bad credentials\n", 1, "HTTP 401"),
        ("Error: HTTP 502: Bad Gateway\n", 1, "HTTP 502"),
        ("Error: dial tcp: lookup api.github.com: no such host\n", 1, "no such host"),
        ("unknown flag: --source-ref\n", 1, "upgrade gh"),
        ("unknown command \"attestation\" for \"gh\"\n", 1, "upgrade gh"),
        ("", 1, "it wrote nothing"),
        ("panic\n", 2, "panic"),
        ("", -9, "it wrote nothing"),
    ],
)  # fmt: skip
def test_what_could_not_be_asked_is_an_infrastructure_error(
    err: str, status: int, words: str, gh: Stub, verdict: Path, model: Path
) -> None:
    """Exit 3 and what to do, never a yes."""
    if status < 0:
        (gh.folder / "gh").write_text("#!/bin/sh\nkill -9 $$\n")
        (gh.folder / "gh").chmod(0o755)
    else:
        gh.says(err=err, status=status)
    done = verify(verdict, model, *PINNED, gh=gh)
    assert done.returncode == 3, done.stdout + done.stderr
    assert words in done.stderr
    assert "yes" not in done.stdout


@pytest.mark.parametrize(
    "out", ["", "[]", "{}", "null", "[1]", "[" * 100_000, json.dumps(attestation("0" * 64))]
)
def test_a_yes_about_something_else_is_none(out: str, gh: Stub, verdict: Path, model: Path) -> None:
    """gh ends with 0, but names no or another file: exit 3."""
    gh.says(out=out)
    assert verify(verdict, model, *PINNED, gh=gh).returncode == 3


def test_gh_is_missing(verdict: Path, model: Path) -> None:
    """Exit 3: what to install."""
    done = verify(verdict, model, *PINNED)
    assert done.returncode == 3
    assert "no `gh` command" in done.stderr
    assert "install" in done.stderr


def test_a_gh_that_lies_in_the_working_folder_is_not_run(gh: Stub, verdict: Path, model: Path) -> None:
    """PATH with a relative entry: what was downloaded beside the verdict is no command."""
    gh.says(out=json.dumps(attestation(sha256(verdict))))
    for path in ("bin", ".", ""):
        done = verify(verdict, model, *PINNED, PATH=path)
        assert done.returncode == 3, done.stdout
    assert not gh.kept.exists()


def test_a_gh_that_does_not_answer_or_cannot_start(gh: Stub, verdict: Path) -> None:
    """Both end with an error of ours."""
    (gh.folder / "gh").write_bytes(b"\x7fELF nonsense")
    (gh.folder / "gh").chmod(0o755)
    with pytest.raises(InfrastructureError, match="cannot be run"):
        why_unsigned(verdict, Signer(REPOSITORY), ask_gh({"PATH": str(gh.folder)}))
    gh.says(sleep=60)
    with pytest.raises(InfrastructureError, match="did not answer"):
        why_unsigned(verdict, Signer(REPOSITORY), ask_gh({"PATH": str(gh.folder)}, patience=0.2))


def test_what_gh_says_is_shown_harmlessly(verdict: Path) -> None:
    """One line of printable text, of bounded length."""
    answer = Answer(1, "", "first\n\x1b[31mboom\x1b[0m" + "x" * 1000 + "\n\n")
    with pytest.raises(InfrastructureError) as raised:
        why_unsigned(verdict, Signer(REPOSITORY), lambda words: answer)
    assert raised.value.message.isprintable()
    assert "first" not in raised.value.message
    assert len(raised.value.message) < 400


# ── Then the model ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wrong", ["model", "outcome"])
def test_a_signature_alone_is_no_yes(wrong: str, gh: Stub, verdict: Path, model: Path) -> None:
    """Signed, but about another model, or not a pass."""
    if wrong == "model":
        (model / "model.safetensors").write_bytes(b"others")
    else:
        verdict.write_text(verdict.read_text().replace('"pass"', '"fail"'))
    gh.says(out=json.dumps(attestation(sha256(verdict))))
    done = verify(verdict, model, *PINNED, gh=gh)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("no: ")


def test_the_signature_is_asked_without_torch(gh: Stub, verdict: Path, model: Path) -> None:
    """A deploy step has no models' libraries."""
    gh.says(out=json.dumps(attestation(sha256(verdict))))
    (verdict.parent / "light").mkdir()
    for name in ("torch", "transformers", "lm_eval", "github3"):
        (verdict.parent / "light" / f"{name}.py").write_text(f"raise ImportError({name!r})")
    done = verify(verdict, model, *PINNED, gh=gh, PYTHONPATH=str(verdict.parent / "light") + os.pathsep)
    assert done.returncode == 0, done.stdout + done.stderr
