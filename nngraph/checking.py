"""Prove whole graphs and models: the gradient of every input and parameter; where one is wrong, the gate to blame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array, describe
from gates.checking.blame import prove_gradients
from gates.checking.outcome import Check, Proof, seeded
from gates.checking.report import Report, Result
from gates.checking.trial import Trial, differentiable
from gates.checking.variants import beside
from gates.contract import GateError, input_names
from nngraph.graph import Graph, Values
from nngraph.model import Model
from nngraph.nodes import GraphError, Input, Node, Parameter, Random, Running


class GraphTrial(Trial):
    """A graph as a function of its inputs and parameters, whose Z is all its outputs in one row."""

    def __init__(self, graph: Graph, feeds: Mapping[str, Array]) -> None:
        # Parameters become inputs: they can be moved, in float64, and the user's stay as they are.
        self.graph = with_inputs_for_parameters(graph)
        self.name = f"Graph of {len(graph.nodes)} nodes"
        self.names = [str(node.name) for node in self.graph.inputs]
        parameters = {graph.names[graph.position(p)]: p.value for p in graph.parameters}
        given = {**feeds, **parameters}
        self.inputs = tuple(given[n].astype(np.float64) if given[n].dtype.kind == "f" else given[n] for n in self.names)
        self.inputs = self._floating(self.inputs)
        reached = differentiated(self.graph)
        self.varies = tuple(
            k for k, node in enumerate(self.graph.inputs) if node in reached and self.inputs[k].dtype.kind == "f"
        )

    def _floating(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """Return whole numbers that are differentiated as floats, and those that are not, as labels, as they are."""
        try:
            values = self.values(inputs)
            gradients = self.graph.backward(self._split(np.ones(self._row(values).size), values), values=values)
            moved = tuple(
                x if gradients[node] is None or node.dtype is int else x.astype(np.float64)
                for node, x in zip(self.graph.inputs, inputs, strict=True)
            )
            self.values(moved)
        except Exception:  # noqa: BLE001 - a backward that fails is told by the proof; labels elsewhere stay whole
            return inputs
        return moved

    def values(self, inputs: Sequence[Array]) -> Values:
        """Return every node's value."""
        return self.graph.evaluate(dict(zip(self.names, inputs, strict=True)))

    def forward(self, inputs: Sequence[Array]) -> Array:
        return self._row(self.values(inputs))

    def backward(self, inputs: Sequence[Array], dZ: Array) -> Sequence[Array | None]:
        values = self.values(inputs)
        gradients = self.graph.backward(self._split(dZ, values), values=values)
        # Values of a graph are read-only; these are ours.
        return [None if gradients[name] is None else np.array(gradients[name]) for name in self.names]

    def _row(self, values: Values) -> Array:
        return np.concatenate([np.ravel(values[output]) for output in dict.fromkeys(self.graph.outputs)])

    def _split(self, dZ: Array, values: Values) -> dict[Node, Array]:
        outputs = list(dict.fromkeys(self.graph.outputs))
        shapes = [values[output].shape for output in outputs]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
        return {
            output: part.reshape(shape) for output, part, shape in zip(outputs, np.split(dZ, ends), shapes, strict=True)
        }


class ModelTrial(Trial):
    """The objective of a model, its penalty included, as a function of the parameters and of X."""

    def __init__(self, model: Model, X: Any, y: Any, reg_lambda: float) -> None:
        scores = copied(model.graph, {p: Parameter(p.value.astype(np.float64), p.name) for p in model.graph.parameters})
        # A copy in float64; its parameters are moved, the user's are not.
        self.model = Model(scores[model.scores], output=model.output)
        self.objective = self.model.objective_on(X, y, reg_lambda)
        self.graph = self.objective.graph
        self.name = f"Model of {len(self.graph.parameters)} parameters"
        (self.X,) = (node for node in self.objective.feeds if isinstance(node, Input) and node.name != "y")
        self.names = [*self.model.parameters, str(self.X.name)]
        data = self.objective.feeds[self.X]
        self.inputs = (*(value.copy() for value in self.model.parameters.values()), data)
        self.varies = tuple(range(len(self.names) - (data.dtype.kind != "f")))

    def values(self, inputs: Sequence[Array]) -> Values:
        """Return every node's value."""
        *parameters, data = inputs
        for parameter, value in zip(self.graph.parameters, parameters, strict=True):
            parameter.value = value
        return self.graph.evaluate({**self.objective.feeds, self.X: data}, training=True)

    def forward(self, inputs: Sequence[Array]) -> Array:
        values = self.values(inputs)
        return np.array(self.objective.value(self.objective.loss(values)))

    def backward(self, inputs: Sequence[Array], dZ: Array) -> Sequence[Array | None]:
        gradients = self.objective.backward(self.values(inputs))
        by_data = gradients[self.X]
        return [dZ * g for g in self.objective.gradient(gradients)] + [None if by_data is None else dZ * by_data]


def copied(graph: Graph, instead: Mapping[Node, Node]) -> dict[Node, Node]:
    """Return a copy of every node of a graph, with other nodes in the place of some."""
    copies: dict[Node, Node] = dict(instead)
    for node in graph.nodes:
        if node in copies:
            continue
        inputs = tuple(copies[x] for x in node.inputs)
        if isinstance(node, Running):
            copies[node] = Running(inputs[0], node.value, node.momentum, unbiased=node.unbiased, name=node.name)
        elif isinstance(node, Random):
            copies[node] = Random(node.draw, node.like, node.value, node.name)
        else:
            copies[node] = node if node.gate is None else Node(node.gate, inputs, node.name)
    for node in graph.randoms:
        # It may come before the node whose shape it has.
        copy = copies[node]
        assert isinstance(copy, Random)  # noqa: S101 - made above
        copy.like = copies[node.like]
    return copies


def differentiated(graph: Graph) -> set[Node]:
    """Return the nodes that have a gradient by the chain rule: not those that gates take as constants only."""
    reached = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node in reached and node.gate is not None:
            names = input_names(node.gate, len(node.inputs))
            reached |= {x for x, name in zip(node.inputs, names, strict=True) if name not in node.gate.constants}
    return reached


def with_inputs_for_parameters(graph: Graph) -> Graph:
    """Return the graph with an input in the place of every parameter."""
    inputs: dict[Node, Node] = {p: Input(graph.names[graph.position(p)]) for p in graph.parameters}
    copies = copied(graph, inputs)
    return Graph(*(copies[output] for output in graph.outputs))


def check_graph(graph: Graph, feeds: Mapping[Any, Any] | None = None, *, random_state: int = 0) -> Report:
    """Prove the gradient of every input and every parameter of a graph.

    The gradients that `Graph.backward` gives are compared with slopes measured on `Graph.evaluate`, at the parameters'
    present values and in float64. Where one is wrong, each gate is proven alone at the values that it has in the graph,
    so that the report names the node, and what is wrong there.

    Parameters
    ----------
    graph : Graph
        The graph to prove; it is not changed.
    feeds : mapping, optional
        The inputs' values by node or by name.
    random_state : int, default=0
        Seed of all that is drawn.

    Returns
    -------
    report : Report
        True if everything passed: one line per input and parameter, and one per gate that is wrong.

    Raises
    ------
    TypeError
        If `graph` is not a Graph.
    GraphError
        If the feeds do not fit, or nothing has a gradient.

    Examples
    --------
    >>> from nngraph import Graph, Input, check_graph
    >>> x, y = Input("x"), Input("y")
    >>> print(check_graph(Graph(x * y + x), {"x": [1.0, 2.0], "y": 3.0}).summary())
    Graph of 4 nodes is proven: 2 checks passed
    """
    if not isinstance(graph, Graph):
        raise TypeError(f"check_graph proves a Graph, got {graph!r}")
    seed = seeded(random_state)
    with np.errstate(all="ignore"):
        values = graph.evaluate(feeds)
    _be_finite(graph, values, "graph")
    return _prove(GraphTrial(graph, {str(node.name): values[node] for node in graph.inputs}), seed)


def check_model(model: Model, X: Any, y: Any, *, reg_lambda: float = 0.01, random_state: int = 0) -> Report:
    """Prove the gradient of a model's objective, ``J = sum of losses + reg_lambda / 2 * sum(W^2)``.

    The gradients that `Model.train` descends by are compared with slopes measured on J, penalty included, for every
    parameter and for X, at the parameters' present values and in float64. Where one is wrong, each gate is proven alone
    at the values that it has in the model.

    Parameters
    ----------
    model : Model
        The model to prove; it is not changed.
    X, y
        Data, as in `Model.train`.
    reg_lambda : float, default=0.01
        The strength of the penalty.
    random_state : int, default=0
        Seed of all that is drawn.

    Returns
    -------
    report : Report
        True if everything passed: one line per parameter and one for X, and one per gate that is wrong.

    Raises
    ------
    TypeError
        If `model` is not a Model.
    ValueError, GateError
        If the data do not fit the model.

    Examples
    --------
    >>> import numpy as np
    >>> from nngraph import Model, check_model
    >>> report = check_model(Model([2, 3, 2], random_state=0), np.eye(2), [0, 1])
    >>> print(report.summary())
    Model of 4 parameters is proven: 5 checks passed
    """
    if not isinstance(model, Model):
        raise TypeError(f"check_model proves a Model, got {model!r}")
    seed = seeded(random_state)
    # What train refuses is refused here, in the same words.
    model.objective_on(X, y, reg_lambda)
    trial = ModelTrial(model, X, y, reg_lambda)
    with np.errstate(all="ignore"):
        _be_finite(trial.graph, trial.values(trial.inputs), "model")
    return _prove(trial, seed)


def _be_finite(graph: Graph, values: Values, what: str) -> None:
    # Between them all may be: -inf masks what a softmax shall not see.
    for node in (*graph.inputs, *graph.parameters, *graph.outputs):
        if not np.isfinite(values[node]).all():
            name = graph.names[graph.position(node)]
            raise GraphError(f"node {name!r} is not finite at these values; prove the {what} where it is")


def _prove(trial: GraphTrial | ModelTrial, random_state: int) -> Report:
    if not trial.varies:
        raise GraphError("no input and no parameter has a gradient, so there is nothing to prove")
    results = [_of_input(trial, k, random_state) for k in trial.varies]
    if any(result.status == "failed" for result in results):
        # What is wrong is a gate's backward: which, and how, shows at its own inputs.
        blamed = [result for result in _gates(trial, random_state) if result.status == "failed"]
        near = beside(trial, np.random.default_rng(random_state))
        if not blamed and near:
            # Kinks of several gates that meet: each answers rightly for itself, and they do not add up.
            results = [_of_input(near, k, random_state) for k in trial.varies]
        results = [_short(r) for r in results] + blamed if blamed else results
    return Report(trial.name, (describe(trial.names, trial.inputs),), tuple(results))


def _short(result: Result) -> Result:
    return Result(result.name, result.status, result.message.split("\n")[0])


def _of_input(trial: Trial, k: int, random_state: int) -> Result:
    one = trial.at(trial.inputs, trial.origin)
    one.varies = (k,)
    return _result(f"gradient of {trial.names[k]}", one, random_state)


def _gates(trial: GraphTrial | ModelTrial, random_state: int) -> list[Result]:
    values = trial.values(trial.inputs)
    results = []
    for node, name in zip(trial.graph.nodes, trial.graph.names, strict=True):
        if node.gate is not None:
            try:
                alone = differentiable(node.gate, [values[x] for x in node.inputs], f"at node {name!r}")
            except GateError:
                # On whole numbers alone, there is nothing to prove.
                continue
            results.append(_result(f"{type(node.gate).__name__} at node {name!r}", alone, random_state))
    return results


def _result(name: str, trial: Trial, random_state: int) -> Result:
    check = Check(name, lambda _: prove_gradients([trial], np.random.default_rng(random_state)))
    return check.run(Proof(None, [], random_state))  # type: ignore[arg-type] # the check is bound to its trial
