"""`ftgate publish RUN`: a finished verdict posted from any machine, as often as one likes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gate.ci.activity import worst
from gate.ci.publish import finish
from gate.ci.record import CI, read_ci, read_result, read_view
from gate.ci.run import CONNECTED, EDITABLE, Effects
from gate.errors import GitHubError, UsageError
from gate.github.api import GitHub
from gate.github.events import read_runner
from gate.github.token import Token
from gate.records import ChangedConfig, CiRun, ConfigRun, Event
from gate.repository import Repository
from gate.runfolder import VERDICT
from gate.seeds import refuse_seed
from gate.shell import Shell

if TYPE_CHECKING:
    from gate.report.view import View


@dataclass(frozen=True, slots=True)
class Target:
    """Where a verdict goes, as far as the command line says so."""

    repository: str = ""
    pull: int = 0
    sha: str = ""


def publish_run(place: Path, target: Target, token: Token, shell: Shell, effects: Effects = CONNECTED) -> int:
    """Post the run in `place`, a folder of `ftgate ci` or of one `ftgate check`; 0 if GitHub took it.

    A person's token posts no check run, which only an App can: the comment alone is then all there can be.

    Raises `UsageError` where it is not known what to post or where, `GitHubError` where GitHub refuses.
    """
    if not token:
        raise UsageError("there is no token to publish with", hint="set GITHUB_TOKEN")
    runner = read_runner(shell.environ)
    run, views = _found(place, target, runner.repository)
    github = effects.connect(run.event, runner, token, None)
    run = replace(run, event=_addressed(run.event, github))
    receipt = finish(run, place, runner, github, shell, views=views, wait=effects.wait)
    commented = receipt is not None and receipt.comment in ("posted", "unchanged", "superseded")
    if receipt is not None and commented and all(each.forbidden for each in receipt.failures):
        if not receipt.complete:
            shell.warn(
                "only the comment was posted: check runs are for the tokens of Actions and of GitHub Apps"
            )
    elif receipt is None or not receipt.complete:
        why = "; ".join(map(str, receipt.failures)) if receipt else "see above"
        raise GitHubError(f"not everything was published: {why}", hint="the same command again is safe")
    shell.say(receipt.url or f"published {len(receipt.checks)} check runs on {run.event.head_sha[:12]}")
    return 0


def _found(place: Path, target: Target, repository: str) -> tuple[CiRun, dict[str, View] | None]:
    if (place / CI).is_file():
        run = read_ci(place)
        event = replace(
            run.event,
            repository=target.repository or run.event.repository,
            pull=target.pull or run.event.pull,
            head_sha=target.sha or run.event.head_sha,
        )
        return replace(run, event=event), None
    if not (place / VERDICT).is_file():
        raise UsageError(f"{place} is no folder of a finished run", hint=f"it has neither {CI} nor {VERDICT}")
    return _single(place, target, repository)


def _single(place: Path, target: Target, repository: str) -> tuple[CiRun, dict[str, View]]:
    """The run of one `ftgate check` as if `ftgate ci` had made it."""
    result, view = read_result(place / VERDICT), read_view(place)
    refuse_seed(result, place)
    repository = target.repository or repository or Repository(Path()).remote()
    if not repository or not target.sha:
        raise UsageError(
            f"it is not known which commit the verdict in {place} is about",
            hint="say --repo OWNER/NAME and --sha, the full hash of the commit that was trained",
        )
    path = result.config.path if result.config else result.tuned.name if result.tuned else place.name
    made = result.provenance.created if result.provenance else ""
    event = Event(
        "pull_request",
        repository,
        target.sha,
        "",
        pull=target.pull,
        run_id=_number_of(made),
        head_repository="",
    )
    config = ConfigRun(ChangedConfig(path, "named"), result.outcome, result.exit_code, "", "")
    code = worst([result.exit_code])
    run = CiRun(event, "publish", (config,), outcome=result.outcome, exit_code=code, trust=EDITABLE)
    return run, {path: view} if view else {}


def _number_of(created: str) -> int:
    """A run's number outside of Actions: when its verdict was made, in seconds; each repeat has the same."""
    try:
        return int(datetime.fromisoformat(created).timestamp())
    except ValueError:
        return 0


def _addressed(event: Event, github: GitHub) -> Event:
    """The event with its pull request: the only open one whose head is the commit, where none is named."""
    if event.pull or event.kind not in ("pull_request", "workflow_run"):
        return event
    found = [pull for pull in github.pulls_of_commit(event.head_sha) if pull.open]
    heads = [pull for pull in found if pull.head_sha == event.head_sha]
    if len(heads) != 1:
        raise UsageError(
            f"{len(heads)} open pull requests have the head {event.head_sha[:12]}", hint="say --pull NUMBER"
        )
    return replace(event, pull=heads[0].number)
