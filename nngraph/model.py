"""A Model: layers of gates chained into a graph, trained by gradient descent."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from gates.arrays import Array
from gates.contract import Gate, run_forward
from gates.layers import Tanh
from gates.losses import OutputGate
from gates.outputs import Softmax
from nngraph.architecture import Dense, chain
from nngraph.engines.engine import Engine, block_rows
from nngraph.graph import Graph, Values
from nngraph.initializers import Initializer, glorot_uniform
from nngraph.nodes import GraphError, Input, Node, ParameterViews
from nngraph.objective import ADVICE, Objective
from nngraph.printed import PrintedModel
from nngraph.progress import progress_bar
from nngraph.steps import Captured, Descent, Flat, NodeByNode, Steps
from nngraph.training import gradient_descent
from nngraph.validation import features, float_type, generator, instance, not_negative, targets, whole_number


class Model(PrintedModel):
    """A chain of layers with an output, or any graph with one input and an output.

    Parameters
    ----------
    architecture : sequence, or node
        Widths, ``[2, 3, 2]``: two features, three hidden units, two scores; or an input width followed by `Dense`
        specifications (and widths); or the scores node of a graph built by hand, with one `Input`.
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
        architecture: Sequence[int | Dense] | Node,
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
        (self._X,), self._y = self._scorer.inputs, Input("y")
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

    def train(
        self,
        X: Any,
        y: Any,
        num_passes: int = 20000,
        epsilon: float = 0.01,
        reg_lambda: float = 0.01,
        print_loss: bool = False,
    ) -> None:
        """Descend ``J = sum of losses + reg_lambda / 2 * sum(W^2)`` by ``theta <- theta - epsilon dJ/dtheta``.

        Each pass takes all data at once. J sums the losses even where the output reports their mean, so epsilon goes
        with the number of examples: twice the data is twice the step.

        Parameters
        ----------
        X : array-like of shape (examples, features)
            The features.
        y : array-like
            The targets, as the output wants them: for Softmax integer labels of shape (examples,).
        num_passes : int, default=20000
            How many steps to take; 0 only measures the loss.
        epsilon : float, default=0.01
            The learning rate.
        reg_lambda : float, default=0.01
            The strength of the penalty on W; the biases are free.
        print_loss : bool, default=False
            Whether to print the loss (without the penalty) after passes 1, 1001, 2001, ...

        Raises
        ------
        ValueError, GateError
            If the data or a number is bad; before any weight is changed.
        DivergenceError
            If a value is no longer finite; the last finite weights are kept.

        Warns
        -----
        UserWarning
            If interrupted with Ctrl-C; the last weights whose loss was computed are kept. If J is larger at the end
            than at the start.
        """
        num_passes = whole_number(num_passes, "num_passes", 0)
        epsilon = not_negative(epsilon, "epsilon")
        # What overflows is found and named by gradient_descent.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"), progress_bar(num_passes) as update:
            objective = self.objective_on(X, y, reg_lambda)

            def report(passes: int, loss: float) -> None:
                if print_loss and passes % 1000 == 1:
                    print(f"Loss after iteration {passes - 1}: {loss:f}")
                update(passes, loss)

            flat = self._flat()
            flat.read()
            steps = self._steps(objective, flat, self._captured("gradient" if num_passes else "loss"), stays=True)
            penalty, start = objective.value(0.0), max(len(self.loss_history) - 1, 0)
            passes = gradient_descent(steps, objective, num_passes, epsilon, self.loss_history, report)
        if passes < num_passes:
            interrupted = f"Training was interrupted after {passes} of {num_passes} passes"
            warnings.warn(f"{interrupted}; the model keeps what it learned.", stacklevel=2)
            return
        J, J_end = penalty + objective.scale * self.loss_history[start], objective.value(self.loss_history[-1])
        # Where nothing is left to learn, rounding moves J up and down.
        if J_end > 1.01 * J + 1e-6 * objective.scale:
            worse = f"Training made the model worse: the objective rose from {J:.4g} to {J_end:.4g}"
            warnings.warn(f"{worse}. {ADVICE.format(epsilon)}.", stacklevel=2)

    def descent(self, *, epsilon: float = 0.01, reg_lambda: float = 0.01) -> Descent:
        """Return gradient descent in single steps, for a loop of one's own over mini-batches.

        Parameters
        ----------
        epsilon, reg_lambda : float
            As in `train`; each step follows the sum of the losses on its data.

        Returns
        -------
        descent : Descent
            Call its `load`, `compute` and `update` for every step, and `finish` at the end.
        """
        epsilon, reg_lambda = not_negative(epsilon, "epsilon"), not_negative(reg_lambda, "reg_lambda")

        # Its own, so that it goes on undisturbed by another descent or `train`.
        flat = Flat(self.graph.parameters)
        engine = self._training_engine(flat)

        def steps_on(X: Any, y: Any) -> Steps:
            # Copies: the caller may fill the same arrays with the next batch.
            return self._steps(self.objective_on(X, y, reg_lambda).copy(), flat, engine, stays=False)

        return Descent(steps_on, flat, epsilon, reg_lambda)

    def _steps(self, objective: Objective, flat: Flat, engine: Engine, *, stays: bool) -> Steps:
        """Return how the loss, and its gradient if wanted, are computed on data that stay or that others follow."""
        if self.engine == "numpy":
            compiled = engine.load(objective.feeds, stays=stays)
            if compiled is not None:
                return Captured(compiled, flat, self.graph, str(self._X.name))
        return NodeByNode(objective, flat)

    def _training_engine(self, flat: Flat) -> Engine:
        return Engine(self.graph, flat.values, flat.gradients, self._scale, self._told)

    def _captured(self, what: Literal["scores", "loss", "gradient"]) -> Engine:
        """Return the engine that computes something."""
        found: Engine | None = self._engines.get(what)
        if found is None:
            if what == "gradient":
                found = self._training_engine(self._flat())
            else:
                found = Engine(self._scorer if what == "scores" else self.graph, told=self._told)
            # Of threads that come at once all take the first.
            found = self._engines.setdefault(what, found)
        return found

    def _flat(self) -> Flat:
        """Return the vectors in which `train` has the parameters and their gradients."""
        found: Flat = self._engines.setdefault("flat", self._engines.get("flat") or Flat(self.graph.parameters))
        return found

    def objective_on(self, X: Any, y: Any, reg_lambda: float = 0.01) -> Objective:
        """Return the objective that `train` descends on these data; it follows the parameters as they change."""
        reg_lambda = not_negative(reg_lambda, "reg_lambda")
        feeds = self._feeds(X, y)
        scores = self.graph.evaluate(feeds)[self.scores]
        return Objective(self.graph, feeds, float(self.output.divisor(scores, feeds[self._y])), reg_lambda)

    def objective(self, X: Any, y: Any, reg_lambda: float = 0.01) -> tuple[float, dict[str, Array]]:
        """Return J, which `train` descends, and its gradient.

        Parameters
        ----------
        X, y, reg_lambda
            As in `train`.

        Returns
        -------
        J : float
            The sum of the losses (or what the output sums) and the penalty.
        gradient : dict from name to array
            dJ/dp for every parameter p, in its shape.
        """
        objective = self.objective_on(X, y, reg_lambda)
        values = objective.forward()
        value = objective.value(objective.loss(values))
        gradient = objective.gradient(objective.backward(values))
        return value, {name: array.copy() for name, array in zip(self.parameters, gradient, strict=True)}

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
        """
        feeds = self._feeds(X, y)
        if self.engine == "numpy":
            rows = feeds[self._X]
            if len(rows) > block_rows(rows):
                return self._loss_of(self._scores(rows), feeds[self._y])
            found = self._captured("loss").run(feeds)
            if found is not None:
                return float(found)
        return float(self.graph.evaluate(feeds)["loss"])

    def _loss_of(self, scores: Array, y: Array) -> float:
        """Return the loss, with errors that are the graph's."""
        loss = self.graph.nodes[self.graph.position("loss")]
        names = [self.graph.names[self.graph.position(node)] for node in loss.inputs]
        return float(run_forward(self.output, [scores, y], f"{type(self.output).__name__} at node 'loss'", names))

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
        """
        return self.output.predict_proba(self._scores(X))

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
        if self.engine == "numpy":
            found = self._captured("scores").run_rows(self._X, rows)
            if found is not None:
                return found
        return self._scorer.evaluate({self._X: rows})[self.scores].copy()

    def _rows(self, X: Any) -> Array:
        return features(X, np.dtype(self._X.dtype or self.dtype), self._width)

    def _feeds(self, X: Any, y: Any) -> dict[Node, Array]:
        rows = self._rows(X)
        return {self._X: rows, self._y: targets(y, len(rows), self.dtype)}
