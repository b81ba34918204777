"""A Model: layers of gates chained into a graph, trained by gradient descent."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from gates.arrays import Array
from gates.contract import Gate, run_forward
from gates.layers import Tanh
from gates.losses import OutputGate
from gates.outputs import Softmax
from nngraph.architecture import Layer, chain
from nngraph.engines.engine import Engine, block_rows
from nngraph.fitting import sample_weights
from nngraph.graph import Graph, Values
from nngraph.initializers import Initializer, glorot_uniform
from nngraph.nodes import GraphError, Input, Node, ParameterViews
from nngraph.stored import StoredModel
from nngraph.tracing import NonFiniteError, Trace, predictable, trace
from nngraph.validation import drawing, features, float_type, generator, instance, targets


class Model(StoredModel):
    """A chain of layers with an output, or any graph with one input and an output.

    Parameters
    ----------
    architecture : sequence, or node
        Widths, ``[2, 3, 2]``: two features, three hidden units, two scores; or an input width followed by layers:
        widths, `Dense`, `Dropout`, `BatchNorm`, `LayerNorm`, and gates of one input; or the scores node of a graph
        built by hand, with one `Input`.
    layer : Gate, default=Tanh()
        The activation of the hidden layers that are given by a width.
    last_layer : Gate or None, default=None
        The activation of the last layer if it is given by a width.
    output : OutputGate, default=Softmax()
        The loss and the prediction.
    use_bias : bool, default=True
        Whether the layers have a bias.
    initializer : callable, default=glorot_uniform
        The initial weights, see `nngraph.initializers`.
    dtype : {float64, float32}, default=float64
        What everything is computed in. A scores node brings its parameters' own.
    random_state : int, RandomState, Generator or None, default=None
        Where the initial weights are drawn from, layer by layer, W before b. NumPy's global generator is never used.
    engine : {"numpy", "graph"}, default="numpy"
        How it trains and predicts: "numpy" records what the gates do once for every shape of data and runs it as one
        NumPy function; "graph" goes from node to node, slower, each time as the gates are written.

    Attributes
    ----------
    graph : Graph
        Of the loss; its inputs are the features and ``y``.
    scores : node
        What the output predicts from.
    output : OutputGate
    W, b : sequences of arrays
        The weights (parameters with two or more axes) and the biases (the others). Change them in place or assign to
        an element: ``model.W[0] = ...``.
    loss_history : list of float
        ``loss_history[k]`` is the loss after k passes of `train`, 0 for before the first.

    Raises
    ------
    GateError, GraphError, ValueError
        If the parts do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from nngraph import Model
    >>> X, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    >>> model = Model([2, 8, 2], random_state=0)
    >>> model.train(X, y, num_passes=2000, epsilon=0.1, reg_lambda=0)
    >>> model.predict(X)
    array([0, 1, 1, 0])
    """

    def __init__(
        self,
        architecture: Sequence[Layer] | Node,
        *,
        layer: Gate = Tanh(),
        last_layer: Gate | None = None,
        output: OutputGate = Softmax(),
        use_bias: bool = True,
        initializer: Initializer = glorot_uniform,
        dtype: Any = np.float64,
        random_state: Any = None,
        engine: Literal["numpy", "graph"] = "numpy",
    ) -> None:
        instance(output, OutputGate, "the output")
        self.engine = engine
        if isinstance(architecture, Node):
            scores = architecture
        else:
            rng = generator(random_state)
            scores = chain(architecture, layer, last_layer, use_bias, initializer, float_type(dtype), rng)
        self._scorer = Graph(scores)
        if len(self._scorer.inputs) != 1:
            names = ", ".join(repr(node.name) for node in self._scorer.inputs)
            raise GraphError(f"the scores must depend on exactly one Input, got {names or 'none'}")
        dtypes = {p.value.dtype for p in self._scorer.parameters}
        if len(dtypes) != 1:
            raise GraphError(f"the scores must depend on parameters, all of one dtype, got {sorted(map(str, dtypes))}")
        self.scores, self.output, self.dtype = scores, output, float_type(dtypes.pop())
        (self._X,), self._y, self._w = self._scorer.inputs, Input("y"), Input("sample_weight")
        # A RandomState that others draw from, too, is asked when there is something to draw.
        self._random = random_state if isinstance(random_state, np.random.RandomState) else drawing(random_state)
        self.graph = Graph(output(scores, self._y, name="loss"))
        # A graph built by hand takes what its gates take.
        self._width = None if isinstance(architecture, Node) else len(self.W[0])
        self.loss_history: list[float] = []
        self._engines: dict[str, Any] = {}
        self._told: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        # Programs are recorded anew: they hold data.
        return {**self.__dict__, "_engines": {}, "_told": set()}

    @property
    def engine(self) -> Literal["numpy", "graph"]:
        """How it trains and predicts, see the class; it may be changed at any time."""
        return self._engine

    @engine.setter
    def engine(self, engine: Literal["numpy", "graph"]) -> None:
        if engine not in ("numpy", "graph"):
            raise ValueError(f"engine must be 'numpy' or 'graph', got {engine!r}")
        self._engine = engine

    @property
    def W(self) -> ParameterViews:
        return ParameterViews([p for p in self.graph.parameters if p.value.ndim >= 2])

    @property
    def b(self) -> ParameterViews:
        return ParameterViews([p for p in self.graph.parameters if p.value.ndim < 2])

    @property
    def parameters(self) -> MappingProxyType[str, Array]:
        """All parameters' arrays by name; change them in place."""
        return MappingProxyType({self.graph.names[self.graph.position(p)]: p.value for p in self.graph.parameters})

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in self.parameters.items())
        count = sum(value.size for value in self.parameters.values())
        return f"<Model with {shapes}: {count} parameters, {self.dtype}; output {self.output!r}>"

    def adopt(self, other: Model) -> None:
        """Take the parameters, the running averages, and the state of the generator of another model of this kind.

        Raises
        ------
        ValueError
            If the other model has other parameters.
        """
        for mine, others in (
            (self.graph.parameters, other.graph.parameters), (self.graph.running, other.graph.running)
        ):  # fmt: skip
            shapes = [[node.value.shape for node in nodes] for nodes in (mine, others)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"a model adopts the values of one of its kind, with {shapes[0]}, got {shapes[1]}")
        for one, another in zip(self.graph.parameters, other.graph.parameters, strict=True):
            one.value = another.value
        for average, another_average in zip(self.graph.running, other.graph.running, strict=True):
            average.value[...] = another_average.value
        self._random = copy.deepcopy(other._random)

    def calculate_loss(self, X: Any, y: Any) -> float:
        """Return the loss, without the penalty.

        Parameters
        ----------
        X : array-like of shape (examples, features)
            The features.
        y : array-like
            The targets, as the output wants them.

        Returns
        -------
        loss : float
            The mean over the examples, or their sum if the output says so.

        Raises
        ------
        NonFiniteError
            If it is not finite; it names the node where that began.
        """
        return self.loss_on(self._feeds(X, y))

    def loss_on(self, feeds: Mapping[Node, Array]) -> float:
        """Return the loss on data that were looked at: features, targets and, if there are any, weights."""
        loss = self._loss_on(feeds)
        if not math.isfinite(loss):
            raise self._traced(f"the loss is {loss}", self._loss_graph(weighted=len(feeds) > 2), feeds)
        return loss

    def _loss_on(self, feeds: Mapping[Node, Array]) -> float:
        rows, y, *weights = feeds.values()
        if self.engine == "numpy":
            if len(rows) > block_rows(rows):
                return self._loss_of(self._scores_of(rows), y, *weights)
            found = self._captured("weighted loss" if weights else "loss").run(feeds)
            if found is not None:
                return float(found)
        return float(self._loss_graph(weighted=bool(weights)).evaluate(feeds)["loss"])

    def _loss_of(self, scores: Array, y: Array, *weights: Array) -> float:
        loss = self.graph.nodes[self.graph.position("loss")]
        names = [*(self.graph.names[self.graph.position(node)] for node in loss.inputs), "sample_weight"]
        title = f"{type(self.output).__name__} at node 'loss'"
        return float(run_forward(self.output, [scores, y, *weights], title, names[: 2 + len(weights)]))

    def _captured(self, what: Literal["scores", "loss", "weighted loss"]) -> Engine:
        """Return the engine that computes something for predictions."""
        found: Engine | None = self._engines.get(what)
        if found is None:
            graph = self._scorer if what == "scores" else self._loss_graph(weighted=what == "weighted loss")
            # Of threads that come at once all take the first.
            found = self._engines.setdefault(what, Engine(graph, told=self._told))
        return found

    def predict(self, X: Any) -> Array:
        """Predict.

        Parameters
        ----------
        X : array-like of shape (examples, features)
            The features.

        Returns
        -------
        predictions : array of shape (examples,) or (examples, columns)
            Labels, or the values of a regression; a single column comes as (examples,).

        Raises
        ------
        NonFiniteError
            If a score is nan or infinite; it names the node where that began. A class may have minus infinity, as a
            mask makes it.
        """
        return self.output.predict(self._scores(X))

    def predict_proba(self, X: Any) -> Array:
        """Predict probabilities.

        Parameters
        ----------
        X : array-like of shape (examples, features)
            The features.

        Returns
        -------
        probabilities : array of shape (examples, classes)
            One column per class.

        Raises
        ------
        GateError
            If the output gives no probabilities.
        NonFiniteError
            If a score is not finite, as in `predict`.
        """
        return self.output.predict_proba(self._scores(X))

    def decision_function(self, X: Any) -> Array:
        """Return the scores, from which the output predicts.

        Parameters
        ----------
        X : array-like of shape (examples, features)
            The features.

        Returns
        -------
        scores : array of shape (examples, columns)
        """
        return self._scores(X)

    def activations(self, X: Any) -> Values:
        """Return the value of every node up to the scores.

        Parameters
        ----------
        X : array-like of shape (examples, features)
            The features.

        Returns
        -------
        values : Values
            By name: for a model of widths W1, X, XW1, b1, Z1, A1, ...
        """
        return self._scorer.evaluate({self._X: self._rows(X)})

    def gradients(self, X: Any, y: Any) -> Values:
        """Return the gradient of the loss by every node.

        Parameters
        ----------
        X, y
            As in `calculate_loss`.

        Returns
        -------
        gradients : Values
            By name, each in its node's shape; None for the targets.
        """
        return self.graph.backward(values=self.graph.evaluate(self._feeds(X, y)))

    def _scores(self, X: Any) -> Array:
        rows = self._rows(X)
        scores = self._scores_of(rows)
        if not predictable(self.output, scores):
            raise self._traced("the scores are not finite", self._scorer, {self._X: rows})
        return scores

    def _traced(self, what: str, graph: Graph, feeds: Mapping[Node, Array]) -> NonFiniteError:
        """Return the error for something that is not finite, with where that began."""
        with np.errstate(all="ignore"):
            found = trace(graph, graph.evaluate(feeds))
        if found is None:
            # A program may round to the other side of the largest number.
            output = graph.outputs[0]
            found = Trace(graph.names[graph.position(output)], type(output.gate).__name__, "became", math.nan)
        return NonFiniteError(f"{what}: {found}", found)

    def _scores_of(self, rows: Array) -> Array:
        if self.engine == "numpy":
            found = self._captured("scores").run_rows(self._X, rows)
            if found is not None:
                return found
        return self._scorer.evaluate({self._X: rows})[self.scores].copy()

    def _rows(self, X: Any) -> Array:
        return features(X, np.dtype(self._X.dtype or self.dtype), self._width)

    def _feeds(self, X: Any, y: Any, sample_weight: Any = None) -> dict[Node, Array]:
        rows = self._rows(X)
        feeds: dict[Node, Array] = {self._X: rows, self._y: targets(y, len(rows), self.dtype)}
        if sample_weight is not None:
            feeds[self._w] = sample_weights(sample_weight, len(rows), self.dtype)
        return feeds
