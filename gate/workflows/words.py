"""What is left to click after `ftgate init --github`, in a person's words."""

from __future__ import annotations

from textwrap import wrap

RULESET = "Settings > Rules > Rulesets > New branch ruleset, for the default branch"
CHECK = {
    "trusted": "`ftgate verdict` (source: GitHub Actions)",
    "two-jobs": "`ftgate verdict` (source: GitHub Actions)",
    "forks": "`ftgate` (source: your App)",
}
COMMIT = "commit these files and thresholds.yaml to the default branch: what is there judges pull requests"
OWNERS = (
    "in that ruleset require a review from code owners, and own /.github/ and /thresholds.yaml in "
    ".github/CODEOWNERS, a line each: PATH @YOUR-TEAM"
)
REQUIRED_WORKFLOW = (
    "the workflow file is part of every pull request: a ruleset's required workflow, pinned to a ref, "
    "closes that (docs/security.md of ftgate); until then the report says so"
)
APPROVAL = (
    "public repository: Settings > Actions > General > require approval for all external contributors. "
    "A fork can edit the workflow: which machine its code runs on, and a step that refuses forks"
)
ENVIRONMENT = (
    "Settings > Environments > New environment `ftgate-judge` with required reviewers (a public repository, "
    "or GitHub Enterprise), for the default branch only, and in it the variable FTGATE_REVIEWED: yes. A "
    "reviewer lets one commit be measured"
)
APP = (
    "a GitHub App of your own (permissions: checks, write; actions and pull requests, read), its id in the "
    "repository's variable FTGATE_APP_ID, its key in that environment's secret FTGATE_APP_KEY; bind the "
    "required check to it: without one a fork's own workflow may have a job called `ftgate`, whose check is "
    "then as good"
)
NO_GPU = (
    "GitHub's own machines have no GPU, and train nothing large: --runs-on LABEL names another, in new "
    "workflows"
)
PRIVATE = "a private repository: `ftgate train` may not read it unless you add --private, in new workflows"
SCHEDULE = (
    "nothing for the schedule: it starts on Mondays; by hand: Actions > ftgate schedule. To keep its "
    "verdicts and audits, add the job `remember` of docs/github.md of ftgate"
)
CONTAINER = (
    "`ftgate train` runs in the container as user 1001, which must be the runner's own there (`id -u`): "
    "where it is another, write that number into the container's `options`"
)
LIVES_ON = (
    "a pull request's code runs as the runner's own user, on a machine that lives on. Better: delete these "
    "workflows and add {flags}; docs/security.md of ftgate says what that closes"
)
BETTER = {
    "trusted": "--judge-on LABEL, another machine, and --container IMAGE@sha256:DIGEST to train in",
    "two-jobs": "--container IMAGE@sha256:DIGEST to train in",
}
MAY_SHARE = (
    "see that no runner has the labels of both jobs, `ftgate train` and `ftgate judge`: one that has would "
    "judge where pull requests' code ran, and ftgate sees labels, not machines"
)
SALT = (
    "a secret FTGATE_SALT (`openssl rand -hex 32`; {where}): a judge whose machine is thrown away orders "
    "documents by it, so that what is run again is not drawn again"
)
TAG = "a tag can be moved: write the full commit behind `uses:` of ftgate"


def what_to_click(
    form: str,
    *,
    tag: bool,
    schedule: bool,
    container: bool,
    lives_on: bool,
    may_share: bool = False,
    no_gpu: bool = False,
    private: bool = False,
) -> tuple[str, ...]:
    """The steps that no file can take, as lines of text, for a form of workflows.

    `container`: the training is in one, on a machine of your own; `lives_on`: it is in none, on a machine
    that is not thrown away; `may_share`: only labels keep the judge off the machine that trains; `no_gpu`:
    the training is on GitHub's own machine; `private`: it was said that the repository is.
    """
    steps = [COMMIT, f"{RULESET}: require the status check {CHECK[form]}", OWNERS]
    steps += [ENVIRONMENT, APP] if form == "forks" else [REQUIRED_WORKFLOW]
    steps += [APPROVAL]
    steps += [MAY_SHARE] if may_share else []
    steps += [CONTAINER] if container else []
    steps += [LIVES_ON.format(flags=BETTER[form])] if lives_on else []
    steps += [NO_GPU] if no_gpu else []
    steps += [] if private or form == "trusted" else [PRIVATE]
    where = {"forks": "that environment's", "two-jobs": "the repository's"}.get(form)
    steps += [SALT.format(where=where)] if where else []
    steps += [SCHEDULE] if schedule else []
    steps += [TAG] if tag else []
    lines = ["what is left to click:"]
    for number, step in enumerate(steps, 1):
        first, rest = f"  {number}. ", "     "
        lines += wrap(step, 100, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    return tuple(lines)
