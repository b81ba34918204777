"""Computation graphs of gates, evaluated and differentiated node by node: slow and transparent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from gates.arrays import Array, as_array, float_dtype
from gates.contract import run_backward, run_forward
from nngraph.nodes import Constant, GraphError, Input, Node, Parameter, Random, Running, sort, unique_names

Key: TypeAlias = str | Node

# Stands for a value that is not computed yet.
_NOTHING: Array = np.empty(0)


class Values(Mapping[str, Array]):
    """The arrays of a graph's nodes, by name or by node, in the order of computation. They are read-only.

    Attributes
    ----------
    training : bool
        Whether they were computed as in training, see `Graph.evaluate`.
    """

    def __init__(self, graph: Graph, arrays: Sequence[Array | None], *, training: bool = False) -> None:
        self._graph, self._arrays, self.training = graph, arrays, training

    def __getitem__(self, key: Key) -> Array:
        # A gradient may be missing (None); plain Array in the annotation spares every reader an assertion.
        return self._arrays[self._graph.position(key)]  # type: ignore[return-value]

    def arrays(self, graph: Graph) -> list[Any]:
        """Return the arrays in the order of a graph's nodes; raise GraphError if they are another graph's."""
        if graph is not self._graph:
            raise GraphError("these are the values of another graph")
        return list(self._arrays)

    def __iter__(self) -> Iterator[str]:
        return iter(self._graph.names)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, key: object) -> bool:
        return self._graph.find(key) is not None

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the array of a name or node, `default` where the graph has none such."""
        return default if self._graph.find(key) is None else self[key]

    def __repr__(self) -> str:
        rows = (f"{name} {'None' if a is None else f'{a.shape} {a.dtype}'}" for name, a in self.items())
        return f"<{', '.join(rows)}>"


class Graph:
    """All nodes that the outputs depend on, sorted once so that each comes after its inputs.

    Parameters
    ----------
    *outputs : nodes
        One or more nodes to compute; a loss, for training.

    Attributes
    ----------
    nodes : tuple of nodes
        In the order of computation.
    names : list of str
        Their names, unique; a nameless node is called after its gate, ``Tanh``, ``Tanh_2``, ...
    outputs : tuple of nodes

    Raises
    ------
    GraphError
        If there is no output, an output is no node, or two nodes were given one name.

    Examples
    --------
    >>> from nngraph import Graph, Input
    >>> x, y, z = Input("x"), Input("y"), Input("z")
    >>> graph = Graph(x * y + z)
    >>> values = graph.forward(x=3, y=-2, z=5)
    >>> gradients = graph.backward()
    >>> print(values["Add"], gradients["x"], gradients["y"], gradients["z"])
    -1.0 -2.0 3.0 1.0
    """

    def __init__(self, *outputs: Node) -> None:
        for output in outputs:
            if not isinstance(output, Node):
                raise GraphError(f"a graph is made of nodes, got {output!r}")
        if not outputs:
            raise GraphError("a graph needs at least one output node")
        # The nodes come first, in their order: so copy and pickle, too, meet each after its inputs and do not recurse.
        self.nodes = sort(outputs)
        self.outputs = outputs
        self._positions: dict[Key, int] = {node: i for i, node in enumerate(self.nodes)}
        self.names = unique_names(self.nodes)
        self._positions.update({name: i for i, name in enumerate(self.names)})
        for random in self.randoms:
            if random.like not in self._positions:
                raise GraphError(f"{random!r} has the shape of {random.like!r}, which is no node of this graph")
        self._output_positions = {self._positions[output] for output in outputs}
        self._inputs = [tuple(self._positions[x] for x in node.inputs) for node in self.nodes]
        # What messages call a node and its inputs.
        self._labels = [
            (f"{type(node.gate).__name__} at node {name!r}", [self.names[i] for i in inputs])
            for node, name, inputs in zip(self.nodes, self.names, self._inputs, strict=True)
        ]
        # Only what depends on an input or a parameter has a gradient.
        self._varies: list[bool] = []
        for node, inputs in zip(self.nodes, self._inputs, strict=True):
            self._varies.append(isinstance(node, Input | Parameter) or any(self._varies[i] for i in inputs))
        self._values: Values | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Data that were fed do not travel with a copy or a file.
        return {**self.__dict__, "_values": None}

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes)} nodes: {self._some_names()}>"

    def _some_names(self) -> str:
        return ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters, in the order of computation."""
        return tuple(node for node in self.nodes if isinstance(node, Parameter))

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs, in the order of computation."""
        return tuple(node for node in self.nodes if isinstance(node, Input))

    @property
    def randoms(self) -> tuple[Random, ...]:
        """What training draws, in the order of computation."""
        return tuple(node for node in self.nodes if isinstance(node, Random))

    @property
    def running(self) -> tuple[Running, ...]:
        """What training averages, in the order of computation."""
        return tuple(node for node in self.nodes if isinstance(node, Running))

    def find(self, key: object) -> int | None:
        """Return the position of a node or of a name in `nodes`, None if it is not there."""
        return self._positions.get(key) if isinstance(key, str | Node) else None

    def position(self, key: Key) -> int:
        """Return the position of a node or of a name in `nodes`; raise GraphError if it is not there."""
        found = self.find(key)
        if found is None:
            if isinstance(key, Node):
                raise GraphError(f"{key!r} is a node of another graph")
            raise GraphError(f"no node is called {key!r}; this graph has {self._some_names()}")
        return found

    def forward(self, feeds: Mapping[Any, Any] | None = None, /, **named: Any) -> Values:
        """Compute every node, and keep the values for `backward`; parameters and errors are those of `evaluate`."""
        self._values = self.evaluate(feeds, **named)
        return self._values

    def evaluate(self, feeds: Mapping[Any, Any] | None = None, /, *, training: bool = False, **named: Any) -> Values:
        """Compute every node; the graph keeps nothing, so threads may share it.

        Parameters
        ----------
        feeds : mapping, optional
            The inputs' values by node or by name; a `Random` may be fed, too, else it is its number.
        training : bool, default=False
            Whether a `Running` is the statistic of these data, and not the average that training left.
        **named : array-like
            The inputs' values by name: ``graph.forward(X=..., y=...)``. Python numbers become float64.

        Returns
        -------
        values : Values
            Every node's value. Later changes of the parameters do not show; an array that is fed is not copied.

        Raises
        ------
        GraphError
            If an input is missing, unknown, fed twice, or no array of real numbers.
        GateError
            If a gate cannot take what it gets, or breaks its contract; names the node and its inputs.
        """
        if feeds is not None and not isinstance(feeds, Mapping):
            raise GraphError(
                f"feeds must be a mapping from input to value, or named: forward(X=...); got {type(feeds).__name__}"
            )
        values = self.sources(feeds or {}, named)
        self.compute(values, training=training)
        return Values(self, values, training=training)

    def compute(self, values: list[Any], run: Callable[..., Any] = run_forward, *, training: bool = False) -> None:
        """Fill a list that has the values of the sources in their places (see `sources`) with those of all nodes.

        `run` is how a gate is run: as it is, or (for capture) on stand-ins for arrays.
        """
        for i, node in enumerate(self.nodes):
            if node.gate is None:
                if training and isinstance(node, Running):
                    statistic = self._inputs[i][0]
                    if values[statistic].shape != node.value.shape:
                        what = f"the Running {self.names[i]!r} has a value of shape {node.value.shape}"
                        shape = f"must have that of {self.names[statistic]!r}, {values[statistic].shape}"
                        raise GraphError(f"{what}, but {shape}, which it averages")
                    values[i] = values[statistic]
            else:
                inputs = [values[j] for j in self._inputs[i]]
                values[i] = run(node.gate, inputs, *self._labels[i])
                # A gate that would write into an input is told so by NumPy, and no reader changes a value unawares.
                values[i].flags.writeable = False

    def backward(self, upstream: Any = None, /, *, values: Values | None = None) -> Values:
        """Differentiate the outputs by every node.

        Parameters
        ----------
        upstream : number, array, or mapping from output (node or name) to these, optional
            The gradients that arrive at the outputs, none at those that a mapping leaves out; by default 1, if there is
            one output and it is a scalar.
        values : Values, optional
            Where to differentiate, as `evaluate` returned it; by default at the last `forward`.

        Returns
        -------
        gradients : Values
            Every node's gradient; None where there is none: constants, what no output depends on, and the targets of an
            output gate, which it takes as constants.

        Raises
        ------
        GraphError
            Before any `forward`; if upstream gradients are missing or do not fit the outputs.
        GateError
            If a gate's backward breaks its contract; names the node and its inputs.
        """
        computed = self._values if values is None else values
        if computed is None:
            raise GraphError("backward needs the values of a forward; call graph.forward(...) first")
        arrays = computed.arrays(self)
        gradients = self._upstream(upstream, arrays)
        self.differentiate(arrays, gradients, training=computed.training)
        return Values(self, gradients, training=computed.training)

    def differentiate(
        self,
        values: list[Any],
        gradients: list[Any],
        run: Callable[..., Sequence[Any]] = run_backward,
        *,
        training: bool = False,
    ) -> None:
        """Fill a list that has the gradients of the outputs in their places with those of all nodes; see `compute`."""
        # A sum is our own array and may grow in place; a gradient that a gate returned may be shared.
        summed = [False] * len(gradients)
        for i in range(len(self.nodes) - 1, -1, -1):
            gate, dZ = self.nodes[i].gate, gradients[i]
            if dZ is None:
                continue
            dZ.flags.writeable = False
            if not self._varies[i]:
                continue
            if gate is not None:
                parts = run(gate, [values[j] for j in self._inputs[i]], dZ, *self._labels[i])
            elif training and isinstance(self.nodes[i], Running):
                parts = (dZ,)
            else:
                continue
            for j, part in zip(self._inputs[i], parts, strict=True):
                if part is None or not self._varies[j]:
                    continue
                total = gradients[j]
                if total is None:
                    gradients[j] = part
                elif summed[j]:
                    total += part
                else:
                    # An array also where NumPy gives a number for the sum of two arrays without axes.
                    gradients[j], summed[j] = np.add(total, part, out=np.empty_like(total)), True

    def sources(self, feeds: Mapping[Any, Any], named: Mapping[str, Any]) -> list[Array]:
        """Return a list with the values of the sources in their places."""
        fed: dict[Node, Array] = {}
        for key, value in [*feeds.items(), *named.items()]:
            if self.find(key) is None and not isinstance(key, Node):
                listed = ", ".join(str(node.name) for node in self.inputs) or "none"
                raise GraphError(f"no input is called {key!r}; this graph has {listed}")
            node = self.nodes[self.position(key)]
            name = self.names[self.position(key)]
            if not isinstance(node, Input | Random):
                raise GraphError(f"{name!r} is not an input; only inputs are fed")
            if node in fed:
                raise GraphError(f"input {name!r} is fed twice")
            fed[node] = node.convert(value) if isinstance(node, Input) else as_array(value, name, GraphError).view()
        missing = [repr(node.name) for node in self.inputs if node not in fed]
        if missing:
            raise GraphError(f"inputs are missing: {', '.join(missing)}; feed them by name: forward(name=...)")
        dtype = float_dtype([*fed.values(), *(p.value for p in self.parameters)]) or np.dtype(np.float64)
        values: list[Array] = []
        for node in self.nodes:
            if isinstance(node, Parameter):
                value = node.value.copy()
            elif isinstance(node, Constant):
                value = node.value.astype(dtype) if node.is_number else node.value.copy()
            elif isinstance(node, Running):
                value = node.value.astype(dtype)
            elif isinstance(node, Random) and node not in fed:
                value = np.asarray(node.value, dtype)
            else:
                value = fed.get(node, _NOTHING)
            values.append(value)
            value.flags.writeable = False
        return values

    def _upstream(self, upstream: Any, values: list[Array]) -> list[Array | None]:
        """Return a list of gradients with those of the outputs in their places."""
        if not isinstance(upstream, Mapping):
            if len(self.outputs) > 1:
                listed = ", ".join(self.names[self.position(output)] for output in self.outputs)
                raise GraphError(f"several outputs ({listed}): give backward a dict of their upstream gradients")
            if upstream is None and values[self.position(self.outputs[0])].ndim:
                shape = values[self.position(self.outputs[0])].shape
                raise GraphError(f"the output has shape {shape} and is no scalar: give backward its upstream gradient")
            upstream = {self.outputs[0]: 1.0 if upstream is None else upstream}
        if not upstream:
            raise GraphError("no upstream gradient is given, so there is nothing to differentiate")
        gradients: list[Array | None] = [None] * len(values)
        for key, gradient in upstream.items():
            i = self.position(key)
            if gradients[i] is not None:
                raise GraphError(f"the upstream gradient of {self.names[i]!r} is given twice")
            if i not in self._output_positions:
                raise GraphError(f"{self.names[i]!r} is not an output of this graph, so no gradient arrives there")
            array = as_array(gradient, f"the upstream gradient of {self.names[i]!r}", GraphError)
            if array.shape != values[i].shape:
                expected = f"must have its shape, {values[i].shape}, got {array.shape}"
                raise GraphError(f"the upstream gradient of {self.names[i]!r} {expected}")
            gradients[i] = array.astype(float_dtype([values[i]]) or np.float64)
        return gradients
