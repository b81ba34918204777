"""Training by a method of `scipy.optimize.minimize`: the loop is SciPy's, an epoch is an iteration of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy

from gates.arrays import Array
from nngraph.flat import Flat
from nngraph.nodes import Parameter
from nngraph.optimizers import WITH_CURVATURE, WITH_HESSIAN, WITHOUT_GRADIENT, ScipyMinimize
from nngraph.penalties import ElasticNet
from nngraph.steps import Steps
from nngraph.training import Training

# scipy.optimize is reached as an attribute of scipy, which loads it at the first use.


class _Enough(Exception):  # noqa: N818 - no error: it leads out of SciPy's loop
    """The training is to stop."""


class Minimizer:
    """The objective as a function of one vector, and what SciPy is to do with it."""

    def __init__(
        self,
        settings: ScipyMinimize,
        flat: Flat,
        steps: Steps,
        penalties: Mapping[Parameter, ElasticNet],
        rows: int,
        weight: float,
    ) -> None:
        self._settings, self._flat, self._steps, self._rows = settings, flat, steps, rows
        # Each penalty, and what it is divided by.
        self._penalties = [(p, penalty, weight if penalty.shared else 1.0) for p, penalty in penalties.items()]
        self._at: Array | None = None
        self._ended: Array | None = None
        self.loss, self.value = math.nan, math.nan
        self._gradient = flat.gradient.astype(np.float64)

    def evaluate(self, theta: Array) -> tuple[float, Array]:
        """Return J and its gradient there; J is infinite where it cannot be computed, and no method goes there."""
        if self._at is None or not np.array_equal(theta, self._at):
            flat = self._flat
            np.copyto(flat.theta, theta, casting="same_kind")
            self.loss = self._steps.loss()
            self._steps.differentiate()
            value = self.loss
            for p, penalty, sharers in self._penalties:
                value += penalty.value(flat.values[p]) / sharers
                flat.gradients[p] += penalty.gradient(flat.values[p]) / sharers
            self._gradient = flat.gradient.astype(np.float64)
            self.value = value if math.isfinite(value) else math.inf
            self._at = theta.copy()
        return self.value, self._gradient.copy()

    def curvature(self, theta: Array, direction: Array) -> Array:
        """Return the Hessian times a direction: the difference of the gradients at both sides."""
        length = float(np.linalg.norm(direction))
        if length == 0:
            return np.zeros_like(direction)
        step = np.cbrt(np.finfo(self._flat.theta.dtype).eps) * max(1.0, float(np.linalg.norm(theta))) / length
        ahead, behind = (self.evaluate(theta + side * step * direction)[1] for side in (1, -1))
        found: Array = (ahead - behind) / (2 * step)
        return found

    def hessian(self, theta: Array) -> Array:
        """Return the Hessian, column by column; it is symmetric but for rounding."""
        columns = [self.curvature(theta, direction) for direction in np.eye(theta.size)]
        found: Array = (np.array(columns) + np.transpose(columns)) / 2
        return found

    def run(self, training: Training) -> None:
        """Minimise, with an epoch for every iteration."""
        settings, flat = self._settings, self._flat
        start = flat.theta.astype(np.float64)
        with training.lasting():
            value, _ = self.evaluate(start)
            if not math.isfinite(value):
                raise training.diverged(self._steps.objective())
            training.keep(self.loss)
            if not training.epochs:
                return
            training.tell("epoch_begin")
            training.tell("batch_begin")

            def ended(theta: Any, *_: Any) -> None:
                """End an epoch with an iteration."""
                self._ended = np.array(theta, np.float64)
                if not math.isfinite(self.evaluate(self._ended)[0]):
                    raise training.diverged(self._steps.objective())
                flat.average(self._rows)
                training.loss = self.loss
                training.keep(self.loss)
                training.tell("batch_end")
                stop = training.end_epoch(self.loss)
                training.epoch += 1
                if stop or training.epoch == training.epochs:
                    raise _Enough
                training.tell("epoch_begin")
                training.tell("batch_begin")

            # Any: the stubs want to know beforehand which method it is.
            find: Any = scipy.optimize.minimize
            derivatives: dict[str, Any] = {}
            if settings.method not in WITHOUT_GRADIENT:
                derivatives["jac"] = True
            if settings.method in WITH_CURVATURE:
                derivatives["hessp"] = self.curvature
            if settings.method in WITH_HESSIAN:
                derivatives["hess"] = self.hessian
            # Far more than what is asked for: the epochs are counted here.
            most = {"maxfun" if settings.method == "TNC" else "maxiter": 100 * (training.epochs + start.size)}
            with warnings.catch_warnings():
                # That a method cannot go on is a reason to stop, and is said so.
                warnings.simplefilter("ignore", scipy.optimize.OptimizeWarning)
                warnings.filterwarnings("error", "Unknown solver options", scipy.optimize.OptimizeWarning)
                try:
                    result = find(
                        self.evaluate if derivatives else lambda theta: self.evaluate(theta)[0],
                        start, method=settings.method, tol=settings.tol, options=most | settings.options,
                        callback=ended, **derivatives,
                    )  # fmt: skip
                    training.stop(f"{settings.method}: {result.message}")
                    training.failed = not result.success
                    if self._ended is None or not np.array_equal(result.x, self._ended):
                        ended(result.x)
                    # Where it looked last is not always what it found.
                    self.evaluate(np.asarray(result.x, np.float64))
                except scipy.optimize.OptimizeWarning as warning:
                    raise ValueError(f"{settings!r}: {warning}; see SciPy's documentation of the method") from None
                except _Enough:
                    pass
