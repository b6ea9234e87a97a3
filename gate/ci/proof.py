"""What only a workflow run can say of its verdicts: their digest, as the name of a step of its own job.

Every job with `checks: write` writes check runs as the same App and may name any run in them. The jobs of a
run and their steps are that run's alone: its runner tells GitHub a step's name, its expressions filled in, as
the step begins. So the job whose check is required has a step that is named by all the verdicts that it
published. In two jobs nothing of the pull request runs in that job. In form forks it is the one that
measures, named by the commit; its workflow is the default branch's, whatever the pull request brings along.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from gate.github.api import Job
from gate.records import ConfigRun, Form

JOB = "ftgate verdict"
"""The name of the job whose check is required."""
FORKS_JOB = "ftgate judge "
"""What the name of the job that measures a fork's commit begins with; the commit follows."""
STEP = "ftgate verdicts "
"""What the name of the step begins with; the digest follows."""

Verdict = tuple[str, str, str]
"""A config's path, the digest of its inputs, and `pass` or `fail`."""


def digest_verdicts(verdicts: Iterable[Verdict]) -> str:
    """The digest of a run's verdicts (SHA-256, 64 hexadecimal digits), whatever their order; "" for none."""
    found = sorted(set(verdicts))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest() if found else ""


def verdicts_of(runs: Iterable[ConfigRun]) -> frozenset[Verdict]:
    """The verdicts among a run's results that another run may take over: measured, or taken over itself."""
    return frozenset(
        (run.change.path, run.inputs, run.outcome)
        for run in runs
        if run.outcome in ("pass", "fail") and not run.blocked
    )


def job_name(form: Form, sha: str) -> str:
    """The name of the job that says the verdicts on a commit."""
    return f"{FORKS_JOB}{sha}" if form == "forks" else JOB


def required_job(jobs: Sequence[Job], name: str = JOB) -> Job | None:
    """The job whose check is required; None where it has not been made, or is not the only one."""
    found = [job for job in jobs if job.name == name]
    return found[0] if len(found) == 1 else None


def proves(job: Job, verdicts: Iterable[Verdict]) -> bool:
    """Whether a step of the job is named by these very verdicts, no more and no fewer."""
    digest = digest_verdicts(verdicts)
    return bool(digest) and f"{STEP}{digest}" in job.steps
