"""The event and the runner are read once: nothing else of `gate.ci` looks at GitHub's variables."""

import re
from pathlib import Path

import gate.ci
from gate.github.events import read_runner

# They take tokens out of the process's environment before anything else runs, so they must hold it.
STARTING = {"commands.py", "secrets.py"}
GITHUBS = re.compile(r"""environ(?:\.get\(|\[)\s*["'](?:GITHUB|RUNNER|ACTIONS)_|os\.(?:environ|getenv)""")


def test_nothing_of_ci_reads_githubs_variables_itself() -> None:
    """Each module gets what it needs of them from the records of `gate.github.events`."""
    modules = [path for path in Path(gate.ci.__file__).parent.glob("*.py") if path.name not in STARTING]
    assert len(modules) > 10
    assert [path.name for path in modules if GITHUBS.search(path.read_text("utf-8"))] == []


def test_the_runners_record_has_what_was_read_elsewhere() -> None:
    """The step's repository and the folder for what is gone after the job."""
    runner = read_runner({"GITHUB_REPOSITORY": "acme/models", "RUNNER_TEMP": "/tmp/x"})
    assert runner.repository == "acme/models"
    assert runner.temporary == Path("/tmp/x")
    assert read_runner({}).repository == ""
