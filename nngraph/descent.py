"""Training in single steps, for loops of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.flat import Flat
from nngraph.steps import Steps
from nngraph.tracing import Trace, trace, trace_step
from nngraph.update import Update
from nngraph.validation import not_negative

# For how many shapes of data one descent keeps how to take a step.
MOST_SHAPES = 32


class Descent:
    """Training in single steps, on data that may change from step to step: mini-batches. See `Model.descent`.

    The gates' settings must stay as they are in the course of it.

    Attributes
    ----------
    flat : Flat
        The parameters and the gradient in the course of it.
    rng : numpy.random.Generator
        Where it draws from.

    Examples
    --------
    >>> import numpy as np
    >>> from nngraph import Model
    >>> from nngraph.optimizers import Momentum
    >>> X, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 1])
    >>> model = Model([2, 2], random_state=0)
    >>> descent = model.descent(Momentum(0.5))
    >>> for start in [0, 2] * 20:
    ...     descent.load(X[start : start + 2], y[start : start + 2])
    ...     loss = descent.compute()
    ...     descent.update()
    >>> descent.finish()
    >>> model.predict(X)
    array([0, 1, 1, 1])
    """

    def __init__(
        self,
        steps_on: Callable[[Any, Any, Any], Steps],
        arrays: Callable[[Any, Any, Any], dict[Any, Any]],
        flat: Flat,
        update: Update,
        rate: float,
        rng: np.random.Generator,
    ) -> None:
        self.flat = flat
        self._update, self._rate, self.rng = update, rate, rng
        self._computed, self._random = False, bool(flat.graph.randoms)
        self._steps_on, self._arrays = steps_on, arrays
        self._steps: dict[Any, Steps] = {}
        self._now: Steps | None = None
        self._rows, self._weight = 0, 0.0
        flat.read()

    def load(self, X: Any, y: Any, sample_weight: Any = None) -> None:
        """Take the data of the next step.

        Parameters
        ----------
        X, y : array-like
            Examples and their targets, as in `Model.fit`. Data of a shape and dtype that were there before are copied
            into the same place, and only the output looks at them again.
        sample_weight : array-like of shape (examples,), optional
            What each example weighs.
        """
        # If these data are refused there are none: the place of the last ones may be overwritten by then.
        self._now, self._computed = None, False
        given = self._arrays(X, y, sample_weight)
        key = tuple((array.shape, array.dtype) for array in given.values())
        steps = self._steps.get(key)
        if steps is None or not steps.load(given):
            steps = self._steps[key] = self._steps_on(X, y, sample_weight)
            while len(self._steps) > MOST_SHAPES:
                del self._steps[next(iter(self._steps))]
        self._now, self._rows = steps, len(next(iter(given.values())))
        self._weight = float(self._rows if sample_weight is None else np.sum(sample_weight))

    def compute(self) -> float:
        """Return the loss on the data, as the output reports it, and compute its gradient; dropout is drawn anew."""
        if self._now is None:
            raise ValueError("there are no data yet: call load(X, y) before compute()")
        if self._random:
            self._now.draw(self.rng)
        loss = self._now.loss()
        self._now.differentiate()
        self._computed = True
        return loss

    def update(self, rate: float | None = None) -> None:
        """Take a step along the gradient that `compute` left, with the optimiser's rate or another."""
        if not self._computed:
            raise ValueError("there is no gradient: call compute() before every update()")
        self._computed = False
        self._update(self._rate if rate is None else not_negative(rate, "rate"), self._weight)
        self.flat.average(self._rows)

    def finish(self) -> None:
        """Give the model the parameters' values and the averages.

        Until then it has those of the beginning; where it runs node by node, those of the last `compute`.
        """
        self.flat.write()

    def trace(self) -> Trace | None:
        """Return what first was not finite in the last `compute`, or else which parameter is not; None for nothing."""
        assert self._now is not None  # noqa: S101 - somebody has computed
        objective, flat = self._now.objective(), self.flat
        before = {p: p.value.copy() for p in flat.parameters}
        flat.write_parameters()
        try:
            with np.errstate(all="ignore"):
                values = objective.forward()
        finally:
            for parameter, value in before.items():
                parameter.value = value
        return trace(objective.graph, values) or trace_step(objective.graph, {**flat.values, **flat.averages_of})

    @property
    def state(self) -> tuple[int, tuple[Array, ...]]:
        """How many steps were taken, and copies of what the optimiser remembers."""
        return self._update.step, tuple(part.copy() for part in self._update.state)

    @property
    def buffer_bytes(self) -> int:
        """The memory of all buffers."""
        return self.flat.theta.nbytes + self.flat.gradient.nbytes + sum(s.buffer_bytes for s in self._steps.values())
