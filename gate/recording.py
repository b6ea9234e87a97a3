"""`ftgate history`: shows what a folder of verdicts says, and adds a run's verdict to it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from gate.errors import UsageError
from gate.history import FOLDER, agreement, flip_rates, past_of, read_history, write_past
from gate.records.history import PastVerdict
from gate.report.history_table import agreement_text, history_json, history_text
from gate.seeds import refuse_seed
from gate.shell import Shell
from gate.verdict import Result, Verdict


def show_history(folder: Path | None, config: str | None, as_json: bool, shell: Shell) -> None:
    """Print the verdicts of a folder, of one config or of all, the oldest first."""
    history = read_history(folder or FOLDER, shell.warn)
    own = tuple(past for past in history if config in (None, past.config))
    if config is not None and not own:
        known = ", ".join(dict.fromkeys(past.config for past in history)) or "none"
        raise UsageError(f"no verdict on {config} is recorded", hint=f"there are verdicts on: {known}")
    found, rates = agreement(own), flip_rates(own)
    if as_json:
        shell.say(history_json(own, rates, asdict(found) if found else None))
    else:
        shell.say(history_text(own, rates, said_of_audits(own)))


def said_of_audits(history: tuple[PastVerdict, ...]) -> str:
    """What the audits of a history say together, in words; "" where there are none."""
    found = agreement(history)
    if found is None:
        return ""
    bounds = found.bounds
    return agreement_text(
        found.audits,
        found.differing,
        bounds.low,
        bounds.high,
        found.stated,
        found.settled,
        found.rules_differing,
    )


def record_verdict(result: Result, run: Path, folder: Path | None, commit: str) -> Path:
    """Add a run's verdict to a folder; the file. Raises `UsageError` for a run without a verdict, and for one
    training of a recipe."""
    if not isinstance(result, Verdict):
        raise UsageError(f"{run} ended without a verdict", hint="only verdicts make a history")
    refuse_seed(result, run)
    return write_past(folder or FOLDER, past_of(result, commit))
