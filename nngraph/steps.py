"""The steps of gradient descent: parameters in one vector, how the loss and its gradient are computed, the update."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from gates.arrays import Array
from nngraph.engines.compiled import Compiled
from nngraph.graph import Graph, Values
from nngraph.nodes import Constant, Parameter
from nngraph.objective import Objective
from nngraph.program.program import GuardError

# Up to so many parameters a step is a matter of calls, not of numbers.
SMALL = 4096

# For how many shapes of data one descent keeps how to take a step.
MOST_SHAPES = 32


class Flat:
    """The parameters of a graph in one vector, in the graph's order, and their gradients in another.

    Attributes
    ----------
    theta, gradient : arrays
        The vectors.
    values, gradients : dicts from parameter to array
        Each parameter's part of the vectors, in its shape: views.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.theta = np.concatenate([p.value.ravel() for p in self.parameters])
        self.gradient = np.zeros_like(self.theta)
        self.values, self.gradients = self.split(self.theta), self.split(self.gradient)

    def split(self, vector: Array) -> dict[Parameter, Array]:
        """Return each parameter's part of a vector, in its shape."""
        ends = np.cumsum([p.value.size for p in self.parameters])[:-1]
        parts = np.split(vector, ends)
        return {p: part.reshape(p.value.shape) for p, part in zip(self.parameters, parts, strict=True)}

    def read(self) -> None:
        """Take the parameters' values."""
        for parameter, part in self.values.items():
            part[...] = parameter.value

    def write(self) -> None:
        """Give the parameters these values."""
        for parameter, part in self.values.items():
            parameter.value = part


class Steps(Protocol):
    """What gradient descent asks for at the present theta: the loss, and the gradient of the scaled loss, in `flat`."""

    flat: Flat
    buffer_bytes: int

    def loss(self) -> float:
        """Return the data loss."""

    def differentiate(self) -> None:
        """Write the gradient of the scaled loss into ``flat.gradient``; `loss` was called before."""

    def reload(self, X: Array, y: Array) -> bool:
        """Take other data of the same shape; return False if that cannot be done."""


class NodeByNode:
    """Steps through the graph, one node at a time."""

    def __init__(self, objective: Objective, flat: Flat | None = None) -> None:
        self.objective, self.flat = objective, flat or Flat(objective.graph.parameters)
        self.buffer_bytes = 0
        self._values: Values | None = None

    def reload(self, X: Array, y: Array) -> bool:
        """Return False: other data are another objective."""
        return False

    def loss(self) -> float:
        """Return the data loss."""
        self.flat.write()
        self._values = self.objective.forward()
        return self.objective.loss(self._values)

    def differentiate(self) -> None:
        """Write the gradient of the scaled loss."""
        assert self._values is not None  # noqa: S101 - `loss` comes first
        gradients = self.objective.backward(self._values)
        for parameter, part in self.flat.gradients.items():
            gradient = gradients[parameter]
            part[...] = 0 if gradient is None else gradient


class Captured:
    """Steps of a compiled program, which writes the gradient while it computes the loss."""

    def __init__(self, compiled: Compiled, flat: Flat, graph: Graph, X: str) -> None:
        self.flat, self.buffer_bytes = flat, compiled.buffer_bytes
        self._step, self._loss = compiled.step, compiled.outputs[0]
        self._load, self._X, self._y = compiled.load, compiled.inputs[X], compiled.inputs["y"]
        places = (self._X.ravel("K"), self._y.ravel("K"))
        self._floats = [flat for flat in places if flat.dtype.kind == "f"]
        named = zip(graph.nodes, graph.names, strict=True)
        constants = [(node, compiled.inputs.get(name)) for node, name in named if isinstance(node, Constant)]
        self._constants = [(node, place) for node, place in constants if place is not None]

    def reload(self, X: Array, y: Array) -> bool:
        """Take other data of the same shape; return False if a gate takes another branch on them."""
        np.copyto(self._X, X)
        np.copyto(self._y, y)
        # A product overflows before the data do: then they are looked at one by one, by who takes them anew.
        if not all(math.isfinite(flat.dot(flat)) for flat in self._floats):
            return False
        for constant, place in self._constants:
            np.copyto(place, constant.value)
        try:
            self._load()
        except GuardError:
            return False
        return True

    def loss(self) -> float:
        """Return the data loss."""
        self._step()
        loss: float = self._loss.item()
        return loss

    def differentiate(self) -> None:
        """Do nothing: it is done."""


def next_value(parameter: Parameter, value: Any, gradient: Any, epsilon: Any, reg_lambda: Any) -> Any:
    """``p - epsilon (dp + reg_lambda p)``, without the penalty for a parameter of fewer than two axes."""
    if parameter.value.ndim < 2:
        return value - epsilon * gradient
    return value - epsilon * (gradient + reg_lambda * value)


class GradientStep:
    """``theta <- theta - epsilon (gradient + reg_lambda W)``, the penalty on W only: `next_value` of all, in place.

    Parameters
    ----------
    flat : Flat
    epsilon : float
        The learning rate.
    reg_lambda : float
        The strength of the penalty.
    """

    def __init__(self, flat: Flat, epsilon: float, reg_lambda: float) -> None:
        self._theta, self._gradient = flat.theta, flat.gradient
        # As an array of the parameters' dtype: a Python float is converted anew in every call.
        self._epsilon = np.asarray(epsilon, flat.theta.dtype)
        # The penalty on all weights at once, where the biases get none; on each alone, where they are large.
        self._penalties: list[tuple[Array, Array, Array, Array]] = []
        weights = [p for p in flat.parameters if p.value.ndim >= 2] if reg_lambda else []
        if weights and flat.theta.size <= SMALL:
            strength = np.zeros_like(flat.theta)
            for parameter, part in flat.split(strength).items():
                part[...] = reg_lambda if parameter in weights else 0
            self._penalties.append((flat.theta, flat.gradient, strength, np.empty_like(flat.theta)))
        else:
            for p in weights:
                W = flat.values[p]
                self._penalties.append((W, flat.gradients[p], np.asarray(reg_lambda, W.dtype), np.empty_like(W)))

    def __call__(self) -> None:
        """Take one step, in place; the gradient is used up."""
        for W, dW, strength, penalty in self._penalties:
            np.multiply(W, strength, penalty)
            np.add(dW, penalty, dW)
        np.multiply(self._gradient, self._epsilon, self._gradient)
        np.subtract(self._theta, self._gradient, self._theta)


class Descent:
    """Gradient descent in single steps, on data that may change from step to step: mini-batches. See `Model.descent`.

    The gates' settings must stay as they are in the course of it.

    Attributes
    ----------
    flat : Flat
        The parameters and the gradient in the course of it.

    Examples
    --------
    >>> import numpy as np
    >>> from nngraph import Model
    >>> X, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 1])
    >>> model = Model([2, 2], random_state=0)
    >>> descent = model.descent(epsilon=0.5, reg_lambda=0)
    >>> for start in [0, 2] * 20:
    ...     descent.load(X[start : start + 2], y[start : start + 2])
    ...     loss = descent.compute()
    ...     descent.update()
    >>> descent.finish()
    >>> model.predict(X)
    array([0, 1, 1, 1])
    """

    def __init__(self, steps_on: Callable[[Any, Any], Steps], flat: Flat, epsilon: float, reg_lambda: float) -> None:
        self.flat = flat
        self._update = GradientStep(flat, epsilon, reg_lambda)
        self._computed = False
        self._steps_on = steps_on
        self._steps: dict[Any, Steps] = {}
        self._now: Steps | None = None
        flat.read()

    def load(self, X: Any, y: Any) -> None:
        """Take the data of the next step.

        Parameters
        ----------
        X, y : array-like
            Examples and their targets, as in `Model.train`. Data of a shape and dtype that were there before are copied
            into the same place, and only the output looks at them again.
        """
        # If these data are refused there are none: the place of the last ones may be overwritten by then.
        self._now = None
        X, y = np.asarray(X), np.asarray(y)
        key = X.shape, X.dtype, y.shape, y.dtype
        steps = self._steps.get(key)
        if steps is None or not steps.reload(X, y):
            steps = self._steps[key] = self._steps_on(X, y)
            while len(self._steps) > MOST_SHAPES:
                del self._steps[next(iter(self._steps))]
        self._now = steps

    def compute(self) -> float:
        """Return the loss on the data, as the output reports it, and compute the gradient of the summed losses."""
        if self._now is None:
            raise ValueError("there are no data yet: call load(X, y) before compute()")
        loss = self._now.loss()
        self._now.differentiate()
        self._computed = True
        return loss

    def update(self) -> None:
        """Take a step along the gradient that `compute` left."""
        if not self._computed:
            raise ValueError("there is no gradient: call compute() before every update()")
        self._computed = False
        self._update()

    def finish(self) -> None:
        """Give the model the parameters' values; until then it has those of the beginning."""
        self.flat.write()

    @property
    def buffer_bytes(self) -> int:
        """The memory of all buffers."""
        return self.flat.theta.nbytes + self.flat.gradient.nbytes + sum(s.buffer_bytes for s in self._steps.values())
