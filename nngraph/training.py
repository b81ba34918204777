"""Gradient descent on a loss graph: the objective, its steps, the loop, and what happens when it diverges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from gates.arrays import Array
from nngraph.engines.compiled import Compiled
from nngraph.graph import Graph, Values
from nngraph.nodes import Constant, Parameter
from nngraph.program.program import GuardError

# For how many shapes of data one descent keeps how to take a step.
MOST_SHAPES = 8

# For steps that are too long.
ADVICE = (
    "Start anew with a smaller epsilon (it was {:g}), or scale the data: columns of mean 0 and variance 1; the step "
    "follows the sum over all examples, so more of them need a smaller epsilon"
)


class DivergenceError(ArithmeticError):
    """Training met a value that is not finite; the last finite weights are kept.

    Attributes
    ----------
    pass_number : int
        The pass in which it happened, counted from 0.
    node : str
        The name of the node that first became non-finite.
    """

    def __init__(self, message: str, pass_number: int, node: str) -> None:
        super().__init__(message)
        self.pass_number, self.node = pass_number, node

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.pass_number, self.node)


@dataclass(frozen=True)
class Objective:
    """``J = scale * loss + reg_lambda / 2 * sum(W^2)`` on given data, at the parameters' present values.

    Attributes
    ----------
    graph : Graph
        Its one output is the loss.
    feeds : mapping
        The data.
    scale : float
        What the loss is multiplied by: the number of losses, to descend their sum when the loss is their mean.
    reg_lambda : float
        The strength of the penalty; it is on W only, the parameters with two or more axes.
    """

    graph: Graph
    feeds: Mapping[Any, Array]
    scale: float
    reg_lambda: float

    def copy(self) -> Objective:
        """Return the objective on copies of the data."""
        return replace(self, feeds={node: array.copy() for node, array in self.feeds.items()})

    def forward(self) -> Values:
        """Compute every node."""
        return self.graph.evaluate(self.feeds)

    def loss(self, values: Values) -> float:
        """Return the data loss, neither scaled nor penalised."""
        return float(values[self.graph.outputs[0]])

    def value(self, loss: float) -> float:
        """Return J for the parameters' present values, at which the data loss is `loss`."""
        weights = [p.value for p in self.graph.parameters if p.value.ndim >= 2]
        return self.scale * loss + self.reg_lambda / 2 * sum(float((W * W).sum()) for W in weights)

    def backward(self, values: Values) -> Values:
        """Return the gradients of the scaled loss, without the penalty, by every node."""
        return self.graph.backward(self.scale, values=values)

    def gradient(self, gradients: Values) -> list[Array]:
        """Return dJ/dp for every parameter p, from what `backward` returned."""
        return [self._penalised(p.value, gradients[p]) for p in self.graph.parameters]

    def _penalised(self, value: Array, gradient: Array | None) -> Array:
        if gradient is None:
            gradient = np.zeros_like(value)
        return gradient + self.reg_lambda * value if value.ndim >= 2 else gradient


class Flat:
    """The parameters of a graph in one vector, those with a penalty first, and their gradients in another.

    Attributes
    ----------
    theta, gradient : arrays
        The vectors.
    weights : int
        How many numbers at their beginning belong to parameters with two or more axes.
    values, gradients : dicts from parameter to array
        Each parameter's part of the vectors, in its shape: views.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = sorted(parameters, key=lambda p: p.value.ndim < 2)
        self.weights = sum(p.value.size for p in parameters if p.value.ndim >= 2)
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
        named = zip(graph.nodes, graph.names, strict=True)
        constants = [(node, compiled.inputs.get(name)) for node, name in named if isinstance(node, Constant)]
        self._constants = [(node, place) for node, place in constants if place is not None]

    def reload(self, X: Array, y: Array) -> bool:
        """Take other data of the same shape; return False if a gate takes another branch on them."""
        np.copyto(self._X, X)
        np.copyto(self._y, y)
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
        self._W, self._dW = flat.theta[: flat.weights], flat.gradient[: flat.weights]
        # As arrays of the parameters' dtype: a Python float is converted anew in every call.
        self._epsilon, self._reg_lambda = (np.asarray(x, flat.theta.dtype) for x in (epsilon, reg_lambda))
        self._penalty = np.empty_like(self._W) if reg_lambda and flat.weights else None

    def __call__(self) -> None:
        """Take one step, in place; the gradient is used up."""
        if self._penalty is not None:
            np.multiply(self._W, self._reg_lambda, self._penalty)
            np.add(self._dW, self._penalty, self._dW)
        np.multiply(self._gradient, self._epsilon, self._gradient)
        np.subtract(self._theta, self._gradient, self._theta)


class Descent:
    """Gradient descent in single steps, on data that may change from step to step: mini-batches. See `Model.descent`.

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
    >>> for start in 10 * (0, 2):
    ...     descent.load(X[start : start + 2], y[start : start + 2])
    ...     loss = descent.compute()
    ...     descent.update()
    >>> descent.finish()
    >>> model.predict(X)
    array([0, 1, 1, 1])
    """

    def __init__(
        self,
        steps_on: Callable[[Any, Any], Steps],
        settings: Callable[[], Any],
        flat: Flat,
        epsilon: float,
        reg_lambda: float,
    ) -> None:
        self.flat, self._settings = flat, settings
        self.update = GradientStep(flat, epsilon, reg_lambda)
        self._steps_on = steps_on
        self._steps: dict[Any, Steps] = {}
        self._now: Steps | None = None
        flat.read()

    def load(self, X: Array, y: Array) -> None:
        """Take the data of the next step.

        Parameters
        ----------
        X, y : arrays
            Examples and their targets, as in `Model.train`. Data of a shape and dtype that were there before are copied
            into the same place, and only the output looks at them again.
        """
        # If these data are refused there are none: the place of the last ones may be overwritten by then.
        self._now = None
        key = self._settings(), X.shape, X.dtype, y.shape, y.dtype
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
        return loss

    def finish(self) -> None:
        """Give the model the parameters' values; until then it has those of the beginning."""
        self.flat.write()

    @property
    def buffer_bytes(self) -> int:
        """The memory of all buffers."""
        return self.flat.theta.nbytes + self.flat.gradient.nbytes + sum(s.buffer_bytes for s in self._steps.values())


def gradient_descent(
    steps: Steps,
    objective: Objective,
    num_passes: int,
    epsilon: float,
    history: list[float],
    report: Callable[[int, float], None],
) -> int:
    """Take `num_passes` steps ``theta <- theta - epsilon dJ/dtheta`` on all data at once.

    Parameters
    ----------
    steps : Steps
        How the loss and its gradient are computed.
    objective : Objective
        J; its graph's parameters are trained.
    num_passes : int
        The number of steps.
    epsilon : float
        The learning rate.
    history : list of float
        ``history[k]`` becomes the loss after k passes; where it is not empty, its last pass is where this starts.
    report : callable
        Called as ``report(k, loss)`` with the loss after k passes.

    Returns
    -------
    passes : int
        The steps that were taken; fewer than `num_passes` if a KeyboardInterrupt (Ctrl-C) ended it. One that comes
        before the first loss is raised.

    Raises
    ------
    DivergenceError
        If a value, a gradient or a step is not finite.

    Notes
    -----
    The parameters get their values at the end, and however it ends, these are the last whose loss was computed and
    finite, and `history` ends with that loss. If a gate raises before any step was taken, both are as they were.
    """
    flat = steps.flat
    step = GradientStep(flat, epsilon, objective.reg_lambda)
    start = max(len(history) - 1, 0)
    theta, spare = flat.theta.copy(), flat.theta.copy()
    # Moved on by one assignment, so that an interrupt finds the old state or the new one, whole.
    initial: tuple[int, Array, list[float]] = (0, theta, history[start:])
    good = initial
    try:
        for passes in range(num_passes + 1):
            loss = steps.loss()
            if not math.isfinite(loss):
                raise _divergence(flat, objective, passes, epsilon)
            np.copyto(spare, flat.theta)
            good, spare = (passes, spare, [loss]), good[1]
            history[start + passes :] = [loss]
            report(passes, loss)
            if passes < num_passes:
                steps.differentiate()
                step()
                # A sum of squares that overflows may have finite terms; one that is finite has no others.
                if not math.isfinite(flat.theta.dot(flat.theta)) and not np.isfinite(flat.theta).all():
                    raise _divergence(flat, objective, passes, epsilon, good[1])
    except KeyboardInterrupt:
        if good is initial:
            raise
        return good[0]
    except Exception as error:
        if good[0] == 0 and not isinstance(error, DivergenceError):
            good = initial
        raise
    finally:
        passes, theta, last = good
        history[start + passes :] = last
        flat.theta[...] = theta
        _whole(flat.write)
    return passes


def _whole(action: Callable[[], None]) -> None:
    """Do something to its end: an interrupt comes after it."""
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            action()
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _divergence(
    flat: Flat, objective: Objective, passes: int, epsilon: float, before: Array | None = None
) -> DivergenceError:
    """Describe what first became non-finite: a value, else (after the step from `before`) a gradient, else a parameter.

    It is looked for node by node.
    """
    graph = objective.graph
    stepped = {p: part.copy() for p, part in flat.values.items()}
    if before is not None:
        flat.theta[...] = before
    flat.write()
    values = objective.forward()
    arrays: list[tuple[str, str, Array | None]] = [(name, "became", array) for name, array in values.items()]
    if before is not None:
        gradients = objective.backward(values)
        arrays += [(name, "got a gradient of", gradients[name]) for name in reversed(graph.names)]
        arrays += [(graph.names[graph.position(p)], "became", stepped[p]) for p in graph.parameters]
    bad = ((n, d, a[~np.isfinite(a)][0]) for n, d, a in arrays if a is not None and not np.isfinite(a).all())
    # The captured program and the graph may round to both sides of the largest number.
    name, did, value = next(bad, (graph.names[graph.position(graph.outputs[0])], "became", math.inf))
    node = graph.nodes[graph.position(name)]
    kind = type(node if node.gate is None else node.gate).__name__
    kept = "The initial weights are kept" if passes == 0 else "The last finite weights are kept, but may be huge"
    return DivergenceError(
        f"training diverged in pass {passes}: node {name!r} ({kind}) {did} {value}. {kept}. {ADVICE.format(epsilon)}",
        passes,
        name,
    )
