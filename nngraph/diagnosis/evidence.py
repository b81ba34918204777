"""What is measured of a model on data, for the rules to judge by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gates.arithmetic import MultiplyGate
from gates.arrays import Array
from gates.layers import ReLU, Sigmoid, Tanh
from gates.losses import ClassOutput, OutputGate
from gates.outputs import AbsoluteError, HalfSquaredError, Huber, Logistic, Poisson, Softmax, SquaredError
from nngraph.diagnosis.motion import descend, first_step, rms, slopes
from nngraph.graph import Graph, Values
from nngraph.nodes import Input, Node, Parameter
from nngraph.optimizers import Optimizer
from nngraph.summary import layers
from nngraph.tracing import Trace, trace

# So many examples, evenly spaced, show what a layer does with all.
MOST_ROWS = 2000

# And so many, whether the gradient is that of the loss.
SLOPE_ROWS = 50

# A unit is saturated where its slope is less than this part of its steepest: there a tanh is beyond 0.975.
FLAT = 0.05


@dataclass(frozen=True)
class Layer:
    """What the examples show of one layer.

    Attributes
    ----------
    name : str
        The node whose value it gives.
    gates : tuple of str
        What computes it.
    mean, std : float
        Of its values, over units and examples.
    zeros : float or None
        The share of zeros, for a ReLU.
    saturated : float or None
        The share of values at which the slope is less than a twentieth of the steepest, for tanh and sigmoid.
    gradient : float or None
        The root of the mean square of the gradient of the loss; None where no gradient arrives.
    step : float or None
        The length of one step of the optimiser divided by that of the weights, the largest of the layer's; None where
        there are no weights.
    """

    name: str
    gates: tuple[str, ...]
    mean: float
    std: float
    zeros: float | None
    saturated: float | None
    gradient: float | None
    step: float | None


class Evidence:
    """The model on the data: values and gradients of all nodes as in training, but with nothing left out at random.

    Batch normalisation has the statistics of these examples; of a single one, which has none, its averages.

    Parameters
    ----------
    scorer, graph : Graph
        Of the scores, and of their loss.
    feeds : mapping
        The features and the targets, looked at.
    optimizer : Optimizer

    Attributes
    ----------
    X, y : arrays
        All that was given.
    rows : int
        How many examples the net was looked at with.
    values, gradients : Values
    trace : Trace or None
        Of the first value that is not finite, if there is one.
    """

    def __init__(self, scorer: Graph, graph: Graph, feeds: Mapping[Node, Array], optimizer: Optimizer) -> None:
        self.scorer, self.graph, self.optimizer = scorer, graph, optimizer
        self.X_node, self.y_node = feeds
        self.X, self.y = feeds.values()
        at = np.linspace(0, len(self.X) - 1, min(len(self.X), MOST_ROWS)).astype(int)
        self.rows = len(at)
        self.feeds = {node: array[at] for node, array in feeds.items()} if len(at) < len(self.X) else dict(feeds)
        self.values = graph.evaluate(self.feeds, training=self.rows > 1)
        self.trace: Trace | None = trace(graph, self.values)
        self.gradients: Values = graph.backward(values=self.values)
        self.loss = float(self.values[graph.outputs[0]])
        gate = graph.outputs[0].gate
        assert isinstance(gate, OutputGate)  # noqa: S101 - a model's loss is one
        self.output = gate
        self.layers = layers(scorer)

    def name(self, node: Node) -> str:
        """Return the name of a node."""
        return self.graph.names[self.graph.position(node)]

    @property
    def scores(self) -> Array:
        return self.values[self.scorer.outputs[0]]

    # --- Data --------------------------------------------------------------------------------------------------------

    @property
    def labels(self) -> Array | None:
        """The labels of all examples, if each has one."""
        single = self.y.ndim == 1 or (self.y.ndim == 2 and self.y.shape[1] == 1)
        if not isinstance(self.output, ClassOutput):
            return None
        if single and not (isinstance(self.output, Logistic) and not np.isin(self.y, (0, 1)).all()):
            return self.y.ravel().astype(int)
        rows = self.y.ndim == 2 and self.y.shape[1:] == self.scores.shape[1:]
        if isinstance(self.output, Softmax) and rows and np.isin(self.y, (0, 1)).all():
            found: Array = self.y.argmax(axis=1)
            return found
        return None

    @cached_property
    def baseline(self) -> float | None:
        """The loss of the best answer that is the same for all examples; None for an output that is not known."""
        scores, y = self.scores, self.feeds[self.y_node]
        prior: Array
        with np.errstate(all="ignore"):
            if isinstance(self.output, Softmax):
                k = scores.shape[-1]
                shares = y.reshape(-1, k).mean(axis=0) if y.shape == scores.shape else None
                if shares is None:
                    shares = np.bincount(y.ravel().astype(int), minlength=k) / y.size
                prior = np.log(np.maximum(shares, 1e-12))
            elif isinstance(self.output, Logistic):
                shares = np.clip(y.reshape(scores.shape).mean(axis=0), 1e-12, 1 - 1e-12)
                prior = np.log(shares) - np.log1p(-shares)
            elif isinstance(self.output, SquaredError | HalfSquaredError | Poisson):
                mean = y.reshape(scores.shape).mean(axis=0)
                prior = np.log(np.maximum(mean, 1e-12)) if isinstance(self.output, Poisson) else mean
            elif isinstance(self.output, AbsoluteError | Huber):
                prior = np.median(y.reshape(scores.shape), axis=0)
            else:
                return None
            constant = np.broadcast_to(prior, scores.shape).astype(scores.dtype)
            return float(self.output.forward(constant, y))

    @property
    def fitted(self) -> bool:
        """Whether its loss is half that of guessing: then saturated units and small gradients are as they should be.

        Of examples that are all alike, a single one as well, it is not known; then nothing is held against it.
        """
        if self.baseline is not None:
            return self.loss < 0.5 * self.baseline or self.baseline < 1e-6
        # Of another output the predictions are looked at: the errors, or the squares, are half of those of guessing.
        found, y = self.output.predict(self.scores), self.feeds[self.y_node]
        if found.size != y.size:
            return False
        y = y.reshape(found.shape)
        if isinstance(self.output, ClassOutput):
            _, counts = np.unique(y, return_counts=True)
            return bool((found != y).mean() < 0.5 * (1 - counts.max() / y.size))
        return bool(np.mean((found - y) ** 2) < 0.5 * y.var())

    # --- Layers ------------------------------------------------------------------------------------------------------

    def columns(self, node: Node) -> Array:
        """Return the values of a node with a column for every unit; one number per example is one unit."""
        value = self.values[node]
        return value.reshape(-1, value.shape[-1] if value.ndim > 1 else 1)

    def rms(self, node: Node) -> float | None:
        """Return the root of the mean square of a node's gradient."""
        gradient = self.gradients[node]
        return None if gradient is None else rms(gradient)

    def saturated(self, node: Node) -> float | None:
        """Return the share of values of a tanh or a sigmoid where its slope is nearly gone."""
        A = self.values[node]
        if isinstance(node.gate, Tanh):
            slope = 1 - A * A
        elif isinstance(node.gate, Sigmoid):
            slope = 4 * A * (1 - A)
        else:
            return None
        return float((slope < FLAT).mean())

    @cached_property
    def dead(self) -> dict[Node, int]:
        """How many units of every ReLU are zero for all examples."""
        nodes = [node for node in self.scorer.nodes if isinstance(node.gate, ReLU)]
        return {node: int((self.columns(node) <= 0).all(axis=0).sum()) for node in nodes}

    @cached_property
    def weighted(self) -> list[tuple[Node, list[Parameter]]]:
        """The layers that multiply by weights, ``X W + b``, from the first to the scores, with these weights."""
        found = []
        for layer in self.layers:
            weights = [
                x
                for node in layer
                if isinstance(node.gate, MultiplyGate)
                for x in node.inputs
                if isinstance(x, Parameter) and x.value.ndim == 2
            ]
            if weights:
                found.append((layer[-1], weights))
        return found

    @cached_property
    def table(self) -> tuple[Layer, ...]:
        """The numbers of every layer."""
        rows = []
        for layer in self.layers:
            last = layer[-1]
            A = self.values[last].astype(np.float64)
            own = dict.fromkeys(x for node in layer for x in node.inputs if isinstance(x, Parameter))
            steps = [ratio for x in own if (ratio := self.ratios.get(x)) is not None]
            rows.append(
                Layer(
                    self.name(last),
                    tuple(type(node.gate).__name__.removesuffix("Gate") or "Gate" for node in layer),
                    float(A.mean()),
                    float(A.std()),
                    float((A == 0).mean()) if isinstance(last.gate, ReLU) else None,
                    self.saturated(last),
                    self.rms(last),
                    max(steps, default=None),
                )
            )
        return tuple(rows)

    # --- One step ----------------------------------------------------------------------------------------------------

    @cached_property
    def stepped(self) -> dict[Parameter, Array]:
        """What the parameters would be after the optimiser's first step."""
        return first_step(self.graph, self.gradients, self.optimizer)

    def descend(self, steps: int) -> list[float]:
        """Return the loss after each of some steps, all on these examples."""
        return descend(self.graph, self.feeds, self.gradients, self.optimizer, steps)

    @cached_property
    def ratios(self) -> dict[Parameter, float]:
        """The length of a step of every weight matrix, by its own; without those that are all zero."""
        found = {}
        for parameter, after in self.stepped.items():
            size = rms(parameter.value)
            if parameter.value.ndim >= 2 and size > 0:
                found[parameter] = rms(after - parameter.value) / size
        return found

    @cached_property
    def elasticity(self) -> float:
        """By what part the loss falls, to first order, if the weights go down the gradient by their own length."""
        pairs = [(self.gradients[p], p.value) for p in self.ratios]
        slope = math.hypot(*(float(np.linalg.norm(g)) for g, _ in pairs if g is not None), 0.0)
        size = math.hypot(*(float(np.linalg.norm(value)) for _, value in pairs), 0.0)
        return slope * size / abs(self.loss) if self.loss else 0.0

    @cached_property
    def slopes(self) -> dict[Parameter, list[tuple[float, float]]]:
        """The slope of the loss along random directions of each parameter: measured, and by backpropagation."""
        parameters = [p for p in self.graph.parameters if self.gradients[p] is not None]
        return slopes(self.graph, {node: array[:SLOPE_ROWS] for node, array in self.feeds.items()}, parameters)

    @property
    def input(self) -> Input:
        """The node of the features."""
        assert isinstance(self.X_node, Input)  # noqa: S101 - a model has one
        return self.X_node
