"""GitHub's artifact attestation of a file, asked for through its `gh` command.

A digest proves that a verdict is as it was written, not who wrote it: anyone can write one. The trusted job
attests verdict.json, and a deploy step asks whether it was that job. What is asked for:

- the repository, given by whoever deploys and never by the verdict: else any repository's signature would do;
- the workflow file: else any workflow of the repository that may sign would do;
- the ref: else that file as some branch has edited it would do. The verdict of a merged ref's run, or of a
  `workflow_run` job, is signed on the default branch; that of a pull request's own run on refs/pull/N/merge.

`gh` checks the certificate, the transparency log and the three above. Its "no" and its "I could not ask" end
with the same exit status, so its words tell them apart; what is no known "no" is an error, never a yes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gate.errors import InfrastructureError, UsageError
from gate.sealed import disk_errors

PATIENCE = 120.0
"""Seconds that `gh` may take."""
NEEDS_LOGIN = 4  # gh's own exit status
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9_.-]+")
_WORKFLOW = re.compile(r"(?:([A-Za-z0-9-]+/[A-Za-z0-9_.-]+)/)?(\.github/workflows/[A-Za-z0-9_.-]+\.ya?ml)")
_REF = re.compile(r"refs/[A-Za-z0-9_./-]+")
_NOT_SIGNED = re.compile(r"no attestations? (?:were )?found|HTTP 404|no matching attestations", re.IGNORECASE)
_OTHER_SIGNER = re.compile(r"verification failed|failed to verify|expected .+ to (?:be|match)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who must have signed: a repository, and which of its workflow files, on which ref ("" is any)."""

    repository: str  # OWNER/NAME
    workflow: str = ""  # OWNER/NAME/.github/workflows/FILE
    ref: str = ""  # refs/heads/main

    def __str__(self) -> str:
        return self.repository + "".join(f", {each}" for each in (self.workflow, self.ref) if each)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended: its exit status and what it wrote."""

    status: int
    out: str
    err: str


Ask = Callable[[Sequence[str]], Answer]
"""Run a command, given as its words, to its end."""


def find_signer(
    repository: str | None, workflow: str | None, ref: str | None, environ: Mapping[str, str]
) -> Signer:
    """The signer to demand: `repository`, else GITHUB_REPOSITORY. Raises `UsageError`."""
    name = repository or environ.get("GITHUB_REPOSITORY", "")
    if not name:
        raise UsageError(
            "whose signature must the verdict carry? No repository is given",
            hint="name it with --repo OWNER/NAME, or say --unsigned for a verdict of this machine's own",
        )
    if _REPOSITORY.fullmatch(name) is None:
        raise UsageError(f"--repo: {name!r} is not OWNER/NAME")
    path = _WORKFLOW.fullmatch(workflow or "")
    if workflow and path is None:
        raise UsageError(f"--signer-workflow: {workflow!r} is not [OWNER/NAME/].github/workflows/FILE.yml")
    if ref and _REF.fullmatch(ref) is None:
        raise UsageError(f"--source-ref: {ref!r} is not a ref", hint="for a branch: refs/heads/main")
    return Signer(name, f"{path[1] or name}/{path[2]}" if path else "", ref or "")


def why_unsigned(file: Path, signer: Signer, ask: Ask) -> str:
    """ "" where `signer` attested these very bytes of `file`, else why not, in a few words.

    Raises `InfrastructureError` where that could not be found out.
    """
    with disk_errors(f"read {file}"):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    words = ["gh", "attestation", "verify", str(file.absolute()), "--repo", signer.repository]
    words += ["--signer-workflow", signer.workflow] if signer.workflow else []
    words += ["--source-ref", signer.ref] if signer.ref else []
    answer = ask([*words, "--format", "json"])
    if answer.status == 0:
        if digest in _attested(answer.out):
            return ""
        raise InfrastructureError("gh says yes, but not about this file", hint="upgrade gh, then try again")
    said = _last_line(answer.err)
    if answer.status == NEEDS_LOGIN:
        raise InfrastructureError(
            "gh may not ask GitHub: it has no token", hint="set GH_TOKEN; `attestations: read` is enough"
        )
    if _NOT_SIGNED.search(answer.err):
        return f"{signer.repository} has signed no such file"
    if _OTHER_SIGNER.search(answer.err):
        return f"its signature is not of {signer}: {said}"
    raise InfrastructureError(f"gh could not check the signature: {said}", hint="try again, or upgrade gh")


def _attested(out: str) -> set[str]:
    """SHA-256 of every subject in gh's JSON; empty where it is something else."""
    try:
        results = json.loads(out)
        statements = [each["verificationResult"]["statement"] for each in results]
        return {str(subject["digest"]["sha256"]) for each in statements for subject in each["subject"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()


def _last_line(text: str) -> str:
    lines = ["".join(c for c in line if c.isprintable()).strip() for line in text.splitlines()]
    return next((line[:300] for line in reversed(lines) if line), "it wrote nothing")


def ask_gh(environ: Mapping[str, str], *, patience: float = PATIENCE) -> Ask:
    """How `gh` is run: found on PATH, from no repository's folder, for `patience` seconds at most."""

    def ask(words: Sequence[str]) -> Answer:
        program = shutil.which(words[0], path=environ.get("PATH", os.defpath))
        if program is None or not os.path.isabs(program):
            raise InfrastructureError(
                f"the signature cannot be checked: there is no `{words[0]}` command",
                hint="install GitHub's command line (2.67 or later), or say --unsigned where that is meant",
            )
        try:
            done = subprocess.run(
                [program, *words[1:]],
                cwd="/",
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InfrastructureError(
                f"gh did not answer within {patience:.0f} s", hint="check the network, then try again"
            ) from error
        except OSError as error:
            raise InfrastructureError(f"{program} cannot be run: {error.strerror}") from error
        return Answer(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    return ask
