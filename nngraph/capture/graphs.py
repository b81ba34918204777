"""A graph, run once with recorders in the place of arrays: its forward, or its loss and gradients, as a Program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from nngraph.capture.follower import Follower, Recording
from nngraph.capture.recorder import Recorder
from nngraph.capture.tape import Tape
from nngraph.graph import Graph
from nngraph.nodes import Constant, Node, Parameter, Random, Running

# What a loss is multiplied by: a function, and the nodes whose values it takes.
Scale: TypeAlias = tuple[Callable[..., Any], tuple[Node, ...]]


def sources(graph: Graph, tape: Tape, feeds: Mapping[Any, Any], *, training: bool = False) -> list[Any]:
    """Return a list with recorders for the sources of a graph in their places; numbers stay part of the program."""
    values: list[Any] = list(graph.sources(feeds, {}))
    fed = {graph.position(key) for key in feeds}
    for i, (node, name) in enumerate(zip(graph.nodes, graph.names, strict=True)):
        if node.gate is not None or (training and isinstance(node, Running)):
            continue
        if (isinstance(node, Constant) and node.is_number) or (isinstance(node, Random) and i not in fed):
            values[i] = Recorder(tape, values[i], tape.constant(values[i]))
        else:
            variable = tape.input(values[i], name, varies=isinstance(node, Parameter | Random))
            values[i] = Recorder(tape, values[i], variable)
    return values


def record_forward(graph: Graph, feeds: Mapping[Any, Any]) -> Recording:
    """Record the forward of a graph.

    Parameters
    ----------
    graph : Graph
    feeds : mapping from input (node or name) to array
        The data to record on; the program holds for data of these shapes and dtypes.

    Returns
    -------
    recording : Recording
        The program's inputs are the graph's sources by name, its outputs the graph's outputs.

    Raises
    ------
    ImpureError
        If a gate keeps something on itself.
    """
    tape = Tape()
    follower = Follower(tape)
    values = sources(graph, tape, feeds)
    graph.compute(values, follower.forward)
    _name(graph.names, values)
    return follower.recording([values[graph.position(output)].variable for output in graph.outputs])


def record_gradient(graph: Graph, feeds: Mapping[Any, Any], scale: Scale | None = None) -> Recording:
    """Record the forward and the backward of a graph whose one output is a loss.

    Parameters
    ----------
    graph : Graph
    feeds : mapping from input (node or name) to array
        The data to record on; the program holds for data of these shapes and dtypes.
    scale : (callable, nodes), optional
        What the loss is multiplied by: a function of the values of these nodes. By default 1.

    Returns
    -------
    recording : Recording
        The program's inputs are the graph's sources by name; its outputs the loss (not multiplied), the gradient of
        every parameter and the statistic of every `Running`, in the graph's order.

    Raises
    ------
    ImpureError
        If a gate keeps something on itself.
    """
    follower, values, gradients = _differentiated(graph, feeds, scale)
    outputs = [values[graph.position(node)] for node in (graph.outputs[0], *graph.running)]
    outputs[1:1] = gradients
    return follower.recording([output.variable for output in outputs])


def record_step(
    graph: Graph,
    feeds: Mapping[Any, Any],
    scale: Scale | None,
    step: Callable[..., Any],
    average: Callable[..., Any],
    rates: Mapping[str, float],
) -> Recording:
    """Record a whole training step: forward, backward, and what becomes of every parameter and every average.

    Parameters
    ----------
    graph, feeds, scale
        As in `record_gradient`.
    step : callable
        Called as ``step(parameter, value, gradient, **rates)``; returns the parameter's next value.
    average : callable
        Called as ``average(running, value, statistic)``; returns the next average.
    rates : mapping from name to float
        Numbers that are inputs of the program.

    Returns
    -------
    recording : Recording
        The program's inputs are the graph's sources, the averages and the rates by name; its outputs the loss and the
        next value of every parameter and of every `Running`, in the graph's order.
    """
    follower, values, gradients = _differentiated(graph, feeds, scale)
    tape, numbers = follower.tape, {}
    loss = values[graph.position(graph.outputs[0])]
    averages, arrays = {}, graph.sources(feeds, {})
    for running in graph.running:
        i = graph.position(running)
        averages[running] = Recorder(tape, arrays[i], tape.input(arrays[i], graph.names[i], varies=True))
    for name, rate in rates.items():
        value = np.asarray(rate, loss.dtype)
        numbers[name] = Recorder(tape, value, tape.input(value, name, varies=True))
    outputs = [loss]
    for parameter, gradient in zip(graph.parameters, gradients, strict=True):
        i = graph.position(parameter)
        outputs.append(step(parameter, values[i], gradient, **numbers))
        outputs[-1].variable.name = f"next_{graph.names[i]}"
    for running, recorder in averages.items():
        i = graph.position(running)
        outputs.append(average(running, recorder, values[i]))
        outputs[-1].variable.name = f"next_{graph.names[i]}"
    return follower.recording([output.variable for output in outputs])


def record_function(
    graph: Graph, feeds: Mapping[Any, Any], function: Callable[..., Any], names: Sequence[str], title: str
) -> Recording:
    """Record the forward of a graph, and a function of its one output that returns one array or several.

    Parameters
    ----------
    graph : Graph
    feeds : mapping from input (node or name) to array
    function : callable
    names : sequence of str
        What its results are called.
    title : str
        What the function is, for messages.

    Raises
    ------
    ValueError
        If the function cannot be followed.
    """
    tape = Tape()
    follower = Follower(tape)
    values = sources(graph, tape, feeds)
    graph.compute(values, follower.forward)
    _name(graph.names, values)
    results = follower.results(function, [values[graph.position(graph.outputs[0])]], len(names), title)
    _name(names, results)
    return follower.recording([result.variable for result in results])


def record_update(
    function: Callable[..., Any], arrays: Mapping[str, Any], names: Sequence[str], title: str
) -> Recording:
    """Record a function of several arrays that returns one array or several; all of them change from call to call.

    Parameters
    ----------
    function : callable
        Called with the arrays in their order.
    arrays : mapping from name to array
    names : sequence of str
        What its results are called.
    title : str
        What the function is, for messages.

    Raises
    ------
    ValueError
        If the function cannot be followed.
    """
    tape = Tape()
    follower = Follower(tape)
    arguments = [Recorder(tape, array, tape.input(array, name, varies=True)) for name, array in arrays.items()]
    results = follower.results(function, arguments, len(names), title)
    return follower.recording([result.variable for result in results])


def _differentiated(
    graph: Graph, feeds: Mapping[Any, Any], scale: Scale | None
) -> tuple[Follower, list[Any], list[Any]]:
    """Run a graph forward and backward, as in training; return every node's value, and every parameter's gradient."""
    tape = Tape()
    follower = Follower(tape)
    values = sources(graph, tape, feeds, training=True)
    graph.compute(values, follower.forward, training=True)
    _name(graph.names, values)
    at = graph.position(graph.outputs[0])
    gradients: list[Any] = [None] * len(values)
    function, nodes = scale or ((lambda: 1.0), ())
    gradients[at] = follower.upstream(function, [values[graph.position(node)] for node in nodes], values[at].dtype)
    graph.differentiate(values, gradients, follower.backward, training=True)
    # Of several nodes with one gradient the last is the one that it is the gradient of in a formula: dZ1, not dXW1.
    # What the loss is multiplied by is nobody's gradient: it may be a sum of weights.
    _name(
        [f"d{name}" for name in reversed(graph.names)], [None if i == at else g for i, g in enumerate(gradients)][::-1]
    )
    found = [gradients[graph.position(parameter)] for parameter in graph.parameters]
    for i, parameter in enumerate(graph.parameters):
        if found[i] is None:
            zeros = np.zeros_like(parameter.value)
            found[i] = Recorder(tape, zeros, tape.write(np.zeros, (zeros.shape, zeros.dtype), zeros))
    return follower, values, found


def _name(names: Sequence[str], recorders: Sequence[Any]) -> None:
    """Give variables the names of the nodes that they stand for."""
    for name, recorder in zip(names, recorders, strict=True):
        if recorder is not None:
            recorder.variable.name = recorder.variable.name or name
