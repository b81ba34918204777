"""A progress bar for work that lasts, on a terminal only."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Seconds before a bar appears, and between its updates: updating at every pass would cost more than a small pass.
PATIENCE = 1.0
INTERVAL = 0.1


def on_terminal() -> bool:
    """Whether standard output is a terminal on which a bar can be drawn."""
    terminal: bool = importlib.import_module("rich.console").Console().is_terminal
    return terminal


@contextmanager
def progress_bar(total: int, console: Console | None = None) -> Iterator[Callable[[int, float], None]]:
    """Give a function ``update(passes, loss)`` that draws a bar once the work has lasted for `PATIENCE` seconds.

    Printed lines appear above the bar, and it vanishes when the work is done. Where standard output is no terminal
    nothing is drawn.
    """
    # Loaded when somebody trains: rich takes a fifth of the time of an import.
    console = console or importlib.import_module("rich.console").Console()
    if not console.is_terminal:
        yield _draw_nothing
        return
    bars = importlib.import_module("rich.progress")
    columns = (
        bars.TextColumn("training"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("loss {task.fields[loss]:.6f}"),
        bars.TextColumn("elapsed"),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    progress = bars.Progress(*columns, console=console, transient=True)
    task = progress.add_task("training", total=total, loss=float("nan"))
    due = time.monotonic() + PATIENCE

    def update(passes: int, loss: float) -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + INTERVAL
        progress.update(task, completed=passes, loss=loss)
        progress.start()

    try:
        yield update
    finally:
        progress.stop()


def _draw_nothing(_passes: int, _loss: float) -> None:
    pass
