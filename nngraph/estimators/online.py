"""Learning from examples that come in parts: `partial_fit`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.estimators.progress import Continued, Progress
from nngraph.model import Model
from nngraph.objective import FIT_ADVICE, DivergenceError
from nngraph.optimizers import Optimizer


class Online:
    """Steps on a model that are ready to go on: what they need is recorded once, and not in every `partial_fit`.

    Parameters
    ----------
    model : Model
    optimizer : Optimizer
    settings : estimator
    """

    def __init__(self, model: Model, optimizer: Optimizer, settings: Any) -> None:
        self._before = optimizer.step if isinstance(optimizer, Continued) else 0
        self._alpha, self._shuffle = settings.alpha, settings.shuffle
        self._descent = model.descent(optimizer, penalty=settings.penalty(), clip_norm=settings.clip_norm)
        self._W = [part.ravel() for part in self._descent.flat.values.values() if part.ndim >= 2] if self._alpha else []

    def epoch(self, X: Array, targets: Array, weights: Array | None, size: int, rate: float, scale: float) -> float:
        """Take a step on every batch; return the mean objective.

        Raises
        ------
        DivergenceError
            If the loss is not finite; the model is as it was.
        """
        descent, total = self._descent, 0.0
        whole = size >= len(X)
        order = descent.rng.permutation(len(X)) if self._shuffle and not whole else np.arange(len(X))
        for batch, start in enumerate(range(0, len(X), size)):
            rows = slice(None) if whole else order[start : start + size]
            part = None if weights is None else weights[rows]
            descent.load(X[rows], targets[rows], part)
            weight = float(len(X[rows]) if part is None else part.sum())
            penalty = self._alpha / 2 * sum(W.dot(W) for W in self._W)
            loss = descent.compute()
            if not math.isfinite(loss):
                advice = FIT_ADVICE.format(rate)
                text = f"partial_fit diverged in batch {batch}: the loss became {loss}. The weights of before are kept"
                raise DivergenceError(f"{text}. {advice}", batch, "loss")
            total += len(X[rows]) * (loss * scale + penalty / weight)
            descent.update(rate)
        descent.finish()
        return total / len(X)

    def left(self, progress: Progress) -> None:
        """Write down where the optimiser is."""
        step, state = self._descent.state
        progress.state = self._before + step, state
