"""How far an estimator's training has come: what a later `fit` with warm_start, or `partial_fit`, goes on from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.optimizers import Optimizer

# Below it the rate of learning_rate="adaptive" falls no more.
SMALLEST_RATE = 1e-6


@dataclass
class Progress:
    """Curves, counts, and the state of the optimiser and of the learning rate.

    Attributes
    ----------
    early_stopping : bool
        Whether the score on validation data says when to stop, and not the loss.
    loss_curve, validation_loss_curve, validation_scores : lists of float
        A number for every epoch.
    rows, epochs : int
        How many examples were learned from in all; and how many epochs there were in the present call.
    best_loss, best_score : float
    idle : int
        How many epochs in a row have brought nothing.
    factor : float
        What the learning rate is multiplied by.
    state : (int, tuple of arrays) or None
        How many steps the optimiser took, and what it remembers.
    kind : type or None
        The class of the optimiser.
    """

    early_stopping: bool
    loss_curve: list[float] = field(default_factory=list)
    validation_loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    rows: int = 0
    epochs: int = 0
    best_loss: float = math.inf
    best_score: float = -math.inf
    idle: int = 0
    factor: float = 1.0
    state: tuple[int, tuple[Array, ...]] | None = None
    kind: type[Optimizer] | None = None

    def __call__(self, epoch: float, epochs: float) -> float:
        """Return the factor: a schedule."""
        return self.factor

    def end_epoch(self, loss: float, rows: int, settings: Any, score: float | None = None) -> bool:
        """Write an epoch on so many examples down, and count it if it brings less than tol.

        Return whether its score, if there are validation data, is the best so far.
        """
        self.loss_curve.append(float(loss))
        self.rows += rows
        self.epochs += 1
        if settings.learning_rate == "invscaling":
            self.factor = (self.rows + 1.0) ** -settings.power_t
        best, lowest = self.best_score, self.best_loss
        if score is not None:
            self.validation_scores.append(score)
            self.best_score = max(best, score)
        if self.early_stopping:
            idle = score is not None and score < best + settings.tol
        else:
            idle = loss > lowest - settings.tol
            self.best_loss = min(float(loss), lowest)
        self.idle = self.idle + 1 if idle else 0
        return score is not None and score > best

    def turn_down(self, rate: float, settings: Any) -> bool:
        """Divide the learning rate by 5 if it is "adaptive", and return whether it was; not if it is small already."""
        # As in scikit-learn, Adam's rate is its own.
        if settings.learning_rate != "adaptive" or settings.solver in ("adam", "lbfgs") or not rate > SMALLEST_RATE:
            return False
        self.factor /= 5
        self.idle = 0
        return True

    def attributes(self) -> dict[str, Any]:
        """Return what the estimator shows of it, as scikit-learn's do: what is not judged by is None."""
        return {
            "loss_curve_": self.loss_curve,
            "validation_loss_curve_": self.validation_loss_curve or None,
            "validation_scores_": self.validation_scores or None,
            "loss_": self.loss_curve[-1] if self.loss_curve else math.nan,
            "best_loss_": None if self.early_stopping else self.best_loss,
            "best_validation_score_": self.best_score if self.validation_scores else None,
            "n_iter_": self.epochs,
            "t_": self.rows,
        }


class Continued(Optimizer):
    """An optimiser that goes on from a state in which it was left.

    Parameters
    ----------
    optimizer : Optimizer
    step : int
        How many steps were taken.
    state : tuple of arrays
        What it remembers.
    """

    def __init__(self, optimizer: Optimizer, step: int, state: tuple[Array, ...]) -> None:
        super().__init__(optimizer.rate)
        self.optimizer, self.step, self.state = optimizer, step, state

    def start(self, theta: Array) -> tuple[Array, ...]:
        return self.state

    def numbers(self, rate: float, step: int) -> tuple[float, ...]:
        return self.optimizer.numbers(rate, self.step + step)

    def update(self, *args: Any) -> Any:
        return self.optimizer.update(*args)


def continued(optimizer: Optimizer, progress: Progress, theta: Array) -> Optimizer:
    """Return an optimiser that goes on where the last one left off, if that was of its kind; else it begins anew."""
    if progress.state is not None and progress.kind is type(optimizer):
        step, state = progress.state
        if [np.shape(part) for part in optimizer.start(theta)] == [part.shape for part in state]:
            return Continued(optimizer, step, state)
    progress.state, progress.kind = None, type(optimizer)
    return optimizer
