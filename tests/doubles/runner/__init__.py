"""A small GitHub Actions runner: workflows and composite actions, executed as GitHub does.

What it does not know of a workflow (a key, an action, a function of an expression) it refuses. It knows as
much as `action.yml` and the workflows of `ftgate init --github` use.
"""

from runner.events import Happening
from runner.expressions import Unknown
from runner.jobs import JobRun, Run, Runner
from runner.steps import StepRun

__all__ = ["Happening", "JobRun", "Run", "Runner", "StepRun", "Unknown"]
