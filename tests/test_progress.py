"""The progress bar: on a terminal only, and only for work that lasts."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import rich.progress
from rich.console import Console

from nngraph import Model, progress
from nngraph.progress import progress_bar


def terminal():
    """Return a console that believes that it is a terminal, and writes into a string."""
    return Console(force_terminal=True, file=io.StringIO(), width=120, color_system=None)


@pytest.fixture
def at_once(monkeypatch):
    """Let the bar appear at once and follow every update."""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)


@pytest.mark.usefixtures("at_once")
def test_bar_on_a_terminal():
    """The bar shows what is done, of how much, and the loss, and is erased at the end."""
    console = terminal()
    with progress_bar(40, console) as update:
        for passes in range(31):
            update(passes, 0.5)
    out = console.file.getvalue()
    assert "training" in out
    assert "30/40" in out
    assert "loss 0.500000" in out
    erased = "\x1b[2K"
    assert out.rstrip().endswith(erased)


@pytest.fixture
def clock(monkeypatch):
    """Return a list of one number, the time that the progress bar sees; its patience is 1, its interval 0.1."""
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(progress, "PATIENCE", 1.0)
    monkeypatch.setattr(progress, "INTERVAL", 0.1)
    return now


def test_short_work_shows_nothing(clock):
    """Before the patience is over nothing at all is written; then the bar comes."""
    console = terminal()
    with progress_bar(10, console) as update:
        update(1, 0.5)
        clock[0] += 0.99
        update(2, 0.5)
        assert console.file.getvalue() == ""
        clock[0] += 0.02
        update(3, 0.25)
        assert "training" in console.file.getvalue()
    assert "3/10" in console.file.getvalue()


def test_first_frame(clock):
    """The bar appears with what is done so far, not with 0 passes and a loss of nan."""
    console = terminal()
    with progress_bar(10, console) as update:
        clock[0] += 2
        update(3, 0.25)
    assert "3/10" in console.file.getvalue()
    assert "nan" not in console.file.getvalue()


def test_updates_are_thinned(clock, monkeypatch):
    """Between two updates of the bar an interval passes, however many passes are reported."""
    drawn = []
    monkeypatch.setattr(
        rich.progress.Progress, "update", lambda _self, _task, completed, loss: drawn.append((completed, loss))
    )
    with progress_bar(10**6, terminal()) as update:
        for passes in range(3000):
            clock[0] = 100 + passes / 1000
            update(passes, passes / 2)
    assert 19 <= len(drawn) <= 21
    assert drawn[0][0] in (1000, 1001)
    assert all(loss == passes / 2 for passes, loss in drawn)


@pytest.mark.usefixtures("at_once")
def test_nothing_where_there_is_no_terminal():
    """Into a file or a pipe no bar is drawn."""
    console = Console(file=io.StringIO(), force_terminal=False)
    with progress_bar(10, console) as update:
        for passes in range(11):
            update(passes, 0.5)
    assert console.file.getvalue() == ""


@pytest.mark.usefixtures("at_once")
def test_no_bar_without_updates():
    """Work that never reports shows no bar."""
    console = terminal()
    with progress_bar(10, console):
        pass
    assert "training" not in console.file.getvalue()


@pytest.mark.usefixtures("at_once")
def test_print_in_between_survives():
    """What is printed while the bar is up stands above it, whole, and standard output is put back."""
    console, before = terminal(), sys.stdout
    with progress_bar(10, console) as update:
        update(1, 0.5)
        print("Loss after iteration 0: 0.700000")
        update(2, 0.25)
    assert "Loss after iteration 0: 0.700000\n" in console.file.getvalue()
    assert sys.stdout is before


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_bar_goes_when_the_work_fails(error):
    """An exception takes the bar away and passes on; the terminal and standard output are as before."""
    console, before = terminal(), sys.stdout

    def work():
        with progress_bar(10, console) as update:
            update(1, 0.5)
            raise error

    with pytest.raises(error):
        work()
    assert sys.stdout is before
    shown, hidden = "\x1b[?25h", "\x1b[?25l"
    out = console.file.getvalue()
    assert out.rfind(shown) > out.rfind(hidden) >= 0


def test_training_without_a_terminal_is_silent(capfd):
    """Training in a pipe writes nothing, to either stream."""
    Model([1, 2], random_state=0).train([[1.0]], [0], num_passes=20)
    assert capfd.readouterr() == ("", "")


SCRIPT = """
    from nngraph import Model, progress
    progress.PATIENCE = progress.INTERVAL = 0
    Model([1, 2], random_state=0).train([[1.0], [2.0]], [0, 1], num_passes=1500, print_loss=True)
    print("done")
"""


def test_training_on_a_terminal():
    """On a real (pseudo-)terminal training shows the bar, and the printed lines stay on the screen."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    with subprocess.Popen(command, stdout=child, stderr=subprocess.STDOUT, env=environment) as process:  # noqa: S603 -- our own script
        os.close(child)
        out = b""
        # At its end a terminal gives an error on Linux, and nothing elsewhere.
        try:
            while chunk := os.read(parent, 4096):
                out += chunk
        except OSError:
            pass
        process.wait(timeout=60)
    os.close(parent)
    text = out.decode()
    assert process.returncode == 0
    assert "training" in text
    assert "/1500" in text
    for line in ("Loss after iteration 0: ", "Loss after iteration 1000: ", "done"):
        assert line in text
