"""Learning from examples that come in parts: `partial_fit`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.estimators.data import Examples, taken
from nngraph.estimators.progress import Continued
from nngraph.model import Model
from nngraph.objective import FIT_ADVICE, DivergenceError
from nngraph.optimizers import Optimizer
from nngraph.tracing import Trace, all_finite


class Online:
    """Steps on a model that are ready to go on: what they need is recorded once, and not in every `partial_fit`.

    Parameters
    ----------
    model : Model
    optimizer : Optimizer
    alpha : float
        The strength of the penalty.
    made_of : str
        The settings in words, from which these steps are made.
    **settings
        Of `Model.descent`.

    Attributes
    ----------
    state : (int, tuple of arrays)
        Where the optimiser was after the last epoch.
    made_of : str
        Empty if an epoch was not brought to its end, so that these steps cannot be gone on with.
    """

    def __init__(self, model: Model, optimizer: Optimizer, alpha: float, made_of: str, **settings: Any) -> None:
        self._before = optimizer.step if isinstance(optimizer, Continued) else 0
        self._alpha, self._output, self.made_of = alpha, model.output, made_of
        self._descent = model.descent(optimizer, **settings)
        self._W = [part.ravel() for part in self._descent.flat.values.values() if part.ndim >= 2] if self._alpha else []
        self.state = self._left()

    def _left(self) -> tuple[int, tuple[Array, ...]]:
        step, state = self._descent.state
        return self._before + step, state

    def epoch(self, train: Examples, size: int, order: Array, rate: float, scale: float) -> float:
        """Take a step on every batch; return the mean objective.

        Parameters
        ----------
        train : Examples
            The labels as the output takes them.
        size : int
            How many examples a batch has.
        order : array of shape (examples,)
            The numbers of the examples.
        rate : float
            The learning rate.
        scale : float
            What a loss is multiplied by.

        Raises
        ------
        DivergenceError
            If the loss, a weight or a running average is not finite; the model is as it was.
        """
        descent, flat = self._descent, self._descent.flat
        # The user may have written into the weights.
        flat.read()
        before = flat.theta.copy(), flat.averages.copy(), descent.rng.bit_generator.state
        try:
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                loss = self._steps(train, size, order, rate, scale)
        except BaseException:
            self.made_of = ""
            flat.theta[...], flat.averages[...], descent.rng.bit_generator.state = before
            descent.finish()
            raise
        descent.finish()
        self.state = self._left()
        return loss

    def _steps(self, train: Examples, size: int, order: Array, rate: float, scale: float) -> float:
        descent, total, rows = self._descent, 0.0, len(train.X)
        for start in range(0, rows, size):
            some = order[start : start + size]
            batch = train if len(some) == rows else taken(train, some)
            descent.load(batch.X, batch.labels, batch.weights)
            weight = float(len(some) if batch.weights is None else batch.weights.sum())
            penalty = float(self._alpha / 2 * sum(W.dot(W) for W in self._W))
            loss = descent.compute()
            if not math.isfinite(loss):
                raise self._diverged(start // size, rate, batch)
            total += len(some) * (loss * scale + penalty / weight)
            descent.update(rate)
        if not (all_finite(descent.flat.theta) and all_finite(descent.flat.averages)):
            raise self._diverged((rows - 1) // size, rate, batch)
        return total / rows

    def _diverged(self, batch: int, rate: float, examples: Examples) -> DivergenceError:
        found = self._descent.trace() or Trace("loss", type(self._output).__name__, "became", math.nan)
        text = f"partial_fit diverged in batch {batch}: {found}. The weights of before are kept"
        return DivergenceError(f"{text}. {FIT_ADVICE.format(rate)}", batch, found, examples.rows)
