"""What test modules have to say at the end of a run, in a line or two each: `tests/conftest.py` prints it."""

from __future__ import annotations

from collections.abc import Callable

# Functions that return a line about what ran, or None when nothing did; a module of tests appends its own.
LINES: list[Callable[[], str | None]] = []
