"""Faithfulness before speed: a program is compared with the graph, and the gate that it does not follow is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from gates.contract import run_forward
from nngraph.capture.follower import Recording
from nngraph.capture.graphs import Scale
from nngraph.engines.compiled import Compiled
from nngraph.graph import Graph
from nngraph.nodes import Node, Parameter
from nngraph.program.program import GuardError


class Comparison:
    """What a graph gives, node by node, for a program to be held against.

    Parameters
    ----------
    graph : Graph
    feeds : mapping from input to array
        The data that the program is for.
    theta : mapping from parameter to array
        The parameters' values.
    scale : (callable, nodes) or None
        What the loss is multiplied by.
    gradient : bool
        Whether the program gives the loss and the gradients, or the graph's outputs alone.
    """

    def __init__(
        self,
        graph: Graph,
        feeds: Mapping[Node, Array],
        theta: Mapping[Parameter, Array],
        scale: Scale | None,
        *,
        gradient: bool,
    ) -> None:
        self.graph, self.scale, self.gradient = graph, scale, gradient
        sources = zip(graph.nodes, graph.sources(feeds, {}), strict=True)
        self._values = [theta[n].view() if isinstance(n, Parameter) else value for n, value in sources]
        for value in self._values:
            value.flags.writeable = False
        with np.errstate(all="ignore"):
            self._expected, self._scope = _by_node(graph, self._values, scale, gradient=gradient)

    def of_recording(self, recording: Recording) -> str | None:
        """Return what a recording gives otherwise than the graph on other values, None if nothing."""
        others = _others(self.graph, self._values)
        inputs = _inputs(self.graph, recording, others)
        with np.errstate(all="ignore"):
            try:
                expected, _ = _by_node(self.graph, others, self.scale, gradient=self.gradient)
                found = recording.program.evaluate(*inputs)
            except (GuardError, ValueError, ArithmeticError, LookupError):
                # Values that a gate refuses, or of which it asks something else, prove nothing about the others.
                return None
            scope = max((_largest(array) for array in expected[self.gradient :]), default=0.0)
            if _close(found, expected, scope):
                return None
            return _blame(recording, inputs) or "what was recorded does not follow the graph"

    def of_compiled(self, recording: Recording, compiled: Compiled) -> str | None:
        """Return what a compiled program gives otherwise than the graph on the data, None if nothing."""
        with np.errstate(all="ignore"):
            compiled.step()
            if _close(compiled.outputs, self._expected, self._scope):
                return None
            return _blame(recording, _inputs(self.graph, recording, self._values)) or (
                "the compiled program gives other values than the graph, although each gate gives the same"
            )


def _by_node(graph: Graph, values: list[Any], scale: Scale | None, *, gradient: bool) -> tuple[list[Array], float]:
    """Return the outputs of a program of the graph, computed node by node, and the largest gradient that passed it."""
    values = list(values)
    graph.compute(values, training=gradient)
    outputs = [values[graph.position(output)] for output in graph.outputs]
    if not gradient:
        return outputs, max(_largest(value) for value in outputs)
    gradients: list[Any] = [None] * len(values)
    at = graph.position(graph.outputs[0])
    function, nodes = scale or ((lambda: 1.0), ())
    gradients[at] = np.asarray(function(*(values[graph.position(node)] for node in nodes)), values[at].dtype)
    graph.differentiate(values, gradients, training=True)
    for parameter in graph.parameters:
        found = gradients[graph.position(parameter)]
        outputs.append(np.zeros_like(parameter.value) if found is None else found)
    outputs += [values[graph.position(node)] for node in graph.running]
    return outputs, max(_largest(value) for value in gradients if value is not None)


def _inputs(graph: Graph, recording: Recording, values: Sequence[Array]) -> list[Array]:
    """Return the values of a program's inputs, of those of the graph's nodes."""
    return [values[graph.position(str(variable.name))] for variable in recording.program.inputs]


def _others(graph: Graph, values: Sequence[Any]) -> list[Any]:
    """Return other values of the sources: rows in another order, parameters moved."""
    rng = np.random.default_rng(0)
    others = list(values)
    for i, node in enumerate(graph.nodes):
        if node in graph.inputs and values[i].ndim:
            others[i] = np.roll(values[i], 1, axis=0)
        elif isinstance(node, Parameter):
            spread = 0.1 + 0.1 * _largest(values[i])
            moved = values[i] + spread * rng.standard_normal(values[i].shape)
            others[i] = np.asarray(moved, dtype=values[i].dtype)
        others[i].flags.writeable = False
    return others


def _largest(array: Array) -> float:
    """Return the largest finite magnitude."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def _close(found: Sequence[Array], expected: Sequence[Array], scope: float) -> bool:
    """Whether arrays agree up to what other orders of addition round, beside what they are sums of."""
    for one, other in zip(found, expected, strict=True):
        if np.shape(one) != other.shape or one.dtype != other.dtype:
            return False
        if other.dtype.kind != "f":
            if not np.array_equal(one, other):
                return False
            continue
        both = np.isfinite(one) & np.isfinite(other)
        allowed = np.sqrt(np.finfo(other.dtype).eps) * max(scope, _largest(other))
        if not (np.abs(np.subtract(one, other, where=both, out=np.zeros(other.shape, other.dtype))) <= allowed).all():
            return False
    return True


def _blame(recording: Recording, values: Sequence[Array]) -> str | None:
    """Return what is to be said about the first gate that gives other values than were recorded of it."""
    trace = recording.program.trace(*values)
    for step in recording.steps:
        result = step.call(*(trace[variable] for variable in step.inputs))
        expected = [result] if step.call.run is run_forward else list(result)
        found = [None if variable is None else trace[variable] for variable in step.results]
        pairs = [(f, e) for f, e in zip(found, expected, strict=True) if f is not None and e is not None]
        if len(pairs) < sum(part is not None for part in (*found, *expected)) / 2 or not _close(
            [f for f, _ in pairs], [e for _, e in pairs], 0.0
        ):
            where = "forward" if step.call.run is run_forward else "backward"
            return (
                f"the {where} of {step.call.label[0]} gives other values than when it was recorded: it is not pure, or "
                "takes a value out of its arrays"
            )
    return None
