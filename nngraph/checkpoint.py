"""Checkpoints: a training written down in its course, so that it can go on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nngraph.storage.file import path_of
from nngraph.storage.writing import sweep
from nngraph.training import Callback, Training
from nngraph.validation import whole_number


class Checkpoint(Callback):
    """Writes the model and all that its training needs to go on, after epochs; ``fit(..., resume=path)`` goes on.

    It sees an epoch's end after all other callbacks and the schedule, wherever it stands among them. `nngraph.load`
    makes a model of the file, with the weights of the epoch's end. If it cannot be written, the training ends with that
    error, and the file that was there before is untouched.

    Parameters
    ----------
    path : str or path
        The file, which each time is replaced, whole, by the next; "{epoch}" in it becomes the number of epochs that are
        done, so that each has a file of its own.
    every : int, default=1
        After how many epochs it is written; after the last one it always is, unless a method of SciPy ends by itself.
    """

    def __init__(self, path: Any, every: int = 1) -> None:
        self.path = path_of(path, "Checkpoint: path")
        self.every = whole_number(every, "Checkpoint: every", 1)
        self._folder = Path()

    def fit_begin(self, training: Training) -> None:
        """Look whether the model can be stored, and the file can be there; clear away what killed trainings left."""
        # A relative path stays where it was when the training began, wherever the process goes meanwhile.
        self._folder = Path() if self.path.is_absolute() else Path.cwd()
        training.course.check(self._at(training.first))
        sweep(self._folder / self.path)

    def epoch_end(self, training: Training) -> None:
        """Write."""
        done = training.epoch + 1
        if done % self.every == 0 or done == training.epochs or training.reason:
            training.course.write(self._at(done))

    def _at(self, done: int) -> Path:
        return self._folder / str(self.path).replace("{epoch}", str(done))
