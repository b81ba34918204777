"""What watches an estimator's training: its loss curve, when it stops, the best weights, and who else is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.estimators.data import Examples
from nngraph.estimators.progress import Progress
from nngraph.training import Callback, Training


class Watch(Callback):
    """Follows a training as scikit-learn's multi-layer perceptrons do.

    Parameters
    ----------
    settings : estimator
    progress : Progress
        Where everything is written down.
    train : Examples
        What is trained on.
    scale : float
        What a loss of the model is multiplied by in the curves.
    score : callable, optional
        Returns the score on the validation data.
    task : callback context, optional
        Where scikit-learn's callbacks are told of the epochs.
    data : dict, optional
        And what they are told.

    Attributes
    ----------
    failed : bool
        Whether a method of SciPy has ended without having found what it looked for.
    """

    def __init__(
        self,
        settings: Any,
        progress: Progress,
        train: Examples,
        scale: float,
        score: Callable[[], float] | None = None,
        task: Any = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        self._settings, self._progress, self._scale, self._score = settings, progress, scale, score
        self._examples, self._rows_of_X = len(train.X), train.rows
        self._weight = float(self._examples if train.weights is None else train.weights.sum())
        self._task, self._data = task, data or {}
        self.failed = False
        self._epoch: Any = None
        self._weights: list[Array] = []
        self._best: tuple[Array, Array] | None = None
        self._sum, self._rows, self._penalty = 0.0, 0, 0.0

    def fit_begin(self, training: Training) -> None:
        """Find the weights that the penalty is on; what a fit goes on from is the best so far."""
        if self._score is not None and self._progress.validation_scores:
            self._best = training.weights()
        inner = training.whose
        if inner is not None:
            training.whose = lambda: self._whose(inner())
        parts = training.parameters.values()
        self._weights = [part.ravel() for part in parts if part.ndim >= 2] if self._settings.alpha else []

    def _whose(self, rows: Array | None) -> Array | None:
        """Return which rows of the user's X some rows of what is trained on are, None for all in their order."""
        mine = self._rows_of_X
        if rows is not None:
            found: Array = mine[rows]
            return found
        return None if (mine == np.arange(len(mine))).all() else mine

    def epoch_begin(self, training: Training) -> None:
        """Begin a sum, and a task of scikit-learn's."""
        self._sum, self._rows = 0.0, 0
        if self._task is not None:
            self._epoch = self._task.subcontext(task_name=f"epoch {training.epoch + 1}")
            self._epoch.call_on_fit_task_begin(estimator=self._settings, **self._data)

    def batch_begin(self, training: Training) -> None:
        """Measure the penalty of the weights with which the loss will be computed."""
        self._penalty = self._penalties()

    def _penalties(self) -> float:
        return float(self._settings.alpha / 2 * sum(part.dot(part) for part in self._weights))

    def batch_end(self, training: Training) -> None:
        """Add up the objective, batch by batch."""
        self._sum += training.rows * (training.loss * self._scale + self._penalty / training.weight)
        self._rows += training.rows

    def epoch_end(self, training: Training) -> None:
        """Write the epoch down, and look whether that is enough."""
        settings, progress = self._settings, self._progress
        if training.update is None:
            # SciPy's methods look at several places; here they are at the last.
            loss = training.loss * self._scale + self._penalties() / self._weight
        else:
            loss = self._sum / self._rows
        if "validation_loss" in training.history:
            progress.validation_loss_curve.append(training.history.last("validation_loss") * self._scale)
        score = None if self._score is None else self._score()
        if progress.end_epoch(loss, self._examples, settings, score):
            self._best = training.weights()
        if settings.verbose:
            print(f"Iteration {progress.epochs}, loss = {loss:.8f}")
            if score is not None:
                print(f"Validation score: {score:f}")
        # Without validation data SciPy's methods know by themselves when to stop.
        if progress.idle > settings.n_iter_no_change and (training.update is not None or progress.early_stopping):
            self._stop(training)
        if self._epoch is not None and self._epoch.call_on_fit_task_end(
            estimator=settings, reconstruction_attributes=lambda: self._fitted(training), **self._data
        ):
            training.stop("a callback of scikit-learn's asked for it")

    def _stop(self, training: Training) -> None:
        """Stop, or go on with a smaller rate."""
        settings, progress = self._settings, self._progress
        what = "Validation score" if progress.early_stopping else "Training loss"
        reason = f"{what} did not improve more than tol={settings.tol:f} for {settings.n_iter_no_change} epochs"
        go_on = progress.turn_down(training.rate, settings)
        if settings.verbose:
            print(f"{reason}. {f'Setting learning rate to {training.rate / 5:f}.' if go_on else 'Stopping.'}")
        if not go_on:
            training.stop(reason)

    def _fitted(self, training: Training) -> dict[str, Any]:
        """Return what an estimator has that stops here."""
        return {"model_": copy.deepcopy(training.model), **copy.deepcopy(self._progress).attributes()}

    def fit_end(self, training: Training) -> None:
        """Keep the optimiser's state, and bring back the best weights."""
        self.failed = training.failed
        if training.update is not None:
            done = 0 if self._progress.state is None else self._progress.state[0]
            self._progress.state = done + training.update.step, training.update.state
        if self._best is not None:
            training.restore(self._best)
