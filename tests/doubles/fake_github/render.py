"""What the state looks like on the wire: GitHub's own examples, filled in."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from fake_github.state import Identity, Refused, StoredCheck, StoredComment, StoredJob, StoredPull, StoredRun

EXAMPLES: dict[str, Any] = json.loads((Path(__file__).parent / "described/examples.json").read_bytes())


class Renderer:
    """Renders for one repository, with addresses under `url` (the API's, without a slash at the end)."""

    def __init__(self, repository: str, url: str) -> None:
        self._repository, self._url = repository, f"{url}/repos/{repository}"

    def user(self, who: Identity) -> dict[str, Any]:
        example = copy.deepcopy(EXAMPLES["private-user-response-with-public-profile-information"])
        return {**example, "login": who.login, "user_view_type": "public"}

    def comment(self, comment: StoredComment) -> dict[str, Any]:
        web = f"https://github.com/{self._repository}/pull/{comment.pull}#issuecomment-{comment.id}"
        return {
            **copy.deepcopy(EXAMPLES["issue-comment"]),
            "id": comment.id,
            "body": comment.body,
            "user": self._account(comment.author),
            "url": f"{self._url}/issues/comments/{comment.id}",
            "html_url": web,
            "issue_url": f"{self._url}/issues/{comment.pull}",
            "created_at": comment.created,
            "updated_at": comment.updated,
        }

    def pull(self, pull: StoredPull) -> dict[str, Any]:
        return self._pull(copy.deepcopy(EXAMPLES["pull-request"]), pull)

    def listed_pull(self, pull: StoredPull) -> dict[str, Any]:
        """A pull request as lists show it: with fewer fields."""
        return self._pull(copy.deepcopy(EXAMPLES["pull-request-simple-items"][0]), pull)

    def check(self, check: StoredCheck) -> dict[str, Any]:
        example = copy.deepcopy(EXAMPLES["check-run"])
        url = f"{self._url}/check-runs/{check.id}"
        output = {
            "title": check.title,
            "summary": check.summary,
            "text": check.text,
            "annotations_count": len(check.annotations),
            "annotations_url": f"{url}/annotations",
        }
        return {
            **example,
            "id": check.id,
            "name": check.name,
            "head_sha": check.sha,
            "external_id": check.external_id,
            "url": url,
            "html_url": f"https://github.com/{self._repository}/runs/{check.id}",
            "details_url": check.details_url or f"https://github.com/apps/{check.app}",
            "status": check.status,
            "conclusion": check.conclusion,
            "started_at": check.started,
            "completed_at": check.completed,
            "output": output,
            "app": {**example["app"], "slug": check.app, "name": check.app},
            "pull_requests": [],
        }

    def run(self, run_id: int, run: StoredRun) -> dict[str, Any]:
        """A workflow run."""
        return {
            **copy.deepcopy(EXAMPLES["workflow-run"]),
            "id": run_id,
            "status": run.status,
            "conclusion": run.conclusion,
            "head_sha": run.head_sha,
            "path": run.path,
            "event": run.event,
            "url": f"{self._url}/actions/runs/{run_id}",
            "html_url": f"https://github.com/{self._repository}/actions/runs/{run_id}",
        }

    def job(self, run_id: int, job: StoredJob) -> dict[str, Any]:
        """A job of a workflow run."""
        example = copy.deepcopy(EXAMPLES["job-paginated"]["jobs"][0])
        step = example["steps"][0]
        return {
            **example,
            "run_id": run_id,
            "run_attempt": job.attempt,
            "created_at": example["started_at"],  # which the example lacks
            "head_branch": "topic",
            "workflow_name": "ftgate",
            "name": job.name,
            "status": job.status,
            "conclusion": job.conclusion,
            "steps": [
                {**step, "name": name, "number": number} for number, name in enumerate(job.steps, start=1)
            ],
        }

    def refusal(self, refused: Refused) -> dict[str, Any]:
        body: dict[str, Any] = {
            "message": refused.message,
            "documentation_url": "https://docs.github.com/rest",
            "status": str(refused.status),
        }
        return body | ({"errors": [dict(error) for error in refused.errors]} if refused.errors else {})

    def _pull(self, example: dict[str, Any], pull: StoredPull) -> dict[str, Any]:
        label = example["labels"][0]
        changes = {
            "number": pull.number,
            "url": f"{self._url}/pulls/{pull.number}",
            "state": "open" if pull.open else "closed",
            "draft": pull.draft,
            "requested_reviewers": [],
            "requested_teams": [],  # the example's own team lacks a field that the description demands
            "labels": [{**label, "name": name} for name in pull.labels],
            "head": self._branch(example["head"], pull.head_repository, pull.head_ref, pull.head_sha),
            "base": self._branch(example["base"], self._repository, pull.base_ref, pull.base_sha),
        }
        return {**example, **changes}

    def _branch(self, example: dict[str, Any], repository: str, ref: str, sha: str) -> dict[str, Any]:
        owner, _, name = repository.partition("/")
        repo = {**example["repo"], "full_name": repository, "name": name}
        return {
            **example,
            "label": f"{owner}:{ref}",
            "ref": ref,
            "sha": sha,
            "repo": repo if repository else None,
        }

    def _account(self, login: str) -> dict[str, Any]:
        kind = "Bot" if login.endswith("[bot]") else "User"
        return {**copy.deepcopy(EXAMPLES["issue-comment"]["user"]), "login": login, "type": kind}
