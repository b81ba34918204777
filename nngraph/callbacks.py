"""Callbacks: what is called in the course of a training, to watch it, to write about it, and to stop it."""

from __future__ import annotations

import contextlib
import csv
import math
import time
from pathlib import Path
from typing import Any, TextIO

from gates.arrays import Array
from nngraph.checkpoint import Checkpoint
from nngraph.progress import on_terminal, progress_bar
from nngraph.training import Callback, Training
from nngraph.validation import instance, not_negative, whole_number

__all__ = ["CSVLog", "Callback", "Checkpoint", "EarlyStopping", "ProgressBar", "Target", "TimeLimit", "Training"]


class EarlyStopping(Callback):
    """Stops when something that is measured gets no better, and brings back the weights with which it was best.

    Parameters
    ----------
    patience : int, default=10
        After how many epochs without a better value it stops.
    monitor : str or None, default=None
        What is measured, a column of the History; None for the validation loss, which needs validation data.
    min_delta : float, default=0.0
        By how much a value must be better than the best before it to count.
    mode : {"min", "max"} or None, default=None
        Whether less or more is better; None for less of what ends in "loss" or "error", or is called "objective",
        and else more.
    restore_best : bool, default=True
        Whether the weights (and running averages) of the best epoch are brought back at the end, however it ends.

    Attributes
    ----------
    best_epoch : int or None
        The epoch, counted from 0, with the best value.
    best : float
        That value.

    References
    ----------
    Prechelt: Early stopping, but when? In: Neural networks: tricks of the trade. Springer, 1998.
    """

    def __init__(
        self,
        patience: int = 10,
        *,
        monitor: str | None = None,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = True,
    ) -> None:
        self.patience = whole_number(patience, "EarlyStopping: patience", 1)
        self.min_delta = not_negative(min_delta, "EarlyStopping: min_delta")
        if monitor is not None and not isinstance(monitor, str):
            raise ValueError(f"EarlyStopping: monitor must be the name of a column of the History, got {monitor!r}")
        if mode not in ("min", "max", None):
            raise ValueError(f"EarlyStopping: mode must be 'min', 'max' or None, got {mode!r}")
        if not isinstance(restore_best, bool):
            raise ValueError(f"EarlyStopping: restore_best must be True or False, got {restore_best!r}")
        self.monitor, self.mode, self.restore_best = monitor, mode, restore_best
        self.best_epoch: int | None = None
        self.best = math.nan
        self._weights: tuple[Array, Array] | None = None

    def fit_begin(self, training: Training) -> None:
        """Forget earlier trainings."""
        self._monitor = training.monitored(self.monitor, "EarlyStopping")
        self._sign = _sign(self._monitor, self.mode)
        self.best_epoch, self.best = None, math.nan
        self._weights = None

    def epoch_end(self, training: Training) -> None:
        """Compare with the best value before."""
        value = training.history.last(self._monitor)
        # What is not even a number is worse than any number.
        first = self.best_epoch is None or (math.isnan(self.best) and not math.isnan(value))
        if first or self._sign * value < self._sign * self.best - self.min_delta:
            self.best_epoch, self.best = training.epoch, value
            self._weights = training.weights() if self.restore_best else None
        elif self.best_epoch is not None and training.epoch - self.best_epoch >= self.patience:
            training.stop(f"{self._monitor} has not been better than {self.best:.6g} for {self.patience} epochs")

    def fit_end(self, training: Training) -> None:
        """Bring back the best weights."""
        if self._weights is not None:
            training.restore(self._weights)
            self._weights = None

    def state(self, training: Training) -> Any:
        """Return the best value, when it was, and its weights."""
        return {"best_epoch": self.best_epoch, "best": self.best, "weights": self._weights}

    def restore(self, training: Training, state: Any) -> None:
        """Compare with the best value before."""
        weights, like = state["weights"], training.weights()
        if weights is not None and [part.shape for part in weights] != [part.shape for part in like]:
            raise ValueError("the best weights have other shapes than the model's")
        epoch = state["best_epoch"]
        self.best_epoch = None if epoch is None else whole_number(epoch, "the best epoch", 0)
        self.best, self._weights = float(state["best"]), weights


def _sign(monitor: str, mode: str | None) -> float:
    """Return 1 if less of a column is better, -1 if more is; by its name, unless somebody says so."""
    less = monitor.endswith(("loss", "error")) or monitor == "objective"
    return 1.0 if mode == "min" or (mode is None and less) else -1.0


class TimeLimit(Callback):
    """Stops after some time, at the end of the step in which it passes; if resumed, what it took before counts.

    Parameters
    ----------
    seconds : float
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = not_negative(seconds, "TimeLimit: seconds")

    def fit_begin(self, training: Training) -> None:
        """Start the clock."""
        self._end = time.perf_counter() + self.seconds

    def state(self, training: Training) -> Any:
        """Return how much time is left."""
        return self._end - time.perf_counter()

    def restore(self, training: Training, state: Any) -> None:
        """Start the clock anew, with what the limit allows beyond the time that was spent."""
        self._end = time.perf_counter() + float(state)

    def batch_end(self, training: Training) -> None:
        """Look at the clock."""
        if time.perf_counter() >= self._end:
            training.stop(f"the time limit of {self.seconds:g} seconds is over")


class Target(Callback):
    """Stops as soon as what is measured is good enough.

    Parameters
    ----------
    value : float
        What is good enough.
    monitor : str, default="loss"
        What is measured, a column of the History.
    mode : {"min", "max"} or None, default=None
        Whether it must be at most or at least the value; None as in `EarlyStopping`.
    """

    def __init__(self, value: float, monitor: str = "loss", *, mode: str | None = None) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"Target: value must be a finite number, got {value!r}")
        if not isinstance(monitor, str):
            raise ValueError(f"Target: monitor must be the name of a column of the History, got {monitor!r}")
        if mode not in ("min", "max", None):
            raise ValueError(f"Target: mode must be 'min', 'max' or None, got {mode!r}")
        self.value, self.monitor, self.mode = float(value), monitor, mode

    def fit_begin(self, training: Training) -> None:
        """Look whether it is measured."""
        training.monitored(self.monitor, "Target")
        self._sign = _sign(self.monitor, self.mode)

    def epoch_end(self, training: Training) -> None:
        """Compare."""
        value = training.history.last(self.monitor)
        if self._sign * value <= self._sign * self.value:
            training.stop(f"{self.monitor} has reached {self.value:g}")


class CSVLog(Callback):
    """Writes a line per epoch into a file: the History's columns, with a header; each line is written at once.

    If a training is resumed, the lines of the epochs before are written anew, and none that came later is left.

    Parameters
    ----------
    path : str or path
        The file; one that is there is replaced, unless `append` says otherwise.
    append : bool, default=False
        Whether lines are added to a file that is there; its header must be the same.
    """

    def __init__(self, path: Any, *, append: bool = False) -> None:
        try:
            self.path = Path(path)
        except TypeError:
            raise ValueError(f"CSVLog: path must be a path, got {path!r}") from None
        instance(append, bool, "CSVLog: append")
        self.append = append
        self._file: TextIO | None = None

    def fit_begin(self, training: Training) -> None:
        """Open the file, and write the header if it has none."""
        names, there = ["epoch", *training.columns], []
        on = self.append or training.first > 0
        if on and self.path.exists():
            with self.path.open(encoding="utf-8", newline="") as file:
                there = next(csv.reader(file), [])
        if there and there != names:
            raise ValueError(
                f"CSVLog: {self.path} has the columns {', '.join(there)}, not {', '.join(names)}; take another file"
            )
        self._file = self.path.open("a" if on else "w", encoding="utf-8", newline="")
        # Where this training begins.
        self._start = self._file.tell()
        if not there:
            self._write(names)

    def state(self, training: Training) -> Any:
        """Return where in the file this training begins."""
        return self._start

    def restore(self, training: Training, state: Any) -> None:
        """Write the lines of the epochs that are done, in the place of all that came after the beginning."""
        assert self._file is not None  # noqa: S101 - fit_begin opened it
        size = self._file.tell()
        if not isinstance(state, int) or not 0 <= state <= size:
            raise ValueError(f"{self.path} has {size} bytes, fewer than the {state} with which the training began")
        self._start = state
        self._file.truncate(state)
        if state == 0:
            self._write(["epoch", *training.columns])
        columns = training.history.to_dict()
        for epoch, row in enumerate(zip(*(columns[name].tolist() for name in training.columns), strict=True)):
            self._write([epoch, *row])

    def epoch_end(self, training: Training) -> None:
        """Write a line."""
        self._write([training.epoch, *(training.history.last(name) for name in training.columns)])

    def _write(self, line: list[Any]) -> None:
        assert self._file is not None  # noqa: S101 - fit_begin opened it
        csv.writer(self._file, lineterminator="\n").writerow(line)
        self._file.flush()

    def fit_end(self, training: Training) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class ProgressBar(Callback):
    """A bar on a terminal, once the training has lasted for a second; elsewhere a line from time to time.

    Parameters
    ----------
    plain : bool, default=True
        Whether lines are printed where the output is no terminal; else nothing.
    interval : float, default=1.0
        How many seconds lie between two of these lines, at least; the last epoch always has one.
    """

    def __init__(self, *, plain: bool = True, interval: float = 1.0) -> None:
        instance(plain, bool, "ProgressBar: plain")
        self.plain, self.interval = plain, not_negative(interval, "ProgressBar: interval")
        self._stack = contextlib.ExitStack()

    def fit_begin(self, training: Training) -> None:
        """Open the bar."""
        self._done, self._due = training.first * training.batches, 0.0
        self._draws = on_terminal()
        self._update = self._stack.enter_context(progress_bar(training.epochs * training.batches))

    def batch_end(self, training: Training) -> None:
        """Move it on."""
        self._done += 1
        self._update(self._done, training.loss)

    def epoch_end(self, training: Training) -> None:
        """Print a line where there is no bar."""
        last = training.epoch + 1 == training.epochs or training.reason
        if self._draws or not self.plain or not (last or time.perf_counter() >= self._due):
            return
        self._due = time.perf_counter() + self.interval
        shown = [f"{name} {training.history.last(name):.4g}" for name in training.history]
        print(f"epoch {training.epoch + 1}/{training.epochs}: {', '.join(shown)}", flush=True)

    def fit_end(self, training: Training) -> None:
        """Close the bar."""
        self._stack.close()
