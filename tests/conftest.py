"""Prints, at the end of a run, what the test modules measured."""

from __future__ import annotations

import pytest

from tests.summary import LINES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the line of every test module that ran and has one."""
    lines = [line for write in LINES if (line := write()) is not None]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(line)
