"""A progress bar for work that lasts, on a terminal only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# Seconds before a bar appears, and between its updates: updating at every pass would cost more than a small pass.
PATIENCE = 1.0
INTERVAL = 0.1


@contextmanager
def progress_bar(total: int, console: Console | None = None) -> Iterator[Callable[[int, float], None]]:
    """Give a function ``update(passes, loss)`` that draws a bar once the work has lasted for `PATIENCE` seconds.

    Printed lines appear above the bar, and it vanishes when the work is done. Where standard output is no terminal
    nothing is drawn.
    """
    console = console or Console()
    if not console.is_terminal:
        yield _draw_nothing
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.6f}"),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console, transient=True)
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
