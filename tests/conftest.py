"""What ran: with several workers pytest prints dots and no names, so a table by file stands at the end."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Each file with its tests and their seconds, the longest first."""
    if not config.getoption("numprocesses", None):
        return
    tests: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                file = report.nodeid.partition("::")[0]
                tests[file] += report.when == "setup"
                seconds[file] += report.duration
    terminalreporter.section("what ran")
    for file, took in seconds.most_common():
        terminalreporter.write_line(f"{took:7.1f} s {tests[file]:5} tests  {file}")
